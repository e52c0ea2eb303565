"""Rows dealt out to buckets, against the same rows sorted in memory."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data import buckets
from rqvae_lib.data.buckets import buckets_of, cut_ids, dealing_out, users_of


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=80),
    st.integers(1, 40),
    st.integers(2, 5),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_buckets_hold_the_rows_of_their_range_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    users: list[int],
    number: int,
    files: int,
    text: bool,
) -> None:
    """However few files may be open at a time, each bucket holds its users' rows, and only them."""
    folder = tmp_path_factory.mktemp("buckets")
    ids = pd.Series(users, dtype="int64")
    ids = ids.astype("string") if text else ids
    rows = pa.table({"user": pa.array(ids), "row": np.arange(len(users))})
    cuts = cut_ids(ids, number)
    assert len(cuts) < number
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(buckets, "_MOST_FILES", files)
        with dealing_out(folder, cuts) as write:
            for start in range(0, len(users), 7):
                piece = rows.slice(start, 7)
                write(piece, users_of(piece))
            assert len([*folder.iterdir()]) <= files
        found = [table.to_pylist() for table in buckets_of(folder, cuts)]
    of_row = np.searchsorted(cuts, ids.to_numpy(cuts.dtype), side="right")
    expected = [
        [row for row, bucket in zip(rows.to_pylist(), of_row, strict=True) if bucket == wanted]
        for wanted in range(len(cuts) + 1)
    ]
    assert found == expected
    assert not [*folder.iterdir()]


def test_buckets_of_different_users_are_of_about_equal_size() -> None:
    users = pd.Series(np.random.default_rng(0).permutation(1000))
    cuts = cut_ids(users, 300)
    sizes = np.diff([0, *cuts, 1000])
    assert len(sizes) == 300
    assert sizes.min() >= 3
    assert sizes.max() <= 4
