"""Amazon reviews of 2023, as the McAuley Lab publishes them: raw reviews, or benchmark files.

    X.jsonl.gz                  a review a line: user_id, parent_asin, rating, timestamp
    meta_X.jsonl.gz             a product a line: parent_asin, title, store, categories
    X.csv, or X.train.csv,      user_id,parent_asin,rating,timestamp, and in some editions history;
    X.valid.csv, X.test.csv     with a header or without one, packed or not

The item is `parent_asin`: colors and sizes of one product are one item. Times are milliseconds.
Each line of a benchmark file is an interaction; the history of earlier products on it repeats
other lines and is not read. The parts are put together again; the library makes its own splits.
(The publishers' split by time cuts at 1628643414042 and 1658002729837.)

The publishers state no license for the data; they ask for a citation. Their page is
https://amazon-reviews-2023.github.io. The texts are Amazon's and its customers', so do not pass
them on.

Source: Hou, Li, He, Yan, Chen and McAuley, "Bridging Language and Items for Retrieval and
Recommendation", 2024.
"""

import re
from pathlib import Path

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.json_lines import columns_of_json
from rqvae_lib.datasets.published import (
    Published,
    as_dataset,
    check_events,
    product_row,
    product_table,
)
from rqvae_lib.datasets.text_files import columns_of_fields, header_of, refuse_rows

PARTS = ("train", "valid", "test")
COLUMNS = ("user_id", "parent_asin", "rating", "timestamp", "history")
_NAMES = {"user_id": "user_id", "item_id": "parent_asin", "timestamp": "timestamp"}
_ENDINGS = (".jsonl.gz", ".jsonl", ".csv.gz", ".csv")
# user, product, stars, milliseconds; and perhaps the history
_FIRST_LINE = re.compile(r"[A-Z0-9]{5,40},[A-Z0-9]{10},[1-5](\.\d)?,\d{12,13}(,[A-Z0-9 ]*)?")


def find_amazon_2023(folder: Path) -> list[Path]:
    """Return the files of reviews or of the benchmark in a folder."""
    raw = [
        path
        for ending in _ENDINGS[:2]
        for path in sorted(folder.glob(f"*{ending}"))
        if not path.name.startswith(("meta_", "interactions.", "items."))
        and (metadata_of(folder, _category(path)) or '"parent_asin"' in _first_line(path))
    ]
    tables = [
        path
        for ending in _ENDINGS[2:]
        for path in sorted(folder.glob(f"*{ending}"))
        if not path.name.startswith(("interactions.", "items."))
        and (
            _first_line(path) in (",".join(COLUMNS), ",".join(COLUMNS[:4]))
            or _FIRST_LINE.fullmatch(_first_line(path))
        )
    ]
    return raw + tables


def read_amazon_2023(folder: str | Path) -> Dataset:
    """Read a folder with the reviews or the benchmark files of one category.

    Args:
        folder: holds X.jsonl.gz, X.csv, or X.train.csv, X.valid.csv and X.test.csv, packed or not,
            and perhaps meta_X.jsonl.gz.

    Returns:
        The dataset "amazon-2023-x". With metadata, the genres are the categories, from general to
        specific, and the text consists of title, store and categories.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there are several categories or editions, or a line is not as described; the
            message names the file and the line.
    """
    folder = Path(folder)
    paths = find_amazon_2023(folder)
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no reviews, expected X.jsonl.gz, X.csv, or X.train.csv, X.valid.csv and "
            "X.test.csv: get the files of one category"
        )
    category = _category(paths[0])
    alone = [path for path in paths if _part(path) is None]
    if any(_category(path) != category for path in paths) or (alone and len(paths) > 1):
        other = next(path for path in paths[1:] if alone or _category(path) != category)
        raise ValueError(
            f"{folder} has both {paths[0].name} and {other.name}, expected the files of one "
            "category in one edition: move the others away"
        )
    notes = []
    if not alone:
        absent = [part for part in PARTS if part not in map(_part, paths)]
        repeated = len({_part(path) for path in paths}) < len(paths)
        if repeated:
            raise ValueError(
                f"{folder} has both {paths[0].name} and {paths[-1].name}, and a part twice, "
                "expected each part once: move the others away"
            )
        paths = sorted(paths, key=lambda path: PARTS.index(str(_part(path))))
        if len(paths) > 1:
            notes.append(
                f"{', '.join(path.name for path in paths)} are put together; the splits are the "
                "library's own"
            )
        if absent:
            names = " and no ".join(f"{category}.{part}.csv" for part in absent)
            what = "it holds" if len(absent) == 1 else "they hold"
            notes.append(f"there is no {names}, so what {what} is missing in the histories")
    events = pd.concat([_events(path) for path in paths], ignore_index=True)
    metadata = metadata_of(folder, category)
    items = None
    if metadata:
        items = products_of_2023(metadata, events["item_id"])
    name = f"amazon-2023-{category.lower().replace('_', '-')}"
    listed_in = metadata.name if metadata else ""
    return as_dataset(Published(name, events, items, "ms", tuple(notes), listed_in))


def products_of_2023(path: Path, wanted: pd.Series) -> pd.DataFrame:
    """Return what a file of metadata says about some products.

    Args:
        path: meta_X.jsonl.gz of 2023, packed or not.
        wanted: the products, by parent_asin.
    """
    optional = {"title": "string", "store": "string", "categories": "texts"}
    found = columns_of_json(path, {"parent_asin": "string"}, optional)
    found = found[found["parent_asin"].isin(wanted.unique())].astype(object)
    rows = [
        product_row(
            asin,
            title if isinstance(title, str) else "",
            store if isinstance(store, str) else "",
            [] if categories is None else categories,
        )
        for asin, title, store, categories in zip(
            *(found[name] for name in ("parent_asin", *optional)), strict=True
        )
    ]
    table = product_table(rows)
    table["item_id"] = table["item_id"].astype("string")
    return table


def metadata_of(folder: Path, category: str) -> Path | None:
    """Return the file of a category's products, or None."""
    for ending in _ENDINGS[:2]:
        path = folder / f"meta_{category}{ending}"
        if path.is_file():
            return path
    return None


def _events(path: Path) -> pd.DataFrame:
    """Return the interactions of one file."""
    kinds = {
        "user_id": "string",
        "parent_asin": "string",
        "rating": "float64",
        "timestamp": "int64",
    }
    if ".jsonl" in path.name:
        header, events = False, columns_of_json(path, kinds)
    else:
        first = header_of(path, ",")
        header = first[0] == "user_id"
        names = None if header else COLUMNS[: len(first)]
        events = columns_of_fields(path, kinds, ",", names=names)
    stars = events["rating"]
    # 0 stars occur in the raw reviews
    refuse_rows(
        path, ~((stars >= 0) & (stars <= 5)), "rating", stars, "0 to 5 stars", header=header
    )
    events = events.rename(columns={"parent_asin": "item_id"})
    check_events(path, events, _NAMES, "ms", header=header)
    return events


def _category(path: Path) -> str:
    name = _without_ending(path)
    return name.rpartition(".")[0] if _part(path) else name


def _part(path: Path) -> str | None:
    last = _without_ending(path).rpartition(".")
    return last[2] if last[0] and last[2] in PARTS else None


def _without_ending(path: Path) -> str:
    for ending in _ENDINGS:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    return path.name


def _first_line(path: Path) -> str:
    """Return the first line of a file, or "" if it cannot be read, which its reader will say."""
    try:
        return ",".join(header_of(path, ","))
    except (ValueError, OSError):
        return ""
