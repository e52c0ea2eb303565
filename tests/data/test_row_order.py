"""The order of rows: as Python's and NumPy's own stable sorts have it."""

from unittest.mock import patch

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data import row_order
from rqvae_lib.data.row_order import numbered, time_order, user_blocks

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_time_order_is_a_stable_sort(rows: list[tuple[int, int]]) -> None:
    users, times = np.array(rows, dtype=np.int32).T
    offsets = np.concatenate([[0], np.bincount(users).cumsum()])
    expected = np.lexsort((times, users)).tolist()
    for block in (1, 3, 2**20):
        blocks = list(user_blocks(offsets, block))
        assert [user for first, last in blocks for user in range(first, last)] == [
            *range(len(offsets) - 1)
        ]
        with patch.object(row_order, "user_blocks", lambda _: blocks):  # noqa: B023
            assert time_order(users, offsets, times).tolist() == expected
            assert time_order(users, offsets, times / 3).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=3), min_size=1), st.booleans())
def test_numbered_ids_sort_as_their_numbers(texts: list[str], as_numbers: bool) -> None:
    if as_numbers:
        column = pd.Series([sum(map(ord, text)) for text in texts], dtype="int64")
    else:
        column = pd.Series(texts, dtype="string")
    codes, ids = numbered(column)
    assert ids.tolist() == sorted(set(column.tolist()))  # Python sorts text by code points
    assert ids.take(codes).tolist() == column.tolist()
    assert ids.dtype == column.dtype
