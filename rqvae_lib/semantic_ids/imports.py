"""IDs in from other projects, in the shapes that those projects write.

`read_ids` reads this library's own table and checks it field by field. `import_ids` is for
everybody else's files. Such a file does not say how its numbers are meant; whatever is inferred is
said, and can be overruled.

Pickles are not opened, since opening one runs the code in it. The refusal says how to convert one.

Used by: the commands that take a file of IDs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rqvae_lib.data.plain_ids import of_one_type
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.array_files import python_for_pickle, read_array, read_records
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.column_files import columns_of, is_own, read_columns
from rqvae_lib.semantic_ids.config import COLLISIONS, ENDINGS, SURPLUS, Collisions, Keys, Surplus
from rqvae_lib.semantic_ids.files import read_ids
from rqvae_lib.semantic_ids.json_files import read_lines, read_object
from rqvae_lib.semantic_ids.large_tables import LargeTable, find_large_table
from rqvae_lib.semantic_ids.matching import check_keys, match_items
from rqvae_lib.semantic_ids.numbering import (
    Codes,
    WrittenIDs,
    colliding,
    count_collisions,
    interpret,
    place,
    with_digit_as_level,
    written_numbers,
)

_LARGEST_SIZE = 2**62  # of a codebook whose size is not known yet
_PICKLES = (".pt", ".pth", ".pkl", ".pickle")


class ImportedIDs(NamedTuple):
    """The content of another project's file, in catalogue order: row i of each part is item i."""

    ids: SemanticIDs
    item_ids: NDArray[Any]  # (N,), int64 or Python strings; row numbers where the file has no ids
    titles: list[str] | None  # of this library's own tables only
    said: tuple[str, ...]  # what was taken for what, and what was counted


@own_settings
def import_ids(
    path: str | Path,
    item_ids: Sequence[int] | Sequence[str] | NDArray[Any] | None = None,
    *,
    base: int | None = None,
    offsets: bool | None = None,
    collision_digit: bool | None = None,
    codebook_sizes: Sequence[int] | None = None,
    levels_first: bool | None = None,
    keys: Keys | None = None,
    collisions: Collisions = COLLISIONS,
    surplus: Surplus = SURPLUS,
) -> ImportedIDs:
    """Read IDs that another project wrote, or that `export_ids` or `write_ids` did.

    The format is recognized by the file's ending and its content. What the file does not say is
    inferred: None asks for it, and the result says what was taken for what. Where two readings are
    possible, the file is refused and the message names the argument.

    Args:
        path: a .json, .sem_ids, .jsonl, .csv, .parquet, .npy, .safetensors or .bin file.
        item_ids: the dataset's own ids of the items that the file must hold, (N,), in catalogue
            order: all whole numbers or all strings. None: the file's items in the file's order. The
            ids of .jsonl and .parquet keep their type; others are numbers if all of them are whole
            numbers, otherwise strings, so "007" is not 7.
        base: the number of a level's first code. It is 0 if any code is 0, and 1 if the lowest code
            of every level is 1.
        offsets: whether the sizes of the levels before it are added to each number. They are if
            each level's numbers lie behind those of the level before.
        collision_digit: whether the last number tells items with equal codes apart. It does if only
            some items have it, or if it counts the items that share all other numbers, and these
            are at most half of all items.
        codebook_sizes: K of each level, without the collision digit. By default, each level's
            largest code plus 1.
        levels_first: of an array, whether its shape is (levels, items). By default, the side that
            has as many numbers as there are items is the items, or the longer side.
        keys: whether the file names items by their ids or by their rows in the catalogue, counted
            from 0 or 1. By default, by ids if they are those of `item_ids`.
        collisions: what becomes of items with equal codes. "disambiguate": this library's own last
            code tells them apart, instead of the file's digit. "keep": the file's digit stays, as a
            level like the others. "refuse": as the first, but two items with the same whole ID in
            the file are an error.
        surplus: what becomes of items that are in the file but not in `item_ids`: an error, or left
            out. An item of the catalogue without an ID is always an error.

    Raises:
        ValueError: if the file is not such a file, or does not fit; the message names the file, and
            the item or row.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    if base not in (None, 0, 1):
        raise ValueError(f"base is {base}; expected 0 or 1")
    wanted = None if item_ids is None else of_one_type(item_ids)
    if wanted is not None and not len(wanted):
        raise ValueError(f"item_ids is empty, so {path} has no item to read: pass the items' ids")
    _check_used(path, wanted, levels_first, keys, surplus)
    strict = wanted if surplus == "refuse" else None
    read = _read(path, levels_first, wanted, strict)
    written = read.written
    if read.is_own:
        if base or offsets or collision_digit is False:
            raise ValueError(
                f"{path} is a table of this library, with codes from 0, without offsets, and with "
                "a collision digit: leave base, offsets and collision_digit out (--ids-base, "
                "--ids-offsets, --ids-collision-digit)"
            )
        base, offsets, collision_digit = 0, False, True
        codebook_sizes = codebook_sizes or read.sizes
    check_keys(written)
    found = interpret(
        written,
        base=base,
        offsets=offsets,
        collision_digit=collision_digit,
        codebook_sizes=codebook_sizes,
    )
    rows, own, matched = match_items(written, wanted, keys, surplus)
    found = _of_rows(found, rows)
    ids, about_collisions = _catalogue(written, found, collisions, rows)
    said = (read.about, *found.said, *matched, *about_collisions)
    return ImportedIDs(ids, own, _some(read.titles, rows), said)


def _check_used(
    path: Path,
    wanted: NDArray[Any] | None,
    levels_first: bool | None,
    keys: Keys | None,
    surplus: Surplus,
) -> None:
    """Refuse arguments that would change nothing."""
    is_array = path.suffix.lower() in ENDINGS["grid"]
    if levels_first is not None and not is_array:
        raise ValueError(
            f"{path} is not an array ({', '.join(ENDINGS['grid'])}), so it has no orientation: "
            "leave levels_first out (--ids-levels-first)"
        )
    if keys == "items" and is_array:
        raise ValueError(
            f"{path} is an array, which has no item ids: leave keys out (--ids-keys), and keep its "
            "rows in the catalogue's order"
        )
    if wanted is None and (keys is not None or surplus != SURPLUS):
        raise ValueError(
            f"without item_ids, all items of {path} are read as they are: leave keys and surplus "
            "out (--ids-keys, --ids-surplus), or name a dataset to compare with"
        )


def check_readable(path: str | Path) -> None:
    """Refuse now a file that `import_ids` would refuse for what it is: missing, or a pickle.

    Raises:
        ValueError: if it is a pickle, or has an ending that no format has.
        OSError: if it cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        beginning = file.read(4)
    pickled = beginning[:1] == b"\x80" or beginning == b"PK\3\4"  # torch writes a zip file
    if path.suffix.lower() in _PICKLES or (pickled and path.suffix not in (".bin", ".safetensors")):
        how = python_for_pickle(str(path), str(path.with_suffix(".npy")))
        raise ValueError(
            f"{path} is a pickle. Opening one runs the code in it, so it was not opened: if you "
            f"trust it, convert it with {how}"
        )
    known = sorted({ending for endings in ENDINGS.values() for ending in endings} - {".txt"})
    if path.suffix.lower() not in known:
        raise ValueError(
            f"{path} ends in {path.suffix!r}: name a file of IDs that ends in {', '.join(known)}"
        )


class _Read(NamedTuple):
    """What a file says."""

    written: WrittenIDs
    about: str  # a sentence about its shape
    is_own: bool = False  # whether this library wrote it
    titles: list[str] | None = None
    sizes: tuple[int, ...] | None = None  # of the codebooks


def _read(
    path: Path,
    levels_first: bool | None,
    wanted: NDArray[Any] | None,
    strict: NDArray[Any] | None,
) -> _Read:
    check_readable(path)
    match path.suffix.lower():
        case ".npy" | ".safetensors":
            num_items = None if wanted is None else len(wanted)
            written, about = read_array(path, levels_first, num_items)
            return _Read(written, about)
        case ".jsonl":
            return _Read(read_lines(path), "JSON lines")
        case ".bin":
            return _Read(read_records(path), "records of an item id and three codes")
        case ".csv" | ".parquet":
            if is_own(columns_of(path)):
                return _read_own(path, strict)
            if path.suffix.lower() == ".parquet":
                large = find_large_table(path)
                if large is not None:
                    return _of_large(path, large)
            return _Read(*read_columns(path))
    return _Read(read_object(path), "a JSON object")


def _read_own(path: Path, item_ids: NDArray[Any] | None) -> _Read:
    """Read this library's own table, and check all of it but its codebook sizes."""
    levels = sum(name.startswith("code_") for name in columns_of(path))
    table = read_ids(path, [_LARGEST_SIZE] * levels, item_ids)
    numbers = written_numbers(table.ids)
    written = WrittenIDs(str(path), numbers, table.item_ids, "row")
    return _Read(written, "a table of this library", is_own=True, titles=table.titles)


def _of_large(path: Path, table: LargeTable) -> _Read:
    """Return what `rqvae-lib assign` wrote."""
    written = WrittenIDs(str(path), written_numbers(table.ids), table.item_ids, "row")
    about = "a large table of this library"
    return _Read(written, about, is_own=True, sizes=table.ids.sizes[:-1])


def _some(titles: list[str] | None, rows: NDArray[np.int64]) -> list[str] | None:
    return None if titles is None else [titles[row] for row in rows.tolist()]


def _of_rows(found: Codes, rows: NDArray[np.int64]) -> Codes:
    digits = None if found.digits is None else found.digits[rows]
    return found._replace(codes=found.codes[rows], digits=digits)


# Items with the same ID


def _catalogue(
    written: WrittenIDs, found: Codes, collisions: Collisions, rows: NDArray[np.int64]
) -> tuple[SemanticIDs, tuple[str, ...]]:
    """Return the catalogue, and what was counted on the way to it."""
    counted = count_collisions(found)
    repeated = int(counted.repeated.sum())
    if repeated and collisions == "refuse":
        row = int(counted.repeated.argmax())
        whole = found.codes[row].tolist()
        named = place(written.row, int(rows[row]), written.keys)
        raise ValueError(
            f"{written.where}, {named}: its ID, codes {whole}, is that of an earlier item; "
            f"{counted.distinct:,} of {len(rows):,} IDs are distinct: pass "
            "collisions='disambiguate' (--ids-collisions) to tell such items apart"
        )
    said = [f"{counted.distinct:,} distinct IDs of {len(rows):,} items"]
    if collisions == "keep":
        found = with_digit_as_level(found)
    ids = SemanticIDs(torch.from_numpy(np.ascontiguousarray(found.codes)), found.sizes)
    shared = int(colliding(ids).sum())
    if shared:
        said.append(
            f"{shared:,} items share their codes; a last code tells them apart (collisions)"
        )
    moved = _moved(ids, found)
    if moved:
        said.append(
            f"for {moved:,} items it differs from the file's, whose items had another order"
        )
    return ids, tuple(said)


def _moved(ids: SemanticIDs, found: Codes) -> int:
    """Count the items whose place among those with the same codes is not that of the digit."""
    if found.digits is None:
        return 0
    order = np.lexsort((found.digits, *ids.codes.numpy().T[::-1]))
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[order] = ids.ids[ids.order, -1].numpy()
    return int((ranks != ids.ids[:, -1].numpy()).sum())
