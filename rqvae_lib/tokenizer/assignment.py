"""Semantic IDs for a catalogue that is larger than memory.

The codes of an item depend on its vector and the tokenizer alone. So the vectors can be read a few
thousand at a time, by one process or by many, in any order; what stays of an item are its id and
its codes, some 11 bytes instead of 768. What depends on all items, the number that tells equal
codes apart, comes at the end, in the order of item ids.

The result is therefore the same catalogue, ID for ID, as

    vectors = read_vectors(folder)
    SemanticIDs(model.assign(vectors.tensor), model.sizes)

whatever the number of files and workers, and whatever the order in which they are done.

Derived in: chapter 12.
"""

import copy
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rqvae_lib.data.item_folders import ITEM_ID, Piece, check_outside
from rqvae_lib.embeddings.vector_folders import BATCH_ROWS, VectorFolder, open_vectors
from rqvae_lib.io.progress import progress_of
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.ops.engines import DEFAULT_ENGINE, Engine
from rqvae_lib.ops.pieces import on_pieces
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.large_tables import (
    check_large_path,
    code_names,
    smallest_type,
    write_large_table,
)
from rqvae_lib.tokenizer.rqvae import RQVAE

_COPIED_ROWS = 2**16  # of the results, at a time


class Assigned(NamedTuple):
    """What was written."""

    items: int
    collisions: int  # items that share their codes with an earlier item


@own_settings
def assign_folder(
    model: RQVAE,
    folder: str | Path,
    path: str | Path,
    *,
    engine: Engine = DEFAULT_ENGINE,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> Assigned:
    """Write the semantic IDs of all items of a folder of vectors.

    Nothing is written until all items have their codes, so an interrupted run leaves no file. In
    memory are a batch of vectors per worker, and for each item its id, its codes and what sorting
    them takes: about 70 bytes for ids that are numbers.

    Args:
        model: a trained RQ-VAE. Each of Ray's actors gets a copy of it.
        folder: of .parquet files, see `embeddings.vector_folders`.
        path: the .parquet file to write, see `semantic_ids.large_tables`.
        engine, workers: as `ops.pieces.on_pieces`.
        device: where to compute.
        progress: show progress on stderr.

    Raises:
        ValueError: if the model was never fitted or reads vectors of another width, if an item is
            there twice, if the path lies in the folder, or as `open_vectors`,
            `VectorFolder.batches` and `on_pieces`.
        ImportError: as `on_pieces`.
        OSError: if a file cannot be read or written.
    """
    path = Path(path)
    check_large_path(path)
    check_outside(folder, path)
    vectors = open_vectors(folder)
    if vectors.width != model.config.input_dim:
        raise ValueError(
            f"{folder} has vectors of {vectors.width} numbers, but the tokenizer reads "
            f"{model.config.input_dim}: use the encoder that it was trained on"
        )
    model.check_fitted()
    found = _Found(vectors.items.id_type, model.config.num_levels)
    bar = progress_of(total=vectors.items.num_rows, unit="item", show=progress)
    work = partial(_Assigner, model, vectors, device)
    with closing(bar), closing(on_pieces(work, vectors.items.pieces, engine, workers)) as tables:
        for table in tables:
            found.add(table)
            bar.update(len(table))
    column, codes = found.joined()
    order = pc.sort_indices(column).to_numpy()
    column = column.take(pa.array(order))
    vectors.items.check_distinct(column)
    if len(column) != vectors.items.num_rows:
        raise ValueError(
            f"{len(column):,} items of {folder} were found, and {vectors.items.num_rows:,} before: "
            "the files changed meanwhile, so run it again"
        )
    made_by = tensors_sha256(*model.state_dict().values())
    collisions = write_large_table(path, column, codes[order], model.sizes, made_by)
    return Assigned(len(column), collisions)


class _Assigner:
    """What a worker does: it reads a piece, and returns its items' ids and codes."""

    def __init__(self, model: RQVAE, vectors: VectorFolder, device: str) -> None:
        self._model = copy.deepcopy(model).to(device)  # the caller's stays where it is
        self._vectors, self._device = vectors, device
        self._type = smallest_type(model.config.codebook_size)
        self._names = code_names(model.config.num_levels)

    def __call__(self, piece: Piece) -> Iterator[pa.Table]:
        for ids, batch in self._vectors.batches(piece, BATCH_ROWS):
            codes = self._model.assign(batch.to(self._device)).cpu().numpy()  # (B, L)
            columns = [pa.array(np.ascontiguousarray(column, self._type)) for column in codes.T]
            yield pa.table([ids, *columns], names=[ITEM_ID, *self._names])


class _Found:
    """The ids and codes that workers have returned so far, in little memory.

    What a worker returns lies in a block of memory that is much larger, and that the smallest part
    of it would keep: in Arrow's pool, or in the memory that Ray's processes share. So it is copied,
    many tables at a time.
    """

    def __init__(self, id_type: pa.DataType, num_levels: int) -> None:
        self._names = code_names(num_levels)
        self._ids = [pa.array([], id_type)]
        self._codes: list[NDArray[Any]] = []
        self._waiting: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= _COPIED_ROWS:
            self._copy()

    def _copy(self) -> None:
        table = pa.concat_tables(self._waiting)
        self._waiting.clear()
        # A single array would not be copied, but taken as it is.
        self._ids.append(pa.concat_arrays([*table.column(ITEM_ID).chunks, self._ids[0]]))
        self._codes.append(np.stack([table.column(name).to_numpy() for name in self._names], 1))

    def joined(self) -> tuple[pa.ChunkedArray, NDArray[Any]]:
        """Return the ids (N,) and the codes (N, L), in the order in which they came."""
        if self._waiting:
            self._copy()
        return pa.chunked_array(self._ids), np.concatenate(self._codes)
