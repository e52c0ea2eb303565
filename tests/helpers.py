"""What tests of more than one package need."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES

ROOT = Path(__file__).resolve().parents[1]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills once for all tests, also where workers share them.

    Each worker of pytest-xdist has a session of its own, and so its own fixtures. The first that
    needs the folder makes it, in a place that all know, and others wait.
    """
    place = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folder, done = place / name, place / f"{name}.made"
    with FileLock(place / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed attempt left
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block takes longer: for what waits for other processes."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"not done within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def small_dataset(change: Callable[[list[int]], list[int]] = list) -> Dataset:
    """90 items, 40 users of 1 to 13 interactions; `change` may rewrite each history's items."""
    chance = np.random.default_rng(0)
    rows = [
        (user, item, 1.0, time)
        for user in range(40)
        for time, item in enumerate(
            change(chance.choice(90, size=1 + user % 13, replace=False).tolist())
        )
    ]
    items = {
        "item_id": range(90), "title": "T", "year": 2000, "genres": "", "text": "T"
    }  # fmt: skip
    return Dataset(
        "small",
        pd.DataFrame(items, index=range(90)).astype(ITEM_DTYPES),
        pd.DataFrame(rows, columns=list(INTERACTION_DTYPES)).astype(INTERACTION_DTYPES),
    )


def write_vectors(path: Path, ids: Any, vectors: Any, *, other: Any = None, **options: Any) -> None:
    """Write a file of a folder of vectors, and the folder.

    Args:
        path: the file, a Parquet table.
        ids: the items, a value each.
        vectors: a row for each of them, or their column as pyarrow has it.
        other: a column that stands between the two, if there is to be one.
        options: of `pyarrow.parquet.write_table`.
    """
    if not isinstance(vectors, pa.Array):
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        vectors = pa.FixedSizeListArray.from_arrays(flat, np.shape(vectors)[1])
    columns = {"item_id": ids, "other": other, "vector": vectors}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({name: column for name, column in columns.items() if column is not None}),
        path,
        **options,
    )
