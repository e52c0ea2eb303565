"""The command that gives semantic IDs to a catalogue that is larger than memory.

Derived in: chapter 12.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.cli.conflicts import WORKERS_OF_RAY, refuses
from rqvae_lib.cli.options import (
    FOLDER_OF_VECTORS,
    RQVAE_FILE,
    RUNS,
    Device,
    EngineOption,
    Workers,
)
from rqvae_lib.cli.outputs import OutputFile, Writes, is_large_table, writes
from rqvae_lib.ops.engines import DEFAULT_ENGINE

FittedTokenizer = Annotated[
    str | None,
    typer.Option(
        help="'pretrained' (shipped) or an RQ-VAE checkpoint. "
        f"Default: {RUNS / RQVAE_FILE} if it exists, else 'pretrained'.",
        show_default=False,
    ),
]


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import found_in
    from rqvae_lib.data.item_folders import check_outside
    from rqvae_lib.semantic_ids.large_tables import check_large_path

    output: Path = given["output"]
    check_large_path(output)
    if output.resolve() != given["vectors"].resolve():  # which every command refuses alike
        check_outside(given["vectors"], output)
    found = () if given["tokenizer"] else found_in(RQVAE_FILE, output.parent)
    return Writes((OutputFile(output, "a large table of IDs", is_large_table),), reads=tuple(found))


@refuses(WORKERS_OF_RAY)
@writes(_outputs, "output")
def assign_command(
    context: typer.Context,
    vectors: Annotated[
        Path, typer.Option(help=f"{FOLDER_OF_VECTORS}.", metavar="FOLDER", show_default=False)
    ],
    output: Annotated[Path, typer.Option(help="The table to write, .parquet.")] = RUNS
    / "large_table.parquet",
    tokenizer: FittedTokenizer = None,
    engine: EngineOption = DEFAULT_ENGINE,
    workers: Workers = None,
    device: Device = "cpu",
) -> None:
    """Write the semantic IDs of a folder of vectors, as many as there are.

    A batch of vectors is in memory at a time, and of each item its id and its codes. The result
    does not depend on how the items are divided into files, nor on the engine: it has a row for
    each item, in the order of item ids, with each code and the number that tells equal codes apart.
    """
    from rqvae_lib.checkpoints.models import load_rqvae
    from rqvae_lib.cli.common import check_device, choose, shipped
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.tokenizer.assignment import assign_folder

    check_device(device)
    name = choose(tokenizer, RQVAE_FILE, "--tokenizer", output.parent)
    model, _ = load_rqvae(shipped(name))
    typer.echo(f"Using {name}.", err=True)
    context.with_resource(only_process_in(output.parent))
    done = assign_folder(model, vectors, output, engine=engine, workers=workers, device=device)
    typer.echo(
        f"Wrote the IDs of {done.items:,} items to {output}; {done.collisions:,} share their codes "
        "with an earlier item."
    )
