#!/usr/bin/env bash
# pyarrow 26: a CSV column of whole numbers also takes 0x10 and 007, and an open quote at the end takes the rest.
#
# Item ids in a file are text that often looks like numbers. A reader that types its columns (column_types=int64), or lets
# pyarrow find the types, relies on what counts as a number.
# Common wrong guess: what is not written like an integer makes the column text, or an error where int64 was asked for,
# as in pandas; and a quoted field that is never closed is an error.
# What happens: 0x10 becomes 16 and 007 becomes 7, typed or guessed, so two ids can become one; +2 is refused. A field
# that opens a quote in the last lines takes all that follows as its text, without an error. pandas keeps 0x10 as text
# and refuses the open quote. Read ids as strings, and check that the last row is the file's.
#
# Seen with pyarrow 26.0.1 and pandas 3.1.1 on Python 3.11:
#   ids 16, 0x10, 7, 007: pyarrow [16, 16, 7, 7]; pandas ['16', '0x10', '7', '007']
#   open quote: pyarrow ['2\n3,4\n']; pandas ParserError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pyarrow==26.0.1" "pandas==3.1.1" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import io

import pandas as pd
import pyarrow as pa
from pyarrow import csv

ids = b"item\n16\n0x10\n7\n007\n"
quote = b'a,b\n1,"2\n3,4\n'


def by_pandas(text: bytes) -> object:
    try:
        return [str(value) for value in pd.read_csv(io.BytesIO(text)).iloc[:, -1]]
    except pd.errors.ParserError as error:
        return type(error).__name__


print("pyarrow", pa.__version__, "pandas", pd.__version__)
options = csv.ParseOptions(newlines_in_values=True)
guessed = csv.read_csv(io.BytesIO(ids))["item"].to_pylist()
types = csv.ConvertOptions(column_types={"item": pa.int64()})
typed = csv.read_csv(io.BytesIO(ids), convert_options=types)["item"].to_pylist()
opened = csv.read_csv(io.BytesIO(quote), parse_options=options)["b"].to_pylist()
print(f"ids 16, 0x10, 7, 007: pyarrow {guessed}; pandas {by_pandas(ids)}")
print(f"open quote: pyarrow {opened}; pandas {by_pandas(quote)}")
assert guessed == typed == [16, 16, 7, 7], "this has changed"
assert by_pandas(ids) == ["16", "0x10", "7", "007"], "this has changed"
assert opened == ["2\n3,4\n"] and by_pandas(quote) == "ParserError", "this has changed"
PY
