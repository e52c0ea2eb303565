"""Finds a dataset by its name, its folder, or its two tables.

Seen at work in: chapter 00.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import EMBEDDED
from rqvae_lib.data.own_tables import called
from rqvae_lib.datasets.amazon import AMAZON, load_amazon
from rqvae_lib.datasets.embedded import load_embedded
from rqvae_lib.datasets.folders import read_folder
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
) -> Dataset:
    """Load a dataset by its name, from a folder, or from your own tables.

    Args:
        name_or_folder: one of `NAMES`, or a folder. By default the first of `NAMES`, which is in
            the package; the others are downloaded at their first use. A folder holds the published
            files of MovieLens or of Amazon reviews, or your own tables: interactions and
            optionally items, each a .csv, .tsv or .parquet file.
        interactions, items: your own tables instead, as for `Dataset.from_tables`.

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
    if interactions is not None:
        return Dataset.from_tables(interactions, items)
    if own:
        raise ValueError(
            f"{own[0]} lists items, but nobody met them: name a table of interactions too"
        )
    name = str(name_or_folder or EMBEDDED[0])
    if name in DOWNLOADED:
        return DOWNLOADED[name]()
    if name not in EMBEDDED and Path(name).is_dir():
        return read_folder(Path(name))
    if name not in EMBEDDED:
        raise ValueError(
            f"there is no dataset named {name!r}, and no such folder: expected one of "
            f"{', '.join(NAMES)}, or a folder with its files; check the spelling"
        )
    return load_embedded(name)
