"""The order of interactions: user by user, each user's rows in time order, ties as in the file.

A sort of tens of millions of rows by two columns is slow and takes much memory. Here the rows are
first dealt out to their users, which needs no comparison, and then sorted by time, some users at a
time.

Used by: datasets.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

_BLOCK = 2**20  # rows that are sorted at a time


class Numbered(NamedTuple):
    """A column of ids, as numbers that sort as the ids do."""

    codes: NDArray[np.int32]  # (E,) 0 … U - 1
    ids: pd.Series  # (U,) the ids, unique and sorted, of the column's dtype

    @property
    def offsets(self) -> NDArray[np.int64]:
        """The rows where each id begins once they are sorted, and the end: (U + 1,) int64."""
        return np.concatenate([[0], np.bincount(self.codes, minlength=len(self.ids)).cumsum()])


def numbered(column: pd.Series) -> Numbered:
    """Number the ids of a column in their sorted order.

    Args:
        column: int64 or "string", or categories of these that all occur, without missing values.
            Strings sort by code points.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, unique = column.cat.codes.to_numpy(), column.cat.categories
        ids = pd.Series(unique, dtype=unique.dtype).sort_values()
    else:
        codes, distinct = pd.factorize(column)
        ids = pd.Series(distinct, dtype=column.dtype).sort_values()
    rank = np.empty(len(ids), dtype=np.int32)
    rank[ids.index.to_numpy()] = np.arange(len(ids))
    return Numbered(rank[codes], ids.reset_index(drop=True))


def time_order(
    users: NDArray[np.int32], offsets: NDArray[np.int64], times: NDArray[Any]
) -> NDArray[np.integer[Any]]:
    """Return the rows in the order of (user, time); ties keep the order of the rows.

    Args:
        users: (E,) from 0 to U - 1.
        offsets: (U + 1,) where each user's rows begin in that order, and the end.
        times: (E,) numbers.

    Returns:
        Row numbers, (E,).
    """
    order = _by_user(users, len(offsets) - 1)
    for first, last in user_blocks(offsets):
        start, end = offsets[first], offsets[last]
        rows = order[start:end]
        user, time = users[rows], times[rows]
        if not ((user[1:] == user[:-1]) & (time[1:] < time[:-1])).any():
            continue  # in order already, as many files are
        in_time = np.argsort(time, kind="stable")
        user = user[in_time] - first
        kind = np.uint16 if last - first <= 2**16 else np.uint32  # 16 bits sort fastest
        order[start:end] = rows[in_time[np.argsort(user.astype(kind), kind="stable")]]
    return order


def user_blocks(offsets: NDArray[np.int64], rows: int = _BLOCK) -> Iterator[tuple[int, int]]:
    """Yield ranges of users, first and last + 1, with about so many rows each.

    Args:
        offsets: (U + 1,) where each user's rows begin, and the end.
        rows: a block has more only if it is a single user's.
    """
    first, users = 0, len(offsets) - 1
    while first < users:
        fitting = int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1
        last = min(max(fitting, first + 1), users)
        yield first, last
        first = last


def _by_user(users: NDArray[np.int32], num_users: int) -> NDArray[np.integer[Any]]:
    """Return the rows of user 0, then those of user 1, …, each user's in their order."""
    # A matrix with a 1 in each row, in the column of its user. By columns, it lists the rows of
    # each user in their order.
    ones = np.ones(len(users), dtype=np.int8)
    small = len(users) < np.iinfo(np.int32).max
    starts = np.arange(len(users) + 1, dtype=np.int32 if small else np.int64)
    matrix = sparse.csr_matrix((ones, users, starts), shape=(len(users), num_users))
    return np.asarray(matrix.tocsc().indices)
