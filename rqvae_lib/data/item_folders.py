"""A folder of Parquet files in which each row carries its item id.

A catalogue that is larger than memory is read a few thousand rows at a time, by one process or by
many, in whatever order they get to it. So nothing may depend on where a row stands: each row has
the column `item_id`, and what is computed from the row keeps the id. Whole numbers and text are
ids, one kind in the whole folder.

All files that end in .parquet belong to the folder, also those in folders below it. Names that
begin with "." or "_" are left out: that is where other programs put what is unfinished. Work is
shared by row groups, so write row groups of about 100,000 rows. Whatever their size, a reader
holds only a batch of rows in memory.

Derived in: chapter 12.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rqvae_lib.data.parquet_files import opened, parquet_parts
from rqvae_lib.data.tables import wrong_row

ITEM_ID = "item_id"


class Piece(NamedTuple):
    """A row group of a file: what is read in one go, by one worker."""

    path: Path
    group: int
    first_row: int  # the row of the file that it begins with
    rows: int


@dataclass(frozen=True)
class ItemFolder:
    """The files of a folder, once their schemas are known to fit.

    Attributes:
        folder: as it was named.
        files: the Parquet files with at least one row, sorted by name.
        id_type: of the item ids: int64, or large_string.
        column: the name of the column that is read beside the ids.
        pieces: the row groups of all files, but for empty ones.
    """

    folder: Path
    files: tuple[Path, ...]
    id_type: pa.DataType
    column: str
    pieces: tuple[Piece, ...]

    @property
    def num_rows(self) -> int:
        """The number of rows of all files: of items, if no id is there twice."""
        return sum(piece.rows for piece in self.pieces)

    def pieces_of(self, path: Path) -> list[Piece]:
        """Return the pieces of one of `files`."""
        return [piece for piece in self.pieces if piece.path == path]

    def batches(self, piece: Piece, batch_rows: int) -> Iterator[tuple[int, pa.Array, pa.Array]]:
        """Read a piece, a batch at a time.

        Args:
            piece: one of `pieces`.
            batch_rows: rows of a batch, at most.

        Yields:
            The file's row that the batch begins with, the item ids (B,) of `id_type`, and the other
            column (B,) as the file has it.

        Raises:
            ValueError: if a row has no item id, or a file is damaged or has changed.
            OSError: if a file cannot be read.
        """
        for row, batch in _read(piece, [ITEM_ID, self.column], batch_rows):
            ids = self._ids(piece.path, row, batch.column(ITEM_ID))
            yield row, ids, batch.column(self.column)

    def ids(self, piece: Piece) -> Iterator[pa.Array]:
        """Yield the item ids of a piece, and read nothing else; arguments as of `batches`."""
        for row, batch in _read(piece, [ITEM_ID], 2**16):
            yield self._ids(piece.path, row, batch.column(ITEM_ID))

    def _ids(self, path: Path, row: int, found: pa.Array) -> pa.Array:
        """Return the ids of a batch in the folder's type; refuse a row without one."""
        if found.null_count:
            bad = row + int(np.asarray(found.is_null()).argmax())
            raise wrong_row(str(path), bad, ITEM_ID, None, "each row to carry its item's id")
        try:
            ids = found.cast(self.id_type)
        except pa.ArrowInvalid:
            numbers = found.cast(pa.decimal128(20))
            bad = pc.index(pc.greater(numbers, 2**63 - 1), True).as_py()
            expected = f"a whole number up to {2**63 - 1}"
            raise wrong_row(str(path), row + bad, ITEM_ID, found[bad].as_py(), expected) from None
        if pa.types.is_large_string(self.id_type):
            blank = are_blank(ids)
            if blank.any():
                bad = int(blank.argmax())
                expected = "each row to carry its item's id"
                raise wrong_row(str(path), row + bad, ITEM_ID, ids[bad].as_py(), expected)
        return ids

    def _places(self, item_id: int | str, most: int = 2) -> list[tuple[Path, int]]:
        """Return the files and rows where an item id stands, the first `most` of them."""
        found: list[tuple[Path, int]] = []
        wanted = pa.scalar(item_id, self.id_type)
        for path in self.files:
            row = 0
            with opened(path) as file:
                for batch in file.iter_batches(batch_size=2**16, columns=[ITEM_ID]):
                    same = pc.equal(batch.column(ITEM_ID).cast(self.id_type), wanted)
                    found += [(path, row + int(at)) for at in np.flatnonzero(same.to_numpy(False))]
                    row += len(batch)
                    if len(found) >= most:
                        return found[:most]
        return found

    def check_ids(self) -> None:
        """Read all item ids, and nothing else, and refuse one that is missing or there twice.

        Raises:
            ValueError, OSError: as `batches` and `check_distinct`.
        """
        ids = [batch for piece in self.pieces for batch in self.ids(piece)]
        column = pa.chunked_array(ids, self.id_type)
        self.check_distinct(column.take(pc.sort_indices(column)))

    def check_distinct(self, in_order: pa.ChunkedArray) -> None:
        """Refuse an item id that is there twice.

        Args:
            in_order: ids of the folder, ascending.

        Raises:
            ValueError: if two are equal; the message names the files and rows.
        """
        for start in range(0, len(in_order) - 1, 2**20):
            part = in_order.slice(start, 2**20 + 1)
            at = pc.index(pc.equal(part.slice(0, len(part) - 1), part.slice(1)), True).as_py()
            if at >= 0:
                raise self._twice(part[at].as_py())

    def _twice(self, item_id: int | str) -> ValueError:
        """Return the error to raise for an item id that was met twice."""
        places = self._places(item_id)
        if len(places) < 2:  # it is in the files once: they are not to blame
            return ValueError(
                f"item {item_id!r} was processed twice, though it stands in {self.folder} once: "
                "the files changed meanwhile, so run it again"
            )
        (first, row), (second, again) = places
        expected = f"each item once, but row {row} of {first} is it"
        return wrong_row(str(second), again, ITEM_ID, item_id, expected)


def open_folder(
    folder: str | Path, column: str, look: Callable[[Path, pq.ParquetFile], None]
) -> ItemFolder:
    """Find the Parquet files of a folder, and check that their item ids are of one kind.

    Only the files' descriptions are read, and each file is opened once.

    Args:
        folder: with at least one .parquet file in it or below.
        column: the column to read beside `item_id`. Others are ignored.
        look: called with each file that has rows, to check that column.

    Raises:
        ValueError: if there is no such file, or no row in them; or if a file is not Parquet, lacks
            a column, or has ids of another type. The message names the file.
        OSError: if something cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"{folder} {what}; expected a folder of .parquet files: pass one")
    files = tuple(parquet_parts(folder))
    if not files:
        raise ValueError(f"{folder} holds no .parquet file: name a folder of them")
    pieces: list[Piece] = []
    kinds: list[pa.DataType] = []
    filled: list[Path] = []
    for path in files:
        with opened(path) as file:
            if not file.metadata.num_rows:  # its columns may have no type
                continue
            filled.append(path)
            kinds.append(_id_type(path, file.schema_arrow, column))
            if kinds[-1] != kinds[0]:
                raise ValueError(
                    f"{path} has {_kind(kinds[-1])} as item ids, but {filled[0]} has "
                    f"{_kind(kinds[0])}: write one kind in all files"
                )
            look(path, file)
            pieces += _pieces(path, file.metadata)
    if not filled:
        raise ValueError(f"the .parquet files of {folder} have no rows, expected some: fill them")
    return ItemFolder(folder, tuple(filled), kinds[0], column, tuple(pieces))


def check_outside(folder: str | Path, output: str | Path) -> None:
    """Raise ValueError if an output lies in the folder, whose files it would be read with."""
    if Path(folder).resolve() in (Path(output).resolve(), *Path(output).resolve().parents):
        raise ValueError(f"{output} lies in {folder}, whose files are read: name another output")


def _read(
    piece: Piece, columns: list[str], batch_rows: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield some columns of a piece in batches, each with the file's row that it begins with."""
    row = piece.first_row
    with opened(piece.path) as file:
        if piece.group >= file.num_row_groups:
            raise ValueError(f"{piece.path} has changed while it was read: run it again")
        for batch in file.iter_batches(batch_rows, [piece.group], columns, use_threads=False):
            batch.validate(full=True)  # text is UTF-8, say
            yield row, batch
            row += len(batch)


def _pieces(path: Path, metadata: pq.FileMetaData) -> Iterator[Piece]:
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if rows:
            yield Piece(path, group, first, rows)
        first += rows


def _id_type(path: Path, schema: pa.Schema, column: str) -> pa.DataType:
    for name in (ITEM_ID, column):
        if schema.names.count(name) != 1:
            raise ValueError(
                f"{path} has the columns {', '.join(schema.names)[:120]}, expected one {ITEM_ID} "
                f"and one {column}: rename them"
            )
    kind = schema.field(ITEM_ID).type
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_string()
    raise ValueError(
        f"{path}, column {ITEM_ID!r} holds {kind}, expected whole numbers or text: convert it"
    )


def _kind(id_type: pa.DataType) -> str:
    return "whole numbers" if pa.types.is_integer(id_type) else "text"


def are_blank(texts: pa.Array) -> NDArray[np.bool_]:
    """Return whether each text (B,), of which none is missing, has nothing but white space."""
    return np.asarray(pc.equal(pc.binary_length(pc.utf8_trim_whitespace(texts)), 0), np.bool_)


def plain_array(ids: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return item ids (N,) as int64 or Python strings."""
    is_number = pa.types.is_integer(ids.type)
    found: NDArray[Any] = ids.to_numpy() if is_number else ids.to_pandas().to_numpy(dtype=object)
    return found
