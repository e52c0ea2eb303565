"""What the two commands that train a recommender share: settings, outputs, and last steps.

Seen at work in: chapter 08.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rqvae_lib.cli.outputs import OutputFile, Writes, checkpoint_of
from rqvae_lib.cli.training_state import state_file
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


def measure_and_save(
    save: Callable[..., None],
    path: Path,
    model: Any,
    dataset: "Dataset | HistoriesFile",
    split: "Split",
    *,
    seed: int,
    device: str,
    half: bool,
    force: bool,
    **more: Any,
) -> None:
    """Measure a trained recommender on the validation targets, write it, and report.

    What else its card is to say comes in `more`, as JSON.
    """
    from rqvae_lib.checkpoints.models import round_to_half
    from rqvae_lib.cli.common import command_line
    from rqvae_lib.cli.outputs import keeping_the_old
    from rqvae_lib.evaluation.validation import validate

    if half:
        round_to_half(model)  # measured as it will be loaded
    metrics = validate(model, split, device)
    means = {name: value.mean for name, value in metrics.items()}
    said = {"command": command_line(), "seed": seed, "metrics": means, **more}
    with keeping_the_old(path, force=force):
        save(path, model, dataset, split, half=half, **said)
    for name, (mean, interval) in metrics.items():
        typer.echo(f"{name}: {mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    typer.echo("In brackets: 95 % intervals over people.")
    typer.echo(f"Wrote {path}.")
