"""The command that makes embeddings: the items' texts, read by a sentence encoder.

Derived in: chapters 02 and 12.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.cli.conflicts import WORKERS_OF_RAY, Useless, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, OPTION_NAMES, DataOptions, takes_data
from rqvae_lib.cli.options import EngineOption, Workers
from rqvae_lib.cli.outputs import OutputFile, Writes, embeddings_by, is_vectors, writes
from rqvae_lib.embeddings.config import DEFAULT_MODEL
from rqvae_lib.ops.engines import DEFAULT_ENGINE

TextFolder = Annotated[
    Path | None,
    typer.Option(
        help="Instead of a dataset: a folder of .parquet files with the columns item_id (whole "
        "numbers or text) and text. The output is then a folder with a file of vectors for each.",
        metavar="FOLDER",
        show_default=False,
    ),
]
RULES = (
    Useless(
        tuple(OPTION_NAMES),
        lambda given: given["texts"] is not None,
        "--texts {texts} has the items",
    ),
    Useless(("engine",), lambda given: given["texts"] is None, "only a folder (--texts) is shared"),
    WORKERS_OF_RAY,
)


def _outputs(given: Mapping[str, Any]) -> Writes:
    output: Path = given["output"]
    if given["texts"] is not None:
        from rqvae_lib.embeddings.text_folders import targets_of

        targets = targets_of(given["texts"], output)
        files = [OutputFile(path, "a file of vectors", is_vectors) for path in targets.values()]
        return Writes(tuple(files), folders=(output,))
    from rqvae_lib.embeddings.text import check_embeddings_path

    check_embeddings_path(output)
    model = given["model"]
    # Those of another encoder took as long to make, and nobody would miss them before it is late.
    own = OutputFile(output, f"a file of embeddings by {model}", embeddings_by(model))
    return Writes((own,))


@takes_data
@refuses(*RULES)
@writes(_outputs, "output")
def embed_command(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option(help="The .safetensors file to write; with --texts, the folder.")
    ],
    data: DataOptions = EMBEDDED_DATA,
    texts: TextFolder = None,
    model: Annotated[
        str,
        typer.Option(help="The name of a sentence-transformers model, or a folder that holds one."),
    ] = DEFAULT_MODEL,
    engine: EngineOption = DEFAULT_ENGINE,
    workers: Workers = None,
) -> None:
    """Turn every item's text into a vector with a sentence encoder.

    Needs the extra `encode`: `pip install 'rqvae-lib[encode]'`. The embedded dataset comes with its
    embeddings. With --texts, there may be more items than memory can hold, and a run that was
    interrupted goes on where it stopped.
    """
    from rqvae_lib.embeddings.text import encode_texts, save_embeddings
    from rqvae_lib.io.locks import only_process_in

    if texts is not None:
        from rqvae_lib.embeddings.text_folders import embed_folder

        context.with_resource(only_process_in(output))
        done = embed_folder(texts, output, model, engine=engine, workers=workers)
        before = done.items - done.encoded
        also = f", and found {before:,} that were there" if before else ""
        typer.echo(f"Wrote {done.encoded:,} vectors to {output}{also}.")
        return
    context.with_resource(only_process_in(output.parent))
    dataset = data.load()
    if not dataset.has_texts:
        raise ValueError(
            f"{dataset.name} has no texts to encode: name a table of its items as --items, with "
            "titles, genres or texts"
        )
    embeddings = encode_texts(dataset.texts, model, show_progress=True)
    save_embeddings(output, embeddings, dataset.texts, model, dataset.name, data.words())
    typer.echo(f"Wrote {len(embeddings):,} vectors of {embeddings.shape[1]} numbers to {output}.")
