"""The command that writes the semantic IDs that a tokenizer gives to the items.

Seen at work in: chapter 00.
"""

from pathlib import Path
from typing import Annotated

import typer

from rqvae_lib.cli_common import (
    RUNS,
    DatasetName,
    Device,
    Embeddings,
    Interactions,
    Items,
    Seed,
    Tokenizer,
    app,
    check_device,
    load_catalogue,
)
from rqvae_lib.files import check_writable
from rqvae_lib.id_files import check_ending, write_ids
from rqvae_lib.locks import only_process_in
from rqvae_lib.named_datasets import open_dataset


@app.command("inference-rqvae")
def inference_rqvae_command(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="The table to write, .csv or .parquet.")] = RUNS
    / "semantic_ids.csv",
    dataset_name: DatasetName = None,
    interactions: Interactions = None,
    items: Items = None,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Write every item's semantic ID: item id, title, each code, and the ID as one string."""
    check_device(device)
    check_ending(output)
    check_writable(output)
    context.with_resource(only_process_in(output.parent))
    dataset = open_dataset(dataset_name, interactions, items)
    ids = load_catalogue(tokenizer, seed, dataset, embeddings, device)
    frame = ids.to_frame(dataset.items["item_id"].to_numpy(), dataset.titles)
    write_ids(output, frame)
    typer.echo(f"Wrote the IDs of {len(ids)} items to {output}. Catalogue {ids.sha256[:12]}…")
