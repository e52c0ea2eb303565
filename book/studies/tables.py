"""Tables of long measurements, as CSV: read as text, written whole or not at all.

Every field stays the text that was measured, so a table that is read and written again is the same
file, byte for byte, whatever rows were added to it.
"""

import csv
import datetime
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from rqvae_lib.io.atomic import write_atomically

Row = dict[str, str]

NOT_RECORDED = "a machine that was not recorded"


def read_rows(path: Path, columns: Iterable[str] | None = None) -> list[Row]:
    """Return the rows of a table, none if it does not exist, or has other columns than these."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if columns is None or tuple(row) == tuple(columns)]


def rows_of(rows: Iterable[Row], key: Row) -> list[Row]:
    """Return the rows that say what a key says, in the columns that it names."""
    return [row for row in rows if key.items() <= row.items()]


def write_rows(path: Path, columns: Iterable[str], rows: Iterable[Row]) -> None:
    """Write a table, and beside it where and when; an interruption leaves the old one whole."""
    columns, rows = list(columns), list(rows)
    written = {tuple(row.values()) for row in rows}
    stays = any(tuple(row.values()) in written for row in read_rows(path, columns))
    earlier = read_origin(path).get("measured_on", [NOT_RECORDED]) if stays else []
    with (
        write_atomically(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    note_origin(path, earlier)


def note_origin(path: Path, earlier: Iterable[str] = ()) -> None:
    """Write NAME.json beside NAME.csv: day, machines and versions of what was measured.

    Args:
        path: the table.
        earlier: machines to keep in the list, since rows stay that were measured there; which row
            is whose is not recorded.
    """
    here = (
        f"{os.cpu_count()} cores, {platform.system()}, {platform.machine()}, "
        f"Python {platform.python_version()}, torch {metadata.version('torch')}"
    )
    if torch.cuda.is_available():
        here = f"{torch.cuda.get_device_name()}, {here}"
    origin = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),  # of the table that this is about
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "measured_on": list(dict.fromkeys([*earlier, here])),
    }
    with write_atomically(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")


def read_origin(path: Path) -> dict[str, Any]:
    """Return what is recorded of this very table; empty where nothing is."""
    beside = path.with_suffix(".json")
    origin = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    same = origin.get("sha256") == hashlib.sha256(path.read_bytes()).hexdigest()
    return origin if same else {}


def replace_rows(
    path: Path,
    columns: Iterable[str],
    key: Row,
    rows: Iterable[Row],
    order: Callable[[Row], Any],
) -> None:
    """Put the rows of one measurement in the place of older ones of it; others may do so too.

    Args:
        path: the table.
        columns: all of them, in order.
        key: the columns that name the measurement, and what they say.
        rows: with or without those columns.
        order: how the rows of the table are sorted.
    """
    columns = tuple(columns)
    with FileLock(Path(tempfile.gettempdir()) / f"{path.name}.lock"):
        older = [row for row in read_rows(path, columns) if not key.items() <= row.items()]
        new = [dict.fromkeys(columns, "") | key | row for row in rows]
        write_rows(path, columns, sorted([*older, *new], key=order))
