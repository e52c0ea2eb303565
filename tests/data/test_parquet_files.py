"""Parquet in pieces: little of it in memory, and the values of the whole table."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.arrow_columns import from_arrow
from rqvae_lib.data.parquet_files import count_rows, parquet_names, parquet_pieces, read_parquet


def test_a_piece_is_read_without_its_row_group(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 2**62, 2**21)  # 16 MiB, which nothing compresses
    pq.write_table(pa.table({"n": numbers}), tmp_path / "a.parquet", use_dictionary=False)
    assert pq.read_metadata(tmp_path / "a.parquet").row_group(0).total_byte_size > 2**23
    before, most, start = pa.total_allocated_bytes(), 0, 0
    for piece in parquet_pieces(tmp_path / "a.parquet", {"number": "n"}, 2**12):
        most = max(most, pa.total_allocated_bytes() - before)
        found = piece.columns["number"]
        assert piece.start == start
        assert np.array_equal(found.to_numpy(), numbers[start : start + len(found)])
        start += len(found)
    assert start == len(numbers)
    assert most < 2**22


def test_every_reader_says_the_same_of_what_is_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 or so")
    for read in (
        parquet_names,
        count_rows,
        lambda path: read_parquet(path, {"number": "n"}),
        lambda path: next(parquet_pieces(path, {"number": "n"})),
    ):
        says = r"a\.parquet cannot be read as Parquet \(.*\), expected a Parquet file: write it aga"
        with pytest.raises(ValueError, match=says):
            read(path)
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nowhere.parquet")


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.sampled_from(["1", "-7", "0.5", "3.000", str(2**63)]), min_size=1),
    rows=st.integers(1, 4),
    as_categories=st.booleans(),
)
def test_decimals_are_of_one_type_in_all_pieces(
    values: list[str], rows: int, as_categories: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("decimals")
    numbers = [Decimal(value) for value in values]
    for part, some in enumerate((numbers[:3], numbers[3:])):
        column = pa.array(some, pa.decimal128(30, 3) if part else pa.decimal128(24, 4))
        column = column.dictionary_encode() if as_categories else column
        pq.write_table(pa.table({"n": column}), folder / f"{part}.parquet")
    theirs = {"number": "n"}
    pieces = [piece.columns["number"] for piece in parquet_pieces(folder, theirs, rows)]
    whole = pa.concat_arrays([pa.array(numbers, pa.decimal128(31, 4))])
    expected = from_arrow(pa.chunked_array([whole]))
    assert {piece.dtype for piece in pieces} == {expected.dtype}
    assert pd.concat(pieces).tolist() == expected.tolist()
    if not as_categories:
        in_memory = from_arrow(read_parquet(folder, theirs).column("n"))
        assert in_memory.dtype == expected.dtype
        assert in_memory.tolist() == expected.tolist()
