"""The command that compares models: one table, the same targets for all of them.

Derived in: chapter 11.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from torch import Tensor

from rqvae_lib.baselines import Popularity
from rqvae_lib.checkpoints import load_model, shipped_models
from rqvae_lib.cli_common import (
    DatasetName,
    Device,
    Interactions,
    Items,
    SplitOption,
    app,
    check_data,
    check_device,
    claim_csv,
    hold_out,
)
from rqvae_lib.comparison import CUTOFFS, METRICS, Evaluation, Mean, difference, evaluate
from rqvae_lib.datasets import Dataset
from rqvae_lib.files import write_atomically
from rqvae_lib.item_knn import ItemKNN
from rqvae_lib.named_datasets import open_dataset
from rqvae_lib.splits import Split
from rqvae_lib.validation import HISTORY_LENGTHS, SHRINKAGES, tuned_item_knn

BASELINES = ("popularity", "item-knn")
AT = 10  # the cut-off of everything that is reported at one only


@app.command("evaluate")
def evaluate_command(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="'popularity', 'item-knn', shipped models by name, or checkpoints; each as one "
            "row. Default: both baselines and every shipped model of the data set.",
            show_default=False,
        ),
    ] = None,
    dataset_name: DatasetName = None,
    interactions: Interactions = None,
    items: Items = None,
    split: SplitOption = "leave-one-out",
    part: Annotated[
        Literal["validation", "test"],
        typer.Option(help="Which held-out targets: for choosing a model, or for reporting."),
    ] = "test",
    beams: Annotated[
        int, typer.Option(min=max(CUTOFFS), help="Of the models that write IDs by beam search.")
    ] = 50,
    output: Annotated[
        Path | None,
        typer.Option(help="Write all numbers to this CSV file, too.", show_default=False),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Compare models: full-ranking Recall, NDCG and MRR, with intervals over people.

    A checkpoint says on which split it was trained, and is evaluated on that split only: on
    another, it may have learned from the targets.
    """
    check_device(device)
    if output:
        context.with_resource(claim_csv(output))
    dataset = open_dataset(dataset_name, interactions, items)
    held_out = hold_out(dataset, split)
    names = models or [*BASELINES, *shipped_models(dataset.name)]
    found = {name: _evaluate(name, dataset, held_out, split, part, beams, device) for name in names}
    people = len(next(iter(found.values())).of_people("Recall", AT))
    targets = len(next(iter(found.values())).targets)
    typer.echo(
        f"{targets:,} {part} targets of {people:,} people, {split}; every item of "
        f"{dataset.num_items:,} that a person has not had competes. Each person has one vote."
    )
    _say_repeated(held_out, held_out.validation if part == "validation" else held_out.test)
    for metric in METRICS:
        _print_table(
            [metric, *(f"@{k}" for k in CUTOFFS)],
            {name: [f"{e.mean(metric, k).mean:.3f}" for k in CUTOFFS] for name, e in found.items()},
        )
    _print_table(
        [f"at {AT}", "coverage", "popularity", "unseen"],
        {name: _about_lists(evaluation) for name, evaluation in found.items()},
    )
    typer.echo(
        "coverage: share of the catalogue in anybody's list. popularity: training interactions of "
        "a recommended item, on average. unseen: Recall for targets that nobody had in training."
    )
    best = max(found, key=lambda name: found[name].mean("NDCG", AT).mean)
    _print_table(
        [f"to {best}", f"Recall@{AT}", f"NDCG@{AT}"],
        {
            name: [_with_interval(difference(e, found[best], m, AT)) for m in ("Recall", "NDCG")]
            for name, e in found.items()
            if name != best
        },
    )
    typer.echo("In brackets: 95 % intervals over people, for the same people.")
    if output:
        _write(output, found)
        typer.echo(f"Wrote {output}.")


def _evaluate(
    name: str,
    dataset: Dataset,
    held_out: Split,
    split: str,
    part: str,
    beams: int,
    device: str,
) -> Evaluation:
    positions = held_out.validation if part == "validation" else held_out.test
    if name == "popularity":
        popularity = Popularity(held_out.train, dataset.num_items)
        return evaluate(popularity, held_out, positions, dataset.num_items)
    if name == "item-knn":
        neighbors = tuned_item_knn(held_out, dataset.num_items)
        _say_settings(neighbors, part)
        return evaluate(neighbors, held_out, positions, dataset.num_items)
    model, card = load_model(name)
    check_data(name, card, dataset)
    trained_on = card.get("split", "leave-one-out")
    if trained_on != split:
        raise ValueError(
            f"{name} was trained on the split {trained_on!r}, so it may have seen the targets of "
            f"{split!r}: pass --split {trained_on}, or train one on {split!r}"
        )
    return evaluate(model.to(device), held_out, positions, dataset.num_items, beams=beams)


def _say_settings(knn: ItemKNN, part: str) -> None:
    """Say what was chosen of item-kNN, and where that flatters it."""
    items = {None: "all items", 1: "the last item"}.get(knn.last, f"the last {knn.last} items")
    typer.echo(
        f"item-knn reads {items} of a history, with a shrinkage of {knn.shrinkage:g}: the best "
        f"NDCG@10 of {len(SHRINKAGES) * len(HISTORY_LENGTHS)} settings on validation targets."
    )
    if part == "validation":
        typer.echo("These are the targets below, so its numbers are a little too high.")


def _say_repeated(held_out: Split, positions: Tensor) -> None:
    """Say how many targets no model here can hit, since their users had them before."""
    histories, targets = held_out.histories_and_targets(positions)
    pairs = zip(histories, targets, strict=True)
    repeated = sum(bool((history == target).any()) for history, target in pairs)
    if repeated:
        typer.echo(
            f"{repeated:,} of {len(targets):,} targets are in their user's own history; nothing "
            "that a user had is recommended, so these count as misses: keep only the first "
            "interaction of each user with an item to leave them out."
        )


def _about_lists(evaluation: Evaluation) -> list[str]:
    unseen = evaluation.unseen(AT)
    return [
        f"{evaluation.coverage(AT):.1%}",
        f"{evaluation.mean_popularity(AT):.0f}",
        "none" if unseen is None else _with_interval(unseen),
    ]


def _with_interval(value: Mean) -> str:
    return f"{value.mean:.3f} [{value.interval.low:.3f}, {value.interval.high:.3f}]"


def _print_table(columns: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print rows below their columns: the first to the left, the others to the right."""
    lines = [list(columns), *([name, *cells] for name, cells in rows.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    typer.echo()
    for first, *cells in lines:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        typer.echo("  ".join([f"{first:<{widths[0]}}", *padded]))


def _write(path: Path, found: dict[str, Evaluation]) -> None:
    """Write a row for each model, metric and cut-off."""
    with (
        write_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "metric", "k", "mean", "low", "high"])
        for name, evaluation in found.items():
            for metric in METRICS:
                for k in CUTOFFS:
                    mean, (low, high) = evaluation.mean(metric, k)
                    writer.writerow([name, metric, k, mean, low, high])
            for metric, number in (
                ("coverage", evaluation.coverage(AT)),
                ("popularity", evaluation.mean_popularity(AT)),
            ):
                writer.writerow([name, metric, AT, number, "", ""])
            unseen = evaluation.unseen(AT)
            if unseen is not None:
                writer.writerow([name, "unseen", AT, unseen.mean, *unseen.interval])
