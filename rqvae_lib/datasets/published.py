"""From a publisher's two tables to a dataset: the items that somebody met, and what was counted.

The tables of publishers do not quite fit: interactions name items that the table of items lacks,
tables of items list an item twice, or list many items that nobody met. What was found is said, as
`Dataset.notes`.

Used by: the readers of published datasets.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.text_files import refuse_rows

PER_SECOND = {"s": 1, "order": 1, "ms": 10**3, "us": 10**6}
EARLIEST, LATEST = 631_152_000, 2**32  # seconds since 1970: in the years 1990 and 2106
MAX_RATING = 1e30  # float32 can hold it


class Published(NamedTuple):
    """What a reader found in a publisher's files."""

    name: str  # of the dataset
    interactions: pd.DataFrame  # user_id, item_id, timestamp and perhaps rating, as in the files
    items: pd.DataFrame | None  # item_id and what is known of title, year, genres and text
    time_unit: str | None  # of the timestamps, as in `Dataset.from_tables`
    notes: tuple[str, ...] = ()  # sentences about what was found
    listed_in: str = "the table of items"  # the file that `items` comes from


def as_dataset(found: Published) -> Dataset:
    """Return the dataset of a publisher's tables.

    Args:
        found: the tables.

    Returns:
        The items that somebody met, sorted by id, and all interactions.
    """
    met = found.interactions["item_id"].drop_duplicates().sort_values(ignore_index=True)
    items, notes = _met_items(found, met)
    dataset = Dataset.from_tables(
        found.interactions, items, time_unit=found.time_unit, name=found.name
    )
    return replace(dataset, notes=(*found.notes, *notes, *dataset.notes))


def check_events(
    path: Path,
    events: pd.DataFrame,
    names: Mapping[str, str],
    time_unit: str,
    *,
    header: bool = False,
) -> None:
    """Raise ValueError for the first interaction that cannot be one.

    Args:
        path: the file that the interactions come from, one a line.
        events: the interactions, with some of user_id, item_id, rating and timestamp.
        names: by these, the publisher's names of the columns.
        time_unit: as in `Published`. Missing times pass.
        header: whether the first line of the file holds the names.
    """
    for column, name in names.items():
        values = events[column]
        if column in ("user_id", "item_id"):
            if values.dtype.kind in "iu":
                bad, expected = values < 0, "an id of 0 or more"
            else:
                bad, expected = values.isna() | (values.str.strip() == ""), "an id"
        elif column == "rating":
            bad, expected = ~(values.abs() <= MAX_RATING), f"a number up to {MAX_RATING:g}"
        else:
            words = {"s": "seconds", "ms": "milliseconds", "us": "microseconds"}
            spelled = words.get(time_unit, "seconds")
            # Of a finer unit, small numbers are seconds among milliseconds.
            earliest = 0 if PER_SECOND[time_unit] == 1 else EARLIEST * PER_SECOND[time_unit]
            latest = LATEST * PER_SECOND[time_unit]
            bad, expected = (values < earliest) | (values >= latest), f"{spelled} since 1970"
        refuse_rows(path, bad.fillna(True), name, values, expected, header=header)


def ids_as_written(column: pd.Series) -> pd.Series:
    """Return ids as int64 if all are written as numbers are, so that "007" is not 7."""
    unique = pd.Series(column.unique(), dtype="string")
    if unique.str.fullmatch("0|[1-9][0-9]{0,17}").all():
        return column.astype("int64")
    return column


def product_row(
    item_id: object,
    title: str,
    brand: str = "",
    categories: Iterable[str] = (),
    year: int | None = None,
    more: str = "",
) -> dict[str, object]:
    """Return what is known about a product, as a row of the items table.

    Args:
        item_id: the publisher's id.
        title, brand: "" if unknown. As all texts here, they may have HTML in them, which
            `Dataset.from_tables` turns into plain text.
        categories: from general to specific. Repeated and empty ones are left out.
        year: of release.
        more: text to add at the end of the text.

    Returns:
        item_id, title, genres and text, such as "Tutu. Brand: Coxlures. Categories: Beauty,
        Makeup."; the text is "" if nothing is known.
    """
    title, brand, more = _tidy(title), _tidy(brand), _tidy(more)
    listed = list(dict.fromkeys(tidy for category in categories if (tidy := _tidy(category))))
    sentences = [
        f"{title} ({year})" if title and year is not None else title,
        f"Brand: {brand}" if brand else "",
        f"Categories: {', '.join(listed)}" if listed else "",
        more.rstrip("."),
    ]
    return {
        "item_id": item_id,
        "title": title or None,
        "year": year,
        "genres": "|".join(category.replace("|", "/") for category in listed),
        "text": "".join(f"{sentence}. " for sentence in sentences if sentence).strip(),
    }


def product_table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return the rows of `product_row` as a table."""
    frame = pd.DataFrame(rows, columns=["item_id", "title", "year", "genres", "text"])
    kinds = {"title": "string", "year": "Int16", "genres": "string", "text": "string"}
    return frame.astype(kinds)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: "1 item", "1,234 items"."""
    return f"{int(number):,} {noun}{'' if number == 1 else 's'}"


def year_in(text: str) -> int | None:
    """Return the first year from 1000 to 2999 in a text such as "2017-12-17", or None."""
    match = re.search(r"(?<!\d)[12]\d{3}(?!\d)", text)
    return int(match[0]) if match else None


def _tidy(text: str) -> str:
    """Return a text in one line, without halves of surrogate pairs, which UTF-8 does not have."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _met_items(found: Published, met: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return what is known about the items that somebody met, and what was found on the way."""
    if found.items is None:
        return pd.DataFrame({"item_id": met}), []
    listed, notes = found.items, []
    repeated = listed["item_id"].duplicated().to_numpy()
    if repeated.any():
        notes.append(
            f"{found.listed_in} lists {counted(repeated.sum(), 'item')} again: the first line "
            "counts"
        )
        listed = listed[~repeated]
    rows = pd.Index(listed["item_id"]).get_indexer(pd.Index(met))
    unlisted = rows < 0
    if unlisted.any():
        count = int(found.interactions["item_id"].isin(met[unlisted]).sum())
        notes.append(
            f"{counted(count, 'interaction')} with {counted(unlisted.sum(), 'item')} that "
            f"{found.listed_in} does not list: kept, without title and text"
        )
    unmet = len(listed) - int((~unlisted).sum())
    if unmet:
        notes.append(f"{counted(unmet, 'item')} of {found.listed_in} that nobody met: left out")
    items = listed.set_axis(np.arange(len(listed)), axis=0).reindex(
        np.where(unlisted, -1, rows)  # no row has the label -1, so all columns are missing
    )
    items = items.reset_index(drop=True)
    items["item_id"] = met
    return items, notes
