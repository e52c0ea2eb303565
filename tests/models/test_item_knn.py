"""Item-kNN against scikit-learn's cosine and a worked example."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from rqvae_lib.data.splits import Histories
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
