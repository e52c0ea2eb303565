"""Amazon reviews of 2018: the reviews of a category, as McAuley's group publishes them.

    X_5.json.gz or X.json.gz    a review a line, as JSON: reviewerID, asin, overall, unixReviewTime
    meta_X.json.gz              a product a line, as JSON: asin, title, brand, category

The fields of reviews are those of 2014, but the categories of a product are under `category`, not
`categories`, and they are one list. Some products are listed twice, some titles are the code of a
web page, and titles have HTML in them. Times are days.

The publishers state no license; they ask for a citation. Their page is
https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/. The texts are Amazon's and its customers', so
do not pass them on.

Source: Ni, Li and McAuley, "Justifying recommendations using distantly-labeled reviews and
fine-grained aspects", EMNLP 2019.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.json_lines import columns_of_json, field_wrong, object_of
from rqvae_lib.datasets.published import (
    Published,
    as_dataset,
    check_events,
    counted,
    product_row,
    product_table,
)
from rqvae_lib.datasets.text_files import lines, refuse_rows

_ASIN = re.compile(r'"asin": ?"([^"]{1,40})"')
_NAMES = {"user_id": "reviewerID", "item_id": "asin", "timestamp": "unixReviewTime"}


def find_amazon_2018(folder: Path) -> list[Path]:
    """Return the files of reviews in a folder, each with metadata of its category beside it."""
    found = []
    for ending in (".json.gz", ".json"):
        for path in sorted(folder.glob(f"*{ending}")):
            category = path.name.removesuffix(ending).removesuffix("_5")
            if not path.name.startswith(("meta_", "reviews_")) and _metadata_of(folder, category):
                found.append(path)
    return found


def read_amazon_2018(folder: str | Path) -> Dataset:
    """Read a folder with the reviews and the products of one category.

    Args:
        folder: holds X_5.json.gz or X.json.gz, and meta_X.json.gz, packed or not.

    Returns:
        The dataset "amazon-2018-x". The genres are the categories, from general to specific. The
        text consists of title, brand and categories.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there are reviews of several categories, or a line is not as described; the
            message names the file and the line.
    """
    folder = Path(folder)
    paths = find_amazon_2018(folder)
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no reviews with metadata, expected X_5.json.gz and meta_X.json.gz: get "
            "both files of one category"
        )
    if len(paths) > 1:
        raise ValueError(
            f"{folder} has both {paths[0].name} and {paths[1].name}, expected one file of reviews: "
            "move the others away"
        )
    (path,) = paths
    category = path.name.removesuffix(".gz").removesuffix(".json").removesuffix("_5")
    metadata = _metadata_of(folder, category)
    assert metadata is not None
    kinds = {"reviewerID": "string", "asin": "string", "overall": "float64"}
    events = columns_of_json(path, {**kinds, "unixReviewTime": "int64"})
    stars = events["overall"]
    refuse_rows(path, ~((stars >= 1) & (stars <= 5)), "overall", stars, "1 to 5 stars")
    events = events.rename(columns={theirs: ours for ours, theirs in _NAMES.items()})
    events = events.rename(columns={"overall": "rating"})
    check_events(path, events, _NAMES, "s")
    items, notes = products_of_2018(metadata, set(events["item_id"].unique()))
    name = f"amazon-2018-{category.lower().replace('_', '-')}"
    return as_dataset(Published(name, events, items, "s", tuple(notes), metadata.name))


def products_of_2018(path: Path, wanted: set[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return what a file of metadata says about some products, and what to say about the file.

    Args:
        path: meta_X.json.gz of 2018, packed or not.
        wanted: the products, by asin.
    """
    rows: list[dict[str, object]] = []
    code = 0
    for number, line in lines(path):
        # Parse only lines that mention a product that is asked for, which are few.
        if wanted.isdisjoint(_ASIN.findall(line)):
            continue
        product = object_of(path, number, line, "a product as JSON")
        asin = product.get("asin")
        if not isinstance(asin, str) or asin not in wanted:
            continue
        title = _text(path, number, product, "title")
        if "getTime" in title or "var aPageStart" in title:
            code, title = code + 1, ""
        brand = _text(path, number, product, "brand")
        category = product.get("category") or []
        if not isinstance(category, list) or not all(isinstance(name, str) for name in category):
            raise field_wrong(path, number, "category", category, "a list of text")
        rows.append(product_row(asin, title, brand, category))
    notes = []
    if code:
        notes.append(f"{counted(code, 'title')} in {path.name}, the code of a web page: left out")
    table = product_table(rows)
    table["item_id"] = table["item_id"].astype("string")
    return table, notes


def _text(path: Path, number: int, product: dict[str, Any], name: str) -> str:
    value = product.get(name) or ""
    if not isinstance(value, str):
        raise field_wrong(path, number, name, value, "text or nothing")
    return value


def _metadata_of(folder: Path, category: str) -> Path | None:
    for ending in (".json.gz", ".json"):
        path = folder / f"meta_{category}{ending}"
        if path.is_file():
            return path
    return None
