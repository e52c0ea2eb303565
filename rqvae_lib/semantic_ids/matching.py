"""Which item of a file is which item of the catalogue.

A file names its items by the dataset's ids, or by their rows in the catalogue, from 0 or from 1; an
array names them by its order. A key such as "7" does not say which it is.

Used by: the import of IDs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.semantic_ids.config import Keys, Surplus
from rqvae_lib.semantic_ids.numbering import WrittenIDs, place, shown, wrong

TYPED = (".jsonl", ".parquet")  # what tells the number 7 from the text "7"


def match_items(
    written: WrittenIDs, wanted: NDArray[Any] | None, keys: Keys | None, surplus: Surplus
) -> tuple[NDArray[np.int64], NDArray[Any], tuple[str, ...]]:
    """Find each item of the catalogue in a file.

    Args:
        written: the file.
        wanted: the dataset's ids, (N,), int64 or Python strings; None for the items of the file.
        keys, surplus: as `import_ids`.

    Returns:
        The file's row of each item, (N,) int64; the items' ids, (N,); and what was taken for what.

    Raises:
        ValueError: if an item is missing, if the file has one that is not wanted, or if its keys
            can be read in two ways.
    """
    count = len(written.numbers.lengths)
    if wanted is None:
        own = np.arange(count) if written.keys is None else written.keys
        if Path(written.where).suffix.lower() not in TYPED:
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


def check_keys(written: WrittenIDs) -> None:
    """Refuse a file that has an item without an id, or an item twice.

    Raises:
        ValueError: for the first such item.
    """
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
