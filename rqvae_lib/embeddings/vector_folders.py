"""A folder of item vectors: as many as there are, read a batch at a time.

Its Parquet files have two columns. `item_id` holds whole numbers or text, each id once in the whole
folder. `vector` holds fixed-size lists, or lists, of float16 or float32, all of one width, without
a missing or infinite number. Other columns are ignored. Two lines write such a file:

    vectors = pa.FixedSizeListArray.from_arrays(array.reshape(-1), array.shape[1])
    pq.write_table(pa.table({"item_id": ids, "vector": vectors}), "vectors/0001.parquet")

The names of the files, the division into files and row groups, and the order of the rows mean
nothing: only the ids say which item a vector belongs to.

Derived in: chapter 12.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pandas.util import hash_array
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from rqvae_lib.data.item_folders import ItemFolder, Piece, open_folder, plain_array
from rqvae_lib.data.tables import wrong_row
from rqvae_lib.ops.arrays import as_count

VECTOR = "vector"
BATCH_ROWS = 2048  # of 384 numbers, 3 MB as float32
_FLOATS = (pa.float16(), pa.float32())


class Vectors(NamedTuple):
    """Some items of a folder: row i of each part is one item."""

    item_ids: NDArray[Any]  # (N,), int64 or Python strings, ascending
    tensor: Tensor  # (N, D), float32


@dataclass(frozen=True)
class VectorFolder:
    """The files of a folder of vectors, once their columns are known to fit.

    Attributes:
        items: the files, and what holds for all folders of items.
        width: D, the numbers of a vector.
    """

    items: ItemFolder
    width: int

    def batches(
        self, piece: Piece, batch_rows: int = BATCH_ROWS
    ) -> Iterator[tuple[pa.Array, Tensor]]:
        """Read a piece, a batch at a time.

        Args:
            piece: one of `items.pieces`.
            batch_rows: rows of a batch, at most.

        Yields:
            Item ids (B,), and their vectors (B, D), float32.

        Raises:
            ValueError: for a row without an id, or without a vector of this width and of finite
                numbers; the message names the file and the row.
            OSError: if a file cannot be read.
        """
        for row, ids, column in self.items.batches(piece, batch_rows):
            yield ids, self._vectors(piece.path, row, column)

    def _vectors(self, path: Path, row: int, column: pa.Array) -> Tensor:
        """Return the vectors of a batch whose first row is the file's row `row`."""
        expected = f"a vector of {self.width} finite numbers"
        if column.null_count:
            bad = row + int(np.asarray(column.is_null()).argmax())
            raise wrong_row(str(path), bad, VECTOR, None, expected)
        if not pa.types.is_fixed_size_list(column.type):
            lengths = np.asarray(pc.list_value_length(column))
            if (lengths != self.width).any():
                bad = int((lengths != self.width).argmax())
                raise wrong_row(
                    str(path),
                    row + bad,
                    VECTOR,
                    column[bad].as_py(),
                    f"{expected}, but it has {lengths[bad]}",
                )
        values = column.flatten()  # of these rows only, wherever the batch begins in its memory
        if values.null_count:
            bad = row + int(np.asarray(values.is_null()).argmax()) // self.width
            raise wrong_row(str(path), bad, VECTOR, None, f"{expected}, none of them missing")
        vectors = from_dlpack(values).view(-1, self.width).to(torch.float32, copy=True)
        if not vectors.sum().isfinite():  # a finite sum has finite terms, and is quickly found
            broken = ~vectors.isfinite()
            if broken.any():
                bad, place = broken.nonzero()[0].tolist()
                raise wrong_row(str(path), row + bad, VECTOR, float(vectors[bad, place]), expected)
        return vectors


def open_vectors(folder: str | Path) -> VectorFolder:
    """Find the files of a folder of vectors, and check that their columns fit.

    Only the files' descriptions are read, and of lists without a fixed size the first row.

    Args:
        folder: of .parquet files with the columns `item_id` and `vector`.

    Raises:
        ValueError: as `open_folder`, or if a file's vectors are of another type or width. The
            message names the file.
        OSError: if something cannot be read.
    """
    widths: dict[Path, int] = {}

    def look(path: Path, file: pq.ParquetFile) -> None:
        widths[path] = _width(path, file)
        first, width = next(iter(widths.items()))
        if widths[path] != width:
            raise ValueError(
                f"{path} has vectors of {widths[path]} numbers, but {first} has vectors of "
                f"{width}: write vectors of one encoder"
            )

    items = open_folder(folder, VECTOR, look)
    return VectorFolder(items, widths[items.files[0]])


def _width(path: Path, file: pq.ParquetFile) -> int:
    """Return the width of a file's vectors."""
    kind = file.schema_arrow.field(VECTOR).type
    is_fixed = pa.types.is_fixed_size_list(kind)
    is_list = is_fixed or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list or kind.value_type not in _FLOATS:
        raise ValueError(
            f"{path}, column {VECTOR!r} holds {kind}, expected fixed-size lists of float16 or "
            "float32: convert it"
        )
    if is_fixed:
        return int(kind.list_size)
    [first] = next(file.iter_batches(1, columns=[VECTOR])).column(VECTOR)
    if not first.is_valid or not len(first):
        raise wrong_row(str(path), 0, VECTOR, first.as_py(), "a vector for each item")
    return len(first)


def read_vectors(folder: str | Path) -> Vectors:
    """Read a whole folder into memory, in the order of item ids.

    Args:
        folder: as `open_vectors`.

    Raises:
        ValueError, OSError: as `open_vectors` and `VectorFolder.batches`; also ValueError if an
            item is there twice.
    """
    found = open_vectors(folder)
    return _taken(found, [np.arange(piece.rows) for piece in found.items.pieces])


def sample_vectors(folder: str | Path, rows: int, *, seed: int) -> Vectors:
    """Draw items of a folder, each with the same probability, to fit a tokenizer on.

    Each item draws a number from its id and the seed, and those with the lowest numbers are taken.
    So the sample depends on the seed and the items alone, and not on how they are divided into
    files. In memory are 8 bytes for each item of the folder, and the vectors of the sample.

    How many are enough is a matter of rows per codeword. With 256 codewords, the inertia on all of
    200,000 vectors of 384 numbers is above that of the fit to all of them by 10 % for 10 rows per
    codeword, by 1.5 % for 100, and by 0.4 % for 256.

    Args:
        folder: as `open_vectors`.
        rows: the number of items to draw, at least 1; all of them if there are no more.
        seed: of the draw, at least 0.

    Returns:
        The sample, in the order of item ids.

    Raises:
        ValueError, OSError: as `open_vectors` and `VectorFolder.batches`; also ValueError if an
            item of the sample is there twice, if `rows` is below 1, or if `seed` is below 0.
    """
    rows, seed = as_count(rows, "rows"), as_count(seed, "seed", least=0)
    found = open_vectors(folder)
    drawn = [
        np.concatenate([_draws(ids, seed) for ids in found.items.ids(piece)])
        for piece in found.items.pieces
    ]
    every = np.concatenate(drawn)
    last = np.partition(every, rows - 1)[rows - 1] if rows < len(every) else every.max()
    return _taken(found, [np.flatnonzero(numbers <= last) for numbers in drawn])


def _draws(ids: pa.Array, seed: int) -> NDArray[np.uint64]:
    """Return a number for each id (B,), uniform from 0 to 2⁶⁴ − 1, that only the seed changes."""
    [of_seed] = hash_array(np.array([seed], dtype=np.uint64))
    return hash_array(hash_array(plain_array(ids), categorize=False) ^ of_seed)


def _taken(folder: VectorFolder, places: Sequence[NDArray[np.int64]]) -> Vectors:
    """Return some rows of a folder, in the order of item ids.

    Args:
        folder: the folder.
        places: for each piece, the rows of it to take, ascending.
    """
    vectors = torch.empty(sum(map(len, places)), folder.width)
    ids: list[pa.Array] = []
    done = 0
    for piece, wanted in zip(folder.items.pieces, places, strict=True):
        if not len(wanted):
            continue
        row = 0
        for batch_ids, batch in folder.batches(piece):
            low, high = np.searchsorted(wanted, [row, row + len(batch)])
            chosen = wanted[low:high] - row
            ids.append(batch_ids.take(pa.array(chosen)))
            vectors[done : done + len(chosen)] = batch[torch.from_numpy(chosen)]
            done, row = done + len(chosen), row + len(batch)
    column = pa.chunked_array(ids, folder.items.id_type)
    order = pc.sort_indices(column)
    named = column.take(order)
    folder.items.check_distinct(named)
    return Vectors(plain_array(named), vectors[torch.from_numpy(order.to_numpy().astype(np.int64))])
