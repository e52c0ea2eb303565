"""Yambda: music that people listened to and liked, as Yandex publishes it.

    listens.parquet       uid, item_id, timestamp, is_organic, played_ratio_pct, …
    likes.parquet         uid, item_id, timestamp, is_organic
    multi_event.parquet   all kinds of events together, with event_type

Each is published flat, with a row per event, and sequential, with a row per user and lists in the
cells; both are read. Times are seconds since a day that is not told, in steps of five seconds, so
that many events tie; they stand for an order and not for dates. In listens, the rating is
`played_ratio_pct`, 0 where the track was skipped at once and above 100 where a part was played
again. The publishers' benchmark counts what was played to 50 percent. Of several kinds of events
together, the listens are read.

The license is Apache 2.0; the publishers ask for research use: https://huggingface.co/datasets/yandex/yambda.

Source: Ploshkin et al., "Yambda-5B: A Large-Scale Multi-modal Dataset for Ranking and Retrieval",
2025.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.published import Published, as_dataset, counted
from rqvae_lib.datasets.text_files import AGAIN, check_there

FILES = ("listens.parquet", "likes.parquet", "multi_event.parquet")
_COLUMNS = ("uid", "item_id", "timestamp")
_PLAYED = "played_ratio_pct"


def find_yambda(folder: Path) -> list[Path]:
    """Return the files of events in a folder."""
    return [folder / name for name in FILES if (folder / name).is_file()]


def read_yambda(folder: str | Path) -> Dataset:
    """Read a folder with one of Yambda's files.

    Args:
        folder: holds listens.parquet, likes.parquet or multi_event.parquet.

    Returns:
        The dataset "yambda-listens" or "yambda-likes". Tracks have no titles.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there are several, or a file is not as described; the message names the file
            and the row.
    """
    found = find_yambda(Path(folder))
    if not found:
        raise FileNotFoundError(f"{folder} has none of {', '.join(FILES)}, expected one: {AGAIN}")
    if len(found) > 1:
        raise ValueError(
            f"{folder} has both {found[0].name} and {found[1].name}, which are two datasets: move "
            "one of them to a folder of its own"
        )
    (path,) = found
    table, notes = _table(path)
    columns = {name: table.column(name) for name in table.column_names}
    if any(_is_list(column.type) for column in columns.values()):
        columns = _flat(path, columns)
    frame = pd.DataFrame({name: _numbers(path, name, columns[name]) for name in _COLUMNS})
    frame = frame.rename(columns={"uid": "user_id"})
    if _PLAYED in columns:
        frame["rating"] = _numbers(path, _PLAYED, columns[_PLAYED]).astype("float64")
        notes.append(
            f"rating is {_PLAYED}; the publishers' benchmark keeps those of 50 or more "
            "(--min-rating 50)"
        )
    notes.append("the times are seconds since a day that is not told")
    name = "yambda-likes" if path.name == "likes.parquet" else "yambda-listens"
    return as_dataset(Published(name, frame, None, "order", tuple(notes)))


def _table(path: Path) -> tuple[pa.Table, list[str]]:
    """Return the columns that are read, of the listens alone if there are several kinds."""
    check_there(path)
    try:
        names = pq.ParquetFile(path).schema_arrow.names
        for name in _COLUMNS:
            if names.count(name) != 1:
                raise ValueError(
                    f"{path} has the columns {', '.join(names)[:160]!r}, expected {name} once: "
                    f"{AGAIN}"
                )
        optional = [name for name in (_PLAYED, "event_type") if name in names]
        table = pq.read_table(path, columns=[*_COLUMNS, *optional])
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # without an errno, it is pyarrow's error about a damaged file
        raise ValueError(
            f"{path} is not a Parquet table ({' '.join(str(error).split())[:160]}), expected one: "
            f"{AGAIN}"
        ) from error
    notes: list[str] = []
    if "event_type" in names:
        if _is_list(table.schema.field("event_type").type):
            raise ValueError(
                f"{path} has several kinds of events in lists, expected rows: take the flat file, "
                "or listens.parquet"
            )
        kinds = pc.cast(table.column("event_type"), pa.string())
        whole = table.num_rows
        table = table.filter(pc.equal(kinds, "listen")).drop_columns(["event_type"])
        notes.append(f"{table.num_rows:,} of {counted(whole, 'event')} are listens, which are read")
    if not table.num_rows:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    return table, notes


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _flat(path: Path, columns: dict[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """Return one row per event from one row per user."""
    lists = {name: column for name, column in columns.items() if _is_list(column.type)}
    lengths = pc.fill_null(pc.list_value_length(columns["item_id"]), 0).to_numpy()
    for name, column in lists.items():
        bad = pc.fill_null(pc.list_value_length(column), 0).to_numpy() != lengths
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"{path}, row {row}: {name} has another length than item_id, expected one of each "
                f"per event: {AGAIN}"
            )
    users = np.repeat(np.arange(len(lengths)), lengths)
    return {
        name: pc.list_flatten(column) if name in lists else column.take(pa.array(users))
        for name, column in columns.items()
    }


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as int64."""
    if not pa.types.is_integer(column.type):
        raise ValueError(f"{path}: {name} holds {column.type}, expected whole numbers: {AGAIN}")
    if column.null_count:
        row = int(pc.is_null(column).to_numpy().argmax())
        raise ValueError(f"{path}, row {row}: {name} is missing, expected a number: {AGAIN}")
    numbers = column.to_numpy()
    bad = (numbers < 0) | (numbers >= 2**40)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{path}, row {row}: {name} is {numbers[row]}, expected a number from 0 to 2⁴⁰: {AGAIN}"
        )
    return np.asarray(numbers, dtype=np.int64)
