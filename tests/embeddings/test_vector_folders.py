"""A folder of vectors says the same whatever its files, and names what is wrong in them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rqvae_lib.embeddings.vector_folders import open_vectors, read_vectors, sample_vectors
from tests.helpers import write_vectors

ROWS, WIDTH = 500, 6
CHANCE = np.random.default_rng(0)
VECTORS = CHANCE.standard_normal((ROWS, WIDTH)).astype(np.float16)
NUMBERS = CHANCE.permutation(ROWS).astype(np.int64) - 9
TEXTS = np.array([f"item {number} ü" for number in NUMBERS], dtype=object)


def write(path: Path, ids: Any, vectors: Any, group: int = 64) -> None:
    """With a column that is not read."""
    write_vectors(path, ids, vectors, other=[None] * len(vectors), row_group_size=group)


def in_files(folder: Path, ids: Any, order: Any, cuts: list[int], group: int) -> Path:
    """Write the items in an order, cut into files."""
    for number, rows in enumerate(np.split(order, cuts)):
        write(folder / f"{number % 3}" / f"{number}.parquet", ids[rows], VECTORS[rows], group)
    return folder


@pytest.mark.parametrize("ids", [NUMBERS, TEXTS], ids=["numbers", "texts"])
def test_the_division_into_files_means_nothing(ids: Any, tmp_path: Path) -> None:
    one = in_files(tmp_path / "one", ids, np.arange(ROWS), [], ROWS)
    many = in_files(tmp_path / "many", ids, CHANCE.permutation(ROWS), [1, 1, 100, 490], 7)
    (many / "_unfinished").mkdir()
    (many / "_unfinished/x.parquet").write_text("not to be read")
    (many / ".x.parquet").write_text("not to be read")
    (many / "notes.txt").write_text("not to be read")
    order = np.argsort(ids)
    for folder in (one, many):
        found = read_vectors(folder)
        assert found.item_ids.tolist() == ids[order].tolist()
        assert np.array_equal(found.tensor.numpy(), VECTORS[order].astype(np.float32))
        assert found.item_ids.dtype == ids.dtype
    of = dict(zip(ids.tolist(), VECTORS.astype(np.float32), strict=True))
    for rows in (1, 100, ROWS - 1, ROWS, ROWS + 1):
        sample = sample_vectors(one, rows, seed=0)
        named = sample.item_ids.tolist()
        assert len(set(named)) == len(named) == min(rows, ROWS)
        assert named == sorted(named)
        assert np.array_equal(sample.tensor.numpy(), [of[item] for item in named])
        again = sample_vectors(many, rows, seed=0)
        assert again.item_ids.tolist() == named
        assert np.array_equal(again.tensor.numpy(), sample.tensor.numpy())
    other = sample_vectors(one, 100, seed=5).item_ids
    assert set(other.tolist()) != set(sample_vectors(one, 100, seed=0).item_ids.tolist())


def test_a_larger_sample_of_the_same_seed_holds_the_smaller_one(tmp_path: Path) -> None:
    """Which items are drawn does not depend on those that are left out either."""
    everything = in_files(tmp_path / "all", NUMBERS, np.arange(ROWS), [200], 64)
    part = in_files(tmp_path / "part", NUMBERS, np.arange(300), [200], 64)
    of_all = set(sample_vectors(everything, 100, seed=2).item_ids.tolist())
    assert of_all < set(sample_vectors(everything, 101, seed=2).item_ids.tolist())
    kept = of_all & set(NUMBERS[:300].tolist())
    assert 0 < len(kept) < 100
    assert kept == set(sample_vectors(part, len(kept), seed=2).item_ids.tolist())


def test_a_sample_is_uniform_and_has_the_vectors_of_its_items(tmp_path: Path) -> None:
    folder = in_files(tmp_path, NUMBERS, np.arange(ROWS), [200], 64)
    of = dict(zip(NUMBERS.tolist(), VECTORS.astype(np.float32), strict=True))
    counts = dict.fromkeys(NUMBERS.tolist(), 0)
    for seed in range(200):
        sample = sample_vectors(folder, 50, seed=seed)
        assert np.array_equal(sample.tensor.numpy(), [of[one] for one in sample.item_ids.tolist()])
        for one in sample.item_ids.tolist():
            counts[one] += 1
    # Each item is in a tenth of the samples: 200 draws of a coin, with chi-squared's own limits.
    squares = sum((count - 20) ** 2 / 18 for count in counts.values())
    assert 390 < squares < 610  # of 499 degrees of freedom: 3.5 standard deviations


def test_float32_and_plain_lists_are_read_too(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.array([3, 1], pa.int32()), VECTORS[:2].astype(np.float32))
    plain = pa.array(VECTORS[2:4].astype(np.float32).tolist(), pa.list_(pa.float32()))
    write(tmp_path / "b.parquet", pa.array([0, 2], pa.uint64()), plain)
    found = read_vectors(tmp_path)
    assert found.item_ids.tolist() == [0, 1, 2, 3]
    assert np.array_equal(found.tensor.numpy(), VECTORS[[2, 1, 3, 0]].astype(np.float32))


def nan(row: int) -> Any:
    spoilt = VECTORS.copy()
    spoilt[row, 2] = np.nan
    return spoilt


def with_null(row: int, inside: bool) -> pa.Array:
    listed: list[Any] = VECTORS.astype(np.float32).tolist()
    listed[row] = [*listed[row][:-1], None] if inside else None
    return pa.array(listed, pa.list_(pa.float32(), WIDTH))


def plain(row: int, width: int) -> pa.Array:
    listed: list[Any] = VECTORS.astype(np.float32).tolist()
    listed[row] = [0.5] * width
    return pa.array(listed, pa.list_(pa.float32()))


def ids_with(row: int, value: Any, ids: Any = NUMBERS) -> pa.Array:
    return pa.array([*ids[:row].tolist(), value, *ids[row + 1 :].tolist()])


@pytest.mark.parametrize(
    ("ids", "vectors", "says"),
    [
        (
            ids_with(303, None),
            VECTORS,
            "row 303, column 'item_id': found nothing, expected each row to carry",
        ),
        (
            ids_with(303, " ", TEXTS),
            VECTORS,
            "row 303, column 'item_id': found ' ', expected each row to carry",
        ),
        (
            NUMBERS,
            nan(411),
            "row 411, column 'vector': found nan, expected a vector of 6 finite numbers",
        ),
        (
            NUMBERS,
            with_null(130, False),
            "row 130, column 'vector': found nothing, expected a vector of 6",
        ),
        (
            NUMBERS,
            with_null(130, True),
            "row 130, column 'vector': found nothing, expected a vector of 6 finite numbers, none",
        ),
        (
            NUMBERS,
            plain(77, WIDTH - 1),
            "row 77, column 'vector': found [0.5, 0.5, 0.5, 0.5, 0.5], expected a vector of 6 "
            "finite numbers, but it has 5: fix",
        ),
        (
            NUMBERS,
            plain(64, WIDTH + 1),
            "row 64, column 'vector': found [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], expected a vector "
            "of 6 finite numbers, but it has 7: fix",
        ),
        (
            ids_with(303, int(NUMBERS[8])),
            VECTORS,
            f"row 303, column 'item_id': found {NUMBERS[8]}, expected each item once, but row 8 of",
        ),
        (
            pa.array([*range(ROWS - 1), 2**63], pa.uint64()),
            VECTORS,
            f"row {ROWS - 1}, column 'item_id': found {2**63}, expected a whole number up to",
        ),
    ],
)
@pytest.mark.parametrize(
    "read",
    [read_vectors, lambda folder: sample_vectors(folder, ROWS - 1, seed=0)],
    ids=["all", "a sample"],
)
def test_a_bad_row_is_named(
    ids: Any, vectors: Any, says: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    write(tmp_path / "bad.parquet", ids, vectors)
    with pytest.raises(ValueError, match=r"bad\.parquet, row") as error:
        read(tmp_path)
    assert says in str(error.value)


def test_an_item_in_two_files_is_named_with_both(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", ["x", "y"], VECTORS[:2])
    write(tmp_path / "b.parquet", ["z", "u", "y"], VECTORS[2:5])
    with pytest.raises(ValueError, match="each item once") as error:
        read_vectors(tmp_path)
    said = "b.parquet, row 2, column 'item_id': found 'y', expected each item once, but row 1 of "
    assert said + f"{tmp_path / 'a.parquet'} is it" in str(error.value)


def not_unicode(folder: Path) -> None:
    buffers = pa.array([b"\xff\xfe", b"a"]).buffers()
    texts = pa.Array.from_buffers(pa.string(), 2, buffers)
    write(folder / "a.parquet", texts, VECTORS[:2])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (not_unicode, r"a\.parquet cannot be read as Parquet \(.*Invalid UTF8"),
        (
            lambda folder: write(
                folder / "a.parquet", [1, 2], pa.array([[], []], pa.list_(pa.float16()))
            ),
            r"a\.parquet, row 0, column 'vector': found \[\], expected a vector for each item",
        ),
    ],
)
def test_damaged_text_and_empty_vectors_are_named(
    spoil: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    spoil(tmp_path)
    with pytest.raises(ValueError, match=says):
        read_vectors(tmp_path)


def test_what_other_programs_left_unfinished_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "_day=1/a.PARQUET", [1, 2], VECTORS[:2])
    for name in ("_temporary/0/b.parquet", ".c.parquet", "_d.parquet", ".e/f.parquet"):
        write(tmp_path / name, [3, 4], VECTORS[2:4])
    assert read_vectors(tmp_path).item_ids.tolist() == [1, 2]


def a_text(folder: Path) -> None:
    (folder / "b.parquet").write_text("not Parquet at all")


def cut_short(folder: Path) -> None:
    path = folder / "a.parquet"
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (a_text, "b.parquet cannot be read as Parquet"),
        (cut_short, "a.parquet cannot be read as Parquet"),
        (
            lambda folder: pq.write_table(pa.table({"item_id": [1]}), folder / "b.parquet"),
            "b.parquet has the columns item_id, expected one item_id and one vector",
        ),
        (
            lambda folder: write(folder / "b.parquet", [1.5, 2.5], VECTORS[:2]),
            "b.parquet, column 'item_id' holds double, expected whole numbers or text",
        ),
        (
            lambda folder: write(folder / "b.parquet", ["1", "2"], VECTORS[:2]),
            "b.parquet has text as item ids, but ",
        ),
        (
            lambda folder: write(folder / "b.parquet", [1, 2], VECTORS[:2, :4]),
            "b.parquet has vectors of 4 numbers, but ",
        ),
        (
            lambda folder: write(folder / "b.parquet", [1, 2], VECTORS[:2].astype(np.float64)),
            "b.parquet, column 'vector' holds fixed_size_list<element: double>[6], expected",
        ),
        (lambda folder: (folder / "a.parquet").unlink(), "holds no .parquet file"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    spoil: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.parquet", [5, 6], VECTORS[:2])
    spoil(tmp_path)
    with pytest.raises(ValueError, match=r"\.parquet") as error:
        open_vectors(tmp_path)
    assert says in str(error.value)


def test_what_is_no_folder_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist; expected a folder"):
        open_vectors(tmp_path / "nowhere")
    write(tmp_path / "empty.parquet", pa.array([], pa.int64()), VECTORS[:0])
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        open_vectors(tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match="have no rows, expected some"):
        open_vectors(tmp_path)


@pytest.mark.parametrize(
    ("rows", "seed", "says"),
    [
        (0, 0, "rows is 0; it must be at least 1"),
        (True, 0, "rows is True; expected one whole number"),
        (2.5, 0, "rows is 2.5; expected one whole number"),
        (1, -1, "seed is -1; it must be at least 0"),
        (1, None, "seed is None; expected one whole number"),
    ],
)
def test_a_sample_of_no_size_or_seed_is_refused(
    rows: Any, seed: Any, says: str, tmp_path: Path
) -> None:
    write(tmp_path / "a.parquet", [5, 6], VECTORS[:2])
    with pytest.raises(ValueError, match=re.escape(says)):
        sample_vectors(tmp_path, rows, seed=seed)
