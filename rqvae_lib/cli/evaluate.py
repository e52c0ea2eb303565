"""The command that compares models: one table, the same targets for all of them.

Derived in: chapter 11.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rqvae_lib.cli.conflicts import Useless, refuses, would_change_nothing
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    Device,
    OutputTable,
    SplitOption,
)
from rqvae_lib.cli.outputs import OutputFile, Writes, table_beginning, writes
from rqvae_lib.data.names import DEFAULT_SPLIT, SplitName
from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.generation.config import NUM_BEAMS

if TYPE_CHECKING:
    from torch import Tensor

    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.data.splits import Split
    from rqvae_lib.evaluation.evaluator import Evaluation, Mean
    from rqvae_lib.io.tensor_files import Card
    from rqvae_lib.models.base import Recommender
    from rqvae_lib.models.item_knn import ItemKNN
    from rqvae_lib.models.popularity import Popularity
    from rqvae_lib.models.sasrec import SASRec

BASELINES = ("popularity", "item-knn")
COLUMNS = ("model", "ranking", "metric", "k", "mean", "low", "high")
AT = 10  # the cut-off of everything that is reported at one only


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import check_csv

    output = given["output"]
    if output is None:
        return Writes(())
    check_csv(output)
    return Writes((OutputFile(output, "a table of an evaluation", table_beginning(*COLUMNS)),))


@takes_data
@refuses(
    Useless(
        ("beams", "device"),
        lambda given: bool(given["models"]) and set(given["models"]) <= set(BASELINES),
        "baselines score every item, on the CPU",
    )
)
@writes(_outputs, "output")
def evaluate_command(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="'popularity', 'item-knn', shipped models by name, or checkpoints; one row each. "
            "Default: both baselines, and the shipped models of this dataset and split.",
            show_default=False,
        ),
    ] = None,
    data: DataOptions = EMBEDDED_DATA,
    split: SplitOption = DEFAULT_SPLIT,
    part: Annotated[
        Literal["validation", "test"],
        typer.Option(help="Which held-out targets: for choosing a model, or for reporting."),
    ] = "test",
    beams: Annotated[
        int,
        typer.Option(min=max(CUTOFFS), help="Beams of the search, for models that write IDs."),
    ] = NUM_BEAMS,
    allow_repeats: Annotated[
        bool,
        typer.Option(
            "--allow-repeats",
            help="Recommend also what a user had before, as where clicks or purchases repeat.",
        ),
    ] = False,
    output: OutputTable = None,
    device: Device = "cpu",
) -> None:
    """Compare models: full-ranking Recall, NDCG and MRR, with intervals over people.

    A checkpoint says on which split it was trained, and is evaluated on that split only: on
    another, it may have learned from the targets.
    """
    from rqvae_lib.checkpoints.cards import check_data, check_split
    from rqvae_lib.checkpoints.models import load_model
    from rqvae_lib.cli.common import check_device, hold_out, typed
    from rqvae_lib.evaluation.evaluator import evaluate
    from rqvae_lib.io.locks import only_process_in

    check_device(device)
    names = list(dict.fromkeys(models or []))
    loaded = {name: load_model(name) for name in names if name not in BASELINES}
    for name, (_, card) in loaded.items():
        check_split(name, card, split)
    if names:
        _check_beams(loaded, typed(context, "beams"))
    if output:
        context.with_resource(only_process_in(output.parent))
    dataset = data.load()
    held_out = hold_out(dataset, split)
    if not names:
        loaded = _shipped_of(dataset, split)
        names = [*BASELINES, *loaded]
        _check_beams(loaded, typed(context, "beams"))
    for name, (_, card) in loaded.items():
        check_data(name, card, dataset)
    positions = held_out.validation if part == "validation" else held_out.test
    found = {}
    for name in names:
        typer.echo(f"Evaluating {name}.", err=True)
        if name in BASELINES:
            model: Any = _baseline(name, held_out, part)
        else:
            model = loaded.pop(name)[0].to(device)
        found[name] = evaluate(model, held_out, positions, beams=beams, allow_repeats=allow_repeats)
    _print_targets(dataset, held_out, part, next(iter(found.values())), allow_repeats)
    _say_repeated(held_out, positions, allow_repeats)
    _print_tables(found)
    if output:
        _write(output, found)
        typer.echo(f"Wrote {output}.")


def _check_beams(loaded: "Mapping[str, tuple[Any, Card]]", given: list[str]) -> None:
    """Refuse to say how many beams search, where every model scores every item."""
    from rqvae_lib.models.base import ScoresItems

    if given and all(isinstance(model, ScoresItems) for model, _ in loaded.values()):
        raise ValueError(would_change_nothing("each of these models scores every item", given))


def _shipped_of(
    dataset: "Dataset", split: SplitName
) -> "dict[str, tuple[Recommender | SASRec, Card]]":
    """Load the shipped models of a dataset that were trained on a split."""
    from rqvae_lib.checkpoints.models import load_model, shipped_models

    loaded = {name: load_model(name) for name in shipped_models(dataset.name)}
    return {
        name: (model, card)
        for name, (model, card) in loaded.items()
        if card.get("split") == split and card.get("data") == dataset.checksum  # not of a part
    }


def _baseline(name: str, held_out: "Split", part: str) -> "Popularity | ItemKNN":
    """Make a baseline of the training part, and say what was chosen of it."""
    from rqvae_lib.evaluation.validation import tuned_item_knn
    from rqvae_lib.models.popularity import Popularity

    if name == "popularity":
        return Popularity(held_out.popularity)
    neighbors = tuned_item_knn(held_out)
    _say_settings(neighbors, part)
    return neighbors


def _print_targets(
    dataset: "Dataset", held_out: "Split", part: str, one: "Evaluation", allow_repeats: bool
) -> None:
    """Say what was asked, of how many people, and which items competed."""
    people = len(one.of_people("Recall", AT))
    not_had = "" if allow_repeats else " that a person has not had"
    typer.echo(
        f"{len(one.targets):,} {part} targets of {people:,} people, {held_out.name}; every item "
        f"of {dataset.num_items:,}{not_had} competes. Each person has one vote."
    )


def _print_tables(found: "dict[str, Evaluation]") -> None:
    """Print each metric by cut-off, what the lists are like, and differences to the best model."""
    from rqvae_lib.evaluation.evaluator import METRICS, difference

    for metric in METRICS:
        _print_table(
            [metric, *(f"@{k}" for k in CUTOFFS)],
            {name: [f"{e.mean(metric, k).mean:.3f}" for k in CUTOFFS] for name, e in found.items()},
        )
    _print_table(
        [f"at {AT}", "ranking", "coverage", "popularity", "unseen"],
        {name: _about_lists(evaluation) for name, evaluation in found.items()},
    )
    typer.echo(
        "ranking: exact where every item was scored, else how many beams searched.\n"
        "coverage: share of the catalogue in anybody's list.\n"
        "popularity: training interactions per recommended item, on average.\n"
        "unseen: Recall for targets that nobody had in training."
    )
    if len(found) == 1:
        return
    best = max(found, key=lambda name: found[name].mean("NDCG", AT).mean)
    _print_table(
        [f"difference to {best}", f"Recall@{AT}", f"NDCG@{AT}"],
        {
            name: [_with_interval(difference(e, found[best], m, AT)) for m in ("Recall", "NDCG")]
            for name, e in found.items()
            if name != best
        },
    )
    typer.echo("In brackets: 95 % intervals over people, for the same people.")


def _say_settings(knn: "ItemKNN", part: str) -> None:
    """Say what was chosen of item-kNN, and where that flatters it."""
    from rqvae_lib.evaluation.validation import HISTORY_LENGTHS, SHRINKAGES

    items = {None: "all items", 1: "the last item"}.get(knn.last, f"the last {knn.last} items")
    typer.echo(
        f"item-knn reads {items} of a history, with a shrinkage of {knn.shrinkage:g}: the best "
        f"NDCG@10 of {len(SHRINKAGES) * len(HISTORY_LENGTHS)} settings on validation targets."
    )
    if part == "validation":
        typer.echo("These are the targets below, so its numbers are a little too high.")


def _say_repeated(held_out: "Split", positions: "Tensor", allow_repeats: bool) -> None:
    """Say how many targets their users had before, and how these count."""
    repeated = int(held_out.had_before(positions).sum())
    if not repeated:
        return
    said = f"{repeated:,} of {len(positions):,} targets are in their user's own history"
    if allow_repeats:
        said += ", and can be hit, since what a user had is recommended too."
    else:
        said += (
            "; nothing that a user had is recommended, so these count as misses. Pass "
            "--allow-repeats to recommend such items too, or --repeats first to keep only the "
            "first interaction of each user with an item."
        )
    typer.echo(said, err=True)


def _about_lists(evaluation: "Evaluation") -> list[str]:
    unseen = evaluation.unseen(AT)
    return [
        _ranking(evaluation),
        f"{evaluation.coverage(AT):.1%}",
        f"{evaluation.mean_popularity(AT):.0f}",
        "none" if unseen is None else _with_interval(unseen),
    ]


def _ranking(evaluation: "Evaluation") -> str:
    return "exact" if evaluation.exact else f"{evaluation.beams} beams"


def _with_interval(value: "Mean") -> str:
    return f"{value.mean:.3f} [{value.interval.low:.3f}, {value.interval.high:.3f}]"


def _print_table(columns: Sequence[str], rows: dict[str, list[str]]) -> None:
    """Print rows below their columns: the first to the left, the others to the right."""
    lines = [list(columns), *([name, *cells] for name, cells in rows.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    typer.echo()
    for first, *cells in lines:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        typer.echo("  ".join([f"{first:<{widths[0]}}", *padded]))


def _write(path: Path, found: "dict[str, Evaluation]") -> None:
    """Write a row for each model, metric and cut-off."""
    from rqvae_lib.evaluation.evaluator import METRICS
    from rqvae_lib.io.atomic import write_atomically

    with (
        write_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, evaluation in found.items():
            ranking = _ranking(evaluation)
            for metric in METRICS:
                for k in CUTOFFS:
                    mean, (low, high) = evaluation.mean(metric, k)
                    writer.writerow([name, ranking, metric, k, mean, low, high])
            for metric, number in (
                ("coverage", evaluation.coverage(AT)),
                ("popularity", evaluation.mean_popularity(AT)),
            ):
                writer.writerow([name, ranking, metric, AT, number, "", ""])
            unseen = evaluation.unseen(AT)
            if unseen is not None:
                writer.writerow([name, ranking, "unseen", AT, unseen.mean, *unseen.interval])
