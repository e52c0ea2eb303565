"""The command that compares models: one table, the same targets for all of them.

Derived in: chapter 11.
"""

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from rqvae_lib.cli.conflicts import DATA_OF_HISTORIES, Useless, refuses, would_change_nothing
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    Device,
    Histories,
    OutputTable,
    SplitOption,
)
from rqvae_lib.cli.outputs import OutputFile, Writes, table_beginning, writes
from rqvae_lib.cli.processes import shared_by_processes
from rqvae_lib.data.names import DEFAULT_SPLIT, SplitName
from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.generation.config import NUM_BEAMS

if TYPE_CHECKING:
    from torch import Tensor

    from rqvae_lib.checkpoints.cards import Identified
    from rqvae_lib.data.splits import Split
    from rqvae_lib.io.tensor_files import Card
    from rqvae_lib.models.base import Recommender, ScoresItems
    from rqvae_lib.models.item_knn import ItemKNN
    from rqvae_lib.models.near_pairs import NearPairs
    from rqvae_lib.models.popularity import Popularity
    from rqvae_lib.models.sasrec import SASRec

BaselineName = Literal["popularity", "item-knn", "near-pairs"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
OF_ALL_HISTORIES = ("item-knn", "near-pairs")  # counted in memory


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import check_csv
    from rqvae_lib.cli.evaluation_table import COLUMNS

    output = given["output"]
    if output is None:
        return Writes(())
    check_csv(output)
    return Writes((OutputFile(output, "a table of an evaluation", table_beginning(*COLUMNS)),))


@shared_by_processes
@takes_data
@refuses(
    Useless(
        ("beams", "device", "mix"),
        lambda given: bool(given["models"]) and set(given["models"]) <= set(BASELINES),
        "baselines score every item, on the CPU, and there is no model to mix them with",
    ),
    DATA_OF_HISTORIES,
)
@writes(_outputs, "output")
def evaluate_command(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="'popularity', 'item-knn', 'near-pairs', shipped models by name, or checkpoints; "
            "one row each. Default: the shipped models of this dataset and split.",
            show_default=False,
        ),
    ] = None,
    data: DataOptions = EMBEDDED_DATA,
    histories: Histories = None,
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
    no_baselines: Annotated[
        bool,
        typer.Option(
            "--no-baselines",
            help="Leave out the three baselines, which otherwise stand beside other models.",
        ),
    ] = False,
    mix: Annotated[
        BaselineName | None,
        typer.Option(
            help="Also show each model mixed with this baseline, by the share that does best on "
            "validation targets.",
            show_default=False,
        ),
    ] = None,
    output: OutputTable = None,
    device: Device = "cpu",
) -> None:
    """Compare models: full-ranking Recall, NDCG and MRR, with intervals over people.

    All held-out targets count, none are sampled. Only where histories come from a file of
    pack-histories (--histories), a sample of users is asked, with about 10,000 targets.

    A model is shown, and written to the table, when it is done, so an interruption keeps those
    before it. Several processes (torchrun) share the targets, and give the same table.

    A checkpoint says on which split it was trained, and is evaluated on that split only: on
    another, it may have learned from the targets.
    """
    from rqvae_lib.cli.evaluation_table import Row, in_one_line, print_tables, row_of, write_rows
    from rqvae_lib.evaluation.evaluator import evaluate
    from rqvae_lib.ops.world import current_world

    world = current_world()
    names, loaded, held_out = world.first_then_others(lambda: _load(context, data, world.is_first))
    positions = held_out.validation if part == "validation" else held_out.test
    _say_targets(held_out, positions, part, allow_repeats)
    rows: dict[str, Row] = {}
    try:
        for name, model in _in_turn(names, loaded, held_out, context.params):
            found = evaluate(
                model, held_out, positions, beams=beams, allow_repeats=allow_repeats, progress=True
            )
            if world.is_first:  # all processes evaluate a model together
                rows[name] = row_of(found)
                typer.echo(in_one_line(name, rows[name]), err=True)
                if output:
                    write_rows(output, rows)
    finally:  # an interruption keeps what is done
        print_tables(rows)
    if output:
        typer.echo(f"Wrote {output}.")


def _in_turn(
    names: list[str], loaded: dict[str, Any], held_out: "Split", given: Mapping[str, Any]
) -> "Iterator[tuple[str, Recommender | ScoresItems]]":
    """Make each model of the table when its turn comes, and behind a trained one its mixture.

    Args:
        names: in the order of the table.
        loaded: the trained ones; each is taken out.
        held_out: what the others are counted in.
        given: the command's options.

    Yields:
        The name of a row, and its model.
    """
    from rqvae_lib.evaluation.validation import tuned_mixture

    mix, part, allow_repeats = given["mix"], given["part"], given["allow_repeats"]
    baseline = cache(partial(_baseline, held_out=held_out, part=part))  # each is counted once
    for name in names:
        typer.echo(f"Evaluating {name}.", err=True)
        if name in BASELINES:
            yield name, baseline(name)
            continue
        model = loaded.pop(name).to(given["device"])
        yield name, model
        if mix is not None:
            mixed = tuned_mixture(model, baseline(mix), held_out, allow_repeats=allow_repeats)
            _say_share(name, mix, mixed.share, part)
            yield f"{name} + {mix}", mixed


def _load(
    context: typer.Context, data: DataOptions, writes_table: bool
) -> "tuple[list[str], dict[str, Any], Split]":
    """Load models and data: the models' names in the order of the table, the models, the split.

    The process that writes the table takes its folder for itself.
    """
    from rqvae_lib.checkpoints.cards import check_data, check_split
    from rqvae_lib.checkpoints.models import load_model
    from rqvae_lib.cli.common import check_device, hold_out, load_data, typed
    from rqvae_lib.io.locks import only_process_in

    given = context.params
    models, split, histories = given["models"] or [], given["split"], given["histories"]
    no_baselines, output = given["no_baselines"], given["output"]
    check_device(given["device"])
    names = _with_baselines(list(dict.fromkeys(models)), no_baselines)
    if histories is not None:
        named = [*models, given["mix"]]
        names = _of_histories(names, named, histories, no_baselines)
    loaded = {name: load_model(name) for name in names if name not in BASELINES}
    for name, (_, card) in loaded.items():
        check_split(name, card, split)
    _check_beams(loaded, typed(context, "beams"))
    if output and writes_table:
        context.with_resource(only_process_in(output.parent))
    dataset = load_data(data, histories)
    held_out = hold_out(dataset, split)
    if not names:
        loaded = _shipped_of(dataset, split, no_baselines)
        names = [*(() if no_baselines else BASELINES), *loaded]
        _check_beams(loaded, typed(context, "beams"))
    if given["mix"] is not None and not loaded:
        raise ValueError(
            f"there is no model to mix {given['mix']} with: name one, or leave --mix out"
        )
    for name, (_, card) in loaded.items():
        check_data(name, card, dataset)
    # The split has what is needed; the tables would stay in memory beside it.
    return names, {name: model for name, (model, _) in loaded.items()}, held_out


def _with_baselines(names: list[str], no_baselines: bool) -> list[str]:
    """Return the models to evaluate: those that are named, behind the baselines that are not."""
    named = [name for name in names if name in BASELINES]
    if named and no_baselines:
        raise ValueError(f"{named[0]} is named, but --no-baselines leaves it out: drop one of both")
    if len(named) == len(names) or no_baselines:
        return names
    return [*(name for name in BASELINES if name not in named), *names]


def _of_histories(
    names: list[str], given: list[str], histories: Path, no_baselines: bool
) -> list[str]:
    """Return the models to evaluate on a sample of a file: without what must count in all of it.

    Args:
        names: with the baselines that were not named.
        given: those that were named, and the baseline that models are mixed with.
        histories: the file.
        no_baselines: whether those that were not named are left out.
    """
    for name in OF_ALL_HISTORIES:
        if name in given:
            raise ValueError(
                f"{name} is made of all training histories in memory, and {histories} may be "
                "larger: leave it out"
            )
    if not names and no_baselines:
        raise ValueError("--no-baselines leaves nothing to evaluate: name a model, or leave it out")
    return [name for name in names if name not in OF_ALL_HISTORIES] or ["popularity"]


def _check_beams(loaded: "Mapping[str, tuple[Any, Card]]", given: list[str]) -> None:
    """Refuse to say how many beams search, where every model scores every item."""
    from rqvae_lib.models.base import ScoresItems

    if given and loaded and all(isinstance(model, ScoresItems) for model, _ in loaded.values()):
        raise ValueError(would_change_nothing("each of these models scores every item", given))


def _shipped_of(
    dataset: "Identified", split: SplitName, needed: bool = False
) -> "dict[str, tuple[Recommender | SASRec, Card]]":
    """Load the shipped models of a dataset that were trained on a split.

    Raises:
        ValueError: if there are none, and some are needed.
    """
    from rqvae_lib.checkpoints.models import load_model
    from rqvae_lib.checkpoints.shipped import shipped_models

    loaded = {name: load_model(name) for name in shipped_models(dataset.name)}
    found = {
        name: (model, card)
        for name, (model, card) in loaded.items()
        if card.get("split") == split and card.get("data") == dataset.checksum  # not of a part
    }
    if needed and not found:
        raise ValueError(
            f"no shipped model was trained on {dataset.name} and the split {split!r}, so "
            "--no-baselines leaves nothing to evaluate: name a model, or leave it out"
        )
    return found


def _baseline(name: str, held_out: "Split", part: str) -> "Popularity | ItemKNN | NearPairs":
    """Make a baseline of the training part, and say what was chosen of it."""
    from rqvae_lib.evaluation.validation import tuned_item_knn, tuned_near_pairs
    from rqvae_lib.models.popularity import Popularity

    if name == "popularity":
        return Popularity(held_out.popularity)
    if name == "item-knn":
        item_knn = tuned_item_knn(held_out)
        _say_settings(name, f"with a shrinkage of {item_knn.shrinkage:g}", item_knn.last, part)
        return item_knn
    near = tuned_near_pairs(held_out)
    _say_settings(name, f"and counts pairs at most {near.window} apart", near.last, part)
    return near


def _say_targets(held_out: "Split", positions: "Tensor", part: str, allow_repeats: bool) -> None:
    """Say what is asked, of how many people, and which items compete."""
    import torch

    people = len(torch.unique(held_out.everything.user_of(positions)))
    not_had = "" if allow_repeats else " that a person has not had"
    typer.echo(
        f"{len(positions):,} {part} targets of {people:,} people, {held_out.name}; every item "
        f"of {held_out.num_items:,}{not_had} competes. Each person has one vote."
    )
    _say_repeated(held_out, positions, allow_repeats)


def _say_settings(name: str, setting: str, last: int | None, part: str) -> None:
    """Say what was chosen of a baseline, and where that flatters it."""
    from rqvae_lib.evaluation.validation import HISTORY_LENGTHS

    items = {None: "all items", 1: "the last item"}.get(last, f"the last {last} items")
    typer.echo(
        f"{name} reads {items} of a history, {setting}: the best NDCG@10 of "
        f"{2 * len(HISTORY_LENGTHS)} settings on validation targets."
    )
    _say_flattered(part)


def _say_share(name: str, counted: str, share: float, part: str) -> None:
    """Say which share was chosen for a mixture, and where that flatters it."""
    from rqvae_lib.evaluation.validation import SHARES

    typer.echo(
        f"{name} + {counted} gives {counted} a share of {share:g}: the best NDCG@10 of "
        f"{len(SHARES)} shares on validation targets."
    )
    _say_flattered(part)


def _say_flattered(part: str) -> None:
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
