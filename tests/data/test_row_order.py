"""The order of rows: as Python's and NumPy's own stable sorts have it."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.data.row_order import numbered, time_order

rows = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40)


@given(rows)
def test_time_order_is_a_stable_sort(rows: list[tuple[int, int]]) -> None:
    users, times = np.array(rows, dtype=np.int64).T
    assert time_order(users, times).tolist() == np.lexsort((times, users)).tolist()
    assert time_order(users, times / 3).tolist() == np.lexsort((times, users)).tolist()


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
