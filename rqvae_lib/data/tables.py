"""The two tables of a dataset: their columns, and the rules that they follow.

A table may be wrong, so it is checked once, when a `Dataset` is made. After that, all code relies
on it.

Used by: datasets.
"""

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ITEM_DTYPES = {
    "item_id": "int64",  # the source's own id, unique; or "string"
    "title": "string",  # as the source writes it, <NA> if unknown
    "year": "Int16",  # <NA> if unknown
    "genres": "string",  # or other categories: "Adventure|Animation", "" if none is listed
    "text": "string",  # for a sentence encoder; "" for every item or for none
}
INTERACTION_DTYPES = {
    "user_id": "int64",  # or "string"
    "item": "int64",  # item index: a row of the items table
    "rating": "float32",
    "timestamp": "int64",  # microseconds since 1970-01-01 UTC; or, if small, only an order
}


FIX = "fix or drop the row"


def plain_ids(ids: pd.Series) -> NDArray[Any]:
    """Return a column of ids as an array of int64 or of Python strings."""
    return ids.to_numpy(np.int64 if ids.dtype == np.int64 else object)


def changes(ids: pd.Series) -> NDArray[np.bool_]:
    """Return whether each id differs from the one before it: (n − 1,) bool."""
    if ids.dtype == np.int64:
        numbers = ids.to_numpy(np.int64)
        return np.asarray(numbers[1:] != numbers[:-1])
    return _compared(pc.not_equal, ids)


def wrong_row(
    where: str,
    row: int,
    name: str,
    found: object,
    expected: str,
    advice: str = FIX,
) -> ValueError:
    """Return what to raise for the first wrong value of a column.

    Args:
        where: the table: its file, or what messages call it.
        row: its row, from 0 and without the header.
        name: the column, as the file calls it.
        found: the value, None if it is missing.
        expected: what would be right.
        advice: what to do.
    """
    shown = repr(found.item() if isinstance(found, np.generic) else found)  # 5, not np.int64(5)
    shown = "nothing" if found is None else shown
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    name = name if len(name) <= 60 else f"{name[:60]}…"
    return ValueError(
        f"{where}, row {row}, column {name!r}: found {shown}, expected {expected}: {advice}"
    )


def items_checksum(items: pd.DataFrame) -> str:
    """Return the sha256 (hex) of the contents of an items table, in row order."""
    written = items.to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(written.encode()).hexdigest()


def check_columns(table: str, frame: pd.DataFrame, dtypes: dict[str, str]) -> None:
    """Check the columns, their dtypes and the pandas index of a table.

    Args:
        table: what messages call the table.
        frame: the table.
        dtypes: the dtype of each column, in order. An id column may be "string" instead.

    Raises:
        ValueError: if the columns, a dtype or the index differ, or there are no rows.
    """
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
    """Check the values of an items table whose columns are right.

    Args:
        table: what messages call the table.
        items: a table with the columns and dtypes of `ITEM_DTYPES`.

    Raises:
        ValueError: if an id is missing or repeated, genres are missing, or only some texts are
            empty; the message names the row.
    """
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
            f'{table}, row {row}: genres is missing, expected a string: write "" if none is known'
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
    """Check the values of an interactions table whose columns are right.

    Args:
        table: what messages call the table.
        interactions: a table with the columns and dtypes of `INTERACTION_DTYPES`.
        num_items: N, the number of rows of the items table.

    Raises:
        ValueError: if a user id is missing, an item is not from 0 to N − 1, a rating is not finite,
            or the rows are not sorted by (user_id, timestamp); the message names the row.
    """
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
    user, time = interactions["user_id"], interactions["timestamp"].to_numpy()
    falls = _falls(user) | (~changes(user) & (time[1:] < time[:-1]))
    if falls.any():
        row = int(falls.argmax()) + 1
        raise ValueError(
            f"{table}, row {row}: user {user[row]} at {time[row]} comes after user "
            f"{user[row - 1]} at {time[row - 1]}, expected rows in the order of (user_id, "
            'timestamp): call .sort_values(["user_id", "timestamp"], kind="stable")'
        )


def _falls(ids: pd.Series) -> NDArray[np.bool_]:
    """Return whether each id sorts before the one above it: (n − 1,) bool."""
    if ids.dtype == np.int64:
        numbers = ids.to_numpy(np.int64)
        return np.asarray(numbers[1:] < numbers[:-1])
    return _compared(pc.less, ids)


def _compared(compare: Any, ids: pd.Series) -> NDArray[np.bool_]:
    """Compare each string with the one before it, without making Python strings of them."""
    values = pa.array(ids)
    result = compare(values[1:], values[:-1])
    return np.asarray(result.to_numpy(zero_copy_only=False), dtype=np.bool_)
