"""Ids as whole numbers or text, whatever type held them.

Libraries hand out the same id as a Python int, a number of NumPy, a float (where a column has a gap
elsewhere), a decimal, bytes or a UUID. Only its value counts.

Used by: own tables, look-ups in a dataset, IDs in files.
"""

import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_DIGITS = 40  # of a decimal; one with an exponent of a million takes seconds as an int
AS_TEXT = "convert the column to text, as .astype(str) does, or drop the row"


def plain_id(value: Any) -> Any:
    """Return an id as an int or a str, or the value itself if it is neither.

    Whole floats and whole decimals are ints, UUIDs and UTF-8 bytes are text. True and False, dates
    and all others are returned unchanged.

    Args:
        value: one id, perhaps as a number of NumPy or as a tensor or an array of no dimension.
    """
    if type(value) in (int, str):
        return value
    if isinstance(value, np.datetime64 | np.timedelta64):  # item() may count its nanoseconds
        return value
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    is_whole = (isinstance(value, float) and value.is_integer() and abs(value) <= 2**53) or (
        isinstance(value, Decimal)
        and value.is_finite()
        and value.adjusted() < _MOST_DIGITS
        and value == value.to_integral_value()
    )
    return int(value) if is_whole or isinstance(value, int) else value


def of_one_type(item_ids: Sequence[int] | Sequence[str] | NDArray[Any]) -> NDArray[Any]:
    """Return the ids that a caller passed as an array of int64 or of Python strings.

    Raises:
        ValueError: if some are text and others numbers, one is neither, or they are no list.
    """
    listed = np.asarray(item_ids, dtype=object)
    if listed.ndim != 1:
        raise ValueError(
            f"item_ids is {_short(item_ids)}, expected a list of ids: pass the item_id column of "
            "dataset.items"
        )
    listed = np.array([*map(plain_id, listed), None], dtype=object)[:-1]
    if all(isinstance(one, str) for one in listed):
        return listed
    for row, one in enumerate(listed):
        if isinstance(one, bool) or not isinstance(one, int):
            raise ValueError(
                f"item_ids[{row}] is {_short(one)}, expected all whole numbers or all text: "
                "pass the item_id column of dataset.items"
            )
        if not -(2**63) <= one < 2**63:
            raise ValueError(f"item_ids[{row}] is {_short(one)}, expected a number of 64 bits")
    return listed.astype(np.int64)


def _short(found: object) -> str:
    text = repr(found)
    return text if len(text) <= 40 else f"{text[:40]}…"
