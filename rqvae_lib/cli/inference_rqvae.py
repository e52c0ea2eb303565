"""The command that writes every item's semantic ID into a table.

Seen at work in: chapter 00.
"""

from pathlib import Path
from typing import Annotated

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    RUNS,
    Device,
    Embeddings,
    Seed,
    Tokenizer,
)
from rqvae_lib.training.config import TrainingConfig


@takes_data
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
    from rqvae_lib.cli.common import check_device, check_not_read
    from rqvae_lib.io.atomic import check_writable
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.semantic_ids.files import check_ending, write_ids

    check_device(device)
    check_ending(output)
    check_writable(output)
    read = (data.interactions, data.items, data.dataset_name)
    check_not_read(output, read, _is_table_of_ids)
    found = find_tokenizer(tokenizer, embeddings)
    context.with_resource(only_process_in(output.parent))
    dataset = data.load()
    ids = catalogue_of(found, seed, dataset, embeddings, device)
    frame = ids.to_frame(dataset.items["item_id"].to_numpy(), dataset.titles)
    write_ids(output, frame)
    typer.echo(f"Wrote the IDs of {len(ids):,} items to {output}. Catalogue: {ids.sha256[:12]}…")


def _is_table_of_ids(path: Path) -> bool:
    from rqvae_lib.semantic_ids.column_files import columns_of, is_own

    try:
        return is_own(columns_of(path))
    except ValueError:
        return False
