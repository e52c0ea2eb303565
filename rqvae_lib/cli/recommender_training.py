"""What the two commands that train a recommender share: settings, outputs, and the training.

Seen at work in: chapter 08.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from rqvae_lib.cli.outputs import OutputFile, Writes, checkpoint_of
from rqvae_lib.cli.training_state import state_file, state_path
from rqvae_lib.training.config import RECOMMENDER_TRAINING, TrainingConfig

if TYPE_CHECKING:
    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.data.histories_file import HistoriesFile
    from rqvae_lib.data.splits import Split


def training_config(
    steps: int, batch_size: int, learning_rate: float, weight_decay: float, seed: int
) -> TrainingConfig:
    """Return the settings that the options ask for."""
    return replace(
        RECOMMENDER_TRAINING,
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )


def outputs_of_training(
    model: Path, what: str, kinds: Sequence[str], reads: Sequence[Path] = ()
) -> Writes:
    """Return what a training writes: a model, and its state beside it.

    Args:
        model: the model's file.
        what: "a recommender".
        kinds: of checkpoints, those that may be in it.
        reads: as `Writes`.
    """
    return Writes(
        (OutputFile(model, what, checkpoint_of(*kinds)), state_file(model)), reads=tuple(reads)
    )


class Prepared(NamedTuple):
    """What the first process, or the only one, has at hand when a training begins."""

    trained_on: tuple[Any, ...]  # the arguments of the training, which all processes get
    split: "Split"  # what it is measured on, which all processes get
    dataset: "Dataset | HistoriesFile"
    origin: Mapping[str, Any]  # what the card says of the IDs' origin, as JSON


def run_training(
    context: typer.Context,
    path: Path,
    prepare: Callable[[], Prepared],
    train: Callable[..., tuple[Any, Any]],
    save: Callable[..., None],
) -> None:
    """Train a recommender, measure it on the validation targets, write it, and report.

    Several processes train and measure it together. The first one, or the only one, does the rest.

    Args:
        context: of the command, whose options say how to train.
        path: the model's file.
        prepare: called in the first process, before anything else.
        train: `train_recommender` or `train_sasrec`.
        save: `save_recommender` or `save_sasrec`.
    """
    from rqvae_lib.checkpoints.content import round_to_half
    from rqvae_lib.cli.common import command_line
    from rqvae_lib.cli.outputs import keeping_the_old
    from rqvae_lib.evaluation.validation import validate
    from rqvae_lib.ops.world import current_world

    world, given = current_world(), context.params
    resume, force = given["resume"], given["force"]
    prepared = world.in_first(prepare)

    def for_all() -> "tuple[tuple[Any, ...], Split]":
        assert prepared  # in the first process
        return prepared.trained_on, prepared.split

    trained_on, split = world.from_first(for_all)  # one message, with the histories of both once
    model, _ = train(
        *trained_on,
        device=given["device"],
        state_path=state_path(path),
        resume=resume,
        overwrite=force and not resume,
    )
    if given["half"]:
        round_to_half(model)  # measured as it will be loaded
    metrics = validate(model, split, given["device"])
    means = {name: value.mean for name, value in metrics.items()}

    def write() -> None:
        assert prepared  # in the first process
        said = {"command": command_line(), "seed": given["seed"], "metrics": means}
        with keeping_the_old(path, force=force):
            save(
                path, model, prepared.dataset, split, half=given["half"], **said, **prepared.origin
            )

    world.in_first(write)
    for name, (mean, interval) in metrics.items():
        typer.echo(f"{name}: {mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    typer.echo("In brackets: 95 % intervals over people.")
    typer.echo(f"Wrote {path}.")
