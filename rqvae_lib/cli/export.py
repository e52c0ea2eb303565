"""The command that writes IDs in the shapes that other projects read.

Used by: whoever goes on with another project's recommender or language model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.ids_options import takes_ids
from rqvae_lib.cli.options import RQVAE_FILE, Device, Embeddings, Seed, Tokenizer
from rqvae_lib.semantic_ids import config
from rqvae_lib.training.config import TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rqvae_lib.semantic_ids.catalogue import SemanticIDs

Output = Annotated[
    Path, typer.Option(help="The file to write.", metavar="FILE", show_default=False)
]
Format = Annotated[
    config.Format,
    typer.Option(
        help="'index-json': LC-Rec, LETTER, MiniOneRec, torch-rechub (.json). 'grid': GRID "
        "(.npy or .safetensors). 'catalogue-jsonl': NVIDIA (.jsonl). 'sem-ids': RPG, ActionPiece "
        "(.sem_ids or .json). 'text-json': one text for each item (.json). 'parquet': OpenOneRec. "
        "'csv': FORGE. 'item-to-sid': TorchEasyRec (.csv or .parquet). 'records': xLLM (.bin). "
        "'tokens': the vocabulary, as .txt or as a file for Hugging Face tokenizers, .json.",
        show_default=False,
    ),
]
Base = Annotated[int, typer.Option(min=0, max=1, help="The number of a level's first code.")]
Offsets = Annotated[
    bool,
    typer.Option(
        "--offsets/--no-offsets", help="Add the sizes of the levels before it to each number."
    ),
]
CollisionDigit = Annotated[
    config.Digit, typer.Option(help="Which items have a last number that tells equal codes apart.")
]
Keys = Annotated[
    config.Keys, typer.Option(help="What names an item: its id, or its row in the catalogue.")
]
TokenStyle = Annotated[
    config.Style,
    typer.Option(
        help="How tokens look: <a_12>, <s_a_12>, <L0_12>, C12 or <|sid_12|>. The last two need "
        "--offsets."
    ),
]
LevelsFirst = Annotated[
    bool,
    typer.Option(
        "--levels-first/--levels-last",
        help="grid only: the shape (levels, items), as GRID has it, or (items, levels).",
    ),
]
BeginEnd = Annotated[
    bool,
    typer.Option("--begin-end", help="tokens and text-json: also <|sid_begin|> and <|sid_end|>."),
]
ONLY_FOR = {
    "token_style": ("index-json", "text-json", "tokens"),
    "begin_end": ("text-json", "tokens"),
    "levels_first": ("grid",),
}


@takes_data
@takes_ids
def export_command(
    context: typer.Context,
    output: Output,
    format: Format,
    data: DataOptions = EMBEDDED_DATA,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    base: Base = config.BASE,
    offsets: Offsets = False,
    collision_digit: CollisionDigit = config.DIGIT,
    keys: Keys = config.KEYS,
    token_style: TokenStyle = config.STYLE,
    levels_first: LevelsFirst = config.LEVELS_FIRST,
    begin_end: BeginEnd = False,
    seed: Seed = TrainingConfig.seed,
    device: Device = "cpu",
) -> None:
    """Write IDs for another project: a tokenizer's, or those of a file of IDs.

    With --ids and a dataset, the file's items are matched with the dataset's; with --ids alone, all
    of them are written.

    What the file cannot keep, such as titles, is said on stderr.
    """
    from rqvae_lib.cli.common import check_device
    from rqvae_lib.cli.ids_options import check_ids_options
    from rqvae_lib.io.atomic import check_writable
    from rqvae_lib.semantic_ids.array_files import python_for_grid
    from rqvae_lib.semantic_ids.exports import check_export, export_ids

    check_device(device)
    check_export(
        output, format, offsets=offsets, collision_digit=collision_digit, token_style=token_style
    )
    _check_options(context, data)
    ids = check_ids_options(context, "tokenizer", "embeddings", "seed")
    check_writable(output)
    catalogue, own, titles = (
        _of_tokenizer(context, data) if ids is None else _of_file(context, data)
    )
    lost = export_ids(
        output,
        catalogue,
        own,
        format=format,
        titles=titles,
        base=base,
        offsets=offsets,
        collision_digit=collision_digit,
        keys=keys,
        token_style=token_style,
        levels_first=levels_first,
        begin_end=begin_end,
    )
    for one in lost:
        typer.echo(f"{output}: {one}.", err=True)
    what = "the vocabulary" if format == "tokens" else "the IDs"
    typer.echo(f"Wrote {what} of {len(catalogue):,} items to {output}.")
    if format == "grid" and levels_first:
        typer.echo(python_for_grid(output))


def _check_options(context: typer.Context, data: DataOptions) -> None:
    """Refuse options that the format does not have, and to write over a file that is read."""
    from rqvae_lib.cli.common import check_not_read, choose, typed

    given = context.params
    for option, formats in ONLY_FOR.items():
        useless = typed(context, option)
        if useless and given["format"] not in formats:
            raise ValueError(
                f"{useless[0]} is only for {', '.join(formats)}, not for {given['format']}: leave "
                "it out"
            )
    if given["format"] == "tokens" and typed(context, "keys"):
        raise ValueError("--keys is not for tokens, which name no items: leave it out")
    tokenizer = None if given["ids"] else choose(given["tokenizer"], RQVAE_FILE)
    read = (given["ids"], tokenizer, given["embeddings"])
    check_not_read(given["output"], (*read, data.interactions, data.items, data.dataset_name))


def _of_tokenizer(
    context: typer.Context, data: DataOptions
) -> "tuple[SemanticIDs, Any, Sequence[str] | None]":
    """Return the IDs that a tokenizer gives to a dataset's items, their ids and their titles."""
    from rqvae_lib.cli.catalogue import catalogue_of, find_tokenizer
    from rqvae_lib.io.locks import only_process_in

    given = context.params
    found = find_tokenizer(given["tokenizer"], given["embeddings"])
    context.with_resource(only_process_in(given["output"].parent))
    dataset = data.load()
    ids = catalogue_of(found, given["seed"], dataset, given["embeddings"], given["device"])
    return ids, dataset.items["item_id"].to_numpy(), dataset.titles


def _of_file(
    context: typer.Context, data: DataOptions
) -> "tuple[SemanticIDs, Any, Sequence[str] | None]":
    """Return the IDs of a file, its items' ids and, if they are known, their titles."""
    from rqvae_lib.cli.ids_options import ids_of_file
    from rqvae_lib.io.locks import only_process_in

    context.with_resource(only_process_in(context.params["output"].parent))
    dataset = data.load() if data.words() else None
    found = ids_of_file(context, dataset)
    return found.ids, found.item_ids, found.titles if dataset is None else dataset.titles
