"""Yelp's open dataset: reviews of businesses.

    yelp_academic_dataset_review.json     a review a line: user_id, business_id, stars, date
    yelp_academic_dataset_business.json   a business a line: business_id, name, categories

Both are JSON lines. The date of a review is a day in early editions, and a second in later ones; no
zone is given, so it is taken as UTC. The categories are one text, separated by commas; in early
editions they are a list. Users review a business again.

Yelp's terms allow academic use and personal, non-commercial use, and forbid passing the data on:
https://www.yelp.com/dataset.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.json_lines import columns_of_json, field_wrong, object_of
from rqvae_lib.datasets.published import (
    Published,
    as_dataset,
    check_events,
    product_row,
    product_table,
)
from rqvae_lib.datasets.text_files import AGAIN, lines, refuse_rows

_PREFIXES = ("yelp_academic_dataset_", "yelp_")
_ENDINGS = (".json", ".json.gz")


def find_yelp(folder: Path) -> list[Path]:
    """Return the files of reviews in a folder."""
    return _files(folder, "review")


def read_yelp(folder: str | Path) -> Dataset:
    """Read a folder with Yelp's reviews and perhaps its businesses.

    Args:
        folder: holds yelp_academic_dataset_review.json, and perhaps
            yelp_academic_dataset_business.json, packed or not.

    Returns:
        The dataset "yelp". The text of a business consists of its name and its categories.

    Raises:
        FileNotFoundError: if there are no reviews.
        ValueError: if a line is not as described; the message names the file and the line.
    """
    folder = Path(folder)
    found = find_yelp(folder)
    if not found:
        raise FileNotFoundError(
            f"{folder} has no yelp_academic_dataset_review.json, expected this file: {AGAIN}"
        )
    events = _reviews(found[0])
    businesses = next(iter(_files(folder, "business")), None)
    items = _businesses(businesses, set(events["item_id"].unique())) if businesses else None
    listed_in = businesses.name if businesses else ""
    return as_dataset(Published("yelp", events, items, None, listed_in=listed_in))


def _reviews(path: Path) -> pd.DataFrame:
    kinds = {"user_id": "string", "business_id": "string", "stars": "float64", "date": "string"}
    events = columns_of_json(path, kinds)
    stars = events["stars"]
    refuse_rows(path, ~((stars >= 1) & (stars <= 5)), "stars", stars, "1 to 5")
    times = pd.to_datetime(events["date"], format="ISO8601", errors="coerce", utc=True)
    times = times.dt.tz_localize(None)  # no date names a zone, which is then said
    bad = times.isna() | (times.dt.year < 1970) | (times.dt.year > 2105)
    refuse_rows(path, bad, "date", events["date"], "a time such as 2018-07-07 22:09:11")
    events = events.rename(columns={"business_id": "item_id", "stars": "rating"})
    check_events(path, events, {"user_id": "user_id", "item_id": "business_id"}, "s")
    return events.drop(columns="date").assign(timestamp=times)


def _businesses(path: Path, wanted: set[str]) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for number, line in lines(path):
        business = object_of(path, number, line, "a business as JSON")
        key, name = (business.get(field) for field in ("business_id", "name"))
        if not isinstance(key, str) or not key.strip():
            raise field_wrong(path, number, "business_id", key, "an id as text")
        if key not in wanted:
            continue
        if name is not None and not isinstance(name, str):
            raise field_wrong(path, number, "name", name, "text or nothing")
        categories = _categories(path, number, business)
        rows.append(product_row(key, name or "", categories=categories))
    table = product_table(rows)
    table["item_id"] = table["item_id"].astype("string")
    return table


def _categories(path: Path, number: int, business: dict[str, Any]) -> list[str]:
    value = business.get("categories") or []
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise field_wrong(path, number, "categories", value, "text or a list of text")
    return value


def _files(folder: Path, what: str) -> list[Path]:
    return [
        path
        for prefix in _PREFIXES
        for ending in _ENDINGS
        if (path := folder / f"{prefix}{what}{ending}").is_file()
    ]
