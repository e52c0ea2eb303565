"""Reads your own tables, as DataFrames, CSV or Parquet, and checks them row by row.

A file from a shop or a library is rarely quite what its owner believes. Each column is checked as
it is read, and an error names the first wrong row and the value in it. Rows are counted from 0,
without the header, as in pandas.

Used by: `Dataset.from_tables`. Derived in: chapter 13.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rqvae_lib.data.tables import ITEM_DTYPES, wrong_row
from rqvae_lib.data.times import MICROSECONDS, Times, read_times

MAX_TEXT = 2**20  # characters in one field
SEPARATORS = {".csv": ",", ".tsv": "\t"}
MAX_RATING = 1e30  # float32 can hold it
_PIECE = 2**20  # rows that are converted at a time
NAMES = ("user_id", "item_id", "rating", "timestamp", "title", "year", "genres", "text")


class Met(NamedTuple):
    """A table of interactions as it was read, in the order of its rows."""

    columns: dict[str, pd.Series]  # user_id, item_id, rating (float32), timestamp (int64)
    keys: NDArray[Any]  # (E,) what sorts the rows in time: finer than timestamps where the file is
    notes: tuple[str, ...]  # what was taken for what


def read_interactions(
    source: pd.DataFrame | str | Path,
    columns: Mapping[str, str],
    time_unit: str | None = None,
) -> Met:
    """Read user_id, item_id, rating and timestamp from a table, in the order of its rows.

    Without timestamps in the table, row n is n seconds after 1970, so the order of the rows is the
    order in time.

    Args, Raises: as `Dataset.from_tables`.

    Returns:
        Ids as int64 or strings, ratings as float32, timestamps as int64 microseconds. Each column
        is a series of its own, so that each can be freed.
    """
    where = called(source, "interactions")
    found = _read(source, where, ("user_id", "item_id"), ("rating", "timestamp"), columns)
    text = _is_text_file(source)
    table = {name: _ids(found[name], where, text) for name in ("user_id", "item_id")}
    table["rating"] = _ratings(found.get("rating"), where, len(found))
    times, said = _times(found.get("timestamp"), where, columns, time_unit, len(found))
    table["timestamp"] = pd.Series(times.microseconds, copy=False)
    return Met(table, times.keys, (said,))


def _times(
    column: pd.Series | None,
    where: str,
    columns: Mapping[str, str],
    time_unit: str | None,
    length: int,
) -> tuple[Times, str]:
    """Return the times, and the sentence that is said of them."""
    if column is not None:
        theirs = columns.get("timestamp", "timestamp")
        times = read_times(column, where, time_unit, theirs)
        renamed = "" if theirs == "timestamp" else f"the column {theirs!r}, "
        return times, f"timestamp is {renamed}{times.said}"
    if time_unit is not None:
        raise ValueError(
            f"{where} has no timestamps, so time_unit {time_unit!r} (--time-unit) would change "
            "nothing: leave it out, or name the column of times"
        )
    order = np.arange(length, dtype=np.int64) * MICROSECONDS
    said = "no column holds times, so the order of the rows is taken for it"
    return Times(order, order, said), said


def read_items(source: pd.DataFrame | str | Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read the columns of `ITEM_DTYPES` from a table, in the order of its rows.

    Args, Raises: as `Dataset.from_tables`.

    Returns:
        Ids as int64 or strings, the other columns in the dtypes of `ITEM_DTYPES`. A missing text or
        genre is "".
    """
    where = called(source, "items")
    optional = ("title", "year", "genres", "text")
    found = _read(source, where, ("item_id",), optional, columns)
    table = pd.DataFrame({"item_id": _ids(found["item_id"], where, _is_text_file(source))})
    repeated = table["item_id"].duplicated()
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        raise wrong_row(
            where, row, "item_id", table["item_id"][row], "an id that no earlier row has"
        )
    for name in optional:
        if name == "year":
            table[name] = _years(found.get(name), where, len(table))
        else:
            table[name] = _texts(found.get(name), where, name, len(table))
    for name in ("genres", "text"):
        table[name] = table[name].fillna("")
    return table.astype({name: ITEM_DTYPES[name] for name in optional})


def called(source: pd.DataFrame | str | Path | None, otherwise: str) -> str:
    """Return what a message calls a table: its path, or `otherwise` for a DataFrame or None."""
    return str(source) if isinstance(source, str | Path) else otherwise


def _read(
    source: pd.DataFrame | str | Path,
    where: str,
    needed: tuple[str, ...],
    optional: tuple[str, ...],
    columns: Mapping[str, str],
) -> pd.DataFrame:
    """Return the requested columns of a table, renamed to the library's names."""
    unknown = [name for name in columns if name not in NAMES]
    if unknown:
        raise ValueError(
            f"columns has the key {unknown[0]!r}, expected keys among {', '.join(NAMES)}: write "
            "{the library's name: your table's name}"
        )
    frame = source if isinstance(source, pd.DataFrame) else _read_file(Path(source))
    names = [str(name) for name in frame.columns]
    for name in (*needed, *optional):
        theirs = columns.get(name, name)
        if names.count(theirs) > 1:
            raise ValueError(
                f"{where} has the column {theirs!r} twice, expected it once: rename or drop one"
            )
        if theirs not in names and (name in needed or name in columns):
            raise ValueError(
                f"{where} has no column {theirs!r}, only {', '.join(names)[:200]!r}; expected it "
                f"for {name}: rename a column, or in Python pass columns={{{name!r}: …}}"
            )
    frame = frame.set_axis(names, axis=1)
    if not len(frame):
        raise ValueError(f"{where} has no rows, expected at least one: check where it comes from")
    wanted = {name: columns.get(name, name) for name in (*needed, *optional)}
    found = {name: frame[theirs] for name, theirs in wanted.items() if theirs in names}
    return pd.DataFrame(found).reset_index(drop=True)


def _read_file(path: Path) -> pd.DataFrame:
    """Read a file's table. The fields of a CSV stay strings; an empty field counts as missing."""
    if path.suffix not in (*SEPARATORS, ".parquet"):
        raise ValueError(
            f"{path} ends in {path.suffix!r}, expected .csv, .tsv or .parquet: name such a file"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, expected a file: check the spelling")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty, expected a table: check where it comes from")
    kind = f"a {path.suffix[1:]} table"
    try:
        if path.suffix == ".parquet":
            # Ignore what pandas stored in the file, such as an index: only the columns count.
            columns = pq.ParquetFile(path).read()  # accepts a column name that occurs twice
            frame: pd.DataFrame = columns.to_pandas(ignore_metadata=True)
            return frame
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row is too long
            frame = _read_text(path)
            # pandas renames a column whose name occurs twice, so the header is read separately.
            header = _read_text(path, header=None, nrows=1).iloc[0]
            return frame.set_axis(header.fillna("").tolist(), axis=1)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}), expected UTF-8: "
            "convert the file"
        ) from error
    except (ValueError, OSError, pd.errors.ParserWarning, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # without an errno, it is pyarrow's error about a damaged file
        raise ValueError(
            f"{path} is not {kind} ({' '.join(str(error).split())[:160]}), expected one: fix the "
            "file"
        ) from error


def _read_text(path: Path, **options: Any) -> pd.DataFrame:
    frame: pd.DataFrame = pd.read_csv(
        path,
        sep=SEPARATORS[path.suffix],
        dtype=str,
        encoding="utf-8-sig",
        index_col=False,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
        **options,
    )
    return frame


def _is_text_file(source: pd.DataFrame | str | Path) -> bool:
    return not isinstance(source, pd.DataFrame) and Path(source).suffix in SEPARATORS


def _ids(column: pd.Series, where: str, written: bool) -> pd.Series:
    """Return ids as int64 or as strings. None may be missing.

    Args:
        column: numbers or strings.
        where: the table, for messages.
        written: whether numbers are strings too, as in a CSV.
    """
    _check_present(column, where, "an id")
    if pd.api.types.is_integer_dtype(column.dtype):
        large = (column > 2**63 - 1).to_numpy(bool)  # possible for unsigned integers
        if large.any():
            row = int(large.argmax())
            raise wrong_row(where, row, str(column.name), column[row], "an id of 64 bits")
        return _not_negative(column.astype("int64"), where)
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(np.float64)
        bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53)
        if bad.any():
            row = int(bad.argmax())
            raise wrong_row(where, row, str(column.name), column[row], "a whole number or text")
        return _not_negative(column.astype("int64"), where)
    if column.dtype == object:
        kinds = column.map(type)
        other = ~kinds.isin([str]) if kinds[0] is str else kinds != kinds[0]
        if other.any() or not (kinds[0] is str or issubclass(kinds[0], int | np.integer)):
            row = int(other.to_numpy().argmax())
            raise wrong_row(
                where, row, str(column.name), column[row], "ids of one type, such as all text"
            )
        if kinds[0] is not str:
            return _ids(column.map(str), where, True)
    elif not (pd.api.types.is_string_dtype(column.dtype) or column.dtype == "category"):
        raise wrong_row(where, 0, str(column.name), column[0], "a whole number or text")
    text = column.astype("string")
    blank = (text.str.strip() == "").to_numpy(bool)
    if blank.any():
        raise wrong_row(where, int(blank.argmax()), str(column.name), "", "an id")
    _check_length(text, where)
    # Convert only strings that a number would be written as: "007" is not 7.
    if written and text.str.fullmatch("0|-?[1-9][0-9]{0,17}").all():
        return _not_negative(text.astype("int64"), where)
    return text


def _not_negative(numbers: pd.Series, where: str) -> pd.Series:
    if (numbers < 0).any():
        row = int((numbers < 0).to_numpy().argmax())
        raise wrong_row(where, row, str(numbers.name), numbers[row], "an id of 0 or more")
    return numbers


def _ratings(column: pd.Series | None, where: str, length: int) -> pd.Series:
    """Return finite numbers as float32, 1 where there are none."""
    ratings = np.ones(length, dtype=np.float32)
    if column is not None:
        _check_present(column, where, "a number")
        for start in range(0, length, _PIECE):
            piece = column.iloc[start : start + _PIECE]
            numbers = pd.to_numeric(piece, errors="coerce").to_numpy(np.float64)
            for bad, expected in (
                (~np.isfinite(numbers), "a finite number"),
                (np.abs(numbers) > MAX_RATING, f"a number up to {MAX_RATING:g}"),
            ):
                if bad.any():
                    row = start + int(bad.argmax())
                    raise wrong_row(where, row, str(column.name), column.iloc[row], expected)
            ratings[start : start + _PIECE] = numbers
    return pd.Series(ratings, copy=False)


def _years(column: pd.Series | None, where: str, length: int) -> pd.Series:
    """Return years as Int16, <NA> where they are missing."""
    if column is None:
        return pd.Series([pd.NA] * length, dtype="Int16")
    numbers = pd.to_numeric(column, errors="coerce").astype("Float64")
    bad = (numbers.isna() & column.notna()) | (numbers % 1 != 0) | (numbers.abs() > 9999)
    wrong = bad.fillna(False).to_numpy(bool)
    if wrong.any():
        row = int(wrong.argmax())
        raise wrong_row(where, row, "year", column[row], "a year, or nothing")
    return numbers.astype("Int16")


def _texts(column: pd.Series | None, where: str, name: str, length: int) -> pd.Series:
    """Return a column as strings, <NA> where they are missing or blank."""
    if column is None:
        return pd.Series([pd.NA] * length, dtype="string")
    if column.dtype == object:
        other = (column.notna() & (~column.map(type).isin([str]))).to_numpy(bool)
        if other.any():
            row = int(other.argmax())
            raise wrong_row(where, row, name, column[row], "text")
    text = column.astype("string")
    _check_length(text, where)
    return text.mask((text.str.strip() == "").fillna(True))


def _check_length(text: pd.Series, where: str) -> None:
    long = (text.str.len() > MAX_TEXT).fillna(False).to_numpy(bool)
    if long.any():
        row = int(long.argmax())
        raise wrong_row(where, row, str(text.name), text[row], f"at most {MAX_TEXT:,} characters")


def _check_present(column: pd.Series, where: str, expected: str) -> None:
    missing = column.isna().to_numpy(bool)
    if missing.any():
        raise wrong_row(where, int(missing.argmax()), str(column.name), "nothing", expected)
