"""Collaborative vectors against double loops, PMI by hand and numpy's full decomposition."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Histories, leave_one_out
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.embeddings.collaborative import (
    collaborative_vectors,
    cooccurrences,
    leading_singular_vectors,
    positive_pmi,
)
from rqvae_lib.embeddings.item_vectors import item_vectors


def histories_of(*histories: list[int]) -> Histories:
    lengths = torch.tensor([len(history) for history in histories], dtype=torch.int64)
    return Histories(
        torch.tensor([item for history in histories for item in history], dtype=torch.int64),
        torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
    )


def random_histories(num_users: int, num_items: int, seed: int = 0) -> Histories:
    """Of lengths 0 to 12, with repeated items; the last two items of the catalogue never occur."""
    rng = np.random.default_rng(seed)
    return histories_of(
        *(
            rng.integers(0, num_items - 2, rng.integers(0, 13)).tolist()
            for _ in range(num_users)
        )
    )  # fmt: skip


def counts_by_hand(histories: Histories, num_items: int, window: int) -> np.ndarray:
    counts = np.zeros((num_items, num_items))
    for user in range(len(histories)):
        history = histories[user].tolist()
        for i, first in enumerate(history):
            for j, second in enumerate(history):
                if i != j and abs(i - j) <= window and first != second:
                    counts[first, second] += 1
    return counts


def dense_pmi(counts: np.ndarray) -> np.ndarray:
    """max(0, log p(i, j) / (p(i) p(j))) by a loop over all pairs."""
    total, information = counts.sum(), np.zeros_like(counts)
    for i in range(len(counts)):
        for j in range(len(counts)):
            if counts[i, j]:
                together = counts[i, j] / total
                alone = counts[i].sum() / total * (counts[:, j].sum() / total)
                information[i, j] = max(0, math.log(together / alone))
    return information


# Counts


@pytest.mark.parametrize("window", [1, 2, 5, 12, 400])
@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_a_double_loop(seed: int, window: int) -> None:
    histories = random_histories(25, 12, seed)
    got = cooccurrences(histories, 12, window)
    assert np.array_equal(got.toarray(), counts_by_hand(histories, 12, window))
    assert got.dtype == np.float64


def test_counts_on_a_worked_example() -> None:
    histories = histories_of([0, 1, 2], [], [2, 3], [1, 1, 0])
    one = np.array([[0, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]])
    assert np.array_equal(cooccurrences(histories, 4, 1).toarray(), one)
    two = one.copy()  # now also 0 and 2 of the first history, and 1 and 0 of the last
    two[0, 2] = two[2, 0] = 1
    two[0, 1] = two[1, 0] = 3
    assert np.array_equal(cooccurrences(histories, 4, 2).toarray(), two)


def test_windows_do_not_cross_from_one_user_to_the_next() -> None:
    counts = cooccurrences(histories_of([0], [1, 2], [3]), 4, 3).toarray()
    expected = np.zeros((4, 4))
    expected[1, 2] = expected[2, 1] = 1
    assert np.array_equal(counts, expected)


# Pointwise mutual information


def test_positive_pmi_on_a_worked_example() -> None:
    """Of 20 meetings 0 has 10, 1 has 8: p(0, 1) = 8/20, p(0) = 10/20, p(1) = 8/20: log 2."""
    counts = sparse.csr_array(np.array([[0.0, 8, 2], [8, 0, 0], [2, 0, 0]]))
    expected = np.zeros((3, 3))
    expected[0, 1] = expected[1, 0] = math.log(8 * 20 / (10 * 8))
    expected[0, 2] = expected[2, 0] = math.log(2 * 20 / (10 * 2))
    np.testing.assert_allclose(positive_pmi(counts).toarray(), expected, rtol=1e-12)
    # 0 and 1 meet once, less often than chance would have it: 1 · 42 < 11 · 11.
    rarely = np.array([[0.0, 1, 10, 0], [1, 0, 0, 10], [10, 0, 0, 0], [0, 10, 0, 0]])
    got = positive_pmi(sparse.csr_array(rarely))
    assert 1 * rarely.sum() / (11 * 11) < 1
    assert got.toarray()[0, 1] == 0
    assert got.nnz == 4  # what is not above chance is not even stored
    assert got.toarray()[0, 2] == pytest.approx(math.log(10 * 42 / (11 * 10)))


def test_positive_pmi_equals_a_loop() -> None:
    counts = counts_by_hand(random_histories(40, 15), 15, 3)
    got = positive_pmi(sparse.csr_array(counts)).toarray()
    np.testing.assert_allclose(got, dense_pmi(counts), rtol=1e-12)
    assert (got[counts > 0] == 0).any()  # some pairs were below chance


# Vectors


@pytest.mark.parametrize(("num_items", "dim"), [(30, 1), (30, 6), (30, 27), (80, 10)])
def test_vectors_equal_numpys_full_decomposition(num_items: int, dim: int) -> None:
    histories = random_histories(60, num_items)
    got = collaborative_vectors(histories, num_items, dim=dim, window=2)
    left, values, _ = np.linalg.svd(dense_pmi(counts_by_hand(histories, num_items, 2)))
    assert (values[:dim] - values[1 : dim + 1]).min() > 1e-3  # so each vector is its own
    expected = left[:, :dim] * np.sqrt(values[:dim])
    for column in range(dim):
        largest = expected[np.abs(expected[:, column]).argmax(), column]
        expected[:, column] *= np.sign(largest)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert got.dtype == torch.float32
    assert got.shape == (num_items, dim)


def test_the_window_by_default_is_ten_places() -> None:
    histories = random_histories(60, 30)
    got = collaborative_vectors(histories, 30, dim=5)
    assert torch.equal(got, collaborative_vectors(histories, 30, dim=5, window=10))
    assert not torch.equal(got, collaborative_vectors(histories, 30, dim=5, window=9))
    assert collaborative_vectors(histories, 70).shape == (70, 64)


def test_items_chosen_together_are_close() -> None:
    """Two circles of users who never meet, each with six items."""
    rng = np.random.default_rng(0)
    users = [(rng.permutation(6) + 6 * (user % 2)).tolist() for user in range(40)]
    vectors = collaborative_vectors(histories_of(*users), 12, dim=2, window=2)
    units = torch.nn.functional.normalize(vectors)
    cosines = units @ units.T
    assert cosines[:6, :6].min() > 0.9
    assert cosines[6:, 6:].min() > 0.9
    assert cosines[:6, 6:].abs().max() < 0.1


@pytest.mark.parametrize("dim", [1, 8, 20])
def test_the_same_histories_give_the_same_vectors(dim: int) -> None:
    vectors = []
    for seed in range(4):
        np.random.seed(seed)  # noqa: NPY002  the caller's chance must not matter
        torch.manual_seed(seed)
        vectors.append(collaborative_vectors(random_histories(60, 30), 30, dim=dim))
    assert all(torch.equal(vectors[0], other) for other in vectors[1:])


def test_communities_that_are_alike_give_the_same_vectors() -> None:
    """Ten communities of the same histories: each singular value ten times, no vector is unique."""
    rng = np.random.default_rng(0)
    one = [rng.permutation(30)[:6].tolist() for _ in range(20)]
    users = [[item + 30 * place for item in history] for place in range(10) for history in one]
    vectors = [
        collaborative_vectors(histories_of(*users), 300, dim=12, window=3) for _ in range(5)
    ]  # fmt: skip
    assert all(torch.equal(vectors[0], other) for other in vectors[1:])


def test_communities_in_which_all_meet_all_give_the_same_vectors() -> None:
    """Few different singular values: the iteration runs out of directions and starts again."""
    rng = np.random.default_rng(0)
    users = [(rng.permutation(6) + 6 * (user % 12)).tolist() for user in range(200)]
    vectors = [collaborative_vectors(histories_of(*users), 80, dim=12) for _ in range(5)]
    for other in vectors[1:]:
        torch.testing.assert_close(other, vectors[0])


def test_more_numbers_than_rank_give_the_same_vectors_too() -> None:
    histories = histories_of(*np.random.default_rng(0).integers(0, 27, (4, 6)).tolist())
    first = collaborative_vectors(histories, 30, dim=28, window=2)
    assert all(
        torch.equal(first, collaborative_vectors(histories, 30, dim=28, window=2))
        for _ in range(5)
    )  # fmt: skip


def with_lonely_items() -> Histories:
    """Items 0 to 19 have company; 25 is alone in its history, 26 meets itself, others nobody."""
    rng = np.random.default_rng(0)
    return histories_of(*([*rng.permutation(20)] for _ in range(8)), [25], [26, 26])


@pytest.mark.parametrize("dim", [2, 10])
def test_an_item_without_company_gets_nothing_but_rounding(dim: int) -> None:
    vectors = collaborative_vectors(with_lonely_items(), 30, dim=dim, window=2)
    torch.testing.assert_close(vectors[20:], torch.zeros(10, dim), rtol=0, atol=1e-12)
    assert (vectors[:20].abs().sum(1) > 0.01).all()


def test_an_item_without_company_gets_zeros() -> None:
    vectors = collaborative_vectors(with_lonely_items(), 30, dim=28, window=2)
    assert torch.equal(vectors[20:], torch.zeros(10, 28))


def test_rounding_gives_an_item_without_company_nothing_either() -> None:
    histories = random_histories(60, 200)
    information = positive_pmi(cooccurrences(histories, 200, 100))
    alone = np.diff(information.indptr) == 0
    left, _ = leading_singular_vectors(information, 100)
    assert left[alone].any()  # or there is nothing to repair
    vectors = collaborative_vectors(histories, 200, dim=100, window=100)
    assert torch.equal(vectors[torch.from_numpy(alone)], torch.zeros(int(alone.sum()), 100))


# What a model is tested on


def dataset_of(histories: list[list[int]], num_items: int) -> Dataset:
    interactions = pd.DataFrame(
        [
            (user, item, 1.0, time)
            for user, history in enumerate(histories)
            for time, item in enumerate(history)
        ],
        columns=list(INTERACTION_DTYPES),
    ).astype(INTERACTION_DTYPES)
    items = pd.DataFrame(
        {
            "item_id": range(num_items),
            "title": [f"T{i}" for i in range(num_items)],
            "year": [2000] * num_items,
            "genres": [""] * num_items,
            "text": [f"T{i}" for i in range(num_items)],
        }
    ).astype(ITEM_DTYPES)
    return Dataset("small", items, interactions)


def test_held_out_interactions_do_not_change_the_vectors() -> None:
    rng = np.random.default_rng(0)
    users = [rng.permutation(90)[: rng.integers(3, 20)].tolist() for _ in range(80)]
    others = [[*history[:-2], *rng.permutation(90)[:2].tolist()] for history in users]
    first, second = leave_one_out(dataset_of(users, 90)), leave_one_out(dataset_of(others, 90))
    assert not torch.equal(first.everything.items, second.everything.items)

    def vectors(histories: Histories) -> torch.Tensor:
        return collaborative_vectors(histories, 90, dim=8)

    assert torch.equal(vectors(first.train), vectors(second.train))
    assert not torch.equal(vectors(first.everything), vectors(second.everything))
    # The recipe that the command line calls takes the training part alone.
    got = item_vectors(dataset_of(users, 90), "collaborative").tensor
    assert torch.equal(got, item_vectors(dataset_of(others, 90), "collaborative").tensor)
    assert torch.equal(got, collaborative_vectors(first.train, 90))


# Errors


@pytest.mark.parametrize("dim", [0, -1, 5, 6])
def test_a_dim_that_the_catalogue_does_not_allow_is_refused(dim: int) -> None:
    with pytest.raises(ValueError, match=f"dim is {dim}; for 5 items it must be 1 to 4"):
        collaborative_vectors(histories_of([0, 1, 2]), 5, dim=dim)


@pytest.mark.parametrize("window", [0, -3])
def test_a_window_below_one_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match=f"window is {window}; it must be at least 1"):
        collaborative_vectors(histories_of([0, 1, 2]), 5, dim=2, window=window)


def test_an_item_beyond_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="name item 5, but the catalogue has items 0 to 4"):
        collaborative_vectors(histories_of([0, 1], [5, 2]), 5, dim=2)


@pytest.mark.parametrize("num_items", [1, 2, 64])
def test_a_catalogue_with_fewer_items_than_numbers_is_refused_by_default(num_items: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"dim is 64; for {num_items} items")):
        collaborative_vectors(histories_of([0]), num_items)


def test_the_smallest_catalogue_and_a_window_longer_than_any_history() -> None:
    # 0 and 1 meet, each half of all: log(1 · 2 / 1) in two corners, and the one singular value.
    vectors = collaborative_vectors(histories_of([0, 1], []), 2, dim=1, window=1000)
    assert vectors.shape == (2, 1)
    assert float(vectors.square().sum()) == pytest.approx(math.log(2))


@pytest.mark.parametrize("histories", [[], [[]], [[0], [1], [2]], [[0, 0], [1]]])
def test_histories_in_which_no_items_meet_give_zeros(histories: list[list[int]]) -> None:
    vectors = collaborative_vectors(histories_of(*histories), 5, dim=2)
    assert torch.equal(vectors, torch.zeros(5, 2))
