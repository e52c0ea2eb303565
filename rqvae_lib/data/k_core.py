"""The part of a dataset in which every user and every item is met often enough.

Dropping rare items leaves some users with few interactions, dropping those leaves other items rare,
and so on; the *k-core* is what remains when nothing more has to go. It does not depend on the order
of the steps. Papers often report on the 5-core. What they report then holds for what was kept.

Source: Seidman, "Network structure and minimum degree", Social Networks 1983, for graphs.
Derived in: chapter 01.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqvae_lib.data.dataset import Dataset


class Core(NamedTuple):
    dataset: Dataset  # its item i is item item_rows[i] of the old one
    item_rows: NDArray[np.int64]  # (N',) ascending: embeddings[item_rows] are the core's


def k_core(dataset: Dataset, k: int) -> Core:
    """Drop users and items with fewer than k interactions until none is left.

    Run it before a split, or on the training part alone, and say which: in the first case an
    item may owe its place to interactions that are held out.

    Args:
        dataset: a user who met an item twice counts as two interactions.
        k: at least 1; 1 drops the items that nobody met.

    Returns:
        The remaining interactions in their old order, with new item indices from 0; the user ids
        are the old ones. Beside it the rows of the old items table that were kept, by which a
        caller selects embeddings or codes.

    Raises:
        ValueError: if k is below 1, or if nothing remains.
    """
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
            f"{np.bincount(item).max():,}, but nothing holds together at {k}; choose a smaller k"
        )
    item_rows = np.flatnonzero(item_counts)  # (N',)
    items = dataset.items.iloc[item_rows].reset_index(drop=True)
    interactions = dataset.interactions[kept].reset_index(drop=True)
    interactions = interactions.assign(item=np.searchsorted(item_rows, item[kept]))
    return Core(Dataset(f"{dataset.name}, {k}-core", items, interactions), item_rows)
