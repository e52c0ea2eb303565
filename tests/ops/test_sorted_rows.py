"""The order of rows against Python's sort."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.ops import sorted_rows
from rqvae_lib.ops.sorted_rows import SortedRows


@st.composite
def tables(draw: st.DrawFn) -> Tensor:
    num_rows, num_columns = draw(st.integers(0, 40)), draw(st.integers(1, 6))
    tops = draw(
        st.lists(
            st.sampled_from([0, 1, 3, 255, 2**31 - 1]), min_size=num_columns, max_size=num_columns
        )
    )
    seed = draw(st.integers(0, 10**6))
    numbers = np.random.default_rng(seed).integers(0, np.array(tops) + 1, (num_rows, num_columns))
    return torch.from_numpy(numbers)


@pytest.mark.parametrize("word", [63, 37])  # 37: not even two columns fit beside the row's number
@given(tables())
@settings(max_examples=100, deadline=None)
def test_rows_prefixes_and_columns_equal_those_of_sorted(word: int, table: Tensor) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_rows, "WORD", word)
        rows = SortedRows(table)
    listed = table.tolist()
    expected = sorted(range(len(listed)), key=lambda row: listed[row])  # stable
    assert rows.order.tolist() == expected
    assert rows.num_columns == table.shape[1]
    places = torch.arange(len(listed))
    for depth in range(table.shape[1] + 1):
        prefixes = [listed[row][:depth] for row in expected]
        new = [i == 0 or prefixes[i] != prefixes[i - 1] for i in range(len(prefixes))]
        assert rows.starts(depth).tolist() == new
        if depth and len(listed):
            column = rows.column(depth - 1, places)
            assert column.dtype == torch.int64
            assert column.tolist() == [prefix[-1] for prefix in prefixes]
