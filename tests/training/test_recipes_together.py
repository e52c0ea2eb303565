"""A tokenizer that several processes train together is the one that a single process trains."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.world import current_world
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tests.worlds import in_world

pytestmark = pytest.mark.usefixtures("one_thread")

WAYS = [  # how gradients pass, and how codewords learn
    ("straight-through", "average"),
    ("straight-through", "gradient"),
    ("rotation", "average"),
    ("rotation", "gradient"),
    ("gumbel", "gradient"),
]
# With so many items per codeword, none of them is a cluster of its own. The gradient of such a
# codeword would be nothing but rounding, which AdamW makes as large as other gradients.
CONFIG = RQVAEConfig(6, (8,), 4, 2, codebook_size=8, dead_after=1)
TRAINING = TrainingConfig(batch_size=24, num_steps=50, learning_rate=0.003, log_every=1, seed=3)


def embeddings(num_items: int = 400) -> Tensor:
    return torch.randn(num_items, 6, generator=torch.Generator().manual_seed(0)).exp()


def trained(
    config: RQVAEConfig = CONFIG, training: TrainingConfig = TRAINING, **kwargs: Any
) -> dict[str, Any]:
    """What a training gives: losses, what was measured at the end, weights and codes."""
    kwargs = {"autoencoder_steps": 10, "progress": False} | kwargs
    given = None if "start_from" in kwargs else config
    model, log = train_rqvae(embeddings(), given, training, **kwargs)
    return {
        "losses": torch.tensor([entry.loss for entry in log]),
        "measured": dict(log[-1].measured) if log else {},
        "state": dict(model.state_dict()),
        "codes": model.assign(embeddings()),
    }


def assert_close(found: dict[str, Any], alone: dict[str, Any]) -> None:
    """Equal up to rounding: losses, and the codes of all but a row that lies between two."""
    torch.testing.assert_close(found["losses"], alone["losses"], rtol=1e-5, atol=0)
    assert (found["codes"] != alone["codes"]).any(1).sum() <= 1
    assert found["measured"] == pytest.approx(alone["measured"], rel=0.05)


def assert_equal_ranks(ranks: list[dict[str, Any]]) -> None:
    for found in ranks[1:]:
        for name, value in ranks[0]["state"].items():
            assert torch.equal(found["state"][name], value), name
        assert torch.equal(found["losses"], ranks[0]["losses"])
        assert found["measured"] == ranks[0]["measured"]


# Every way to learn


def every_way() -> dict[str, dict[str, Any]]:
    found = {}
    for estimator, learning in WAYS:
        config = dataclasses.replace(CONFIG, estimator=estimator, learning=learning)
        found[f"{estimator} {learning}"] = trained(config)
    few = dataclasses.replace(TRAINING, batch_size=3, num_steps=10)
    found["fewer rows than processes"] = trained(CONFIG, few)
    return found


# What the first process does for all


class Stopped(ValueError):
    """Stands for whatever ends a training."""


def first_for_all(folder: Path) -> dict[str, Any]:
    """What each process is told of refused trainings, which snapshots it takes, and what it has."""
    path = folder / "state.safetensors"
    told: dict[str, str] = {}
    snapshots: list[int] = []

    def stop(step: int, model: RQVAE) -> None:
        snapshots.append(step)
        if step == 33:
            raise Stopped(f"at step {step}")

    def attempt(what: str, training: Callable[[], object]) -> None:
        try:
            training()
        except (ValueError, OSError) as error:
            told[what] = f"{type(error).__name__}: {error}"

    bad = embeddings()
    bad[7] = torch.nan
    saving = dataclasses.replace(TRAINING, save_every=10, snapshot_steps=(5, 33))
    attempt("too few", lambda: train_rqvae(embeddings(5), CONFIG, TRAINING, progress=False))
    attempt("too few to fit", lambda: new_rqvae(embeddings(5), CONFIG, seed=0))
    attempt("not finite", lambda: train_rqvae(bad, CONFIG, TRAINING, progress=False))
    attempt("nothing to resume", lambda: trained(state_path=path, resume=True))
    attempt("stopped", lambda: trained(training=saving, state_path=path, snapshot=stop))
    attempt("unfinished", lambda: trained(training=saving, state_path=path, snapshot=stop))
    kmeans = new_rqvae(embeddings(), RQVAEConfig.residual_kmeans(6, codebook_size=8), seed=0)
    return {"told": told, "snapshots": snapshots, "residual k-means": dict(kmeans.state_dict())}


def resumed(folder: Path, *, resume: bool = True) -> dict[str, Any]:
    """The same training, from what `first_for_all` saved of it, or from its beginning."""
    path = folder / "state.safetensors"
    saving = dataclasses.replace(TRAINING, save_every=10, snapshot_steps=(5, 33))
    ignore = {"state_path": path if resume else None, "snapshot": lambda step, model: None}
    return trained(training=saving, resume=resume, **ignore)


def embedded() -> dict[str, Any]:
    """The embedded movies' tokenizer after 50 steps."""
    config, training = RQVAEConfig(), TrainingConfig(batch_size=256, num_steps=50, log_every=1)
    x = load_embeddings()
    model, log = train_rqvae(x, config, training, autoencoder_steps=20, progress=False)
    return {"losses": torch.tensor([entry.loss for entry in log]), "codes": model.assign(x)}


# All of it in as few processes as can be: each first imports torch for seconds.


def in_one(folder: Path) -> dict[str, Any]:
    """What one process gives; it leaves the state of a training that is not finished."""
    folder.mkdir()
    found = {"ways": every_way(), "first": first_for_all(folder), "embedded": embedded()}
    return found | {"whole": resumed(folder, resume=False)}


def in_two(folder: Path) -> dict[str, Any]:
    current_world().from_first(folder.mkdir)
    return {"ways": every_way(), "first": first_for_all(folder), "embedded": embedded()}


def in_four(begun_by_one: Path) -> dict[str, Any]:
    return {"ways": every_way(), "resumed": resumed(begun_by_one)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def one(one_thread: None, folder: Path) -> dict[str, Any]:
    return in_one(folder / "one")


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    return in_world(2, in_two, folder / "two")


@pytest.fixture(scope="module")
def four(one: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    return in_world(4, in_four, folder / "one")


@pytest.mark.parametrize("processes", ["two", "four"])
def test_losses_and_codes_do_not_depend_on_the_number_of_processes(
    processes: str, one: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    ranks = request.getfixturevalue(processes)
    for way, alone in one["ways"].items():
        assert_close(ranks[0]["ways"][way], alone)
        assert_equal_ranks([found["ways"][way] for found in ranks])


def test_codewords_died_and_moved_meanwhile(one: dict[str, Any]) -> None:
    never = trained(dataclasses.replace(CONFIG, dead_after=0))
    assert not torch.equal(never["losses"], one["ways"]["straight-through average"]["losses"])


def test_what_the_first_process_refuses_is_refused_by_all(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    alone = one["first"]
    assert [sentence.split(":")[0] for sentence in alone["told"].values()] == [
        "ValueError", "ValueError", "ValueError", "FileNotFoundError", "Stopped", "CheckpointError"
    ]  # fmt: skip
    assert alone["snapshots"] == [5, 33]
    for found in two:
        told = found["first"]["told"].items()
        assert {name: said.replace("/two/", "/one/") for name, said in told} == alone["told"]
        for name, value in alone["residual k-means"].items():
            assert torch.equal(found["first"]["residual k-means"][name], value)
    assert [found["first"]["snapshots"] for found in two] == [[5, 33], []]


def test_a_training_goes_on_in_another_number_of_processes(
    one: dict[str, Any], two: list[dict[str, Any]], four: list[dict[str, Any]], folder: Path
) -> None:
    expected = one["whole"] | {"losses": one["whole"]["losses"][30:]}
    assert_close(resumed(folder / "two"), expected)  # begun by two, finished by one
    assert_close(four[0]["resumed"], expected)  # begun by one, finished by four
    assert_equal_ranks([found["resumed"] for found in four])


def test_the_embedded_movies_get_the_same_ids(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    """Until a movie lies between two codewords to the last digits: it then moves one of them."""
    alone, (found, other) = one["embedded"], (each["embedded"] for each in two)
    torch.testing.assert_close(found["losses"][:10], alone["losses"][:10], rtol=1e-6, atol=0)
    torch.testing.assert_close(found["losses"], alone["losses"], rtol=1e-3, atol=0)
    assert torch.equal(found["codes"], other["codes"])
    assert torch.equal(found["losses"], other["losses"])
    assert (found["codes"] != alone["codes"]).any(1).sum() < 600  # of 9,066
