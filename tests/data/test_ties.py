"""Ties in time, against brute force; and the order that chapter 13 finds in a year of groceries."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.ties import leaking_orders, tied_share, ties
from rqvae_lib.datasets.registry import load_dataset
from tests.helpers import ROOT

rows = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3)), min_size=1)


def built(rows: list[tuple[int, ...]]) -> Dataset:
    return Dataset.from_tables(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]))


@settings(max_examples=60, deadline=None)
@given(rows)
def test_ties_are_counted_as_by_hand(rows: list[tuple[int, ...]]) -> None:
    data = built(rows)
    table = data.interactions
    tied = ties(table, data.user_offsets)
    assert tied.tolist() == table.duplicated(["user_id", "timestamp"]).tolist()
    expected = table.duplicated(["user_id", "timestamp"], keep=False).mean()
    assert tied_share(tied) == pytest.approx(expected)


def baskets(seed: int, size: int = 5, count: int = 60) -> list[tuple[int, ...]]:
    """Baskets of random items, each bought by a user at one time."""
    chance = np.random.default_rng(seed)
    return [
        (basket % 7, int(item), basket)
        for basket in range(count)
        for item in chance.permutation(40)[:size]
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_random_order_gives_no_warning(seed: int) -> None:
    data = built(baskets(seed))
    tied = ties(data.interactions, data.user_offsets)
    assert tied.sum() == 60 * 4
    assert leaking_orders(data.interactions, data.items, tied) == ()
    assert not any("in the order of" in note for note in data.notes)


@pytest.mark.parametrize("rises", [True, False])
def test_a_sorted_file_gets_a_warning(rises: bool) -> None:
    rows = sorted(baskets(0), key=lambda row: row[1], reverse=not rises)
    data = built(rows)
    tied = ties(data.interactions, data.user_offsets)
    (order,) = leaking_orders(data.interactions, data.items, tied)
    assert order == ("item_id", rises, 1.0, 240)
    (said,) = [note for note in data.notes if "in the order of" in note]
    assert said.startswith("interactions: rows of one user at one time are in the order of item_id")
    assert ("rises in 100.00% of 240 pairs" in said) == rises


def test_the_order_of_an_attribute_is_found() -> None:
    """As on a till's receipt that is sorted by department, whatever the items' numbers are."""
    departments = dict(enumerate(np.random.default_rng(1).permutation(np.repeat(list("abcd"), 10))))
    items = pd.DataFrame({"item_id": range(40), "genres": [departments[i] for i in range(40)]})
    rows = sorted(baskets(0), key=lambda row: departments[row[1]])
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    data = Dataset.from_tables(frame, items)
    tied = ties(data.interactions, data.user_offsets)
    (order,) = leaking_orders(data.interactions, data.items, tied)
    assert order[:3] == ("genres", True, 1.0)


def test_few_ties_say_nothing() -> None:
    rows = sorted(baskets(0, size=3, count=9), key=lambda row: row[1])
    assert not any("in the order of" in note for note in built(rows).notes)


def test_the_groceries_of_chapter_13() -> None:
    folder = ROOT / "notebooks" / "groceries"
    bought = pd.read_parquet(folder / "interactions.parquet")
    columns = {"user_id": "household_id", "item_id": "product_id", "timestamp": "bought_at"}
    data = Dataset.from_tables(bought, columns=columns)
    tied = ties(data.interactions, data.user_offsets)
    (order,) = leaking_orders(data.interactions, data.items, tied)
    # By hand, as the chapter does it.
    same = (
        bought[["household_id", "bought_at"]]
        .eq(bought[["household_id", "bought_at"]].shift())
        .all(axis=1)
    )
    rises = bought["product_id"] > bought["product_id"].shift()
    assert order.column == "item_id"
    assert order.rises
    assert order.share > 0.9
    assert order.share == pytest.approx(rises[same].mean(), abs=0.02)
    shuffled = Dataset.from_tables(bought.sample(frac=1, random_state=0), columns=columns)
    assert not any("in the order of" in note for note in shuffled.notes)


def test_what_order_the_embedded_ratings_are_in() -> None:
    data = load_dataset()
    tied = ties(data.interactions, data.user_offsets)
    assert tied_share(tied) == pytest.approx(0.319, abs=5e-4)
    found = {order.column: order for order in leaking_orders(data.interactions, data.items, tied)}
    rises = data.interactions["item"].diff()[tied] > 0
    assert ("item_id" in found) == (rises.mean() > 0.75)
