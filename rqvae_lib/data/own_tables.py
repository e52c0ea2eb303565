"""Reads your own tables, in memory or from files of many formats, and checks them row by row.

A file from a shop or a library is rarely quite what its owner believes. Each column is checked as
it is read, and an error names the first wrong row, the column as the file calls it, and the value
in it. Rows are counted from 0, without the header, as in pandas.

Used by: `Dataset.from_tables`. Derived in: chapter 13.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.data.column_names import asked_columns
from rqvae_lib.data.item_texts import item_text, known
from rqvae_lib.data.plain_ids import AS_TEXT, plain_id
from rqvae_lib.data.plain_texts import joined_genres, listed, plain_column
from rqvae_lib.data.table_files import Source, is_delimited, read_table
from rqvae_lib.data.tables import FIX, ITEM_DTYPES, wrong_row
from rqvae_lib.data.time_columns import check_has_times, notes_with_times, times_or_order

MAX_TEXT = 2**20  # characters in one field
MAX_RATING = 1e30  # float32 can hold it
_PIECE = 2**20  # rows that are converted at a time


class Met(NamedTuple):
    """A table of interactions as it was read, in the order of its rows."""

    columns: dict[str, pd.Series]  # user_id, item_id, rating (float32), timestamp (int64)
    keys: NDArray[Any]  # (E,) what sorts the rows in time: finer than timestamps where the file is
    said: tuple[str, ...]  # what was taken for what


def read_interactions(
    source: Source,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
    time_unit: str | None = None,
) -> Met:
    """Read user_id, item_id, rating and timestamp from a table, in the order of its rows.

    Without timestamps in the table, row n is n seconds after 1970, so the order of the rows is the
    order in time.

    Args, Raises: as `Dataset.from_tables`.

    Returns:
        Ids as int64 or strings, or as categories of these, ratings as float32, timestamps as int64
        microseconds. Each column is a series of its own, so that each can be freed.
    """
    where = called(source, "interactions")
    read = read_table(
        source,
        needed=("user_id", "item_id"),
        optional=("rating", "timestamp"),
        columns=asked_columns(columns, "interactions"),
        separator=separator,
        header=header,
        where=where,
    )
    table = {name: _coded_ids(read.column(name), where) for name in ("user_id", "item_id")}
    table["rating"] = _ratings(read.get("rating"), where, len(read.frame))
    times_column = read.get("timestamp")
    check_has_times(times_column is not None, where, time_unit)
    times = times_or_order(times_column, range(len(read.frame)), where, time_unit)
    table["timestamp"] = pd.Series(times.microseconds, copy=False)
    notes = notes_with_times(read.said, read.theirs, where, times.reading)
    return Met(table, times.keys, notes)


def check_options(
    interactions: Source,
    items: Source | None,
    columns: Mapping[str, str] | None,
    separator: str | None,
    header: bool | None,
) -> None:
    """Refuse an option that would change nothing about how two tables are read."""
    if not any(is_delimited(source) for source in (interactions, items) if source is not None):
        for name, value in (("separator", separator), ("header", header)):
            if value is not None:
                raise ValueError(
                    f"{name} (--{name}) is for text files with a delimiter, such as .csv, and "
                    f"would change nothing about {called(interactions, 'interactions')}: leave it "
                    "out"
                )
    if items is None:
        for key in columns or {}:
            if key.startswith("items.") or key in ITEM_DTYPES.keys() - {"item_id"}:
                raise ValueError(
                    f"columns (--columns) has the key {key!r}, which is for a table of items, but "
                    "there is none: leave it out, or name the table with --items (in Python items)"
                )


def read_items(
    source: Source,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the columns of `ITEM_DTYPES` from a table, in the order of its rows.

    Titles, genres and texts become plain text: tags and entities of HTML are resolved. Genres may
    be lists, such as ["x", "y"], or text such as "x|y". A description follows title, year and
    genres in the text of an item that has no text of its own.

    Args, Raises: as `Dataset.from_tables`.

    Returns:
        Ids as int64 or strings, the other columns in the dtypes of `ITEM_DTYPES`. A missing text or
        genre is "". Also the sentences that say what was taken for what.
    """
    where = called(source, "items")
    read = read_table(
        source,
        needed=("item_id",),
        optional=("title", "year", "genres", "text", "description"),
        columns=asked_columns(columns, "items"),
        separator=separator,
        header=header,
        where=where,
    )
    ids = read_id_column(read.column("item_id"), where)
    repeated = ids.duplicated().to_numpy()
    if repeated.any():
        raise _wrong_at(ids, repeated, where, "an id that no earlier row has")
    table = pd.DataFrame({"item_id": ids.to_numpy() if ids.dtype == "int64" else ids.array})
    size = len(table)
    table["title"] = _texts(read.get("title"), where, size)
    table["year"] = _years(read.get("year"), where, size)
    table["genres"] = _genres(read.get("genres"), where, size).fillna("")
    table["text"] = _texts(read.get("text"), where, size, lists=True).fillna("")
    if (description := read.get("description")) is not None:
        described = _texts(description, where, size, lists=True)
        table["text"] = table["text"].mask(table["text"] == "", _with_description(table, described))
    return table.astype({name: ITEM_DTYPES[name] for name in table.columns[1:]}), read.said


def called(source: object, otherwise: str) -> str:
    """Return what a message calls a table: its path, or `otherwise` for one in memory or None."""
    return str(source) if isinstance(source, str | Path) else otherwise


def read_id_column(column: pd.Series, where: str) -> pd.Series:
    """Return ids as int64 or as strings. None may be missing.

    The same ids come out whatever held them: integers, whole floats and whole decimals are
    numbers; text, categories of text, UTF-8 bytes and UUIDs are strings.

    Args:
        column: the ids, under the name that messages use. Its index counts the rows.
        where: the table, for messages.
    """
    _check_present(column, where, "an id")
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _ids_of_categories(column, where)
    if pd.api.types.is_bool_dtype(column.dtype):
        raise _wrong_at(column, _all(column), where, "a whole number or text")
    kept_by_arrow = isinstance(column.dtype, pd.ArrowDtype) and column.dtype.kind == "O"
    if column.dtype == object or kept_by_arrow:  # the latter are decimals, bytes or the like
        column = _objects_as_ids(column, where)
    if pd.api.types.is_integer_dtype(column.dtype):
        large = (column > 2**63 - 1).to_numpy(bool)  # possible for unsigned integers
        if large.any():
            raise _wrong_at(column, large, where, "an id of 64 bits")
        return _not_negative(column.astype("int64"), where)
    if pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(np.float64)
        bad = ~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53)
        if bad.any():
            raise _wrong_at(column, bad, where, "a whole number or text")
        return _not_negative(column.astype("int64"), where)
    if not pd.api.types.is_string_dtype(column.dtype):
        raise _wrong_at(column, _all(column), where, "a whole number or text", AS_TEXT)
    text = column.astype("string")
    blank = (text.str.strip() == "").to_numpy(bool)
    if blank.any():
        raise _wrong_at(text.mask(blank, ""), blank, where, "an id")
    _check_length(text, where)
    return text


def _coded_ids(column: pd.Series, where: str) -> pd.Series:
    """Return ids as `read_id_column`, but categories as categories, which take far less memory."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return read_id_column(column, where)
    _check_present(column, where, "an id")
    places, distinct = _distinct_ids(column, where)
    return pd.Series(pd.Categorical.from_codes(places, categories=pd.Index(distinct)), copy=False)


def _ids_of_categories(column: pd.Series, where: str) -> pd.Series:
    """Check each category once, instead of each row."""
    places, distinct = _distinct_ids(column, where)
    return pd.Series(distinct.array.take(places), index=column.index, name=column.name, copy=False)


def _distinct_ids(column: pd.Series, where: str) -> tuple[NDArray[np.int32], pd.Series]:
    """Return the ids of the categories that occur, and the place of each row's id among them."""
    codes = column.cat.codes.to_numpy()  # (n,)
    first = np.flatnonzero(~pd.Series(codes).duplicated().to_numpy())  # rows of first appearance
    seen = column.cat.categories.take(codes[first])
    distinct = read_id_column(
        pd.Series(seen, index=column.index[first], name=str(column.name)), where
    )
    places = np.zeros(len(column.cat.categories), np.int32)
    places[codes[first]] = np.arange(len(first))
    return places[codes], distinct


def _objects_as_ids(column: pd.Series, where: str) -> pd.Series:
    """Return ids that are Python objects in a column of one dtype."""
    kinds = column.map(type)
    if not kinds.isin([int, str]).all():
        plain = [plain_id(value) for value in column]
        column = pd.Series(plain, index=column.index, name=column.name, dtype=object)
        kinds = column.map(type)
    other = (~kinds.isin([int, str])).to_numpy(bool)
    if other.any():
        raise _wrong_at(column, other, where, "a whole number or text", AS_TEXT)
    mixed = (kinds != kinds.iloc[0]).to_numpy(bool)
    if mixed.any():
        raise _wrong_at(column, mixed, where, "ids of one type, such as all text", AS_TEXT)
    if kinds.iloc[0] is str:
        return column.astype("string")
    large = column.map(lambda value: not -(2**63) <= value < 2**63).to_numpy(bool)
    if large.any():
        raise _wrong_at(column, large, where, "an id of 64 bits")
    return column.astype("int64")


def _not_negative(numbers: pd.Series, where: str) -> pd.Series:
    negative = (numbers < 0).to_numpy()
    if negative.any():
        raise _wrong_at(numbers, negative, where, "an id of 0 or more")
    return numbers


def _ratings(column: pd.Series | None, where: str, length: int) -> pd.Series:
    """Return finite numbers as float32, 1 where there are none."""
    ratings = np.ones(length, dtype=np.float32)
    if column is not None:
        _check_present(column, where, "a number")
        _check_kind(column, where, "mMc", "a number")
        for start in range(0, length, _PIECE):
            piece = column.iloc[start : start + _PIECE]
            numbers = pd.to_numeric(piece, errors="coerce").to_numpy(np.float64)
            for bad, expected in (
                (~np.isfinite(numbers), "a finite number"),
                (np.abs(numbers) > MAX_RATING, f"a number up to {MAX_RATING:g}"),
            ):
                if bad.any():
                    raise _wrong_at(piece, bad, where, expected)
            ratings[start : start + _PIECE] = numbers
    return pd.Series(ratings, copy=False)


def _years(column: pd.Series | None, where: str, length: int) -> pd.Series:
    """Return years as Int16, <NA> where they are missing."""
    if column is None:
        return pd.Series([pd.NA] * length, dtype="Int16")
    _check_kind(column, where, "mMcb", "a year, or nothing")
    numbers = pd.to_numeric(column, errors="coerce").astype("Float64")
    bad = (numbers.isna() & column.notna()) | (numbers % 1 != 0) | (numbers.abs() > 9999)
    wrong = bad.fillna(False).to_numpy(bool)
    if wrong.any():
        raise _wrong_at(column, wrong, where, "a year, or nothing")
    return numbers.astype("Int16")


def _texts(column: pd.Series | None, where: str, length: int, *, lists: bool = False) -> pd.Series:
    """Return a column as plain strings, <NA> where they are missing or blank.

    Args:
        column: text, under the name that messages use.
        where: the table, for messages.
        length: how many rows there are, if there is no column.
        lists: whether a cell may be a list of texts, which are joined by spaces.
    """
    if column is None:
        return pd.Series([pd.NA] * length, dtype="string")
    if lists:
        column = _without_lists(column, " ".join)
    text = _strings(column, where)
    text = plain_column(text)
    return text.mask((text.str.strip() == "").fillna(True))


def _genres(column: pd.Series | None, where: str, length: int) -> pd.Series:
    """Return categories as "a|b", <NA> where they are missing."""
    if column is None:
        return pd.Series([pd.NA] * length, dtype="string")
    text = _strings(_without_lists(column, joined_genres), where)
    text = plain_column(text)
    return text.mask((text.str.strip() == "").fillna(True))


def _without_lists(column: pd.Series, join: Callable[[list[str]], str]) -> pd.Series:
    """Return a column in which each list of texts is one text."""
    if column.dtype != object and not pd.api.types.is_string_dtype(column.dtype):
        return column
    if column.dtype != object:
        written = column.str.startswith("[").fillna(False).to_numpy(bool)
        if not written.any():
            return column
    cells = []
    known_cells: dict[str, Any] = {}  # a category comes again and again
    for cell in column:
        if isinstance(cell, str) and cell in known_cells:
            cells.append(known_cells[cell])
            continue
        texts = listed(cell)
        cells.append(cell if texts is None else join(texts))
        if isinstance(cell, str):
            known_cells[cell] = cells[-1]
    return pd.Series(cells, index=column.index, name=column.name, dtype=object)


def _strings(column: pd.Series, where: str) -> pd.Series:
    """Return a column of text as strings, <NA> where they are missing."""
    if column.dtype == object:
        other = (column.notna() & (~column.map(type).isin([str]))).to_numpy(bool)
        if other.any():
            raise _wrong_at(column, other, where, "text")
    text = _without_point(column).astype("string")
    _check_length(text, where)
    return text


def _without_point(column: pd.Series) -> pd.Series:
    """Return whole numbers as such, which pandas holds as floats where others are missing."""
    values = _kind_of_values(column)
    if values.kind != "f":
        return column
    numbers = column.astype("Float64")
    whole = bool((numbers.isna() | (numbers % 1 == 0) & (numbers.abs() <= 2**53)).all())
    return numbers.astype("Int64") if whole else column


def _kind_of_values(column: pd.Series) -> Any:
    """Return the dtype of a column's values, or of its categories."""
    kind = column.dtype
    return kind.categories.dtype if isinstance(kind, pd.CategoricalDtype) else kind


def _check_kind(column: pd.Series, where: str, kinds: str, expected: str) -> None:
    """Refuse a column of other kinds, such as times, that pandas would count as numbers."""
    if _kind_of_values(column).kind in kinds:
        present = column.notna().to_numpy(bool)
        if present.any():
            raise _wrong_at(column, present, where, expected, "name another column, or convert it")


def _with_description(table: pd.DataFrame, described: pd.Series) -> list[str]:
    """Return the sentence about each item, followed by its description."""
    texts = []
    columns = (table[name] for name in ("title", "year", "genres"))
    for title, year, genres, description in zip(*columns, described, strict=True):
        sentence = item_text(known(title), known(year), genres, "item")
        if pd.isna(description):
            texts.append("" if pd.isna(title) and not genres else sentence)
        else:
            texts.append(
                f"{'' if pd.isna(title) and not genres else sentence} {description}".strip()
            )
    return texts


def _check_length(text: pd.Series, where: str) -> None:
    long = (text.str.len() > MAX_TEXT).fillna(False).to_numpy(bool)
    if long.any():
        raise _wrong_at(text, long, where, f"at most {MAX_TEXT:,} characters")


def _check_present(column: pd.Series, where: str, expected: str) -> None:
    missing = column.isna().to_numpy(bool)
    if missing.any():
        row = int(column.index[int(missing.argmax())])
        raise wrong_row(where, row, str(column.name), None, expected)


def _all(column: pd.Series) -> NDArray[np.bool_]:
    return np.ones(len(column), dtype=np.bool_)


def _wrong_at(
    column: pd.Series, wrong: NDArray[np.bool_], where: str, expected: str, advice: str = FIX
) -> ValueError:
    """Return an error about the first wrong row of a column, whose index counts the rows."""
    place = int(wrong.argmax())
    row = int(column.index[place])
    return wrong_row(where, row, str(column.name), column.iloc[place], expected, advice)
