"""The items of a bundle as a Parquet file, each with its quantization error.

The file may come from anywhere, so it is checked as a table of items is.

Derived in: chapter 13.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from rqvae_lib.data.tables import ITEM_DTYPES, check_columns, check_items
from rqvae_lib.io.atomic import write_atomically

ERROR = "quantization_error"  # a column beside those of `ITEM_DTYPES`


class BundleItems(NamedTuple):
    """What the file holds. Row i of each part is item i."""

    frame: pd.DataFrame
    errors: Tensor  # (N,) float32


def check_table(items: pd.DataFrame) -> None:
    """Raise ValueError unless a table has the columns and dtypes of `Dataset.items`."""
    check_columns("the items", items, ITEM_DTYPES)
    check_items("the items", items)


def write_items(path: Path, items: pd.DataFrame, errors: Tensor) -> None:
    """Write N items and their quantization errors, (N,)."""
    with write_atomically(path) as temporary:
        columns = {ERROR: errors.numpy().astype(np.float32)}
        items.assign(**columns).to_parquet(temporary, index=False)


def holds_items(path: Path) -> bool:
    """Return whether a file looks as if `write_items` had written it, by its columns."""
    try:
        return list(pq.read_schema(path).names) == [*ITEM_DTYPES, ERROR]
    except (OSError, ValueError, pa.ArrowException):
        return False


def read_items(path: Path) -> BundleItems:
    """Read the items as they were written, and their errors."""
    with pq.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        if names != [*ITEM_DTYPES, ERROR]:
            raise ValueError(f"{path.name} has the columns {', '.join(names)[:200]}")
        # Repeated values take almost no space, so a small file can unpack to more than the memory.
        rows, size = file.metadata.num_rows, path.stat().st_size
        if rows > size:
            raise ValueError(f"{path.name} holds {rows:,} rows in {size:,} bytes")
        table = file.read()
        table.validate(full=True)  # checks, for example, that text is UTF-8
    dtypes = dict(ITEM_DTYPES)
    if not pa.types.is_integer(table.schema.field("item_id").type):
        dtypes["item_id"] = "string"
    # Only the columns count, and not what pandas stored beside them.
    frame = table.to_pandas(ignore_metadata=True)
    items = frame[list(ITEM_DTYPES)].astype(dtypes)
    check_table(items)
    errors = torch.from_numpy(frame[ERROR].to_numpy(np.float32).copy())
    if not bool((errors.isfinite() & (errors >= 0)).all()):
        raise ValueError(f"{path.name}, column {ERROR!r} holds a number below 0 or not finite")
    return BundleItems(items, errors)
