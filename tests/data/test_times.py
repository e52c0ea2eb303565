"""Times: any list of moments comes back as itself, whatever unit a file has it in."""

import datetime as dt
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.times import EARLIEST, END, LATEST, Times, moment, read_times, span

SECOND = 10**6  # microseconds
moments = st.integers(EARLIEST * SECOND, LATEST * SECOND - 1)  # microseconds
lists = st.lists(moments, min_size=1, max_size=20)


def read(values: object, unit: str | None = None, name: str = "time", **options: object) -> Times:
    return read_times(pd.Series(values, **options), "a.csv", unit, name)  # type: ignore[call-overload]


def refused(values: object, unit: str | None = None, name: str = "time", **options: object) -> str:
    with pytest.raises(ValueError, match=re.escape("a.csv, row ")) as caught:
        read(values, unit, name, **options)
    return str(caught.value)


# Numbers


@settings(max_examples=60, deadline=None)
@given(lists, st.sampled_from(["s", "ms", "us", "ns"]), st.booleans(), st.booleans())
def test_numbers_of_any_unit_come_back(
    times: list[int], unit: str, as_text: bool, told: bool
) -> None:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    written = [time * per_second // SECOND for time in times]
    expected = [number * SECOND // per_second for number in written]
    found = read(
        [str(number) for number in written] if as_text else written, unit if told else None
    )
    assert found.microseconds.dtype == np.int64
    assert found.microseconds.tolist() == expected
    word = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
    assert str(found.reading) == f"taken as {word}: {span(found.microseconds)}"
    order = np.argsort(found.keys, kind="stable").tolist()
    assert order == sorted(range(len(written)), key=lambda row: written[row])


@settings(max_examples=60, deadline=None)
@given(lists, st.booleans())
def test_seconds_with_a_fraction_keep_six_decimals(times: list[int], as_text: bool) -> None:
    written = [f"{time // SECOND}.{time % SECOND:06d}" for time in times]
    values = written if as_text else [float(text) for text in written]
    assert read(values).microseconds.tolist() == times
    assert np.argsort(read(values).keys, kind="stable").tolist() == sorted(
        range(len(times)), key=lambda row: times[row]
    )
    assert read([Decimal(text) for text in written]).microseconds.tolist() == times


@settings(max_examples=60, deadline=None)
@given(lists)
def test_milliseconds_with_a_fraction_keep_three_decimals(times: list[int]) -> None:
    values = [float(f"{time // 1000}.{time % 1000:03d}") for time in times]
    assert read(values).microseconds.tolist() == times


def test_nanoseconds_are_cut_but_sort() -> None:
    start = 1_500_000_000 * 10**9
    found = read([start + 900, start + 100, start + 500])
    assert found.microseconds.tolist() == [1_500_000_000 * SECOND] * 3
    frame = pd.DataFrame({"user_id": 1, "item_id": [9, 1, 5], "timestamp": found.keys})
    assert Dataset.from_tables(frame).user_history(1).tolist() == [0, 1, 2]  # items 1, 5, 9


@pytest.mark.parametrize("values", [[0, 3, 1], [0.5, 3.25, 1.0], ["0", "3", "1"], [99_999_999] * 2])
def test_small_numbers_are_an_order_and_no_dates(values: list[float]) -> None:
    found = read(values)
    assert found.microseconds.tolist() == [int(float(value) * SECOND) for value in values]
    assert "taken as an order, not as dates: " in str(found.reading)
    assert read(values, "order").microseconds.tolist() == found.microseconds.tolist()


def test_an_order_that_looks_like_days_is_hinted_at() -> None:
    days = [20_190_222, 20_190_301]
    assert "as in 20190222, pass --time-unit date" in str(read(days).reading)
    found = read(days, "date")
    assert str(found.reading).endswith("2019-02-22 … 2019-03-01")
    assert read(["20190222", "20190301"], "date").microseconds.tolist() == [
        *found.microseconds.tolist()
    ]
    assert str(read([20190222.0, 20190301.0], "date").reading) == str(found.reading)
    assert "found 20190222.5, expected a date in digits" in refused([20190222.5], "date")


@pytest.mark.parametrize(("name", "unit"), [("time_ms", "ms"), ("timeMs", "ms"), ("t_us", "us")])
def test_a_name_that_tells_the_unit_must_agree(name: str, unit: str) -> None:
    per_second = {"ms": 10**3, "us": 10**6}[unit]
    assert "taken as m" in str(read([1_500_000_000 * per_second], name=name).reading)
    message = refused([1_500_000_000], name=name)
    assert "as the column's name says, but it has the size of seconds" in message
    assert f"column {name!r}" in message
    assert (
        str(read([1_500_000_000], "s", name).reading) == "taken as seconds: 2017-07-14 … 2017-07-14"
    )
    assert "an order" in str(read([5, 7], name=name).reading)  # milliseconds within something


REFUSED = [
    ([1_500_000_000, 1_500_000_000_000], "row 1, column 'time': found 1500000000000, expected sec"),
    ([1_500_000_000, 1_500_000_000_000], "and this looks like milliseconds"),
    ([0, 1_500_000_000, 1_500_000_001], "row 0, column 'time': found 0, expected seconds since"),
    ([1, 2, 1_500_000_001], "row 2, column 'time': found 1500000001, expected numbers that are an"),
    ([300_000_000, 300_000_001], "row 0, column 'time': found 300000000, expected a time since"),
    ([4_102_444_800], "name the unit with --time-unit (in Python time_unit), or fix"),
    ([2**63 - 1], "found 9223372036854775807"),
    (np.array([2**64 - 1], dtype=np.uint64), "found 18446744073709551615"),
    ([1_500_000_000, -1], "row 1, column 'time': found -1, expected a time of 0 or more"),
    ([1.5e9, np.inf], "row 1, column 'time': found inf"),
    ([1.5e9, -np.inf], "row 1, column 'time': found -inf"),
    ([1.5e9, np.nan], "row 1, column 'time': found nothing, expected a time"),
    ([True, False], "row 0, column 'time': found True, expected a number or a date such as"),
    (
        [1_500_000_000, "2020-01-01"],
        "row 1, column 'time': found '2020-01-01', expected numbers of",
    ),
    ([[1], [2]], "row 0, column 'time': found [1], expected a number or a date"),
    ([b"5"], "row 0, column 'time': found b'5', expected a number or a date"),
    (["1500000000", "1500000001", "soon"], "row 2, column 'time': found 'soon', expected a number"),
    (["2020-01-01", "soon"], "row 1, column 'time': found 'soon', expected a date such as 2020-12"),
    (["2020-01-01", "1500000000", "2020-01-02"], "row 1, column 'time': found '1500000000'"),
    (["2020-01-01", "2020-02-30"], "row 1, column 'time': found '2020-02-30'"),
    (["11/13/2019 8:36:57 AM"], "name another format with --time-unit"),
    (["9999-12-31"], "row 0, column 'time': found '9999-12-31', expected a date from 1970 to 2199"),
    (["2020-01-01", "0001-01-01"], "row 1, column 'time': found '0001-01-01', expected a date fr"),
    (["2020-01-01", "1969-12-31"], "row 1, column 'time': found '1969-12-31', expected a date fr"),
    ([""], "row 0, column 'time': found ''"),
    ([" "], "row 0, column 'time': found ' '"),
]


@pytest.mark.parametrize(("values", "says"), REFUSED)
def test_what_cannot_be_told_is_refused(values: object, says: str) -> None:
    assert says in refused(values)


@settings(max_examples=60, deadline=None)
@given(lists, st.sampled_from([(1, 1000), (1000, 1), (1, 10**6)]), st.data())
def test_a_second_unit_in_a_column_is_refused_at_its_first_row(
    times: list[int], units: tuple[int, int], data: st.DataObject
) -> None:
    most = [time // SECOND * units[0] for time in [*times, *times]]
    place = data.draw(st.integers(0, len(most)))
    other = times[0] // SECOND * units[1]
    message = refused([*most[:place], other, *most[place:]])
    assert message.startswith(f"a.csv, row {place}, column 'time': found {other}, expected ")


def test_a_told_unit_is_taken_but_for_dates_that_cannot_be() -> None:
    assert read([0, 5], "s").microseconds.tolist() == [0, 5 * SECOND]
    assert str(read([400_000_000], "s").reading) == "taken as seconds: 1982-09-04 … 1982-09-04"
    assert read([2**42], "order").microseconds.tolist() == [2**42 * SECOND]
    assert "expected seconds before the year 2200" in refused([END], "s")
    assert "expected an order below 9·10¹²" in refused([2**62], "order")
    assert "since time_unit is 'ms'" in refused(["2020-01-01"], "ms", dtype="datetime64[us]")
    assert "expected a number" in refused(["2020-01-01"], "ms")
    with pytest.raises(ValueError, match="time_unit is 'hours', expected one of s, ms, us, ns, o"):
        read([5], "hours")


# Dates


ZONES = [None, dt.UTC, dt.timezone(dt.timedelta(hours=-7)), dt.timezone(dt.timedelta(minutes=345))]
dates = st.lists(st.integers(0, END * SECOND - 1), min_size=1, max_size=10)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@settings(max_examples=60, deadline=None)
@given(dates, st.data())
def test_iso_text_comes_back_with_any_mix_of_zones(times: list[int], data: st.DataObject) -> None:
    written = []
    for time in times:
        zone = data.draw(st.sampled_from(ZONES))
        date = EPOCH + dt.timedelta(microseconds=time)
        date = date.replace(tzinfo=None) if zone is None else date.astimezone(zone)
        written.append(date.isoformat(data.draw(st.sampled_from("T "))))
    assert read(written).microseconds.tolist() == times
    assert read(written, "date").microseconds.tolist() == times
    assert read(pd.Categorical(written)).microseconds.tolist() == times


@settings(max_examples=60, deadline=None)
@given(
    dates, st.sampled_from(["us", "ns", "ms", "s"]), st.sampled_from([None, "UTC", "Asia/Tokyo"])
)
def test_columns_of_dates_come_back(times: list[int], unit: str, zone: str | None) -> None:
    series = pd.Series(pd.to_datetime(times, unit="us")).dt.as_unit(unit)
    series = series.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else series
    step = {"s": SECOND, "ms": 1000}.get(unit, 1)
    expected = [time // step * step for time in times]
    assert read(series).microseconds.tolist() == expected
    arrow = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(series)))
    assert read(arrow).microseconds.tolist() == expected
    assert ("UTC" in str(read(series).reading)) == (zone is None)
    if zone is None:
        assert read(series.astype(object)).microseconds.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dates(dt.date(1970, 1, 1), dt.date(2199, 12, 31)), min_size=1, max_size=10))
def test_days_come_back_as_midnight(days: list[dt.date]) -> None:
    expected = [(day - dt.date(1970, 1, 1)).days * 86_400 * SECOND for day in days]
    for values in (days, [str(day) for day in days], [day.strftime("%Y%m%d") for day in days]):
        unit = "date" if values and isinstance(values[0], str) else None
        assert read(values, unit).microseconds.tolist() == expected
    for kind in (pa.date32(), pa.date64()):
        column = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(days, kind)))
        assert read(column).microseconds.tolist() == expected


def test_nanoseconds_in_text_sort() -> None:
    texts = [f"2020-01-01T00:00:00.000000{digits}" for digits in ("9", "1", "500")]
    for zone in ("", "Z"):
        found = read([text + zone for text in texts])
        assert found.microseconds.tolist() == [1_577_836_800 * SECOND] * 3
        assert np.argsort(found.keys).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("11/13/2019 8:36:57 AM", "2019-11-13 08:36:57"),
        ("11/13/2019 12:05:00 AM", "2019-11-13 00:05:00"),
        ("11/13/2019 12:05:00 PM", "2019-11-13 12:05:00"),
        ("11/13/2019 11:59:59 PM", "2019-11-13 23:59:59"),
    ],
)
def test_a_format_reads_noon_and_midnight(written: str, expected: str) -> None:
    found = read([written], "%m/%d/%Y %I:%M:%S %p")
    assert moment(int(found.microseconds[0])) == expected
    message = refused([written, "13/13/2019 8:36:57 AM"], "%m/%d/%Y %I:%M:%S %p")
    assert "row 1, column 'time': found '13/13/2019" in message
    assert "a date in the format '%m/%d/%Y %I:%M:%S %p'" in message


def test_what_is_said() -> None:
    assert str(read([1550793600123, 1701302400000]).reading) == (
        "taken as milliseconds: 2019-02-22 … 2023-11-30"
    )
    assert (
        str(read(["2014-04-07T10:51:09.277Z"]).reading) == "taken as dates: 2014-04-07 … 2014-04-07"
    )
    assert str(read(["2014-04-07"]).reading) == (
        "taken as dates in UTC, since they name no zone: 2014-04-07 … 2014-04-07"
    )
    assert str(read([3, 12_345]).reading).startswith(
        "taken as an order, not as dates: 3 … 12,345, too sm"
    )
    assert "only good to 128 seconds" in str(read(np.array([1.5e9], dtype=np.float32)).reading)


def test_a_moment_without_needless_zeros() -> None:
    assert moment(0) == "1970-01-01 00:00:00"
    assert moment(1_500_000) == "1970-01-01 00:00:01.5"
    assert moment(10 * SECOND) == "1970-01-01 00:00:10"


def test_a_unit_that_was_named_is_not_advised_again() -> None:
    written = pd.Series([1589594419059], name="ts")
    with pytest.raises(ValueError, match=r"leave --time-unit .* out, name another unit"):
        read_times(written, "the table", "s")


@pytest.mark.parametrize("written", ["2020/01/02 10:00:00", "2020-1-2", "20200102T100000"])
def test_text_without_a_zone_is_said_to_have_none(written: str) -> None:
    said = str(read_times(pd.Series([written], name="time"), "the table").reading)
    assert "in UTC, since they name no zone" in said
    zoned = read_times(pd.Series(["2020-1-2 10:00:00+02"], name="time"), "the table")
    assert str(zoned.reading) == "taken as dates: 2020-01-02 … 2020-01-02"


def test_text_that_ends_in_utc_is_a_date() -> None:
    written = pd.Series(["2019-10-01 00:00:00 UTC", "2019-10-01 00:00:00.5 GMT"], name="event_time")
    times = read_times(written, "the table")
    expected = pd.to_datetime(["2019-10-01T00:00:00Z", "2019-10-01T00:00:00.5Z"], format="ISO8601")
    assert times.microseconds.tolist() == (expected.as_unit("us").asi8).tolist()
    assert str(times.reading) == "taken as dates: 2019-10-01 … 2019-10-01"  # it names a zone
