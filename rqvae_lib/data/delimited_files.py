"""Reads the wanted columns of a text file with a delimiter.

pyarrow parses in blocks, so that a file of any length takes little more memory than its columns. A
type is never guessed from a part of a column: ids stay text unless all of them are plain whole
numbers, and a column of numbers with one field that is none becomes text as a whole.

Used by: `read_table`.
"""

import codecs
import csv
import io
import re
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from rqvae_lib.data.delimited_layouts import SEPARATORS, Layout, csv_rows
from rqvae_lib.data.packed_files import endings, open_unpacked

BLOCK_BYTES = 2**24  # a row may be as long
LAST = "\x04"  # a row of our own after the last one: if a quote is left open, it is not read as one
STAND_IN = "\x1f"  # for a separator of several characters, which pyarrow does not know
PLAIN = "^(0|-?[1-9][0-9]{0,17})$"  # how a whole number is written: "007" is not 7
# What the fields of a column are: tried in this order, the whole column at a time.
KINDS = {"user_id": "id", "item_id": "id", "timestamp": "whole", "rating": "number"}
TYPES = {
    "id": pa.dictionary(pa.int32(), pa.string()),
    "whole": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
}
SMALL = {  # the types of pieces of numbers, and the type of the whole column
    **{pa.int32(): pa.int64(), pa.int64(): pa.int64()},
    **{pa.float32(): pa.float64(), pa.float64(): pa.float64()},
}
WEAKER = {"whole": "number", "number": "text"}


class _NotOfItsKind(Exception):
    """A column has a field that its kind cannot hold."""


def read_columns(path: Path, layout: Layout, theirs: Mapping[str, str]) -> dict[str, pd.Series]:
    """Read the wanted columns of a file.

    Args:
        path: the file.
        layout: as `find_layout` returns it.
        theirs: the library's name → the column's name.

    Returns:
        By the library's name: ids as int64 if all of them are plain whole numbers, otherwise as
        categories of text; timestamps as int64 or float64 and ratings as float64 if all of them are
        numbers; all else as text. An empty field is missing. The words of genres in RecBole's
        token_seq, which are separated by spaces, are separated by "|".

    Raises:
        ValueError: if a row has another number of fields than the header, a quote is not closed, or
            the file is not UTF-8.
    """
    kinds = {name: KINDS.get(name, "text") for name in theirs}
    while True:
        try:
            columns = _read(path, layout, theirs, kinds)
            break
        except _NotOfItsKind as error:
            wrong = [name for name in theirs if name in error.args]
            for name in wrong or theirs:
                kinds[name] = WEAKER.get(kinds[name], kinds[name])
    if layout.types.get(theirs.get("genres", "")) == "token_seq":
        columns["genres"] = columns["genres"].str.split().str.join("|")
    return columns


def _read(
    path: Path, layout: Layout, theirs: Mapping[str, str], kinds: Mapping[str, str]
) -> dict[str, pd.Series]:
    places = {name: str(layout.names.index(own)) for name, own in theirs.items()}
    last = ["0"] * len(layout.names)
    for name, place in places.items():
        last[int(place)] = LAST if kinds[name] in ("id", "text") else "0"
    columns = {name: _Ids() if kinds[name] == "id" else _Column() for name in theirs}
    separator = layout.separator if len(layout.separator) == 1 else STAND_IN
    stream = _Rows(path, layout, separator.join(last).encode())
    try:
        with (
            stream,
            pacsv.open_csv(
                pa.PythonFile(stream, mode="r"),
                pacsv.ReadOptions(
                    column_names=[str(place) for place in range(len(layout.names))],
                    block_size=BLOCK_BYTES,
                ),
                pacsv.ParseOptions(
                    delimiter=separator,
                    quote_char='"' if layout.quoted else False,
                    newlines_in_values=layout.quoted,
                ),
                pacsv.ConvertOptions(
                    column_types={place: TYPES[kinds[name]] for name, place in places.items()},
                    include_columns=list(dict.fromkeys(places.values())),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            ) as batches,
        ):
            held = None  # the last batch ends in our own row
            for batch in batches:
                if held is not None:
                    _add(columns, places, held)
                held = batch if batch.num_rows else held
    except pa.ArrowInvalid as error:
        raise _refusal(path, layout, theirs, str(error)) from error
    ended = held is not None and all(
        held.column(place)[-1].as_py() == (0 if kinds[name] in ("whole", "number") else LAST)
        for name, place in places.items()
    )
    if held is None or not ended:
        raise ValueError(
            f"{path} is not a {endings(path)[0][1:]} table (a quote is opened and not closed), "
            "expected one: close it, or write a quote that is part of the text twice"
        )
    _add(columns, places, _without_the_last_row(held))
    return {name: columns.pop(name).series() for name in theirs}


def _add(columns: Mapping[str, Any], places: Mapping[str, str], batch: pa.RecordBatch) -> None:
    if batch.num_rows:
        for name, place in places.items():
            columns[name].add(batch.column(place))


def _without_the_last_row(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [column.slice(0, batch.num_rows - 1) for column in batch.columns]
    # A dictionary must not keep the value of our own row.
    arrays = [
        array.dictionary_decode().dictionary_encode()
        if isinstance(array, pa.DictionaryArray)
        else array
        for array in arrays
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


class _Column:
    """The pieces of a column, each in the smallest type that holds it exactly."""

    def __init__(self) -> None:
        self._pieces: list[pa.Array] = []

    def add(self, piece: pa.Array) -> None:
        self._pieces.append(_small(piece))

    def series(self) -> pd.Series:
        """Return the column. Its pieces are given up, one by one, to save memory."""
        pieces, self._pieces = self._pieces, []
        kinds = {piece.type for piece in pieces}
        if not pieces or not kinds <= set(SMALL) or any(piece.null_count for piece in pieces):
            whole = [piece.cast(SMALL.get(piece.type, piece.type)) for piece in pieces]
            column = pa.chunked_array(whole, None if whole else pa.string())
            series: pd.Series = column.to_pandas()
            return series
        kind = SMALL[pieces[0].type]
        values = np.empty(sum(map(len, pieces)), kind.to_pandas_dtype())
        end = len(values)
        while pieces:
            piece = pieces.pop()
            values[end - len(piece) : end] = piece.to_numpy()
            end -= len(piece)
        pa.default_memory_pool().release_unused()
        return pd.Series(values, copy=False)


class _Ids(_Column):
    """The pieces of a column of ids: whole numbers as long as all of them are written as such."""

    def __init__(self) -> None:
        super().__init__()
        self._plain = True

    def add(self, piece: pa.Array) -> None:
        if not isinstance(piece, pa.DictionaryArray):  # the column is also read as text
            piece = piece.dictionary_encode()
        if self._plain and (piece.null_count or not _are_plain(piece.dictionary)):
            self._plain = False
            # Plain numbers are written in one way only, so nothing was lost.
            self._pieces = [
                numbers.cast(pa.string()).dictionary_encode() for numbers in self._pieces
            ]
        if self._plain:
            piece = piece.dictionary.cast(pa.int64()).take(piece.indices)
        super().add(piece)

    def series(self) -> pd.Series:
        """Return the column. Its pieces are given up."""
        if self._plain:
            return super().series()
        column = pa.chunked_array(self._pieces).unify_dictionaries()
        self._pieces = []
        series: pd.Series = column.to_pandas()
        return series


def _small(piece: pa.Array) -> pa.Array:
    """Return numbers in 32 bits if they are the same there."""
    if piece.type == pa.int64():
        with suppress(pa.ArrowInvalid):
            return piece.cast(pa.int32())
    if piece.type == pa.float64():
        small = piece.cast(pa.float32())
        if small.cast(pa.float64()).equals(piece):
            return small
    return piece


class _Rows(io.RawIOBase):
    """The rows of a file as pyarrow can parse them, with a last row of our own."""

    def __init__(self, path: Path, layout: Layout, last: bytes) -> None:
        self._pieces = _pieces(path, layout, last)
        self._one_at_a_time = threading.Lock()  # pyarrow reads ahead, in a thread of its own

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next piece, of any length."""
        with self._one_at_a_time:
            return next(self._pieces, b"")

    def close(self) -> None:
        with self._one_at_a_time:
            self._pieces.close()
        super().close()


def _pieces(path: Path, layout: Layout, last: bytes) -> Generator[bytes, None, None]:
    mark, ended, held = layout.separator.encode(), True, b""
    with open_unpacked(path) as file:
        file.read(layout.start)
        while piece := file.read(BLOCK_BYTES - len(mark)):
            if len(mark) > 1:
                if STAND_IN.encode() in piece:
                    raise ValueError(
                        f"{path} holds the byte 1F, expected none in a file that is separated by "
                        f"{layout.separator!r}: remove it"
                    )
                *parts, end = (held + piece).split(mark)
                cut = next((n for n in range(len(mark) - 1, 0, -1) if end.endswith(mark[:n])), 0)
                held = end[len(end) - cut :]  # it may be the beginning of a separator
                piece = STAND_IN.encode().join([*parts, end[: len(end) - cut]])
            if piece:
                ended = piece.endswith((b"\n", b"\r"))
                yield piece
    if held or not ended:
        yield held + b"\n"
    yield last + b"\n"


def _are_plain(texts: pa.Array) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, PLAIN), min_count=0).as_py())


# What is wrong


def _refusal(path: Path, layout: Layout, theirs: Mapping[str, str], said: str) -> Exception:
    """Turn what pyarrow says into an error that says where and what to do."""
    if kind := re.search(r"In CSV column #(\d+): .*conversion error to (int64|double)", said):
        place = layout.names[int(kind[1])]
        return _NotOfItsKind(*(name for name, own in theirs.items() if own == place))
    if "invalid UTF8" in said and (problem := _first_bad_byte(path)) is not None:
        return problem
    if "straddling" in said:
        return ValueError(
            f"{path} has a row of more than {BLOCK_BYTES:,} bytes, expected shorter ones: check "
            "that each quote is closed"
        )
    if "Expected" in said and (problem := _first_row_of_another_width(path, layout)) is not None:
        return problem
    kind_of_table = f"a {endings(path)[0][1:]} table"
    return ValueError(
        f"{path} is not {kind_of_table} ({' '.join(said.split())[:160]}), expected one: fix the "
        "file"
    )


def _first_bad_byte(path: Path) -> ValueError | None:
    decoder, before = codecs.getincrementaldecoder("utf-8")(), 0
    with open_unpacked(path) as file:
        while True:
            piece = file.read(BLOCK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                return ValueError(
                    f"{path} is not UTF-8 text ({error.reason} at byte "
                    f"{before - pending + error.start}), expected UTF-8: convert the file"
                )
            if not piece:
                return None
            before += len(piece)


def _first_row_of_another_width(path: Path, layout: Layout) -> ValueError | None:
    width = len(layout.names)
    with open_unpacked(path) as file:
        file.read(layout.start)
        lines = io.TextIOWrapper(file, "latin-1", newline="")
        if len(layout.separator) > 1:
            rows: Iterator[list[str]] = (
                line.rstrip("\r\n").split(layout.separator) for line in lines if line.strip("\r\n")
            )
        else:
            rows = csv_rows(lines, layout.separator, layout.quoted)
        try:
            for number, row in enumerate(row for row in rows if row):
                if len(row) != width:
                    mark = SEPARATORS.get(layout.separator, repr(layout.separator))
                    return ValueError(
                        f"{path}, row {number}: found {len(row)} "
                        f"{'field' if len(row) == 1 else 'fields'}, expected {width} "
                        f"(separated by {mark}): fix or drop the row"
                    )
        except csv.Error:  # a very long field
            pass
    return None
