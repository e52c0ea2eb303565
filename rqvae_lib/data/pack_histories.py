"""Packs a table of interactions into a file of histories, in memory that does not grow with it.

The rows must be sorted by user and time, and they do not fit in memory. So they are first dealt out
to buckets. A sample of the user ids says where to cut the range of ids into buckets of about equal
size, and each row is written to the bucket of its user. A bucket fits in memory, where it is sorted
as a `Dataset` sorts all rows. The buckets are in the order of the ids, so their results, one after
another, are the whole. No user is cut in two, so a bucket holds at least all rows of a user.

The table is read twice: for its items and the sample, and to deal out the rows. A column of
decimals is read once more each time.

Derived in: chapter 12.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from rqvae_lib.data.buckets import buckets_of, cut_ids, dealing_out, users_of
from rqvae_lib.data.column_names import asked_columns, find_columns
from rqvae_lib.data.histories_file import KIND, HistoriesFile
from rqvae_lib.data.item_rows import of_one_kind, rows_of
from rqvae_lib.data.item_texts import with_all_texts
from rqvae_lib.data.names import Repeats
from rqvae_lib.data.own_tables import called, check_options, read_id_column, read_items
from rqvae_lib.data.parquet_files import count_rows, parquet_names, parquet_parts, parquet_pieces
from rqvae_lib.data.repeats import check_repeats, find_repeats, kept_rows, refusal, sentences
from rqvae_lib.data.row_order import numbered, time_order
from rqvae_lib.data.table_files import Source
from rqvae_lib.data.tables import items_checksum
from rqvae_lib.data.time_columns import (
    check_has_times,
    notes_with_times,
    sort_keys,
    times_or_order,
)
from rqvae_lib.data.times import Reading, check_time_unit
from rqvae_lib.io.atomic import scratch_folder
from rqvae_lib.io.mapped_tensors import TensorWriter, write_in_pieces
from rqvae_lib.io.progress import progress_of
from rqvae_lib.ops.arrays import as_count

ROWS_IN_MEMORY = 2**21  # of a bucket, about: with its copies, 200 MB
_SAMPLED = 2**17  # user ids that decide where buckets are cut


def pack_histories(
    interactions: str | Path,
    output: str | Path,
    items: Source | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
    time_unit: str | None = None,
    repeats: Repeats = "keep",
    rows_in_memory: int = ROWS_IN_MEMORY,
    progress: bool = False,
) -> HistoriesFile:
    """Write the histories of a table that is larger than memory to a file.

    The histories are those of `Dataset.from_tables` with the same arguments, item for item: ids are
    read and sorted, times are understood, and ties and repeats are treated in the same way. Ratings
    are not read. The memory that it takes grows with `rows_in_memory`, the number of different
    items, and the rows of the most active user. The disk needs room for about 50 bytes per row, in
    the folder of the output.

    Args:
        interactions: a Parquet file, or a folder of them, which are read in the order of their
            names.
        output: the file to write, usually .safetensors.
        items: as `Dataset.from_tables`; it must fit in memory. None: the items are those of the
            interactions, sorted by id.
        columns, time_unit, repeats: as `Dataset.from_tables`.
        separator, header: likewise, for a table of items that is text.
        rows_in_memory: how many rows are sorted at a time, about.
        progress: show progress on stderr.

    Returns:
        The file, opened.

    Raises:
        ValueError: as `Dataset.from_tables`, if the table is not Parquet, or if one part writes
            times as other kinds of numbers than another. An older file is then unchanged.
        OSError: if a file cannot be read or written. An older file is then unchanged.
    """
    check_repeats(repeats)
    check_time_unit(time_unit)
    check_options(interactions, items, columns, separator, header)
    rows_in_memory = as_count(rows_in_memory, "rows_in_memory")
    output = Path(output)
    table = _open(Path(interactions), columns, time_unit)
    with closing(progress_of(total=2 * table.num_rows, unit="row", show=progress)) as bar:
        looked = _look_through(table, items is None, rows_in_memory, bar)
        listed, notes = _catalogue(items, looked, columns, separator, header)
        of_items = called(items, "items")
        with scratch_folder(output) as folder:
            with_numbers = repeats == "refuse"
            reading = _deal_out(
                table, looked, listed["item_id"], of_items, folder, bar, with_numbers
            )
            said = notes_with_times(table.said, table.theirs, str(table.path), reading)
            found = _Found(table, looked, listed, (*said, *notes))
            _write(found, folder, output, repeats)
    return HistoriesFile(output)


# The table


@dataclass(frozen=True)
class _Table:
    """A table of interactions in Parquet, of which the columns are known."""

    path: Path
    theirs: dict[str, str]  # the library's name → the column's
    said: tuple[str, ...]
    time_unit: str | None
    num_rows: int

    def pieces(self, *names: str) -> Iterator[tuple[int, dict[str, pd.Series]]]:
        """Yield some columns in pieces that fit in memory, each with the number of its first row.

        Ids are int64 or strings.
        """
        theirs = {name: own for name, own in self.theirs.items() if name in names}
        kinds: dict[str, Any] = {}
        for start, columns in parquet_pieces(self.path, theirs):
            for name in ("user_id", "item_id"):
                columns[name] = read_id_column(columns[name], str(self.path))
                if kinds.setdefault(name, columns[name].dtype) != columns[name].dtype:
                    raise ValueError(
                        f"{self.path}, from row {start}, column {theirs[name]!r}: found ids of "
                        f"type {columns[name].dtype}, expected {kinds[name]}, as before: write the "
                        "whole column as one type"
                    )
            yield start, columns


def _open(path: Path, columns: Mapping[str, str] | None, time_unit: str | None) -> _Table:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist, expected a Parquet file or a folder of them: check the "
            "spelling"
        )
    if path.is_dir() and not parquet_parts(path):
        raise ValueError(
            f"{path} is a folder without Parquet files, expected parts that end in .parquet: name "
            "another folder"
        )
    if not path.is_dir() and path.suffix.lower() != ".parquet":
        raise ValueError(
            f"{path} ends in {path.suffix!r}, expected a Parquet file or a folder of them, since "
            "only these are read in pieces: convert it to Parquet"
        )
    found = find_columns(
        str(path),
        parquet_names(path),
        ("user_id", "item_id"),
        ("timestamp",),
        asked_columns(columns, "interactions"),
    )
    check_has_times("timestamp" in found.theirs, str(path), time_unit)
    rows = count_rows(path)
    if not rows:
        raise ValueError(f"{path} has no rows, expected at least one: check where it comes from")
    return _Table(path, found.theirs, found.said, time_unit, rows)


# First reading: the items, and where to cut


class _Looked(NamedTuple):
    """What the first reading of a table finds."""

    item_ids: pd.Series  # the different ids, unsorted; or only some, for their type
    cuts: NDArray[Any]  # (B − 1,) user ids: the first of each bucket but the first one
    text_users: bool  # whether user ids are text


def _look_through(table: _Table, all_items: bool, rows_in_memory: int, bar: Any) -> _Looked:
    """Read the ids, and return the items and the cuts between the buckets.

    Args:
        table: the table.
        all_items: whether all different items are wanted, or only the type of their ids.
        rows_in_memory: of a bucket.
        bar: counts the rows.
    """
    every = max(1, table.num_rows // _SAMPLED)
    users, items = [], _Different()
    for start, columns in table.pieces("user_id", "item_id"):
        # A copy: a view would keep its whole piece in memory.
        users.append(columns["user_id"].iloc[-start % every :: every].copy())
        if all_items or not start:
            items.add(columns["item_id"])
        bar.update(len(columns["user_id"]))
    sample = pd.concat(users)
    cuts = cut_ids(sample, -(-table.num_rows // rows_in_memory))
    return _Looked(items.all(), cuts, sample.dtype != np.int64)


class _Different:
    """The different ids of a column that comes in pieces."""

    def __init__(self) -> None:
        self._found: list[pd.Series] = []
        self._new = 0  # ids that were not yet compared with the others

    def add(self, ids: pd.Series) -> None:
        self._found.append(ids.drop_duplicates())
        self._new += len(self._found[-1])
        if self._new > max(2**21, len(self._found[0])):
            self.all()

    def all(self) -> pd.Series:
        """Return the different ids so far."""
        self._found = [pd.concat(self._found, ignore_index=True).drop_duplicates()]
        self._new = 0
        return self._found[0]


def _catalogue(
    items: Source | None,
    looked: _Looked,
    columns: Mapping[str, str] | None,
    separator: str | None,
    header: bool | None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the items table of `Dataset.from_tables`, and what was taken for what in it."""
    if items is None:
        ids = looked.item_ids.sort_values().reset_index(drop=True)
        listed, _ = read_items(pd.DataFrame({"item_id": ids}))
        return with_all_texts(listed), ()
    listed, said = read_items(items, columns, separator, header)
    listed["item_id"], _ = of_one_kind(listed["item_id"], looked.item_ids)
    return with_all_texts(listed), said


# Second reading: the rows, dealt out to buckets


def _deal_out(
    table: _Table,
    looked: _Looked,
    listed: pd.Series,
    of_items: str,
    folder: Path,
    bar: Any,
    with_numbers: bool,
) -> Reading | None:
    """Write each row to the bucket of its user, in the order of the table.

    Args:
        table, looked: the table, and where to cut it.
        listed: the ids of the catalogue.
        of_items: what messages call it.
        folder: where to write the buckets.
        bar: counts the rows.
        with_numbers: whether to write each row's number, too, for messages.

    Returns:
        How the times were read, if there are any.
    """
    where = str(table.path)
    known = listed if listed.dtype == "string" else pd.Index(listed)
    reading, kind = None, None
    with dealing_out(folder, looked.cuts) as write:
        for start, columns in table.pieces("user_id", "item_id", "timestamp"):
            users = numbered(columns["user_id"])
            codes, ids = pd.factorize(columns["item_id"])
            met = pd.Series(ids, dtype=columns["item_id"].dtype)
            met = met if met.dtype == listed.dtype else met.astype("string")
            rows = rows_of(codes, met, known, where, of_items, start)
            numbers = range(start, start + len(rows))
            times = times_or_order(columns.get("timestamp"), numbers, where, table.time_unit)
            keys = sort_keys(times)
            kind = kind or keys.kind
            if keys.kind != kind:
                raise _other_times(table, start)
            if times.reading is not None:
                reading = times.reading if reading is None else reading.joined(times.reading)
            data = {
                "user": pa.array(users.ids).cast(_kind(looked)).take(pa.array(users.codes)),
                "item": rows,
                "time": times.microseconds,
                **({} if keys.numbers is None else {"key": keys.numbers}),
                **({"row": np.array(numbers)} if with_numbers else {}),
            }
            write(pa.table(data), users)
            bar.update(len(rows))
    return reading


def _kind(looked: _Looked) -> pa.DataType:
    return pa.large_string() if looked.text_users else pa.int64()


def _other_times(table: _Table, start: int) -> ValueError:
    return ValueError(
        f"{table.path}, from row {start}, column {table.theirs['timestamp']!r}: found times of "
        "another kind than before, expected one kind in all rows: name their unit with "
        "--time-unit (in Python time_unit), or write the column as numbers or dates"
    )


# Each bucket, sorted


class _Found(NamedTuple):
    """What is known of a table once its rows are dealt out."""

    table: _Table
    looked: _Looked
    items: pd.DataFrame  # the catalogue
    notes: tuple[str, ...]


def _write(found: _Found, folder: Path, output: Path, repeats: Repeats) -> None:
    """Sort each bucket, and write all of them to the file of histories."""
    item_ids = found.items["item_id"]
    kinds = _kinds(found.looked.text_users, item_ids.dtype != np.int64)
    users, repeated = 0, 0
    with write_in_pieces(output, kinds) as writer:
        writer.append("offsets", np.zeros(1, dtype=np.int64))
        for rows in buckets_of(folder, found.looked.cuts):
            if len(rows):
                some, again = _append_bucket(rows, str(found.table.path), item_ids, repeats, writer)
                users, repeated = users + some, repeated + again
        _append_ids(writer, "item_ids", item_ids)
        counts = {
            "interactions": writer.lengths["items"],
            "users": users,
            "items": len(item_ids),
        }
        card = {
            "dataset": str(found.table.path),
            "sha256": writer.sha256,
            "items_sha256": items_checksum(found.items),
            "notes": [*found.notes, *sentences(repeated, 0, repeats)],
        }
        writer.finish(output, KIND, counts, card)


def _append_bucket(
    rows: pa.Table, where: str, item_ids: pd.Series, repeats: Repeats, writer: TensorWriter
) -> tuple[int, int]:
    """Sort a bucket and append it to the vectors.

    Returns:
        How many users there are, and how many repeats.
    """
    users = users_of(rows)
    item, time = rows.column("item").to_numpy(), rows.column("time").to_numpy()
    keys = rows.column("key").to_numpy() if "key" in rows.column_names else time
    order = time_order(users.codes, users.offsets, keys)
    in_order, time = item[order], time[order]
    found = find_repeats(in_order, users.offsets)
    if repeats == "refuse" and found.total:
        raise refusal(where, users, item, item_ids, rows.column("row").to_numpy())
    lengths = np.diff(users.offsets)
    kept = kept_rows(found, repeats)
    if kept is not None:
        whose = np.repeat(np.arange(len(lengths)), lengths)
        in_order, time = in_order[kept], time[kept]
        lengths = np.bincount(whose[kept], minlength=len(lengths))
    writer.append("offsets", writer.lengths["items"] + lengths.cumsum())
    writer.append("items", in_order)
    writer.append("times", time)
    _append_ids(writer, "user_ids", users.ids)
    return len(lengths), found.total


# The vectors of a file


def _kinds(text_users: bool, text_items: bool) -> dict[str, torch.dtype]:
    """Return the vectors of a file.

    Ids that are text are two vectors: all texts, one after another, and where each begins.
    """
    kinds = {"items": torch.int32, "times": torch.int64, "offsets": torch.int64}
    for name, is_text in (("user_ids", text_users), ("item_ids", text_items)):
        kinds[name] = torch.uint8 if is_text else torch.int64
        if is_text:
            kinds[f"{name}_offsets"] = torch.int64
    return kinds


def _append_ids(writer: TensorWriter, name: str, ids: pd.Series) -> None:
    if ids.dtype == np.int64:
        writer.append(name, ids.to_numpy())
        return
    texts = [text.encode() for text in ids]
    offsets = f"{name}_offsets"
    if not writer.lengths[offsets]:
        writer.append(offsets, np.zeros(1, dtype=np.int64))
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    writer.append(offsets, writer.lengths[name] + lengths.cumsum())
    writer.append(name, np.frombuffer(b"".join(texts), np.uint8))
