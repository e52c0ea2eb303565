"""Reads a column of times: which unit its numbers are in, and which moments they name.

Files write times as seconds, milliseconds, microseconds or nanoseconds since 1970, as numbers with
a fraction, as dates, or as text. Inside the library a time is a whole number of microseconds since
1970-01-01 UTC. No log of a recommender is from before 1990 or after 2100, and between these years
a number of seconds has other digits than one of milliseconds. So the size of a number tells its
unit, and a number that fits no unit is refused.

Used by: own tables. Derived in: chapter 13.
"""

import re
from contextlib import suppress
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rqvae_lib.data.tables import wrong_row

TimeUnit = Literal["s", "ms", "us", "ns", "order", "date"]
WORDS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "order": "an order, not as dates",
}
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9, "order": 1}
MICROSECONDS = 10**6  # in a second
EARLIEST, LATEST = 631_152_000, 4_102_444_800  # seconds: the years 1990 to 2099, if not told
END = 7_258_118_400  # seconds: the year 2200, the end of what a date may be
SMALL = 10**8  # numbers below it are in no unit a date after 1990: they are an order
LARGEST_ORDER = 2**63 // MICROSECONDS - 1
OVERRULE = "name the unit with --time-unit (in Python time_unit), or fix or drop the row"
RENAME = "leave --time-unit (in Python time_unit) out, name another unit, or fix or drop the row"
DATE = "a date such as 2020-12-03 18:55:24"
_PIECE = 2**20  # rows that are converted at a time
_IN_NAMES = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanosecond", "nanoseconds"), "ns"),
}


class Reading(NamedTuple):
    """How a column of times was read. Written as text, it is "taken as seconds: …", for people."""

    unit: str  # of `WORDS`, or "date"
    earliest: int  # microseconds
    latest: int
    zone: bool = False  # of dates: whether they name one
    found: bool = False  # whether the size of the numbers told the unit
    days: bool = False  # whether the numbers may be dates in digits, such as 20190222
    narrow: bool = False  # whether they are floats of 32 bits

    def joined(self, other: "Reading") -> "Reading":
        """Return how two pieces of one column were read, which have one unit."""
        return self._replace(
            earliest=min(self.earliest, other.earliest),
            latest=max(self.latest, other.latest),
            zone=self.zone or other.zone,
            days=self.days and other.days,
        )

    def __str__(self) -> str:
        words = WORDS.get(self.unit, "dates")
        if self.unit == "date" and not self.zone:
            words += " in UTC, since they name no zone"
        ends = np.array([self.earliest, self.latest])
        said = f"taken as {words}: {span(ends) if self.unit == 'order' else _days(ends)}"
        if self.unit == "order" and self.found:
            said += ", too small for dates after 1990 (--time-unit overrules this)"
            if self.days:
                said += "; if they are days, as in 20190222, pass --time-unit date"
        if self.narrow and self.unit != "order":
            said += "; in 32 bits, as these are, a time in seconds is only good to 128 seconds"
        return said


class Times(NamedTuple):
    """A column of times, in the order of the file."""

    microseconds: NDArray[np.int64]  # (E,) since 1970-01-01 UTC
    keys: NDArray[Any]  # (E,) what sorts the rows: finer than microseconds where the file is
    reading: Reading | None  # None: they are the order of the rows


def read_times(
    column: pd.Series, where: str, time_unit: str | None = None, name: str | None = None
) -> Times:
    """Return a column's times in microseconds since 1970-01-01 UTC, and say how they were read.

    Numbers may be whole or have a fraction, and may be written as text. Without `time_unit`, their
    size tells the unit: seconds, milliseconds, microseconds or nanoseconds of the years 1990 to
    2099. Numbers below 10⁸ are too small for any of them and are taken as an *order*: n becomes n
    seconds after 1970, and nobody should read it as a date. All numbers must have one unit. If the
    column's name ends in a unit, as `time_ms` does, it must be the same.

    Dates and ISO text such as 2014-04-07T10:51:09.277Z need no unit. Without a zone they are taken
    as UTC. They may lie between 1970 and 2199.

    A float64 number of seconds keeps six decimals until the year 2106. Nanoseconds are cut to
    microseconds, but `keys` still sorts them.

    Args:
        column: numbers, dates or text; its index counts the rows for messages.
        where: the table, for messages.
        time_unit: one of `TimeUnit`, or the format of the text for `strptime`, such as
            "%m/%d/%Y %I:%M:%S %p". "date" reads whole numbers such as 20190222 as dates.
        name: what messages call the column; by default its own name.

    Raises:
        ValueError: if a time is missing, negative or out of range, or no single unit fits; the
            message names the first wrong row.
    """
    name = str(column.name) if name is None else name
    check_time_unit(time_unit)
    missing = column.isna().to_numpy(bool)
    if missing.any():
        row = int(column.index[int(missing.argmax())])
        raise wrong_row(where, row, name, None, "a time")
    del missing
    reader = _Reader(column, where, name, time_unit)
    values = _as_arrow(column)
    if values is None:  # of several kinds
        kinds = column.map(type)
        row = int((kinds != kinds.iloc[0]).to_numpy().argmax())
        raise reader.wrong(row, f"numbers of one unit, or {DATE}, in all rows")
    kind = values.type
    if _is_text(kind):
        return reader.text(values)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return reader.dates(values)
    if pa.types.is_decimal(kind):
        return reader.numbers(pc.cast(values, pa.float64()).to_numpy())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if time_unit == "date" or _is_format(time_unit):
            return reader.text(reader.digits(values))
        return reader.numbers(values.to_numpy())
    raise reader.wrong(0, f"a number or {DATE}")


def check_time_unit(time_unit: str | None) -> None:
    """Raise ValueError unless it is None, one of `TimeUnit`, or a format with a "%"."""
    if time_unit is None or time_unit in get_args(TimeUnit) or _is_format(time_unit):
        return
    raise ValueError(
        f"time_unit is {time_unit!r}, expected one of {', '.join(get_args(TimeUnit))}, or the "
        "format of a date, such as '%m/%d/%Y %I:%M:%S %p'"
    )


def span(microseconds: NDArray[np.int64]) -> str:
    """Return the first and the last time, "2019-02-22 … 2023-11-30", or two numbers of an order."""
    if are_an_order(microseconds):
        return " … ".join(f"{time / MICROSECONDS:,.15g}" for time in _ends(microseconds))
    return _days(microseconds)


def are_an_order(microseconds: NDArray[np.int64]) -> bool:
    """Return whether times are too small for dates, so that they only tell which came first."""
    return bool(int(microseconds.max()) < SMALL * MICROSECONDS)


def moment(microseconds: int) -> str:
    """Return a time in UTC, "2019-02-22 10:51:09.277", without a fraction that is zero."""
    written = str(np.datetime64(microseconds, "us")).replace("T", " ")
    return written.rstrip("0").rstrip(".") if "." in written and written[-1] == "0" else written


class _Reader(NamedTuple):
    """A column that is read, and how to speak of it."""

    column: pd.Series
    where: str
    name: str
    time_unit: str | None

    def wrong(self, row: int, expected: str, advice: str = "fix or drop the row") -> ValueError:
        number = int(self.column.index[row])
        return wrong_row(self.where, number, self.name, self.column.iloc[row], expected, advice)

    def numbers(self, values: NDArray[Any]) -> Times:
        """Read whole or floating numbers, (E,)."""
        bad = ~np.isfinite(values) if values.dtype.kind == "f" else values < 0
        if bad.any() or (values < 0).any():
            row = int((bad | (values < 0)).argmax())
            raise self.wrong(row, "a time of 0 or more")
        unit = self.time_unit if self.time_unit not in (None, "date") else self._unit_of(values)
        assert unit is not None
        largest = (LARGEST_ORDER if unit == "order" else END) * PER_SECOND[unit]
        if values.max() >= largest:
            row = int((values >= largest).argmax())
            limit = "below 9·10¹²" if unit == "order" else "before the year 2200"
            raise self.wrong(
                row,
                f"{WORDS[unit].split(',')[0]} {limit}",
                OVERRULE if self.time_unit is None else RENAME,
            )
        microseconds = _scaled(values, PER_SECOND[unit])
        keys = microseconds if unit in ("s", "ms", "us") and values.dtype.kind != "f" else values
        reading = Reading(
            unit,
            *_ends(microseconds),
            found=self.time_unit is None,
            days=bool(values.min() >= 19_700_101 and values.max() <= 21_991_231),
            narrow=values.dtype == np.float32,
        )
        return Times(microseconds, keys, reading)

    def digits(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return whole numbers as text, to read 20190222 as a date."""
        numbers = values.to_numpy()
        whole = np.isfinite(numbers) & (numbers == np.floor(numbers))
        if not whole.all():
            raise self.wrong(int((~whole).argmax()), "a date in digits, such as 20190222")
        return pc.cast(pc.cast(values, pa.int64()), pa.large_string())

    def text(self, values: pa.ChunkedArray) -> Times:
        """Read text: numbers or dates."""
        if _is_format(self.time_unit):
            return self._formatted(values)
        if self.time_unit != "date":
            for kind in (pa.int64(), pa.float64()):
                with suppress(pa.ArrowInvalid):
                    return self.numbers(pc.cast(values, kind).to_numpy())
            numbers = pd.to_numeric(self.column, errors="coerce").to_numpy(np.float64)
            known = ~np.isnan(numbers)
            if self.time_unit is not None or known.mean() > 0.5:
                if known.all():
                    return self.numbers(numbers)
                raise self.wrong(int((~known).argmax()), "a number, as in other rows")
        return self.dates(self._parsed(values))

    def dates(self, values: pa.ChunkedArray) -> Times:
        """Read moments, with or without a zone."""
        if self.time_unit not in (None, "date") and not _is_format(self.time_unit):
            raise self.wrong(
                0,
                f"a number, since time_unit is {self.time_unit!r}",
                "leave --time-unit (in Python time_unit) out, or fix the rows",
            )
        kind = values.type
        zone = pa.types.is_timestamp(kind) and kind.tz is not None
        unit = kind.unit if pa.types.is_timestamp(kind) else "ms"
        if pa.types.is_date(kind):
            values = pc.cast(values, pa.timestamp(unit))
        ticks = pc.cast(values, pa.int64()).to_numpy()
        per_second = PER_SECOND[unit]
        outside = (ticks < 0) | (ticks >= END * per_second)
        if outside.any():
            raise self.wrong(int(outside.argmax()), "a date from 1970 to 2199")
        microseconds = _scaled(ticks, per_second)
        reading = Reading("date", *_ends(microseconds), zone=zone)
        return Times(microseconds, ticks if unit == "ns" else microseconds, reading)

    def _unit_of(self, values: NDArray[Any]) -> str:
        """Return the unit that fits all numbers, or raise for the first that differs."""
        readings = _readings(values.min()), _readings(values.max())
        if readings[0] is None or readings[0] != readings[1]:
            raise self._mixed(values)
        unit = readings[0]
        named = _unit_in(self.name)
        if named and unit not in (named, "order"):
            raise self.wrong(
                0,
                f"{WORDS[named]}, as the column's name says, but it has the size of {WORDS[unit]}",
                f"if it is that, pass --time-unit {unit} (in Python time_unit)",
            )
        return unit

    def _mixed(self, values: NDArray[Any]) -> ValueError:
        """Return what to raise where no unit fits all numbers: it names the first odd row."""
        bounds = {unit: _bounds(unit) for unit in WORDS}
        counts = {
            unit: int(((values >= low) & (values < high)).sum())
            for unit, (low, high) in bounds.items()
        }
        unit = max(counts, key=lambda name: counts[name])
        if not counts[unit]:
            return self.wrong(
                0,
                "a time since 1970 of the years 1990 to 2099, in seconds (10 digits), milliseconds "
                "(13), microseconds (16) or nanoseconds (19)",
                OVERRULE,
            )
        low, high = bounds[unit]
        row = int(((values < low) | (values >= high)).argmax())
        other = _readings(values[row])
        like = f", and this looks like {WORDS[other].split(',')[0]}" if other else ""
        most = "numbers that are an order" if unit == "order" else f"{WORDS[unit]} since 1970"
        return self.wrong(row, f"{most}, as in most rows{like}", OVERRULE)

    def _parsed(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return dates from ISO text. Those without a zone are UTC."""
        for kind in (pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("ns", "UTC")):
            with suppress(pa.ArrowInvalid):
                return pc.cast(values, kind)
        text = pd.Series(values.to_numpy(zero_copy_only=False), dtype=object)
        text = text.str.replace(r" ?(?:UTC|GMT)$", "Z", regex=True)  # as BigQuery writes
        dates = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        if dates.isna().any():
            row = int(dates.isna().to_numpy().argmax())
            raise self.wrong(
                row,
                f"{DATE}, or a number, in all rows",
                "name another format with --time-unit (in Python time_unit), as in '%d.%m.%Y', or "
                "fix or drop the row",
            )
        named = text.str.contains(r"[T ]\d.*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$", regex=True)
        return _chunked(pa.array(dates if named.any() else dates.dt.tz_localize(None)))

    def _formatted(self, values: pa.ChunkedArray) -> Times:
        text = pd.Series(values.to_numpy(zero_copy_only=False), dtype=object)
        dates = pd.to_datetime(
            text, errors="coerce", utc="%z" in str(self.time_unit).lower(), format=self.time_unit
        )
        if dates.isna().any():
            row = int(dates.isna().to_numpy().argmax())
            raise self.wrong(row, f"a date in the format {self.time_unit!r} (time_unit)")
        return self.dates(_chunked(pa.array(dates)))


def _ends(microseconds: NDArray[np.int64]) -> tuple[int, int]:
    return int(microseconds.min()), int(microseconds.max())


def _days(microseconds: NDArray[np.int64]) -> str:
    return " … ".join(moment(time)[:10] for time in _ends(microseconds))


def _as_arrow(column: pd.Series) -> pa.ChunkedArray | None:
    """Return a column as Arrow has it, or None if its values are of several kinds."""
    try:
        return _chunked(pa.array(column, from_pandas=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return None


def _chunked(values: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    whole = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    if pa.types.is_dictionary(whole.type):
        return pc.cast(whole, whole.type.value_type)
    return whole


def _is_text(kind: Any) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_format(time_unit: str | None) -> bool:
    return time_unit is not None and "%" in time_unit


def _bounds(unit: str) -> tuple[int, int]:
    """Return the smallest number of a unit, and the first that is too large."""
    if unit == "order":
        return 0, SMALL
    return EARLIEST * PER_SECOND[unit], LATEST * PER_SECOND[unit]


def _readings(number: Any) -> str | None:
    """Return the unit that a number's size fits. The ranges of no two units overlap."""
    fits = [unit for unit in WORDS if _bounds(unit)[0] <= number < _bounds(unit)[1]]
    return fits[0] if fits else None


def _unit_in(name: str) -> str | None:
    """Return the unit that a column's name ends in: "time_ms" and "timeMs" → "ms"."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+", name)
    return _IN_NAMES.get(words[-1].lower()) if len(words) > 1 else None


def _scaled(values: NDArray[Any], per_second: int) -> NDArray[np.int64]:
    """Return numbers in microseconds, piece by piece to save memory. Nanoseconds are cut."""
    scaled = np.empty(len(values), dtype=np.int64)
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        into = scaled[start : start + _PIECE]
        if piece.dtype.kind != "f":
            piece = piece.astype(np.int64)
            into[:] = (
                piece // (per_second // MICROSECONDS)
                if per_second > MICROSECONDS
                else piece * (MICROSECONDS // per_second)
            )
        elif per_second > MICROSECONDS:
            into[:] = np.floor(piece / (per_second // MICROSECONDS)).astype(np.int64)
        else:
            piece = piece.astype(np.float64)
            whole = np.floor(piece)  # apart, so that the product is not rounded to float64
            scale = MICROSECONDS // per_second
            into[:] = whole.astype(np.int64) * scale
            into += np.rint((piece - whole) * scale).astype(np.int64)
    return scaled
