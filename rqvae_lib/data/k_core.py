"""The k-core: the part of a dataset in which every user and item has at least k interactions.

Dropping rare items leaves some users with few interactions. Dropping those users makes other items
rare, and so on. The *k-core* is what remains when nothing more has to go. It does not depend on the
order of the steps. Papers often report results on the 5-core; these hold only for the users and
items that were kept.

Source: Seidman, "Network structure and minimum degree", Social Networks 1983, for graphs.
Derived in: chapter 01.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.ops.arrays import as_row


class Core(NamedTuple):
    """A k-core, and the items that it kept."""

    dataset: Dataset  # item i of the core is item item_rows[i] of the original dataset
    item_rows: NDArray[np.int64]  # (N',) ascending: embeddings[item_rows] are the core's


def k_core(dataset: Dataset, k: int) -> Core:
    """Drop users and items with fewer than k interactions until no such user or item is left.

    Run it before the split, or on the training part alone, and report which. Before the split, an
    item may stay only because of interactions that are held out later.

    Args:
        dataset: if a user met an item twice, this counts as two interactions.
        k: at least 1. With k = 1, only items that nobody met are dropped.

    Returns:
        The core and the rows of the original items table that it kept. Use these rows to select
        embeddings or codes. The interactions keep their order and their user ids; item indices
        are numbered from 0 again.

    Raises:
        ValueError: if k is below 1, or if nothing remains.
    """
    k = as_row(k, "k")
    if k < 1:
        raise ValueError(
            f"k is {k}, expected 1 or more: it is how many interactions each user and item needs"
        )
    user = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_offsets))  # (E,)
    item = dataset.interactions["item"].to_numpy(np.int64)  # (E,)
    kept = np.ones(len(item), dtype=np.bool_)
    while True:
        user_counts = np.bincount(user[kept], minlength=dataset.num_users)  # (U,)
        item_counts = np.bincount(item[kept], minlength=dataset.num_items)  # (N,)
        frequent = kept & (user_counts[user] >= k) & (item_counts[item] >= k)  # (E,)
        if frequent.sum() == kept.sum():
            break
        kept = frequent
    if not kept.any():
        raise ValueError(
            f"{dataset.name} has no {k}-core: its most active user has "
            f"{np.bincount(user).max():,} interactions and its most popular item "
            f"{np.bincount(item).max():,}, but nothing is left after dropping all with fewer than "
            f"{k}; choose a smaller k"
        )
    item_rows = np.flatnonzero(item_counts)  # (N',)
    items = dataset.items.iloc[item_rows].reset_index(drop=True)
    interactions = dataset.interactions[kept].reset_index(drop=True)
    interactions = interactions.assign(item=np.searchsorted(item_rows, item[kept]))
    name = f"{dataset.name}, {k}-core"
    core = dataclasses.replace(dataset, name=name, items=items, interactions=interactions)
    return Core(core, item_rows)
