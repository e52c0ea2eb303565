"""Ids as whole numbers or text, whatever type held them.

Libraries hand out the same id as a Python int, a number of NumPy, a float (where a column has a gap
elsewhere), a decimal, bytes or a UUID. Only its value counts.

Used by: own tables, look-ups in a dataset, IDs in files.
"""

import uuid
from decimal import Decimal
from typing import Any

import numpy as np

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
        isinstance(value, Decimal) and value.is_finite() and value % 1 == 0
    )
    return int(value) if is_whole or isinstance(value, int) else value
