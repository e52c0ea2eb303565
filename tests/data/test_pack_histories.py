"""Packed histories against `Dataset.from_tables` and `split_by_name`, item for item."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data import buckets
from rqvae_lib.data import pack_histories as packing
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.pack_histories import pack_histories
from rqvae_lib.data.parquet_files import parquet_pieces
from rqvae_lib.data.splits import split_by_name

SECOND = 1_500_000_000
TABLES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5), st.integers(0, 4)), max_size=60)


def write(folder: Path, table: pd.DataFrame, parts: int = 3) -> Path:
    """Write a table as a folder of Parquet files, one of them without rows."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    schema = pa.Schema.from_pandas(table, preserve_index=False)
    cuts = np.linspace(0, len(table), parts + 1).astype(int)
    for part, (start, stop) in enumerate(pairwise(cuts)):
        rows = pa.Table.from_pandas(table.iloc[start:stop], schema, preserve_index=False)
        pq.write_table(rows, folder / f"part-{part}.parquet", row_group_size=7)
    pq.write_table(schema.empty_table(), folder / "part-9.parquet")
    return folder


def tables_of(rows: list[tuple[int, int, int]], kind: str) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["user", "item", "time"])
    table["time"] += SECOND
    if kind == "text":
        # Neither in the order of the numbers, nor all in ASCII.
        table["user"] = table["user"].map(lambda user: ["b", "a", "a\0", "é", "aa", "z", "𝄞"][user])
        table["item"] = "i" + table["item"].astype(str)
    return table


def small_pieces(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(
        packing, "parquet_pieces", lambda path, theirs: parquet_pieces(path, theirs, rows)
    )


def assert_equal(file: HistoriesFile, dataset: Dataset) -> None:
    """Everything of a file is what the same tables are in memory, and so is each split."""
    assert file.histories.begins.tolist() == dataset.user_offsets[:-1].tolist()
    assert file.histories.ends.tolist() == dataset.user_offsets[1:].tolist()
    users = torch.arange(dataset.num_users)
    everything = file.histories.of_users(users)
    assert everything.items.tolist() == dataset.interactions["item"].tolist()
    assert list(file.user_ids()) == list(dataset.user_ids)
    assert list(file.item_ids) == list(dataset.items["item_id"])
    assert (file.num_items, file.num_users) == (dataset.num_items, dataset.num_users)
    assert file.items_checksum == dataset.items_checksum
    assert [file.user_row(user) for user in dataset.user_ids] == users.tolist()
    for name in get_args(SplitName):
        assert_equal_split(file, dataset, name)


def assert_equal_split(file: HistoriesFile, dataset: Dataset, name: SplitName) -> None:
    try:
        split = split_by_name(dataset, name)
    except ValueError as error:  # too many times are the same
        with pytest.raises(ValueError, match=str(error).split(" of ")[0]):
            file.train(name)
        return
    users = torch.arange(dataset.num_users)
    train = file.train(name).of_users(users)
    assert torch.equal(train.items, split.train.items)
    assert torch.equal(train.offsets, split.train.offsets)
    sample = file.sample(name, 10**6)
    assert torch.equal(sample.popularity, split.popularity)
    for positions, own in ((split.validation, sample.validation), (split.test, sample.test)):
        histories, targets = split.histories_and_targets(positions)
        own_histories, own_targets = sample.histories_and_targets(own)
        assert torch.equal(targets, own_targets)
        assert [one.tolist() for one in histories] == [one.tolist() for one in own_histories]


@given(
    TABLES.filter(bool),
    st.sampled_from(["numbers", "text"]),
    st.sampled_from(["keep", "first", "last"]),
    st.integers(1, 12),
    st.integers(1, 20),
)
@settings(max_examples=40, deadline=None)
def test_any_table_is_packed_as_it_is_read_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int]],
    kind: str,
    repeats: Any,
    rows_in_memory: int,
    piece: int,
) -> None:
    place = tmp_path_factory.getbasetemp() / "any"
    place.mkdir(exist_ok=True)
    folder = write(place / "table", tables_of(rows, kind))
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_pieces(monkeypatch, piece)
        monkeypatch.setattr(buckets, "_MOST_FILES", 3)
        file = pack_histories(
            folder, place / "h.safetensors", repeats=repeats, rows_in_memory=rows_in_memory
        )
    assert_equal(file, Dataset.from_tables(folder, repeats=repeats))
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []


def times_of_kinds() -> dict[str, Any]:
    """Columns of times in which some tie, and some are as close as their kind allows."""
    chance = np.random.default_rng(1)
    ticks = chance.integers(0, 9, 80)
    nanoseconds = SECOND * 10**9 + ticks
    return {
        "ns": nanoseconds,
        "ms": SECOND * 1000 + ticks,
        "float": SECOND + ticks / 2**20,
        "order": ticks.astype(np.uint32),
        "-0": np.where(ticks > 4, -0.0, 0.0),
        "dates": pd.to_datetime(nanoseconds),
        "zone": pd.to_datetime(SECOND + ticks, unit="s", utc=True),
        "text": [str(moment) for moment in pd.to_datetime(SECOND + ticks, unit="s")],
        "digits": [f"{SECOND + tick}" for tick in ticks],
        "days": 20_190_222 + ticks,
        "float32": (SECOND + ticks * 1000).astype(np.float32),
    }


@pytest.mark.parametrize("kind", times_of_kinds())
def test_times_of_every_kind_sort_as_in_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(2)
    table = pd.DataFrame({"user": chance.integers(0, 9, 80), "item": chance.permutation(80)})
    table["time"] = times_of_kinds()[kind]
    folder = write(tmp_path / "table", table)
    small_pieces(monkeypatch, 11)
    file = pack_histories(folder, tmp_path / "h.safetensors", rows_in_memory=20)
    dataset = Dataset.from_tables(folder)
    assert_equal(file, dataset)
    assert file.notes == dataset.notes
    assert any("'time', taken as" in note for note in file.notes)


@pytest.mark.parametrize("name", ["timestamp", "time", "when"])
def test_what_the_columns_are_is_said_as_in_memory(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"user_id": [1, 2], "item_id": [3, 4], name: SECOND})
    folder = write(tmp_path / "table", table)
    columns = {"time": name} if name == "when" else None
    file = pack_histories(folder, tmp_path / "h.safetensors", columns=columns)
    assert file.notes == Dataset.from_tables(folder, columns=columns).notes
    for read in (Dataset.from_tables, lambda path, **how: pack_histories(path, path, **how)):
        with pytest.raises(ValueError, match="has no timestamps, so time_unit 's'"):
            read(write(tmp_path / "table", table[["user_id", "item_id"]]), time_unit="s")


def test_without_times_the_order_of_all_parts_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(3)
    table = pd.DataFrame({"user": chance.integers(0, 5, 50), "item": chance.permutation(50)})
    folder = write(tmp_path / "table", table)
    small_pieces(monkeypatch, 8)
    file = pack_histories(folder, tmp_path / "h.safetensors", rows_in_memory=9)
    assert_equal(file, Dataset.from_tables(folder))


@pytest.mark.parametrize("ids", ["numbers", "text"])
def test_a_table_of_items_gives_the_catalogue(
    ids: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(4)
    table = pd.DataFrame({"user": chance.integers(0, 5, 50), "item": chance.integers(0, 9, 50)})
    table["time"] = SECOND + chance.integers(0, 3, 50)
    folder = write(tmp_path / "table", table)
    listed = pd.DataFrame({"item_id": [*range(12)][::-1], "title": [f"T{i}" for i in range(12)]})
    if ids == "text":  # then the ids of the interactions are text, too
        listed["item_id"] = listed["item_id"].astype(str)
    small_pieces(monkeypatch, 8)
    file = pack_histories(folder, tmp_path / "h.safetensors", listed, rows_in_memory=9)
    assert_equal(file, Dataset.from_tables(folder, listed))
    with pytest.raises(ValueError, match="is not in items") as packed:
        pack_histories(folder, tmp_path / "h.safetensors", listed[4:])
    with pytest.raises(ValueError, match="is not in items") as read:
        Dataset.from_tables(folder, listed[4:])
    assert str(packed.value) == str(read.value)


def test_one_user_may_have_all_rows(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": "me", "item": np.arange(40) % 7, "time": SECOND})
    folder = write(tmp_path / "table", table)
    file = pack_histories(folder, tmp_path / "h.safetensors", rows_in_memory=3)
    assert_equal(file, Dataset.from_tables(folder))


def test_parts_may_hold_numbers_of_other_widths_and_categories(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    for part, width in enumerate(("int32", "int64", "uint8")):
        table = pd.DataFrame({"user": ["b", "a", "b"], "item": [1, 2, part], "time": SECOND + part})
        table["item"] = table["item"].astype(width)
        table["user"] = table["user"].astype("category")
        table.to_parquet(folder / f"{part}.parquet")
    file = pack_histories(folder, tmp_path / "h.safetensors", rows_in_memory=2)
    assert_equal(file, Dataset.from_tables(folder))


def spoiled(name: str) -> pd.DataFrame:
    table = pd.DataFrame({"user": [1, 2, 1, 3] * 5, "item": range(20), "time": SECOND})
    table = table.astype({"user": object, "time": object})
    table.loc[17, {"user": "user", "time": "time", "fraction": "user"}[name]] = {
        "user": None,
        "time": None,
        "fraction": 1.5,
    }[name]
    return table.astype({"user": float, "time": float})


@pytest.mark.parametrize("what", ["user", "time", "fraction"])
def test_a_wrong_row_is_named_as_in_memory(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "table", spoiled(what))
    small_pieces(monkeypatch, 6)
    with pytest.raises(ValueError, match="row 17") as packed:
        pack_histories(folder, tmp_path / "h.safetensors")
    with pytest.raises(ValueError, match="row 17") as read:
        Dataset.from_tables(folder)
    assert str(packed.value) == str(read.value)
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_times_of_two_units_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame(
        {"user": 1, "item": range(20), "time": [SECOND] * 10 + [SECOND * 1000] * 10}
    )
    folder = write(tmp_path / "table", table, 2)
    small_pieces(monkeypatch, 5)
    with pytest.raises(ValueError, match="another kind than before, expected one kind"):
        pack_histories(folder, tmp_path / "h.safetensors")
    with pytest.raises(ValueError, match="expected seconds"):
        Dataset.from_tables(folder)


@pytest.mark.parametrize("unit", [1, 10**9])
@pytest.mark.parametrize("ends", ["", ".0"])
def test_text_is_of_one_kind_of_number_in_all_pieces(
    unit: int, ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole numbers and floats would not sort together, even if both are of one unit."""
    times = [f"{SECOND * unit + tick * unit}{ends}" for tick in range(10)]
    times += [f"{SECOND * unit - tick * unit}{'' if ends else '.0'}" for tick in range(10)]
    folder = write(
        tmp_path / "table", pd.DataFrame({"user": 1, "item": range(20), "time": times}), 2
    )
    small_pieces(monkeypatch, 5)
    with pytest.raises(ValueError, match="from row 10, column 'time': found times of another kind"):
        pack_histories(folder, tmp_path / "h.safetensors")


def notes_of_repeats(notes: tuple[str, ...]) -> list[str]:
    return [note for note in notes if "a user and an item" in note]


@given(TABLES.filter(bool), st.sampled_from(["numbers", "text"]), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_repeats_are_named_or_counted_as_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int]],
    kind: str,
    rows_in_memory: int,
) -> None:
    place = tmp_path_factory.getbasetemp() / "repeats"
    place.mkdir(exist_ok=True)
    table = tables_of(rows, kind)
    folder = write(place / "table", table)
    output = place / "h.safetensors"
    for repeats in ("keep", "first", "last"):
        file = pack_histories(folder, output, repeats=repeats, rows_in_memory=rows_in_memory)
        dataset = Dataset.from_tables(folder, repeats=repeats)
        assert notes_of_repeats(file.notes) == notes_of_repeats(dataset.notes)
    again = table.duplicated(["user", "item"])
    if not again.any():
        pack_histories(folder, output, repeats="refuse", rows_in_memory=rows_in_memory)
        return
    with pytest.raises(ValueError, match="met item") as packed:
        pack_histories(folder, output, repeats="refuse", rows_in_memory=rows_in_memory)
    named = re.fullmatch(
        r"(.*), row (\d+): user (.*) met item (.*) in row (\d+) already, (.*)", str(packed.value)
    )
    assert named is not None
    row, first = int(named[2]), int(named[5])
    assert again[row]
    assert first < row
    for one in (row, first):
        pair = table.loc[one, ["user", "item"]].tolist()
        assert [named[3], named[4]] == [repr(value) for value in pair]
    if rows_in_memory >= len(rows):  # all in one bucket
        with pytest.raises(ValueError, match="met item") as read:
            Dataset.from_tables(folder, repeats="refuse")
        assert str(packed.value) == str(read.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "without Parquet files"),
        (lambda path: path.write_text("user,item\n1,2\n"), "expected a Parquet file or a folder"),
    ],
)
def test_what_is_no_parquet_is_refused(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path / "table")
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        pack_histories(tmp_path / "table", tmp_path / "h.safetensors")


def test_a_part_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "table", pd.DataFrame({"user": [1], "item": [2]}), 1)
    pd.DataFrame({"user": [1]}).to_parquet(folder / "zz.parquet")
    with pytest.raises(ValueError, match=r"zz\.parquet has no column 'item'"):
        pack_histories(folder, tmp_path / "h.safetensors")


@pytest.mark.parametrize("moment", ["time_order", "items_checksum"])
def test_an_interruption_leaves_the_old_file_and_nothing_else(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "table", tables_of([(1, 2, 3), (2, 3, 4)] * 9, "numbers"))
    path = tmp_path / "out" / "h.safetensors"
    pack_histories(folder, path)
    before = path.read_bytes()

    def interrupted(*_: Any) -> Any:
        assert any(one.is_dir() for one in path.parent.iterdir())  # it is on its way
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack_histories(folder, path, repeats="first")
    assert [one.name for one in path.parent.iterdir()] == ["h.safetensors"]
    assert path.read_bytes() == before


def test_no_folder_lies_untouched_while_rows_are_dealt_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten minutes, another process would take it for one that was left behind."""
    folder = write(tmp_path / "table", tables_of([(1, 2, 3), (2, 3, 4)] * 9, "numbers"))
    path = tmp_path / "out" / "h.safetensors"
    rows_of, looked = packing.rows_of, []

    def look(*args: Any) -> Any:
        looked.append([[*one.iterdir()] for one in path.parent.iterdir()])
        return rows_of(*args)

    monkeypatch.setattr(packing, "rows_of", look)
    small_pieces(monkeypatch, 5)
    pack_histories(folder, path)
    assert len(looked[-1]) == 1
    assert [one.name for one in looked[-1][0]] == ["bucket-0"]


def test_the_same_table_makes_the_same_file(tmp_path: Path) -> None:
    table = tables_of([(i * 7 % 5, i % 6, i % 3) for i in range(40)], "text")
    folder = write(tmp_path / "table", table)
    files = [
        pack_histories(folder, tmp_path / f"{rows}.safetensors", rows_in_memory=rows)
        for rows in (1, 4, 1000)
    ]
    assert len({file.path.read_bytes() for file in files}) == 1
    other = write(tmp_path / "other", table[:-1])
    assert pack_histories(other, tmp_path / "o.safetensors").checksum != files[0].checksum
