"""Reads tables of JSON: one object a line, or one list of objects.

Old data sets write Python literals in place of JSON, with quotes such as 'this'. They are parsed as
data and never executed.

pyarrow parses lines fast if the first of them show the kind of each wanted column and all others
follow. Otherwise each line is parsed by Python, which also finds the bad line if there is one.

Used by: `read_table`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json as pajson

from rqvae_lib.data.arrow_columns import from_arrow
from rqvae_lib.data.literals import parsed, whole_text
from rqvae_lib.data.packed_files import open_unpacked

JSON = (".json", ".jsonl", ".ndjson")
MAX_LINE_BYTES = 2**24
MAX_LIST_BYTES = 2**30  # of a file that is one list: it is parsed as a whole
FIRST_LINES = 100
_KEY = re.compile(rb"""(?<!\\)["']([^"'\\]{1,64})["']\s*:""")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def column_names(path: Path) -> list[str]:
    """Return the keys of all objects, in the order in which they come.

    Raises:
        ValueError: if the file is empty, or a line that was read is not an object.
    """
    names: dict[str, None] = {}
    for row in _rows(path) if _is_list(path) or _has_later_keys(path) else _first_rows(path):
        names |= dict.fromkeys(row)
    return list(names)


def _has_later_keys(path: Path) -> bool:
    """Return whether a line behind the first ones may have a key that they do not have.

    The text is searched, not parsed, so keys within values count too.
    """
    known: set[bytes] = set()
    with open_unpacked(path) as file:
        for _ in range(FIRST_LINES):
            known.update(_KEY.findall(file.readline(MAX_LINE_BYTES)))
        rest = b""
        while block := file.read(2**22):
            *whole, rest = (rest + block).rsplit(b"\n", 1)
            if whole and not known.issuperset(_KEY.findall(whole[0])):
                return True
            if len(rest) > MAX_LINE_BYTES:  # too long a line, which is refused where it is read
                return False
        return not known.issuperset(_KEY.findall(rest))


def read_columns(path: Path, theirs: Mapping[str, str]) -> dict[str, pd.Series]:
    """Read the wanted columns of a file.

    Args:
        path: the file.
        theirs: the library's name → the key in the objects.

    Returns:
        By the library's name, each value as the file has it: a number, text or a list. What an
        object lacks is missing.

    Raises:
        ValueError: if a line is not an object; the message names the row.
    """
    first = [] if _is_list(path) else _first_rows(path)
    types = {own: _type([row.get(own) for row in first]) for own in theirs.values()}
    if first and all(type_ is not None for type_ in types.values()):
        with suppress(pa.ArrowInvalid), open_unpacked(path) as file:
            table = pajson.read_json(
                pa.PythonFile(file, mode="r"),
                pajson.ReadOptions(block_size=MAX_LINE_BYTES),
                pajson.ParseOptions(
                    explicit_schema=pa.schema(list(types.items())),
                    unexpected_field_behavior="ignore",
                ),
            )
            return {name: from_arrow(table.column(own)) for name, own in theirs.items()}
    values: dict[str, list[Any]] = {own: [] for own in theirs.values()}
    for row in _rows(path):
        for own, column in values.items():
            column.append(row.get(own))
    return {name: _series(values[own]) for name, own in theirs.items()}


def _first_rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    for row in _rows(path):
        rows.append(row)
        if len(rows) == FIRST_LINES:
            break
    return rows


def _type(values: list[Any]) -> pa.DataType | None:
    """Return the Arrow type that holds a column of which these are the first values."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {str} or not kinds:
        return pa.string()
    if kinds == {int}:
        return pa.int64()
    if kinds == {int, float} or kinds == {float}:
        return pa.float64()
    if kinds == {list}:
        inner = _type([value for values_ in values if values_ for value in values_])
        return None if inner is None else pa.list_(inner)
    return None


def _series(values: list[Any]) -> pd.Series:
    """Return a column with a plain dtype if all its values are of one kind."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int} and None not in values:
        with suppress(OverflowError):
            return pd.Series(values, dtype="int64")
    if kinds and kinds <= {int, float}:
        with suppress(OverflowError):
            return pd.Series(values, dtype="float64")
    return pd.Series([whole_text(value) for value in values], dtype=object)


def _is_list(path: Path) -> bool:
    with open_unpacked(path) as file:
        return file.read(2**10).removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"["


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file."""
    number = -1
    for number, row in enumerate(_list(path) if _is_list(path) else _lines(path)):
        value = _parsed(path, number, row) if isinstance(row, bytes) else row
        if not isinstance(value, dict):
            raise _wrong(path, number, row)
        yield value
    if number < 0:
        what = "is empty" if not path.stat().st_size else "has no rows"
        raise ValueError(f"{path} {what}, expected a table: check where it comes from")


def _lines(path: Path) -> Iterator[bytes]:
    with open_unpacked(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(
                    f"{path}, row {number}: found more than {MAX_LINE_BYTES:,} bytes, expected "
                    "one object a line: fix or drop the row"
                )
            line = line.removeprefix(BYTE_ORDER_MARK) if not number else line
            if line.strip():
                yield line
                number += 1


def _list(path: Path) -> list[Any]:
    content = bytearray()
    with open_unpacked(path) as file:
        while piece := file.read(2**20):
            content += piece
            if len(content) > MAX_LIST_BYTES:
                raise ValueError(
                    f"{path} is one list of more than {MAX_LIST_BYTES:,} bytes, expected one "
                    "object a line: convert the file"
                )
    try:
        found: list[Any] = json.loads(content.removeprefix(BYTE_ORDER_MARK))
        return found
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not JSON ({str(error)[:100]}), expected a list of objects, or one object "
            "a line: fix the file"
        ) from error


def _parsed(path: Path, number: int, line: bytes) -> Any:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}, row {number} is not UTF-8 text ({error.reason} at byte {error.start} of its "
            "line), expected UTF-8: convert the file"
        ) from error
    found = parsed(text)
    # Python also writes names that are no text, and complex numbers, which no column holds.
    if isinstance(found, dict) and not any(
        not isinstance(name, str) or isinstance(value, complex) for name, value in found.items()
    ):
        return found
    raise _wrong(path, number, line)


def _wrong(path: Path, number: int, found: Any) -> ValueError:
    shown = found.decode("utf-8", "replace").strip() if isinstance(found, bytes) else repr(found)
    shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
    return ValueError(
        f"{path}, row {number}: found {shown!r}, expected an object in JSON, one a line: fix or "
        "drop the row"
    )
