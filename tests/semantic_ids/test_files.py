"""Files of semantic IDs: round trips, and every way to spoil one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.semantic_ids import files as id_files
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import read_ids, write_ids

SIZES = [3, 2]
CODES = torch.tensor([[2, 1], [0, 1], [2, 1], [2, 0], [2, 1]])
TITLES = ['Alien, "the" first', "Amélie\nor not", "七人の侍", "", "NA"]
ITEM_IDS = np.array([10, 7, 2**63 - 1, -(2**63), 5])
ENDINGS = pytest.mark.parametrize("ending", [".csv", ".parquet"])


def example() -> SemanticIDs:
    return SemanticIDs(CODES, SIZES)


def table() -> pd.DataFrame:
    return example().to_frame(ITEM_IDS, TITLES)


def spoilt(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> Path:
    """Write a table that something was done to, as another program would."""
    frame = table().astype(object)
    changed = change(frame)
    frame = frame if changed is None else changed
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame = frame.apply(lambda column: column if _plain(column) else column.astype(str))
        frame.infer_objects().to_parquet(path, index=False)
    return path


def _plain(column: pd.Series) -> bool:
    """Parquet has a type a column: what is mixed becomes text."""
    return column.map(type).nunique() == 1


# Round trips


@ENDINGS
def test_a_file_is_the_same_bytes_twice_and_reads_back(tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"new folder/ids{ending}", tmp_path / f"again{ending}"
    write_ids(first, table())
    write_ids(second, table())
    assert first.read_bytes() == second.read_bytes()
    if ending == ".csv":
        assert b"\r" not in first.read_bytes()
        plain = pd.read_csv(first, keep_default_na=False)
    else:
        plain = pd.read_parquet(first)
    pd.testing.assert_frame_equal(plain, table(), check_dtype=False)
    back = read_ids(first, SIZES)
    assert back.ids.sha256 == example().sha256
    assert back.item_ids.dtype == np.int64
    assert back.item_ids.tolist() == ITEM_IDS.tolist()
    assert back.titles == TITLES


@ENDINGS
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_catalogue_comes_back(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    size = {"min_size": len(rows), "max_size": len(rows)}
    text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
    kinds = [st.integers(-(2**63), 2**63 - 1), text.filter(str.strip).map(lambda one: one + "x")]
    own = data.draw(st.one_of(*(st.lists(kind, unique=True, **size) for kind in kinds)))
    titles = data.draw(st.lists(text, **size))
    ids = SemanticIDs(torch.tensor(rows), sizes)
    path = tmp_path_factory.mktemp("ids") / f"ids{ending}"
    write_ids(path, ids.to_frame(np.array(own), titles))
    back = read_ids(path, sizes)
    assert back.ids.sha256 == ids.sha256
    assert back.item_ids.tolist() == own
    assert back.titles == titles
    shuffled = data.draw(st.permutations(range(len(rows))))
    pd_rows = ids.to_frame(np.array(own), titles).iloc[shuffled]
    write_ids(path, pd_rows)
    back = read_ids(path, sizes, item_ids=own)  # whatever order the rows stand in
    assert back.ids.sha256 == ids.sha256
    assert back.item_ids.tolist() == own
    assert back.titles == titles


@ENDINGS
@pytest.mark.parametrize("own", [["b", "a"], ["007", "7"], ["10", "x"], ["a\rb", "a\nb"]])
def test_ids_may_be_text(tmp_path: Path, ending: str, own: list[str]) -> None:
    ids = SemanticIDs(CODES[:2], SIZES)
    path = tmp_path / f"ids{ending}"
    write_ids(path, ids.to_frame(np.array(own, dtype=object), TITLES[:2]).iloc[::-1])
    back = read_ids(path, SIZES, item_ids=own)
    assert back.item_ids.tolist() == own
    assert back.ids.sha256 == ids.sha256
    assert read_ids(path, SIZES).item_ids.tolist() == own[::-1]
    with pytest.raises(ValueError, match=r"column 'item_id': item c is missing"):
        read_ids(path, SIZES, item_ids=[*own, "c"])


def test_text_of_digits_is_text_where_the_file_or_the_catalogue_says_so(tmp_path: Path) -> None:
    ids, own = SemanticIDs(CODES[:2], SIZES), ["7", "10"]
    for ending in (".csv", ".parquet"):
        for written in (np.array(own, dtype=object), np.array([7, 10])):
            path = tmp_path / f"ids{ending}"
            write_ids(path, ids.to_frame(written, TITLES[:2]))
            assert read_ids(path, SIZES, item_ids=own).item_ids.tolist() == own
            assert read_ids(path, SIZES, item_ids=[7, 10]).item_ids.tolist() == [7, 10]
            as_text = ending == ".parquet" and written.dtype == object
            assert read_ids(path, SIZES).item_ids.tolist() == (own if as_text else [7, 10])


@ENDINGS
def test_a_spoilt_number_is_named_where_the_catalogue_has_numbers(
    tmp_path: Path, ending: str
) -> None:
    for found in ("Alien", str(2**63)):
        path = spoilt(tmp_path / f"ids{ending}", put(2, "item_id", found))
        with pytest.raises(ValueError, match=f"row 2, column 'item_id': found '{found}', .* whole"):
            read_ids(path, SIZES, item_ids=ITEM_IDS)
    with pytest.raises(ValueError, match=r"item_ids\[1\] is 'a', expected all whole numbers or"):
        read_ids(path, SIZES, item_ids=[1, "a"])  # type: ignore[list-item]


def test_a_csv_from_a_spreadsheet_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    write_ids(path, table())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_ids(path, SIZES).ids.sha256 == example().sha256


# Files that are refused


def put(row: int, column: str, found: object) -> Callable[[pd.DataFrame], None]:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = found

    return change


def repeat_row(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[1]]], ignore_index=True)


BAD_TABLES = {
    "a column missing": (lambda f: f.drop(columns="code_2"), "has no column 'code_2'"),
    "a column too many": (lambda f: f.assign(code_3=0), "has a column 'code_3'"),
    "columns in another order": (lambda f: f[f.columns[::-1]], "columns in another order"),
    "a duplicate item": (repeat_row, "row 5, column 'item_id': found '7', .* row 1 has it"),
    "a code too high": (put(3, "code_2", 2), "row 3, column 'code_2': found '2', .* 0 to 1"),
    "a code below 0": (put(0, "code_1", -1), "row 0, column 'code_1': found '-1', .* 0 to 2"),
    "a fraction": (put(4, "code_1", 1.5), "row 4, column 'code_1': found '1.5', .* whole number"),
    "a word": (put(2, "code_1", "Alien"), "row 2, column 'code_1': found 'Alien', .* whole"),
    "no id": (put(2, "item_id", " "), "row 2, column 'item_id': found '', expected an id"),
    "an empty field": (put(1, "code_2", ""), "row 1, column 'code_2': found '', .* whole number"),
    "digits of another script": (put(1, "code_2", "١"), "row 1, column 'code_2': .* whole"),
    "a number past int64": (put(2, "code_1", str(2**63)), f"row 2, .* found '{2**63}', .* whole"),
    "a wrong last code": (
        put(2, "disambiguation", 0),
        "row 2, column 'disambiguation': found '0', expected 1, .* order of items",
    ),
    "an ID that is now a date": (
        put(1, "semantic_id", "2000-01-01"),
        "row 1, column 'semantic_id': found '2000-01-01', expected 0-1-0",
    ),
    "rows in another order": (lambda f: f.iloc[::-1], "row 0, column 'disambiguation'"),
    "no rows": (lambda f: f.iloc[:0], "has no rows"),
}


@ENDINGS
@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_spoilt_table_gives_one_sentence_and_is_left_as_it_is(
    tmp_path: Path, ending: str, name: str
) -> None:
    change, message = BAD_TABLES[name]
    path = spoilt(tmp_path / f"ids{ending}", change)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message) as caught:
        read_ids(path, SIZES)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


NOISE = np.random.default_rng(0).bytes(10 * 2**20)
HEADER = b"item_id,title,code_1,code_2,disambiguation,semantic_id\n"
BAD_BYTES = {
    "no bytes": b"",
    "10 MB of noise": NOISE,
    "10 MB of letters": b"a" * (10 * 2**20),
    "10 MB of text": bytes(byte % 95 + 32 for byte in NOISE[: 2**20]) * 10,
    "a row too long": HEADER + b"1,a,0,0,0,0-0-0,9\n",
    "a quote that never ends": HEADER + b'1,"a,0,0\n',
    "a quote within a name": HEADER.replace(b"disamb", b'disamb"') + b"1,a,0,0,0,0-0-0\n",
    "Latin-1": HEADER + b"1,\xe9,0,0,0,0-0-0\n",
}


@ENDINGS
@pytest.mark.parametrize("name", BAD_BYTES)
def test_bytes_that_are_no_table_give_one_short_sentence(
    tmp_path: Path, ending: str, name: str
) -> None:
    path = tmp_path / f"ids{ending}"
    path.write_bytes(BAD_BYTES[name])
    with pytest.raises(ValueError, match="ids") as caught:
        read_ids(path, SIZES)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 350
    assert path.read_bytes() == BAD_BYTES[name]


def test_a_row_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_bytes(HEADER + b"1,a,0,0,0,0-0-0\n2,b,1,0,0,1-0-0,9\n")
    with pytest.raises(ValueError, match="Expected 6 fields in line 3, saw 7"):
        read_ids(path, SIZES)


def test_a_row_too_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    write_ids(path, table())
    path.write_text(path.read_text(encoding="utf-8") + "99,short,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 5, column 'code_2'"):
        read_ids(path, SIZES)


@ENDINGS
def test_a_missing_item_and_an_unknown_item_are_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"ids{ending}"
    write_ids(path, table())
    with pytest.raises(ValueError, match=r"column 'item_id': item 99 is missing .1 such"):
        read_ids(path, SIZES, item_ids=[*ITEM_IDS, 99])
    with pytest.raises(
        ValueError, match=r"row 1, column 'item_id': found '7', .* of the catalogue"
    ):
        read_ids(path, SIZES, item_ids=ITEM_IDS[[0, 2, 3, 4]])


@ENDINGS
def test_a_folder_or_no_file_is_the_systems_error(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"folder{ending}").mkdir()
    for name in ("nowhere", "folder"):
        with pytest.raises(OSError, match=name):
            read_ids(tmp_path / f"{name}{ending}", SIZES)


def test_another_ending_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for act in (lambda path: write_ids(path, table()), lambda path: read_ids(path, SIZES)):
        with pytest.raises(ValueError, match=r"'\.xlsx'.*\.csv or a \.parquet"):
            act(tmp_path / "ids.xlsx")
    assert list(tmp_path.iterdir()) == []


@ENDINGS
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"ids{ending}"
    write_ids(path, table())
    before = path.read_bytes()

    def half(frame: pd.DataFrame, target: Path, **settings: object) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(id_files.pd.DataFrame, f"to_{ending[1:]}", half)
    with pytest.raises(OSError, match="No space"):
        write_ids(path, table().iloc[::-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
