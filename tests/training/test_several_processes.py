"""The number of processes changes nothing but rounding: losses, weights, and where one goes on."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.batches import Batches, WindowBatches
from rqvae_lib.data.splits import Histories, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.seeding import seeded, seeded_step
from rqvae_lib.ops.world import current_world, first_reports
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import EarlyStop, TrainingConfig
from rqvae_lib.training.gradients import backward
from rqvae_lib.training.loop import train
from rqvae_lib.training.recipes import train_recommender, train_sasrec
from tests.worlds import in_world

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "movielens-small-2016"
SMALL: dict[str, Any] = {
    "transformer": TransformerConfig(dim=16, num_layers=2, num_heads=2, mlp_dim=16, dropout=0.2),
    "max_items": 8,
    "embedding_dropout": 0.2,
}
CONFIGS: dict[str, HistoryModelConfig] = {
    "decoder-only": DecoderOnlyConfig(**SMALL),
    "decoder-only, valid": DecoderOnlyConfig(**SMALL, valid_only=True),
    "encoder-decoder": EncoderDecoderConfig(**SMALL),
    "rq-transformer": RQTransformerConfig(**SMALL),
    "rq-transformer, network": RQTransformerConfig(**SMALL, prefix_embeddings=False),
    "sasrec": SASRecConfig(num_items=9066, **SMALL),
}
# Added to the vector of every choice, it changes no softmax. Its gradient is nothing but rounding,
# which AdamW makes as large as other gradients.
NOISE = "prefix_network.2.bias"
# 10 windows a step: the shares of 4 processes differ in size.
TRAINING = TrainingConfig(
    num_steps=50, batch_size=10, learning_rate=1e-3, warmup_steps=5, log_every=1, save_every=10
)
Data = tuple[Tensor, Histories]  # the catalogue's IDs, and the training histories
Found = dict[str, Any]


@pytest.fixture(scope="module")
def data(one_thread: None) -> Data:
    return load_recommender(NAME)[0].ids.ids, leave_one_out(load_dataset()).train


def catalogue(ids: Tensor) -> SemanticIDs:
    return SemanticIDs(ids[:, :-1], [int(code) + 1 for code in ids.amax(0)[:-1]])


def trained(name: str, data: Data, training: TrainingConfig, **how: Any) -> Found:
    """Train; return the losses and the weights, as `torch.load` may read them."""
    config, (ids, histories) = CONFIGS[name], data
    if isinstance(config, SASRecConfig):
        model, log = train_sasrec(histories, config, training, progress=False, **how)
    else:
        model, log = train_recommender(  # type: ignore[assignment]
            catalogue(ids), histories, config, training, progress=False, **how
        )
    assert not model.training
    return {"losses": [entry.loss for entry in log], "weights": dict(model.state_dict())}


def all_trained(names: list[str], data: Data, **changes: Any) -> Found:
    return {name: trained(name, data, replace(TRAINING, **changes)) for name in names}


def assert_same(found: list[Found], expected: Found) -> None:
    """Assert that all ranks have the same, bit for bit, and another training too, to rounding."""
    for rank, each in enumerate(found):
        assert each["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        for name, weight in each["weights"].items():
            assert weight.equal(found[0]["weights"][name]), (rank, name)
            if name != NOISE:
                torch.testing.assert_close(
                    weight, expected["weights"][name], atol=1e-4, rtol=1e-3, msg=name
                )


@pytest.mark.parametrize(("size", "names"), [(2, [*CONFIGS]), (4, ["rq-transformer"])])
def test_any_number_of_processes_train_the_same(size: int, names: list[str], data: Data) -> None:
    expected = all_trained(names, data)
    found = in_world(size, all_trained, names, data)
    for name in names:
        assert len(expected[name]["losses"]) == TRAINING.num_steps
        assert_same([each[name] for each in found], expected[name])


# What is found out in two processes, which are started once for all of it


class Until:
    """Batches that end with an error before a step."""

    def __init__(self, batches: Batches, step: int) -> None:
        self.batches, self.step = batches, step
        self.steps_per_epoch = batches.steps_per_epoch

    def __call__(self, step: int) -> Tensor:
        if step >= self.step:
            raise InterruptedError
        return self.batches(step)


def parts(data: Data, state: Path, until: int, resume: bool) -> Found:
    """Train until a step, or to the end, with a saved state."""
    ids, histories = data
    with seeded(0):
        model = new_recommender(CONFIGS["rq-transformer"], catalogue(ids))
    batches = Until(WindowBatches(histories, max_items=8, batch_size=10, seed=0), until)
    losses: list[float] = []
    try:
        log = train(
            model,
            model.loss,
            batches,
            TRAINING,
            num_targets=model.num_targets,
            state_path=state,
            resume=resume,
            progress=False,
        )
        losses = [entry.loss for entry in log]
    except InterruptedError:
        assert until < 50
    return {"losses": losses, "weights": dict(model.state_dict())}


def gradients_of(name: str, data: Data, num_rows: int) -> Found:
    """Compute the gradient of a batch by `backward`."""
    ids, histories = data
    config = CONFIGS[name]
    with seeded(0):
        model: Recommender | SASRec = (
            SASRec(config)
            if isinstance(config, SASRecConfig)
            else new_recommender(config, catalogue(ids))
        )
    parameters = [*model.parameters(), unused := nn.Parameter(torch.ones(3, 3))]
    batch = WindowBatches(histories, max_items=8, batch_size=num_rows, seed=1)(0)
    with seeded_step(0, 3, torch.device("cpu")):
        if current_world().size == 1:  # by hand
            loss = model.loss(batch)
            loss.backward()
            loss = loss.detach()
        else:
            loss = backward(model.loss, batch, parameters, model.num_targets)
    assert unused.grad is None
    return {"loss": loss, "gradients": {n: p.grad for n, p in model.named_parameters()}}


class Line(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((2,), start))

    def distance(self, rows: Tensor) -> Tensor:
        return (self.w * rows).square().sum(1).mean()


class Ones:
    steps_per_epoch = 3

    def __call__(self, step: int) -> Tensor:
        return torch.arange(10.0).view(5, 2) + step


def early_stop() -> Found:
    """Stop early by numbers that only the first process has."""
    measured = iter([3.0, 1.0, 2.0, 4.0, 0.0])
    model, called = Line(1.0), 0

    def measure() -> Mapping[str, float]:
        nonlocal called
        called += 1
        assert current_world().size == 1  # it may use whatever uses a world
        assert not model.training
        return {"m": next(measured)}

    config = TrainingConfig(
        num_steps=10,
        batch_size=5,
        measure_every=2,
        log_every=2,
        early_stop=EarlyStop("m", 2, higher_is_better=False),
        snapshot_steps=(3, 4),
    )
    snapshots: list[int] = []
    log = train(
        model,
        model.distance,
        Ones(),
        config,
        measure=measure,
        snapshot=snapshots.append,
        progress=False,
    )
    return {
        "steps": [entry.step for entry in log],
        "measured": [dict(entry.measured) for entry in log],
        "losses": [entry.loss for entry in log],
        "called": called,
        "snapshots": snapshots,
        "w": model.w.detach(),
    }


class OneIsNot(Ones):
    """A row of the last process's share is not a number from step 3 on."""

    def __call__(self, step: int) -> Tensor:
        rows = super().__call__(step)
        rows[-1] = math.nan if step >= 2 else 0.0
        return rows


def refusals(state: Path) -> Found:
    """Return what each process is told, by what is wrong, and whether the first says it for all."""
    config = TrainingConfig(num_steps=10, batch_size=5, save_every=2, log_every=1)
    said = {}

    def attempt(
        kind: type[Exception], batches: Batches | None = None, named: str = "", **how: Any
    ) -> None:
        model = Line(1.0)
        with pytest.raises(kind) as caught:
            train(model, model.distance, batches or Ones(), config, progress=False, **how)
        said[named or kind.__name__] = [first_reports(caught.value), str(caught.value)]

    attempt(InterruptedError, Until(Ones(), 5), state_path=state)
    attempt(CheckpointError, state_path=state)  # that one is unfinished
    attempt(FileNotFoundError, state_path=state.with_name("none"), resume=True)
    attempt(FloatingPointError, OneIsNot())
    attempt(ValueError, inputs={"data": str(current_world().rank)})
    alone: dict[str, Any] = {"state_path": state, "measure": dict, "snapshot": print}
    for name, value in alone.items():
        attempt(ValueError, named=name, **({name: value} if current_world().is_first else {}))
    return said


def from_the_first_weights() -> Tensor:
    model = Line(1.0 + current_world().rank)
    config = TrainingConfig(num_steps=3, batch_size=5)
    train(model, model.distance, Ones(), config, progress=False)
    return model.w.detach()


def in_two(data: Data, folder: str) -> Found:
    state = Path(folder) / "parts.safetensors"
    found: Found = {"first part": parts(data, state, 15, False)}
    with torch.random.fork_rng():
        found["one window"] = all_trained([*CONFIGS], data, num_steps=6, batch_size=1)
    found["bfloat16"] = all_trained(["rq-transformer", "sasrec"], data, precision="bfloat16")
    found["gradients"] = {name: gradients_of(name, data, 5) for name in CONFIGS}
    found["early stop"] = early_stop()
    found["refusals"] = refusals(Path(folder) / "refused.safetensors")
    found["weights"] = from_the_first_weights()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def two(data: Data, folder: Path) -> list[Found]:
    return in_world(2, in_two, data, str(folder))


def test_a_batch_of_one_window_leaves_a_process_without_rows(data: Data, two: list[Found]) -> None:
    expected = all_trained([*CONFIGS], data, num_steps=6, batch_size=1)
    for name in CONFIGS:
        assert_same([each["one window"][name] for each in two], expected[name])


def test_the_gradient_is_that_of_the_whole_batch(data: Data, two: list[Found]) -> None:
    """5 windows of different lengths: the shares have different numbers of rows and of targets."""
    for name in CONFIGS:
        expected = gradients_of(name, data, 5)
        for each in two:
            found = each["gradients"][name]
            torch.testing.assert_close(found["loss"], expected["loss"])
            for parameter, gradient in expected["gradients"].items():
                torch.testing.assert_close(
                    found["gradients"][parameter], gradient, atol=1e-5, rtol=1e-4, msg=parameter
                )


def test_two_then_one_then_two_processes(data: Data, two: list[Found], folder: Path) -> None:
    state = folder / "parts.safetensors"  # saved after 10 steps
    parts(data, state, 34, True)  # and by one process after 30
    whole = parts(data, folder / "whole.safetensors", 50, False)
    last = in_world(2, parts, data, state, 50, True)
    whole["losses"] = whole["losses"][30:]
    assert_same(last, whole)


def test_sixteen_bits_take_the_same_way(data: Data, two: list[Found]) -> None:
    expected = all_trained(["rq-transformer", "sasrec"], data, precision="bfloat16")
    for each in two:
        for name, alone in expected.items():
            found = each["bfloat16"][name]["losses"]
            assert found == pytest.approx(alone["losses"], rel=5e-3)


def test_the_first_measures_and_all_stop(two: list[Found]) -> None:
    for rank, each in enumerate(two):
        found = each["early stop"]
        assert found["steps"] == [2, 4, 6, 8]  # twice without a new best after step 4
        assert found["measured"] == [{"m": m} for m in (3.0, 1.0, 2.0, 4.0)]
        assert found["called"] == (0 if rank else 4)
        assert found["snapshots"] == ([] if rank else [3, 4])
        assert found["w"].equal(two[0]["early stop"]["w"])
    alone = early_stop()
    torch.testing.assert_close(two[1]["early stop"]["w"], alone["w"])
    assert two[1]["early stop"]["losses"] == pytest.approx(alone["losses"])


def test_what_is_refused_is_refused_by_all(two: list[Found]) -> None:
    first, second = (each["refusals"] for each in two)
    assert "holds an unfinished training at step 4 of 10" in first["CheckpointError"][1]
    assert "the loss is nan at step 3" in first["FloatingPointError"][1]
    for kind in ("CheckpointError", "FileNotFoundError", "FloatingPointError"):
        assert first[kind] == [False, second[kind][1]]
        assert second[kind][0]
    said = "process 1 has other data or settings than process 0"
    for caught in (first, second):
        assert f"{said} (data)" in caught["ValueError"][1]
        # What a script may give to the first process alone.
        for name in ("state_path", "measure", "snapshot"):
            assert f"{said} ({name})" in caught[name][1]


def test_all_begin_with_the_weights_of_the_first(two: list[Found]) -> None:
    assert two[0]["weights"].equal(two[1]["weights"])
    torch.testing.assert_close(two[0]["weights"], from_the_first_weights())
