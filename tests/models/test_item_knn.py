"""Item-kNN against scikit-learn's cosine and a worked example."""

from itertools import chain
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from rqvae_lib.data.splits import Histories
from rqvae_lib.models import item_knn
from rqvae_lib.models.item_knn import ItemKNN


def histories_of(rows: list[list[int]]) -> Histories:
    lengths = torch.tensor([0, *map(len, rows)])
    return Histories(torch.tensor([*chain(*rows)], dtype=torch.int64), lengths.cumsum(0))


def test_a_worked_example() -> None:
    # Item 0 was had by users 0, 1 and 2; item 1 by 0 and 1; item 2 by 2; item 3 by nobody.
    model = ItemKNN(histories_of([[0, 1], [1, 0], [0, 2]]), 4)
    scores = model.scores([torch.tensor([0]), torch.tensor([1, 2]), torch.tensor([3])])
    with_1, with_2 = 2 / 6**0.5, 1 / 3**0.5
    expected = [[0, with_1, with_2, 0], [with_1 + with_2, 0, 0, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(scores, torch.tensor(expected))


def test_shrinkage_adds_users_to_the_denominator() -> None:
    model = ItemKNN(histories_of([[0, 1], [0, 1], [0]]), 2, shrinkage=10)
    expected = torch.tensor([[0.0, 2 / (6**0.5 + 10)]])
    torch.testing.assert_close(model.scores([torch.tensor([0])]), expected)


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_similarities_equal_scikit_learns(seed: int, num_neighbors: int) -> None:
    generator = np.random.default_rng(seed)
    rows = [generator.integers(12, size=generator.integers(9)).tolist() for _ in range(10)]
    table = np.zeros((10, 12))
    for user, items in enumerate(rows):
        table[user, items] = 1
    cosine = cosine_similarity(table.T)
    np.fill_diagonal(cosine, 0)
    expected = np.zeros_like(cosine)
    for item in range(12):
        best = np.argsort(-cosine[item].round(12), kind="stable")[:num_neighbors]
        expected[item, best] = cosine[item, best]
    model = ItemKNN(histories_of(rows), 12, num_neighbors=num_neighbors)
    np.testing.assert_allclose(model.similarity.toarray(), expected, atol=1e-12)


def by_hand(rows: list[list[int]], num_items: int, count: int, shrinkage: float) -> np.ndarray:
    """The similarities from all pairs of items at once; of ties, the lower rows are kept."""
    table = np.zeros((len(rows), num_items))
    for user, items in enumerate(rows):
        table[user, items] = 1
    together = table.T @ table
    users = np.diag(together)
    # The square root of the product, as in the library, so that equal similarities stay equal.
    similar = together / (np.sqrt(np.outer(users, users)) + shrinkage + (together == 0))
    np.fill_diagonal(similar, 0)
    kept = np.zeros_like(similar)
    for item in range(num_items):
        best = np.argsort(-similar[item], kind="stable")[:count]
        kept[item, best] = similar[item, best]
    return kept


@given(
    st.integers(0, 10**6),
    st.integers(1, 9),
    st.sampled_from([0.0, 1.0, 20.0]),
    st.sampled_from([1, 7, 30, 10**6]),
)
@settings(max_examples=60, deadline=None)
def test_neighbors_are_the_same_whatever_is_counted_at_a_time(
    seed: int, num_neighbors: int, shrinkage: float, at_a_time: int
) -> None:
    generator = np.random.default_rng(seed)
    num_items = int(generator.integers(1, 25))
    lengths = generator.integers(9, size=generator.integers(1, 15))
    rows = [generator.integers(num_items, size=n).tolist() for n in lengths]
    with patch.object(item_knn, "PAIRS_AT_A_TIME", at_a_time):
        model = ItemKNN(
            histories_of(rows), num_items, num_neighbors=num_neighbors, shrinkage=shrinkage
        )
    assert model.similarity.has_sorted_indices
    assert np.diff(model.similarity.indptr).max() <= num_neighbors
    expected = by_hand(rows, num_items, num_neighbors, shrinkage)
    np.testing.assert_array_equal(model.similarity.toarray(), expected)  # to the last bit


@pytest.mark.parametrize("at_a_time", [1, 50, 1000])
def test_no_more_pairs_are_counted_at_a_time(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    rows = [generator.integers(40, size=6).tolist() for _ in range(30)]
    product, counted = sparse.csr_array.__matmul__, []

    def counting(one: sparse.csr_array, other: sparse.csr_array) -> sparse.csr_array:
        found = product(one, other)
        if sparse.issparse(found):
            counted.append(found)
        return found

    monkeypatch.setattr(item_knn, "PAIRS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(sparse.csr_array, "__matmul__", counting)
    ItemKNN.of_shrinkages(histories_of(rows), 40, (0.0, 20.0))
    assert sum(part.shape[0] for part in counted) == 40  # each item once, for both
    assert all(part.nnz <= at_a_time or part.shape[0] == 1 for part in counted)
    assert (len(counted) == 40) == (at_a_time == 1)


def test_several_shrinkages_give_what_each_gives_alone() -> None:
    generator = np.random.default_rng(0)
    train = histories_of([generator.integers(30, size=8).tolist() for _ in range(40)])
    histories = [torch.tensor([1, 2, 3]), torch.tensor([], dtype=torch.int64)]
    shrinkages = (0.0, 5.0, 20.0)
    models = ItemKNN.of_shrinkages(train, 30, shrinkages, num_neighbors=4, last=2)
    for shrinkage, model in zip(shrinkages, models, strict=True):
        alone = ItemKNN(train, 30, num_neighbors=4, shrinkage=shrinkage, last=2)
        assert (model.shrinkage, model.last, model.num_items) == (shrinkage, 2, 30)
        assert torch.equal(model.scores(histories), alone.scores(histories))
        assert (model.similarity != alone.similarity).nnz == 0
    with pytest.raises(ValueError, match="shrinkage is -1"):
        ItemKNN.of_shrinkages(train, 30, (0.0, -1.0))


def test_only_the_last_items_are_heard_and_one_had_twice_counts_twice() -> None:
    model = ItemKNN(histories_of([[0, 1], [2, 3], [2]]), 4, last=2)
    full, cut = model.scores([torch.tensor([2, 2]), torch.tensor([0, 2, 2])])
    assert torch.equal(full, cut)
    assert float(full[3]) == pytest.approx(2 / 2**0.5)


def test_the_histories_stay_as_they_were() -> None:
    """Whoever counts items first and trains on the same histories next needs their order."""
    items, offsets = torch.tensor([3, 1, 3, 2, 0]), torch.tensor([0, 3, 5])
    ItemKNN(Histories(items, offsets), 4)
    assert items.tolist() == [3, 1, 3, 2, 0]
    assert offsets.tolist() == [0, 3, 5]


def test_nobody_and_nothing() -> None:
    model = ItemKNN(histories_of([[], []]), 3)
    assert model.scores([]).shape == (0, 3)
    assert torch.equal(model.scores([torch.tensor([], dtype=torch.int64)]), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("settings_", "says"),
    [
        ({"num_neighbors": 0}, "num_neighbors is 0"),
        ({"num_neighbors": 1.5}, "num_neighbors is 1.5; expected one whole number"),
        ({"last": 2.0}, "last is 2.0; expected one whole number"),
        ({"shrinkage": -1.0}, "shrinkage is -1"),
        ({"shrinkage": float("nan")}, "shrinkage is nan"),
        ({"last": 0}, "last is 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings_: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ItemKNN(histories_of([[0]]), 1, **settings_)  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [-1, -(10**8), 3, 10**8])
def test_an_item_outside_the_catalogue_is_refused_and_not_looked_up(item: int) -> None:
    with pytest.raises(ValueError, match=f"name item {item}, but the catalogue has items 0 to 2"):
        ItemKNN(histories_of([[0, 1], [item]]), 3)
    model = ItemKNN(histories_of([[0, 1], [2]]), 3)
    with pytest.raises(ValueError, match=f"history 1 names items .*{item}.* holds items 0 to 2"):
        model.scores([torch.tensor([0]), torch.tensor([1, item])])
