"""Repeats: rows in which a user meets an item again.

A click log has many, purchases have some, and ratings have none. A repeat is an event like any
other, so all rows are kept unless another choice is made. An *exact duplicate* is a repeat at the
same time and with the same rating; whether it is a second event or a copy, no table can tell.

Used by: datasets. Derived in: chapter 13.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.data.names import Repeats
from rqvae_lib.data.row_order import Numbered, user_blocks

_KEPT = ("kept as events", "kept, too")


class Repeated(NamedTuple):
    """Which rows repeat a user and an item."""

    again: NDArray[np.bool_]  # (E,) an earlier row has the same user and item
    still: NDArray[np.bool_]  # (E,) a later row has them
    exact: int  # rows with the user, item, time and rating of an earlier row

    @property
    def total(self) -> int:
        """How many rows repeat a user and an item of an earlier row."""
        return int(self.again.sum())


def check_repeats(repeats: str) -> None:
    """Raise ValueError unless it is one of `Repeats`."""
    if repeats not in get_args(Repeats):
        raise ValueError(f"repeats is {repeats!r}, expected one of {', '.join(get_args(Repeats))}")


def find_repeats(
    item: NDArray[np.integer[Any]],
    offsets: NDArray[np.int64],
    time: NDArray[Any] | None = None,
    rating: NDArray[Any] | None = None,
) -> Repeated:
    """Find the repeats among interactions, some users at a time to save memory.

    Args:
        item: (E,) item indices, user by user in time order.
        offsets: (U + 1,) the rows where each user begins, and the end.
        time, rating: (E,) each. Without them, exact duplicates are not counted.
    """
    again, still = (np.zeros(len(item), dtype=np.bool_) for _ in range(2))
    exact = 0
    for rows, same in _by_pair(item, offsets):
        again[rows[1:][same]] = True
        still[rows[:-1][same]] = True
        if time is None or rating is None:
            continue
        same &= time[rows[1:]] == time[rows[:-1]]
        group = np.concatenate([[0], np.cumsum(~same)])  # of a user, an item and a time
        tied = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        copies = pd.DataFrame({"group": group[tied], "rating": rating[rows[tied]]})
        exact += int(copies.duplicated().sum())
    return Repeated(again, still, exact)


def repeats_in(interactions: pd.DataFrame, offsets: NDArray[np.int64]) -> Repeated:
    """Find the repeats in the table of a dataset, with its exact duplicates.

    Args:
        interactions: sorted by user, then time.
        offsets: as `find_repeats`.
    """
    time, rating = (interactions[name].to_numpy() for name in ("timestamp", "rating"))
    return find_repeats(interactions["item"].to_numpy(), offsets, time, rating)


def met_before(item: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each row whether its user met its item in an earlier row: (E,) bool.

    Args:
        item: (E,) item indices, user by user in time order.
        offsets: (U + 1,) the rows where each user begins, and the end.
    """
    return find_repeats(item, offsets).again


def _by_pair(
    item: NDArray[np.integer[Any]], offsets: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield the rows of some users, sorted by user and item and then in their order.

    Users without repeats may be left out.

    Yields:
        The rows, (n,), and whether each but the first has the user and item of the one before it,
        (n − 1,) bool.
    """
    num_items = int(item.max(initial=0)) + 1
    for first, last in user_blocks(offsets):
        start, end = offsets[first], offsets[last]
        pairs = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1])) * num_items
        pairs += item[start:end]
        ordered = np.sort(pairs)  # takes a fraction of the time of an argsort
        if (ordered[1:] == ordered[:-1]).any():
            order = np.argsort(pairs, kind="stable")
            yield start + order, ordered[1:] == ordered[:-1]


def kept_rows(found: Repeated, repeats: Repeats) -> NDArray[np.bool_] | None:
    """Return which rows stay, (E,) bool, or None if all do.

    Args:
        found: the repeats.
        repeats: "first" keeps the earliest row of each user and item, "last" the latest. Both
            therefore drop exact duplicates, too.
    """
    if repeats not in ("first", "last") or not found.again.any():
        return None
    return ~(found.again if repeats == "first" else found.still)


def refusal(
    where: str,
    users: Numbered,
    items: NDArray[np.integer[Any]],
    item_ids: pd.Series,
    numbers: NDArray[np.int64] | None = None,
) -> ValueError:
    """Return what to raise for the first of some rows that repeats a user and an item.

    Args:
        where: the table that they are of.
        users: the user of each row, in the order of the table.
        items: (E,) the item index of each row.
        item_ids: the ids of the catalogue.
        numbers: (E,) what number each row has in the table; by default, they are all of its rows.
    """
    pairs = users.codes * np.int64(len(item_ids)) + items
    row = int(pd.Series(pairs).duplicated().to_numpy().argmax())
    first = int((pairs == pairs[row]).argmax())
    (user,), (item,) = (
        ids.iloc[[place]].tolist()
        for ids, place in ((users.ids, users.codes[row]), (item_ids, items[row]))
    )
    if numbers is not None:
        row, first = int(numbers[row]), int(numbers[first])
    return ValueError(
        f"{where}, row {row}: user {user!r} met item {item!r} in row {first} already, expected "
        "each pair once, since repeats is 'refuse': drop the row, or keep the 'first' or the "
        "'last' of each pair (--repeats)"
    )


def sentences(count: int, exact: int, repeats: Repeats) -> tuple[str, ...]:
    """Say how many repeats there are, and what becomes of them.

    Args:
        count, exact: how many rows are repeats, and how many of them exact duplicates.
        repeats: what becomes of them.
    """
    if not count:
        return ()
    what = _rows(count, "repeats a user and an item", "repeat a user and an item")
    if repeats != "keep":
        return (f"{what}: only the {repeats} of each is kept",)
    all_are = "is" if count == 1 else "all are"
    said = f"{what}, and {all_are} {_KEPT[0]}; --repeats first keeps the first of each"
    if not exact:
        return (said,)
    copies = _rows(exact, "has", "have")
    are = "is" if exact == 1 else "are"
    copies += f" the user, item, time and rating of an earlier row, and {are} {_KEPT[1]}"
    return (said, copies)


def without_kept(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return notes without those that say that repeats are kept, for when they no longer are."""
    return tuple(note for note in notes if not any(words in note for words in _KEPT))


def _rows(count: int, one: str, several: str) -> str:
    return f"1 row {one}" if count == 1 else f"{count:,} rows {several}"
