"""The order of interactions: user by user, each user's rows in time order, ties as in the file.

A sort of tens of millions of rows by two columns takes long. Here the rows are sorted by time, and
then dealt out to their users, which needs no comparison.

Used by: datasets.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse


class Numbered(NamedTuple):
    """A column of ids, as numbers that sort as the ids do."""

    codes: NDArray[np.int64]  # (E,) 0 … U - 1
    ids: pd.Series  # (U,) the ids, unique and sorted, of the column's dtype


def numbered(column: pd.Series) -> Numbered:
    """Number the ids of a column in their sorted order.

    Args:
        column: int64 or "string", without missing values. Strings sort by code points.
    """
    codes, unique = pd.factorize(column)
    ids = pd.Series(unique, dtype=column.dtype, name=column.name)
    ids = ids.sort_values()
    rank = np.empty(len(ids), dtype=np.int64)
    rank[ids.index.to_numpy()] = np.arange(len(ids))
    return Numbered(rank[codes], ids.reset_index(drop=True))


def time_order(users: NDArray[np.int64], times: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rows in the order of (user, time); ties keep the order of the rows.

    Args:
        users: (E,) numbers from 0 on.
        times: (E,) numbers.

    Returns:
        Row numbers, (E,) int64.
    """
    in_time = np.argsort(times, kind="stable")
    # A matrix with a 1 in each row, in the column of its user. Its transpose lists the rows of each
    # user, in their order.
    ones = np.ones(len(users), dtype=np.int8)
    matrix = sparse.csr_matrix(
        (ones, users[in_time], np.arange(len(users) + 1)),
        shape=(len(users), int(users.max(initial=-1)) + 1),
    )
    return np.asarray(in_time[matrix.tocsc().indices], dtype=np.int64)
