"""How good a ranking is: full ranking over the whole catalogue, and how sure we are.

Every item that the user has not had before competes with the target; nothing is sampled, since
sampled metrics can reverse which model is better. Each held-out position gives the rank of its
target, and the rest follows from ranks.

Source: Krichene and Rendle, "On sampled metrics for item recommendation", KDD 2020; NDCG: Järvelin
and Kekäläinen, TOIS 2002; bootstrap intervals: Efron 1979.
Derived in: chapter 11; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor

NOT_RANKED = torch.iinfo(torch.int64).max  # the rank of a target that a top-k list does not hold


class Interval(NamedTuple):
    low: float
    high: float


def ranks_in_lists(recommended: Tensor, targets: Tensor) -> Tensor:
    """Return the rank of each target in its list of recommendations.

    Args:
        recommended: shape (M, k), int64, best first; −1 where a list is shorter.
        targets: shape (M,), int64.

    Returns:
        shape (M,), int64: 1 for the first place, `NOT_RANKED` where the target is absent.
    """
    hits = recommended == targets[:, None]  # (M, k)
    places = hits.int().argmax(1) + 1
    return torch.where(hits.any(1), places, NOT_RANKED)


def ranks_in_scores(scores: Tensor, targets: Tensor, excluded: list[Tensor]) -> Tensor:
    """Return the rank of each target among all items by score.

    Args:
        scores: shape (M, N), one score an item. A NaN is an error, never a rank.
        targets: shape (M,), int64.
        excluded: for each row the items that do not compete (those of the history). The target
            always competes, even if it is listed.

    Returns:
        shape (M,), int64, from 1. Among equal scores the item of the lower row comes first.

    Raises:
        ValueError: if a score is NaN, or if there is not one list of exclusions a row.
    """
    if len(excluded) != len(scores):
        raise ValueError(
            f"there are {len(scores)} rows of scores and {len(excluded)} lists of excluded items: "
            "pass one list a row, an empty one where nothing is excluded"
        )
    bad = scores.isnan().any(1).nonzero()[:, 0]
    if len(bad):
        raise ValueError(
            f"row {int(bad[0])} of the scores holds a NaN ({len(bad)} such rows): a model that "
            "gives no score gives no rank; mend the model"
        )
    rows = torch.arange(len(scores))
    competing = torch.ones_like(scores, dtype=torch.bool)
    for row, items in enumerate(excluded):
        competing[row, items] = False
    target_score = scores[rows, targets][:, None]  # (M, 1)
    before = torch.arange(scores.shape[1]) < targets[:, None]  # (M, N)
    better = (scores > target_score) | ((scores == target_score) & before)
    return (better & competing).sum(1) + 1


def recall_at(ranks: Tensor, k: int) -> Tensor:
    """Return 1 where the target is among the first k, else 0: shape (M,), float64."""
    return (ranks <= k).double()


def ndcg_at(ranks: Tensor, k: int) -> Tensor:
    """Return 1 / log₂(1 + rank) where the target is among the first k, else 0: (M,), float64.

    With a single target the ideal ranking scores 1, so this is already normalised.
    """
    gain = 1 / torch.log2(ranks.clamp(max=k).double() + 1)
    return torch.where(ranks <= k, gain, 0.0)


def bootstrap_interval(
    values: Tensor, *, generator: torch.Generator, num_samples: int = 1000, level: float = 0.95
) -> Interval:
    """Return the percentile interval of the mean of one value a user, by resampling users.

    Args:
        values: shape (M,), one value a user.
        generator: draws the samples.
        num_samples: how many times the users are drawn anew, with replacement.
        level: the share of samples whose mean lies within.
    """
    drawn = torch.randint(len(values), (num_samples, len(values)), generator=generator)
    means = values[drawn].mean(1)  # (num_samples,)
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return Interval(low, high)
