"""The saved state beside a model: what a training resumes from, and what no other one may replace.

Used by: the commands that train.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rqvae_lib.cli.outputs import OutputFile, checkpoint_of, old_models
from rqvae_lib.training.config import TrainingConfig

if TYPE_CHECKING:
    from rqvae_lib.training.state import SavedTraining


def state_path(model: Path) -> Path:
    """Return where the state of a model's training is saved: `rqvae-state.safetensors`."""
    return model.with_name(f"{model.stem}-state{model.suffix}")


def state_file(model: Path) -> OutputFile:
    """Return the state as an output of a command that trains a model."""
    is_state = checkpoint_of("training-state")
    return OutputFile(state_path(model), "the state of a training", is_state)


def check_state(model: Path, training: TrainingConfig, *, resume: bool, force: bool) -> None:
    """Refuse to resume what is not there, and to replace what nobody has yet got a model of.

    A finished training may be replaced if its model was written, and is still there or kept.

    Args:
        model: the file that the training writes its model to.
        training: the settings of the training that is asked for.
        resume, force: --resume and --force.

    Raises:
        FileNotFoundError: if there is nothing to resume.
        ValueError: if an unfinished training would be replaced.
    """
    from rqvae_lib.training.state import check_new_training, describe_training, read_training

    state = state_path(model)
    if resume:
        if not state.is_file():
            raise FileNotFoundError(
                f"{state} does not exist, so there is nothing to resume: leave --resume out, or "
                "name the folder of the training as --output"
            )
        return
    if force or not state.is_file():
        return
    check_new_training(state, asdict(training))
    saved = read_training(state)
    if not any(_is_written(saved, path) for path in (model, *old_models(model))):
        raise ValueError(
            f"{describe_training(state, saved, asdict(training))} whose model is not in {model}: "
            "write it with --resume and the settings and data that it was started with, train in "
            "another folder (--output), or replace it (--force)"
        )


def _is_written(saved: "SavedTraining", model: Path) -> bool:
    """Tell whether a model's file holds the weights that a training ended with."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(model, framework="pt") as file:
            names = set(file.keys())
            for name, tensor in saved.weights.items():
                if name not in names:
                    return False
                found = file.get_tensor(name)
                if not torch.equal(found, tensor.to(found.dtype)):  # it may be saved with --half
                    return False
    except (OSError, SafetensorError):
        return False
    return True
