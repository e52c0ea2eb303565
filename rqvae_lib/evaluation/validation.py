"""What validation targets are for: to measure a model while choices are made, and to make them.

The baseline has choices too. In chapter 11 the worst setting of item-kNN has less than two thirds
of the best one's NDCG@10, so an opponent that is not tuned would be a weak one.

Derived in: chapter 11.
"""

from itertools import product
from typing import TypeVar

import torch
from torch import Tensor

from rqvae_lib.data.splits import Split
from rqvae_lib.evaluation.evaluator import Mean, evaluate
from rqvae_lib.evaluation.metrics import mean_of_each_user, ndcg_at, ranks_in_lists, top_items
from rqvae_lib.generation.mixture import (
    Mixture,
    counted_probabilities,
    learned_probabilities,
    mix,
)
from rqvae_lib.models.base import Recommender, ScoresItems
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.torch_settings import own_settings

MAX_TARGETS = 10_000
# What is tried of models that count and of mixtures, and on how many targets at most.
TUNING_TARGETS = 2_000
SHRINKAGES = (0.0, 20.0)
WINDOWS = (1, 5)
HISTORY_LENGTHS = (1, 5, 20, None)  # the latest items of a history; None: all
SHARES = tuple(tenth / 10 for tenth in range(11))  # of what was counted, in a mixture

_Counted = TypeVar("_Counted", ItemKNN, NearPairs)


def validation_targets(split: Split, at_most: int = MAX_TARGETS) -> Tensor:
    """Return the validation targets to measure on, (M,) int64: all, or evenly chosen ones.

    If there are more, it takes every second or third, and so on, because measuring all of them
    would take too long.
    """
    every = max(1, -(-len(split.validation) // at_most))
    return split.validation[::every].contiguous()  # torch.searchsorted warns of anything else


def validate(model: Recommender | SASRec, split: Split, device: str = "cpu") -> dict[str, Mean]:
    """Measure the model and popularity on the validation targets.

    A user with several targets has one vote.

    Args:
        model: a trained model, on the CPU; it is moved back there at the end.
        split: what it was trained on.
        device: where to compute.

    Returns:
        By name of the metric, for the model and for popularity: the mean over people, and its 95 %
        bootstrap interval.

    Raises:
        ValueError: if the split has no validation targets.
    """
    if not len(split.validation):
        raise ValueError(
            "the split has no validation targets: no user has enough interactions (three, with "
            "leave-one-out), so there is nothing to measure on; use more data"
        )
    positions = validation_targets(split)
    found = {
        "": evaluate(model.to(device), split, positions),
        " of popularity": evaluate(Popularity(split.popularity), split, positions),
    }
    model.to("cpu")
    return {
        f"Validation {metric}@10{whose}": evaluation.mean(metric, 10)
        for whose, evaluation in found.items()
        for metric in ("Recall", "NDCG")
    }


def tuned_item_knn(split: Split) -> ItemKNN:
    """Return the item-kNN with the highest NDCG@10 on the validation targets.

    Args:
        split: counts are made in its training part.

    Returns:
        The model; its `shrinkage` is one of `SHRINKAGES` and its `last` one of `HISTORY_LENGTHS`.
        If settings tie, or there are no validation targets, the first setting is used.
    """
    models = ItemKNN.of_shrinkages(split.train, split.num_items, SHRINKAGES)
    return _best_of(models, split)


def tuned_near_pairs(split: Split) -> NearPairs:
    """Return the near pairs with the highest NDCG@10 on the validation targets.

    Args:
        split: pairs are counted in its training part.

    Returns:
        The model; its `window` is one of `WINDOWS` and its `last` one of `HISTORY_LENGTHS`. If
        settings tie, or there are no validation targets, the first setting is used.
    """
    models = [NearPairs(split.train, split.num_items, window=window) for window in WINDOWS]
    return _best_of(models, split)


def _best_of(models: list[_Counted], split: Split) -> _Counted:
    """Return the model with the highest NDCG@10 on validation, with its best history length."""
    positions = validation_targets(split, TUNING_TARGETS)

    def ndcg(setting: tuple[_Counted, int | None]) -> float:
        model, last = setting
        model.last = last  # the table of similarities stays the same
        return evaluate(model, split, positions).mean("NDCG", 10).mean

    settings = list(product(models, HISTORY_LENGTHS))
    best, last = max(settings, key=ndcg) if len(positions) else settings[0]
    best.last = last
    return best


@own_settings
def tuned_mixture(
    model: Recommender | ScoresItems,
    counted: ScoresItems,
    split: Split,
    *,
    allow_repeats: bool = False,
    batch_size: int = 64,
) -> Mixture:
    """Return the mixture of two models with the highest NDCG@10 on the validation targets.

    Both models score the targets once; each share is then tried on these scores.

    Args:
        model: as `Mixture`.
        counted: as `Mixture`; counted in the split's training part.
        split: what both were made of.
        allow_repeats: as `evaluate`.
        batch_size: histories at a time.

    Returns:
        The mixture; its `share` is one of `SHARES`. If shares tie, the smallest of them is used,
        and without validation targets it is 0, the model alone.

    Raises:
        ValueError: as `Mixture.scores`.
    """
    positions = validation_targets(split, TUNING_TARGETS)
    lists: dict[float, list[Tensor]] = {share: [] for share in SHARES}
    for rows in row_blocks(len(positions), batch_size):
        histories, _ = split.histories_and_targets(positions[rows])
        learned = learned_probabilities(model, histories)
        from_counts = counted_probabilities(counted, histories)
        forbidden = [history[:0] for history in histories] if allow_repeats else histories
        for share in SHARES:
            lists[share].append(top_items(mix(learned, from_counts, share), 10, forbidden))
    targets = split.everything.items[positions]
    users = split.everything.user_of(positions)

    def ndcg(share: float) -> float:
        ranks = ranks_in_lists(torch.cat(lists[share]), targets)
        return float(mean_of_each_user(ndcg_at(ranks, 10), users).mean())

    share = max(SHARES, key=ndcg) if len(positions) else SHARES[0]
    return Mixture(model, counted, share)
