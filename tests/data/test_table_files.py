"""Tables of many formats: what comes out of each, what is refused, and in which words."""

import gzip
import json
import re
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data import delimited_files, delimited_layouts, json_files, packed_files
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.own_tables import read_items
from rqvae_lib.data.table_files import ENDINGS, ReadTable, read_table

MET = {"needed": ("user_id", "item_id"), "optional": ("rating", "timestamp")}
BY_NUMBER = {"user": "1", "item": "2", "rating": "3", "time": "4"}


def zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def put(path: Path, content: bytes | str) -> Path:
    content = content.encode() if isinstance(content, str) else content
    pack: Callable[[bytes], bytes] = {".gz": gzip.compress, ".zst": zst}.get(
        path.suffix.lower(), lambda same: same
    )
    path.write_bytes(pack(content))
    return path


def read(path: Any, **options: Any) -> ReadTable:
    return read_table(path, **(MET | options))


def values(read: ReadTable) -> dict[str, list[Any]]:
    return {name: read.frame[name].tolist() for name in read.frame}


FIVE = {"user_id": [7, 9, 7], "item_id": [1, 2, 3], "rating": [1.5, 2, 3], "timestamp": [3, 2, 1]}


def lines(table: dict[str, list[Any]], separator: str, header: str | None = None) -> str:
    rows = [separator.join(map(str, row)) for row in zip(*table.values(), strict=True)]
    return "\n".join([separator.join(table) if header is None else header, *rows]) + "\n"


# The same table in every format


@pytest.mark.parametrize("packing", ["", ".gz", ".zst", ".GZ"])
@pytest.mark.parametrize(
    ("ending", "separator"),
    [
        *((".csv", mark) for mark in (",", ";", "\t", "|", "::")),
        *((".txt", mark) for mark in (",", ";", "\t", "|", "::")),
        *((".tsv", "\t"), (".dat", "::"), (".CSV", ","), (".Tsv", "\t")),
    ],
)
def test_every_delimiter_is_found(
    ending: str, separator: str, packing: str, tmp_path: Path
) -> None:
    path = put(tmp_path / f"a{ending}{packing}", lines(FIVE, separator))
    found = read(path)
    assert values(found) == FIVE
    assert found.is_text
    assert found.frame.dtypes.astype(str).tolist() == ["int64", "int64", "float64", "int64"]
    usual = {".csv": ",", ".tsv": "\t"}.get(ending.lower())
    assert len(found.said) == (separator != usual)
    if separator != usual:
        assert "(4 fields in each of the first 4 lines)" in found.said[0]
    assert values(read(path, separator=separator)) == FIVE
    assert read(path, separator=separator).said == ()


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_same_table(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    frame = pd.DataFrame(FIVE)
    kind = next(suffix for suffix in path.suffixes)
    if kind == ".parquet":
        frame.to_parquet(path)
    elif kind in json_files.JSON:
        put(path, frame.to_json(orient="records", lines=True))
    elif kind in delimited_layouts.ATOMIC:
        header = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
        put(path, lines(FIVE, "\t", header))
    else:
        put(path, frame.to_csv(index=False, sep="\t" if kind == ".tsv" else ","))
    found = read(path)
    assert values(found) == FIVE
    assert found.theirs == {name: name for name in FIVE}
    assert Dataset.from_tables(path).checksum == Dataset.from_tables(frame).checksum


def test_json_may_be_one_list(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json", pd.DataFrame(FIVE).to_json(orient="records", indent=1))
    assert values(read(path)) == FIVE


def test_a_folder_of_parquet_files_is_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    frame = pd.DataFrame(FIVE)
    for name, row in (("part-2", 2), ("part-0", 0), ("part-1", 1)):
        frame.iloc[[row]].to_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "_metadata.parquet").write_text("not a table")
    (tmp_path / "_temporary").mkdir()  # of a job that did not end
    frame.to_parquet(tmp_path / "_temporary/part-2.parquet")
    assert values(read(tmp_path)) == FIVE
    pd.DataFrame({"user_id": [1]}).to_parquet(tmp_path / "part-3.parquet")
    with pytest.raises(ValueError, match=r"part-3.parquet has no column 'item_id', which other"):
        read(tmp_path)
    pd.DataFrame(FIVE | {"item_id": "x"}).to_parquet(tmp_path / "part-3.parquet")
    with pytest.raises(ValueError, match="have columns of different types"):
        read(tmp_path)


class Foreign:
    """A table of another library, of which only Arrow's interface is known."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def test_whatever_speaks_arrow_is_a_table() -> None:
    frame = pd.DataFrame(FIVE)
    for table in (
        pa.table(FIVE),
        Foreign(pa.table(FIVE)),
        frame.convert_dtypes(dtype_backend="pyarrow"),
    ):
        assert values(read(table)) == FIVE
        assert Dataset.from_tables(table).checksum == Dataset.from_tables(frame).checksum
    with pytest.raises(TypeError, match="interactions is of type list, expected a DataFrame"):
        read([1], where="interactions")


def test_a_folder_of_other_files_is_no_table(tmp_path: Path) -> None:
    put(tmp_path / "a.csv", "user_id,item_id\n1,2\n")
    with pytest.raises(ValueError, match="is a folder without Parquet files, expected a file"):
        read(tmp_path)


def test_parts_with_categories_of_their_own_are_one_table(tmp_path: Path) -> None:
    for number, ids in enumerate((["b", "a"], ["c", "a"])):
        part = pd.DataFrame({"user_id": pd.Categorical(ids), "item_id": [1, 2]})
        part.to_parquet(tmp_path / f"part-{number}.parquet")
    assert values(read(tmp_path))["user_id"] == ["b", "a", "c", "a"]


# Published shapes


ATOMIC = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"


def test_one_column_may_be_an_id_and_a_title(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "name,x,y\n7,1,3\n8,2,4\n")
    items, _ = read_items(path, {"item": "name", "title": "name"})
    assert items["item_id"].tolist() == [7, 8]
    assert items["title"].tolist() == ["7", "8"]
    with pytest.raises(ValueError, match="column 'x' was given for rating and for timestamp"):
        read(path, columns={"user": "name", "item": "y", "rating": "x", "time": "x"})
    with pytest.raises(ValueError, match="column 'name' was given for user_id and for item_id"):
        read(path, columns={"user": "name", "item": "name"})


def test_types_in_a_header_count_if_all_names_have_one(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "user_id:token,item_id:token\n7,8\n")
    assert values(read(path)) == {"user_id": [7], "item_id": [8]}


def test_an_atomic_file_is_typed_and_has_no_quotes(tmp_path: Path) -> None:
    rows = '1\t"Toy" Story\t1995\tAnimation Comedy\n2\t"5 O\'Clock\t\t\n'
    items, said = read_items(put(tmp_path / "ml.item", ATOMIC + rows))
    assert items["title"].tolist() == ['"Toy" Story', "\"5 O'Clock"]
    assert items["genres"].tolist() == ["Animation|Comedy", ""]
    assert items["year"].tolist() == [1995, pd.NA]
    assert len(said) == 3
    assert said[0].endswith("title is the column 'movie_title'")


def test_python_literals_are_read_and_never_executed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    good = "{u'asin': 'B', 'title': 'Rock &amp; Roll', 'categories': [['a', 'b'], ['a', 'c|d']]}\n"
    items, _ = read_items(put(tmp_path / "meta.json.gz", good))
    assert items["title"].tolist() == ["Rock & Roll"]
    assert items["genres"].tolist() == ["a|b|c/d"]
    with pytest.raises(ValueError, match="row 1: found"):
        read_items(put(tmp_path / "complex.json", good + "{'asin': 'C', 'year': 1+1j}"))
    with pytest.raises(ValueError, match="expected an object in JSON, one a line"):
        read_items(put(tmp_path / "names.json", good + "{'asin': 'C', None: 1999}"))
    bad = f"{{'asin': open({str(made)!r}, 'w')}}"
    with pytest.raises(ValueError, match=r"bad.json, row 1: found .*expected an object in JSON"):
        read_items(put(tmp_path / "bad.json", good + bad))
    assert not made.exists()


def test_a_description_follows_what_is_known_of_an_item(tmp_path: Path) -> None:
    rows = [
        {"parent_asin": "A", "title": "T", "categories": ["x", "y"], "description": ["1.", "2."]},
        {"parent_asin": "B", "title": None, "categories": None, "description": ["<p>3"]},
        {"parent_asin": "C", "title": "U", "categories": [], "description": []},
        {"parent_asin": "D", "title": None, "categories": [], "description": None},
    ]
    path = put(tmp_path / "meta.jsonl", "\n".join(map(json.dumps, rows)))
    items, _ = read_items(path)
    assert items["text"].tolist() == ["T. Genres: x, y. 1. 2.", "3", "U.", ""]
    assert items["genres"].tolist() == ["x|y", "", "", ""]
    given, _ = read_items(path, {"text": "description"})
    assert given["text"].tolist() == ["1. 2.", "3", "", ""]


# With a header or without


@pytest.mark.parametrize(
    ("content", "number_of_rows"),
    [
        ("A1,B2,5.0,1588687728923\n", 1),
        ("1::1193::5::978300760\n1::661::3::978302109\n", 2),
        ("u1;i1;3.5;2020-01-01\n", 1),
        ("420374|214536502|1|2014-04-06T18:44:58.314Z\n", 1),
        ("\n\n7,8,1,9\n\n", 1),
        ("\ufeff7,8,1,9\n", 1),
    ],
)
def test_a_file_without_a_header_needs_numbers(
    content: str, number_of_rows: int, tmp_path: Path
) -> None:
    path = put(tmp_path / "a.dat", content)
    first = content.strip("\n\ufeff").split("\n")[0]
    says = (
        f"a.dat has no header: its first line is {first!r}, with no known name; expected to be "
        "told which column is which, by numbers from 1: for example --columns "
        "user=1,item=2,rating=3,time=4 (in Python "
    )
    with pytest.raises(ValueError, match=re.escape(says)):
        read(path)
    given = {"user": "1", "item": "2"}
    found = read(path, columns=given)
    assert len(found.frame) == number_of_rows
    assert found.theirs == {"user_id": "1", "item_id": "2"}
    assert "has no header" in found.said[-1]
    assert values(read(path, columns=given, header=False)) == values(found)


def test_numbers_are_places_in_any_order(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "B0,A1,5.0,1487462400\nB1,A1,4.0,1487462401\n")
    found = read(path, columns={"item": "1", "user": "2", "time": "4"})
    assert values(found) == {
        **{"user_id": ["A1", "A1"], "item_id": ["B0", "B1"], "timestamp": [1487462400, 1487462401]}
    }
    with pytest.raises(ValueError, match="has no column '5', only '1, 2, 3, 4'"):
        read(path, columns={"item": "1", "user": "5"})


def test_a_header_is_what_one_says_it_is(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "user_id,item_id\n7,8\n")
    found = read(path, header=False, columns=BY_NUMBER | {"rating": "", "time": ""})
    assert values(found) == {"user_id": ["user_id", "7"], "item_id": ["item_id", "8"]}
    path = put(tmp_path / "b.csv", "1,2\n7,8\n")
    assert values(read(path, header=True, columns={"user": "1", "item": "2"})) == {
        **{"user_id": [7], "item_id": [8]}
    }
    path = put(tmp_path / "c.csv", "alice,pear\n7,8\n")
    with pytest.raises(ValueError, match=r"no column 'user_id', only 'alice, pear'.*--no-header"):
        read(path)
    found = read(path, columns={"user": "alice", "item": "pear"})
    assert found.column("user_id").name == "alice"


# Delimiters that cannot be told


def test_two_delimiters_that_both_fit_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "a|1,b|2\nc|1,d|2\n")
    says = (
        "a.csv could be separated by commas and by vertical bars: both give the same number of "
        "fields in each of the first lines, of which the first is 'a|1,b|2'; say which with "
        "--separator , or --separator '|'"
    )
    with pytest.raises(ValueError, match=re.escape(says)):
        read(path, columns=BY_NUMBER)
    given = {"user": "1", "item": "2"}
    assert values(read(path, columns=given, separator=","))["user_id"] == ["a|1", "c|1"]
    assert values(read(path, columns=given, separator="pipe"))["item_id"] == ["1,b", "1,d"]


def test_a_known_name_decides_between_delimiters(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "user_id;item_id;price,EUR\n1;2;3,50\n4;5;6,70\n")
    assert values(read(path)) == {"user_id": [1, 4], "item_id": [2, 5]}


def test_a_file_that_no_delimiter_fits_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", "user_id,item;id\n1,2\n1;2;3\n")
    with pytest.raises(ValueError, match=r"a.txt: none of , ; \| :: and tab gives the same number"):
        read(path)


@pytest.mark.parametrize(
    ("spelled", "mark"), [("tab", "\t"), ("\\t", "\t"), ("space", " "), ("~~", "~~"), ("^", "^")]
)
def test_a_delimiter_may_be_given(spelled: str, mark: str, tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", lines(FIVE, mark))
    assert values(read(path, separator=spelled)) == FIVE


@pytest.mark.parametrize("separator", ["", "\n", '"', "→", 'a"', "0", "x"])
def test_what_cannot_separate_fields_is_refused(separator: str, tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", lines(FIVE, ","))
    with pytest.raises(ValueError, match=r"separator is .*, expected , ; \| ::"):
        read(path, separator=separator)


def test_a_separator_of_two_characters_may_lie_on_the_border_of_two_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(str(i), f"{i}:x", "4" * (i % 5 + 1), str(i)) for i in range(200)]
    content = "".join("::".join(row) + "\n" for row in rows)
    path = put(tmp_path / "a.dat", content)
    for size in range(60, 80):
        monkeypatch.setattr(delimited_files, "BLOCK_BYTES", size)
        found = read(path, columns=BY_NUMBER)
        assert found.frame["item_id"].tolist() == [row[1] for row in rows]
        assert found.frame["timestamp"].tolist() == list(range(200))
    put(path, "1::2::3::4\n1::a:::b::4\n")  # as str.split: the first two are the separator
    monkeypatch.undo()
    assert values(read(path, columns=BY_NUMBER | {"rating": ""}))["item_id"] == ["2", "a"]


# Fields


IDS = [
    (["1", "20"], "int64", [1, 20]),
    (["1", "020"], "category", ["1", "020"]),
    (["-0", "1"], "category", ["-0", "1"]),
    (["+1", "1"], "category", ["+1", "1"]),
    (["0x10", "1"], "category", ["0x10", "1"]),
    (["1.0", "1"], "category", ["1.0", "1"]),
    (["1e3", "1"], "category", ["1e3", "1"]),
    ([" 1", "1"], "category", [" 1", "1"]),
    (["1" * 18, "2"], "int64", [int("1" * 18), 2]),
    (["1" * 19, "2"], "category", ["1" * 19, "2"]),
    (["NA", "null"], "category", ["NA", "null"]),  # only an empty field is missing
    (["nan", "NaN"], "category", ["nan", "NaN"]),
    (["true", "false"], "category", ["true", "false"]),
    (["é", "日本"], "category", ["é", "日本"]),
    (["a\x00b", "\x04"], "category", ["a\x00b", "\x04"]),
    (["0", "-5"], "int64", [0, -5]),
]


@pytest.mark.parametrize(("ids", "dtype", "expected"), IDS)
def test_ids_are_numbers_only_if_all_are_written_as_such(
    ids: list[str], dtype: str, expected: list[Any], tmp_path: Path
) -> None:
    for order in (1, -1):
        path = put(tmp_path / "a.csv", "user_id,item_id\n5," + "\n5,".join(ids[::order]))
        found = read(path).frame["item_id"]
        assert found.dtype == dtype
        assert found.tolist() == expected[::order]


def test_no_piece_of_a_long_file_decides_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited_files, "BLOCK_BYTES", 4096)
    size = 5000
    ids = [str(i) for i in range(size)]
    path = tmp_path / "a.csv"
    for place in (0, size // 2, size - 1):
        odd = [*ids[:place], "0012", *ids[place + 1 :]]
        times = [*ids[:place], "soon", *ids[place + 1 :]]
        rows = "".join(f"{a},{b},{c}\n" for a, b, c in zip(ids, odd, times, strict=True))
        put(path, f"user_id,item_id,timestamp\n{rows}")
        found = read(path).frame
        assert found["user_id"].tolist() == list(range(size))
        assert found["item_id"].tolist() == odd
        assert found["timestamp"].tolist() == times


def test_times_and_ratings_are_numbers_only_if_all_of_them_are(tmp_path: Path) -> None:
    def kinds(*times: str) -> tuple[str, list[Any]]:
        rows = "".join(f"1,2,{time},{time}\n" for time in times)
        put(tmp_path / "a.csv", f"user_id,item_id,rating,timestamp\n{rows}")
        frame = read(tmp_path / "a.csv").frame
        assert frame["rating"].dtype == ("float64" if frame["timestamp"].dtype != "str" else "str")
        return str(frame["timestamp"].dtype), frame["timestamp"].tolist()

    assert kinds("5", "1650519200213") == ("int64", [5, 1650519200213])
    assert kinds("5", "6.5") == ("float64", [5, 6.5])
    assert kinds("5", "2020-01-01") == ("str", ["5", "2020-01-01"])
    assert kinds("2020-01-01", "5") == ("str", ["2020-01-01", "5"])
    _, missing = kinds("5", "")
    assert missing[0] == 5
    assert np.isnan(missing[1])


def test_quotes_as_spreadsheets_write_them(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "item_id": ["a,b", 'say "x"', "two\nlines", "c\r\nd"],
            "title": ["x", "  y ", 'in"side', ""],
        }
    )
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    found = read_table(path, needed=("item_id",), optional=("title",)).frame
    assert found["item_id"].tolist() == frame["item_id"].tolist()
    assert found["title"].fillna("").tolist() == frame["title"].tolist()


def test_columns_of_no_interest_may_hold_anything(tmp_path: Path) -> None:
    rows = [b"1,2,3,\xff\xfe", b'4,5,6,"a\nb"', b"7,8,9,"]
    path = put(tmp_path / "a.csv", b"user_id,item_id,timestamp,note\n" + b"\n".join(rows))
    assert values(read(path)) == {
        "user_id": [1, 4, 7],
        "item_id": [2, 5, 8],
        "timestamp": [3, 6, 9],
    }


# The same catalogue, whatever held the ids


def checksum(ids: Any) -> str:
    table = pa.table({"user_id": pa.array([1] * len(ids)), "item_id": ids})
    return Dataset.from_tables(table).checksum


def test_the_same_ids_come_from_every_type_of_number(tmp_path: Path) -> None:
    plain = [3, 2, 40]
    expected = checksum(pa.array(plain))
    arrays: list[Any] = [
        pa.array(plain, pa.int8()),
        pa.array(plain, pa.uint64()),
        pa.array(plain, pa.float32()),
        pa.array([Decimal(value) for value in plain]),
        pa.array([Decimal(value) for value in plain], pa.decimal128(10, 2)),
        pa.array(plain).dictionary_encode(),
        pa.array([Decimal(value) for value in plain]).dictionary_encode(),
        pa.chunked_array([pa.array([value]).dictionary_encode() for value in plain]),
    ]
    for array in arrays:
        assert checksum(array) == expected, array.type
        if str(array.type).startswith("dictionary<values=decimal"):
            continue  # Parquet cannot hold it
        pq.write_table(pa.table({"user_id": [1] * 3, "item_id": array}), tmp_path / "a.parquet")
        assert Dataset.from_tables(tmp_path / "a.parquet").checksum == expected, array.type
    objects = [
        *(pd.Series(plain, dtype=kind) for kind in ("Int64", "float64", "object", "category")),
        *(pd.Series(plain, dtype=f"{kind}[pyarrow]") for kind in ("int32", "uint8", "double")),
        pd.Series([Decimal(value) for value in plain]),
        pd.Series(pd.array([Decimal(v) for v in plain], pd.ArrowDtype(pa.decimal128(9, 1)))),
    ]
    for column in objects:
        frame = pd.DataFrame({"user_id": 1, "item_id": column})
        assert Dataset.from_tables(frame).checksum == expected, column.dtype


def test_the_same_ids_come_from_every_type_of_text(tmp_path: Path) -> None:
    uuids = [UUID(int=5), UUID(int=3), UUID(int=4)]
    plain = [str(value) for value in uuids]
    expected = checksum(pa.array(plain))
    arrays: list[Any] = [
        pa.array(plain, pa.large_string()),
        pa.array(plain, pa.string_view()),
        pa.array([text.encode() for text in plain]),
        pa.array(plain).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.uint32()), pa.array(plain)),
        pa.DictionaryArray.from_arrays(
            pa.array([2, 1, 0], pa.uint8()), pa.array(plain[::-1], pa.string_view())
        ),
        pa.chunked_array([pa.array([text]).dictionary_encode() for text in plain]),
        pa.ExtensionArray.from_storage(
            pa.uuid(), pa.array([value.bytes for value in uuids], pa.binary(16))
        ),
    ]
    for array in arrays:
        assert checksum(array) == expected, array.type
    for dtype in ("object", "str", "string", "category", "string[python]", "string[pyarrow]"):
        frame = pd.DataFrame({"user_id": 1, "item_id": pd.Series(plain, dtype=dtype)})
        assert Dataset.from_tables(frame).checksum == expected, dtype
    frame = pd.DataFrame({"user_id": 1, "item_id": uuids})
    assert Dataset.from_tables(frame).checksum == expected
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert Dataset.from_tables(tmp_path / "a.csv").checksum == expected


@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("of", [pa.list_, pa.large_list, lambda kind: pa.list_(pa.list_(kind))])
def test_genres_may_be_lists_of_any_type_of_arrow(
    text: pa.DataType, of: Callable[[pa.DataType], pa.DataType]
) -> None:
    nested = pa.types.is_list(of(text)) and pa.types.is_list(of(text).value_type)
    cells = [[["x"], ["y"]], [], None] if nested else [["x", "y"], [], None]
    genres = pa.array(cells, of(text))
    items, _ = read_items(pa.table({"item_id": [1, 2, 3], "genres": genres}))
    assert items["genres"].tolist() == ["x|y", "", ""]


def test_what_arrow_holds_and_an_id_is_not_is_named() -> None:
    table = pa.table({"user_id": [1], "item_id": pa.array([{"a": "b"}])})
    with pytest.raises(ValueError, match=r"row 0, column 'item_id': found \{'a': 'b'\}, expected"):
        Dataset.from_tables(table)


def test_categories_that_no_row_has_do_not_count() -> None:
    ids = pd.Categorical(["b", "a"], categories=["", " ", "a", "b", "c"])
    data = Dataset.from_tables(pd.DataFrame({"user_id": 1, "item_id": ids}))
    assert data.items["item_id"].tolist() == ["a", "b"]


BAD_IDS = [
    (pd.Categorical(["a", "b", " ", "b"]), "row 2, column 'sku': found '', expected an id"),
    (pd.Categorical(["a", None, "a", "a"]), "row 1, column 'sku': found nothing"),
    (pd.Categorical([5, 6, -1, 5]), "row 2, column 'sku': found -1, expected an id of 0 or more"),
    (pd.array([1, None, 2, 3], "Int64"), "row 1, column 'sku': found nothing, expected an id"),
    ([Decimal(1), Decimal("1.5")] * 2, "row 1, column 'sku': found Decimal('1.5'), expected a wh"),
    ([2**64, 1, 2, 3], "row 0, column 'sku': found 18446744073709551616, expected an id of 64"),
    ([UUID(int=5), 1, "b", "c"], "row 1, column 'sku': found 1, expected ids of one type"),
    (
        [b"\xff", b"b", b"c", b"d"],
        "row 0, column 'sku': found b'\\xff', expected a whole number or text: convert",
    ),
    ([[1], [2], [3], [4]], "row 0, column 'sku': found [1], expected a whole number or text"),
    (pd.to_datetime(["2020-01-01"] * 4), "row 0, column 'sku': found Timestamp("),
    ([True, False, True, True], "row 0, column 'sku': found True, expected a whole number or text"),
]


@pytest.mark.parametrize(("ids", "says"), BAD_IDS)
def test_bad_ids_are_named_as_the_table_names_them(ids: Any, says: str) -> None:
    frame = pd.DataFrame({"user_id": 1, "sku": ids})
    with pytest.raises(ValueError, match=re.escape(says)):
        Dataset.from_tables(frame)


# What is wrong, and the sentence that it gets

ROW = b"user_id,item_id\n1,2\n"
PACKED = gzip.compress(b"user_id,item_id\n" + b"1,2\n" * 1000, mtime=0)
BAD = [
    ("a.csv", ROW + b"3\n", "a.csv, row 1: found 1 field, expected 2 (separated by commas)"),
    (
        "a.dat",
        b"user::item\n1::2\n3::4::5\n",
        'row 1: found 3 fields, expected 2 (separated by "::',
    ),
    ("a.csv", ROW + b'3,"4\n5,6\n', "a.csv is not a csv table (a quote is opened and not closed)"),
    ("a.csv", b'"user_id,item_id\n1,2\n', "a.csv"),
    ("a.csv", ROW + b"3,\xe9\n", "a.csv is not UTF-8 text (invalid continuation byte at byte 22)"),
    ("a.csv", "user_id,item_id\n1,2\n".encode("utf-16"), "a.csv is UTF-16 text, expected UTF-8"),
    ("a.csv", PACKED, "a.csv is a gzip file, expected text: name it …csv.gz"),
    ("a.csv", zst(ROW), "a.csv is a Zstandard file, expected text: name it …csv.zst"),
    ("a.csv", b"PAR1", "a.csv is a Parquet file, expected text: name it ….parquet"),
    ("a.csv.gz", ROW, "a.csv.gz is not a complete gzip file (Not a gzipped file"),
    ("a.csv.gz", PACKED[:-9], "a.csv.gz is not a complete gzip file (Compressed file ended"),
    ("a.csv.zst", ROW, "a.csv.zst is not a complete Zstandard file"),
    ("a.csv.zst", zst(ROW)[:-5], "a.csv.zst is not a complete Zstandard file (Truncated"),
    ("a.csv.gz", gzip.compress(b"", mtime=0), "a.csv.gz is empty, expected a table"),
    ("a.json.gz", gzip.compress(b"", mtime=0), "a.json.gz has no rows, expected a table"),
    ("a.csv", b"\n\n\n", "a.csv has no line that can be read"),
    ("a.json", b"\n\n", "a.json has no rows"),
    ("a.json", b"[]", "a.json has no rows"),
    ("a.json", b"{}\n", "a.json has no column 'user_id', only ''"),
    ("a.json", b'[{"user": 1}', "a.json is not JSON (Expecting ',' delimiter"),
    ("a.json", b"[" * 10**5, "a.json is not JSON"),
    ("a.json", b'{"a":' * 10**5, 'a.json, row 0: found \'{"a":'),
    ("a.json", b'{"user": 1, "item": 2}\n[3]\n', "a.json, row 1: found '[3]', expected an object"),
    ("a.json", b'{"user": 1, "item": 2}\n\xff\n', "a.json, row 1 is not UTF-8 text"),
    ("a.jsonl", b'{"user": 1, "item": 2}\n{"user": 3}\n', "row 1, column 'item': found nothing"),
    ("a.jsonl", b'{"user": 1, "item": 2}\n{"user": 3, "item": "4"}\n', "row 1, column 'item': fo"),
    ("a.jsonl", b'{"user": 1, "item": {"a": 2}}\n', "row 0, column 'item': found {'a': 2}, expec"),
    ("a.jsonl", b'{"user": 1, "item": true}\n', "row 0, column 'item': found True, expected"),
    ("a.parquet.gz", b"x", "a.parquet.gz ends in '.parquet.gz', expected one of .csv, .tsv"),
    ("a.csv.bz2", b"x", "a.csv.bz2 ends in '.bz2', expected one of .csv, .tsv"),
    ("a", b"x", "a ends in '', expected one of .csv"),
    ("a.inter", b"user_id:token\titem_id:token\n1\t2\n\n3\n", "row 1: found 1 field, expected 2"),
]


@pytest.mark.parametrize(("name", "content", "says"), BAD)
def test_a_bad_file_gets_its_sentence(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        Dataset.from_tables(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".jsonl.gz"])
def test_a_file_that_grows_beyond_measure_is_refused(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_files, "MAX_UNPACKED", 10_000)
    row = '{"user": 1, "item": 2}\n' if "json" in ending else "1,2\n"
    content = row * 100_000 if "json" in ending else "user,item\n" + row * 1_000_000
    path = put(tmp_path / f"a{ending}", content)
    with pytest.raises(ValueError, match=r"unpacks to more than .* bytes, expected fewer"):
        read(path)


def test_a_damaged_end_of_a_long_packed_file_is_named(tmp_path: Path) -> None:
    content = b"user,item\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(200_000))
    for name, packed in (
        ("a.csv.gz", gzip.compress(content, mtime=0)),
        ("a.csv.zst", zst(content)),
    ):
        (tmp_path / name).write_bytes(packed[:-20])
        with pytest.raises(ValueError, match=f"{name} is not a complete"):
            read(tmp_path / name)


def test_what_is_read_ahead_when_an_error_is_found_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited_files, "BLOCK_BYTES", 2**16)
    rows = [f"{i},{i},{i}\n" for i in range(100_000)]
    path = tmp_path / "a.csv"
    for odd, says in (("1,2\n", "row 50: found 2 fields"), ("1,2,x\n", None)):
        path.write_text("user,item,ts\n" + "".join([*rows[:50], odd, *rows[51:]]))
        for _ in range(10):
            if says is None:
                assert len(read(path).frame) == len(rows)
            else:
                with pytest.raises(ValueError, match=says):
                    read(path)


def test_a_row_may_be_long_but_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited_files, "BLOCK_BYTES", 1000)
    path = put(tmp_path / "a.csv", "user_id,item_id\n" + "1,2\n" * 500 + f"3,{'x' * 5000}\n")
    with pytest.raises(ValueError, match=r"a.csv has a row of more than 1,000 bytes"):
        read(path)


# Random tables come back as they were

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x04\x1f"), max_size=12)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 10**17), TEXT.filter(bool)),
        st.integers(0, 10**15),
        st.floats(-1e30, 1e30),
        TEXT,
    ),
    min_size=1,
    max_size=30,
)
NAMES = ("user_id", "item_id", "rating", "note")


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([".csv", ".tsv", ".txt", ".csv.gz", ".jsonl", ".parquet"]))
def test_a_random_table_comes_back(rows: list[tuple[Any, ...]], ending: str) -> None:
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    columns["user_id"] = [str(value) for value in columns["user_id"]]
    frame = pd.DataFrame(columns)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        if ending == ".parquet":
            frame.to_parquet(path)
        elif ending == ".jsonl":
            # pandas' to_json would round to 15 decimals
            rows_of_json = [json.dumps(row) for row in frame.to_dict("records")]
            path.write_text("\n".join(rows_of_json), encoding="utf-8")
        else:
            frame.to_csv(path, index=False, sep={".tsv": "\t", ".txt": ";"}.get(ending, ","))
        separator = {".txt": ";", ".tsv": "\t"}.get(ending, ",")
        found = read_table(
            path,
            needed=("user_id", "item_id"),
            optional=("rating", "note"),
            separator=separator,
            header=True,
        ).frame
    ids = columns["user_id"]
    plain = all(re.fullmatch("0|-?[1-9][0-9]{0,17}", text) for text in ids)
    numbers = plain and ending not in (".jsonl", ".parquet")
    assert found["user_id"].tolist() == ([int(text) for text in ids] if numbers else ids)
    assert found["item_id"].tolist() == columns["item_id"]
    np.testing.assert_allclose(found["rating"].astype(float), columns["rating"], rtol=1e-9)
    assert found["note"].fillna("").tolist() == columns["note"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.text("ab1 .-", min_size=1, max_size=5).filter(str.strip)] * 3),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([",", ";", "\t", "|", "::"]),
)
def test_a_delimiter_that_is_found_is_the_right_one(rows: list[tuple[str, ...]], mark: str) -> None:
    text = "".join(mark.join(row) + "\n" for row in [("user", "item", "x"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        found = read(put(Path(folder) / "a.txt", text)).frame
    assert found["user_id"].astype(str).tolist() == [row[0] for row in rows]
    assert found["item_id"].astype(str).tolist() == [row[1] for row in rows]


def test_advice_fits_a_file_whose_separator_is_not_found(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("1 10 5\n1 11 4\n")
    for columns in ({"user_id": "1", "item_id": "2"}, None):
        with pytest.raises(ValueError, match="say what with --separator") as caught:
            read_table(path, needed=("user_id", "item_id"), optional=(), columns=columns)
        assert "add --no-header" not in str(caught.value)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_key_of_later_objects_is_a_column(tmp_path: Path, quote: str) -> None:
    rows = [{"user": n, "item": n % 7, "more": {"a": 1}} for n in range(200)]
    for row in rows[150:]:
        row["rating"] = 5
    text = "\n".join(map(json.dumps, rows)).replace('"', quote)
    path = put(tmp_path / "log.jsonl", text)
    assert json_files.column_names(path) == ["user", "item", "more", "rating"]
    read = read_table(path, needed=("user_id", "item_id"), optional=("rating",))
    assert read.column("rating").isna().sum() == 150
    assert (read.column("rating")[150:] == 5).all()
