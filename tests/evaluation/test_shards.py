"""Rows, lists and intervals in several processes: those of one process, bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.checkpoints.models import load_model
from rqvae_lib.data.splits import Split, leave_one_out, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import METRICS, Evaluation, difference, evaluate
from rqvae_lib.evaluation.shards import fill_in_batches
from rqvae_lib.evaluation.validation import (
    tuned_item_knn,
    tuned_mixture,
    tuned_near_pairs,
    validate,
)
from rqvae_lib.models.configs import SASRecConfig
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.world import current_world
from tests.helpers import small_dataset
from tests.worlds import in_world

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = [(1, 1), (1, 64), (2, 1), (7, 2), (7, 3), (64, 5)]  # rows, and rows of a batch
WRITES_IDS, SCORES = "movielens-small-2016-decoder-only", "movielens-small-2016-sasrec"


@given(st.integers(1, 60), st.integers(1, 70))
@settings(max_examples=30, deadline=None)
def test_alone_the_batches_follow_each_other(num_rows: int, batch_size: int) -> None:
    made: list[slice] = []

    def make(rows: slice) -> Tensor:
        made.append(rows)
        return torch.arange(rows.start, rows.stop)

    table = torch.full((num_rows,), -1)
    fill_in_batches(table, batch_size, make)
    assert table.tolist() == list(range(num_rows))
    assert [rows.start for rows in made] == list(range(0, num_rows, batch_size))


def filled() -> dict[str, Any]:
    """What a process gets, how often all processes made each row, and what it sees of an error."""
    world = current_world()
    tables, times, sizes = [], [], set()
    for num_rows, batch_size in SIZES:
        counts = torch.zeros(num_rows, dtype=torch.int64)

        def make(rows: slice) -> Tensor:
            assert rows.stop - rows.start <= batch_size  # noqa: B023
            counts[rows] += 1  # noqa: B023
            sizes.add(current_world().size)
            return torch.arange(rows.start, rows.stop)[:, None] * torch.tensor([1, 10])

        table = torch.full((num_rows, 2), -1)
        fill_in_batches(table, batch_size, make)
        tables.append(table)
        times.append(world.sum(counts))

    def fails(rows: slice) -> Tensor:
        raise ValueError(f"row {rows.start} is bad")

    caught = ""
    try:  # by the last processes alone: the first ones have nothing to do
        fill_in_batches(torch.zeros(2), 1, fails)
    except ValueError as error:
        caught = str(error)
    return {"tables": tables, "times": times, "sizes": sorted(sizes), "caught": caught}


def test_each_row_is_made_once_and_all_processes_have_all_rows() -> None:
    for found in in_world(3, filled):
        for (num_rows, _), table, times in zip(SIZES, found["tables"], found["times"], strict=True):
            assert table[:, 0].tolist() == list(range(num_rows))
            assert table[:, 1].tolist() == list(range(0, 10 * num_rows, 10))
            assert times.tolist() == [1] * num_rows
        assert found["sizes"] in ([1], [])  # what makes rows is alone
        assert found["caught"] == "row 0 is bad"  # in all of them


@dataclass
class Broken:
    """Scores of which those of one history are no numbers."""

    num_items: int
    history: Tensor

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        bad = [torch.equal(history, self.history) for history in histories]
        return torch.where(torch.tensor(bad)[:, None], torch.nan, torch.ones(1, self.num_items))


def numbers_of(found: Evaluation) -> dict[str, Any]:
    """Everything that is computed from an evaluation."""
    return {
        "lists": found.lists,
        "targets": found.targets,
        "users": found.users,
        "means": {
            f"{metric}@{k}": [mean.mean, *mean.interval]
            for metric in METRICS
            for k in (1, 10, 50)
            for mean in [found.mean(metric, k)]
        },
        "coverage": found.coverage(10),
        "popularity": found.mean_popularity(10),
        "of_people": found.of_people("NDCG", 10),
    }


def small_evaluations() -> dict[str, Any]:
    """Of few and of many targets of few users, in batches of all sizes; and of a broken model."""
    said: dict[str, Any] = {}
    for name in ("leave-one-out", "timestamp"):
        split = split_by_name(small_dataset(), name)
        knn = ItemKNN(split.train, split.num_items)
        for num_targets in (1, 2, 3, len(split.test)):
            for batch_size in (1, 5, 64):
                found = evaluate(knn, split, split.test[:num_targets], batch_size=batch_size)
                said[f"{name}, {num_targets} by {batch_size}"] = numbers_of(found)
    split = leave_one_out(small_dataset())
    broken = Broken(split.num_items, split.everything.before(int(split.test[-1])))
    try:
        evaluate(broken, split, split.test, batch_size=5)
    except ValueError as error:
        said["broken"] = str(error)
    knn = tuned_item_knn(split)
    said["tuned"] = [knn.shrinkage, knn.last or 0]
    pairs = tuned_near_pairs(split)
    said["tuned near pairs"] = [pairs.window, pairs.last or 0]
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(num_items=split.num_items)).eval()
    mixture = tuned_mixture(model, pairs, split)
    said["tuned mixture"] = numbers_of(evaluate(mixture, split, split.test))
    said["share"] = mixture.share
    return said


def embedded_evaluations() -> dict[str, Any]:
    """Of models that were trained on the embedded data, on as many users as three batches hold."""
    split = split_by_name(load_dataset(), "leave-one-out")
    some = split.test[:150]
    decoder, _ = load_model(WRITES_IDS)
    sasrec, _ = load_model(SCORES)
    found = {
        "beams": evaluate(decoder, split, some),
        "exact": evaluate(decoder, split, some[:3], exact=True, batch_size=1),
        "SASRec": evaluate(sasrec, split, some),
        "item-kNN": evaluate(ItemKNN(split.train, split.num_items), split, some),
        "popularity": evaluate(Popularity(split.popularity), split, some),
    }
    said: dict[str, Any] = {name: numbers_of(each) for name, each in found.items()}
    for other in ("SASRec", "popularity"):
        apart = difference(found["beams"], found[other], "NDCG", 10)
        said[f"beams against {other}"] = [apart.mean, *apart.interval]
    said["validation"] = validated(sasrec, split)
    return said


def validated(model: SASRec, split: Split) -> dict[str, list[float]]:
    found = validate(model, replace(split, validation=split.validation[:100]))
    return {name: [value.mean, *value.interval] for name, value in found.items()}


def test_evaluations_equal_those_of_one_process_bit_for_bit() -> None:
    expected = small_evaluations() | embedded_evaluations()
    assert expected["broken"].startswith("row ")
    for found in in_world(2, all_evaluations):
        assert_same(found, expected)


def all_evaluations() -> dict[str, Any]:
    return small_evaluations() | embedded_evaluations()


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Compare nested dicts of tensors, lists and numbers, without any tolerance."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            assert_same(found[name], expected[name], f"{where} {name}")
    elif isinstance(expected, Tensor):
        assert found.equal(expected), where
    else:
        assert found == expected, where
