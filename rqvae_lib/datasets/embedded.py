"""The dataset that ships inside the package, so that everything runs offline.

`movielens-small-2016` is MovieLens Latest Small as of October 2016: 100,004 ratings, 671 users and
9,066 movies. Today's `ml-latest-small` is a different dataset, from 2018, with 610 users.

Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015.
Derived in: chapter 01.
"""

from importlib import resources
from io import BytesIO

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.item_texts import add_texts
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES
from rqvae_lib.data.times import MICROSECONDS


def load_embedded(name: str) -> Dataset:
    """Read a dataset that ships inside the package. It needs no network.

    Args:
        name: one of `data.names.EMBEDDED`.

    Returns:
        The checked dataset. Each call returns new, independent tables.

    Raises:
        FileNotFoundError: for another name.
    """
    folder = resources.files("rqvae_lib.datasets") / name
    items = pd.read_parquet(BytesIO((folder / "items.parquet").read_bytes()))
    interactions = pd.read_parquet(BytesIO((folder / "interactions.parquet").read_bytes()))
    items = items.astype({column: ITEM_DTYPES[column] for column in items.columns})
    items = add_texts(items, articles_last=True)
    rows = pd.Index(items["item_id"]).get_indexer(pd.Index(interactions["item_id"]))
    times = interactions["timestamp"] * MICROSECONDS  # the file has seconds
    interactions = interactions.assign(item=rows, timestamp=times)[list(INTERACTION_DTYPES)]
    return Dataset(name, items, interactions.astype(INTERACTION_DTYPES), articles_last=True)
