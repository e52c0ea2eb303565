#!/usr/bin/env bash
# polars 2.1, pyarrow 26: a table of polars becomes an Arrow table that Arrow cannot turn into pandas or plain text.
#
# A catalogue's genres are lists of text, and its brands are categories. polars hands them to Arrow without a copy
# (pyarrow.table(frame)), and a library that takes "any Arrow table" goes on with to_pandas or cast.
# Common wrong guess: what pyarrow accepts as a table, pyarrow can convert; text is text.
# What happens: polars sends text as string_view. A plain column of it works. A list of it cannot become pandas, and a
# category of it can be neither cast nor decoded, though to_pandas works there. Cast the lists inside
# (large_list<string_view> to large_list<large_string>), and send a category through pandas.
#
# Seen with polars 2.1.0 and pyarrow 26.0.1 on Python 3.11:
#   title (string_view): ['x', 'y']
#   genres (large_list<item: string_view>): to_pandas ArrowNotImplementedError; cast first: [['a', 'b'], ['c']]
#   brand (dictionary): cast ArrowNotImplementedError; to_pandas ['n', 'n']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "polars==2.1.0" "pyarrow==26.0.1" "pandas==3.1.1" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
from collections.abc import Callable

import polars as pl
import pyarrow as pa


def seen(make: Callable[[], object]) -> object:
    try:
        return make()
    except pa.ArrowNotImplementedError as error:
        return type(error).__name__


frame = pl.DataFrame({"title": ["x", "y"], "genres": [["a", "b"], ["c"]], "brand": ["n", "n"]})
table = pa.table(frame.with_columns(pl.col("brand").cast(pl.Categorical)))
title, genres, brand = (table.column(name) for name in ("title", "genres", "brand"))
plain = pa.large_list(pa.large_string())
found = (
    title.to_pandas().tolist(),
    seen(lambda: genres.to_pandas().tolist()),
    seen(lambda: [list(row) for row in genres.cast(plain).to_pandas()]),
    seen(lambda: brand.cast(pa.string()).to_pylist()),
    seen(lambda: brand.to_pandas().tolist()),
)
print("polars", pl.__version__, "pyarrow", pa.__version__)
print(f"title ({title.type}): {found[0]}")
print(f"genres ({genres.type}): to_pandas {found[1]}; cast first: {found[2]}")
print(f"brand (dictionary): cast {found[3]}; to_pandas {found[4]}")
refused = "ArrowNotImplementedError"
assert found == (["x", "y"], refused, [["a", "b"], ["c"]], refused, ["n", "n"]), "this has changed"
PY
