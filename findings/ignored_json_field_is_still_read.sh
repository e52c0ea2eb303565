#!/usr/bin/env bash
# pyarrow 26: a JSON field that is to be ignored can still make the whole file unreadable.
#
# Published reviews are JSON lines with a dozen fields, of which a recommender wants three. pyarrow.json reads only these
# with an explicit schema and unexpected_field_behavior="ignore".
# Common wrong guess: what stands in the other fields cannot matter.
# What happens: every string is decoded first. One review with a lone surrogate escape in its text (half of an emoji that
# somebody cut off, valid JSON, which Python's json reads) and the file is refused, though the text is ignored.
#
# Seen with pyarrow 26.0.1 on Python 3.11:
#   Python's json: item B01; pyarrow, the text ignored: ArrowInvalid; pyarrow, the escape written as a pair: B01
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pyarrow==26.0.1"
"$folder/venv/bin/python" - <<'PY'
import io
import json

import pyarrow as pa
from pyarrow import json as arrow_json


def read(line: str) -> str:
    options = arrow_json.ParseOptions(
        explicit_schema=pa.schema([("item", pa.string())]), unexpected_field_behavior="ignore"
    )
    try:
        table = arrow_json.read_json(io.BytesIO(line.encode()), parse_options=options)
    except pa.ArrowInvalid as error:
        return type(error).__name__
    return table["item"][0].as_py()


half = r'{"item": "B01", "text": "so good \ud83d"}' + "\n"
pair = r'{"item": "B01", "text": "so good \ud83d\ude00"}' + "\n"
print("pyarrow", pa.__version__)
seen = json.loads(half)["item"], read(half), read(pair)
print(
    f"Python's json: item {seen[0]}; pyarrow, the text ignored: {seen[1]}; "
    f"pyarrow, the escape written as a pair: {seen[2]}"
)
assert seen == ("B01", "ArrowInvalid", "B01"), "this has changed"
PY
