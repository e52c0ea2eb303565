"""IDs out to other projects, and in from them, in the shapes that those projects read and write.

`write_ids` and `read_ids` are for this library's own table, which keeps everything and is checked
field by field. `export_ids` and `import_ids` are for everybody else's files. A file of another
project does not say how its numbers are meant; whatever is inferred is said, and can be overruled.

Pickles are not opened, since opening one runs the code in it. The refusal says how to convert one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rqvae_lib.semantic_ids.array_files import (
    RECORD_LEVELS,
    read_array,
    read_records,
    write_array,
    write_records,
)
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.column_files import (
    columns_of,
    is_own,
    read_columns,
    write_levels,
)
from rqvae_lib.semantic_ids.column_files import write_lists as write_parquet
from rqvae_lib.semantic_ids.config import (
    BASE,
    COLLISIONS,
    DIGIT,
    KEYS,
    LEVELS_FIRST,
    STYLE,
    SURPLUS,
    Collisions,
    Digit,
    Format,
    Keys,
    Style,
    Surplus,
)
from rqvae_lib.semantic_ids.files import of_one_type, read_ids
from rqvae_lib.semantic_ids.json_files import (
    read_lines,
    read_object,
    write_index,
    write_lines,
    write_texts,
)
from rqvae_lib.semantic_ids.json_files import write_lists as write_json
from rqvae_lib.semantic_ids.numbering import (
    Codes,
    WrittenIDs,
    colliding,
    count_collisions,
    flat,
    interpret,
    place,
    shown,
    with_digit_as_level,
    written_numbers,
    wrong,
)
from rqvae_lib.semantic_ids.tokens import STYLES, WITHOUT_LEVEL, vocabulary, write_tokens

ENDINGS: dict[Format, tuple[str, ...]] = {
    "index-json": (".json",),
    "grid": (".npy", ".safetensors"),
    "catalogue-jsonl": (".jsonl",),
    "sem-ids": (".sem_ids", ".json"),
    "text-json": (".json",),
    "parquet": (".parquet",),
    "csv": (".csv",),
    "tokens": (".txt", ".json"),
    "records": (".bin",),
}
LARGEST_SIZE = 2**62  # of a codebook whose size is not known yet
TYPED = (".jsonl", ".parquet")  # what tells the number 7 from the text "7"
PICKLES = (".pt", ".pth", ".pkl", ".pickle")


class ImportedIDs(NamedTuple):
    """The content of another project's file, in catalogue order: row i of each part is item i."""

    ids: SemanticIDs
    item_ids: NDArray[Any]  # (N,), int64 or Python strings; row numbers where the file has no ids
    titles: list[str] | None  # of this library's own tables only
    said: tuple[str, ...]  # what was taken for what, and what was counted


# Out


def check_export(
    path: str | Path,
    format: Format,
    *,
    offsets: bool = False,
    collision_digit: Digit = DIGIT,
    token_style: Style = STYLE,
) -> None:
    """Refuse what no catalogue could be exported with.

    Args:
        path, format, offsets, collision_digit, token_style: as `export_ids`.

    Raises:
        ValueError: if the path does not end as the format's files do, or the others contradict each
            other.
    """
    endings = ENDINGS[format]
    if Path(path).suffix not in endings:
        raise ValueError(
            f"{path} ends in {Path(path).suffix!r}: name a {' or '.join(endings)} file for {format}"
        )
    if collision_digit == "colliding" and format in ("grid", "csv", "records"):
        raise ValueError(
            f"{format} has as many numbers for each item, so no item can have one more: pass "
            "collision_digit 'all' or 'none' (--collision-digit)"
        )
    if token_style in WITHOUT_LEVEL and not offsets:
        example = STYLES[token_style].format(number=12)
        raise ValueError(
            f"a token such as {example} does not say its level, so equal codes of two levels would "
            "be one token: pass offsets=True (--offsets), or another token_style (--token-style)"
        )


def export_ids(
    path: str | Path,
    ids: SemanticIDs,
    item_ids: Sequence[int] | Sequence[str] | NDArray[Any],
    *,
    format: Format,
    titles: Sequence[str] | None = None,
    base: int = BASE,
    offsets: bool = False,
    collision_digit: Digit = DIGIT,
    keys: Keys = KEYS,
    token_style: Style = STYLE,
    begin_end: bool = False,
    levels_first: bool = LEVELS_FIRST,
) -> tuple[str, ...]:
    """Write a catalogue's IDs in the shape that another project reads, atomically.

    Args:
        path: the file to write. `ENDINGS` has the endings of each format.
        ids: the catalogue.
        item_ids: the dataset's own ids, (N,), in catalogue order: all whole numbers or all strings.
        format: "index-json" (LC-Rec, LETTER, MiniOneRec, torch-rechub), "grid" (GRID, an array),
            "catalogue-jsonl" (NVIDIA), "sem-ids" (RPG, ActionPiece), "text-json" (one text of
            tokens for each item, as UniGenRec's codebook.json), "parquet" (OpenOneRec), "csv"
            (FORGE), "records" (xLLM), or "tokens": the vocabulary, as .txt or as a file for Hugging
            Face `tokenizers`.
        titles: N titles. Only catalogue-jsonl keeps them.
        base: the number of a level's first code, 0 or 1.
        offsets: whether the sizes of the levels before it are added to each number.
        collision_digit: which items get one more number, which tells items with equal codes apart:
            "all", only those that collide, or "none". GRID's digit is 0 for an item that is alone
            and counts from 1 otherwise; all others count from 0.
        keys: what names an item in the file: its id, or its row in the catalogue.
        token_style: of index-json, text-json and tokens, how tokens look: <a_12> ("lc-rec"),
            <s_a_12> ("openonerec"), <L0_12> ("unigenrec"), C12 ("forge") or <|sid_12|> ("sid"). The
            last two do not say their level, so they need offsets.
        begin_end: of tokens and text-json, whether there are <|sid_begin|> and <|sid_end|> too.
        levels_first: of grid, whether the shape is (levels, items), as GRID has it, or
            (items, levels).

    Returns:
        Sentences about what the file does not keep.

    Raises:
        ValueError: if the path has another ending, or the format cannot hold what was asked for.
        OSError: if the path cannot be written. An older file is then unchanged.
    """
    path = Path(path)
    check_export(
        path,
        format,
        offsets=offsets,
        collision_digit=collision_digit,
        token_style=token_style,
    )
    own = of_one_type(item_ids)
    if len(own) != len(ids):
        raise ValueError(f"there are {len(own):,} item_ids for {len(ids):,} IDs: pass one for each")
    if base not in (0, 1):
        raise ValueError(f"base is {base}; expected 0 or 1")
    if format == "tokens":
        listed = vocabulary(
            ids,
            base=base,
            offsets=offsets,
            digit=collision_digit,
            begin_end=begin_end,
            style=token_style,
        )
        write_tokens(path, listed)
        return (f"{len(listed):,} tokens; which item has which ID is in none of them",)
    _check_shape(format, ids, own, collision_digit, keys)
    numbers = written_numbers(ids, base=base, offsets=offsets, digit=collision_digit)
    named = own if keys == "items" else np.arange(len(own))
    match format:
        case "index-json":
            write_index(path, _as_text(named), numbers, token_style)
        case "text-json":
            write_texts(path, _as_text(named), numbers, token_style, begin_end)
        case "sem-ids":
            write_json(path, _as_text(named), numbers)
        case "catalogue-jsonl":
            write_lines(path, named, numbers, titles)
        case "parquet":
            write_parquet(path, named, numbers, flat(numbers))
        case "csv":
            write_levels(path, named, numbers.table)
        case "records":
            write_records(path, named, numbers.table)
        case "grid":
            table = numbers.table.copy()
            if collision_digit == "all":
                table[:, -1] += colliding(ids)
            write_array(path, table.T if levels_first else table)
    return _lost(format, ids, own, titles, collision_digit, keys)


def _as_text(item_ids: NDArray[Any]) -> list[str]:
    return [str(one) for one in item_ids.tolist()]


def _check_shape(
    format: Format, ids: SemanticIDs, own: NDArray[Any], digit: Digit, keys: Keys
) -> None:
    """Refuse what a format cannot hold."""
    numbers = len(ids.sizes) - (digit == "none")
    if format == "records" and numbers != RECORD_LEVELS:
        raise ValueError(
            f"records hold {RECORD_LEVELS} numbers for each item, but these IDs have {numbers}, "
            "the collision digit included: pass collision_digit='none' (--collision-digit none), "
            "or IDs of another length"
        )
    if format == "records" and own.dtype == object and keys == "items":
        raise ValueError(
            f"records hold item ids of 64 bits, but these are text, such as {shown(own[0])}: pass "
            "keys='rows' (--keys rows)"
        )


def _lost(
    format: Format,
    ids: SemanticIDs,
    own: NDArray[Any],
    titles: Sequence[str] | None,
    digit: Digit,
    keys: Keys,
) -> tuple[str, ...]:
    """Say what a file does not keep."""
    lost = [f"the codebook sizes ({', '.join(map(str, ids.sizes[:-1]))})"]
    if titles is not None and format != "catalogue-jsonl":
        lost.append("titles")
    rows = own.dtype == np.int64 and bool((own == np.arange(len(own))).all())
    if not rows and (keys == "rows" or format == "grid"):
        lost.append("the item ids (row numbers stand for them)")
    said = [f"not in the file: {'; '.join(lost)}"]
    if format == "index-json" and keys == "items" and not rows:
        said.append(
            'the keys are item ids; LC-Rec and its relatives expect rows "0", "1", … (--keys rows)'
        )
    if digit == "none" and bool((ids.ids[:, -1] > 0).any()):
        count = int((ids.ids[:, -1] > 0).sum())
        said.append(f"{count:,} of {len(ids):,} items have the ID of an earlier item in it")
    return tuple(said)


def python_for_grid(path: Path) -> str:
    """Return the commands that turn an exported array into the pickle that GRID reads, and back."""
    if path.suffix == ".npy":
        there = f"torch.save(torch.from_numpy(numpy.load({str(path)!r})), {_PT!r})"
        imports = "import numpy, torch"
    else:
        there = f"torch.save(load_file({str(path)!r})['semantic_ids'], {_PT!r})"
        imports = "import torch; from safetensors.torch import load_file"
    return (
        f'for GRID: python -c "{imports}; {there}"\n'
        f"and back: {_npy_from(_PT, str(Path(_PT).with_suffix('.npy')))}"
    )


_PT = "merged_predictions_tensor.pt"


def _npy_from(pickle: str, npy: str) -> str:
    """Return the command that converts a pickle of an array."""
    if Path(pickle).suffix in (".pt", ".pth"):
        read = f"torch.load({pickle!r}, weights_only=True).numpy()"
        return f'python -c "import numpy, torch; numpy.save({npy!r}, {read})"'
    read = f"numpy.asarray(pickle.load(open({pickle!r}, 'rb')))"
    return f'python -c "import numpy, pickle; numpy.save({npy!r}, {read})"'


# In


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
    strict = wanted if surplus == "refuse" else None
    written, titles, about = _read(path, levels_first, wanted, strict)
    if titles is not None:  # this library's own table: from 0, without offsets, with a digit
        base, offsets, collision_digit = 0, False, True
    _check_keys(written)
    found = interpret(
        written,
        base=base,
        offsets=offsets,
        collision_digit=collision_digit,
        codebook_sizes=codebook_sizes,
    )
    rows, own, matched = _match(written, wanted, keys, surplus)
    found = _of_rows(found, rows)
    ids, about_collisions = _catalogue(written, found, collisions, rows)
    said = (*about, *found.said, *matched, *about_collisions)
    return ImportedIDs(ids, own, _some(titles, rows), said)


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
    if path.suffix in PICKLES or (pickled and path.suffix not in (".bin", ".safetensors")):
        raise ValueError(
            f"{path} is a pickle. Opening one runs the code in it, so it was not opened: if you "
            f"trust it, convert it with {_npy_from(str(path), str(path.with_suffix('.npy')))}"
        )
    known = sorted({ending for endings in ENDINGS.values() for ending in endings} - {".txt"})
    if path.suffix not in known:
        raise ValueError(
            f"{path} ends in {path.suffix!r}: name a file of IDs that ends in {', '.join(known)}"
        )


def _read(
    path: Path,
    levels_first: bool | None,
    wanted: NDArray[Any] | None,
    strict: NDArray[Any] | None,
) -> tuple[WrittenIDs, list[str] | None, tuple[str, ...]]:
    """Return what a file says, the titles of our own table, and a sentence about its shape."""
    check_readable(path)
    match path.suffix:
        case ".npy" | ".safetensors":
            num_items = None if wanted is None else len(wanted)
            written, about = read_array(path, levels_first, num_items)
            return written, None, (about,)
        case ".jsonl":
            return read_lines(path), None, ("JSON lines",)
        case ".bin":
            return read_records(path), None, ("records of an item id and three codes",)
        case ".csv" | ".parquet":
            if is_own(columns_of(path)):
                return _read_own(path, strict)
            written, about = read_columns(path)
            return written, None, (about,)
    return read_object(path), None, ("a JSON object",)


def _read_own(
    path: Path, item_ids: NDArray[Any] | None
) -> tuple[WrittenIDs, list[str], tuple[str, ...]]:
    """Read this library's own table, and check all of it but its codebook sizes."""
    levels = sum(name.startswith("code_") for name in columns_of(path))
    table = read_ids(path, [LARGEST_SIZE] * levels, item_ids)
    numbers = written_numbers(table.ids)
    written = WrittenIDs(str(path), numbers, table.item_ids, "row")
    return written, table.titles, ("a table of this library",)


def _some(titles: list[str] | None, rows: NDArray[np.int64]) -> list[str] | None:
    return None if titles is None else [titles[row] for row in rows.tolist()]


def _of_rows(found: Codes, rows: NDArray[np.int64]) -> Codes:
    digits = None if found.digits is None else found.digits[rows]
    return found._replace(codes=found.codes[rows], digits=digits)


# Which item is which


def _match(
    written: WrittenIDs, wanted: NDArray[Any] | None, keys: Keys | None, surplus: Surplus
) -> tuple[NDArray[np.int64], NDArray[Any], tuple[str, ...]]:
    """Return the file's row of each item, (N,), the items' ids, and what was taken for what."""
    count = len(written.numbers.lengths)
    if wanted is None:
        own = np.arange(count) if written.keys is None else written.keys
        if Path(written.where).suffix not in TYPED:
            own = _as_numbers(own)
        return np.arange(count), own, (f"{count:,} items",)
    if written.keys is None:
        if count != len(wanted):
            raise ValueError(
                f"{written.where} has {count:,} items, but the catalogue has {len(wanted):,}, and "
                "an array does not say which: pass the IDs of this catalogue"
            )
        return np.arange(count), wanted, (f"{count:,} items, row i for item i (keys)",)
    readings = _readings(written.keys, wanted)
    if keys is None:
        keys = _kind_of_keys(written, readings)
    name, rows = max(
        ((name, rows) for name, rows in readings if name.startswith(keys)),
        key=lambda reading: int((reading[1] >= 0).sum()),
    )
    _check_complete(written, wanted, rows, name)
    extra = np.ones(count, dtype=bool)
    extra[rows] = False
    if extra.any() and surplus == "refuse":
        raise ValueError(
            f"{written.where} has {_count(int(extra.sum()), 'item')} that "
            f"{'is' if extra.sum() == 1 else 'are'} not in the catalogue, such as "
            f"{_examples(written.keys[extra])} (of {count:,}; taken for {name}): pass "
            "surplus='drop' (--ids-surplus drop) to leave them out"
        )
    dropped = (f"{int(extra.sum()):,} items that are not in the catalogue were left out",)
    said = (f"{len(wanted):,} items; the keys are {name} (keys)",)
    return rows, wanted, said + (dropped if extra.any() else ())


def _readings(keys: NDArray[Any], wanted: NDArray[Any]) -> list[tuple[str, NDArray[np.int64]]]:
    """Return, for each meaning of the keys, the file's row of each item, −1 where it is missing."""
    numbers = keys.dtype == np.int64 and wanted.dtype == np.int64
    alike = (lambda ids: ids) if numbers else _as_strings
    index = pd.Index(alike(keys))
    readings = [("items' ids", index.get_indexer(pd.Index(alike(wanted))))]
    for first in (0, 1):
        rows = np.arange(first, first + len(wanted))
        found = np.full(len(rows), -1)
        if alike(rows[-1:])[0] in index:  # else not all keys are rows
            found = index.get_indexer(pd.Index(alike(rows)))
        readings.append((f"rows from {first} on", found))
    return [(name, np.asarray(rows, dtype=np.int64)) for name, rows in readings]


def _kind_of_keys(written: WrittenIDs, readings: list[tuple[str, NDArray[np.int64]]]) -> Keys:
    """Return what the keys are: ids if they are the dataset's, else rows if they are all rows.

    The keys of a JSON object may be either. A column or a member that is called item_id holds ids.
    """
    complete = [(name, rows) for name, rows in readings if (rows >= 0).all()]
    exact = [(name, rows) for name, rows in complete if len(rows) == len(written.numbers.lengths)]
    differ = any((rows != exact[0][1]).any() for _, rows in exact[1:])
    if differ and written.row == "item":
        raise ValueError(
            f"{written.where}: its keys may be {exact[0][0]} or {exact[1][0]} of the catalogue: "
            "pass keys='items' or keys='rows' (--ids-keys)"
        )
    if exact:
        return "rows" if exact[0][0].startswith("rows") else "items"
    by_ids, by_rows = readings[0][1], readings[1][1]
    return "items" if (by_ids >= 0).sum() >= (by_rows >= 0).sum() else "rows"


def _check_keys(written: WrittenIDs) -> None:
    """Refuse a file that has an item without an id, or an item twice."""
    keys = written.keys
    if keys is not None and keys.dtype == object:
        blank = np.array([not one.strip() for one in keys], dtype=bool)
        if blank.any():
            row = int(blank.argmax())
            at = place("line" if written.row == "line" else "row", row, None)
            raise wrong(written.where, at, "", keys[row], "an id")
        try:
            "".join(keys).encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            row = next(row for row, one in enumerate(keys) if half in one)
            at = place("line" if written.row == "line" else "row", row, None)
            raise wrong(written.where, at, "", keys[row], "an id of whole characters") from None
    repeated = np.zeros(0) if keys is None else pd.Series(keys).duplicated().to_numpy()
    if keys is not None and repeated.any():
        row = int(repeated.argmax())
        first = int((keys == keys[row]).argmax())
        before = place("line" if written.row == "line" else "row", first, None)
        raise wrong(
            written.where,
            place("line" if written.row == "line" else "row", row, None),
            "",
            keys[row],
            f"each item once, but {before} has it already ({int(repeated.sum()):,} such)",
        )


def _check_complete(
    written: WrittenIDs, wanted: NDArray[Any], rows: NDArray[np.int64], name: str
) -> None:
    missing = rows < 0
    if missing.any():
        assert written.keys is not None
        raise ValueError(
            f"{written.where} has no ID for {missing.sum():,} of the catalogue's {len(wanted):,} "
            f"items, such as {_examples(wanted[missing])} (its keys, such as "
            f"{_examples(written.keys)}, were taken for {name}): pass the IDs of this catalogue, "
            "or the other keys (--ids-keys)"
        )


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _examples(found: NDArray[Any]) -> str:
    return ", ".join(shown(one, 30) for one in found[:3].tolist())


def _as_strings(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.dtype == object else values.astype(str).astype(object)


def _as_numbers(keys: NDArray[Any]) -> NDArray[Any]:
    """Return ids as int64 if all of them are written as whole numbers are, so "007" is not 7."""
    if keys.dtype != object:
        return keys
    text = pd.Series(keys, dtype="str")
    if text.str.fullmatch("0|-?[1-9][0-9]{0,17}").all():
        return keys.astype(np.int64)
    return keys


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
