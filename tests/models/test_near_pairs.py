"""Near pairs against a worked example and a plain loop over all pairs of places."""

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.models import near_pairs
from rqvae_lib.models.near_pairs import NearPairs


def by_loop(rows: list[list[int]], num_items: int, window: int, both_ways: bool) -> np.ndarray:
    """Shrinkage 20, as by default."""
    together, chosen = np.zeros((num_items, num_items)), np.zeros(num_items)
    for row in rows:
        for place, item in enumerate(row):
            chosen[item] += 1
            for distance, other in enumerate(row[place + 1 : place + 1 + window], 1):
                together[item, other] += 1 / distance
                if both_ways:
                    together[other, item] += 1 / distance
    return together / np.sqrt(np.outer(chosen + 20, chosen + 20))


def test_a_worked_example() -> None:
    # Item 0 was chosen twice, items 1 and 2 once, item 3 never.
    train = [[0, 1, 2], [0]]
    model = NearPairs(train, 4, window=2, shrinkage=2)
    both, one = (4 * 3) ** 0.5, 3.0
    expected = [[0, 1 / both, 0.5 / both, 0], [1 / both, 0, 1 / one, 0]]
    found = model.scores([torch.tensor([0]), torch.tensor([1])])
    torch.testing.assert_close(found, torch.tensor(expected))
    assert model.scores([[3], []]).eq(0).all()
    forward = NearPairs(train, 4, window=2, shrinkage=2, both_ways=False)
    torch.testing.assert_close(forward.scores([[1]]), torch.tensor([[0, 0, 1 / one, 0]]))
    next_only = NearPairs(train, 4, window=1, shrinkage=2)
    assert next_only.scores([[0]])[0, 2] == 0


@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([1, 7, 30, 10**6]),
)
@settings(max_examples=60, deadline=None)
def test_similarities_equal_a_plain_loop_whatever_is_counted_at_a_time(
    seed: int, window: int, both_ways: bool, at_a_time: int
) -> None:
    generator = np.random.default_rng(seed)
    num_items = int(generator.integers(1, 15))
    lengths = generator.integers(9, size=generator.integers(1, 12))
    rows = [generator.integers(num_items, size=n).tolist() for n in lengths]  # with repeats
    with patch.object(near_pairs, "PAIRS_AT_A_TIME", at_a_time):
        model = NearPairs(rows, num_items, window=window, both_ways=both_ways)
    expected = by_loop(rows, num_items, window, both_ways)
    np.testing.assert_allclose(model.similarity.toarray(), expected, rtol=1e-12)
    assert model.similarity.shape == (num_items, num_items)


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("at_a_time", [1, 50, 1000])
def test_no_more_pairs_are_counted_at_a_time(
    at_a_time: int, both_ways: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    rows = [generator.integers(40, size=6).tolist() for _ in range(30)]
    whole = NearPairs(rows, 40, both_ways=both_ways).similarity
    block, counted = near_pairs._block, []

    def counting(*arguments: Any) -> Any:
        *_, places, steps, (first, end, _) = arguments
        counted.append((first, end, len(places) * len(steps)))
        return block(*arguments)

    monkeypatch.setattr(near_pairs, "PAIRS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(near_pairs, "_block", counting)
    similarity = NearPairs(rows, 40, both_ways=both_ways).similarity
    assert [first for first, _, _ in counted] == [0, *(end for _, end, _ in counted[:-1])]
    assert counted[-1][1] == 40
    assert all(pairs <= at_a_time or end == first + 1 for first, end, pairs in counted)
    assert (len(counted) == 40) == (at_a_time == 1)
    np.testing.assert_array_equal(similarity.toarray(), whole.toarray())  # to the last bit


def test_a_window_beyond_the_longest_history_costs_nothing() -> None:
    rows = [[0, 1, 2, 0], [3], []]
    wide = NearPairs(rows, 4, window=10**12)
    assert wide.window == 10**12
    expected = NearPairs(rows, 4, window=3).similarity.toarray()
    np.testing.assert_array_equal(wide.similarity.toarray(), expected)
    assert not NearPairs([[0], [1]], 2, window=10**12).similarity.nnz


def test_the_last_items_of_a_history_count() -> None:
    train = [[0, 1], [2, 3], [0, 3]]
    whole = NearPairs(train, 4)
    short = NearPairs(train, 4, last=np.uint8(1))
    expected = whole.scores([[2]])
    assert torch.equal(short.scores([[0, 2]]), expected)
    assert torch.equal(whole.scores([[0, 2]]), whole.scores([[0]]) + expected)


def test_nothing_to_count() -> None:
    assert NearPairs([], 3).scores([[0, 1]]).eq(0).all()
    assert NearPairs([], 0).scores([[]]).shape == (1, 0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"window": 0}, "window is 0; it must be at least 1"),
        ({"window": 1.5}, "window is 1.5; expected one whole number"),
        ({"last": 0}, "last is 0; it must be at least 1"),
        ({"last": 2.0}, "last is 2.0; expected one whole number"),
        ({"shrinkage": -1.0}, "shrinkage is -1.0; expected at least 0"),
        ({"shrinkage": float("nan")}, "shrinkage is nan; expected at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NearPairs([[0, 1]], 2, **setting)


def test_items_outside_the_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="name item 5, but the catalogue has items 0 to 1"):
        NearPairs([[0, 5]], 2)
    with pytest.raises(ValueError, match=r"history 0 names items .*5.* holds items 0 to 1"):
        NearPairs([[0, 1]], 2).scores([[5]])


def test_the_callers_histories_stay_as_they_were() -> None:
    train = [torch.tensor([2, 0, 1])]
    NearPairs(train, 3)
    assert train[0].tolist() == [2, 0, 1]
