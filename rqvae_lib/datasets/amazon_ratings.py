"""Amazon's ratings alone: files of four columns without a header, of 2014 and of 2018.

    ratings_X.csv   of 2014: user, item, rating, time
    X.csv           of 2018: item, user, rating, time

The two differ only in the order of the first columns, and people rename files. So the data decide:
an item's id has 10 characters and begins with B or a digit, and a user's begins with A. What was
taken for what is said in `Dataset.notes`. Times are days, in seconds since 1970.

Beside the ratings there may be meta_X.json.gz, from which the titles and categories come.

The terms are those of `amazon` and `amazon_2018`, and the pages are theirs.
"""

import re
from pathlib import Path

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.amazon import products_of_2014
from rqvae_lib.datasets.amazon_2018 import products_of_2018
from rqvae_lib.datasets.published import Published, as_dataset, check_events
from rqvae_lib.datasets.text_files import columns_of_fields, header_of, refuse_rows

_NAMES = {"user_id": "user", "item_id": "item", "timestamp": "time"}
_ID = r"[A-Z0-9]{4,40}"
_FIRST_LINE = re.compile(rf"{_ID},{_ID},[1-5](\.\d)?,\d{{8,10}}")
_CLEAR = 0.99  # the share of rows that decides


def find_amazon_ratings(folder: Path) -> list[Path]:
    """Return the files of ratings in a folder."""
    found = []
    for ending in ("csv", "csv.gz"):
        for path in sorted(folder.glob(f"*.{ending}")):
            try:
                first = ",".join(header_of(path, ","))
            except (ValueError, OSError):
                continue
            if _FIRST_LINE.fullmatch(first):
                found.append(path)
    return found


def read_amazon_ratings(folder: str | Path) -> Dataset:
    """Read a folder with the ratings of one category.

    Args:
        folder: holds ratings_X.csv or X.csv, packed or not, and perhaps meta_X.json.gz.

    Returns:
        The dataset "amazon-2014-x" or "amazon-2018-x", by the order of the columns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there are several, if the data do not tell users from items, or if a line is
            not as described; the message names the file and the line.
    """
    folder = Path(folder)
    paths = find_amazon_ratings(folder)
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no ratings, expected a .csv with user,item,rating,time or "
            "item,user,rating,time in each line: get the file of one category"
        )
    if len(paths) > 1:
        raise ValueError(
            f"{folder} has both {paths[0].name} and {paths[1].name}, expected one file of ratings: "
            "move the others away"
        )
    (path,) = paths
    kinds = {"first": "string", "second": "string", "rating": "float64", "time": "int64"}
    events = columns_of_fields(path, kinds, ",", names=tuple(kinds))
    item = _item_column(path, events)
    user = "second" if item == "first" else "first"
    events = events.rename(columns={user: "user_id", item: "item_id", "time": "timestamp"})
    events = events[["user_id", "item_id", "rating", "timestamp"]]
    stars = events["rating"]
    refuse_rows(path, ~((stars >= 1) & (stars <= 5)), "rating", stars, "1 to 5 stars")
    check_events(path, events, _NAMES, "s")
    year = 2018 if item == "first" else 2014
    category = path.name.removesuffix(".gz").removesuffix(".csv").removeprefix("ratings_")
    notes = [
        f"{path.name} has no header: the {item} column holds the items and the {user} one the "
        f"users, as in the edition of {year}, since items have 10 characters and begin with B or a "
        "digit"
    ]
    items, listed_in = None, ""
    for ending in (".json.gz", ".json"):
        metadata = folder / f"meta_{category}{ending}"
        if metadata.is_file() and items is None:
            items, more = _products(metadata, set(events["item_id"].unique()), year)
            notes, listed_in = notes + more, metadata.name
    name = f"amazon-{year}-{category.lower().replace('_', '-')}"
    return as_dataset(Published(name, events, items, "s", tuple(notes), listed_in))


def _item_column(path: Path, events: pd.DataFrame) -> str:
    """Return "first" or "second", for the column that holds the items."""
    shares = {}
    for column in ("first", "second"):
        values = events[column]
        looks = (values.str.len() == 10) & values.str.match("[B0-9]")
        shares[column] = (float(looks.mean()), float(values.str.startswith("A").mean()))
    for item, user in (("first", "second"), ("second", "first")):
        if (
            shares[item][0] >= _CLEAR
            and shares[user][0] <= 1 - _CLEAR
            and shares[user][1] >= _CLEAR > shares[item][1]
        ):
            return item
    raise ValueError(
        f"{path} does not tell which column holds the items: {shares['first'][0]:.0%} of the first "
        f"and {shares['second'][0]:.0%} of the second have 10 characters and begin with B or a "
        "digit, expected all of one and none of the other: name the columns, as in "
        "Dataset.from_tables(…, columns=…)"
    )


def _products(path: Path, wanted: set[str], year: int) -> tuple[pd.DataFrame, list[str]]:
    if year == 2018:
        return products_of_2018(path, wanted)
    return products_of_2014(path, wanted), []
