"""A large table is the catalogue that `SemanticIDs` makes, and what is wrong in one is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.imports import import_ids
from rqvae_lib.semantic_ids.large_tables import (
    number_collisions,
    read_large_table,
    sizes_in,
    smallest_type,
    write_large_table,
)

SIZES = (4, 3, 5)
CODES = np.random.default_rng(0).integers(0, SIZES, (200, 3))


def written(path: Path, codes: Any = CODES, sizes: Any = SIZES, ids: Any = None) -> Path:
    ids = np.arange(len(codes)) * 3 - 20 if ids is None else ids
    small = codes.astype(smallest_type(max(sizes)))
    collisions = write_large_table(path, pa.chunked_array([pa.array(ids)]), small, sizes)
    assert collisions == int((SemanticIDs(codes, sizes).ids[:, -1] > 0).sum())
    return path


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    """Few or many levels of small or huge codebooks, of which few codes are in use."""
    sizes = draw(st.lists(st.sampled_from([1, 2, 200, 256, 257, 65536, 2**31]), min_size=1))
    used = [sorted({0, size - 1, size // 2}) for size in sizes]
    rows = st.tuples(*map(st.sampled_from, used))
    codes = draw(st.lists(rows, max_size=30))
    return np.array(codes, dtype=np.int64).reshape(len(codes), len(sizes)), tuple(sizes)


@given(catalogues())
def test_collisions_are_numbered_as_in_memory(found: tuple[np.ndarray, tuple[int, ...]]) -> None:
    codes, sizes = found
    small = codes.astype(smallest_type(max(sizes)))
    assert np.array_equal(small, codes)
    numbers = number_collisions(small, sizes)
    assert numbers.tolist() == SemanticIDs(codes, sizes).ids[:, -1].tolist()


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "ids.parquet")
    table = read_large_table(path)
    assert table.ids.sha256 == SemanticIDs(CODES, SIZES).sha256
    assert table.item_ids.tolist() == [*range(-20, 580, 3)]
    assert sizes_in(path) == SIZES
    frame = pd.read_parquet(path)
    assert frame.columns.tolist() == ["item_id", "code_1", "code_2", "code_3", "disambiguation"]
    assert np.array_equal(frame.iloc[:, 1:], table.ids.ids)


def test_text_ids_keep_their_type(tmp_path: Path) -> None:
    ids = np.array(sorted(f"{number} ü" for number in range(200)), dtype=object)
    table = read_large_table(written(tmp_path / "ids.parquet", ids=ids))
    assert table.item_ids.tolist() == ids.tolist()


def test_the_import_finds_each_item_by_its_id_and_knows_the_sizes(tmp_path: Path) -> None:
    codes = CODES % 2  # no code is the codebook's last: its size cannot be inferred
    path = written(tmp_path / "ids.parquet", codes)
    as_written = import_ids(path)
    assert as_written.ids.sha256 == SemanticIDs(codes, SIZES).sha256
    wanted = np.random.default_rng(1).permutation(200)
    found = import_ids(path, wanted * 3 - 20)
    assert found.ids.sha256 == SemanticIDs(codes[wanted], SIZES).sha256
    assert found.item_ids.tolist() == (wanted * 3 - 20).tolist()
    assert SemanticIDs(codes[wanted], SIZES).sha256 != as_written.ids.sha256  # order matters
    with pytest.raises(ValueError, match="leave base, offsets and collision_digit out"):
        import_ids(path, base=1)
    with pytest.raises(ValueError, match="has no ID for 1 of the catalogue's 2 items, such as 5"):
        import_ids(path, [5, -20])


@pytest.mark.parametrize(
    ("column", "row", "value", "says"),
    [
        ("item_id", 7, -20, "row 7, column 'item_id': found -20, expected an id after -2: fix"),
        ("code_2", 9, 3, "row 9, column 'code_2': found 3, expected a code from 0 to 2"),
        ("code_2", 9, -1, "row 9, column 'code_2': found -1, expected a code from 0 to 2"),
        ("code_3", 4, None, "row 4, column 'code_3': found nothing, expected a value"),
        ("disambiguation", 0, 1, "row 0, column 'disambiguation': found 1, expected 0, which"),
    ],
)
def test_a_wrong_row_is_named(
    column: str, row: int, value: int | None, says: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "ids.parquet")
    table = pq.read_table(path)
    place = table.column_names.index(column)
    values = table.column(column).to_pylist()
    values[row] = value
    kind = table.schema.field(place)
    pq.write_table(table.set_column(place, kind, pa.array(values, kind.type)), path)
    with pytest.raises(ValueError, match=r"ids\.parquet, row") as error:
        read_large_table(path)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("code_2", pa.array([0.5] * 12)),
        ("code_2", pa.array(["a"] * 12)),
        ("disambiguation", pa.array([[0]] * 12)),
        ("item_id", pa.array([b"a"] * 12)),
        ("item_id", pa.array([0.5] * 12)),
    ],
)
def test_columns_of_other_types_are_none_of_these(
    column: str, values: pa.Array, tmp_path: Path
) -> None:
    path = written(tmp_path / "ids.parquet")
    table = pq.read_table(path)
    values = values.take(pa.array([0] * len(table)))
    pq.write_table(table.set_column(table.column_names.index(column), column, values), path)
    assert sizes_in(path) is None
    with pytest.raises(ValueError, match=r"ids\.parquet is not a table of IDs of"):
        read_large_table(path)
    if column != "disambiguation":  # without it, the codes are those of any other table
        with pytest.raises(ValueError, match=r"ids\.parquet"):
            import_ids(path)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "ids.parquet")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    for read in (read_large_table, import_ids):
        with pytest.raises(ValueError, match=r"ids\.parquet has no rows, expected at least one"):
            read(path)


def test_another_table_is_none_of_these(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(written(path)).replace_schema_metadata(None), path)
    assert sizes_in(path) is None
    with pytest.raises(ValueError, match=r"other\.parquet is not a table of IDs of"):
        read_large_table(path)
    path.write_text("no Parquet")
    assert sizes_in(path) is None
    with pytest.raises(ValueError, match="name a \\.parquet file"):
        written(tmp_path / "ids.csv")
