"""The column of times of a table of interactions, or the order of its rows where there is none.

Used by: own tables, histories larger than memory. Derived in: chapter 13.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.data.times import MICROSECONDS, Reading, Times, read_times


def check_has_times(has_times: bool, where: str, time_unit: str | None) -> None:
    """Refuse a unit of times for a table that has none.

    Raises:
        ValueError: if `time_unit` is given and there are no times.
    """
    if time_unit is not None and not has_times:
        raise ValueError(
            f"{where} has no timestamps, so time_unit {time_unit!r} (--time-unit) would change "
            "nothing: leave it out, or say which column holds times with --columns time=…"
        )


def times_or_order(
    column: pd.Series | None, rows: range, where: str, time_unit: str | None
) -> Times:
    """Return the times of some rows, or their order if there are none: row n is n seconds.

    Args:
        column: the times of the rows.
        rows: their numbers.
        where: the table, for messages.
        time_unit: as `read_times`.
    """
    if column is not None:
        return read_times(column, where, time_unit)
    order = np.arange(rows.start, rows.stop, dtype=np.int64) * MICROSECONDS
    return Times(order, order, None)


class SortKeys(NamedTuple):
    """What sorts rows in time. Only keys of one kind may be compared."""

    kind: tuple[str, Literal["none", "whole", "bits"]]  # the unit, and what the numbers are
    numbers: NDArray[np.int64] | None  # None where the microseconds sort


def sort_keys(times: Times) -> SortKeys:
    """Return numbers that sort rows of several pieces of a column as the keys of their times do.

    Those of dates are nanoseconds, whether or not a piece has any.
    """
    unit = "order" if times.reading is None else times.reading.unit
    if unit == "date":
        fine = times.keys is not times.microseconds
        whole = times.keys.astype(np.int64) if fine else times.microseconds * 1000
        return SortKeys((unit, "whole"), whole)
    if times.keys.dtype.kind == "f":
        # From 0 on, floats are in the order of their bits. Adding 0 makes 0 of −0.
        return SortKeys((unit, "bits"), (times.keys.astype(np.float64) + 0.0).view(np.int64))
    if unit == "ns":
        return SortKeys((unit, "whole"), times.keys.astype(np.int64))
    return SortKeys((unit, "none"), None)


def notes_with_times(
    said: tuple[str, ...], theirs: Mapping[str, str], where: str, reading: Reading | None
) -> tuple[str, ...]:
    """Return the sentences about a table's columns, and what its times were taken as.

    Args:
        said: the sentences about its columns.
        theirs: the library's name → the column's.
        where: the table.
        reading: of the times, if there are any.
    """
    if reading is None:
        return (*said, f"{where}: no column holds times, so the order of the rows stands in")
    own = theirs["timestamp"]
    sentence = f"{where}: timestamp is the column {own!r}"
    if any(other.startswith(sentence) for other in said):  # a name that was recognized
        return tuple(f"{s}, {reading}" if s.startswith(sentence) else s for s in said)
    if own == "timestamp":
        return (*said, f"{where}: timestamp is {reading}")
    return (*said, f"{sentence}, {reading}")
