"""Scores that are sums of similarities: what item-kNN and near pairs share.

Both models count once how similar items are, and differ in what they count. A user's score for an
item is then the sum of its similarities to the last items of the history.

Derived in: chapter 11.
"""

from collections.abc import Iterable

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.data.splits import Histories
from rqvae_lib.models.base import check_histories
from rqvae_lib.ops.arrays import as_count


def check_counting(
    train: Histories, num_items: int, last: int | None, shrinkages: Iterable[float]
) -> None:
    """Check what similarities are counted with, before anything is counted.

    Raises:
        ValueError: if a setting is out of range, or the histories name an item outside the
            catalogue.
    """
    as_count(num_items, "num_items", least=0)
    if last is not None:
        as_count(last, "last")
    for shrinkage in shrinkages:
        if not shrinkage >= 0:
            raise ValueError(f"shrinkage is {shrinkage}; expected at least 0")
    train.check_items(num_items)


def summed_similarities(
    similarity: sparse.csr_array, histories: HistoryLists, last: int | None
) -> Tensor:
    """Score every item for each user: its similarities to the last items of the history, summed.

    Args:
        similarity: (N, N), of each item of a history, a row, to all items.
        histories: B lists of item rows, as `recommend`. An empty one gives scores of 0.
        last: the number of latest items of a history that count. None: all.

    Returns:
        shape (B, N), float32.

    Raises:
        ValueError: if a history names an item outside the catalogue.
    """
    num_items = similarity.shape[0]
    histories = as_histories(histories)
    check_histories(histories, num_items)
    heard = [history[-last:] if last else history for history in histories]
    offsets = np.cumsum([0, *map(len, heard)])
    items = torch.cat([*heard, torch.empty(0, dtype=torch.int64)]).numpy()
    chosen = sparse.csr_array((np.ones(len(items)), items, offsets), shape=(len(heard), num_items))
    similar = chosen @ similarity  # (B, N), each item of a row once
    scores = np.zeros(similar.shape, np.float32)
    rows = np.repeat(np.arange(len(heard)), np.diff(similar.indptr))
    scores[rows, similar.indices] = similar.data
    return torch.from_numpy(scores)
