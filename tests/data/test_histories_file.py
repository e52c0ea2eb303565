"""Files of histories: batches are those of memory, and what was changed or cut off is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from rqvae_lib.data import file_splits
from rqvae_lib.data.batches import WindowBatches
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.pack_histories import pack_histories
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.evaluation.validation import validation_targets
from rqvae_lib.io.headers import HEADER_KEY, read_header
from rqvae_lib.io.mapped_tensors import MappedTensors
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.models.item_knn import ItemKNN


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 users with 1 to 60 interactions, some at the same time."""
    chance = np.random.default_rng(0)
    users = np.repeat(np.arange(30), chance.integers(1, 61, 30))
    rows = {
        "user": [f"u{user}" for user in users],
        "item": chance.integers(0, 40, len(users)) * 3,
        "time": 1_500_000_000 + chance.integers(0, 400, len(users)),
    }
    path = tmp_path_factory.mktemp("table") / "met.parquet"
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def dataset(table: Path) -> Dataset:
    return Dataset.from_tables(table)


@pytest.fixture(scope="module")
def packed(table: Path) -> Path:
    pack_histories(table, table.with_name("h.safetensors"))
    return table.with_name("h.safetensors")


@pytest.mark.parametrize("name", get_args(SplitName))
@pytest.mark.parametrize("seed", [0, 7])
def test_batches_are_those_of_memory_bit_for_bit(
    name: SplitName, seed: int, packed: Path, dataset: Dataset
) -> None:
    options = {"max_items": 8, "batch_size": 5, "seed": seed}
    mapped = WindowBatches(HistoriesFile(packed).train(name), **options)
    expected = WindowBatches(split_by_name(dataset, name).train, **options)
    assert mapped.steps_per_epoch == expected.steps_per_epoch
    for step in range(3 * mapped.steps_per_epoch):
        found, wanted = mapped(step), expected(step)
        assert found.dtype == wanted.dtype == torch.int64
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("name", get_args(SplitName))
def test_blocks_of_a_file_may_be_of_any_size(
    name: SplitName, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is counted or looked for is so in blocks, which may end within a user."""
    whole = HistoriesFile(packed).sample(name)
    for block, bins in ((5, 8), (7, 3), (100, 2**10)):
        monkeypatch.setattr(file_splits, "_BLOCK", block)
        monkeypatch.setattr(file_splits, "_BINS", bins)
        monkeypatch.setattr(MappedTensors.blocks, "__defaults__", (block,))
        file = HistoriesFile(packed)
        assert torch.equal(file.sample(name).popularity, whole.popularity)
        assert torch.equal(file.train(name).ends, whole.of_all.ends)


def test_a_sample_has_the_targets_that_validation_takes(packed: Path, dataset: Dataset) -> None:
    split = split_by_name(dataset, "leave-one-out")
    for at_most in (3, 7, 10**6):
        sample = HistoriesFile(packed).sample("leave-one-out", at_most)
        positions = validation_targets(split, at_most)
        histories, targets = split.histories_and_targets(positions)
        found, own_targets = sample.histories_and_targets(sample.validation)
        assert torch.equal(targets, own_targets)
        assert [one.tolist() for one in found] == [one.tolist() for one in histories]


def test_one_history_is_read_and_a_user_that_is_not_there_is_named(
    packed: Path, dataset: Dataset
) -> None:
    file = HistoriesFile(packed)
    for row, user in enumerate(dataset.user_ids):
        assert file.histories[row].tolist() == dataset.user_history(user).tolist()
    assert len(file.histories) == 30
    with pytest.raises(ValueError, match=r"user 'u99' is not in .*h\.safetensors: expected one of"):
        file.user_row("u99")
    with pytest.raises(ValueError, match="user 3 is not in"):
        file.user_row(3)
    with pytest.raises(IndexError, match="user 30 of 30"):
        file.histories[30]
    with pytest.raises(ValueError, match="expected rows from 0 to 29"):
        file.histories.of_users([30])
    with pytest.raises(ValueError, match="it must be one of"):
        file.train("mine")  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [True, np.True_, "1", 1.5, None])
def test_only_a_number_names_a_user_whose_id_is_a_number(wanted: Any, tmp_path: Path) -> None:
    pd.DataFrame({"user": [0, 1], "item": 3, "time": 4}).to_parquet(tmp_path / "met.parquet")
    file = pack_histories(tmp_path / "met.parquet", tmp_path / "h.safetensors")
    assert (file.user_row(0), file.user_row(1), file.user_row(1.0)) == (0, 1, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"user .* is not in"):
        file.user_row(wanted)


def test_a_sample_has_at_least_one_target(packed: Path) -> None:
    with pytest.raises(ValueError, match="at_most is 0; it must be at least 1"):
        HistoriesFile(packed).sample("leave-one-out", 0)


@pytest.mark.parametrize("busy", ["validation", "test"])
@pytest.mark.parametrize("at_most", [1, 3, 20])
def test_a_sample_by_time_has_both_parts(busy: str, at_most: int, tmp_path: Path) -> None:
    """One of a hundred users has all targets of a part, and may not be missed."""
    moments = np.arange(1000)
    users = moments % 100
    users[slice(800, 900) if busy == "validation" else slice(900, 1000)] = 7
    table = pd.DataFrame({"user": users, "item": moments % 40, "time": 1_500_000_000 + moments})
    table.to_parquet(tmp_path / "met.parquet")
    file = pack_histories(tmp_path / "met.parquet", tmp_path / "h.safetensors")
    sample = file.sample("timestamp", at_most)
    assert len(sample.validation)
    assert len(sample.test)
    whole = split_by_name(Dataset.from_tables(tmp_path / "met.parquet"), "timestamp")
    everybody = file.sample("timestamp", 1000)
    for part in ("validation", "test"):
        assert torch.equal(getattr(everybody, part), getattr(whole, part))


def test_what_needs_all_histories_in_memory_says_so(packed: Path) -> None:
    train = HistoriesFile(packed).train("leave-one-out")
    with pytest.raises(ValueError, match=r"train is in a file.*pass those of some users"):
        ItemKNN(train, 40)  # type: ignore[arg-type]


def test_a_smaller_catalogue_is_refused(packed: Path, dataset: Dataset) -> None:
    train = HistoriesFile(packed).train("leave-one-out")
    train.check_items(dataset.num_items)
    with pytest.raises(ValueError, match="take both from the same dataset"):
        train.check_items(dataset.num_items - 1)


def test_too_many_rows_of_one_time_leave_no_split(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": [1, 2] * 5, "item": 3, "time": [4] * 9 + [5]})
    table.to_parquet(tmp_path / "met.parquet")
    file = pack_histories(tmp_path / "met.parquet", tmp_path / "h.safetensors")
    with pytest.raises(ValueError, match=r"training gets no interaction .* choose another split"):
        file.train("timestamp")


def changed(path: Path, to: Path, change: Callable[[dict[str, Any], bytearray], None]) -> Path:
    """Write a file again with another header or other numbers, of the same length."""
    header = read_header(path)
    assert header is not None
    content = bytearray(path.read_bytes())
    described = json.loads(content[8 : header.size])
    own = json.loads(described["__metadata__"][HEADER_KEY])
    numbers = content[header.size :]
    change({"own": own, **described}, numbers)
    described["__metadata__"][HEADER_KEY] = json.dumps(own)
    written = json.dumps(described).encode()
    written += b" " * (-len(written) % 8)
    to.write_bytes(len(written).to_bytes(8, "little") + written + numbers)
    return to


def numbers_of(header: dict[str, Any], name: str, numbers: bytearray, kind: str) -> Any:
    start, end = header[name]["data_offsets"]
    return np.frombuffer(memoryview(numbers)[start:end], kind)


def far_item(header: dict[str, Any], numbers: bytearray) -> None:
    numbers_of(header, "items", numbers, "<i4")[5] = 40


def negative_item(header: dict[str, Any], numbers: bytearray) -> None:
    numbers_of(header, "items", numbers, "<i4")[5] = -1


def backwards(header: dict[str, Any], numbers: bytearray) -> None:
    numbers_of(header, "offsets", numbers, "<i8")[3] = 0


def beyond(header: dict[str, Any], numbers: bytearray) -> None:
    numbers_of(header, "offsets", numbers, "<i8")[-1] += 1


def other_count(header: dict[str, Any], numbers: bytearray) -> None:
    header["own"]["config"]["users"] += 1


def fewer_items(header: dict[str, Any], numbers: bytearray) -> None:
    header["own"]["config"]["items"] -= 1


def no_sha(header: dict[str, Any], numbers: bytearray) -> None:
    del header["own"]["card"]["sha256"]


def other_kind(header: dict[str, Any], numbers: bytearray) -> None:
    header["own"]["kind"] = "sasrec"


def no_times(header: dict[str, Any], numbers: bytearray) -> None:
    header["own"]["config"]["interactions"] = "many"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (far_item, "a user met item 40, of items 0 to 39"),
        (negative_item, "a user met item -1, of items 0 to 39"),
        (backwards, "a user begins before the user before ends"),
        (beyond, "the users' parts are not all of the interactions"),
        (other_count, "'offsets' holds 31, not 32"),
        (fewer_items, "'item_ids' holds 40 ids, not 39"),
        (no_sha, "does not match its own description"),
        (other_kind, "is not a file of histories, or is damaged"),
        (no_times, "does not match its own description"),
    ],
)
def test_what_was_changed_is_refused(
    change: Callable[[dict[str, Any], bytearray], None], said: str, packed: Path, tmp_path: Path
) -> None:
    same = changed(packed, tmp_path / "same.safetensors", lambda *_: None)
    assert HistoriesFile(same).num_users == 30
    other = changed(packed, tmp_path / "other.safetensors", change)
    with pytest.raises(CheckpointError, match=said) as refused:
        HistoriesFile(other)
    assert str(other) in str(refused.value)


@pytest.mark.parametrize("length", [0, 5, 400, -1])
def test_what_was_cut_off_is_refused(length: int, packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(packed.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="is not a file of histories, or is damaged"):
        HistoriesFile(path)


def test_ids_that_are_no_text_are_refused(packed: Path, tmp_path: Path) -> None:
    def spoil(header: dict[str, Any], numbers: bytearray) -> None:
        numbers_of(header, "user_ids", numbers, "|u1")[0] = 255

    path = changed(packed, tmp_path / "h.safetensors", spoil)
    with pytest.raises(CheckpointError, match="user ids that are no text"):
        HistoriesFile(path).user_ids()


def test_numbers_are_looked_up_also_after_pages_were_let_go(packed: Path) -> None:
    file = HistoriesFile(packed)
    everything = file.histories.of_users(range(30)).items
    positions: Tensor = torch.randint(0, len(everything), (5000, 3))
    for _ in range(3):
        assert torch.equal(file.histories.items_at(positions), everything[positions])
