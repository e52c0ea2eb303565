"""The command that compares tokenizers: the RQ-VAE on several seeds, beside residual k-means.

Derived in: chapter 05.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.conflicts import SPLIT_OF_HISTORIES, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    CodebookSize,
    ContentOption,
    Device,
    Embeddings,
    Levels,
    OutputTable,
    SplitOption,
    Steps,
)
from rqvae_lib.cli.outputs import OutputFile, Writes, table_beginning, writes
from rqvae_lib.data.names import DEFAULT_CONTENT, DEFAULT_SPLIT
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RQVAE_STEPS, RQVAE_TRAINING

if TYPE_CHECKING:
    from rqvae_lib.tokenizer.metrics import TokenizerMetrics


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import check_csv

    output = given["output"]
    if output is None:
        return Writes(())
    check_csv(output)
    is_own = table_beginning("tokenizer", "seed", "collision_rate", "variance_lost")
    return Writes((OutputFile(output, "a comparison of tokenizers", is_own),))


@takes_data
@refuses(SPLIT_OF_HISTORIES)
@writes(_outputs, "output")
def compare_tokenizers_command(
    context: typer.Context,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds to try.")] = 5,
    data: DataOptions = EMBEDDED_DATA,
    embeddings: Embeddings = None,
    content: ContentOption = DEFAULT_CONTENT,
    split: SplitOption = DEFAULT_SPLIT,
    levels: Levels = RQVAEConfig.num_levels,
    codebook_size: CodebookSize = RQVAEConfig.codebook_size,
    steps: Steps = RQVAE_STEPS,
    output: OutputTable = None,
    device: Device = "cpu",
) -> None:
    """Train the RQ-VAE on several seeds, beside residual k-means, and print how both do.

    Both have the same number of levels and codewords. An RQ-VAE that uses fewer of them, or
    collides more than residual k-means, has collapsed.
    """
    from rqvae_lib.cli import common
    from rqvae_lib.data.splits import split_by_name
    from rqvae_lib.embeddings.item_vectors import item_vectors
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.tokenizer.metrics import tokenizer_metrics
    from rqvae_lib.training.recipes import new_rqvae, train_rqvae

    common.check_device(device)
    common.check_embeddings(embeddings, content)
    if output:
        context.with_resource(only_process_in(output.parent))
    dataset = data.load()
    common.check_codebook_size(codebook_size, dataset.name, dataset.num_items)
    chosen = None if content == "text" else split_by_name(dataset, split)
    if content != "collaborative":
        common.say_vectors(dataset, embeddings)
    vectors = item_vectors(dataset, content, embeddings, chosen)
    width = vectors.tensor.shape[1]
    config = RQVAEConfig(width, num_levels=levels, codebook_size=codebook_size)
    baseline = RQVAEConfig.residual_kmeans(width, num_levels=levels, codebook_size=codebook_size)
    training = replace(RQVAE_TRAINING, num_steps=steps)
    rows: list[dict[str, object]] = []
    _print_row(
        "tokenizer", "seed", "used by level, %", "perplexity", "collide", "variance lost", levels
    )
    for seed in range(seeds):
        trained, _ = train_rqvae(vectors, config, replace(training, seed=seed), device=device)
        fitted = new_rqvae(vectors.tensor, baseline, seed=seed)
        for name, model in (("RQ-VAE", trained), ("R-KMeans", fitted)):
            metrics = tokenizer_metrics(model, vectors.tensor)
            used = " ".join(f"{100 * share:5.1f}" for share in metrics.utilization)
            perplexity = " ".join(f"{number:3.0f}" for number in metrics.perplexity)
            collide, lost = f"{metrics.collision_rate:.2%}", f"{metrics.variance_lost:.1%}"
            _print_row(name, seed, used, perplexity, collide, lost, levels)
            rows.append({"tokenizer": name, "seed": seed} | _columns(metrics))
        if output:  # after each seed, so that an interruption loses none that is done
            _write(output, rows)
    if output:
        typer.echo(f"Wrote {output}.")


def _write(output: Path, rows: list[dict[str, object]]) -> None:
    """Write the rows that are done so far, at least one."""
    from rqvae_lib.io.atomic import write_atomically

    with write_atomically(output) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _print_row(
    name: str, seed: object, used: str, perplexity: str, collide: str, lost: str, levels: int
) -> None:
    """Print a row of the table, whose columns are as wide as so many levels need."""
    used_width, perplexity_width = max(16, 6 * levels - 1), max(10, 4 * levels - 1)
    typer.echo(
        f"{name:<11} {seed:>4}  {used:<{used_width}}  {perplexity:<{perplexity_width}}  "
        f"{collide:>7}  {lost:>13}"
    )


def _columns(metrics: "TokenizerMetrics") -> dict[str, str]:
    """Return a row of the CSV file: four digits say enough."""
    by_level = {"used": metrics.utilization, "perplexity": metrics.perplexity}
    numbers = {"collision_rate": metrics.collision_rate, "variance_lost": metrics.variance_lost}
    numbers |= {
        f"{name}_{level}": number
        for name, levels in by_level.items()
        for level, number in enumerate(levels, 1)
    }
    return {name: f"{number:.4g}" for name, number in numbers.items()}
