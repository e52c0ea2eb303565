"""Finds a dataset by its name, its folder, or its two tables.

Seen at work in: chapter 00.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.filters import filtered
from rqvae_lib.data.names import EMBEDDED, Repeats
from rqvae_lib.data.own_tables import called
from rqvae_lib.datasets.amazon import AMAZON, load_amazon
from rqvae_lib.datasets.embedded import load_embedded
from rqvae_lib.datasets.folders import read_folder, refuse_options
from rqvae_lib.datasets.movielens import MOVIELENS, load_movielens

DOWNLOADED: dict[str, Callable[[], Dataset]] = {
    **{entry.name: partial(load_movielens, version) for version, entry in MOVIELENS.items()},
    **{entry.name: partial(load_amazon, category) for category, entry in AMAZON.items()},
}
NAMES = (*EMBEDDED, *DOWNLOADED)


def load_dataset(
    name_or_folder: str | Path | None = None,
    *,
    interactions: pd.DataFrame | str | Path | None = None,
    items: pd.DataFrame | str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
    time_unit: str | None = None,
    repeats: Repeats | None = None,
) -> Dataset:
    """Load a dataset by its name, from a folder, or from your own tables.

    Args:
        name_or_folder: one of `NAMES`, or a folder. By default the first of `NAMES`, which is in
            the package; the others are downloaded at their first use. A folder holds the files
            of a publisher, such as those of MovieLens, Amazon reviews, RecBole or MIND (see the
            page Data and licences), or your own tables: interactions and optionally items, each
            a file with one of `table_files.ENDINGS`.
        interactions, items: your own tables instead, as for `Dataset.from_tables`.
        columns, separator, header, time_unit: how to read tables of your own, as for
            `Dataset.from_tables`. They are refused for a dataset that is read in its own way.
        repeats: what becomes of rows in which a user meets an item again, as for
            `Dataset.from_tables`. `filtered` leaves out other rows, users and items.

    Raises:
        ValueError: for an unknown name, for a name together with tables, for items without
            interactions, or as the function that reads the files.
        OSError: as the function that reads the files.
    """
    own = [
        called(table, what)
        for table, what in ((interactions, "interactions"), (items, "items"))
        if table is not None
    ]
    if name_or_folder is not None and own:
        raise ValueError(
            f"pass either a name or a folder (--dataset, here {name_or_folder}) or a table of your "
            f"own (here {own[0]}), not both"
        )
    if interactions is None and own:
        raise ValueError(
            f"{own[0]} lists items, but nobody met them: name a table of interactions too"
        )
    how: dict[str, Any] = {
        "columns": columns,
        "separator": separator,
        "header": header,
        "time_unit": time_unit,
    }
    how = {option: value for option, value in how.items() if value is not None}
    if interactions is not None:
        return Dataset.from_tables(interactions, items, repeats=repeats or "keep", **how)
    name = EMBEDDED[0] if name_or_folder is None else str(name_or_folder)
    if name in NAMES:
        refuse_options(name, how)
        dataset = DOWNLOADED[name]() if name in DOWNLOADED else load_embedded(name)
    elif name and Path(name).is_dir():
        dataset = read_folder(Path(name), how)
    else:
        raise ValueError(
            f"there is no dataset named {name!r}, and no such folder: expected one of "
            f"{', '.join(NAMES)}, or a folder with its files; check the spelling"
        )
    return filtered(dataset, repeats=repeats).dataset
