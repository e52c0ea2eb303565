"""Splits against a loop by hand, on a small table and on the embedded data."""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import (
    Histories,
    Split,
    global_timestamp,
    leave_last_out,
    leave_one_out,
    split_by_name,
)
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.datasets.registry import load_dataset


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


@pytest.mark.parametrize("num_targets", [1, 2, 10])
def test_leave_last_out_equals_a_loop_by_hand(dataset: Dataset, num_targets: int) -> None:
    split = leave_last_out(dataset, num_targets)
    train, validation, test = [], [], []
    for user_id in dataset.user_ids.tolist():
        history = dataset.user_history(user_id).tolist()
        if len(history) < 2 * num_targets + 1:
            train.append(history)
            continue
        train.append(history[: -2 * num_targets])
        for n in range(num_targets):
            end = len(history) - 2 * num_targets + n
            validation.append((history[:end], history[end]))
            end += num_targets
            test.append((history[:end], history[end]))
    assert [history.tolist() for history in split.train] == train
    for positions, expected in ((split.validation, validation), (split.test, test)):
        histories, targets = split.histories_and_targets(positions)
        assert [h.tolist() for h in histories] == [history for history, _ in expected]
        assert targets.tolist() == [target for _, target in expected]


def test_no_target_a_user_is_refused() -> None:
    with pytest.raises(ValueError, match="num_targets is 0; it must be at least 1"):
        leave_last_out(small_dataset(), 0)


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


def test_the_user_of_every_position() -> None:
    histories = Histories(torch.arange(5), torch.tensor([0, 2, 2, 5]))
    assert histories.user_of(torch.arange(5)).tolist() == [0, 0, 2, 2, 2]


def test_no_held_out_positions_give_no_histories() -> None:
    split = leave_one_out(small_dataset())
    histories, targets = split.histories_and_targets(split.test[:0])
    assert histories == []
    assert targets.shape == (0,)


SHARES = [(0.8, 0.1), (0.5, 0.25), (0.6, 0.2)]


@pytest.mark.parametrize("shares", SHARES)
def test_global_timestamp_equals_a_loop_by_hand(
    dataset: Dataset, shares: tuple[float, float]
) -> None:
    train_share, validation_share = shares
    split = global_timestamp(dataset, train_share=train_share, validation_share=validation_share)
    times = sorted(dataset.interactions["timestamp"].tolist())
    validation_from = times[round(train_share * len(times))]
    test_from = times[round((train_share + validation_share) * len(times))]
    train, validation, test = [], [], []
    for user_id in dataset.user_ids.tolist():
        rows = dataset.interactions[dataset.interactions["user_id"] == user_id]
        items, when = rows["item"].tolist(), rows["timestamp"].tolist()
        train.append(
            [item for item, time in zip(items, when, strict=True) if time < validation_from]
        )
        for place, time in enumerate(when):
            if time >= test_from:
                test.append((items[:place], items[place]))
            elif time >= validation_from:
                validation.append((items[:place], items[place]))
    assert [history.tolist() for history in split.train] == train
    for positions, expected in ((split.validation, validation), (split.test, test)):
        sample = slice(None, None, 1 + len(positions) // 500)  # all of them where they are few
        histories, targets = split.histories_and_targets(positions[sample])
        assert [h.tolist() for h in histories] == [history for history, _ in expected[sample]]
        assert targets.tolist() == [target for _, target in expected[sample]]
        assert len(positions) == len(expected)
    assert torch.equal(split.everything.items, leave_one_out(dataset).everything.items)
    assert torch.equal(split.everything.offsets, leave_one_out(dataset).everything.offsets)
    assert split.train.items.dtype == split.train.offsets.dtype == torch.int64
    assert split.validation.dtype == split.test.dtype == torch.int64


@pytest.mark.parametrize("shares", SHARES)
def test_nothing_learned_is_as_late_as_anything_held_out(
    dataset: Dataset, shares: tuple[float, float]
) -> None:
    split = global_timestamp(dataset, train_share=shares[0], validation_share=shares[1])
    times = torch.tensor(dataset.interactions["timestamp"].to_numpy())
    learned = torch.ones(len(times), dtype=torch.bool)
    learned[split.validation] = learned[split.test] = False
    assert torch.equal(split.everything.items[learned], split.train.items)
    assert int(times[learned].max()) < int(times[split.validation].min())
    assert int(times[split.validation].max()) < int(times[split.test].min())


def table_of(rows: list[tuple[int, int, int]]) -> Dataset:
    """Make a dataset of (user, item, time)."""
    interactions = pd.DataFrame(
        [(user, item, 1.0, time) for user, item, time in rows], columns=list(INTERACTION_DTYPES)
    ).astype(INTERACTION_DTYPES)
    return Dataset("table", small_dataset().items, interactions)


def test_interactions_of_the_cut_off_second_are_all_held_out() -> None:
    # Ten interactions; the eighth in time order is at 5, and so are the fifth to the seventh.
    early = [(1, 0, 1), (1, 1, 2), (1, 2, 5), (2, 0, 3), (2, 1, 5), (2, 2, 5)]
    split = global_timestamp(table_of([*early, (3, 3, 4), (3, 4, 5), (3, 5, 6), (3, 6, 7)]))
    # Index 8 of the ordered times is second 6: the four at 5 come before it and train.
    assert [h.tolist() for h in split.train] == [[0, 1, 2], [0, 1, 2], [3, 4]]
    split = global_timestamp(
        table_of([*early, (3, 3, 4), (3, 4, 5), (3, 5, 6), (3, 6, 7)]),
        train_share=0.6,
        validation_share=0.3,
    )
    # Index 6 is one of those at second 5: all four are held out, two places more than asked for.
    assert [h.tolist() for h in split.train] == [[0, 1], [0], [3]]
    assert split.validation.tolist() == [2, 4, 5, 7, 8]
    assert split.test.tolist() == [9]


def test_users_who_came_after_the_cut_off_are_targets_with_a_rolling_history() -> None:
    rows = [(1, i, i) for i in range(6)] + [(5, 3, 8), (5, 4, 8), (5, 5, 9), (8, 0, 10)]
    split = global_timestamp(table_of(rows), train_share=0.6, validation_share=0.2)
    assert [h.tolist() for h in split.train] == [[0, 1, 2, 3, 4, 5], [], []]
    histories, targets = split.histories_and_targets(split.validation)
    assert [h.tolist() for h in histories] == [[], [3]]  # the first of a user has none
    assert targets.tolist() == [3, 4]
    histories, targets = split.histories_and_targets(split.test)
    assert [h.tolist() for h in histories] == [[3, 4], []]
    assert targets.tolist() == [5, 0]


def test_global_counts_of_the_embedded_data() -> None:
    split = global_timestamp(load_dataset())
    assert (len(split.train.items), len(split.validation), len(split.test)) == (80003, 10001, 10000)
    assert int((split.train.offsets.diff() == 0).sum()) == 124  # users who came later


@pytest.mark.parametrize(
    "shares", [(0, 0.1), (0.8, 0), (0.9, 0.1), (-0.1, 0.5), (float("nan"), 0.1)]
)
def test_impossible_shares_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="two positive shares with a sum below 1"):
        global_timestamp(small_dataset(), train_share=shares[0], validation_share=shares[1])


def test_a_part_that_ties_leave_empty_is_refused() -> None:
    one_second = table_of([(user, item, 7) for user in (1, 2) for item in range(5)])
    with pytest.raises(ValueError, match=r"training gets no interaction of table: 10 .* 1 times"):
        global_timestamp(one_second)
    two_seconds = table_of([(1, 0, 1), (1, 1, 7), (1, 2, 7), (2, 3, 7)])
    with pytest.raises(ValueError, match="validation gets no interaction of table"):
        global_timestamp(two_seconds, train_share=0.4, validation_share=0.3)


# Its name, and how often each item was met


@pytest.mark.parametrize(
    ("number", "name"), [(1, "leave-one-out"), (2, "last-2"), (3, "last-3"), (10, "last-ten")]
)
def test_a_split_of_last_items_is_named_after_their_number(
    dataset: Dataset, number: int, name: str
) -> None:
    assert leave_last_out(dataset, number).name == name
    assert leave_one_out(dataset).name == "leave-one-out"


@pytest.mark.parametrize(
    ("shares", "name"),
    [
        ({}, "timestamp"),
        ({"train_share": 0.8, "validation_share": 0.1}, "timestamp"),
        ({"train_share": 0.6, "validation_share": 0.2}, "timestamp-0.6-0.2"),
        ({"train_share": 0.5}, "timestamp-0.5-0.1"),
        ({"validation_share": 0.15}, "timestamp-0.8-0.15"),
    ],
)
def test_a_split_by_time_is_named_after_its_shares(shares: dict[str, float], name: str) -> None:
    assert global_timestamp(load_dataset(), **shares).name == name


@pytest.mark.parametrize("name", get_args(SplitName))
def test_a_split_by_name_has_that_name_and_is_the_one_of_its_function(name: SplitName) -> None:
    data = load_dataset()
    split = split_by_name(data, name)
    expected = {
        "leave-one-out": leave_one_out,
        "last-ten": lambda data: leave_last_out(data, 10),
        "timestamp": global_timestamp,
    }[name](data)
    assert split.name == expected.name == name
    for part in ("validation", "test"):
        assert torch.equal(getattr(split, part), getattr(expected, part))
    assert torch.equal(split.train.items, expected.train.items)


@pytest.mark.parametrize("name", ["last-3", "timestamp-0.6-0.2", "random", ""])
def test_a_name_that_no_command_knows_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"split is '{name}'; it must be one of .*'timestamp'"):
        split_by_name(small_dataset(), name)  # type: ignore[arg-type]


def test_popularity_counts_the_training_part_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = leave_one_out(dataset)
    assert split.num_items == dataset.num_items
    counts = Counter(split.train.items.tolist())
    by_hand = [float(counts[item]) for item in range(dataset.num_items)]
    counted = []
    real = torch.bincount

    def noted(*arguments: object, **options: object) -> torch.Tensor:
        counted.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(torch, "bincount", noted)
    found = split.popularity
    assert found.dtype == torch.float32
    assert found.tolist() == by_hand
    expected = real(split.train.items, minlength=dataset.num_items).float()
    assert torch.equal(found, expected)
    assert split.popularity is found
    assert len(counted) == 1


def test_items_that_nobody_met_in_training_have_popularity_0() -> None:
    split = global_timestamp(load_dataset())
    late = set(split.everything.items.tolist()) - set(split.train.items.tolist())
    assert late
    assert set((split.popularity == 0).nonzero()[:, 0].tolist()) == late


def test_popularity_of_another_catalogue_is_refused() -> None:
    split = replace(leave_one_out(small_dataset()), num_items=4)
    with pytest.raises(ValueError, match="but the catalogue has items 0 to 3"):
        _ = split.popularity


# Any table


@st.composite
def tables(draw: st.DrawFn) -> Dataset:
    """Users of 1 to 6 interactions within 5 seconds, so that most of them tie."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    rows = [
        (3 * user, draw(st.integers(0, 6)), time)
        for user, length in enumerate(lengths)
        for time in sorted(draw(st.lists(st.integers(0, 4), min_size=length, max_size=length)))
    ]
    return table_of(rows)


def held_out(split: Split) -> set[int]:
    return set(split.validation.tolist()) | set(split.test.tolist())


@given(tables())
@settings(max_examples=60, deadline=None)
def test_any_table_is_split_without_a_leak(dataset: Dataset) -> None:
    splits = [leave_one_out(dataset)]
    with suppress(ValueError):  # where ties leave a part empty, which is refused
        splits.append(global_timestamp(dataset, train_share=0.5, validation_share=0.25))
    times = dataset.interactions["timestamp"].to_numpy()
    for split in splits:
        assert not set(split.validation.tolist()) & set(split.test.tolist())
        assert len(split.train) == len(split.everything) == len(dataset.user_ids)
        learned = [place for place in range(len(times)) if place not in held_out(split)]
        assert split.train.items.tolist() == split.everything.items[learned].tolist()
        for position in sorted(held_out(split)):
            user = int(split.everything.user_of(torch.tensor(position)))
            history = split.everything.before(position)
            start = int(split.everything.offsets[user])
            assert history.tolist() == split.everything.items[start:position].tolist()
            had = split.everything.items[position].item() in history.tolist()
            assert split.had_before(torch.tensor([position])).tolist() == [had]
            assert all(times[place] <= times[position] for place in range(start, position))
        if split is not splits[0]:  # by time: all that is learned is older than all held out
            assert max(times[learned]) < min(times[list(held_out(split))])
    offsets = splits[0].everything.offsets.tolist()
    last_two = {
        end - back for start, end in pairwise(offsets) if end - start >= 3 for back in (1, 2)
    }
    assert held_out(splits[0]) == last_two


@pytest.mark.parametrize("item", [-1, 7])
def test_histories_of_another_catalogue_are_refused(item: int) -> None:
    histories = Histories(torch.tensor([0, item, 6]), torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match=f"name item {item}, but the catalogue has items 0 to 6"):
        histories.check_items(7)
    Histories(torch.tensor([0, 6]), torch.tensor([0, 2])).check_items(7)
    with pytest.raises(ValueError, match="last offset of the histories is 10, expected 2"):
        Histories(torch.tensor([0, 6]), torch.tensor([0, 10])).check_items(7)
