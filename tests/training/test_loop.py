"""The training loop: how long, how fast, each step by hand, and what may look at it meanwhile."""

import copy
import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from rqvae_lib.data.batches import Batches, RowBatches, WindowBatches
from rqvae_lib.data.splits import Histories
from rqvae_lib.io.tensor_files import load_checkpoint
from rqvae_lib.models.configs import DecoderOnlyConfig, TransformerConfig
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import EarlyStop, TrainingConfig
from rqvae_lib.training.loop import LogEntry, train

pytestmark = pytest.mark.usefixtures("one_thread")

Training = tuple[nn.Module, Callable[[Tensor], Tensor], Batches]


def new_rqvae(**settings: Any) -> Training:
    """Averages, dead codewords that are drawn again, and k-means: all that has chance in it."""
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)).exp()
    torch.manual_seed(0)
    model = RQVAE(RQVAEConfig(6, (8,), 4, 2, codebook_size=16, dead_after=2, **settings))
    model.fit_to_data(x, generator=torch.Generator().manual_seed(0))
    return model, lambda batch: model(batch).loss, RowBatches(x, batch_size=8, seed=1)


def new_decoder() -> Training:
    """Dropout everywhere, and windows that are cut again in each epoch."""
    generator = torch.Generator().manual_seed(0)
    ids = SemanticIDs(torch.randint(4, (30, 2), generator=generator), [4, 4])
    torch.manual_seed(0)
    transformer = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8, dropout=0.3)
    model = DecoderOnly(DecoderOnlyConfig(transformer, max_items=5, embedding_dropout=0.2), ids)
    items = torch.randint(30, (70,), generator=generator)
    histories = Histories(items, torch.tensor([0, 3, 20, 41, 70]))
    return model, model.loss, WindowBatches(histories, max_items=5, batch_size=4, seed=1)


KINDS: dict[str, Callable[[], Training]] = {
    "averages": new_rqvae,
    "rotation": partial(new_rqvae, estimator="rotation"),
    "gradient": partial(new_rqvae, learning="gradient"),
    "gumbel": partial(
        new_rqvae, estimator="gumbel", learning="gradient", temperature_decay=0.97
    ),
    "decoder": new_decoder,
}  # fmt: skip
every_kind = pytest.mark.parametrize("new", KINDS.values(), ids=KINDS)


class Line(nn.Module):
    """y = w·x, so that every number can be followed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[1.0, -2.0]]))
        self.b = nn.Parameter(torch.tensor([0.5]))

    def distance(self, batch: Tensor) -> Tensor:
        return (self.w + self.b - batch).square().sum()


class Given:
    """The batches of a test, written down as a function of the step."""

    def __init__(self, batch_of: Callable[[int], Tensor], steps_per_epoch: int = 10) -> None:
        self.batch_of = batch_of
        self.steps_per_epoch = steps_per_epoch

    def __call__(self, step: int) -> Tensor:
        return self.batch_of(step)


RISING = Given(lambda step: torch.full((1, 2), step + 3.0))


def config_of(num_steps: int | None = 40, **changes: Any) -> TrainingConfig:
    settings = {"batch_size": 8, "learning_rate": 0.01, "warmup_steps": 5, "log_every": 7}
    return TrainingConfig(num_steps=num_steps, **(settings | {"save_every": 20} | changes))


def run(training: Training, config: TrainingConfig, **kwargs: Any) -> list[LogEntry]:
    model, loss_of, batches = training
    return train(model, loss_of, batches, config, progress=False, **kwargs)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


# How long, and how fast


def test_schedules_by_hand() -> None:
    config = TrainingConfig(
        num_steps=14, batch_size=1, learning_rate=0.8, warmup_steps=4, final_share=0.25
    )
    # Of the 10 steps after the warm-up, at 0, a tenth, a half and nine tenths of the way.
    expected = {
        "cosine": [0.8, 0.7853169549, 0.5, 0.2146830451],  # 0.25 + 0.75 (1 + cos 9π/10) / 2 at last
        "linear": [0.8, 0.74, 0.5, 0.26],
        "constant": [0.8, 0.8, 0.8, 0.8],
        "inverse-sqrt": [0.7155417528, 0.6531972647, 0.5059644256, 0.4276179871],  # √(4 / step)
    }
    for schedule, rates in expected.items():
        share = 0.25 if schedule in ("cosine", "linear") else 0.0  # the others do not have it
        changed = dataclasses.replace(config, schedule=schedule, final_share=share)
        warming = [changed.rate_at(step, 14) for step in range(4)]
        assert warming == pytest.approx([0.2, 0.4, 0.6, 0.8])
        assert [changed.rate_at(s, 14) for s in (4, 5, 9, 13)] == pytest.approx(rates), schedule
        cold = dataclasses.replace(changed, warmup_steps=0)
        assert cold.rate_at(0, 14) == pytest.approx(0.8)
    for schedule in ("cosine", "linear"):
        to_zero = dataclasses.replace(config, schedule=schedule, final_share=0.0)
        assert to_zero.rate_at(9, 14) == pytest.approx(0.4)  # half-way
        assert to_zero.rate_at(14, 14) == pytest.approx(0.0)
    endless = dataclasses.replace(config, schedule="inverse-sqrt", warmup_steps=0, final_share=0.0)
    assert [endless.rate_at(step, 14) for step in (3, 99)] == pytest.approx([0.4, 0.08])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "inverse-sqrt"])
def test_the_schedule_reaches_the_optimizer(schedule: str) -> None:
    """Where all gradients are alike, AdamW moves a weight by just the learning rate."""
    model, places = Line(), [-2.0]
    config = config_of(
        num_steps=9, schedule=schedule, log_every=1, weight_decay=0.0, snapshot_steps=range(1, 10)
    )
    log = run(
        (model, lambda batch: (model.w * batch).sum(), Given(lambda step: torch.ones(1, 2))),
        config,
        snapshot=lambda _: places.append(float(model.w[0, 1])),
    )
    rates = [config.rate_at(step, 9) for step in range(9)]
    assert [entry.learning_rate for entry in log] == rates
    moved = [before - after for before, after in pairwise(places)]
    assert moved == pytest.approx(rates, rel=1e-3)


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "expected"),
    [(1, 7, 7), (2, 7, 14), (0.5, 9, 4), (0.7, 10, 7), (0.01, 7, 1), (1.5, 35, 52)],
)
def test_epochs_become_steps(epochs: float, steps_per_epoch: int, expected: int) -> None:
    config = TrainingConfig(batch_size=8, num_epochs=epochs)
    assert config.total_steps(steps_per_epoch) == expected
    log = run(
        (model := Line(), model.distance, Given(RISING.batch_of, steps_per_epoch)),
        dataclasses.replace(config, log_every=10**6),
    )
    assert [entry.step for entry in log] == [expected]


def test_epochs_train_as_so_many_steps_do() -> None:
    by_steps, by_epochs = new_rqvae(), new_rqvae()
    assert by_epochs[2].steps_per_epoch == 7  # 60 rows in batches of 8
    log = run(by_steps, config_of(num_steps=21))
    assert run(by_epochs, config_of(num_steps=None, num_epochs=3)) == log
    assert_same(state_of(by_epochs[0]), state_of(by_steps[0]))
    assert config_of(num_steps=3).total_steps(1000) == 3


def test_either_steps_or_epochs_must_be_given() -> None:
    with pytest.raises(ValueError, match="num_steps is 3 and num_epochs is 2: give one"):
        TrainingConfig(batch_size=8, num_steps=3, num_epochs=2)
    with pytest.raises(ValueError, match="num_steps is None and num_epochs is None: give one"):
        TrainingConfig(batch_size=8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("num_steps", "batch_size", "log_every")),
        *((name, -1) for name in ("measure_every", "save_every", "learning_rate", "weight_decay")),
        *((name, math.nan) for name in ("learning_rate", "weight_decay", "final_share")),
        *((name, math.inf) for name in ("learning_rate", "max_grad_norm")),
        *((name, -0.1) for name in ("max_grad_norm", "final_share")),
        ("warmup_steps", -1),
        *(("num_epochs", value) for value in (0, -1, math.nan, math.inf)),
        ("schedule", "triangle"),
        ("precision", "float16"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: Any) -> None:
    changes = {name: value} | ({"num_steps": None} if name == "num_epochs" else {})
    with pytest.raises(ValueError, match=rf"^{name} is {value!r}; it must be"):
        dataclasses.replace(config_of(), **changes)


def test_patience_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="patience is 0; it must be at least 1"):
        EarlyStop("loss", patience=0, higher_is_better=False)


# One step


def test_adamw_steps_with_clipping_by_hand() -> None:
    """Two steps, with another gradient each: one longer than the limit, one shorter."""
    config = TrainingConfig(
        num_steps=2, batch_size=1, learning_rate=0.1, weight_decay=0.3, warmup_steps=1,
        max_grad_norm=2.0, final_share=0.0,
    )  # fmt: skip
    model = Line()
    gradients = [torch.tensor([3.0, -4.0, 12.0]), torch.tensor([0.1, 0.2, -0.3])]

    def loss_of(batch: Tensor) -> Tensor:
        return (model.w[0] * batch[:2]).sum() + (model.b * batch[2:]).sum()

    run((model, loss_of, Given(lambda step: gradients[step])), config)
    w, m, v = torch.tensor([1.0, -2.0, 0.5]).double(), torch.zeros(3).double(), 0
    decay = torch.tensor([0.3, 0.3, 0.0])  # matrices only
    for step, gradient in enumerate(gradients):
        g = gradient.double()
        g = g * min(1.0, 2.0 / (float(g.norm()) + 1e-6))  # the first has length 13
        rate = 0.1 if step == 0 else 0.1 * 0.5 * (1 + math.cos(0))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w * (1 - rate * decay)
        unbiased = v / (1 - 0.999 ** (step + 1))
        w = w - rate * (m / (1 - 0.9 ** (step + 1))) / (unbiased.sqrt() + 1e-8)
    got = torch.cat([model.w.detach()[0], model.b.detach()]).double()
    torch.testing.assert_close(got, w, rtol=1e-5, atol=1e-6)


@every_kind
def test_the_loop_equals_torchs_own_parts(new: Callable[[], Training]) -> None:
    training, config = new(), config_of(num_steps=12)
    run(training, config)
    model, loss_of, batches = new()
    learned = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in learned if p.ndim >= 2], [p for p in learned if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    )
    model.train()
    for step in range(12):
        for group in optimizer.param_groups:
            group["lr"] = config.rate_at(step, 12)
        torch.manual_seed(step)  # seed 0
        optimizer.zero_grad()
        loss_of(batches(step)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for name, value in training[0].state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-4)


@every_kind
def test_other_seeds_give_other_weights(new: Callable[[], Training]) -> None:
    """The batches are the same: what differs is dropout, noise, and codewords drawn again."""
    first, second = new(), new()
    run(first, config_of(seed=1))
    run(second, config_of(seed=2))
    weights = zip(first[0].parameters(), second[0].parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in weights)


@every_kind
def test_the_callers_random_numbers_are_untouched(new: Callable[[], Training]) -> None:
    training = new()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    run(training, config_of(num_steps=5))
    assert torch.equal(torch.get_rng_state(), state)


def test_bfloat16_is_for_products_of_matrices_and_no_weight() -> None:
    logs, seen = {}, {}
    for precision in ("float32", "bfloat16"):
        model, loss_of, batches = new_rqvae()
        seen[precision] = dtypes = set()
        model.encoder[0].register_forward_hook(lambda *a, d=dtypes: d.add(("encoder", a[2].dtype)))
        model.quantizer.register_forward_pre_hook(
            lambda _, given, d=dtypes: d.add(("quantizer", given[0].dtype))
        )
        config = config_of(num_steps=10, log_every=1, precision=precision)
        logs[precision] = [e.loss for e in run((model, loss_of, batches), config)]
        assert {
            value.dtype for value in model.state_dict().values() if value.is_floating_point()
        } == {torch.float32}
    assert seen["float32"] == {("encoder", torch.float32), ("quantizer", torch.float32)}
    assert seen["bfloat16"] == {("encoder", torch.bfloat16), ("quantizer", torch.float32)}
    model, loss_of, batches = new_rqvae()
    with torch.autocast("cpu", torch.bfloat16):
        by_hand = float(loss_of(batches(0)).detach())
    assert logs["bfloat16"][0] == by_hand
    assert logs["bfloat16"] == pytest.approx(logs["float32"], rel=0.05)
    assert all(a != b for a, b in zip(logs["bfloat16"], logs["float32"], strict=True))


def assert_compiled_trains_like_plain(new: Callable[[], Training]) -> None:
    """Train twice: one run compiled something, the other nothing, and both agree."""
    states, logs = [], []
    for compiled in (False, True):
        torch._dynamo.reset()
        counters.clear()
        training = new()
        config = config_of(num_steps=3, log_every=1, warmup_steps=0, compile=compiled)
        logs.append([entry.loss for entry in run(training, config)])
        states.append(state_of(training[0]))
        assert bool(counters["stats"]["unique_graphs"]) == compiled
    torch._dynamo.reset()
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.parametrize("kind", ["averages", "rotation", "gumbel"])
def test_a_compiled_rqvae_trains_like_a_plain_one(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced and differentiated as when compiled, without waiting for a C++ compiler."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    assert_compiled_trains_like_plain(KINDS[kind])


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="no C++ compiler")
def test_compiled_code_trains_like_plain_code() -> None:
    def new() -> Training:
        model, _, batches = new_rqvae()
        return model, model.autoencoder_loss, batches

    assert_compiled_trains_like_plain(new)


# What looks at the model meanwhile


def test_the_log_holds_the_mean_loss_since_the_last_entry() -> None:
    model, losses = Line(), []

    def loss_of(batch: Tensor) -> Tensor:
        loss = (model.w * batch).square().sum() + model.b.sum() ** 2
        losses.append(float(loss.detach()))
        return loss

    config = config_of(num_steps=10, log_every=4)
    log = run((model, loss_of, Given(lambda step: torch.ones(1, 2) * step)), config)
    assert [entry.step for entry in log] == [4, 8, 10]
    means = [sum(losses[:4]) / 4, sum(losses[4:8]) / 4, sum(losses[8:]) / 2]
    assert [entry.loss for entry in log] == pytest.approx(means)
    assert [entry.learning_rate for entry in log] == [config.rate_at(s, 10) for s in (3, 7, 9)]
    assert not any(entry.measured for entry in log)


def test_measurements_and_snapshots_are_made_at_their_steps_in_evaluation_mode() -> None:
    model, _, batches = new_decoder()
    steps_done, measured, snapped = 0, [], []

    def loss_of(batch: Tensor) -> Tensor:
        nonlocal steps_done
        assert model.training
        assert torch.is_grad_enabled()
        steps_done += 1
        return model.loss(batch)

    def measure() -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        measured.append(steps_done)
        return {"height": 10.0 * steps_done, "depth": -1.0}

    def snapshot(step: int) -> None:
        assert not model.training
        assert not torch.is_grad_enabled()
        assert step == steps_done
        snapped.append(step)

    config = config_of(
        num_steps=11, log_every=3, measure_every=4, snapshot_steps=(8, 1, 5, 8, 11, 12)
    )
    log = run((model, loss_of, batches), config, measure=measure, snapshot=snapshot)
    assert measured == [4, 8, 11]  # at the end too
    assert snapped == [1, 5, 8, 11]
    assert [entry.step for entry in log] == [3, 4, 6, 8, 9, 11]
    for entry in log:
        expected = {"height": 10.0 * entry.step, "depth": -1.0} if entry.step in measured else {}
        assert entry.measured == expected
    assert not model.training


@every_kind
def test_looking_at_the_model_changes_nothing(new: Callable[[], Training]) -> None:
    unseen, seen = new(), new()
    before = run(unseen, config_of())
    model, loss_of, batches = seen

    def look(*_: int) -> dict[str, float]:
        torch.rand(3)  # chance of its own
        return {"loss": float(loss_of(batches(0)))}

    config = config_of(measure_every=7, snapshot_steps=range(1, 41))
    after = run(seen, config, measure=look, snapshot=look)
    assert_same(state_of(model), state_of(unseen[0]))
    assert [dataclasses.replace(entry, measured={}) for entry in after] == before


def test_a_snapshot_is_the_result_of_a_training_of_so_many_steps() -> None:
    """Where the schedule does not ask how many steps are still to come."""
    snapshots = {}
    model, loss_of, batches = new_rqvae()
    steps = (4, 13, 20)
    config = config_of(num_steps=20, schedule="constant", snapshot_steps=steps)
    run(
        (model, loss_of, batches),
        config,
        snapshot=lambda step: snapshots.update({step: state_of(model)}),
    )
    assert tuple(snapshots) == steps
    for step, weights in snapshots.items():
        shorter = new_rqvae()
        run(shorter, config_of(num_steps=step, schedule="constant"))
        assert_same(weights, state_of(shorter[0]))
    assert_same(snapshots[20], state_of(model))


# Stopping early


def stopped_early(
    values: list[float], num_steps: int, stop: EarlyStop
) -> tuple[int, Tensor, dict[int, Tensor]]:
    """Train while these values are measured, every second step and at the end.

    Returns the last step, the weights (2,) that are kept, and the weights after each step.
    """
    model, weights, coming = Line(), {}, iter(values)
    log = run(
        (model, model.distance, RISING),
        config_of(num_steps, measure_every=2, snapshot_steps=range(1, 99), early_stop=stop),
        measure=lambda: {"quality": next(coming), "other": 0.0},
        snapshot=lambda step: weights.update({step: model.w.detach()[0].clone()}),
    )
    assert len({tuple(row.tolist()) for row in weights.values()}) == len(weights)  # all differ
    assert max(weights) == log[-1].step
    return log[-1].step, model.w.detach()[0], weights


@pytest.mark.parametrize(
    ("values", "patience", "num_steps", "last_step", "best_step"),
    [
        ([1, 3, 2, 2.5, 9], 2, 20, 8, 4),  # 9 would have come too late
        ([3, 1, 9], 1, 20, 4, 2),
        ([1, 1, 1, 9], 2, 20, 6, 2),  # as good is not better
        ([1, 2, 1, 3, 1, 4], 2, 12, 12, 12),  # patience starts again with each best
        ([1, 2, 3, 4, 5, 6], 1, 12, 12, 12),  # better each time: never stopped
        ([5, 1, 1], 3, 6, 6, 2),  # not stopped, yet the best is kept
        ([1, 2, 0, 3], 2, 7, 7, 7),  # the last step is measured too, and may be the best
        ([-5, -3, -4, -4], 2, 20, 8, 4),
        ([-math.inf, 1, 0, 0], 2, 20, 8, 4),
        ([1, math.nan, 2, 1, 1], 2, 20, 10, 6),  # NaN is no better than anything
        ([1, math.nan, math.nan, 9], 2, 20, 6, 2),
        ([math.nan, 1, 0, 0, 9], 2, 20, 8, 4),
        ([math.nan, math.nan, 9], 2, 20, 4, 4),  # nothing was best: what there is, is kept
    ],
)
@pytest.mark.parametrize("higher", [True, False])
def test_early_stop_keeps_the_best_weights(
    values: list[float], patience: int, num_steps: int, last_step: int, best_step: int, higher: bool
) -> None:
    stop = EarlyStop("quality", patience, higher_is_better=higher)
    signed = [value if higher else -value for value in values]
    stopped, kept, weights = stopped_early(signed, num_steps, stop)
    assert stopped == last_step
    assert torch.equal(kept, weights[best_step])


def test_higher_is_better_unless_said_otherwise() -> None:
    _, kept, weights = stopped_early([2, 3, 1], 6, EarlyStop("quality", 5, higher_is_better=True))
    assert torch.equal(kept, weights[4])


def test_a_number_that_is_not_measured_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"early_stop watches 'beauty', .* \['other', 'quality'\]"):
        stopped_early([1.0], 9, EarlyStop("beauty", 1, higher_is_better=True))


def test_the_order_of_snapshots_makes_no_other_training(tmp_path: Path) -> None:
    state, taken = tmp_path / "state.safetensors", []
    for steps, resume in (((20, 10), False), ((10, 20, 10), True)):
        config = config_of(num_steps=20, snapshot_steps=steps)
        assert config.snapshot_steps == (10, 20)
        run(
            (model := Line(), model.distance, RISING),
            config,
            snapshot=taken.append,
            state_path=state,
            resume=resume,
        )
    assert taken == [10, 20]  # by the first; the second found it finished


def test_early_stop_without_measurements_is_refused() -> None:
    model = Line()
    config = config_of(measure_every=2, early_stop=EarlyStop("quality", 2, higher_is_better=True))
    with pytest.raises(ValueError, match="quality"):
        run((model, model.distance, RISING), config)


# Losses that are not finite


@pytest.mark.parametrize(("log_every", "save_every"), [(1, 5), (5, 5), (50, 5), (7, 5), (100, 100)])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_the_state(
    tmp_path: Path, log_every: int, save_every: int, bad: float
) -> None:
    path = tmp_path / "state.safetensors"
    model = Line()

    def loss_of(batch: Tensor) -> Tensor:
        return (model.w * batch).square().sum() + model.b.sum()

    batches = Given(lambda step: torch.full((1, 2), bad if step == 11 else 1.0))
    config = config_of(log_every=log_every, save_every=save_every)
    with pytest.raises(FloatingPointError, match=r"at step 12\b.*lower the learning rate"):
        run((model, loss_of, batches), config, state_path=path)
    assert path.exists() == (save_every == 5)
    if path.exists():  # the kept state is the one of step 10, and sound
        _, tensors, _, card = load_checkpoint(path, ["training-state"])
        assert card["step"] == 10
        assert all(value.isfinite().all() for value in tensors.values())
        assert not torch.equal(tensors["model.w"], Line().w)


def test_a_gradient_that_is_not_finite_is_not_saved_either(tmp_path: Path) -> None:
    """√w at 0 is finite and its slope is not: the weights are lost before any loss shows it."""
    path = tmp_path / "state.safetensors"
    model = Line()

    def loss_of(batch: Tensor) -> Tensor:
        return (model.w * batch).square().sum().sqrt()

    batches = Given(lambda step: torch.full((1, 2), 0.0 if step == 9 else 1.0))
    with pytest.raises(FloatingPointError, match=r"the gradient has length (nan|inf) at step 10\b"):
        run((model, loss_of, batches), config_of(save_every=10), state_path=path)
    assert not path.exists()


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    """A learning rate so large that one step, from a sound loss, leaves the range of float32."""
    model = Line()
    config = config_of(num_steps=1, learning_rate=1e38, warmup_steps=0, weight_decay=1e3)
    with pytest.raises(FloatingPointError, match="a weight is not finite after step 1"):
        run((model, model.distance, RISING), config, state_path=tmp_path / "state.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rate", "decay", "advice"),
    [
        (1e-2, 1e9, r"lower the weight decay \(1000000000.0\) or the learning rate \(0.01\)"),
        (1e-2, 1e-2, r"lower the learning rate \(0.01\) or look for extreme values"),
    ],
)
def test_the_advice_names_what_makes_weights_grow(rate: float, decay: float, advice: str) -> None:
    model = nn.Linear(2, 2)
    data = Given(lambda step: torch.full((1, 2), math.nan if step == 39 and decay < 1 else 1.0))
    config = config_of(
        num_steps=40, learning_rate=rate, weight_decay=decay, warmup_steps=0, log_every=1
    )
    with pytest.raises(FloatingPointError, match=advice):
        run((model, lambda batch: model(batch).square().sum(), data), config)


def bad_at_step_2() -> Training:
    model = Line()
    return model, model.distance, Given(lambda step: torch.full((1, 2), math.nan if step else 1.0))


def test_what_is_not_finite_is_never_measured() -> None:
    asked = []
    with pytest.raises(FloatingPointError, match="the loss is nan at step 2"):
        run(
            bad_at_step_2(),
            config_of(measure_every=3, log_every=100),
            measure=lambda: asked.append(1) or {},
        )
    assert not asked


def test_what_is_not_finite_gets_no_snapshot() -> None:
    snapshots = []
    with pytest.raises(FloatingPointError, match="the loss is nan at step 2"):
        run(
            bad_at_step_2(),
            config_of(snapshot_steps=(3,), log_every=100),
            snapshot=snapshots.append,
        )
    assert not snapshots


def test_numbers_of_numpy_are_python_numbers_so_that_a_state_can_be_saved(tmp_path: Path) -> None:
    config = TrainingConfig(
        num_steps=np.int64(3), batch_size=np.int32(4), learning_rate=np.float32(0.5),
        seed=np.uint8(7), snapshot_steps=np.array([1, 2]), weight_decay=0,
        early_stop=EarlyStop("loss", np.int64(2), higher_is_better=False),
    )  # fmt: skip
    assert config == TrainingConfig(
        num_steps=3, batch_size=4, learning_rate=0.5, seed=7, snapshot_steps=(1, 2), weight_decay=0,
        early_stop=EarlyStop("loss", 2, higher_is_better=False),
    )  # fmt: skip
    assert json.loads(json.dumps(dataclasses.asdict(config)))["snapshot_steps"] == [1, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("num_steps", "batch_size", "seed")
            for value in (2.0, "2", True)
        ),
        *(("learning_rate", value) for value in ("0.1", True, [0.1])),
        *(("seed", value) for value in (-1, 2**31)),
        ("snapshot_steps", (1.5,)),
        ("num_epochs", "1"),
    ],
)
def test_what_is_no_number_is_refused_by_name(name: str, value: object) -> None:
    given = {"batch_size": 1, **({} if name == "num_epochs" else {"num_steps": 1}), name: value}
    with pytest.raises(ValueError, match=f"^{name} is "):
        TrainingConfig(**given)


@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt"])
def test_a_final_share_is_refused_where_there_is_none(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"final_share is 0\.1, but a "):
        config_of(schedule=schedule, final_share=0.1)


# The caller's settings of torch (`tests.robustness.test_settings` has all of them)


def test_training_turns_gradients_on_and_leaves_the_callers_setting() -> None:
    plain, within = new_rqvae(), new_rqvae()
    run(plain, config_of(3))
    with torch.no_grad():
        run(within, config_of(3))
        assert not torch.is_grad_enabled()
    assert_same(state_of(plain[0]), state_of(within[0]))


def test_a_model_that_was_made_in_inference_mode_cannot_be_trained_but_its_copy_can() -> None:
    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    batches = RowBatches(torch.ones(8, 2), batch_size=4, seed=0)
    with torch.inference_mode():
        model = Made()
        with pytest.raises(ValueError, match=r"^the model was made in torch's inference mode"):
            train(model, lambda x: (x @ model.weight).sum(), batches, config_of(2), progress=False)
    again = copy.deepcopy(model)
    train(again, lambda x: (x @ again.weight).sum(), batches, config_of(2), progress=False)
    assert not torch.equal(again.weight, torch.ones(2))
