"""The tables of the command that compares models: printed, and as a file.

A model's numbers are taken from its evaluation once, and the lists that it recommended are dropped:
those of millions of targets would take gigabytes.

Derived in: chapter 11.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer
from torch import Tensor

from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.evaluation.evaluator import METRICS, Evaluation, Mean, mean_over_people
from rqvae_lib.io.atomic import write_atomically

COLUMNS = ("model", "ranking", "metric", "k", "mean", "low", "high")  # of the table as a file
AT = 10  # the cut-off of everything that is reported at one only
COMPARED = ("Recall", "NDCG")  # the metrics of the tables of differences
OPPONENTS = ("item-knn", "near-pairs")  # everything is compared with the stronger one of them


@dataclass(frozen=True)
class Row:
    """The numbers of one model."""

    ranking: str  # "exact", or how many beams searched
    means: dict[tuple[str, int], Mean]  # by metric and cut-off
    coverage: float  # this and the others at `AT`
    popularity: float
    unseen: Mean | None  # None: every target was met in training
    of_people: dict[str, Tensor]  # (U,) float64, by metric: what is compared person by person


def row_of(evaluation: Evaluation) -> Row:
    """Return all numbers of an evaluation."""
    return Row(
        ranking="exact" if evaluation.exact else f"{evaluation.beams} beams",
        means={(metric, k): evaluation.mean(metric, k) for metric in METRICS for k in CUTOFFS},
        coverage=evaluation.coverage(AT),
        popularity=evaluation.mean_popularity(AT),
        unseen=evaluation.unseen(AT),
        of_people={metric: evaluation.of_people(metric, AT) for metric in COMPARED},
    )


def in_one_line(name: str, row: Row) -> str:
    """Return the line for a model that is done."""
    numbers = (f"{metric}@{AT} {_with_interval(row.means[metric, AT])}" for metric in COMPARED)
    return f"{name}: {', '.join(numbers)}."


def print_tables(rows: dict[str, Row]) -> None:
    """Print each metric by cut-off, what the lists are like, and differences between the models."""
    if not rows:
        return
    for metric in METRICS:
        _print_table(
            [metric, *(f"@{k}" for k in CUTOFFS)],
            {
                name: [f"{row.means[metric, k].mean:.3f}" for k in CUTOFFS]
                for name, row in rows.items()
            },
        )
    _print_table(
        [f"at {AT}", "ranking", "coverage", "popularity", "unseen"],
        {name: _about_lists(row) for name, row in rows.items()},
    )
    typer.echo(
        "ranking: exact where every item was scored, else how many beams searched.\n"
        "coverage: share of the catalogue in anybody's list.\n"
        "popularity: training interactions per recommended item, on average.\n"
        "unseen: Recall for targets that nobody had in training."
    )
    if len(rows) == 1:
        return
    best = _best_of(rows, rows)
    opponents = [name for name in OPPONENTS if name in rows]
    for other in dict.fromkeys([best, *([_best_of(rows, opponents)] if opponents else [])]):
        _print_differences(rows, other)
    typer.echo("In brackets: 95 % intervals over people, for the same people.")


def _best_of(rows: dict[str, Row], names: Iterable[str]) -> str:
    return max(names, key=lambda name: rows[name].means["NDCG", AT].mean)


def write_rows(path: Path, rows: dict[str, Row]) -> None:
    """Write a line for each model, metric and cut-off."""
    with (
        write_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, row in rows.items():
            for (metric, k), (mean, (low, high)) in row.means.items():
                writer.writerow([name, row.ranking, metric, k, mean, low, high])
            for metric, number in (("coverage", row.coverage), ("popularity", row.popularity)):
                writer.writerow([name, row.ranking, metric, AT, number, "", ""])
            if row.unseen is not None:
                numbers = [row.unseen.mean, *row.unseen.interval]
                writer.writerow([name, row.ranking, "unseen", AT, *numbers])


def _print_differences(rows: dict[str, Row], other: str) -> None:
    """Print by how much each model is better than one of them, for the same people."""
    _print_table(
        [f"difference to {other}", *(f"{metric}@{AT}" for metric in COMPARED)],
        {
            name: [
                _with_interval(
                    mean_over_people(row.of_people[metric] - rows[other].of_people[metric])
                )
                for metric in COMPARED
            ]
            for name, row in rows.items()
            if name != other
        },
    )


def _about_lists(row: Row) -> list[str]:
    return [
        row.ranking,
        f"{row.coverage:.1%}",
        f"{row.popularity:.0f}",
        "none" if row.unseen is None else _with_interval(row.unseen),
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
