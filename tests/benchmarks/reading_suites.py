"""Reading a table of interactions, beside pandas and polars reading the same file."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
from harness import Suite, peak_memory

from rqvae_lib.data.table_files import read_table

COLUMNS = ["userId", "movieId", "rating", "timestamp"]
WANTED = {"needed": ("user_id", "item_id"), "optional": ("rating", "timestamp")}
HAS_POLARS = find_spec("polars") is not None


def ratings(num_rows: int) -> Path:
    """Return a CSV of MovieLens 32M's shape, written at the first call."""
    folder = Path(tempfile.gettempdir()) / f"reading-{os.getuid()}"
    path = folder / f"ratings-{num_rows}.csv"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        chance = np.random.default_rng(0)
        table = {
            "userId": np.sort(chance.integers(1, 200_949, num_rows)),
            "movieId": chance.zipf(1.3, num_rows) % 84_432 * 3 + 1,
            "rating": chance.integers(1, 11, num_rows) / 2,
            "timestamp": chance.integers(789_652_009, 1_697_160_000, num_rows),
        }
        unfinished = path.with_suffix(".unfinished")
        pacsv.write_csv(pa.table(table), unfinished)
        unfinished.rename(path)
    return path


def ours(path: Path) -> object:
    """Read the columns, with every id checked, as for a `Dataset`."""
    return read_table(path, **WANTED)


def with_polars(path: Path) -> object:
    import polars

    return polars.read_csv(path, columns=COLUMNS)


def reading(num_rows: int) -> Suite:
    path = ratings(num_rows)
    cases: dict[str, Callable[[], object]] = {
        "rqvae_lib": partial(ours, path),
        "pandas, ids as text": lambda: pd.read_csv(path, dtype={"userId": str, "movieId": str}),
        "pandas, types guessed": lambda: pd.read_csv(path, usecols=COLUMNS),
        "pandas, types guessed, with pyarrow": lambda: pd.read_csv(path, engine="pyarrow"),
    }
    if HAS_POLARS:
        cases["polars, types guessed"] = lambda: with_polars(path)
    notes = {
        "rqvae_lib": f"{peak_memory(f'reading-{num_rows}'):,.0f} MiB at the peak; ids are numbers "
        "only if all of them are written as such",
        "pandas, ids as text": "ids are not yet compared or numbered",
    }
    title = f"Reading a CSV of {num_rows:,} ratings"
    return Suite(title, cases, "rqvae_lib", rounds=5, notes=notes)


def read(num_rows: int) -> Callable[[], object]:
    path = ratings(num_rows)
    return partial(ours, path)


SUITES: dict[str, Callable[[], Suite]] = {
    f"reading-{num_rows}": partial(reading, num_rows) for num_rows in (2_000_000, 8_000_000)
}
# Work whose memory a suite notes. 32 million rows are MovieLens 32M's: run them by hand, with
# run.py --memory reading-32000000.
WORK = {
    f"reading-{num_rows}": partial(read, num_rows)
    for num_rows in (2_000_000, 8_000_000, 32_000_000)
}
