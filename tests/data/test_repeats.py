"""Repeats and exact duplicates, against brute force in Python."""

import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.filters import filtered
from rqvae_lib.data.names import Repeats

Row = tuple[int, int, int, int]  # user, item, time, rating
rows = st.lists(st.tuples(*(st.integers(1, high) for high in (3, 4, 3, 2))), min_size=1)


def frame(rows: list[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])


def contents(dataset: Dataset) -> list[Row]:
    table = dataset.interactions
    ids = dataset.items["item_id"].to_numpy()[table["item"]]
    times = table["timestamp"] // 10**6
    return list(zip(table["user_id"], ids, times, table["rating"].astype(int), strict=True))


def by_hand(rows: list[Row], repeats: Repeats) -> list[Row]:
    """Sort the rows, and keep what the choice says of each user and item."""
    ordered = sorted(rows, key=lambda row: (row[0], row[2]))
    if repeats == "keep":
        return ordered
    kept: dict[tuple[int, int], int] = {}
    for place, (user, item, *_) in enumerate(ordered):
        if repeats == "first":
            kept.setdefault((user, item), place)
        else:
            kept[user, item] = place
    return [ordered[place] for place in sorted(kept.values())]


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from(["keep", "first", "last"]))
def test_repeats_are_kept_or_dropped(rows: list[Row], repeats: Repeats) -> None:
    data = Dataset.from_tables(frame(rows), repeats=repeats)
    assert contents(data) == by_hand(rows, repeats)
    again = len(rows) - len({row[:2] for row in rows})
    exact = len(rows) - len(set(rows))
    said = " ".join(data.notes)
    assert (f"{again} row" in said and " a user and an item" in said) == (again > 0)
    if again:
        assert ("kept as events" in said) == (repeats == "keep")
        assert (f"{exact} row" in said and "rating of an earlier row" in said) == (
            repeats == "keep" and exact > 0
        )
    # Afterwards, the result is the same.
    later = filtered(Dataset.from_tables(frame(rows)), repeats=repeats).dataset
    assert later.checksum == data.checksum


@settings(max_examples=60, deadline=None)
@given(rows)
def test_refused_repeats_are_named_by_their_row(rows: list[Row]) -> None:
    seen: dict[tuple[int, int], int] = {}
    for number, (user, item, *_) in enumerate(rows):
        if (user, item) in seen:
            says = (
                f"interactions, row {number}: user {user} met item {item} in row "
                f"{seen[user, item]} already, expected each pair once"
            )
            with pytest.raises(ValueError, match=re.escape(says)):
                Dataset.from_tables(frame(rows), repeats="refuse")
            with pytest.raises(ValueError, match=r"user \d meets item \d again in row \d+ of the"):
                filtered(Dataset.from_tables(frame(rows)), repeats="refuse")
            return
        seen[user, item] = number
    assert contents(Dataset.from_tables(frame(rows), repeats="refuse")) == by_hand(rows, "keep")


def test_text_ids_are_named_as_text() -> None:
    table = pd.DataFrame({"user_id": ["a", "a"], "item_id": ["007", "007"]})
    with pytest.raises(ValueError, match="row 1: user 'a' met item '007' in row 0 already"):
        Dataset.from_tables(table, repeats="refuse")


def test_a_session_that_clicks_an_item_three_times_in_two_seconds() -> None:
    """The shape of YooChoose: times with milliseconds, and repeats that mean something."""
    times = ["2014-04-07T10:51:09.277Z", "2014-04-07T10:51:09.777Z", "2014-04-07T10:51:10.277Z"]
    table = pd.DataFrame({"user_id": 1, "item_id": [7, 8, 7], "timestamp": times[::-1]})
    data = Dataset.from_tables(table)
    assert data.user_history(1).tolist() == [0, 1, 0]
    assert (data.interactions["timestamp"].diff().dropna() == 500_000).all()
    assert len(Dataset.from_tables(table, repeats="first").interactions) == 2


def test_an_unknown_choice_is_refused() -> None:
    for build in (
        lambda: Dataset.from_tables(frame([(1, 1, 1, 1)]), repeats="drop"),
        lambda: filtered(Dataset.from_tables(frame([(1, 1, 1, 1)])), repeats="drop"),
    ):
        with pytest.raises(ValueError, match="repeats is 'drop', expected one of keep, first, l"):
            build()  # type: ignore[no-untyped-call]
