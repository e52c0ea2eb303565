"""The command that makes embeddings: the items' texts, read by a sentence encoder.

Derived in: chapter 02.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.outputs import OutputFile, Writes, embeddings_by, writes
from rqvae_lib.embeddings.config import DEFAULT_MODEL


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.embeddings.text import check_embeddings_path

    check_embeddings_path(given["output"])
    output, model = given["output"], given["model"]
    # Those of another encoder took as long to make, and nobody would miss them before it is late.
    own = OutputFile(output, f"a file of embeddings by {model}", embeddings_by(model))
    return Writes((own,))


@takes_data
@writes(_outputs, "output")
def embed_command(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    data: DataOptions = EMBEDDED_DATA,
    model: Annotated[
        str,
        typer.Option(help="The name of a sentence-transformers model, or a folder that holds one."),
    ] = DEFAULT_MODEL,
) -> None:
    """Turn every item's text into a vector with a sentence encoder.

    Needs the extra `encode`: `pip install 'rqvae-lib[encode]'`. The embedded dataset comes with its
    embeddings.
    """
    from rqvae_lib.embeddings.text import encode_texts, save_embeddings
    from rqvae_lib.io.locks import only_process_in

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
