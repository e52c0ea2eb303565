"""Splits against a loop by hand, on a small table and on the embedded data."""

import pandas as pd
import pytest
import torch

from rqvae_lib.datasets import INTERACTION_DTYPES, ITEM_DTYPES, Dataset, load_dataset
from rqvae_lib.splits import Histories, leave_one_out


def small_dataset() -> Dataset:
    """Five users with 5, 1, 3, 2 and 4 interactions; user ids are not rows; some times tie."""
    histories = {
        3: [(0, 10), (1, 20), (2, 20), (5, 20), (4, 30)],
        4: [(6, 5)],
        9: [(6, 7), (3, 7), (0, 7)],
        10: [(1, 1), (2, 2)],
        40: [(4, 1), (3, 2), (2, 3), (1, 4)],
    }
    interactions = pd.DataFrame(
        [(user, item, 1.0, time) for user, rows in histories.items() for item, time in rows],
        columns=list(INTERACTION_DTYPES),
    ).astype(INTERACTION_DTYPES)
    items = pd.DataFrame(
        {
            "item_id": [100 + i for i in range(7)],
            "title": [f"T{i}" for i in range(7)],
            "year": [2000] * 7,
            "genres": [""] * 7,
            "text": [f"T{i}" for i in range(7)],
        }
    ).astype(ITEM_DTYPES)
    return Dataset("small", items, interactions)


@pytest.fixture(scope="module", params=["small", "movielens"])
def dataset(request: pytest.FixtureRequest) -> Dataset:
    return small_dataset() if request.param == "small" else load_dataset()


def test_leave_one_out_equals_a_loop_by_hand(dataset: Dataset) -> None:
    split = leave_one_out(dataset)
    train, validation, test = [], [], []
    for user_id in dataset.user_ids.tolist():
        history = dataset.user_history(user_id).tolist()
        if len(history) < 3:
            train.append(history)
            continue
        train.append(history[:-2])
        validation.append((history[:-2], history[-2]))
        test.append((history[:-1], history[-1]))
    assert [history.tolist() for history in split.train] == train
    for positions, expected in ((split.validation, validation), (split.test, test)):
        histories, targets = split.histories_and_targets(positions)
        assert [h.tolist() for h in histories] == [history for history, _ in expected]
        assert targets.tolist() == [target for _, target in expected]
    assert [h.tolist() for h in split.everything] == [
        dataset.user_history(user).tolist() for user in dataset.user_ids.tolist()
    ]
    assert split.train.items.dtype == split.train.offsets.dtype == torch.int64


def test_no_held_out_interaction_is_in_training(dataset: Dataset) -> None:
    # No user met an item twice here, so an interaction is a user and an item.
    split = leave_one_out(dataset)
    learned = {(u, item) for u, h in enumerate(split.train) for item in h.tolist()}
    users = torch.searchsorted(split.everything.offsets, split.test, right=True) - 1
    held_out = {
        (int(user), int(split.everything.items[position]))
        for positions in (split.validation, split.test)
        for user, position in zip(users, positions, strict=True)
    }
    assert len(held_out) == 2 * len(split.test)
    assert not learned & held_out
    everyone = {(u, item) for u, h in enumerate(split.everything) for item in h.tolist()}
    assert learned | held_out == everyone


def test_interactions_of_one_second_keep_their_order() -> None:
    split = leave_one_out(small_dataset())
    # User 9's three share a second: 0 stands last in the source, 3 before it.
    histories, targets = split.histories_and_targets(split.test)
    assert (histories[1].tolist(), int(targets[1])) == ([6, 3], 0)
    assert split.histories_and_targets(split.validation)[1].tolist() == [5, 3, 2]


def test_users_with_fewer_than_three_stay_in_training() -> None:
    split = leave_one_out(small_dataset())
    assert [h.tolist() for h in split.train] == [[0, 1, 2], [6], [6], [1, 2], [4, 3]]
    assert len(split.test) == len(split.validation) == 3


def test_before_at_every_position_and_across_empty_histories() -> None:
    histories = Histories(torch.arange(6), torch.tensor([0, 2, 2, 2, 5, 6, 6]))
    expected = [[], [0], [], [2], [2, 3], []]
    assert [histories.before(position).tolist() for position in range(6)] == expected
    assert [h.tolist() for h in histories] == [[0, 1], [], [], [2, 3, 4], [5], []]
    assert len(histories) == 6
    assert histories[-3].tolist() == [2, 3, 4]
    for outside in (6, -7):
        with pytest.raises(IndexError, match=f"user {outside} of 6"):
            histories[outside]


def test_no_held_out_positions_give_no_histories() -> None:
    split = leave_one_out(small_dataset())
    histories, targets = split.histories_and_targets(split.test[:0])
    assert histories == []
    assert targets.shape == (0,)
