"""MovieLens, as GroupLens publishes it: 100K, 1M, 10M, 20M, 25M, 32M, and the latest small set.

The licenses of several sets forbid redistribution, so the package contains none of these files.
They are downloaded once from GroupLens.

    100K            u.data: separated by tabs; u.item: separated by "|", Latin-1, a column per genre
    1M              ratings.dat, movies.dat: separated by "::", Latin-1, whole stars
    10M             ratings.dat, movies.dat: separated by "::", UTF-8, half stars
    20M, 25M, 32M,  ratings.csv, movies.csv: separated by commas, UTF-8, with a header, half stars
    latest small

Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015.
"""

import csv
import re
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.data.dataset import Counts, Dataset
from rqvae_lib.data.item_texts import add_texts
from rqvae_lib.data.row_order import numbered, time_order
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.data.ties import leaking_orders, sentence, ties
from rqvae_lib.data.times import MICROSECONDS
from rqvae_lib.datasets.downloads import Entry, Remote, fetch_folder
from rqvae_lib.datasets.published import counted
from rqvae_lib.datasets.text_files import (
    check_there,
    columns_of_numbers,
    line_of,
    lines,
    rows_of_text,
)

Version = Literal["1m", "100k", "10m", "20m", "25m", "32m", "latest-small"]

_HOST = "https://files.grouplens.org/datasets/movielens/"
_RESEARCH = (
    "GroupLens allows any research purpose, with acknowledgement, no endorsement implied, and no "
    "commercial use without its permission. "
)
_NOT_PASSED_ON = _RESEARCH + "You may not redistribute the data without separate permission."
_PASSED_ON = _RESEARCH + "You may redistribute the data under these same conditions."
MOVIELENS: dict[Version, Entry] = {
    "1m": Entry(
        "movielens-1m",
        (Remote(_HOST + "ml-1m.zip", "md5:c4d9eecfca2ab87c1945afe126590906"),),
        Counts(interactions=1_000_209, users=6_040, items=3_706),
        _NOT_PASSED_ON,
        _HOST + "ml-1m-README.txt",
        folder="ml-1m",
        unpacked_bytes=2**26,
    ),
    "100k": Entry(
        "movielens-100k",
        (Remote(_HOST + "ml-100k.zip", "md5:0e33842e24a9c977be4e0107933c0723"),),
        Counts(interactions=100_000, users=943, items=1_682),
        _NOT_PASSED_ON,
        _HOST + "ml-100k-README.txt",
        folder="ml-100k",
        unpacked_bytes=2**26,
    ),
    "10m": Entry(
        "movielens-10m",
        (Remote(_HOST + "ml-10m.zip", "md5:ce571fd55effeba0271552578f2648bd"),),
        Counts(interactions=10_000_054, users=69_878, items=10_677),
        _NOT_PASSED_ON,
        _HOST + "ml-10m-README.html",
        folder="ml-10M100K",
        unpacked_bytes=2**29,
    ),
    "20m": Entry(
        "movielens-20m",
        (Remote(_HOST + "ml-20m.zip", "md5:cd245b17a1ae2cc31bb14903e1204af3"),),
        Counts(interactions=20_000_263, users=138_493, items=26_744),
        _NOT_PASSED_ON,
        _HOST + "ml-20m-README.html",
        folder="ml-20m",
        unpacked_bytes=2**30,
    ),
    "25m": Entry(
        "movielens-25m",
        (Remote(_HOST + "ml-25m.zip", "md5:6b51fb2759a8657d3bfcbfc42b592ada"),),
        Counts(interactions=25_000_095, users=162_541, items=59_047),
        _NOT_PASSED_ON,
        _HOST + "ml-25m-README.html",
        folder="ml-25m",
        unpacked_bytes=2**31,
    ),
    "32m": Entry(
        "movielens-32m",
        (Remote(_HOST + "ml-32m.zip", "md5:d472be332d4daa821edc399621853b57"),),
        Counts(interactions=32_000_204, users=200_948, items=84_432),
        _PASSED_ON,
        _HOST + "ml-32m-README.html",
        folder="ml-32m",
        unpacked_bytes=2**31,
    ),
    "latest-small": Entry(  # the set of September 2018; GroupLens may replace it
        "movielens-latest-small",
        (Remote(_HOST + "ml-latest-small.zip"),),
        Counts(interactions=100_836, users=610, items=9_724),
        _PASSED_ON,
        _HOST + "ml-latest-small-README.html",
        folder="ml-latest-small",
        unpacked_bytes=2**25,
    ),
}

_GENRES_100K = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_COLUMNS_100K = ("movie", "title", "release", "video release", "URL", *_GENRES_100K)
_RATING = ("user", "movie", "rating", "timestamp")
_TITLE_AND_YEAR = re.compile(r"(.*\S)\s*\((\d{4})\)")


def load_movielens(
    version: Version = "1m",
    *,
    entry: Entry | None = None,
    cache: Path | None = None,
    **options: Any,
) -> Dataset:
    """Return a MovieLens dataset, and download it first if necessary.

    The terms are shown before the download. If the files are on this machine already, set
    `RQVAE_DATA` to their folder.

    Args:
        version: one of `Version`.
        entry: the address and the size of the data, in place of the known entry for the version.
        cache: the folder for downloads; the user's cache folder by default.
        options: as `download`: timeout, attempts, pause, progress.

    Returns:
        As `read_movielens`, under the entry's name, such as "movielens-1m".

    Raises:
        ValueError: for another version, as `fetch_folder` or `read_movielens`, or if the files do
            not hold the known numbers of ratings, users and movies.
        OSError: as `fetch_folder`.
    """
    if version not in get_args(Version):
        raise ValueError(
            f"there is no MovieLens {version!r}: expected one of {', '.join(get_args(Version))}"
        )
    entry = entry or MOVIELENS[version]
    folder = fetch_folder(entry, cache, **options)
    dataset = read_movielens(folder, entry.name)
    dataset.check_counts(entry.counts, str(folder))
    return dataset


def find_movielens(folder: Path) -> list[Path]:
    """Return the files of ratings in a folder."""
    found = [folder / name for name in ("ratings.dat", "u.data") if (folder / name).is_file()]
    path = folder / "ratings.csv"
    if path.is_file() and ((folder / "movies.csv").is_file() or _has_header(path)):
        found.append(path)
    return found


def read_movielens(folder: str | Path, name: str | None = None) -> Dataset:
    """Read an unpacked MovieLens archive. The names of its files tell the format.

    Args:
        folder: holds ratings.dat and movies.dat, u.data and u.item, or ratings.csv and movies.csv.
        name: the name of the dataset. By default "movielens-1m" or "movielens-10m" for the first
            format, "movielens-100k" for the second, and a name made from the folder's for the
            third.

    Returns:
        The rated movies, sorted by id, and all ratings, sorted by user and time. Ratings of one
        user in the same second keep the order of the file.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a line is not in the published format, or a rating is of an unknown movie;
            the message names the file and the line.
    """
    folder = Path(folder)
    if (folder / "u.data").is_file():
        return _read_100k(folder, name or "movielens-100k")
    if (folder / "ratings.csv").is_file():
        return _read_csv(folder, name or f"movielens-{folder.name.removeprefix('ml-')}")
    return _read_dat(folder, name)


def _read_dat(folder: Path, name: str | None) -> Dataset:
    """Read 1M, which comes with users.dat, or 10M, which comes with tags.dat.

    Without either, it is 10M if there are half stars and the titles are UTF-8.
    """
    path, ratings = folder / "movies.dat", folder / "ratings.dat"
    for file in (path, ratings):
        check_there(file)
    half_stars = not (folder / "users.dat").is_file() and (
        (folder / "tags.dat").is_file() or (_is_utf8(path) and _has_a_point(ratings))
    )
    rows, numbers = rows_of_text(
        path, ("movie", "title", "genres"), "::", "utf-8" if half_stars else "latin-1"
    )
    movies = [
        (field, *_title_and_year(title), "" if genres == "(no genres listed)" else genres)
        for field, title, genres in rows
    ]
    types = dict.fromkeys(_RATING, "int64") | ({"rating": "float32"} if half_stars else {})
    name = name or ("movielens-10m" if half_stars else "movielens-1m")
    found = columns_of_numbers(ratings, types, "::")
    return _dataset(name, path, movies, numbers, ratings, found, lowest=0.5 if half_stars else 1)


def _has_header(ratings: Path) -> bool:
    with ratings.open("rb") as file:
        return b"userId" in file.read(100)


def _is_utf8(movies: Path) -> bool:
    try:
        movies.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_a_point(ratings: Path) -> bool:
    """Return whether a file of ratings has a "." anywhere, as half stars have."""
    with ratings.open("rb") as file:
        return any(b"." in block for block in iter(lambda: file.read(2**20), b""))


def _read_100k(folder: Path, name: str) -> Dataset:
    path = folder / "u.item"
    rows, numbers = rows_of_text(path, _COLUMNS_100K, "|", "latin-1")
    movies = []
    for row, number in zip(rows, numbers, strict=True):
        if set(row[5:]) - {"0", "1"}:
            raise ValueError(
                f"{path}, line {number}: a genre is {'|'.join(row[5:])[:80]!r}, expected 0 or 1 in "
                "each column: unpack the file again"
            )
        # One movie has the title "unknown" and the genre "unknown": nothing is known about it.
        title, year = _title_and_year(row[1]) if row[1] != "unknown" else (None, None)
        genres = [genre for genre, own in zip(_GENRES_100K[1:], row[6:], strict=True) if own == "1"]
        movies.append((row[0], title, year, "|".join(genres)))
    ratings = folder / "u.data"
    types = dict.fromkeys(_RATING, "int64")
    return _dataset(
        name, path, movies, numbers, ratings, columns_of_numbers(ratings, types, "\t"), lowest=1
    )


def _read_csv(folder: Path, name: str) -> Dataset:
    path, header = folder / "movies.csv", ["movieId", "title", "genres"]
    check_there(path)
    movies, numbers = [], []
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), strict=True)
    try:
        for row in reader:
            if reader.line_num == 1 and row != header:
                raise ValueError(
                    f"{path}, line 1: found the columns {','.join(row)[:80]!r}, expected "
                    f"{','.join(header)!r}: unpack the file again"
                )
            if len(row) != 3:
                raise ValueError(
                    f"{path}, line {reader.line_num}: found {len(row)} fields, expected 3 "
                    f"({','.join(header)}): unpack the file again"
                )
            if reader.line_num > 1:
                genres = "" if row[2] == "(no genres listed)" else row[2]
                movies.append((row[0], *_title_and_year(row[1]), genres))
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}, expected fields separated by commas, in "
            "quotes if they contain a comma: unpack the file again"
        ) from error
    ratings = folder / "ratings.csv"
    types = {"userId": "int64", "movieId": "int64", "rating": "float32", "timestamp": "int64"}
    found = columns_of_numbers(ratings, types, ",", header=True)
    table = dict(zip(_RATING, (found.pop(column) for column in types), strict=True))
    return _dataset(name, path, movies, numbers, ratings, table, lowest=0.5, header=True)


def _title_and_year(title: str) -> tuple[str | None, int | None]:
    """Split "Toy Story (1995)" → ("Toy Story", 1995). A title without a year stays as it is."""
    if not title.strip():
        return None, None
    match = _TITLE_AND_YEAR.fullmatch(title.strip())
    return (match[1], int(match[2])) if match else (title, None)


def _dataset(
    name: str,
    movies_path: Path,
    movies: list[tuple[str, str | None, int | None, str]],
    movie_lines: list[int],
    ratings_path: Path,
    ratings: dict[str, NDArray[Any]],
    *,
    lowest: float,
    header: bool = False,
) -> Dataset:
    """Check and join both tables, and empty `ratings` on the way.

    In the largest dataset, each column has tens of millions of rows, so it is freed when it is no
    longer needed.
    """
    items = _items(movies_path, movies, movie_lines)

    def refuse(bad: NDArray[np.bool_], column: str, expected: str) -> None:
        if bad.any():
            row = int(bad.argmax())
            line = line_of(ratings_path, row, header=header)
            found = ratings[column][row]
            raise ValueError(
                f"{ratings_path}, line {line}: {column} {found!s} {expected}: unpack both files "
                "again, from the same archive"
            )

    rating, time = ratings["rating"], ratings["timestamp"]
    steps = rating * (1 / lowest)
    refuse(
        (rating < lowest) | (rating > 5) | (steps != np.floor(steps)),
        "rating",
        f"is not a number of stars, expected {lowest:g} to 5",
    )
    refuse(
        (time < 0) | (time >= 2**32), "timestamp", "is out of range, expected seconds since 1970"
    )
    user = ratings["user"]
    refuse((user < 0) | (user >= 2**40), "user", "is out of range, expected an id of 0 or more")
    del user

    ids = items["item_id"].to_numpy(np.int64)
    rows = np.searchsorted(ids, ratings["movie"]).clip(max=len(ids) - 1)  # (E,)
    refuse(ids[rows] != ratings["movie"], "movie", f"is not in {movies_path.name}")
    del ratings["movie"]
    rated = np.bincount(rows, minlength=len(ids)) > 0
    ratings["item"] = (np.cumsum(rated) - 1)[rows]
    del rows
    pairs = ratings["user"] * np.int64(len(ids)) + ratings["item"]
    ordered = np.sort(pairs)  # a Python set of this many pairs would take gigabytes
    if (ordered[1:] == ordered[:-1]).any():
        repeated = pd.Series(pairs).duplicated().to_numpy()
        refuse(repeated, "user", "rates a movie again, expected each movie once")
    del pairs, ordered

    ratings["timestamp"] = ratings["timestamp"] * MICROSECONDS  # the files have seconds
    users = numbered(pd.Series(ratings["user"]))
    offsets = users.offsets
    order = time_order(users.codes, offsets, ratings["timestamp"])
    del users
    columns = {}
    for column, source in zip(
        INTERACTION_DTYPES, ("user", "item", "rating", "timestamp"), strict=True
    ):
        columns[column] = ratings.pop(source)[order].astype(INTERACTION_DTYPES[column], copy=False)
    interactions = pd.DataFrame(columns, copy=False)
    items = add_texts(items[rated].reset_index(drop=True), articles_last=True)
    notes = []
    if not rated.all():
        unrated = counted(int((~rated).sum()), "movie")
        notes.append(f"{unrated} of {movies_path.name} that nobody rated: left out")
    # 20M, 25M and 32M are sorted by user and movie.
    if orders := leaking_orders(interactions, items, ties(interactions, offsets)):
        notes.append(sentence(orders, str(ratings_path)))
    return Dataset(name, items, interactions, articles_last=True, notes=tuple(notes))


def _items(
    path: Path, movies: list[tuple[str, str | None, int | None, str]], lines_of: list[int]
) -> pd.DataFrame:
    """Return the items table without its texts, sorted by id."""
    seen: dict[int, int] = {}
    for (field, *_), line in zip(movies, lines_of, strict=True):
        if not re.fullmatch("[0-9]{1,18}", field):
            raise ValueError(
                f"{path}, line {line}: movie is {field[:40]!r}, expected a whole number: unpack "
                "the file again"
            )
        if int(field) in seen:
            raise ValueError(
                f"{path}, line {line}: movie {field} was seen before, in line {seen[int(field)]}, "
                "expected each movie once: unpack the file again"
            )
        seen[int(field)] = line
    if not movies:
        raise ValueError(f"{path} has no rows, expected at least one: unpack the file again")
    ids, titles, years, genres = zip(*movies, strict=True)
    frame = pd.DataFrame(
        {
            "item_id": [int(field) for field in ids],
            "title": pd.array(titles, dtype="string"),
            "year": pd.array(years, dtype="Int16"),
            "genres": genres,
        }
    )
    frame = frame.astype({name: ITEM_DTYPES[name] for name in frame.columns})
    return frame.sort_values("item_id", ignore_index=True)
