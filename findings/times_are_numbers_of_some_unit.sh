#!/usr/bin/env bash
# pandas 3.1: to_numeric takes times for numbers, in the unit that the column happens to have.
#
# A reader of interactions makes sure that ratings and timestamps are numbers with pd.to_numeric(column), which raises
# for text that is none.
# Common wrong guess: a column of datetimes is refused, or becomes nanoseconds, as it was for years.
# What happens: it becomes the integers inside, without an error, also for time spans. Their unit is the column's: the
# same moment is 1577836800, or a thousand, a million or a billion times that. to_datetime itself chooses the unit by
# the data: microseconds for most texts and for whole seconds, nanoseconds as soon as one number of seconds has a
# fraction. So one more row can make all times a thousand times later. Ask for the type first (is_datetime64_any_dtype)
# and convert with .dt.as_unit.
#
# Seen with pandas 3.1.1 on Python 3.11:
#   datetime64[s] 1577836800, [ms] 1577836800000, [us] 1577836800000000, [ns] 1577836800000000000
#   to_datetime of whole seconds 1577836800000000, with a fraction in another row 1577836800000000000
#   a span of a day 86400000000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pandas==3.1.1"
"$folder/venv/bin/python" - <<'PY'
import pandas as pd

print("pandas", pd.__version__)
day = pd.Series(["2020-01-01"])
units = {u: int(pd.to_numeric(day.astype(f"datetime64[{u}]"))[0]) for u in ("s", "ms", "us", "ns")}
print(", ".join(f"datetime64[{unit}] {number}" for unit, number in units.items()))
whole = int(pd.to_numeric(pd.to_datetime(pd.Series([1577836800, 5]), unit="s"))[0])
fraction = int(pd.to_numeric(pd.to_datetime(pd.Series([1577836800, 5.5]), unit="s"))[0])
print(f"to_datetime of whole seconds {whole}, with a fraction in another row {fraction}")
span = int(pd.to_numeric(pd.to_timedelta(pd.Series(["1 day"])))[0])
print("a span of a day", span)
seconds = 1577836800
assert units == {u: seconds * 1000**i for i, u in enumerate(units)}, "this has changed"
assert (whole, fraction) == (seconds * 10**6, seconds * 10**9), "this has changed"
assert span == 86400 * 10**6, "this has changed"
PY
