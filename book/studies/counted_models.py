"""The models of chapter 11 that count and are not trained: popularity, item-kNN, near pairs.

`counting.py` tries their settings on validation targets and `comparison_study.py` answers the test
targets with the best of them, as for the trained models in `studied_models.py`.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.evaluation.validation import HISTORY_LENGTHS, SHRINKAGES
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity

POPULARITY = "popularity"
ITEM_KNN = "item-kNN"
NEAR = "near pairs"
FORWARD = "near pairs, forward"
COUNTED = (POPULARITY, ITEM_KNN, NEAR, FORWARD)
COUNTED_TUNED = (ITEM_KNN, NEAR, FORWARD)  # popularity has nothing to choose

WINDOWS = (1, 5)
NEAR_SHRINKAGE = 20.0


class NearPairs:
    """Items that the same users chose close together score high; all others score 0.

    A pair that stands d places apart in a history, at most `window`, counts 1 / d. The sum over
    users is divided by √((nᵢ + shrinkage)(nⱼ + shrinkage)), n being how often an item was chosen.
    A user's score for an item is the sum over the last items of the history.

    Args:
        train: the histories to count in.
        num_items: N, the size of the catalogue.
        window: the largest distance of a pair, at least 1.
        forward: count a pair only for the item that came second, as a model does that learns
            to name the next item. Else it counts for both.
        last: the number of latest items of a history that count. None: all.
    """

    def __init__(
        self, train: Histories, num_items: int, *, window: int, forward: bool, last: int | None
    ) -> None:
        items = train.items.numpy()
        user = np.repeat(np.arange(len(train)), np.diff(train.offsets.numpy()))
        shape = (num_items, num_items)
        together = sparse.csr_array(shape, dtype=np.float64)
        for distance in range(1, window + 1):
            same = user[:-distance] == user[distance:]
            earlier, later = items[:-distance][same], items[distance:][same]
            weights = np.full(len(earlier), 1 / distance)
            together += sparse.coo_array((weights, (earlier, later)), shape=shape).tocsr()
        if not forward:
            together = together + together.T
        chosen = np.bincount(items, minlength=num_items)
        scale = sparse.diags_array(1 / np.sqrt(chosen + NEAR_SHRINKAGE))
        self.similarity = (scale @ together @ scale).tocsr()
        self.num_items = num_items
        self.last = last

    def scores(self, histories: HistoryLists) -> Tensor:
        """Score every item for each of B users, (B, N) float32."""
        heard = [h[-self.last :] if self.last else h for h in as_histories(histories)]
        offsets = np.cumsum([0, *map(len, heard)])
        items = torch.cat([*heard, torch.empty(0, dtype=torch.int64)]).numpy()
        chosen = sparse.csr_array(
            (np.ones(len(items)), items, offsets), shape=(len(heard), self.num_items)
        )
        return torch.from_numpy((chosen @ self.similarity).toarray()).float()


class CountedSettings(NamedTuple):
    """What is tried: of item-kNN a shrinkage, of near pairs a window; 0 or `None` where unused."""

    shrinkage: float
    window: int
    last: int | None  # the latest items of a history that are heard; None: all


def counted_settings(model: str) -> list[CountedSettings]:
    """Return what is tried: eight settings for each model, and one for popularity."""
    if model == POPULARITY:
        return [CountedSettings(0.0, 0, None)]
    if model == ITEM_KNN:  # as `tuned_item_knn`
        return [CountedSettings(s, 0, last) for s, last in product(SHRINKAGES, HISTORY_LENGTHS)]
    return [
        CountedSettings(NEAR_SHRINKAGE, w, last) for w, last in product(WINDOWS, HISTORY_LENGTHS)
    ]


def counted_model(
    model: str, settings: CountedSettings, split: Split
) -> Popularity | ItemKNN | NearPairs:
    """Count one of `COUNTED` in the training part of a split."""
    if model == POPULARITY:
        return Popularity(split.popularity)
    if model == ITEM_KNN:
        return ItemKNN(
            split.train, split.num_items, shrinkage=settings.shrinkage, last=settings.last
        )
    return NearPairs(
        split.train,
        split.num_items,
        window=settings.window,
        forward=model == FORWARD,
        last=settings.last,
    )
