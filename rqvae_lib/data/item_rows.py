"""Ids looked up in a catalogue: a table of interactions names its items by the source's ids.

Used by: datasets, histories larger than memory.
"""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def of_one_kind(listed: pd.Series, met: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return both ids as numbers, or both as strings."""
    if listed.dtype == met.dtype:
        return listed, met
    return listed.astype("string"), met.astype("string")


def rows_of(
    codes: NDArray[np.integer[Any]],
    ids: pd.Series,
    listed: pd.Series | pd.Index,
    where: str,
    of_items: str,
    first_row: int = 0,
) -> NDArray[np.int32]:
    """Return the item index of each id that was met; refuse an id that is not listed.

    Args:
        codes: (E,) the place in `ids` of each row's id.
        ids: the different ids that were met.
        listed: the ids of the catalogue, of the same kind.
        where: the table of interactions, for messages.
        of_items: the table of items, for messages.
        first_row: the number of the first row, for messages.
    """
    places = positions(listed, ids).astype(np.int32)  # of each different id
    rows = places[codes]
    if (places < 0).any():
        row = int((rows < 0).argmax())
        (unknown,) = ids.iloc[[codes[row]]].tolist()  # 5, not np.int64(5)
        raise ValueError(
            f"{where}, row {first_row + row}: item_id {shown(unknown)} is not in {of_items}, "
            "expected one of its items: add the item, or drop the row"
        )
    return np.asarray(rows)


def positions(ids: pd.Series | pd.Index, wanted: Any) -> NDArray[np.int64]:
    """Return the row of each wanted id in a column of unique ids, or -1 if it is not there.

    Args:
        ids: the column, or an index of it, which remembers where each id is.
        wanted: ids, (n,).
    """
    if isinstance(wanted, pd.Series) and wanted.dtype == ids.dtype == "string":
        found = pc.index_in(pa.array(wanted), value_set=pa.array(ids))  # no Python strings
        return np.asarray(pc.fill_null(found, -1).to_numpy(), dtype=np.int64)
    index = ids if isinstance(ids, pd.Index) else pd.Index(ids)
    return np.asarray(index.get_indexer(pd.Index(wanted)), dtype=np.int64)


def shown(value: object) -> str:
    """Write an id as Python does, to tell the number 1 from the string '1'; cut if it is long."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:80]}…"
