"""Your own tables: what is read, what is refused and in which words."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets.registry import load_dataset

BOM = b"\xef\xbb\xbf"


INTERACTIONS = {
    "user_id": [7, 9, 7, 7],
    "item_id": ["007", "b", "a", "b"],
    "rating": [1.5, 2, 3, 4],
    "timestamp": [30, 5, 10, 30],
}
ITEMS = {
    "item_id": ["b", "a", "007", "c"],
    "title": ["B", None, "Spy, The", None],
    "year": [None, None, 1999, None],
    "genres": ["x|y", "z", None, None],
    "text": ["about b", None, " ", None],
}


def tables(**changes: object) -> dict[str, pd.DataFrame]:
    return {"interactions": pd.DataFrame(INTERACTIONS), "items": pd.DataFrame(ITEMS)} | changes  # type: ignore[dict-item]


def saved(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def test_own_tables() -> None:
    data = Dataset.from_tables(**tables(), name="mine")
    assert data.items["item_id"].tolist() == ["b", "a", "007", "c"]  # in their order, all
    assert data.titles == ["B", "Untitled a", "Spy, The (1999)", "Untitled c"]
    assert data.texts == [
        *("about b", "An untitled item. Genres: z.", "Spy, The (1999).", "An untitled item.")
    ]
    assert data.user_history(7).tolist() == [1, 2, 0]  # 30 ties: the order of the rows
    assert data.interactions["rating"].tolist() == [3, 1.5, 4, 2]
    assert data.has_texts


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_files_hold_what_frames_hold(ending: str, tmp_path: Path) -> None:
    paths = {name: saved(frame, tmp_path / f"{name}.{ending}") for name, frame in tables().items()}
    expected = Dataset.from_tables(**tables())
    assert Dataset.from_tables(**paths).checksum == expected.checksum
    assert load_dataset(tmp_path).checksum == expected.checksum
    assert load_dataset(tmp_path).name == tmp_path.name
    assert load_dataset(**paths).checksum == expected.checksum
    with pytest.raises(ValueError, match="nobody met them"):
        load_dataset(items=paths["items"])
    for both in (paths, {"items": paths["items"]}):
        with pytest.raises(ValueError, match=r"here movielens-small-2016\) .* not both"):
            load_dataset("movielens-small-2016", **both)


def test_what_pandas_noted_in_a_parquet_file_does_not_count(tmp_path: Path) -> None:
    frames = tables()
    # A column that pandas calls an index is a column of the file like the others.
    frames["interactions"].set_index("user_id").to_parquet(tmp_path / "interactions.parquet")
    whole = saved(frames["items"], tmp_path / "items.parquet")
    note = b"pandas_type"  # without it, pandas cannot read what it noted
    whole.write_bytes(whole.read_bytes().replace(note, b"pandas_tipe"))
    assert load_dataset(tmp_path).checksum == Dataset.from_tables(**tables()).checksum


def test_columns_of_other_names_and_of_no_interest() -> None:
    frame = pd.DataFrame(INTERACTIONS | {"price": 1}).rename(columns={"item_id": "sku"})
    items = pd.DataFrame(ITEMS).rename(columns={"item_id": "sku", "title": "name"})
    data = Dataset.from_tables(frame, items, columns={"item_id": "sku", "title": "name"})
    assert data.checksum == Dataset.from_tables(**tables()).checksum


def test_without_times_the_rows_are_in_time_order() -> None:
    frame = pd.DataFrame(INTERACTIONS).drop(columns=["timestamp", "rating"])
    data = Dataset.from_tables(frame)
    assert data.items["item_id"].tolist() == ["007", "a", "b"]  # sorted, none was listed
    assert data.user_history(7).tolist() == [0, 1, 2]
    assert set(data.interactions["rating"]) == {1.0}
    assert leave_one_out(data).test.tolist() == [2]


def test_without_texts_there_are_none() -> None:
    data = Dataset.from_tables(pd.DataFrame(INTERACTIONS))
    assert not data.has_texts
    assert data.texts == [""] * 3
    assert data.titles == ["Untitled 007", "Untitled a", "Untitled b"]


def test_ids_that_are_written_as_numbers_are_numbers_unless_zeros_lead(tmp_path: Path) -> None:
    for ids, kind in (("1", "int64"), ("01", "string"), ("-0", "string"), ("1" * 19, "string")):
        (tmp_path / "a.csv").write_text(f"user_id,item_id\n5,{ids}\n")
        assert Dataset.from_tables(tmp_path / "a.csv").items["item_id"].dtype == kind
    frame = pd.DataFrame({"user_id": ["5"], "item_id": [3]})
    assert Dataset.from_tables(frame).user_ids.tolist() == ["5"]  # a frame says what it means


def test_dates_are_moments(tmp_path: Path) -> None:
    dates = ["2020-01-02", "2020-01-01 12:00:00", "2020-01-01T12:00:00+02:00"]
    (tmp_path / "a.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"1,{i},{date}\n" for i, date in enumerate(dates))
    )
    data = Dataset.from_tables(tmp_path / "a.csv")
    assert data.interactions["timestamp"].tolist() == [
        second * 10**6 for second in (1577872800, 1577880000, 1577923200)
    ]
    frame = pd.read_csv(tmp_path / "a.csv")
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True, format="ISO8601")
    assert Dataset.from_tables(frame).checksum == data.checksum


def test_one_user_and_one_item_are_a_data_set() -> None:
    data = Dataset.from_tables(pd.DataFrame({"user_id": [1], "item_id": [2]}))
    assert (data.num_users, data.num_items) == (1, 1)
    assert not len(leave_one_out(data).test)


@pytest.mark.parametrize("change", [lambda text: BOM + text, lambda t: t.replace(b"\n", b"\r\n")])
def test_what_is_harmless_changes_nothing_in_own_tables(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    paths = {name: saved(frame, tmp_path / f"{name}.csv") for name, frame in tables().items()}
    for path in paths.values():
        path.write_bytes(change(path.read_bytes()))
    assert Dataset.from_tables(**paths).checksum == Dataset.from_tables(**tables()).checksum


# What is wrong, and the sentence that it gets

USERS = [7, 9, 7, 7]
BAD_INTERACTIONS = [
    ({"item_id": None}, "interactions has no column 'item_id', only 'user_id"),
    ({"user_id": [1, None, 2, 3]}, "row 1, column 'user_id': found nothing, expected an id"),
    ({"user_id": [1, -4, 2, 3]}, "row 1, column 'user_id': found -4, expected an id of 0 or more"),
    ({"user_id": [1, 2.5, 2, 3]}, "row 1, column 'user_id': found 2.5, expected a whole number"),
    ({"user_id": [1, np.inf, 2, 3]}, "row 1, column 'user_id': found inf"),
    ({"user_id": ["a", 5, "b", "c"]}, "row 1, column 'user_id': found 5, expected ids of one type"),
    ({"user_id": [True, False, True, True]}, "row 0, column 'user_id': found True"),
    ({"item_id": ["007", " ", "a", "b"]}, "row 1, column 'item_id': found '', expected an id"),
    ({"item_id": ["007", "b", "a", "zz"]}, "interactions, row 3: item_id 'zz' is not in items"),
    ({"rating": [1, np.nan, 2, 3]}, "row 1, column 'rating': found nothing, expected a number"),
    ({"rating": [1, np.inf, 2, 3]}, "row 1, column 'rating': found inf, expected a finite number"),
    ({"rating": [1, -np.inf, 2, 3]}, "row 1, column 'rating': found -inf"),
    ({"rating": [1, 1e300, 2, 3]}, "row 1, column 'rating': found 1e+300, expected a number up"),
    ({"rating": ["1", "good", "2", "3"]}, "row 1, column 'rating': found 'good'"),
    ({"timestamp": [1, None, 2, 3]}, "row 1, column 'timestamp': found nothing"),
    ({"timestamp": [1, -1, 2, 3]}, "row 1, column 'timestamp': found -1, expected a time of 0 or"),
    ({"timestamp": [300000000] * 4}, "row 0, column 'timestamp': found 300000000, expected a time"),
    (
        {"timestamp": ["2020-01-01", "soon", "2020-01-01", "2020-01-02"]},
        "row 1, column 'timestamp'",
    ),
    ({"timestamp": ["5", "2020-01-01", "5", "6"]}, "row 1, column 'timestamp': found '2020-01-01'"),
]
BAD_ITEMS = [
    ({"item_id": None}, "items has no column 'item_id'"),
    ({"item_id": ["b", "a", "007", "b"]}, "items, row 3, column 'item_id': found 'b', expected an"),
    ({"item_id": ["b", None, "007", "a"]}, "items, row 1, column 'item_id': found nothing"),
    ({"title": ["B", 5, "x", "y"]}, "items, row 1, column 'title': found 5, expected text"),
    ({"year": [1999, 99999, 1999, 1999]}, "items, row 1, column 'year': found 99999, expected a"),
    ({"year": [1999, 2000.5, 1999, 1999]}, "items, row 1, column 'year': found 2000.5"),
    ({"year": ["1999", "old", "1", "2"]}, "items, row 1, column 'year': found 'old'"),
    ({"text": ["a", "x" * 10_000_000, "b", "c"]}, "column 'text': found 'xxxxx"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_INTERACTIONS)
def test_bad_interactions_get_their_sentence(changes: dict[str, object], says: str) -> None:
    columns = {name: values for name, values in (INTERACTIONS | changes).items() if values}
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(**tables(interactions=pd.DataFrame(columns)))


@pytest.mark.parametrize(("changes", "says"), BAD_ITEMS)
def test_bad_items_get_their_sentence(changes: dict[str, object], says: str) -> None:
    columns = {name: values for name, values in (ITEMS | changes).items() if values}
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(**tables(items=pd.DataFrame(columns)))


def test_an_unknown_item_is_named_as_its_table_writes_it() -> None:
    met, items = pd.DataFrame({"user_id": [1], "item_id": [5]}), pd.DataFrame({"item_id": [4]})
    with pytest.raises(ValueError, match="interactions, row 0: item_id 5 is not in items"):
        Dataset.from_tables(met, items)


BAD_TABLES = [
    ("a.csv", b"", "a.csv is empty"),
    ("a.csv", b"user_id,item_id\n", "a.csv has no rows"),
    ("a.csv", b"user_id,item_id\n1,2,3\n", "a.csv, row 0: found 3 fields, expected 2"),
    ("a.csv", b"user_id,item_id\n1,2\n1,2,3\n", "a.csv, row 1: found 3 fields, expected 2"),
    ("a.csv", b"user_id,item_id\n1\n", "a.csv, row 0: found 1 field, expected 2"),
    ("a.csv", b"user_id,item_id\n1,\xff\n", "a.csv is not UTF-8 text"),
    ("a.csv", b'user_id,item_id\n1,"2\n', "a.csv is not a csv table"),
    ("a.csv", b"\x1f\x8b\x08\x00", "a.csv"),
    ("a.csv", b"user_id,item_id\n1," + b"x" * 10_000_000, "row 0, column 'item_id': found 'xxx"),
    ("a.parquet", b"PAR1 or so", "a.parquet cannot be read as Parquet ("),
    ("a.parquet", b"", "a.parquet is empty"),
    ("a.xlsx", b"PK", "a.xlsx ends in '.xlsx', expected one of .csv, .tsv"),
]


@pytest.mark.parametrize(("name", "content", "says"), BAD_TABLES)
def test_a_bad_table_gets_its_sentence(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(tmp_path / name)


def test_a_table_or_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv does not exist"):
        Dataset.from_tables(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="has none of the files of a known dataset"):
        load_dataset(tmp_path)
    with pytest.raises(ValueError, match="expected one of movielens-small-2016, movielens-1m"):
        load_dataset("nowhere")
    for ending in ("csv", "tsv"):
        saved(pd.DataFrame(INTERACTIONS), tmp_path / f"interactions.{ending}")
    with pytest.raises(ValueError, match=r"both interactions.csv and interactions.tsv"):
        load_dataset(tmp_path)


def test_columns_that_are_twice_there_or_promised_and_absent() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=["user_id", "item_id", "user_id"])
    with pytest.raises(ValueError, match="has the column 'user_id' twice"):
        Dataset.from_tables(frame)
    with pytest.raises(ValueError, match="has no column 'stars'"):
        Dataset.from_tables(pd.DataFrame(INTERACTIONS), columns={"rating": "stars"})


def test_a_mistaken_name_of_a_column_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"columns has the key 'when', expected keys among user_id,"
    ):
        Dataset.from_tables(**tables(), columns={"when": "timestamp"})


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
def test_a_column_that_comes_twice_is_refused_in_files_too(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"table{ending}"
    if ending == ".parquet":
        columns = [pa.array([1, 2]) for _ in range(3)]
        pq.write_table(pa.Table.from_arrays(columns, ["user_id", "item_id", "item_id"]), path)
    else:
        mark = "," if ending == ".csv" else "\t"
        path.write_text("\n".join([mark.join(["user_id", "item_id", "item_id"]), mark.join("123")]))
    with pytest.raises(ValueError, match="has the column 'item_id' twice, expected it once"):
        Dataset.from_tables(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"separator": ";"}, "separator (--separator) is for text files with a delimiter"),
        ({"header": False}, "header (--header) is for text files with a delimiter"),
        ({"columns": {"title": "name"}}, "has the key 'title', which is for a table of items"),
        ({"columns": {"items.item": "sku"}}, "has the key 'items.item'"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    table = pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2]})
    table.to_parquet(tmp_path / "log.parquet")
    for source in (table, tmp_path / "log.parquet"):
        with pytest.raises(ValueError, match=re.escape(says)):
            Dataset.from_tables(source, **options)


def test_places_of_columns_may_be_numbers(tmp_path: Path) -> None:
    (tmp_path / "log.tsv").write_text("7\t2010-10-19T23:55:27Z\t5\n7\t2010-10-18T00:00:00Z\t6\n")
    places: dict[str, Any] = {"user": 1, "item": 3, "time": 2}
    dataset = Dataset.from_tables(tmp_path / "log.tsv", columns=places)
    assert dataset.items["item_id"][dataset.user_history(7)].tolist() == [6, 5]
    frame = pd.DataFrame([[7, 5], [7, 6]])  # whose columns are 0 and 1
    places = {"user": 0, "item": 1}
    assert Dataset.from_tables(frame, columns=places).user_ids.tolist() == [7]
