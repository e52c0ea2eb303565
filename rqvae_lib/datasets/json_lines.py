"""Reads files of one JSON object a line fast, and names the first bad line if there is one.

pyarrow parses such a file at hundreds of megabytes per second. It refuses a few files that are
valid, such as those with half of a surrogate pair in a text. Therefore, whatever pyarrow refuses is
read again, line by line, which either works or finds the bad line.

Used by: Amazon reviews and Yelp.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.json as pajson

from rqvae_lib.data.literals import whole_text
from rqvae_lib.datasets.text_files import AGAIN, check_there, lines

TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "texts": pa.list_(pa.string()),
}
_SPELLED = {
    "string": "text",
    "int64": "a whole number",
    "float64": "a finite number",
    "texts": "a list of texts",
}


def columns_of_json(
    path: Path, kinds: Mapping[str, str], optional: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return some fields of all objects, one row per object, in the order of the file.

    Args:
        path: the file, plain text or .gz.
        kinds: the fields that each object has, and what they hold: "string", "int64", "float64" or
            "texts", a list of strings.
        optional: likewise, the fields that may be absent or null.

    Returns:
        One column per field: strings as "string", lists as arrays or lists of strings, and
        what is absent as a missing value.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if a line is not an object with these fields; the message names the file, the
            line and the field.
    """
    check_there(path)
    optional = optional or {}
    every = {**kinds, **optional}
    try:
        table = pajson.read_json(
            str(path),
            read_options=pajson.ReadOptions(block_size=2**24),
            parse_options=pajson.ParseOptions(
                explicit_schema=pa.schema([(name, TYPES[kind]) for name, kind in every.items()]),
                unexpected_field_behavior="ignore",
            ),
        )
        table.validate(full=True)  # UTF-8 too
        if any(table.column(name).null_count for name in kinds):
            raise pa.ArrowInvalid("a field is absent")
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # without an errno, it is pyarrow's error about a damaged .gz
        table = _line_by_line(path, kinds, optional)
    if not table.num_rows:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): pd.StringDtype()}.get)
    return frame


def object_of(path: Path, number: int, line: str, expected: str) -> dict[str, Any]:
    """Return the object that a line holds, or raise ValueError.

    Args:
        path, number, line: as `lines` yields them.
        expected: what the message says was expected, such as "a review as JSON".
    """
    found: Any = None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise line_wrong(path, number, line, expected) from error
    if not isinstance(found, dict):
        raise line_wrong(path, number, line, expected)
    return found


def line_wrong(path: Path, number: int, line: str, expected: str) -> ValueError:
    """Return the error for a line that is something else than expected."""
    return ValueError(f"{path}, line {number}: found {line[:60]!r}, expected {expected}: {AGAIN}")


def field_wrong(path: Path, number: int, name: str, found: object, expected: str) -> ValueError:
    """Return the error for a field of a line that is something else than expected."""
    return ValueError(
        f"{path}, line {number}: {name} is {repr(found)[:60]}, expected {expected}: {AGAIN}"
    )


def _line_by_line(path: Path, kinds: Mapping[str, str], optional: Mapping[str, str]) -> pa.Table:
    every = {**kinds, **optional}
    columns: dict[str, list[Any]] = {name: [] for name in every}
    for number, line in lines(path):
        found = object_of(path, number, line, "an object as JSON")
        for name, kind in every.items():
            value = found.get(name)
            if value is None and name in optional:
                columns[name].append(None)
                continue
            if not _is(kind, value):
                raise field_wrong(path, number, name, value, _SPELLED[kind])
            columns[name].append(whole_text(value))
    return pa.table(
        {name: pa.array(columns[name], type=TYPES[kind]) for name, kind in every.items()}
    )


def _is(kind: str, value: object) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "texts":
        return isinstance(value, list) and all(isinstance(text, str) for text in value)
    if isinstance(value, bool):
        return False
    if kind == "int64":
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
