"""What a training must remember to go on as if it had never stopped.

The weights, the optimizer's averages and the number of steps done; where a training stops early,
the best weights so far beside the present ones. A state belongs to one training: another
configuration or other data are refused, not mixed in.

Seen at work in: chapter 00.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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
        higher_is_better: whether a larger number is a better one.
    """

    def __init__(self, higher_is_better: bool) -> None:
        self.higher_is_better = higher_is_better
        self.value: float | None = None
        self.step = 0  # steps done when it was measured
        self.weights: dict[str, Tensor] = {}

    def update(self, value: float, step: int, model: nn.Module) -> None:
        """Keep the model's weights if this measurement is the best so far; NaN never is."""
        if math.isnan(value):
            return
        sign = 1 if self.higher_is_better else -1
        if self.value is None or sign * value > sign * self.value:
            self.value, self.step = value, step
            self.weights = {name: w.clone() for name, w in model.state_dict().items()}

    def restore(self, model: nn.Module) -> None:
        """Give the model the best weights; nothing changes if nothing was measured."""
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
    """Write all that `load_state` needs, atomically.

    Args:
        path: the file.
        model, optimizer: as they are after `step` steps; the optimizer is an AdamW.
        settings: configuration and names of the inputs, JSON values; the training's identity.
        step: steps done.
        best: the best weights so far, if the training looks for them.

    Raises:
        OSError: if the path cannot be written; an older state is then still whole.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, averages in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in averages.items()}
    # A parameter that no loss reaches has no averages: which ones have is written down.
    card: dict[str, Any] = {"step": step, "averaged": sorted(optimizer.state_dict()["state"])}
    if best:
        tensors |= {f"best.{name}": tensor for name, tensor in best.weights.items()}
        card |= {"best_value": best.value, "best_step": best.step}
    save_checkpoint(path, "training-state", tensors, settings, card)


def steps_of(path: Path) -> int:
    """Return after how many steps the weights were reached that a finished training left.

    Where it looked for the best weights, that is the step at which these were measured.

    Raises:
        CheckpointError, OSError: if the file is no training's state, or cannot be read.
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
    """Restore a saved state and return the number of steps that it had done.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it belongs to another training, or is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist, so there is nothing to resume: start a new training"
        )
    _, tensors, saved, card = load_checkpoint(path, ["training-state"])
    settings = json.loads(json.dumps(settings))  # as they read once saved: tuples become lists
    differing = [name for name in settings if saved.get(name) != settings[name]]
    if differing:
        was = ", ".join(f"{name} was {_shown(saved.get(name))}" for name in differing)
        now = ", ".join(f"{name}={settings[name]}" for name in differing)
        raise CheckpointError(
            f"{path} belongs to another training ({was}; now {now}): resume with what it was "
            "started with, or start again in another folder"
        )
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
    averages: dict[int, dict[str, Tensor]] = {}  # a parameter: its averages by name
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
        # Nothing of the model is touched before all is known to fit.
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
    """Return a number of steps that a state's card says."""
    steps = card.get(name)
    if type(steps) is not int or steps < 0:
        raise ValueError(f"its {name} is {steps!r}, expected a number of steps")
    return steps


def _shown(value: object) -> str:
    """Return what a file says, which may be anything, in one line of bounded length."""
    return "".join(c if c.isprintable() else " " for c in str(value))[:400]
