"""The training loop of the RQ-VAE and of every recommender.

The batch of a step and everything else that is random in it, such as dropout, depend only on the
seed and the step number. The state of a training is therefore small: the weights, the optimizer's
averages and the number of steps done. With a saved state, an interrupted training ends at the same
weights as one without an interruption: bit for bit on a CPU, and up to rounding on a GPU, whose
sums differ in the last digits from run to run.

In a world of several processes (`ops.world`), each computes its share of the same batch, and the
gradients are summed. The number of processes then changes nothing but the rounding of each step,
and a training may go on with another number of them. Rounding adds up, as it does between two kinds
of processors: after thousands of steps the weights may differ visibly, though neither is worse. In
an RQ-VAE, a row between two codewords may choose the other one, and some semantic IDs then differ.
The first process measures, saves and reports.

Source: AdamW: Loshchilov and Hutter, arXiv 1711.05101; warm-up and cosine decay: arXiv 1608.03983;
inverse square root: Vaswani et al., arXiv 1706.03762, §5.3.
Derived in: chapter 05 and chapter 12; seen at work in chapter 00.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import Batches
from rqvae_lib.io.atomic import check_writable
from rqvae_lib.io.progress import progress_of
from rqvae_lib.ops.seeding import seeded_step
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.ops.world import World, current_world
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.gradients import backward
from rqvae_lib.training.state import Best, check_new_training, load_state, save_state

T = TypeVar("T")


@dataclass(frozen=True)
class LogEntry:
    """One entry of a training's log."""

    step: int  # steps done
    loss: float  # mean over the steps since the last entry
    learning_rate: float  # of the last step
    measured: Mapping[str, float] = field(default_factory=dict)  # the result of `measure`, if any


@own_settings
@torch.enable_grad()
def train(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    batches: Batches,
    config: TrainingConfig,
    *,
    num_targets: Callable[[Tensor], int] = len,
    measure: Callable[[], Mapping[str, float]] | None = None,
    snapshot: Callable[[int], None] | None = None,
    inputs: Mapping[str, str] | None = None,
    state_path: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> list[LogEntry]:
    """Train a model in place, and leave it in evaluation mode.

    Gradients are on and matrix products are as `config.precision` says, whatever the caller's
    settings of torch; `measure` and `snapshot` see the library's settings too.

    Args:
        model: the model to train, on its current device.
        loss_of: maps a batch to a loss, shape (): the mean over the batch's targets. In a world of
            several processes, it is called in each of them with some of the batch's rows, of which
            there may be none. Dropout and other draws then belong in `ops.shares`.
        batches: gives the batch of each step.
        config: how long and how fast to train, and the seed.
        num_targets: maps rows of a batch to the number of targets that their loss is the mean of.
            By default, each row is one. Only several processes need it.
        measure: returns numbers about the model, by name. It is called in evaluation mode and
            without gradients, every `config.measure_every` steps and at the end. Its numbers go to
            the log and the progress bar, where a collapse shows while there is time to stop. Of
            several processes, all are given it, and only the first calls it.
        snapshot: called in evaluation mode after each of `config.snapshot_steps`, with the step. Of
            several processes, all are given it, and only the first calls it.
        inputs: identifies the training data, such as {"ids": sha256}. A training cannot be resumed
            with other inputs.
        state_path: where to save the state every `config.save_every` steps and at the end. Of
            several processes, the first writes it, and each reads it to resume.
        resume: continue from `state_path`. If that training had finished, it is only loaded.
        overwrite: replace an unfinished training at `state_path`, which is refused otherwise.
        progress: show progress on stderr: a bar in a terminal, in a log a line now and then.

    Returns:
        The log of the steps in this call. With `config.early_stop`, the model has the weights with
        the best measurement, whether or not the training stopped early.

    Raises:
        ValueError: if the processes are given different data or settings, if `config.early_stop`
            watches a number that is not measured, if there are `config.snapshot_steps` and no
            `snapshot`, or if `resume` or `overwrite` is given without `state_path`, or both are
            given, or if the model was made in torch's inference mode.
        CheckpointError: if the saved state belongs to another model, configuration or input; or if
            without `resume` and `overwrite`, there is an unfinished training or another file.
        FloatingPointError: if a loss, a gradient or a trained weight is not finite; the message
            names the step. This is checked before a state is saved, so the saved state stays valid.
        OSError: if the state cannot be read or written, or there is no state to resume from.
        WorldError: if another process has ended. The saved state stays valid.
    """
    world = current_world()
    if config.early_stop and not measure:
        raise ValueError(
            f"early_stop watches {config.early_stop.metric!r}, but nothing is measured: pass "
            "`measure`, or leave early_stop out"
        )
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ValueError(
            "the model was made in torch's inference mode, where nothing can be trained: make it "
            "outside of torch.inference_mode(), or train a copy.deepcopy of it"
        )
    state_path = Path(state_path) if state_path else None
    settings = asdict(config) | dict(inputs or {})
    total = config.total_steps(batches.steps_per_epoch)
    check_training(
        config,
        batches,
        measure=measure,
        snapshot=snapshot,
        inputs=inputs,
        state_path=state_path,
        resume=resume,
        overwrite=overwrite,
    )
    optimizer = torch.optim.AdamW(_parameter_groups(model, config), lr=0.0, fused=True)
    best = Best(config.early_stop.higher_is_better) if config.early_stop else None
    start = 0
    if resume and state_path:
        path = state_path
        start = world.first_then_others(lambda: load_state(path, model, optimizer, settings, best))
    world.spread(model.state_dict().values())
    parameters = [p for p in model.parameters() if p.requires_grad]
    device = next(model.parameters()).device
    own_loss = torch.compile(loss_of) if config.compile else loss_of
    autocast = partial(
        torch.autocast, device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
    )

    def step_loss(rows: Tensor) -> Tensor:
        with autocast():
            return own_loss(rows)

    log: list[LogEntry] = []
    lengths: list[Tensor] = []  # per step since the last entry: the loss, the gradient's length
    shown: dict[str, str] = {}
    model.train()
    steps = progress_of(
        range(start, total), total=total, done=start, show=progress and world.is_first
    )
    for step in steps:
        if best and _is_over(config, best, step):
            break
        rate = config.rate_at(step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with seeded_step(config.seed, step, device):
            loss = backward(step_loss, batches(step), parameters, num_targets)
        length = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        lengths.append(torch.stack([loss, length]))
        done = step + 1
        last = done == total
        measuring = measure and (done % config.measure_every == 0 or last)
        logging = measuring or done % config.log_every == 0 or last
        saving = state_path and (done % config.save_every == 0 or last)
        snapshotting = snapshot and done in config.snapshot_steps
        # Numbers leave the device only now and then, because waiting for them takes time.
        if logging or saving or snapshotting:
            world.from_first(partial(_check_finite, model, torch.stack(lengths), done, config))
        measured: Mapping[str, float] = {}
        if measure and measuring:
            measured = world.from_first(partial(_in_evaluation_mode, model, measure))
            if best and config.early_stop:
                best.update(_named(measured, config.early_stop.metric), done, model)
            shown |= {name: f"{value:.3g}" for name, value in measured.items()}
        if logging:
            mean = float(torch.stack(lengths)[:, 0].mean())
            log.append(LogEntry(done, mean, rate, measured))
            lengths.clear()
            steps.set_postfix({"loss": f"{mean:.3f}"} | shown)
        if snapshot and snapshotting:
            world.from_first(partial(_in_evaluation_mode, model, partial(snapshot, done)))
        if state_path and (saving or (best and _is_over(config, best, done))):
            world.from_first(
                partial(save_state, state_path, model, optimizer, settings, done, best, total=total)
            )
    if best:
        best.restore(model)
    model.eval()
    return log


def check_training(
    config: TrainingConfig,
    batches: Batches,
    *,
    measure: Callable[[], Mapping[str, float]] | None = None,
    snapshot: Callable[..., None] | None,
    inputs: Mapping[str, str] | None,
    state_path: str | Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Refuse a training that cannot end well, before its first step.

    `train` calls it. What works before it calls `train` should call it first. Of several processes,
    the first looks at the saved state, and all raise what it finds.

    Args, Raises: as `train`.
    """
    settings = asdict(config) | dict(inputs or {})
    asked = {
        "number of steps": config.total_steps(batches.steps_per_epoch),
        "measure": measure is not None,
        "snapshot": snapshot is not None,
        "state_path": bool(state_path),
        "resume": resume,
        "overwrite": overwrite,
    }
    _check_same_training(current_world(), settings | asked)
    if config.snapshot_steps and not snapshot:
        raise ValueError(
            f"snapshot_steps is {config.snapshot_steps}, but nothing takes the snapshots: pass "
            "`snapshot`, or leave snapshot_steps out"
        )
    if resume and overwrite:
        raise ValueError("resume goes on with a saved state, and overwrite replaces it: pass one")
    for name, given in (("resume", resume), ("overwrite", overwrite)):
        if given and not state_path:
            raise ValueError(
                f"{name} needs state_path, the file of the saved state: pass it too, or leave "
                f"{name} out"
            )
    if state_path and resume:
        current_world().from_first(partial(check_writable, Path(state_path)))
    elif state_path:
        current_world().from_first(
            partial(check_new_training, Path(state_path), settings, overwrite=overwrite)
        )


def _check_same_training(world: World, settings: Mapping[str, Any]) -> None:
    """Refuse to train with other data or settings than another process, before one waits."""
    first, *others = world.from_all(lambda: settings)
    for rank, other in enumerate(others, 1):
        names = sorted(first.keys() | other.keys())
        differing = [name for name in names if first.get(name) != other.get(name)]
        if differing:
            raise ValueError(
                f"process {rank} has other data or settings than process 0 "
                f"({', '.join(differing)}): give all processes the same"
            )


def _is_over(config: TrainingConfig, best: Best, done: int) -> bool:
    """Return whether the best measurement is so long ago that the training stops."""
    stop = config.early_stop
    return stop is not None and done - best.step >= stop.patience * config.measure_every


def _named(measured: Mapping[str, float], metric: str) -> float:
    if metric not in measured:
        raise ValueError(
            f"early_stop watches {metric!r}, but the measured numbers are {sorted(measured)}: "
            "name one of them"
        )
    return measured[metric]


def _in_evaluation_mode(model: nn.Module, look: Callable[[], T]) -> T:
    """Call a function with the model in evaluation mode and no gradients, then switch back."""
    model.eval()
    with torch.no_grad():
        result = look()
    model.train()
    return result


def _check_finite(model: nn.Module, lengths: Tensor, done: int, config: TrainingConfig) -> None:
    """Raise FloatingPointError if a loss, a gradient's length or a weight is not finite.

    Args:
        model: the model after step `done`.
        lengths: shape (S, 2), the loss and the gradient's length of the last S steps.
        done: the number of steps done.
        config: for the message.
    """
    bad = (~lengths.isfinite()).any(1).nonzero()[:, 0]
    if len(bad):
        loss, length = lengths[bad[0]].tolist()
        found = f"gradient has length {length}" if math.isfinite(loss) else f"loss is {loss}"
        raise FloatingPointError(
            f"the {found} at step {done - len(lengths) + int(bad[0]) + 1}: {_slower(config)} or "
            "look for extreme values in the data"
        )
    if not all(bool(p.isfinite().all()) for p in model.parameters()):
        raise FloatingPointError(f"a weight is not finite after step {done}: {_slower(config)}")


def _slower(config: TrainingConfig) -> str:
    """Return what to lower when numbers grow without end."""
    rate, decay = config.learning_rate, config.weight_decay
    if rate * decay > 1:  # a step multiplies weights by 1 - rate * decay
        return (
            f"lower the weight decay ({decay}) or the learning rate ({rate}), whose product must "
            "be below 1,"
        )
    return f"lower the learning rate ({rate})"


def _parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    learned = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learned if p.ndim >= 2]
    vectors = [p for p in learned if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
