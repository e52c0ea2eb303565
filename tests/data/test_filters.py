"""Filters, against brute force in pandas."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Counts, Dataset
from rqvae_lib.data.filters import Step, filtered, table_of
from rqvae_lib.data.names import Repeats

ITEMS = pd.DataFrame({"item_id": range(1, 7), "title": list("abcdef")})
rows = st.lists(st.tuples(*(st.integers(1, high) for high in (4, 5, 9, 5))), min_size=1)


def frame(rows: list[tuple[int, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])


def counts(table: pd.DataFrame) -> Counts:
    return Counts(len(table), table["user_id"].nunique(), table["item_id"].nunique())


def by_hand(
    table: pd.DataFrame,
    min_rating: int | None,
    repeats: Repeats | None,
    min_interactions: int | None,
    k: int | None,
) -> list[pd.DataFrame]:
    """What each step leaves, in pandas."""
    table = table.sort_values(["user_id", "timestamp"], kind="stable")
    left = [table]
    if min_rating:
        left.append(left[-1][left[-1]["rating"] >= min_rating])
    if repeats in ("first", "last"):
        left.append(left[-1].drop_duplicates(["user_id", "item_id"], keep=repeats))
    if min_interactions:
        users = left[-1].groupby("user_id")["item_id"].transform("size")
        left.append(left[-1][users >= min_interactions])
    if k:
        table, before = left[-1], None
        while before is None or len(table) < before:
            before = len(table)
            for column in ("user_id", "item_id"):
                table = table[table.groupby(column)[column].transform("size") >= k]
        left.append(table)
    return left


maybe = st.none() | st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(rows, maybe, st.sampled_from([None, "keep", "first", "last"]), maybe, maybe)
def test_each_step_leaves_what_pandas_leaves(
    rows: list[tuple[int, ...]],
    min_rating: int | None,
    repeats: Repeats | None,
    min_interactions: int | None,
    k: int | None,
) -> None:
    data = Dataset.from_tables(frame(rows), ITEMS)
    options = {"min_rating": min_rating, "min_interactions": min_interactions, "k_core": k}
    expected = by_hand(frame(rows), min_rating, repeats, min_interactions, k)
    if any(table.empty for table in expected):
        with pytest.raises(ValueError, match=r"choose a (lower|smaller)"):
            filtered(data, repeats=repeats, **options)  # type: ignore[arg-type]
        return
    found = filtered(data, repeats=repeats, **options)  # type: ignore[arg-type]
    if len(expected) == 1:
        assert found.steps == ()
        assert found.dataset is data
    else:
        assert [step.counts for step in found.steps] == [counts(table) for table in expected]
    table = found.dataset.interactions
    ids = found.dataset.items["item_id"].to_numpy()
    rebuilt = pd.DataFrame(
        {
            "user_id": table["user_id"],
            "item_id": ids[table["item"]],
            "timestamp": table["timestamp"] // 10**6,
            "rating": table["rating"].astype("int64"),
        }
    )
    pd.testing.assert_frame_equal(rebuilt, expected[-1].reset_index(drop=True))
    assert data.items["item_id"].to_numpy()[found.item_rows].tolist() == ids.tolist()
    if k is None:
        assert len(ids) == len(ITEMS)  # embeddings still fit


def test_the_table_of_steps() -> None:
    steps = (Step("as read", Counts(100_004, 671, 9_066)), Step("ratings from 4", Counts(9, 8, 7)))
    assert table_of(steps) == [
        "                interactions  users  items",
        "as read              100,004    671  9,066",
        "ratings from 4             9      8      7",
    ]


def test_what_leaves_nothing_is_refused() -> None:
    data = Dataset.from_tables(frame([(1, 1, 1, 3), (1, 2, 2, 4)]))
    for options, says in (
        ({"min_rating": 5}, "has no rating of 5 or more, the highest is 4: choose a lower"),
        ({"min_rating": float("nan")}, "min_rating is nan, expected a finite number"),
        ({"min_interactions": 3}, "has no user with 3 interactions, the most active has 2: choo"),
        ({"min_interactions": 0}, "min_interactions is 0, expected 1 or more"),
        ({"k_core": 2}, "has no 2-core"),
        ({"k_core": 0}, "k is 0, expected 1 or more"),
    ):
        with pytest.raises(ValueError, match=says):
            filtered(data, **options)  # type: ignore[arg-type]


def test_notes_stay_with_the_data() -> None:
    data = Dataset.from_tables(frame([(1, 1, 1, 3), (1, 2, 2, 4), (1, 2, 3, 5)]))
    assert "taken as an order" in data.notes[0]
    found = filtered(data, min_rating=4, repeats="first", k_core=1)
    assert found.dataset.notes[0] == data.notes[0]
    assert not any("kept as events" in note for note in found.dataset.notes)
    assert any("kept as events" in note for note in data.notes)
    assert found.dataset.notes[-1] == (
        "1 row repeats a user and an item: only the first of each is kept"
    )
