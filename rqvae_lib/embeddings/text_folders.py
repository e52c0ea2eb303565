"""A folder of item texts → a folder of item vectors, file by file.

The Parquet files of the texts have the columns `item_id` and `text`. Each becomes a file of the
same name with the columns `item_id` and `vector`, as `embeddings.vector_folders` reads them. Only a
batch of texts is in memory.

A file of vectors is written whole or not at all, and tells which model made it and of which file of
texts. So a run that was interrupted goes on where it stopped: what is done already is not done
again.

Source: see `embeddings.text`, which has the encoder.
Derived in: chapter 12.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from rqvae_lib.data.item_folders import ITEM_ID, ItemFolder, are_blank, check_outside, open_folder
from rqvae_lib.data.parquet_files import described, description, parquet_parts
from rqvae_lib.data.tables import wrong_row
from rqvae_lib.embeddings.config import DEFAULT_MODEL
from rqvae_lib.embeddings.text import load_encoder
from rqvae_lib.embeddings.vector_folders import VECTOR
from rqvae_lib.io.atomic import remove_unfinished, write_atomically
from rqvae_lib.io.progress import progress_of
from rqvae_lib.ops.engines import DEFAULT_ENGINE, Engine
from rqvae_lib.ops.pieces import on_pieces

_TEXT = "text"
_BATCH_ROWS = 8192  # also of a row group
_FORMAT = "rqvae-lib vectors 1"

Encode = Callable[[Sequence[str]], Tensor]


class Embedded(NamedTuple):
    """What was written."""

    items: int  # in all files
    encoded: int  # by this run; the others were done before


def embed_folder(
    folder: str | Path,
    output: str | Path,
    model: str = DEFAULT_MODEL,
    *,
    engine: Engine = DEFAULT_ENGINE,
    workers: int | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Embedded:
    """Turn every text of a folder into a vector.

    Vectors are written as float16, like the shipped ones. Equal texts may get vectors that differ
    in the last digits, since an encoder pads the texts of a batch to the longest of them.

    Args:
        folder: of .parquet files with the columns `item_id` and `text`.
        output: the folder to write. Files in it that this function wrote of these very texts, with
            this model, are kept; those of changed texts or another model are replaced.
        model: as `encode_texts`.
        engine, workers: as `ops.pieces.on_pieces`. Work is shared by files.
        device: as `encode_texts`.
        progress: show progress on stderr.

    Raises:
        ValueError: if an item's text is missing or blank, or the item is there twice; if the texts
            are of another type; if a number does not fit into float16; if the output holds a file
            that is not of this folder's texts; or as `open_folder`, `encode_texts` and `on_pieces`.
        ImportError: if sentence-transformers is not installed, or as `on_pieces`.
        OSError: if a file cannot be read or written. The files that are done stay.
    """
    output = Path(output)
    check_outside(folder, output)
    texts = _open_texts(folder)
    texts.check_ids()
    targets = _targets(texts, output)
    jobs = []
    for source, target in targets.items():
        about = {"model": model, "texts_sha256": _sha256(source)}
        if said_by_vectors(target) != about:
            jobs.append(_Job(source, target, about))
    left = sum(piece.rows for job in jobs for piece in texts.pieces_of(job.source))
    bar = progress_of(total=texts.num_rows, done=texts.num_rows - left, unit="item", show=progress)
    work = partial(_Embedder, texts, model, device)
    with closing(bar), closing(on_pieces(work, jobs, engine, workers)) as tables:
        for table in tables:
            bar.update(sum(table.column("rows").to_pylist()))
    for parent in {target.parent for target in targets.values()}:
        remove_unfinished(parent, older_than=0.0)  # of workers that died
    return Embedded(texts.num_rows, left)


def targets_of(folder: str | Path, output: str | Path) -> dict[Path, Path]:
    """Return the file of vectors that belongs to each file of texts.

    Args:
        folder, output: as `embed_folder`.

    Raises:
        ValueError: as `open_folder`; if the output lies in the folder; or if it holds another
            .parquet file, whose vectors would be taken for those of the same items.
    """
    check_outside(folder, output)
    return _targets(_open_texts(folder), Path(output))


def _targets(texts: ItemFolder, output: Path) -> dict[Path, Path]:
    targets = {path: output / path.relative_to(texts.folder) for path in texts.files}
    known = set(targets.values())
    for path in parquet_parts(output):
        if path not in known:
            raise ValueError(
                f"{path} is not made of a file in {texts.folder}, but would be read with the other "
                "vectors: move it, or name another output"
            )
    return targets


def _open_texts(folder: str | Path) -> ItemFolder:
    """Find the files of a folder of texts, and check that their columns fit."""

    def look(path: Path, file: pq.ParquetFile) -> None:
        kind = file.schema_arrow.field(_TEXT).type
        values = kind.value_type if pa.types.is_dictionary(kind) else kind
        if str(values) not in ("string", "large_string", "string_view"):
            raise ValueError(f"{path}, column {_TEXT!r} holds {kind}, expected text: convert it")

    return open_folder(folder, _TEXT, look)


def said_by_vectors(path: Path) -> dict[str, str] | None:
    """Return what a file of vectors tells of its making, or None for a file of something else."""
    found = described(path, _FORMAT) if path.is_file() else None
    return None if found is None else found.about


class _Job(NamedTuple):
    source: Path
    target: Path
    about: dict[str, str]


class _Embedder:
    """What a worker does: it encodes the texts of a file, and writes the file of their vectors."""

    def __init__(self, texts: ItemFolder, model: str, device: str | None) -> None:
        self._texts, self._encode = texts, load_encoder(model, device)

    def __call__(self, job: _Job) -> Iterator[pa.Table]:
        tables = self._tables(job)
        first = next(tables)  # only files with texts are jobs
        rows = 0
        with (
            write_atomically(job.target) as temporary,
            pq.ParquetWriter(temporary, first.schema, use_dictionary=False) as writer,
        ):
            for table in chain([first], tables):
                writer.write_table(table)  # a row group
                rows += len(table)
        yield pa.table({"rows": [rows]})

    def _tables(self, job: _Job) -> Iterator[pa.Table]:
        for piece in self._texts.pieces_of(job.source):
            for row, ids, column in self._texts.batches(piece, _BATCH_ROWS):
                vectors = self._encode(_plain_texts(piece.path, row, column))  # (B, D)
                half = vectors.half()
                if not half.isfinite().all():
                    raise ValueError(
                        f"a vector of {piece.path}, rows {row} to {row + len(ids) - 1}, does not "
                        "fit into float16: use another model"
                    )
                flat = pa.array(half.numpy().reshape(-1))
                lists = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
                table = pa.table({ITEM_ID: ids, VECTOR: lists})
                yield table.replace_schema_metadata(description(_FORMAT, job.about))


def _plain_texts(path: Path, row: int, column: pa.Array) -> list[str]:
    """Return the texts (B,) of a batch whose first row is the file's row `row`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    column = column.cast(pa.large_string())
    missing = np.asarray(column.is_null())
    wrong = missing if missing.any() else are_blank(column)
    if wrong.any():
        bad = int(wrong.argmax())
        raise wrong_row(str(path), row + bad, _TEXT, column[bad].as_py(), "a text for each item")
    texts: list[str] = column.to_pylist()
    return texts


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
