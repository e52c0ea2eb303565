"""Ties in time, and the order that they leak.

Rows of one user at one time keep the order of the file. If the file was sorted by item, each next
item of a basket has a higher number than the last one, and a model can learn that instead of
anything about the items. By chance, a column rises from one tied row to the next as often as it
falls. A column that nearly always rises, or nearly always falls, is what the file was sorted by.

Used by: datasets. Derived in: chapter 13.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MIN_PAIRS = 20  # of tied rows with different values: fewer say nothing
MAX_PAIRS = 10**6  # that are looked at
MIN_SHARE = 0.75  # that go the same way; by chance, half do
MIN_DEVIATIONS = 5  # standard deviations of chance


class Order(NamedTuple):
    """A column that tied rows are in the order of."""

    column: str
    rises: bool  # or falls
    share: float  # of the pairs
    pairs: int  # neighboring tied rows with different values in this column


def ties(interactions: pd.DataFrame, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows have the user and the time of the row before: (E,) bool.

    Args:
        interactions: as in a dataset, sorted by user and time.
        offsets: (U + 1,) the rows where each user begins, and the end.
    """
    time = interactions["timestamp"].to_numpy()
    tied = np.concatenate([np.zeros(min(len(time), 1), np.bool_), time[1:] == time[:-1]])
    tied[offsets[:-1]] = False
    return np.asarray(tied)


def tied_share(tied: NDArray[np.bool_]) -> float:
    """Return the share of rows that share their user's time with another row.

    Args:
        tied: (E,) as `ties` returns it.
    """
    with_next = np.concatenate([tied[1:], [False]])
    return float((tied | with_next).mean())


def leaking_orders(
    interactions: pd.DataFrame, items: pd.DataFrame, tied: NDArray[np.bool_]
) -> tuple[Order, ...]:
    """Return the columns that tied rows are in the order of, more often than chance allows.

    Args:
        interactions: as in a dataset: its ratings are looked at.
        items: its items: their ids, titles, years and genres are looked at.
        tied: (E,) as `ties` returns it.

    Returns:
        The strongest order first. Pairs of tied rows with the same value say nothing and are not
        counted. Columns of a table that a dataset does not keep cannot be looked at.
    """
    rows = np.flatnonzero(tied)
    if len(rows) < MIN_PAIRS:
        return ()
    rows = rows[:: -(-len(rows) // MAX_PAIRS)]  # every so many-th of them is enough
    item = interactions["item"].to_numpy()
    later, earlier = item[rows], item[rows - 1]
    found = []
    for column in ("item_id", "title", "year", "genres"):
        place = _places(items[column])  # (N,)
        found.append(_order(column, place[later], place[earlier]))
    rating = interactions["rating"].to_numpy()
    found.append(_order("rating", rating[rows], rating[rows - 1]))
    orders = [order for order in found if order is not None]
    return tuple(sorted(orders, key=lambda order: -order.share))


def sentence(orders: tuple[Order, ...], where: str) -> str:
    """Return a warning about tied rows that are in an order.

    Args:
        orders: as `leaking_orders` returns them, at least one.
        where: the table, for the message.
    """
    column, rises, share, pairs = orders[0]
    return (
        f"{where}: rows of one user at one time are in the order of {column}: it "
        f"{'rises' if rises else 'falls'} in {share:.2%} of {pairs:,} pairs, where chance would "
        "have 50%. A model can learn this order in place of the items: shuffle the rows before "
        "they are read (chapter 13)"
    )


def _places(column: pd.Series) -> NDArray[np.float64]:
    """Return each value's place in the sorted column; NaN where it is missing or blank."""
    values = column.mask(column == "") if pd.api.types.is_string_dtype(column.dtype) else column
    codes, _ = pd.factorize(values, sort=True)
    return np.where(codes < 0, np.nan, codes)


def _order(column: str, later: NDArray[np.generic], earlier: NDArray[np.generic]) -> Order | None:
    """Return an order if far more pairs rise than fall, or the other way round."""
    rising, falling = int((later > earlier).sum()), int((later < earlier).sum())  # type: ignore[operator]
    pairs, most = rising + falling, max(rising, falling)
    if pairs < MIN_PAIRS or most / pairs < MIN_SHARE:
        return None
    if most - pairs / 2 < MIN_DEVIATIONS * pairs**0.5 / 2:
        return None
    return Order(column, rising > falling, most / pairs, pairs)
