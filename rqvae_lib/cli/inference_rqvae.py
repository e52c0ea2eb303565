"""The command that writes every item's semantic ID into a table.

Seen at work in: chapter 00.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.cli.conflicts import SEED_OF_RANDOM, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    RQVAE_FILE,
    RUNS,
    Device,
    Embeddings,
    Seed,
    Tokenizer,
)
from rqvae_lib.cli.outputs import OutputFile, Writes, writes
from rqvae_lib.training.config import TrainingConfig


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import found_in
    from rqvae_lib.semantic_ids.column_files import is_id_table
    from rqvae_lib.semantic_ids.files import check_ending

    output: Path = given["output"]
    check_ending(output)
    found = () if given["tokenizer"] else found_in(RQVAE_FILE, output.parent)
    return Writes((OutputFile(output, "a table of IDs", is_id_table),), reads=tuple(found))


@takes_data
@refuses(SEED_OF_RANDOM)
@writes(_outputs, "output")
def inference_rqvae_command(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The table to write, .csv or .parquet.")] = RUNS
    / "semantic_ids.csv",
    data: DataOptions = EMBEDDED_DATA,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    seed: Seed = TrainingConfig.seed,
    device: Device = "cpu",
) -> None:
    """Write every item's semantic ID: item id, title, each code, and the ID as one string."""
    from rqvae_lib.cli.catalogue import catalogue_of, find_tokenizer
    from rqvae_lib.cli.common import check_device
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.semantic_ids.files import write_ids

    check_device(device)
    found = find_tokenizer(tokenizer, embeddings, folder=output.parent)
    context.with_resource(only_process_in(output.parent))
    dataset = data.load()
    ids = catalogue_of(found, seed, dataset, embeddings, device)
    frame = ids.to_frame(dataset.items["item_id"].to_numpy(), dataset.titles)
    write_ids(output, frame)
    typer.echo(f"Wrote the IDs of {len(ids):,} items to {output}. Catalogue: {ids.sha256[:12]}…")
