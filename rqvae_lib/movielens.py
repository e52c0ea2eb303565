"""MovieLens 1M, as GroupLens publishes it: `movies.dat` and `ratings.dat`.

Its licence forbids passing the files on, so none of it is in this package. Get `ml-1m.zip` from
https://grouplens.org/datasets/movielens/1m/, unpack it, and read the folder. The real one has
6,040 users, 1,000,209 ratings and 3,883 movies, of which 3,706 were rated; these are kept.

The files are Latin-1 text, one row a line, fields separated by `::`.

Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.datasets import (
    EMBEDDED,
    INTERACTION_DTYPES,
    ITEM_DTYPES,
    Dataset,
    add_texts,
    load_dataset,
)

TITLE_AND_YEAR = re.compile(r"(.*\S)\s*\((\d{4})\)")


def load_movielens_1m(folder: str | Path) -> Dataset:
    """Read the folder `ml-1m`.

    Args:
        folder: holds movies.dat (movie::title (year)::genre|genre) and ratings.dat
            (user::movie::rating::seconds since 1970).

    Returns:
        The rated movies, sorted by their id, and all ratings, sorted by user and time; ratings of
        one user and second keep the order of the file.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a line does not read as described, or a rating is of an unknown movie; the
            message names file and line.
    """
    folder = Path(folder)
    movies = _read(folder / "movies.dat", ("movie", "title", "genres"))
    ratings = _read(folder / "ratings.dat", ("user", "movie", "rating", "timestamp"))
    movie_ids = _whole_numbers(folder / "movies.dat", movies, "movie")
    rated = _whole_numbers(folder / "ratings.dat", ratings, "movie")
    unknown = ~np.isin(rated, movie_ids)
    if unknown.any():
        line = int(unknown.argmax()) + 1
        raise ValueError(
            f"{folder / 'ratings.dat'}, line {line}: movie {rated[line - 1]} is not in movies.dat: "
            "unpack both files from one archive"
        )
    split = [TITLE_AND_YEAR.fullmatch(title.strip()) for title in movies["title"]]
    items = pd.DataFrame(
        {
            "item_id": movie_ids,
            "title": [
                m[1] if m else title for m, title in zip(split, movies["title"], strict=True)
            ],
            "year": pd.array([int(m[2]) if m else pd.NA for m in split], dtype="Int16"),
            "genres": movies["genres"],
        }
    )
    items = items[items["item_id"].isin(rated)].sort_values("item_id", ignore_index=True)
    items = add_texts(items.astype({name: ITEM_DTYPES[name] for name in items.columns}))
    interactions = pd.DataFrame(
        {
            "user_id": _whole_numbers(folder / "ratings.dat", ratings, "user"),
            "item": np.searchsorted(items["item_id"].to_numpy(np.int64), rated),
            "rating": _whole_numbers(folder / "ratings.dat", ratings, "rating"),
            "timestamp": _whole_numbers(folder / "ratings.dat", ratings, "timestamp"),
        }
    ).sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
    return Dataset("movielens-1m", items, interactions.astype(INTERACTION_DTYPES))


def open_dataset(name_or_folder: str | Path) -> Dataset:
    """Return an embedded dataset by its name, or MovieLens 1M from its folder.

    Raises:
        ValueError, OSError: as `load_dataset` for a name, `load_movielens_1m` for a folder.
    """
    if str(name_or_folder) not in EMBEDDED and Path(name_or_folder).is_dir():
        return load_movielens_1m(name_or_folder)
    return load_dataset(str(name_or_folder))


def _read(path: Path, names: tuple[str, ...]) -> pd.DataFrame:
    """Return a file's fields as text, one column a name."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: name the folder ml-1m, unpacked from ml-1m.zip"
        )
    # Not splitlines: in Latin-1 text it would also break a line at the letter U+0085.
    lines = path.read_text(encoding="latin-1").removesuffix("\n").split("\n")
    if lines == [""]:
        raise ValueError(f"{path} is empty: unpack it from ml-1m.zip again")
    rows = [line.split("::") for line in lines]
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise ValueError(
                f"{path}, line {number}: found {len(row)} fields, expected {len(names)} "
                f"({'::'.join(names)}): unpack it from ml-1m.zip again"
            )
    return pd.DataFrame(rows, columns=list(names), dtype=object)


def _whole_numbers(path: Path, table: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Return a column as int64; name the line of the first field that is no whole number."""
    numbers = pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64)
    bad = np.isnan(numbers) | (numbers != np.floor(numbers)) | (np.abs(numbers) > 2**53)
    if bad.any():
        line = int(bad.argmax()) + 1
        raise ValueError(
            f"{path}, line {line}: {name} is {table[name][line - 1]!r}, expected a whole number: "
            "unpack the file from ml-1m.zip again"
        )
    return numbers.astype(np.int64)
