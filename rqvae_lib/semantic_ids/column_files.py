"""IDs in a table: a column of item ids, and a column for each level or one column for all of them.

A .csv file has a column for each level, or one with codes such as "17,4,203"; a .parquet file may
also have a column of lists. Which column is which is known by its name.

Used by: the export and the import of IDs.
"""

import csv
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.semantic_ids.files import read_text_csv
from rqvae_lib.semantic_ids.numbering import LARGEST, Numbers, WrittenIDs, ragged, shown, wrong
from rqvae_lib.semantic_ids.tokens import WrongToken, read_tokens, split_tokens

ITEM_COLUMNS = ("item_id", "pid", "base62_string", "iid")
LISTS = ("codes", "token_ids", "codebook", "sid", "semantic_id")  # all levels in one column
LEVEL = re.compile(r"(?:codebook_lv|code_|level_)([0-9]{1,3})")
OWN = ("item_id", "title"), ("disambiguation", "semantic_id")  # around the codes of `write_ids`
KNOWN = (
    "a column of ids (" + ", ".join(ITEM_COLUMNS) + ") and either codebook_lv1, codebook_lv2, … "
    "or one of " + ", ".join(LISTS)
)
MANY_LEVELS = 256


# In


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns.

    Raises:
        ValueError: if the file is no such table.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        if path.suffix.lower() == ".csv":
            # Up to a limit: random bytes may have 100,000 columns.
            header = file.readline(2**14).decode("utf-8-sig", "ignore").rstrip("\r\n")
            try:
                return next(csv.reader([header]), [])
            except csv.Error as error:
                raise _damaged(path, error) from error
        try:
            with pq.ParquetFile(file) as parquet:
                return [str(name) for name in parquet.schema_arrow.names]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise _damaged(path, error) from error


def is_id_table(path: Path) -> bool:
    """Tell whether a file looks as if `write_ids` had written it.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        return is_own(columns_of(path))
    except ValueError:
        return False


def is_own(columns: list[str]) -> bool:
    """Tell whether a table's columns are those that `write_ids` writes."""
    before, after = OWN
    num_levels = len(columns) - len(before) - len(after)
    codes = (f"code_{level}" for level in range(1, num_levels + 1))
    return num_levels > 0 and columns == [*before, *codes, *after]


def read_columns(path: Path) -> tuple[WrittenIDs, str]:
    """Read a .csv or .parquet table of IDs.

    Returns:
        What the file says, and a sentence about its columns.

    Raises:
        ValueError: if it is no such table; the message names the row and the column.
        OSError: if it cannot be read.
    """
    found = columns_of(path)
    key = next((name for name in ITEM_COLUMNS if name in found), None)
    levels = sorted(
        (name for name in found if LEVEL.fullmatch(name)),
        key=lambda name: int(LEVEL.fullmatch(name)[1]),  # type: ignore[index]
    )
    lists = [name for name in LISTS if name in found]
    if key is None or not (levels or lists) or len(set(found)) < len(found):
        some = ", ".join(found)
        raise ValueError(
            f"{path} has the columns {shown(some, 120)}, expected {KNOWN}: rename them"
        )
    numbered = [int(LEVEL.fullmatch(name)[1]) for name in levels]  # type: ignore[index]
    if levels and numbered not in (first := [*range(len(levels))], [one + 1 for one in first]):
        raise ValueError(
            f"{path} has the columns {shown(', '.join(levels), 120)}, expected one for each level, "
            "numbered from 0 or 1 without a gap: add what is missing, or rename them"
        )
    if len(levels) > MANY_LEVELS:
        raise ValueError(
            f"{path} has {len(levels):,} columns of codes, expected at most {MANY_LEVELS}"
        )
    names = [key, *(levels or lists[:1])]
    table = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path, names)
    if not table.num_rows:
        raise ValueError(f"{path} has no rows, expected one for each item: make it again")
    keys = _keys(path, table.column(key), key)
    others = [name for name in found if name not in names]
    about = f"a table: items from {key!r}, codes from {', '.join(map(repr, names[1:]))}"
    about += f"; not read: {shown(', '.join(others), 80)}" if others else ""
    if levels:
        columns = [_integers(path, table.column(name), name) for name in levels]
        lengths = np.full(table.num_rows, len(levels), dtype=np.int64)
        numbers = Numbers(np.stack(columns, 1), lengths)
        return WrittenIDs(str(path), numbers, keys, "row", (*levels,)), about
    numbers, named = _one_column(path, table.column(lists[0]), lists[0], keys)
    return WrittenIDs(str(path), numbers, keys, "row", levels_named=named), about


def _damaged(path: Path, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return error  # without an errno, it is pyarrow's error about a damaged file
    reason = " ".join(str(error).split())[:160]
    return ValueError(f"{path} is not a table of IDs ({reason}), expected {KNOWN}: make it again")


def _read_csv(path: Path) -> pa.Table:
    try:
        with path.open("rb") as file:
            frame = read_text_csv(file)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return pa.Table.from_pandas(frame, preserve_index=False)


def _read_parquet(path: Path, names: list[str]) -> pa.Table:
    with path.open("rb") as file:
        try:
            _check_size(file, names)
            file.seek(0)
            table = pq.read_table(file, columns=names, use_pandas_metadata=False)
            table.validate(full=True)  # checks, for example, that text is UTF-8
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise _damaged(path, error) from error
    return table


def _check_size(file: BinaryIO, names: list[str]) -> None:
    """Refuse a small file that unpacks to more than the memory: repeated values take no space."""
    size = file.seek(0, 2)
    file.seek(0)
    with pq.ParquetFile(file) as parquet:
        metadata = parquet.metadata
        if metadata.num_rows > size:
            raise ValueError(
                f"it holds {metadata.num_rows:,} rows in {size:,} bytes, so they cannot all differ"
            )
        # Look at each value without keeping it: what is damaged is an error here, where pyarrow 26
        # ends the process if a damaged description is asked for.
        parquet.scan_contents(names)
        columns = [
            column
            for column in range(metadata.num_columns)
            if metadata.schema.column(column).path.split(".")[0] in names
        ]
        for group in range(metadata.num_row_groups):
            for column in columns:
                values = metadata.row_group(group).column(column).num_values
                if values > MANY_LEVELS * max(metadata.num_rows, 1):
                    raise ValueError(f"it holds {values:,} values for {metadata.num_rows:,} rows")


def _keys(path: Path, column: pa.ChunkedArray, name: str) -> NDArray[Any]:
    """Return the ids as (N,) int64 or Python strings. None may be missing or blank."""
    kind = column.type
    if pa.types.is_integer(kind):
        return _integers(path, column, name, lowest=-(2**63), largest=2**63 - 1, what="an id")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        ids: NDArray[Any] = column.to_pandas().to_numpy(dtype=object)
        blank = np.array([not isinstance(one, str) or not one.strip() for one in ids], dtype=bool)
        if blank.any():
            raise wrong(str(path), f"row {int(blank.argmax())}", f"column {name!r}", "", "an id")
        return ids
    raise ValueError(f"{path}, column {name!r} holds {kind}, expected whole numbers or text")


def _integers(
    path: Path,
    column: pa.ChunkedArray,
    name: str,
    lowest: int = 0,
    largest: int = LARGEST,
    what: str = f"a code from 0 to {LARGEST:,}",
) -> NDArray[np.int64]:
    """Return a column of whole numbers as (N,) int64."""
    kind = column.type
    where = f"column {name!r}"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = column.to_pandas()
        whole = text.str.fullmatch("[0-9]{1,10}").fillna(False).to_numpy(bool)
        if not whole.all():
            row = int((~whole).argmax())
            more = f" ({int((~whole).sum()):,} such rows)" if (~whole).sum() > 1 else ""
            raise wrong(str(path), f"row {row}", where, column[row].as_py(), what + more)
        numbers = column.cast(pa.int64()).to_numpy()
    elif pa.types.is_integer(kind):
        if column.null_count:
            row = int(np.asarray(column.is_null()).argmax())
            raise wrong(str(path), f"row {row}", where, None, what)
        numbers = column.to_numpy()
    else:
        raise ValueError(f"{path}, {where} holds {kind}, expected whole numbers: make it again")
    outside = (numbers < lowest) | (numbers > largest)
    if outside.any():
        row = int(outside.argmax())
        raise wrong(str(path), f"row {row}", where, numbers[row], what)
    codes: NDArray[np.int64] = numbers.astype(np.int64)
    return codes


def _one_column(
    path: Path, column: pa.ChunkedArray, name: str, keys: NDArray[Any]
) -> tuple[Numbers, bool]:
    """Return the numbers of a column with all levels in it: lists, "1,2,3", or tokens."""
    kind, where = column.type, f"column {name!r}"
    if column.null_count:
        row = int(np.asarray(column.is_null()).argmax())
        raise wrong(str(path), f"row {row}", where, None, "an ID")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _of_texts(path, column.to_pylist(), where)
    if not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ) or not (
        pa.types.is_integer(kind.value_type)
        or pa.types.is_string(kind.value_type)
        or pa.types.is_large_string(kind.value_type)
    ):
        raise ValueError(f"{path}, {where} holds {kind}, expected lists of whole numbers, or text")
    lists = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
    counted = np.asarray(pa.compute.list_value_length(lists), dtype=np.int64)
    if not counted.all():
        raise wrong(
            str(path), f"row {int((counted == 0).argmax())}", where, [], "at least one code"
        )
    values = lists.flatten()
    if values.null_count:
        place = int(np.asarray(values.is_null()).argmax())
        row = int(np.searchsorted(np.cumsum(counted), place, "right"))
        raise wrong(str(path), f"row {row}", where, lists[row].as_py(), "codes, none missing")
    if not pa.types.is_integer(kind.value_type):
        try:
            return read_tokens(values.to_pylist(), counted)
        except WrongToken as error:
            raise wrong(str(path), f"row {error.row}", where, error.found, error.expected) from None
    numbers = values.to_numpy(zero_copy_only=False)
    outside = (numbers < 0) | (numbers > LARGEST)
    if outside.any():
        place = int(outside.argmax())
        row = int(np.searchsorted(np.cumsum(counted), place, "right"))
        expected = f"codes from 0 to {LARGEST:,}"
        raise wrong(str(path), f"row {row}", where, lists[row].as_py(), expected)
    return ragged(numbers.astype(np.int64), counted), False


def _of_texts(path: Path, texts: list[str], where: str) -> tuple[Numbers, bool]:
    """Return the numbers of texts such as "17,4,203", "[17, 4, 203]" or "<s_a_17><s_b_4>"."""
    bare = [text.strip().removeprefix("[").removesuffix("]").strip() for text in texts]
    if re.fullmatch(r"[0-9]+(?:\s*[,\-|\s]\s*[0-9]+)*", bare[0]):
        found = re.search(r"[0-9]\s*([,\-|])", bare[0])
        between = rf"\s*{re.escape(found[1])}\s*" if found else r"\s+"
        whole = re.compile(rf"[0-9]{{1,10}}(?:{between}[0-9]{{1,10}})*")
        for row, text in enumerate(bare):
            if not whole.fullmatch(text):
                separator = found[1] if found else " "
                expected = f"codes with {separator!r} between them"
                raise wrong(str(path), f"row {row}", where, texts[row], expected)
        parts = [re.findall("[0-9]+", text) for text in bare]
        lengths = np.array([len(one) for one in parts], dtype=np.int64)
        numbers = np.array([int(one) for row in parts for one in row], dtype=np.int64)
        return ragged(numbers, lengths), False
    try:
        tokens, lengths = split_tokens(texts)
        return read_tokens(tokens, lengths)
    except WrongToken as error:
        raise wrong(str(path), f"row {error.row}", where, error.found, error.expected) from None


# Out


def write_lists(
    path: Path, item_ids: NDArray[Any], numbers: Numbers, flat: NDArray[np.int64]
) -> None:
    """Write a .parquet table with the columns pid and codes, a list for each item."""
    offsets = np.concatenate([[0], np.cumsum(numbers.lengths)])
    codes = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(flat, pa.int64()))
    small = len(flat) < 2**31
    table = pa.table(
        {
            "pid": pa.array(item_ids.tolist() if item_ids.dtype == object else item_ids),
            "codes": codes.cast(pa.list_(pa.int64())) if small else codes,
        }
    )
    with write_atomically(path) as temporary:
        pq.write_table(table, temporary)


def write_item_to_sid(
    path: Path,
    item_ids: NDArray[Any],
    table: NDArray[np.int64],
    with_offsets: NDArray[np.int64],
    places: NDArray[np.int64],
) -> None:
    """Write TorchEasyRec's table: a row for each item, with its codes and its place among equals.

    Args:
        path: a .csv file, where the codes of an item are joined by commas, or a .parquet file with
            lists.
        item_ids: (N,).
        table, with_offsets: (N, L), the codes, and the codes with each level's offset.
        places: (N,), the number of earlier items with the same codes.
    """
    is_csv = path.suffix.lower() == ".csv"
    columns: dict[str, Any] = {"item_id": item_ids}
    named = {"origin_codebook": table, "codebook": table, "offset_codebook": with_offsets}
    for name, codes in named.items():
        rows = codes.tolist()
        columns[name] = [",".join(map(str, row)) for row in rows] if is_csv else rows
    columns["index"] = places
    if is_csv:
        _write_csv(path, pd.DataFrame(columns), item_ids)
        return
    columns["item_id"] = item_ids.tolist()
    with write_atomically(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def write_levels(path: Path, item_ids: NDArray[Any], table: NDArray[np.int64]) -> None:
    """Write a .csv table with the columns item_id, codebook_lv1, codebook_lv2, …"""
    names = [f"codebook_lv{level}" for level in range(1, table.shape[1] + 1)]
    frame = pd.DataFrame(table, columns=names)
    frame.insert(0, "item_id", item_ids)
    _write_csv(path, frame, item_ids)


def _write_csv(path: Path, frame: pd.DataFrame, item_ids: NDArray[Any]) -> None:
    # Python's csv does not quote a lone carriage return, where readers would end the row.
    returns = item_ids.dtype == object and any("\r" in one for one in item_ids)
    with write_atomically(path) as temporary:
        frame.to_csv(
            temporary,
            index=False,
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
        )
