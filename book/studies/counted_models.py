"""The models of chapter 11 that count and are not trained: popularity, item-kNN, near pairs.

`counting.py` tries their settings on validation targets and `comparison_study.py` answers the test
targets with the best of them, as for the trained models in `studied_models.py`.
"""

from itertools import product
from typing import NamedTuple

from rqvae_lib.data.splits import Split
from rqvae_lib.evaluation.validation import HISTORY_LENGTHS, SHRINKAGES
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity

POPULARITY = "popularity"
ITEM_KNN = "item-kNN"
NEAR = "near pairs"
FORWARD = "near pairs, forward"
COUNTED = (POPULARITY, ITEM_KNN, NEAR, FORWARD)
COUNTED_TUNED = (ITEM_KNN, NEAR, FORWARD)  # popularity has nothing to choose

WINDOWS = (1, 5)
NEAR_SHRINKAGE = 20.0


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
        shrinkage=settings.shrinkage,
        both_ways=model != FORWARD,
        last=settings.last,
    )
