"""What a data set answers, and broken tables that it refuses."""

import dataclasses
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.datasets.registry import load_dataset

NAME = "movielens-small-2016"


@pytest.fixture(scope="module")
def movielens() -> Dataset:
    return load_dataset()


# What a Dataset answers


def test_a_history_is_the_users_rows_in_time_order(movielens: Dataset) -> None:
    table = movielens.interactions
    for user_id in (1, 15, 671):
        mine = table[table["user_id"] == user_id]
        assert mine["timestamp"].is_monotonic_increasing
        history = movielens.user_history(user_id)
        assert history.dtype == np.int64
        assert history.tolist() == mine["item"].tolist()
    lengths = [len(movielens.user_history(int(user))) for user in movielens.user_ids]
    assert sum(lengths) == 100_004
    assert min(lengths) == 20


def test_a_history_keeps_the_order_of_the_source_within_a_tie() -> None:
    small = tiny()
    table = small.interactions.assign(timestamp=np.int64(5), item=[2, 0, 1, 0])
    tied = dataclasses.replace(small, interactions=table)
    assert tied.user_history(7).tolist() == [2, 0, 1]


def test_a_history_is_a_copy(movielens: Dataset) -> None:
    before = movielens.user_history(1)
    movielens.user_history(1)[:] = -1
    assert movielens.user_history(1).tolist() == before.tolist()


def test_item_index_is_the_inverse_of_item_id(movielens: Dataset) -> None:
    ids = movielens.items["item_id"].to_numpy()
    shuffled = np.random.default_rng(0).permutation(ids)
    rows = movielens.item_index(shuffled)
    assert rows.dtype == np.int64
    assert (ids[rows] == shuffled).all()
    assert movielens.item_index([]).shape == (0,)


def test_user_ids_are_sorted_and_unique(movielens: Dataset) -> None:
    assert movielens.user_ids.tolist() == list(range(1, 672))


def test_checksum_depends_on_every_value_and_on_order(movielens: Dataset) -> None:
    small = tiny()
    assert re.fullmatch("[0-9a-f]{64}", small.checksum)
    assert small.checksum == tiny().checksum
    assert small.checksum == dataclasses.replace(small, name="renamed").checksum
    changed = [
        dataclasses.replace(small, items=small.items.assign(**{column: values}))
        for column, values in {
            "item_id": pd.Series([10, 20, 31], dtype="int64"),
            "title": pd.Series(["A", pd.NA, "C"], dtype="string"),
            "year": pd.Series([1990, 1991, pd.NA], dtype="Int16"),
            "genres": pd.Series(["Drama", "Drama", ""], dtype="string"),
            "text": pd.Series(["a", "b", "x"], dtype="string"),
        }.items()
    ] + [
        dataclasses.replace(small, interactions=small.interactions.assign(**{column: values}))
        for column, values in {
            "user_id": np.array([7, 7, 7, 10]),
            "item": np.array([1, 0, 2, 0]),
            "rating": np.array([1, 2, 3, 4.5], dtype="float32"),
            "timestamp": np.array([1, 2, 4, 1]),
        }.items()
    ]
    assert len({small.checksum, *(dataset.checksum for dataset in changed)}) == 10
    assert movielens.checksum == load_dataset(NAME).checksum


def test_checksum_counts_times_in_seconds() -> None:
    small = tiny()
    for times, written in (
        ([5_000_000, 6_000_000, 7_000_000, 0], [5, 6, 7, 0]),
        (
            [1_582_858_205_123_456, 1_582_858_206_000_000, 1_582_858_207_100_000, 10_000_000],
            [1582858205.123456, 1582858206, 1582858207.1, 10],
        ),
    ):
        dated = dataclasses.replace(small, interactions=small.interactions.assign(timestamp=times))
        columns = {name: dated.items[name].tolist() for name in dated.items}
        columns |= {name: dated.interactions[name].tolist() for name in dated.interactions}
        text = "".join(
            json.dumps([name, written if name == "timestamp" else values])
            for name, values in columns.items()
        )
        assert dated.checksum == hashlib.sha256(text.encode()).hexdigest()


def test_notes_are_no_part_of_the_contents() -> None:
    noted = dataclasses.replace(tiny(), notes=("timestamp is taken as seconds",))
    assert tiny().notes == ()
    assert noted.checksum == tiny().checksum
    assert noted.items_checksum == tiny().items_checksum


# What is refused, and in which words


def tiny() -> Dataset:
    """Three movies; user 7 saw all of them, user 9 one."""
    items = pd.DataFrame(
        {
            "item_id": [10, 20, 30],
            "title": ["A", "B", "C"],
            "year": [1990, 1991, 1992],
            "genres": ["Drama", "", ""],
            "text": ["a", "b", "c"],
        }
    )
    interactions = pd.DataFrame(
        {
            "user_id": [7, 7, 7, 9],
            "item": [0, 1, 2, 0],
            "rating": [1, 2, 3, 4],
            "timestamp": [1, 2, 3, 1],
        }
    )
    return Dataset("tiny", items.astype(ITEM_DTYPES), interactions.astype(INTERACTION_DTYPES))


def refusal(**tables: pd.DataFrame) -> str:
    with pytest.raises(ValueError, match="expected") as caught:
        dataclasses.replace(tiny(), **tables)
    return str(caught.value)


def test_a_tampered_row_of_the_real_data_is_refused(movielens: Dataset) -> None:
    for column, value in (("item", 9_066), ("timestamp", 0), ("rating", np.nan), ("user_id", 600)):
        table = movielens.interactions.copy()
        table.loc[777, column] = value
        with pytest.raises(ValueError, match=r"movielens-small-2016: interactions, row 77[78]:"):
            dataclasses.replace(movielens, interactions=table)


def test_refused_items() -> None:
    items = tiny().items
    twice = refusal(items=items.assign(item_id=[10, 20, 10]))
    assert "items, row 2: item_id 10 was seen before" in twice
    blank = items.assign(text=pd.Series(["a", " ", "c"], dtype="string"))
    assert "items, row 1: text is empty" in refusal(items=blank)
    missing = items.assign(text=pd.Series(["a", "b", pd.NA], dtype="string"))
    assert "items, row 2: text is empty" in refusal(items=missing)
    genres = items.assign(genres=pd.Series(["", pd.NA, ""], dtype="string"))
    assert "items, row 1: genres is missing" in refusal(items=genres)


def test_refused_interactions() -> None:
    table = tiny().interactions
    assert "interactions, row 3: item is 3" in refusal(interactions=table.assign(item=[0, 1, 2, 3]))
    assert "interactions, row 0: item is -1" in refusal(
        interactions=table.assign(item=[-1, 1, 2, 0])
    )
    backwards = refusal(interactions=table.assign(timestamp=[1, 3, 2, 1]))
    assert "interactions, row 2: user 7 at 2 comes after user 7 at 3" in backwards
    assert 'kind="stable"' in backwards
    users = refusal(interactions=table.assign(user_id=[7, 7, 9, 7]))
    assert "interactions, row 3: user 7" in users


def test_refused_shapes_of_tables() -> None:
    small = tiny()
    assert "has the columns item_id, title, year, genres, expected" in refusal(
        items=small.items.drop(columns="text")
    )
    dtype = refusal(interactions=small.interactions.astype({"rating": "float64"}))
    assert "column rating has dtype float64, expected float32" in dtype
    assert "interactions has no rows" in refusal(interactions=small.interactions[:0])
    assert ".reset_index(drop=True)" in refusal(items=small.items.iloc[[0, 2, 1]])


def test_unknown_names_ids_and_users_are_named_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"'ml-1m', and no such folder: expected one of movie"):
        load_dataset("ml-1m")
    with pytest.raises(ValueError, match=r"user 8 is not in tiny: .* between 7 and 9; choose"):
        tiny().user_history(8)
    with pytest.raises(ValueError, match=r"item id 25 is not in tiny: .* \(from 10 to 30\)"):
        tiny().item_index([10, 25])
    with pytest.raises(ValueError, match=r"item id '10' is not in tiny: .* \(from 10 to 30\)"):
        tiny().item_index(["10"])
    with pytest.raises(ValueError, match=r"item_ids is 10; expected a list of ids"):
        tiny().item_index(10)  # type: ignore[arg-type]
