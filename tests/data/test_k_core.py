"""The k-core against a naive loop, on a small table and on the embedded data."""

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.k_core import k_core
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings


def random_dataset(seed: int) -> Dataset:
    """Forty users and thirty items, some items unmet; a user may meet an item twice."""
    rng = np.random.default_rng(seed)
    popular = rng.integers(0, 30, (200, 2)).min(1)
    interactions = pd.DataFrame(
        {
            "user_id": 7 + 3 * np.minimum(rng.integers(0, 40, 200), rng.integers(0, 40, 200)),
            "item": popular,
            "rating": rng.integers(1, 6, 200),
            "timestamp": rng.integers(0, 50, 200),
        }
    ).sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    items = pd.DataFrame(
        {
            "item_id": [100 + i for i in range(30)],
            "title": [f"T{i}" for i in range(30)],
            "year": [2000] * 30,
            "genres": [""] * 30,
            "text": [f"T{i}" for i in range(30)],
        }
    ).astype(ITEM_DTYPES)
    return Dataset("random", items, interactions.astype(INTERACTION_DTYPES))


def naive_core(dataset: Dataset, k: int) -> list[tuple[int, int, float, int]]:
    """Remove one offending user or item at a time; rows as (user id, item id, rating, time)."""
    ids = dataset.items["item_id"].tolist()
    rows = [(u, ids[i], r, t) for u, i, r, t in dataset.interactions.itertuples(index=False)]
    while True:
        counts: dict[tuple[int, int], int] = {}
        for row in rows:
            for side in (0, 1):
                counts[side, row[side]] = counts.get((side, row[side]), 0) + 1
        rare = [key for key, count in counts.items() if count < k]
        if not rare:
            return rows
        side, name = rare[0]
        rows = [row for row in rows if row[side] != name]


def rows_of(dataset: Dataset) -> list[tuple[int, int, float, int]]:
    ids = dataset.items["item_id"].tolist()
    return [(u, ids[i], r, t) for u, i, r, t in dataset.interactions.itertuples(index=False)]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_naive_loop(seed: int, k: int) -> None:
    dataset = random_dataset(seed)
    expected = naive_core(dataset, k)
    if not expected:
        with pytest.raises(ValueError, match=f"no {k}-core"):
            k_core(dataset, k)
        return
    core, item_rows = k_core(dataset, k)
    assert rows_of(core) == expected  # the interactions and their order
    assert core.items["item_id"].tolist() == sorted({row[1] for row in expected})
    assert core.items["item_id"].tolist() == dataset.items["item_id"].to_numpy()[item_rows].tolist()


def test_a_chain_falls_stone_by_stone() -> None:
    # User u meets items u and u + 1. In a path each end falls, then its neighbor, to the last.
    dataset = random_dataset(0)
    path = pd.DataFrame(
        [(u, i, 1, 0) for u in range(9) for i in (u, u + 1)], columns=list(INTERACTION_DTYPES)
    ).astype(INTERACTION_DTYPES)
    with pytest.raises(ValueError, match=r"no 2-core: its most active user has 2 .* smaller k"):
        k_core(Dataset("path", dataset.items, path), 2)
    ring = path.assign(item=path["item"] % 9)
    core, item_rows = k_core(Dataset("ring", dataset.items, ring), 2)
    assert len(core.interactions) == 18
    assert item_rows.tolist() == list(range(9))


def test_twice_is_once() -> None:
    once = k_core(load_dataset(), 5).dataset
    twice, item_rows = k_core(once, 5)
    pd.testing.assert_frame_equal(twice.items, once.items)
    pd.testing.assert_frame_equal(twice.interactions, once.interactions)
    assert item_rows.tolist() == list(range(once.num_items))


def test_one_core_of_the_embedded_data_is_all_of_it() -> None:
    dataset = load_dataset()
    core, item_rows = k_core(dataset, 1)
    assert core.checksum == dataset.checksum
    assert item_rows.dtype == np.int64


def test_counts_of_the_embedded_data() -> None:
    core, item_rows = k_core(load_dataset(), 5)
    found = (core.num_users, core.num_items, len(core.interactions), len(item_rows))
    assert found == (671, 3496, 90072, 3496)
    user = core.interactions["user_id"].value_counts()
    item = core.interactions["item"].value_counts()
    assert (len(item), item.min()) == (core.num_items, 5)
    assert user.min() >= 5


def test_embeddings_follow_their_items() -> None:
    dataset = load_dataset()
    embeddings = load_embeddings()
    core, item_rows = k_core(dataset, 5)
    selected = embeddings[item_rows]
    old = dict(zip(dataset.items["item_id"], embeddings, strict=True))
    for row in (0, 17, core.num_items - 1):
        assert torch.equal(selected[row], old[core.items["item_id"][row]])
    assert [dataset.titles[row] for row in item_rows] == core.titles


def test_the_core_can_be_split() -> None:
    core = k_core(load_dataset(), 5).dataset
    split = leave_one_out(core)
    assert len(split.test) == core.num_users
    assert int(split.everything.items.max()) == core.num_items - 1


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, expected 1 or more"):
        k_core(load_dataset(), k)
