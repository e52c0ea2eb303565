"""The command that writes IDs in the shapes that other projects read.

Used by: whoever goes on with another project's recommender or language model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.conflicts import SEED_OF_RANDOM, Useless, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.ids_options import IDS_RULES, ids_instead_of, takes_ids
from rqvae_lib.cli.options import RQVAE_FILE, Device, Embeddings, Seed, Tokenizer
from rqvae_lib.cli.outputs import OutputFile, Writes, writes
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


def _not_for(options: tuple[str, ...], *formats: config.Format) -> Useless:
    """Return the rule that options are only for some formats."""
    why = f"this choice is only for {' and '.join(formats)}, and not for {{format}}"
    return Useless(options, lambda given: given["format"] not in formats, why)


RULES = (
    *IDS_RULES,
    ids_instead_of("tokenizer", "embeddings", "seed", "device"),
    SEED_OF_RANDOM,
    _not_for(("token_style",), "index-json", "text-json", "tokens"),
    _not_for(("begin_end",), "text-json", "tokens"),
    _not_for(("levels_first",), "grid"),
    Useless(
        ("keys",),
        lambda given: given["format"] in ("tokens", "grid"),
        "a file of {format} names no items",
    ),
)


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import found_in
    from rqvae_lib.semantic_ids.exports import check_export
    from rqvae_lib.semantic_ids.recognition import looks_exported

    output, format = given["output"], given["format"]
    checked = ("offsets", "collision_digit", "token_style")
    check_export(output, format, **{name: given[name] for name in checked})
    found = () if given["tokenizer"] or given["ids"] else found_in(RQVAE_FILE, output.parent)
    own = OutputFile(
        output, f"known as a file of {format}", lambda path: looks_exported(path, format)
    )
    return Writes((own,), reads=tuple(found))


@takes_data
@takes_ids
@refuses(*RULES)
@writes(_outputs, "output")
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
    from rqvae_lib.cli.ids_options import check_ids_file
    from rqvae_lib.semantic_ids.array_files import python_for_grid
    from rqvae_lib.semantic_ids.exports import export_ids

    check_device(device)
    ids = check_ids_file(context)
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


def _of_tokenizer(
    context: typer.Context, data: DataOptions
) -> "tuple[SemanticIDs, Any, Sequence[str] | None]":
    """Return the IDs that a tokenizer gives to a dataset's items, their ids and their titles."""
    from rqvae_lib.cli.catalogue import catalogue_of, find_tokenizer
    from rqvae_lib.io.locks import only_process_in

    given = context.params
    folder = given["output"].parent
    found = find_tokenizer(given["tokenizer"], given["embeddings"], folder=folder)
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
