"""The training loop: the same weights whatever interrupts it, and each formula by hand."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.batches import RowBatches, WindowBatches
from rqvae_lib.checkpoints import CheckpointError
from rqvae_lib.recommenders import DecoderOnly, DecoderOnlyConfig
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.splits import Histories
from rqvae_lib.training import TrainingConfig, train
from rqvae_lib.transformer import TransformerConfig

pytestmark = pytest.mark.usefixtures("one_thread")

Training = tuple[nn.Module, Callable[[Tensor], Tensor], Callable[[int], Tensor]]


def new_rqvae() -> Training:
    """Averages, dead codewords that are drawn anew, and k-means: all that has chance in it."""
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0)).exp()
    torch.manual_seed(0)
    model = RQVAE(RQVAEConfig(6, (8,), 4, 2, codebook_size=16, dead_after=2))
    model.fit_to_data(x, generator=torch.Generator().manual_seed(0))
    return model, lambda batch: model(batch).loss, RowBatches(x, batch_size=8, seed=1)


def new_decoder() -> Training:
    """Dropout everywhere, and windows that are cut anew each epoch."""
    generator = torch.Generator().manual_seed(0)
    ids = SemanticIDs(torch.randint(4, (30, 2), generator=generator), [4, 4])
    torch.manual_seed(0)
    transformer = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8, dropout=0.3)
    model = DecoderOnly(DecoderOnlyConfig(transformer, max_items=5, embedding_dropout=0.2), ids)
    items = torch.randint(30, (70,), generator=generator)
    histories = Histories(items, torch.tensor([0, 3, 20, 41, 70]))
    return model, model.loss, WindowBatches(histories, max_items=5, batch_size=4, seed=1)


class Interrupted(Exception):
    """Stands for whatever stops a program."""


def config_of(num_steps: int = 40, **changes: float) -> TrainingConfig:
    settings = {"batch_size": 8, "learning_rate": 0.01, "warmup_steps": 5, "log_every": 7}
    return TrainingConfig(num_steps=num_steps, **(settings | {"save_every": 20} | changes))


def run(training: Training, config: TrainingConfig, **kwargs: object) -> list:
    model, loss_of, batches = training
    return train(model, loss_of, batches, config, progress=False, **kwargs)


def failing_at(batches: Callable[[int], Tensor], bad_step: int) -> Callable[[int], Tensor]:
    def batch(step: int) -> Tensor:
        if step == bad_step:
            raise Interrupted
        return batches(step)

    return batch


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


# Interrupted and resumed


@pytest.mark.parametrize("new", [new_rqvae, new_decoder])
@pytest.mark.parametrize("bad_step", [20, 23, 39])
def test_an_interrupted_training_ends_at_the_same_weights(
    tmp_path: Path, new: Callable[[], Training], bad_step: int
) -> None:
    straight = new()
    straight_log = run(straight, config_of())
    path = tmp_path / "state.safetensors"
    model, loss_of, batches = new()
    torch.manual_seed(99)  # the caller's chance must not matter
    with pytest.raises(Interrupted):
        run((model, loss_of, failing_at(batches, bad_step)), config_of(), state_path=path)
    resumed = new()
    torch.manual_seed(77)
    log = run(resumed, config_of(), state_path=path, resume=True)
    assert_same(state_of(resumed[0]), state_of(straight[0]))
    assert [entry for entry in log if entry.step > 21] == straight_log[3:]
    assert not resumed[0].training


def test_the_rqvae_of_that_test_does_draw_codewords_anew() -> None:
    """Otherwise the test above would not show that this chance is resumed too."""
    calls = []
    model, loss_of, batches = new_rqvae()
    original = torch.randperm
    model.train()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            torch, "randperm", lambda *a, **k: (calls.append("device" in k), original(*a, **k))[1]
        )
        run((model, loss_of, batches), config_of())
    assert sum(calls) >= 5


def test_other_seeds_give_other_weights() -> None:
    first, second = new_decoder(), new_decoder()
    run(first, config_of(seed=1))
    run(second, config_of(seed=2))  # the batches are the same: what differs is dropout
    assert not torch.equal(first[0].code_embedding.weight, second[0].code_embedding.weight)


@pytest.mark.parametrize("new", [new_rqvae, new_decoder])
def test_the_callers_random_numbers_are_untouched(new: Callable[[], Training]) -> None:
    training = new()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    run(training, config_of(num_steps=5))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_finished_run_that_is_resumed_is_only_loaded(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    finished = new_decoder()
    run(finished, config_of(num_steps=8), state_path=path)
    written = path.read_bytes()
    model, loss_of, batches = new_decoder()
    resumed = (model, loss_of, failing_at(batches, 8))
    assert run(resumed, config_of(num_steps=8), state_path=path, resume=True) == []
    assert_same(state_of(model), state_of(finished[0]))
    assert not model.training
    assert path.read_bytes() == written


def test_states_are_saved_when_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    model, loss_of, batches = new_decoder()
    with pytest.raises(Interrupted):
        run((model, loss_of, failing_at(batches, 4)), config_of(save_every=5), state_path=path)
    assert not path.exists()
    with pytest.raises(Interrupted):
        run((model, loss_of, failing_at(batches, 5)), config_of(save_every=5), state_path=path)
    assert path.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0.02), ("seed", 3), ("num_steps", 50), ("batch_size", 9)],
)
def test_another_configuration_is_refused(tmp_path: Path, name: str, value: float) -> None:
    path = tmp_path / "state.safetensors"
    run(new_decoder(), config_of(), state_path=path)
    training = new_decoder()
    before = state_of(training[0])
    config = dataclasses.replace(config_of(), **{name: value})
    with pytest.raises(CheckpointError, match=rf"state\.safetensors .*{name} was .*{name}={value}"):
        run(training, config, state_path=path, resume=True)
    assert_same(state_of(training[0]), before)


def test_other_inputs_and_other_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    config = config_of(num_steps=2)
    run(new_decoder(), config, state_path=path, inputs={"ids": "abc"})
    with pytest.raises(CheckpointError, match="ids was abc; now ids=xyz"):
        run(new_decoder(), config, state_path=path, inputs={"ids": "xyz"}, resume=True)
    with pytest.raises(CheckpointError, match="holds a model of another shape"):
        run(new_rqvae(), config, state_path=path, inputs={"ids": "abc"}, resume=True)


def test_nothing_to_resume_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        run(new_decoder(), config_of(), state_path=tmp_path / "none.safetensors", resume=True)


# Losses that are not finite


class Line(nn.Module):
    """y = w·x, so that every number can be followed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[1.0, -2.0]]))
        self.b = nn.Parameter(torch.tensor([0.5]))


@pytest.mark.parametrize(("log_every", "save_every"), [(1, 5), (5, 5), (50, 5), (7, 5), (100, 100)])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_the_state(
    tmp_path: Path, log_every: int, save_every: int, bad: float
) -> None:
    path = tmp_path / "state.safetensors"
    model = Line()

    def loss_of(batch: Tensor) -> Tensor:
        return (model.w * batch).square().sum() + model.b.sum()

    def batches(step: int) -> Tensor:
        return torch.full((1, 2), bad if step == 11 else 1.0)

    config = config_of(log_every=log_every, save_every=save_every)
    with pytest.raises(FloatingPointError, match=r"at step 12\b.*lower the learning rate"):
        train(model, loss_of, batches, config, state_path=path, progress=False)
    if save_every == 5:
        other = Line()
        with pytest.raises(Interrupted):  # the kept state is the one of step 10, and sound
            train(
                other, loss_of, failing_at(batches, 10), config,
                state_path=path, resume=True, progress=False,
            )  # fmt: skip
        assert other.w.isfinite().all()
        assert not torch.equal(other.w, Line().w)
    else:
        assert not path.exists()


def test_a_gradient_that_is_not_finite_is_not_saved_either(tmp_path: Path) -> None:
    """√w at 0 is finite and its slope is not: the weights are lost before any loss shows it."""
    path = tmp_path / "state.safetensors"
    model = Line()

    def loss_of(batch: Tensor) -> Tensor:
        return (model.w * batch).square().sum().sqrt()

    def batches(step: int) -> Tensor:
        return torch.full((1, 2), 0.0 if step == 9 else 1.0)

    config = config_of(save_every=10)
    with pytest.raises(FloatingPointError, match=r"the gradient has length (nan|inf) at step 10\b"):
        train(model, loss_of, batches, config, state_path=path, progress=False)
    assert not path.exists()


# Formulas


def test_the_rate_schedule_by_hand() -> None:
    config = TrainingConfig(
        num_steps=14, batch_size=1, learning_rate=0.8, warmup_steps=4, final_share=0.25
    )
    rates = [config.rate_at(step) for step in range(14)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
    for step in range(4, 14):
        share = 0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * (step - 4) / 10))
        assert rates[step] == pytest.approx(0.8 * share)
    assert rates[9] == pytest.approx(0.8 * 0.625)  # half-way
    constant = TrainingConfig(num_steps=9, batch_size=1, learning_rate=0.8, final_share=1)
    assert {constant.rate_at(step) for step in range(9)} == {0.8}
    assert TrainingConfig(num_steps=9, batch_size=1).rate_at(0) == pytest.approx(1e-3)


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

    train(model, loss_of, lambda step: gradients[step], config, progress=False)
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


def test_the_loop_equals_torchs_own_parts() -> None:
    training, config = new_decoder(), config_of(num_steps=12)
    run(training, config)
    model, loss_of, batches = new_decoder()
    named = dict(model.named_parameters())
    matrices = [p for p in named.values() if p.ndim >= 2]
    vectors = [p for p in named.values() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    )
    model.train()
    for step in range(12):
        for group in optimizer.param_groups:
            group["lr"] = config.rate_at(step)
        torch.manual_seed(step)  # seed 0
        optimizer.zero_grad()
        loss_of(batches(step)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for name, value in training[0].state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_the_log_holds_the_mean_loss_since_the_last_entry() -> None:
    model, losses = Line(), []

    def loss_of(batch: Tensor) -> Tensor:
        loss = (model.w * batch).square().sum() + model.b.sum() ** 2
        losses.append(float(loss.detach()))
        return loss

    config = config_of(num_steps=10, log_every=4)
    log = train(model, loss_of, lambda step: torch.ones(1, 2) * step, config, progress=False)
    assert [entry.step for entry in log] == [4, 8, 10]
    means = [sum(losses[:4]) / 4, sum(losses[4:8]) / 4, sum(losses[8:]) / 2]
    assert [entry.loss for entry in log] == pytest.approx(means)
    assert [entry.learning_rate for entry in log] == [config.rate_at(step) for step in (3, 7, 9)]


@pytest.mark.parametrize("name", ["num_steps", "batch_size", "log_every", "save_every"])
def test_counts_below_one_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        dataclasses.replace(config_of(), **{name: 0})
