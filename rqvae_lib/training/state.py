"""The saved state of a training, from which it continues as if it had never stopped.

The state holds the weights, the optimizer's averages and the number of steps done. With an early
stop, it also holds the best weights so far. A state belongs to one training and is refused for
another configuration or other data.

Seen at work in: chapter 00.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rqvae_lib.io.atomic import check_writable
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import (
    Card,
    CheckpointError,
    check_tensors,
    load_checkpoint,
    save_checkpoint,
    short,
)


class Best:
    """The best measurement of a training so far, and the weights that gave it.

    Args:
        higher_is_better: whether a higher number is better.

    Attributes:
        value: the best number so far, or None before the first.
        step: the number of steps done at that measurement.
        weights: the model's state dict at that measurement.
    """

    def __init__(self, higher_is_better: bool) -> None:
        self.higher_is_better = higher_is_better
        self.value: float | None = None
        self.step = 0
        self.weights: dict[str, Tensor] = {}

    def update(self, value: float, step: int, model: nn.Module) -> None:
        """Keep the model's weights if this measurement is the best so far. NaN never is.

        Args:
            value: the number that was measured.
            step: the number of steps done.
            model: the model that was measured.
        """
        if math.isnan(value):
            return
        sign = 1 if self.higher_is_better else -1
        if self.value is None or sign * value > sign * self.value:
            self.value, self.step = value, step
            self.weights = {name: w.clone() for name, w in model.state_dict().items()}

    def restore(self, model: nn.Module) -> None:
        """Load the best weights into the model, if there was a measurement."""
        if self.weights:
            model.load_state_dict(self.weights)


def save_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    step: int,
    best: Best | None = None,
    *,
    total: int | None = None,
) -> None:
    """Write everything that `load_state` needs to one file, atomically.

    Args:
        path: the file to write.
        model, optimizer: the model and its AdamW optimizer after `step` steps.
        settings: the configuration and the identity of the inputs, as JSON can hold them. They
            identify the training.
        step: the number of steps done.
        best: the best weights so far, if the training keeps them.
        total: the number of steps of the whole training, which tells whether it is finished.

    Raises:
        ValueError: if a tensor is not finite, or a setting is not JSON. An older state is then
            unchanged.
        OSError: if the path cannot be written. An older state is then unchanged.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, averages in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in averages.items()}
    # A parameter that no loss reaches has no averages, so the card lists those that have.
    card: dict[str, Any] = {"step": step, "averaged": sorted(optimizer.state_dict()["state"])}
    if total is not None:
        card["total"] = total
    if best:
        tensors |= {f"best.{name}": tensor for name, tensor in best.weights.items()}
        card |= {"best_value": best.value, "best_step": best.step}
    save_checkpoint(path, "training-state", tensors, settings, card)


def steps_of(path: Path) -> int:
    """Return the number of steps behind the final weights of a finished training.

    If the training kept the best weights, this is the number of steps when they were measured.

    Args:
        path: a file that `save_state` wrote.

    Raises:
        CheckpointError: if the file is not the state of a training, or is damaged.
        OSError: if the file cannot be read.
    """
    card = load_checkpoint(path, ["training-state"]).card
    try:
        return _steps(card, "best_step") if card.get("best_step") else _steps(card, "step")
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): start again") from error


class SavedTraining(NamedTuple):
    """What the state of a training says of it, whether or not anybody goes on with it."""

    step: int  # steps done
    total: int | None  # of the whole training; None if the state does not say, as older ones
    settings: Mapping[str, Any]  # as JSON
    finished: bool  # whether all steps are done, or it was stopped early
    weights: Mapping[str, Tensor]  # the state dict of the model that it gives


def read_training(path: Path) -> SavedTraining:
    """Read what is saved of a training.

    Args:
        path: a file that `save_state` wrote.

    Raises:
        CheckpointError: if the file is not the state of a training, or is damaged.
        OSError: if the file cannot be read.
    """
    _, tensors, settings, card = load_checkpoint(path, ["training-state"])
    try:
        step = _steps(card, "step")
        best_step = _steps(card, "best_step") if "best_step" in card else None
        # Older states do not say how many steps there are to be, but for `num_steps`.
        total = card.get("total", settings.get("num_steps"))
        if total is not None and type(total) is not int:
            raise ValueError(f"its total is {total!r}, expected a number of steps")
        finished = total is not None and step >= total
        stop = settings.get("early_stop")
        if best_step is not None and isinstance(stop, dict):
            patience = int(stop["patience"]) * int(settings["measure_every"])
            finished = finished or step - best_step >= patience
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({short(error)}): start again") from error
    part = "best." if any(name.startswith("best.") for name in tensors) else "model."
    weights = {
        name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)
    }
    return SavedTraining(step, total, settings, finished, weights)


def check_new_training(path: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Refuse a new training whose states would replace an unfinished one, or another file.

    Args:
        path: where the new training is to save its state. It must be possible to write there.
        settings: of the new training, as `save_state`, or those that are known already.
        overwrite: replace whatever is there.

    Raises:
        CheckpointError: if an unfinished training is there, or a file that is no state.
        OSError: if the path cannot be written, or what is there cannot be read.
    """
    check_writable(path)
    if overwrite or not path.exists():
        return
    saved = read_training(path)
    if not saved.finished:
        raise CheckpointError(
            f"{describe_training(path, saved, settings)}: go on with it (--resume, and the "
            "settings and data that it was started with; in Python resume=True), train in another "
            "folder, or replace it (--force; in Python overwrite=True)"
        )


def describe_training(path: Path, saved: SavedTraining, settings: Mapping[str, Any]) -> str:
    """Return what is saved, and in what it differs from a new training, for a message.

    Args:
        path: the file of the state.
        saved: what `read_training` found in it.
        settings: of the new training; only these are compared.
    """
    of_total = "" if saved.total is None else f" of {saved.total:,}"
    state = "finished" if saved.finished else "unfinished"
    changed = _differences(saved.settings, settings)
    return (
        f"{path} holds {'a' if saved.finished else 'an'} {state} training at step "
        f"{saved.step:,}{of_total} ({changed or 'its settings are the same'})"
    )


def _differences(saved: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return in what two trainings differ, or an empty text."""
    settings = plain_json(settings, "the settings")  # as if saved and read: tuples become lists
    differing = [name for name in settings if saved.get(name) != settings[name]]
    if not differing:
        return ""
    was = ", ".join(f"{name} was {_shown(saved.get(name))}" for name in differing)
    now = ", ".join(f"{name}={settings[name]}" for name in differing)
    return f"{was}; now {now}"


def load_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    best: Best | None = None,
) -> int:
    """Restore a saved state, in place, and return the number of steps that it had done.

    Args:
        path: a file that `save_state` wrote.
        model, optimizer: what to restore. They do not change if an error is raised.
        settings: as `save_state`. They must be equal to the saved ones.
        best: what to restore the best weights to, if the training keeps them.

    Raises:
        FileNotFoundError: if the file does not exist.
        OSError: if the file cannot be read.
        CheckpointError: if it belongs to another training, or is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist, so there is nothing to resume: start a new training"
        )
    _, tensors, saved, card = load_checkpoint(path, ["training-state"])
    changed = _differences(saved, settings)
    if changed:
        raise CheckpointError(
            f"{path} belongs to another training ({changed}): resume with the settings and data it "
            "was started with, or start again in another folder"
        )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
    averages: dict[int, dict[str, Tensor]] = {}  # by parameter: its averages by name
    groups = optimizer.state_dict()["param_groups"]
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    try:
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        for name, tensor in parts["optimizer"].items():
            number, _, average = name.partition(".")
            averages.setdefault(int(number), {})[average] = tensor
        check_tensors(parts["model"], model.state_dict())
        known = set(range(len(parameters)))
        if sorted(averages) != card["averaged"] or not averages.keys() <= known:
            raise ValueError(f"it has averages for {len(averages)} of {len(parameters)} parameters")
        for index, own in averages.items():
            like = {"exp_avg": parameters[index], "exp_avg_sq": parameters[index]}
            check_tensors(own, {"step": torch.zeros((), dtype=torch.float32), **like})
        done = _steps(card, "step")
        if best:
            value, best_step = card["best_value"], _steps(card, "best_step")
            if value is None:
                check_tensors(parts["best"], {})
            elif type(value) in (int, float) and not math.isnan(value):
                check_tensors(parts["best"], model.state_dict())
            else:
                raise ValueError(f"its best value is {value!r}, expected a number")
            device = next(model.parameters()).device
            best.value, best.step = value, best_step
            best.weights = {name: w.to(device) for name, w in parts["best"].items()}
        # Load only now, when everything has been checked.
        model.load_state_dict(parts["model"])
        optimizer.load_state_dict({"state": averages, "param_groups": groups})
        return done
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{path} holds a model of another shape, or is damaged ({reason}): resume with the "
            "settings it was started with, or start again in another folder"
        ) from error


def _steps(card: Card, name: str) -> int:
    """Return a number of steps from a state's card, or raise ValueError if it is not one."""
    steps = card.get(name)
    if type(steps) is not int or steps < 0:
        raise ValueError(f"its {name} is {steps!r}, expected a number of steps")
    return steps


def _shown(value: object) -> str:
    """Return a value from a file, which may be anything, as one line of bounded length."""
    return "".join(c if c.isprintable() else " " for c in str(value))[:400]
