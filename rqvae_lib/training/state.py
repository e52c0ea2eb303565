"""The saved state of a training, from which it continues as if it had never stopped.

The state holds the weights, the optimizer's averages and the number of steps done. With an early
stop, it also holds the best weights so far. A state belongs to one training and is refused for
another configuration or other data.

Seen at work in: chapter 00.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import (
    Card,
    CheckpointError,
    check_tensors,
    load_checkpoint,
    save_checkpoint,
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
) -> None:
    """Write everything that `load_state` needs to one file, atomically.

    Args:
        path: the file to write.
        model, optimizer: the model and its AdamW optimizer after `step` steps.
        settings: the configuration and the identity of the inputs, as JSON can hold them. They
            identify the training.
        step: the number of steps done.
        best: the best weights so far, if the training keeps them.

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
    settings = plain_json(settings, "the settings")  # as if saved and read: tuples become lists
    differing = [name for name in settings if saved.get(name) != settings[name]]
    if differing:
        was = ", ".join(f"{name} was {_shown(saved.get(name))}" for name in differing)
        now = ", ".join(f"{name}={settings[name]}" for name in differing)
        raise CheckpointError(
            f"{path} belongs to another training ({was}; now {now}): resume with the settings and "
            "data it was started with, or start again in another folder"
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
