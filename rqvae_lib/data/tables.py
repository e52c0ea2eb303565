"""The two tables of a data set: their columns, and what they promise.

Whoever makes a table may get it wrong, so it is checked once, where it comes in, and believed from
there on.

Used by: datasets.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ITEM_DTYPES = {
    "item_id": "int64",  # the source's own id, unique; or "string"
    "title": "string",  # as the source writes it, <NA> where unknown
    "year": "Int16",  # <NA> where unknown
    "genres": "string",  # or other categories: "Adventure|Animation", "" where none is listed
    "text": "string",  # what a sentence encoder reads; "" for every item or for none
}
INTERACTION_DTYPES = {
    "user_id": "int64",  # or "string"
    "item": "int64",  # item index: a row of the items table
    "rating": "float32",
    "timestamp": "int64",  # seconds since 1970, UTC; or whatever else grows with time
}


def plain_ids(ids: pd.Series) -> NDArray[Any]:
    """Return a column of ids as an array of int64 or of Python strings."""
    return ids.to_numpy(np.int64 if ids.dtype == np.int64 else object)


def check_columns(table: str, frame: pd.DataFrame, dtypes: dict[str, str]) -> None:
    if list(frame.columns) != list(dtypes):
        raise ValueError(
            f"{table} has the columns {', '.join(map(str, frame.columns))}, expected "
            f"{', '.join(dtypes)}: rename, add or reorder them"
        )
    for column, dtype in dtypes.items():
        allowed = [dtype, "string"] if column in ("item_id", "user_id") else [dtype]
        if frame[column].dtype not in [pd.Series([], dtype=name).dtype for name in allowed]:
            raise ValueError(
                f"{table}, column {column} has dtype {frame[column].dtype}, expected "
                f"{' or '.join(allowed)}: "
                f'convert it with .astype("{dtype}")'
            )
    if frame.empty:
        raise ValueError(f"{table} has no rows, expected at least one: check what it was read from")
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise ValueError(
            f"{table} has a pandas index that starts {frame.index[:3].tolist()}, expected "
            f"0 … {len(frame) - 1}: call .reset_index(drop=True)"
        )


def check_items(table: str, items: pd.DataFrame) -> None:
    _check_ids(table, items["item_id"])
    repeated = items["item_id"].duplicated()
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        raise ValueError(
            f"{table}, row {row}: item_id {items['item_id'][row]} was seen before, expected each "
            "id once: merge or drop the duplicate"
        )
    if items["genres"].isna().any():
        row = int(items["genres"].isna().to_numpy().argmax())
        raise ValueError(
            f'{table}, row {row}: genres is missing, expected a string: write "" where none is '
            "known"
        )
    empty = items["text"].fillna("").str.strip() == ""
    if empty.any() and not (items["text"] == "").all():
        row = int(empty.to_numpy(bool).argmax())
        raise ValueError(
            f"{table}, row {row}: text is empty, expected a sentence about item_id "
            f"{items['item_id'][row]}: make one with item_text(title, year, genres), or leave "
            'all texts ""'
        )


def _check_ids(table: str, ids: pd.Series) -> None:
    """Raise ValueError for the first id that is missing."""
    if ids.hasnans:
        row = int(ids.isna().to_numpy().argmax())
        raise ValueError(
            f"{table}, row {row}: {ids.name} is missing, expected an id: fill it in or drop the row"
        )


def check_interactions(table: str, interactions: pd.DataFrame, num_items: int) -> None:
    _check_ids(table, interactions["user_id"])
    item = interactions["item"].to_numpy()
    outside = (item < 0) | (item >= num_items)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{table}, row {row}: item is {item[row]}, expected a row of the items table, 0 … "
            f"{num_items - 1}: add the item, or turn ids into rows with dataset.item_index"
        )
    rating = interactions["rating"].to_numpy()
    if not np.isfinite(rating).all():
        row = int((~np.isfinite(rating)).argmax())
        raise ValueError(
            f"{table}, row {row}: rating is {rating[row]}, expected a finite number: fill it in "
            "or drop the row"
        )
    user, time = plain_ids(interactions["user_id"]), interactions["timestamp"].to_numpy()
    falls = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] < time[:-1]))
    if falls.any():
        row = int(falls.argmax()) + 1
        raise ValueError(
            f"{table}, row {row}: user {user[row]} at {time[row]} comes after user "
            f"{user[row - 1]} at {time[row - 1]}, expected rows in the order of (user_id, "
            'timestamp): call .sort_values(["user_id", "timestamp"], kind="stable")'
        )
