"""The one training loop, for the RQ-VAE and for every recommender.

A step's batch and all other chance in it (dropout, say) depend on the seed and the step's number
alone. What a training must remember is therefore small: the weights, the optimizer's averages and
the number of steps done. Saved together, they let an interrupted training end at the same weights
as one that was never interrupted: bit for bit on a CPU, while a GPU's own sums differ in the last
digits from run to run.

Source: AdamW: Loshchilov and Hutter, arXiv 1711.05101; warm-up and cosine decay: arXiv 1608.03983;
inverse square root: Vaswani et al., arXiv 1706.03762, §5.3.
Derived in: chapter 05; seen at work in chapter 00.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rqvae_lib.data.batches import Batches
from rqvae_lib.ops.seeding import seeded_step
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.state import Best, load_state, save_state

T = TypeVar("T")


@dataclass(frozen=True)
class LogEntry:
    step: int  # steps done
    loss: float  # mean over the steps since the last entry
    learning_rate: float  # of the last step
    measured: Mapping[str, float] = field(default_factory=dict)  # what `measure` returned, if asked


def train(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    batches: Batches,
    config: TrainingConfig,
    *,
    measure: Callable[[], Mapping[str, float]] | None = None,
    snapshot: Callable[[int], None] | None = None,
    inputs: Mapping[str, str] | None = None,
    state_path: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> list[LogEntry]:
    """Train a model in place; leave it in evaluation mode.

    Args:
        model: its parameters are trained, on the device where they are.
        loss_of: maps a batch to a loss, shape ().
        batches: gives the batch of each step.
        config: how long, how fast, which seed.
        measure: looks at the model, in evaluation mode and without gradients, every
            `config.measure_every` steps and at the end. Its numbers go to the log and the progress
            bar: what shows a collapse while there is time to stop.
        snapshot: called in evaluation mode after each of `config.snapshot_steps`, with the step.
        inputs: names what is trained on, say {"ids": sha256}; resuming on anything else is refused.
        state_path: where to save the state every `config.save_every` steps and at the end.
        resume: continue from `state_path`; a run that had finished is then only loaded.
        progress: show a progress bar on stderr.

    Returns:
        The log of the steps that this call did. With `config.early_stop`, the model is left with
        the weights that measured best, whether or not the training stopped early.

    Raises:
        ValueError: if `config.early_stop` watches a number that nobody measures, or there is
            nothing to resume from.
        CheckpointError: if the saved state belongs to another model, configuration or input.
        FloatingPointError: if a loss, gradient or trained weight is not finite, naming the step.
            This is looked at before a state is saved, so the saved state stays sound.
        OSError: if the state cannot be read or written.
    """
    if config.early_stop and not measure:
        raise ValueError(
            f"early_stop watches {config.early_stop.metric!r}, but nothing is measured: pass "
            "`measure`, or leave early_stop out"
        )
    if resume and not state_path:
        raise ValueError("resume needs state_path, the file to continue from: pass it as well")
    optimizer = torch.optim.AdamW(_parameter_groups(model, config), lr=0.0, fused=True)
    settings = asdict(config) | dict(inputs or {})
    total = config.total_steps(batches.steps_per_epoch)
    best = Best(config.early_stop.higher_is_better) if config.early_stop else None
    start = 0
    state_path = Path(state_path) if state_path else None
    if resume and state_path:
        start = load_state(state_path, model, optimizer, settings, best)
    device = next(model.parameters()).device
    step_loss = torch.compile(loss_of) if config.compile else loss_of
    log: list[LogEntry] = []
    lengths: list[Tensor] = []  # a step since the last entry: its loss, its gradient's length
    shown: dict[str, str] = {}
    model.train()
    steps = tqdm(range(start, total), initial=start, total=total, disable=not progress, unit="step")
    for step in steps:
        if best and _is_over(config, best, step):
            break
        rate = config.rate_at(step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with seeded_step(config.seed, step, device):
            with torch.autocast(
                device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                loss = step_loss(batches(step))
            loss.backward()  # type: ignore[no-untyped-call]
        length = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        lengths.append(torch.stack([loss.detach(), length]))
        done = step + 1
        last = done == total
        measuring = measure and (done % config.measure_every == 0 or last)
        logging = measuring or done % config.log_every == 0 or last
        saving = state_path and (done % config.save_every == 0 or last)
        snapshotting = snapshot and done in config.snapshot_steps
        # Numbers leave the device only now and then: waiting for them costs time.
        if logging or saving or snapshotting:
            _check_finite(model, torch.stack(lengths), done, config)
        measured: Mapping[str, float] = {}
        if measure and measuring:
            measured = _in_evaluation_mode(model, measure)
            if best and config.early_stop:
                best.update(_named(measured, config.early_stop.metric), done, model)
            shown |= {name: f"{value:.3g}" for name, value in measured.items()}
        if logging:
            mean = float(torch.stack(lengths)[:, 0].mean())
            log.append(LogEntry(done, mean, rate, measured))
            lengths.clear()
            steps.set_postfix({"loss": f"{mean:.3f}"} | shown)
        if snapshot and snapshotting:
            _in_evaluation_mode(model, partial(snapshot, done))
        if state_path and (saving or (best and _is_over(config, best, done))):
            save_state(state_path, model, optimizer, settings, done, best)
    if best:
        best.restore(model)
    model.eval()
    return log


def _is_over(config: TrainingConfig, best: Best, done: int) -> bool:
    """Say whether the best measurement is so long ago that the training stops."""
    stop = config.early_stop
    return stop is not None and done - best.step >= stop.patience * config.measure_every


def _named(measured: Mapping[str, float], metric: str) -> float:
    if metric not in measured:
        raise ValueError(
            f"early_stop watches {metric!r}, but what is measured is {sorted(measured)}: name one"
        )
    return measured[metric]


def _in_evaluation_mode(model: nn.Module, look: Callable[[], T]) -> T:
    """Call a function on the model in evaluation mode, without gradients, and go on training."""
    model.eval()
    with torch.no_grad():
        result = look()
    model.train()
    return result


def _check_finite(model: nn.Module, lengths: Tensor, done: int, config: TrainingConfig) -> None:
    """Raise if a loss or a gradient's length, (S, 2) of S steps, or a weight is not finite."""
    bad = (~lengths.isfinite()).any(1).nonzero()[:, 0]
    if len(bad):
        loss, length = lengths[bad[0]].tolist()
        found = f"gradient has length {length}" if math.isfinite(loss) else f"loss is {loss}"
        raise FloatingPointError(
            f"the {found} at step {done - len(lengths) + int(bad[0]) + 1}: lower the learning "
            f"rate ({config.learning_rate}) or look for extreme values in the data"
        )
    if not all(bool(p.isfinite().all()) for p in model.parameters()):
        raise FloatingPointError(
            f"a weight is not finite after step {done}: lower the learning rate "
            f"({config.learning_rate})"
        )


def _parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    learned = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learned if p.ndim >= 2]
    vectors = [p for p in learned if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
