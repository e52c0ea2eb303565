"""The one training loop, for the RQ-VAE and for every recommender.

A step's batch and all other chance in it (dropout, say) depend on the seed and the step's number
alone. What a training must remember is therefore small: the weights, the optimiser's averages and
the number of steps done. Saved together, they let an interrupted training end at the same weights,
bit for bit, as one that was never interrupted.

Source: AdamW: Loshchilov and Hutter, arXiv 1711.05101; warm-up and cosine decay: arXiv 1608.03983.
Derived in: chapter 05; seen at work in chapter 00.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rqvae_lib.batches import Batches
from rqvae_lib.checkpoints import CheckpointError, load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class TrainingConfig:
    num_steps: int  # optimiser steps in all
    batch_size: int  # examples a step
    learning_rate: float = 1e-3  # at its highest, after the warm-up
    weight_decay: float = 0.01  # AdamW's; pulls matrices towards zero, leaves vectors alone
    warmup_steps: int = 0  # steps over which the learning rate rises from zero
    final_share: float = (
        0.0  # the cosine ends at this share of the learning rate; 1 keeps it constant
    )
    max_grad_norm: float = 1.0  # longer gradients are scaled down to this length
    seed: int = 0  # of everything random
    log_every: int = 50  # steps between two entries of the log
    save_every: int = 1000  # steps between two saved states, where a state file is given

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "weight_decay", "warmup_steps", "max_grad_norm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; it must be a finite number, not below 0")

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.num_steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * (self.final_share + (1 - self.final_share) * cosine)


@dataclass(frozen=True)
class LogEntry:
    step: int  # steps done
    loss: float  # mean over the steps since the last entry
    learning_rate: float  # of the last step


def train(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    batches: Batches,
    config: TrainingConfig,
    *,
    inputs: Mapping[str, str] | None = None,
    state_path: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> list[LogEntry]:
    """Train a model in place; leave it in evaluation mode.

    Args:
        model: its parameters are trained, on the device where they are.
        loss_of: maps a batch to a loss, shape ().
        batches: gives the batch of each step.
        config: how long, how fast, which seed.
        inputs: names what is trained on, say {"ids": sha256}; resuming on anything else is refused.
        state_path: where to save the state every `config.save_every` steps and at the end.
        resume: continue from `state_path`; a run that had finished is then only loaded.
        progress: show a progress bar on stderr.

    Returns:
        The log of the steps that this call did.

    Raises:
        CheckpointError: if the saved state belongs to another model, configuration or input.
        FloatingPointError: if a loss, gradient or trained weight is not finite, naming the step.
            This is looked at before a state is saved, so the saved state stays sound.
        OSError: if the state cannot be read or written.
    """
    optimizer = torch.optim.AdamW(_parameter_groups(model, config), lr=0.0, fused=True)
    settings = asdict(config) | dict(inputs or {})
    start = _load_state(state_path, model, optimizer, settings) if resume and state_path else 0
    device = next(model.parameters()).device
    log: list[LogEntry] = []
    measured: list[Tensor] = []  # a step since the last entry: its loss, its gradient's length
    model.train()
    steps = tqdm(
        range(start, config.num_steps),
        initial=start,
        total=config.num_steps,
        disable=not progress,
        unit="step",
    )
    for step in steps:
        rate = config.rate_at(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with _chance_of(config.seed, step, device):
            loss = loss_of(batches(step))
            loss.backward()  # type: ignore[no-untyped-call]
        length = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        measured.append(torch.stack([loss.detach(), length]))
        done = step + 1
        logging = done % config.log_every == 0 or done == config.num_steps
        saving = state_path and (done % config.save_every == 0 or done == config.num_steps)
        if logging or saving:  # numbers leave the device only now and then: waiting costs time
            _check_finite(torch.stack(measured), done, config)
            if not all(bool(p.isfinite().all()) for p in model.parameters()):
                raise FloatingPointError(
                    f"a weight is not finite after step {done}: lower the learning rate "
                    f"({config.learning_rate})"
                )
        if logging:
            mean = float(torch.stack(measured)[:, 0].mean())
            log.append(LogEntry(done, mean, rate))
            measured.clear()
            steps.set_postfix(loss=f"{mean:.3f}")
        if state_path and saving:
            _save_state(state_path, model, optimizer, settings, done)
    model.eval()
    return log


def _check_finite(measured: Tensor, done: int, config: TrainingConfig) -> None:
    """Raise if a loss or a gradient's length, (S, 2) of the last S steps, is not finite."""
    bad = (~measured.isfinite()).any(1).nonzero()[:, 0]
    if len(bad):
        loss, length = measured[bad[0]].tolist()
        found = f"gradient has length {length}" if math.isfinite(loss) else f"loss is {loss}"
        raise FloatingPointError(
            f"the {found} at step {done - len(measured) + int(bad[0]) + 1}: lower the learning "
            f"rate ({config.learning_rate}) or look for extreme values in the data"
        )


def _parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    learned = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learned if p.ndim >= 2]
    vectors = [p for p in learned if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


@contextmanager
def _chance_of(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Make torch's random numbers a function of seed and step, then give them back."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        mixed = (seed * 1_000_003 + step) % 2**63
        torch.default_generator.manual_seed(mixed)
        if devices:
            torch.cuda.manual_seed(mixed)
        yield


def _save_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Mapping[str, Any],
    step: int,
) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, averages in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in averages.items()}
    save_checkpoint(path, "training-state", tensors, settings, {"step": step})


def _load_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> int:
    """Restore a saved state and return the number of steps that it had done."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, so there is nothing to resume: start anew")
    tensors, saved, card = load_checkpoint(path, "training-state")
    differing = [name for name in settings if saved.get(name) != settings[name]]
    if differing:
        was = ", ".join(f"{name} was {saved.get(name)}" for name in differing)
        now = ", ".join(f"{name}={settings[name]}" for name in differing)
        raise CheckpointError(
            f"{path} belongs to another training ({was}; now {now}): resume with what it was "
            "started with, or start anew in another folder"
        )
    weights: dict[str, Tensor] = {}
    averages: dict[int, dict[str, Tensor]] = {}  # a parameter: its averages by name
    groups = optimizer.state_dict()["param_groups"]
    try:
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            if part == "model":
                weights[rest] = tensor
            else:
                number, _, average = rest.partition(".")
                averages.setdefault(int(number), {})[average] = tensor
        model.load_state_dict(weights)
        numbers = sorted(number for group in groups for number in group["params"])
        if sorted(averages) != numbers:
            raise ValueError(f"it has averages for {len(averages)} of {len(numbers)} parameters")
        optimizer.load_state_dict({"state": averages, "param_groups": groups})
        return int(card["step"])
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} holds a model of another shape ({reason}): resume with the settings it was "
            "started with, or start anew in another folder"
        ) from error
