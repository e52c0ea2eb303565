"""Semantic IDs in a file: one row per item, written atomically, and checked when read.

Other programs edit, sort and join a table of IDs, and each of them can damage it: a spreadsheet
turns codes into dates, a join drops a row. An ID with one wrong code is the ID of another item, and
nothing else shows the mistake. The reader therefore checks every column and every row, and names
the first one that differs from what `SemanticIDs.to_frame` would have written.

Derived in: chapter 06.
"""

import csv
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from rqvae_lib.data.plain_ids import of_one_type
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

ENDINGS = (".csv", ".parquet")
PLAIN_TYPES = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean),
    *(pa.types.is_string, pa.types.is_large_string),
)


class IDTable(NamedTuple):
    """The content of a file of IDs, in catalogue order: row i of each part is item i."""

    ids: SemanticIDs
    item_ids: NDArray[Any]  # (N,), the dataset's own ids: int64, or Python strings
    titles: list[str]


def write_ids(path: str | Path, frame: pd.DataFrame) -> None:
    """Write the table of `SemanticIDs.to_frame` to a file, atomically.

    Args:
        path: the file to write. The ending .csv or .parquet decides the format.
        frame: the table.

    Raises:
        ValueError: if the path ends in neither .csv nor .parquet, or for what `read_ids` would
            refuse: an item without an id, an item twice, or text that UTF-8 does not have. An older
            file is then unchanged.
        OSError: if the path cannot be written. An older file is then unchanged.
    """
    path = Path(path)
    check_ending(path)
    _check_items(path, frame)
    with write_atomically(path) as temporary:
        if path.suffix.lower() == ".csv":
            # Python's csv does not quote a lone carriage return, where readers would end the row.
            returns = any(
                pd.api.types.is_string_dtype(frame[name].dtype)
                and frame[name].str.contains("\r", regex=False).any()
                for name in ("item_id", "title")
            )
            frame.to_csv(
                temporary,
                index=False,
                lineterminator="\n",
                quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
            )
        else:
            frame.to_parquet(temporary, index=False)


def _check_items(path: Path, frame: pd.DataFrame) -> None:
    """Raise ValueError for the first row of a table whose item could not be read again."""
    own = frame["item_id"]
    blank = (own.isna() | (own.astype(str).str.strip() == "")).to_numpy(bool)
    repeated = own.duplicated().to_numpy(bool)
    for wrong, expected in ((blank, "an id"), (repeated, "each item once")):
        if wrong.any():
            row = int(wrong.argmax())
            raise _unwritten(path, row, "item_id", own.iloc[row], expected)
    for name in ("item_id", "title"):
        for row, text in enumerate(frame[name]):
            if isinstance(text, str) and not text.isascii() and not _is_utf8(text):
                raise _unwritten(path, row, name, text, "text without halves of characters")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unwritten(path: Path, row: int, name: str, found: object, expected: str) -> ValueError:
    return ValueError(
        f"{path} is not written, because row {row} of column {name!r} holds {_short(found)!r}; "
        f"expected {expected}: fix the items"
    )


def check_ending(path: Path) -> None:
    """Raise ValueError unless a path ends in .csv or .parquet."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .csv or a .parquet file")


@own_settings
def read_ids(
    path: str | Path,
    codebook_sizes: Sequence[int],
    item_ids: Sequence[int] | Sequence[str] | NDArray[Any] | None = None,
) -> IDTable:
    """Read a table that `write_ids` wrote, and check all of it.

    Args:
        path: a .csv or .parquet file. Its rows may be in another order than `item_ids`.
        codebook_sizes: K of each level, length L. The file does not contain them.
        item_ids: the dataset's own ids of the items that the file must hold, (N,), each once, in
            catalogue order: all whole numbers or all strings. None: the rows of the file are the
            catalogue, in their order. The ids of a .parquet file then keep their type; those of a
            .csv are numbers if all of them are whole numbers, otherwise strings, so "007" is not 7.

    Returns:
        The catalogue that was written, with the same `sha256`.

    Raises:
        ValueError: if the file is not such a table. The message names the file and, for a wrong
            value, the row (counted from 0, without the header) and the column.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    check_ending(path)
    codes = [f"code_{level}" for level in range(1, len(codebook_sizes) + 1)]
    frame = _read(path, ["item_id", "title", *codes, "disambiguation", "semantic_id"])
    found = {name: _integers(path, frame, name) for name in (*codes, "disambiguation")}
    for name, size in zip(codes, codebook_sizes, strict=True):
        outside = (found[name] < 0) | (found[name] >= size)
        if outside.any():
            row = int(outside.argmax())
            raise _wrong(
                path, row, name, found[name][row], f"a code of its codebook, 0 to {size - 1}"
            )
    wanted = None if item_ids is None else of_one_type(item_ids)
    own = _own_ids(path, frame, wanted)
    _check_unique(path, own)
    rows = _rows_of(path, own, own if wanted is None else wanted)
    ids = SemanticIDs(
        torch.from_numpy(np.stack([found[name][rows] for name in codes], 1)), codebook_sizes
    )
    expected = ids.ids[:, -1].numpy()
    _check_equal(path, rows, "disambiguation", found["disambiguation"][rows], expected)
    titles = frame["title"].astype(str).to_numpy(dtype=object)[rows]
    written = ids.to_frame(own[rows], titles.tolist())["semantic_id"]
    semantic_ids = frame["semantic_id"].astype(str).to_numpy(dtype=object)[rows]
    _check_equal(path, rows, "semantic_id", semantic_ids, written.to_numpy(dtype=object))
    return IDTable(ids, own[rows], titles.tolist())


def _read(path: Path, names: list[str]) -> pd.DataFrame:
    """Read a file's table. The fields of a CSV stay strings, so they can be checked as written."""
    reason: Exception
    with path.open("rb") as file:  # raises OSError for a missing file
        try:
            if path.suffix.lower() == ".parquet":
                found, frame = _read_parquet(file, names)
            else:
                # Read the header first, up to a limit: random bytes may have 100,000 columns.
                header = file.readline(2**14).decode("utf-8-sig", "ignore").rstrip("\r\n")
                found = header.replace('"', "").split(",")
                frame = pd.DataFrame()
                if found == names:
                    file.seek(0)
                    frame = read_text_csv(file)
                    found = list(frame.columns)  # a quotation mark inside a name is part of it
        except (OSError, ValueError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # without an errno, it is pyarrow's error about a damaged file
            reason = error
        else:
            _check_columns(path, found, names)
            if not len(frame):
                raise ValueError(f"{path} has no rows, expected one per item: write it again")
            return frame
    raise ValueError(
        f"{path} is not a table of semantic IDs ({_short(' '.join(str(reason).split()), 120)}): "
        "write it again with rqvae-lib inference-rqvae"
    )


def _read_parquet(file: BinaryIO, names: list[str]) -> tuple[list[str], pd.DataFrame]:
    """Return a file's column names, and its table if the names are those of a table of IDs.

    What pandas stored in the file, such as an index, is ignored: only the columns count.
    """
    with pq.ParquetFile(file) as parquet:
        found = [str(name) for name in parquet.schema_arrow.names]
        if found != names:
            return found, pd.DataFrame()
        # Repeated values take almost no space, so a small file can unpack to more than the memory.
        rows, size = parquet.metadata.num_rows, file.seek(0, 2)
        if rows > size:
            raise ValueError(f"it holds {rows:,} rows in {size:,} bytes, so they cannot all differ")
        for name, kind in zip(found, parquet.schema_arrow.types, strict=True):
            # Without rows, a column may have no type. The caller reports the missing rows.
            if rows and not any(is_plain(kind) for is_plain in PLAIN_TYPES):
                raise ValueError(f"column {name!r} holds {kind}, not numbers or text")
        table = parquet.read()
        table.validate(full=True)  # checks, for example, that text is UTF-8
        return found, table.to_pandas(ignore_metadata=True)


def read_text_csv(file: BinaryIO) -> pd.DataFrame:
    """Read a CSV in UTF-8 with all fields as text.

    Raises:
        ValueError: if it is none, or a row is too long.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row is too long
        try:
            return pd.read_csv(
                file,
                dtype=str,
                encoding="utf-8-sig",
                index_col=False,
                keep_default_na=False,
                low_memory=False,
            )
        except pd.errors.ParserWarning as warning:
            raise ValueError(str(warning)) from None


def _check_columns(path: Path, found: list[str], expected: list[str]) -> None:
    """Raise ValueError for the first column that is missing, unknown, or out of place."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if found != expected:
        what = "has its columns in another order"
        if extra:
            what = f"has a column {_short(extra[0])!r}"
        if missing:
            what = f"has no column {missing[0]!r}"
        raise ValueError(
            f"{path} {what}; expected {', '.join(expected)}: write it again, or pass the sizes of "
            "the codebooks that it was written with"
        )


def _integers(path: Path, frame: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Return a column as (N,) int64, or raise ValueError for the first field that is not an int."""
    column = frame[name]
    if pd.api.types.is_signed_integer_dtype(column.dtype) and not column.hasnans:
        return column.to_numpy(np.int64)
    text = column.astype(str)
    whole = text.str.fullmatch("-?[0-9]+").fillna(False).to_numpy(bool)
    if whole.all():
        try:
            return text.to_numpy(dtype=object).astype(np.int64)
        except OverflowError:
            whole = np.array([-(2**63) <= int(field) < 2**63 for field in text])
    row = int((~whole).argmax())
    raise _wrong(path, row, name, column[row], "a whole number")


def _own_ids(path: Path, frame: pd.DataFrame, wanted: NDArray[Any] | None) -> NDArray[Any]:
    """Return the column of ids as (N,) int64 or Python strings, whichever type `wanted` has."""
    column = frame["item_id"]
    if wanted is not None and wanted.dtype == np.int64:
        return _integers(path, frame, "item_id")
    if pd.api.types.is_integer_dtype(column.dtype) and wanted is None:
        return _integers(path, frame, "item_id")
    text = column.astype(str)
    blank = (column.isna() | (text.str.strip() == "")).to_numpy(bool)
    if blank.any():
        raise _wrong(path, int(blank.argmax()), "item_id", "", "an id")
    written = path.suffix.lower() == ".csv" and text.str.fullmatch("0|-?[1-9][0-9]{0,18}").all()
    if wanted is None and written:
        numbers = [int(one) for one in text]
        if min(numbers) >= -(2**63) and max(numbers) < 2**63:
            return np.array(numbers, dtype=np.int64)
    if wanted is None and not pd.api.types.is_string_dtype(column.dtype):
        raise _wrong(path, 0, "item_id", column[0], "a whole number or text")
    return text.to_numpy(dtype=object)


def _check_unique(path: Path, item_ids: NDArray[Any]) -> None:
    """Raise ValueError for the first row with an item that an earlier row has."""
    repeated = pd.Series(item_ids).duplicated().to_numpy()
    if repeated.any():
        row = int(repeated.argmax())
        first = int((item_ids == item_ids[row]).argmax())
        expected = f"each item once, but row {first} has it already"
        raise _wrong(path, row, "item_id", item_ids[row], expected)


def _rows_of(path: Path, found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row of each wanted item, (N,) int64.

    Raises:
        ValueError: if a wanted item is missing, or there is an item that is not wanted.
    """
    rows = pd.Index(found).get_indexer(pd.Index(wanted))
    if (rows < 0).any():
        raise ValueError(
            f"{path}, column 'item_id': item {wanted[rows < 0][0]} is missing "
            f"({int((rows < 0).sum())} such items); expected a row for each item of the catalogue: "
            "write the file again from this catalogue"
        )
    extra = np.ones(len(found), dtype=bool)
    extra[rows] = False
    if extra.any():
        row = int(extra.argmax())
        raise _wrong(path, row, "item_id", found[row], "an item of the catalogue")
    return np.asarray(rows, dtype=np.int64)


def _check_equal(
    path: Path,
    rows: NDArray[np.int64],
    name: str,
    found: NDArray[np.generic],
    expected: NDArray[np.generic],
) -> None:
    """Raise ValueError for the first row whose field does not follow from the codes."""
    different = found != expected
    if different.any():
        place = int(different.argmax())
        why = f"{expected[place]}, which follows from the codes in this order of items"
        raise _wrong(path, int(rows[place]), name, found[place], why)


def _wrong(path: Path, row: int, name: str, found: object, expected: str) -> ValueError:
    return ValueError(
        f"{path}, row {row}, column {name!r}: found {_short(found)!r}, expected {expected}: fix "
        "the row, or write the file again"
    )


def _short(found: object, length: int = 40) -> str:
    """Return what was found as text, cut to at most `length` characters and an ellipsis."""
    text = str(found)
    return text if len(text) <= length else f"{text[:length]}…"
