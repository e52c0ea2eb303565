"""Ids, times, ratings and texts count by their values, whatever type holds them.

Each table is built from plain columns and again from other types; the datasets have one checksum.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.cli.recommend_all import rows_of_users
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.plain_ids import of_one_type, plain_id
from rqvae_lib.datasets.embedded import load_embedded
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import texts_sha256
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.exports import export_ids
from rqvae_lib.semantic_ids.files import read_ids, write_ids
from rqvae_lib.semantic_ids.imports import import_ids

USERS, MET, LISTED = [3, 1, 2, 3, 1, 2], [10, 20, 30, 20, 10, 10], [10, 20, 30]
TIMES = [1_500_000_000 + second for second in range(6)]
RATINGS = [1, 2, 3, 4, 5, 1]
TITLES = ["Vitamin B, C, A", "Blade Runner 2049 (2017)", None]
GENRES = ["a|b", "(no genres listed)", None]
YEARS = [2001, None, 1999]


def tables(**other: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    met = {"user_id": USERS, "item_id": MET, "timestamp": TIMES, "rating": RATINGS}
    items = {"item_id": LISTED, "title": TITLES, "genres": GENRES, "year": YEARS}
    met |= {name: column for name, column in other.items() if name in met}
    items |= {name: column for name, column in other.items() if name in items}
    if "listed" in other:
        items["item_id"] = other["listed"]
    return pd.DataFrame(met), pd.DataFrame(items)


def dataset(**other: Any) -> Dataset:
    return Dataset.from_tables(*tables(**other))


def with_ids(convert: Callable[[list[int]], Any]) -> Dataset:
    columns = {"user_id": convert(USERS), "item_id": convert(MET), "listed": convert(LISTED)}
    met, items = tables()
    met["user_id"], met["item_id"] = columns["user_id"], columns["item_id"]
    items["item_id"] = columns["listed"]
    return Dataset.from_tables(met, items)


def typed(kind: Any) -> Callable[[Sequence[Any]], pd.Series]:
    return lambda values: pd.Series(values).astype(kind)


def arrow(kind: pa.DataType) -> Callable[[Sequence[Any]], pd.Series]:
    return lambda values: pd.Series(pa.array(values, kind), dtype=pd.ArrowDtype(kind))


def dictionary(kind: pa.DataType) -> Callable[[Sequence[Any]], pd.Series]:
    whole = pa.dictionary(pa.int32(), kind)
    return lambda values: pd.Series(
        pa.array(values, kind).dictionary_encode(), dtype=pd.ArrowDtype(whole)
    )


def objects(convert: Callable[[int], Any]) -> Callable[[Sequence[int]], pd.Series]:
    return lambda values: pd.Series([convert(value) for value in values], dtype=object)


NUMBERS = {
    **{
        kind: typed(kind)
        for kind in (
            *("int8", "uint8", "int32", "uint64", "Int64", "UInt16", "float16", "float32"),
            *("float64", "Float64", "int64[pyarrow]", "uint8[pyarrow]", "double[pyarrow]"),
            *("category", "object"),
        )
    },
    "dictionary": dictionary(pa.int64()),
    "decimals": arrow(pa.decimal128(12, 2)),
    "decimal[pyarrow]": lambda values: pd.Series(
        [Decimal(one) for one in values], dtype=pd.ArrowDtype(pa.decimal128(12, 2))
    ),
    "Decimal": objects(Decimal),
    "Decimal(x.00)": objects(lambda one: Decimal(f"{one}.00")),
    "float objects": objects(float),
    "NumPy objects": objects(np.int16),
    "of several types": objects(lambda one: one if one % 20 else np.float32(one)),
    "categories of Decimal": lambda values: pd.Categorical([Decimal(one) for one in values]),
    "categories of floats": lambda values: pd.Categorical([float(one) for one in values]),
}


@pytest.mark.parametrize("convert", NUMBERS.values(), ids=NUMBERS)
def test_numbers_as_ids(convert: Callable[[Any], Any]) -> None:
    found = with_ids(convert)
    assert found.checksum == dataset().checksum
    assert found.user_ids.tolist() == [1, 2, 3]
    for ids in (convert([20, 10]), list(convert([20, 10]))):
        assert found.item_index(ids).tolist() == [1, 0]
    assert found.user_history(convert([3])[0]).tolist() == [0, 1]


def text(values: Sequence[int]) -> list[str]:
    return [f"x{value}" for value in values]


TEXTS: dict[str, Callable[[Sequence[int]], Any]] = {
    **{
        kind: lambda values, kind=kind: pd.Series(text(values)).astype(kind)
        for kind in (
            *("str", "object", "string", "string[python]", "string[pyarrow]", "category"),
            "large_string[pyarrow]",
        )
    },
    "dictionary": lambda values: dictionary(pa.string())(text(values)),
    "dictionary of large": lambda values: dictionary(pa.large_string())(text(values)),
    "NumPy": lambda values: np.array(text(values)),
    "NumPy objects": lambda values: [np.str_(one) for one in text(values)],
    "bytes": lambda values: [one.encode() for one in text(values)],
    "binary": lambda values: arrow(pa.binary())([one.encode() for one in text(values)]),
}


@pytest.mark.parametrize("convert", TEXTS.values(), ids=TEXTS)
def test_text_as_ids(convert: Callable[[Any], Any]) -> None:
    found, plain = with_ids(convert), with_ids(text)
    assert found.checksum == plain.checksum
    assert found.user_ids.tolist() == ["x1", "x2", "x3"]
    assert found.item_index(convert([20, 10])).tolist() == [1, 0]
    assert found.user_history(next(iter(convert([3])))).tolist() == [0, 1]


def uuids(values: Sequence[int]) -> list[uuid.UUID]:
    return [uuid.UUID(int=value) for value in values]


@pytest.mark.parametrize(
    "convert",
    [
        uuids,
        lambda values: pd.Categorical(uuids(values)),
        lambda values: pd.Series(
            pa.array([one.bytes for one in uuids(values)], pa.uuid()),
            dtype=pd.ArrowDtype(pa.uuid()),
        ),
    ],
    ids=["objects", "categories", "Arrow"],
)
def test_uuids_are_their_text(convert: Callable[[Any], Any]) -> None:
    found, plain = with_ids(convert), with_ids(lambda values: list(map(str, uuids(values))))
    assert found.checksum == plain.checksum
    for ids in (uuids([20, 10]), list(map(str, uuids([20, 10])))):
        assert found.item_index(ids).tolist() == [1, 0]
    for user in (uuid.UUID(int=3), str(uuid.UUID(int=3))):
        assert found.user_history(user).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("convert", "shown"),
    [
        (lambda values: [dt.datetime(2020, 1, one) for one in values], "Timestamp"),
        (lambda values: [dt.date(2020, 1, one) for one in values], "datetime.date"),
        (lambda values: [one > 1 for one in values], "True"),
        (lambda values: [one + 0.5 for one in values], "10.5"),
        (lambda values: [Decimal(one) / 3 for one in values], "Decimal"),
        (lambda values: [b"\xff"] * len(values), "b'"),
    ],
)
def test_what_is_no_id_is_refused_with_the_reason(
    convert: Callable[[Any], Any], shown: str
) -> None:
    met, items = tables()
    with pytest.raises(ValueError, match=rf"row 0, column 'item_id': found {shown}.* or text: "):
        Dataset.from_tables(met.assign(item_id=convert(MET)), items)


def test_mixed_ids_are_refused_by_row() -> None:
    for wrong in ([10, "20", 30, 20, 10, 10], [uuid.UUID(int=10), 20, 30, 20, 10, 10]):
        with pytest.raises(ValueError, match=r"row 1, .* expected ids of one type"):
            dataset(item_id=pd.Series(wrong, dtype=object), listed=LISTED)


# Look-ups


@pytest.mark.parametrize("bad", [True, np.True_, [3], None, float("nan"), "3", 3.5, {}])
def test_who_is_no_user_is_refused(bad: Any) -> None:
    with pytest.raises(
        ValueError, match=r"user_id is .*; expected one id, such as 1|user .* not in"
    ):
        dataset().user_history(bad)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([True, False, True], "True or False; expected ids"),
        (np.ones(3, bool), "True or False; expected ids"),
        (pd.Series([True]), "True or False; expected ids"),
        ([[10]], "expected a list of ids"),
        (10, "expected a list of ids"),
        ("10", "expected a list of ids"),
        (["10"], "item id '10' is not in"),
        ([10.5], "item id 10.5 is not in"),
        ([None], "item id None is not in"),
        ([-10], "item id -10 is not in"),
    ],
)
def test_what_is_no_item_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataset(user_id=USERS).item_index(bad)


def test_no_items_are_no_rows() -> None:
    assert dataset().item_index([]).tolist() == []
    assert dataset().item_index(torch.tensor([30, 10])).tolist() == [2, 0]


@given(st.integers(0, 2**53))
def test_an_id_is_the_same_in_all_types(value: int) -> None:
    same = [np.int64(value), float(value), Decimal(value), np.float64(value), torch.tensor(value)]
    assert [plain_id(one) for one in same] == [value] * len(same)
    assert {type(plain_id(one)) for one in same} == {int}
    for other in (True, np.True_, value + 0.5 if value < 2**50 else 0.5, None, (value,)):
        assert plain_id(other) == other
        assert type(plain_id(other)) is not int
    assert plain_id(str(value)) == plain_id(str(value).encode()) == str(value)


# Times, ratings, years and titles

MOMENTS = pd.to_datetime(TIMES, unit="s")
OTHERS: dict[str, dict[str, Any]] = {
    "times, Arrow": {"timestamp": pd.Series(TIMES, dtype="int64[pyarrow]")},
    "times, categories": {"timestamp": pd.Categorical(TIMES)},
    "times, Decimal": {"timestamp": [Decimal(one) for one in TIMES]},
    "times, floats": {"timestamp": [float(one) for one in TIMES]},
    "times, uint32": {"timestamp": pd.Series(TIMES, dtype="uint32")},
    "times, moments": {"timestamp": MOMENTS},
    "times, with a zone": {"timestamp": MOMENTS.tz_localize("UTC").tz_convert("Asia/Tokyo")},
    "times, Arrow moments": {"timestamp": pd.Series(MOMENTS).astype("timestamp[us][pyarrow]")},
    "times, Python": {
        "timestamp": pd.Series(
            [dt.datetime.fromtimestamp(one, dt.UTC) for one in TIMES], dtype=object
        )
    },
    "times, categories of moments": {"timestamp": pd.Categorical(MOMENTS)},
    "times, text": {"timestamp": pd.Series(MOMENTS.astype(str), dtype="string[pyarrow]")},
    "ratings, Arrow": {"rating": pd.Series(RATINGS, dtype="int64[pyarrow]")},
    "ratings, nullable": {"rating": pd.Series(RATINGS, dtype="UInt8")},
    "ratings, half": {"rating": pd.Series(RATINGS, dtype="float16")},
    "ratings, categories": {"rating": pd.Categorical(RATINGS)},
    "ratings, categories of text": {"rating": pd.Categorical(list(map(str, RATINGS)))},
    "ratings, Decimal": {"rating": [Decimal(one) for one in RATINGS]},
    "ratings, Arrow decimals": {"rating": arrow(pa.decimal128(9, 1))(RATINGS)},
    "years, Arrow": {"year": pd.Series(YEARS, dtype="int16[pyarrow]")},
    "years, text": {"year": ["2001", None, "1999"]},
    "years, categories": {"year": pd.Categorical(YEARS)},
    "years, Decimal": {"year": [Decimal(2001), None, Decimal(1999)]},
    "titles, Arrow": {"title": pd.Series(TITLES, dtype="string[pyarrow]")},
    "titles, categories": {"title": pd.Categorical(TITLES)},
    "titles, dictionary": {"title": dictionary(pa.string())(TITLES)},
    "genres, dictionary": {"genres": dictionary(pa.string())(GENRES)},
    "genres, lists": {"genres": [["a", "b"], ["(no genres listed)"], None]},
    "genres, Arrow lists": {
        "genres": arrow(pa.list_(pa.string()))([["a", "b"], ["(no genres listed)"], None])
    },
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_columns_in_other_types(other: dict[str, Any]) -> None:
    assert dataset(**other).checksum == dataset().checksum


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"rating": pd.to_timedelta(RATINGS, unit="s")}, "'rating': found Timedelta"),
        ({"rating": MOMENTS}, "'rating': found Timestamp"),
        ({"rating": pd.Categorical(MOMENTS)}, "'rating': found Timestamp"),
        ({"rating": pd.Series(RATINGS, dtype=complex)}, r"'rating': found \(1\+0j\)"),
        ({"rating": pd.Series(MOMENTS).astype("timestamp[us][pyarrow]")}, "'rating': found Time"),
        ({"year": pd.to_datetime(["2001-01-01"] * 3)}, "'year': found Timestamp"),
        ({"year": [True, True, False]}, "'year': found True"),
        ({"timestamp": pd.to_timedelta(TIMES, unit="s")}, "'timestamp': found Timedelta"),
        ({"timestamp": [True] * 6}, "'timestamp': found True"),
    ],
)
def test_what_pandas_would_count_as_a_number_is_none(other: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"row 0, column {message}"):
        dataset(**other)


def test_a_number_as_a_title_has_no_point_because_another_is_missing() -> None:
    whole = dataset(title=[1984, 2001, 7], genres=[5, 6, 5])
    assert whole.items["title"].tolist() == ["1984", "2001", "7"]
    gap = dataset(title=[1984, None, 7], genres=[5, None, 5])
    assert gap.items["title"].tolist() == ["1984", pd.NA, "7"]
    assert gap.items["genres"].tolist() == ["5", "", "5"]
    categories = dataset(title=pd.Categorical([1984.0, None, 7.0]))
    assert categories.items["title"].tolist() == ["1984", pd.NA, "7"]
    assert dataset(title=[8.5, 1, 2]).items["title"].tolist() == ["8.5", "1.0", "2.0"]


# Other libraries' tables


@pytest.mark.parametrize("ids", [list, text], ids=["numbers", "text"])
def test_tables_of_polars_and_arrow(ids: Callable[[Any], Any]) -> None:
    met, items = tables(user_id=ids(USERS))
    met["item_id"], items["item_id"] = ids(MET), ids(LISTED)
    expected = Dataset.from_tables(met, items).checksum
    of_polars = pl.from_pandas(met), pl.from_pandas(items)
    assert Dataset.from_tables(*of_polars).checksum == expected
    assert load_dataset(interactions=of_polars[0], items=of_polars[1]).checksum == expected  # type: ignore[arg-type]
    in_arrow = pa.Table.from_pandas(met), pa.Table.from_pandas(items)
    assert Dataset.from_tables(*in_arrow).checksum == expected
    other = of_polars[0].with_columns(
        pl.from_epoch("timestamp"), pl.col("rating").cast(pl.Decimal(9, 2))
    )
    assert Dataset.from_tables(other, of_polars[1]).checksum == expected
    if ids is text:
        other = other.with_columns(
            pl.col("user_id").cast(pl.Categorical), pl.col("item_id").cast(pl.Enum(ids(LISTED)))
        )
        assert Dataset.from_tables(other, of_polars[1]).checksum == expected
    found = Dataset.from_tables(*of_polars)
    assert found.item_index(of_polars[1]["item_id"]).tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match=r"LazyFrame, .* pass \.collect\(\) of it"):
        Dataset.from_tables(of_polars[0].lazy(), of_polars[1])  # type: ignore[arg-type]


# Titles of one's own


def test_titles_of_ones_own_are_not_rewritten() -> None:
    """That is for MovieLens, which writes "Deer Hunter, The" and "(no genres listed)"."""
    own = dataset()
    assert own.titles == ["Vitamin B, C, A (2001)", "Blade Runner 2049 (2017)", "Untitled 30"]
    assert own.texts == [
        "Vitamin B, C, A (2001). Genres: a, b.",
        "Blade Runner 2049 (2017). Genres: (no genres listed).",
        "An untitled item.",
    ]
    assert own.items["year"].tolist() == [2001, pd.NA, 1999]
    for title in ("Deer Hunter, The", "Plan, A", "Heat (1995)", "x|y, Das"):
        assert dataset(title=[title] * 3, year=[pd.NA] * 3).titles == [title] * 3


def test_the_embedded_texts_are_what_they_were() -> None:
    whole = load_embedded("movielens-small-2016")
    assert whole.articles_last
    assert "The Deer Hunter (1978)" in whole.titles
    assert texts_sha256(whole.texts) == EMBEDDED_TEXTS
    assert whole.checksum == EMBEDDED_CHECKSUM


EMBEDDED_TEXTS = "4a51a5e637d6661551bdba5f41c6a398dbb67b02367dbfbfe7c9782bfc502293"
EMBEDDED_CHECKSUM = "496a74ea85738786a04405b813b59c3915c30bcf36eb84b7e2699eb4b5ac27eb"


# Files of IDs, and lists of users


def test_ids_in_files_take_any_type(tmp_path: Path) -> None:
    ids = SemanticIDs(torch.tensor([[0, 1], [1, 1], [1, 0]]), 2)
    for convert in NUMBERS.values():
        own = convert(LISTED)
        write_ids(tmp_path / "own.csv", ids.to_frame(own, ["a", "b", "c"]))
        assert (tmp_path / "own.csv").read_text().splitlines()[1].startswith("10,")
        assert read_ids(tmp_path / "own.csv", [2, 2], own).ids.sha256 == ids.sha256
        export_ids(tmp_path / "x.json", ids, own, format="index-json")
        assert import_ids(tmp_path / "x.json", own, collision_digit=True).ids.sha256 == ids.sha256
    for of_text in (uuids(LISTED), [str(one).encode() for one in uuids(LISTED)]):
        export_ids(tmp_path / "x.json", ids, of_text, format="index-json")  # type: ignore[arg-type]
        found = import_ids(tmp_path / "x.json", of_text, collision_digit=True)  # type: ignore[arg-type]
        assert found.item_ids.tolist() == [str(one) for one in uuids(LISTED)]
    for bad in ([10, "20", 30], [10.5, 20, 30], [True, False, True], [[10], [20], [30]], 10):
        with pytest.raises(ValueError, match="item_id"):
            export_ids(tmp_path / "x.json", ids, bad, format="index-json")  # type: ignore[arg-type]


def test_a_list_of_users_in_a_table_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    for convert in NUMBERS.values():
        column = convert([3, 1])
        try:
            pa.array(column)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            continue  # no such file can be written
        pd.DataFrame({"user_id": column}).to_parquet(path)
        assert rows_of_users(path, dataset()).tolist() == [2, 0]


@pytest.mark.parametrize("value", [Decimal("1e50"), Decimal("1e999999"), Decimal("1.5")])
def test_a_decimal_that_is_no_id_stays_a_decimal(value: Decimal) -> None:
    assert plain_id(value) is value


def test_a_long_decimal_keeps_all_its_digits() -> None:
    digits = "1234567890" * 3 + "12345"
    assert plain_id(Decimal(f"{digits}.0")) == int(digits)


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_a_time_of_numpy_is_no_number(unit: Any) -> None:
    for value in (np.datetime64("2020-01-01", unit), np.timedelta64(5, unit)):
        assert plain_id(value) is value


def test_an_id_beyond_64_bits_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"item_ids\[1\] is 1180591620717411303424, expected a number"
    ):
        of_one_type([1, 2**70])
