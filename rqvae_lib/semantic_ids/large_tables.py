"""The IDs of millions of items in a table: a few bytes per item, in memory as in the file.

`semantic_ids.files` writes a table for people: titles, and each ID as a text. This one is for
programs. It has a row for each item, in the order of item ids, and the columns `item_id`,
`code_1` … `code_L` and `disambiguation`. The sizes of the codebooks are in the file's metadata, so
the catalogue that is read is the one that was written, with the same sha256.

The catalogue's order is that of item ids: numbers by size, text by its Unicode code points. Items
with the same codes are numbered in this order. So the order in which they were computed, and the
files that they came from, change no ID.

Derived in: chapter 12.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from rqvae_lib.data.item_folders import ITEM_ID, plain_array
from rqvae_lib.data.parquet_files import described, description, opened
from rqvae_lib.data.tables import wrong_row
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.ops.sorted_rows import WORD
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

_FORMAT = "rqvae-lib large table 1"
_DIGIT = "disambiguation"
_GROUP_ROWS = 2**20
_ID_TYPES = (pa.int64(), pa.string(), pa.large_string())


class LargeTable(NamedTuple):
    """The content of a file: row i of each part is item i."""

    ids: SemanticIDs
    item_ids: NDArray[Any]  # (N,), int64 or Python strings, ascending


def smallest_type(size: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest NumPy type that holds the numbers 0 to size − 1."""
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if size - 1 <= np.iinfo(kind).max)


def code_names(levels: int) -> list[str]:
    """Return the names of the columns that hold the codes of each level."""
    return [f"code_{level}" for level in range(1, levels + 1)]


def number_collisions(
    codes: NDArray[np.unsignedinteger[Any]], sizes: Sequence[int]
) -> NDArray[np.int32]:
    """Count the equal rows before each row, as `catalogue.disambiguate`, in less memory.

    Args:
        codes: shape (N, L), from 0 to the level's size − 1.
        sizes: K of each level, length L.

    Returns:
        shape (N,), int32: 0 for the first row with some codes, 1 for the second, and so on.
    """
    packed = _packed(codes, sizes)
    order = packed.argsort(kind="stable")  # equal rows stay in order
    packed = packed[order]
    starts = np.empty(len(packed), dtype=bool)  # whether a row differs from the one before it
    starts[:1] = True
    np.not_equal(packed[1:], packed[:-1], out=starts[1:])
    del packed
    place = np.arange(len(order), dtype=np.int32)
    place -= np.maximum.accumulate(np.where(starts, place, 0))
    numbers = np.empty_like(place)
    numbers[order] = place
    return numbers


def _packed(codes: NDArray[np.unsignedinteger[Any]], sizes: Sequence[int]) -> NDArray[np.int64]:
    """Return one number for each row, (N,) int64: equal for equal rows, different for others."""
    packed = np.zeros(len(codes), dtype=np.int64)
    bits = 0
    for level, size in enumerate(sizes):
        width = (size - 1).bit_length()
        if bits + width > WORD:  # number the prefixes that occur, of which there are at most N
            packed = np.unique(packed, return_inverse=True)[1].astype(np.int64)
            bits = len(codes).bit_length()
        packed <<= width
        packed |= codes[:, level]
        bits += width
    return packed


def write_large_table(
    path: str | Path,
    item_ids: pa.ChunkedArray,
    codes: NDArray[np.unsignedinteger[Any]],
    sizes: Sequence[int],
    made_by: str = "",
) -> int:
    """Number the items that collide, and write a table of IDs, atomically.

    Args:
        path: the .parquet file.
        item_ids: (N,) int64 or text, strictly ascending.
        codes: shape (N, L), the learned codes, row i for item i.
        sizes: K of each level, length L.
        made_by: the sha256 of the tokenizer, which the file then tells.

    Returns:
        The number of items that share their codes with an earlier item.

    Raises:
        ValueError: if the path does not end in .parquet.
        OSError: if the path cannot be written; an older file is then still whole.
    """
    path = Path(path)
    check_large_path(path)
    digits = number_collisions(codes, sizes)
    about = {"codebook_sizes": list(sizes), "tokenizer": made_by}
    fields = [(ITEM_ID, item_ids.type)]
    fields += [(name, pa.int32()) for name in (*code_names(len(sizes)), _DIGIT)]
    schema = pa.schema(fields, metadata=description(_FORMAT, about))
    with write_atomically(path) as temporary, pq.ParquetWriter(temporary, schema) as parquet:
        for start in range(0, len(codes), _GROUP_ROWS):
            rows = slice(start, start + _GROUP_ROWS)
            columns = [codes[rows, level] for level in range(len(sizes))] + [digits[rows]]
            numbers = [pa.array(np.ascontiguousarray(one, np.int32)) for one in columns]
            parquet.write_table(
                pa.table([item_ids.slice(start, _GROUP_ROWS), *numbers], schema=schema)
            )
    return int(np.count_nonzero(digits))


def read_large_table(path: str | Path) -> LargeTable:
    """Read a table that `write_large_table` wrote, and check all of it.

    Raises:
        ValueError: if it is no such table, or does not hold what was written; the message names the
            row.
        OSError: if it cannot be read.
    """
    table = find_large_table(path)
    if table is None:
        raise ValueError(
            f"{path} is not a table of IDs of `rqvae-lib assign`: write it with that command, or "
            "read another table with read_ids or import_ids"
        )
    return table


def find_large_table(path: str | Path) -> LargeTable | None:
    """Read a table as `read_large_table`, but return None for a file that is no such table.

    Raises:
        ValueError, OSError: as `read_large_table`.
    """
    path = Path(path)
    sizes = sizes_in(path)
    if sizes is None:
        return None
    names = code_names(len(sizes))
    with opened(path) as file:
        table = file.read(columns=[ITEM_ID, *names, _DIGIT])
        table.validate(full=True)
    if not len(table):
        raise ValueError(f"{path} has no rows, expected at least one: check where it comes from")
    where = str(path)
    for name in table.column_names:
        column = table.column(name)
        if column.null_count:
            raise wrong_row(where, _first(column.is_null()), name, None, "a value in each row")
    item_ids = plain_array(table.column(ITEM_ID))
    later = item_ids[1:] > item_ids[:-1]
    if not later.all():
        row = 1 + _first(~later)
        before, found = table.column(ITEM_ID)[row - 1 : row + 1].to_pylist()
        raise wrong_row(where, row, ITEM_ID, found, f"an id after {before!r}")
    codes = np.empty((len(item_ids), len(sizes)), dtype=np.int64)
    for level, (name, size) in enumerate(zip(names, sizes, strict=True)):
        codes[:, level] = table.column(name).to_numpy()
        outside = (codes[:, level] < 0) | (codes[:, level] >= size)
        if outside.any():
            row = _first(outside)
            raise wrong_row(where, row, name, codes[row, level], f"a code from 0 to {size - 1}")
    ids = SemanticIDs(torch.from_numpy(codes), sizes)
    other = table.column(_DIGIT).to_numpy() != ids.ids[:, -1].numpy()
    if other.any():
        row = _first(other)
        expected = f"{int(ids.ids[row, -1])}, which follows from the codes"
        raise wrong_row(where, row, _DIGIT, table.column(_DIGIT)[row].as_py(), expected)
    return LargeTable(ids, item_ids)


def sizes_in(path: str | Path) -> tuple[int, ...] | None:
    """Return the codebook sizes that a table of this kind tells, or None for any other file.

    Raises:
        OSError: if it cannot be read.
    """
    found = described(Path(path), _FORMAT)
    if found is None:
        return None
    sizes = found.about.get("codebook_sizes")
    if not isinstance(sizes, list) or not sizes or any(type(one) is not int for one in sizes):
        return None
    if not all(0 < one <= 2**31 for one in sizes):
        return None
    schema, numbers = found.schema, [*code_names(len(sizes)), _DIGIT]
    if schema.names != [ITEM_ID, *numbers] or schema.field(ITEM_ID).type not in _ID_TYPES:
        return None
    if any(schema.field(name).type != pa.int32() for name in numbers):
        return None
    return tuple(sizes)


def check_large_path(path: Path) -> None:
    """Raise ValueError unless a path ends in .parquet."""
    if path.suffix.lower() != ".parquet":
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .parquet file")


def _first(mask: Any) -> int:
    return int(np.asarray(mask).argmax())
