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
from torch.nn import functional as F

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.ops.arrays import Array, as_count, as_rows, as_vectors
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.torch_settings import own_settings

BLOCK = 32  # scores of which only the largest is looked at first
SORTED_AT_ONCE = 1024  # scores per row; so few are sorted as they are
DRAWN_AT_A_TIME = 2**20  # users of the samples of a bootstrap: 16 MB, which stay in the cache
NOT_RANKED = torch.iinfo(torch.int64).max  # the rank of a target that a top-k list does not hold


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


@own_settings
def ranks_in_lists(recommended: Array, targets: Array) -> Tensor:
    """Return the rank of each target in its list of recommendations.

    Args:
        recommended: shape (M, k), int64, best first; −1 where a list is shorter.
        targets: shape (M,), int64.

    Returns:
        shape (M,), int64: 1 for the first place, `NOT_RANKED` where the target is absent.

    Raises:
        ValueError: if one of them does not hold whole numbers, or they are not of equal length.
    """
    recommended = as_rows(recommended, "recommended", ndim=2)
    targets = as_rows(targets, "targets")
    _check_targets(targets, "lists of recommendations", len(recommended))
    row, place = (recommended == targets[:, None]).nonzero(as_tuple=True)
    ranks = torch.full((len(targets),), NOT_RANKED, device=recommended.device)
    return ranks.scatter_reduce(0, row, place + 1, "amin")


@own_settings
def ranks_in_scores(scores: Array, targets: Array, excluded: HistoryLists) -> Tensor:
    """Return the rank of each target among all items by score.

    Args:
        scores: shape (M, N), one score per item. A NaN is an error, never a rank.
        targets: shape (M,), int64.
        excluded: for each row the items that do not compete (those of the history). The target
            always competes, even if it is listed.

    Returns:
        shape (M,), int64, from 1. Among equal scores the item of the lower row comes first.

    Raises:
        ValueError: if the scores are no matrix of numbers or one is NaN, if there is not one target
            and one list of exclusions per row, or if one of them is not among the N items.
    """
    scores, *left_out = _checked(scores, excluded)
    targets = as_rows(targets, "targets")
    _check_targets(targets, "rows of scores", len(scores))
    outside = ((targets < 0) | (targets >= scores.shape[1])).nonzero()[:, 0]
    if len(outside):
        row = int(outside[0])
        raise ValueError(
            f"the target of row {row} is {int(targets[row])}, but the scores are of items 0 to "
            f"{scores.shape[1] - 1}: leave out rows without a target"
        )
    rows = torch.arange(len(scores))
    competing = torch.ones_like(scores, dtype=torch.bool)
    competing[tuple(left_out)] = False
    competing[rows, targets] = True
    target_score = scores[rows, targets][:, None]  # (M, 1)
    before = torch.arange(scores.shape[1]) < targets[:, None]  # (M, N)
    better = (scores > target_score) | ((scores == target_score) & before)
    return (better & competing).sum(1) + 1


@own_settings
def top_items(scores: Array, k: int, excluded: HistoryLists) -> Tensor:
    """Return the items of the highest scores, best first.

    Args:
        scores: shape (M, N), one score per item. A NaN is an error, never a rank.
        k: how many, at least 1.
        excluded: for each row the items that are left out (those of the history).

    Returns:
        shape (M, k), int64; −1 where fewer than k items are left. Among equal scores the item of
        the lower row comes first, as in `ranks_in_scores`.

    Raises:
        ValueError: as `ranks_in_scores`, or if k is below 1.
    """
    k = as_count(k, "k")
    scores, rows, items = _checked(scores, excluded)
    best = None
    if scores.is_floating_point():
        left = scores.clone(memory_format=torch.contiguous_format)
        left[rows, items] = -torch.inf
        best = _first_largest(left, k)  # (M, k), or (M, N) if there are fewer items
        worst = left.gather(1, best[:, -1:])
    if best is None or best.shape[1] < k or (worst == -torch.inf).any():
        return _sorted_items(scores, k, rows, items)  # a list may hold what is excluded
    return best


def _first_largest(values: Tensor, k: int) -> Tensor:
    """Return the places of the k largest values of each row, the first ones among equals.

    Not `topk`, which gives equal values in any order, and not a sort of whole rows, which takes
    fifty times as long: the k largest values lie in the k blocks with the largest maxima. Among
    blocks with equal maxima, those come first whose places do, as every such block has one value
    that comes before all those of the later ones.

    Args:
        values: shape (M, N), floating point, without NaN.
        k: at least 1.

    Returns:
        shape (M, min(k, N)), int64, largest first.
    """
    if values.shape[1] <= max(SORTED_AT_ONCE, k * BLOCK):
        return values.argsort(dim=1, descending=True, stable=True)[:, :k]
    num_blocks = -(-values.shape[1] // BLOCK)
    padding = (0, num_blocks * BLOCK - values.shape[1])
    blocks = F.pad(values, padding, value=-torch.inf).view(-1, num_blocks, BLOCK)
    chosen = _first_largest(blocks.amax(2), k).sort(1).values  # (M, k)
    rest = blocks.gather(1, chosen[..., None].expand(-1, -1, BLOCK)).flatten(1)  # (M, k · BLOCK)
    place = rest.argsort(dim=1, descending=True, stable=True)[:, :k]
    found: Tensor = chosen.gather(1, place // BLOCK) * BLOCK + place % BLOCK
    return found


def _sorted_items(scores: Tensor, k: int, rows: Tensor, items: Tensor) -> Tensor:
    """Do what `top_items` does, by sorting whole rows.

    Args:
        scores, k: as `top_items`.
        rows, items: shape (n,), int64, the places of scores that are left out.
    """
    competing = torch.ones_like(scores, dtype=torch.bool)
    competing[rows, items] = False
    order = scores.argsort(dim=1, descending=True, stable=True)
    kept = competing.gather(1, order)  # (M, N)
    place = kept.cumsum(1) - 1  # among the kept
    row, column = (kept & (place < k)).nonzero(as_tuple=True)
    best = order.new_full((len(scores), k), -1)
    best[row, place[row, column]] = order[row, column]
    return best


def recall_at(ranks: Tensor, k: int) -> Tensor:
    """Return 1 where the target is among the first k, else 0: shape (M,), float64."""
    return (ranks <= as_count(k, "k")).double()


def ndcg_at(ranks: Tensor, k: int) -> Tensor:
    """Return 1 / log₂(1 + rank) where the target is among the first k, else 0: (M,), float64.

    With a single target the ideal ranking scores 1, so this is already normalized.
    """
    k = as_count(k, "k")
    gain = 1 / torch.log2(ranks.clamp(max=k).double() + 1)
    return torch.where(ranks <= k, gain, 0.0)


def mrr_at(ranks: Tensor, k: int) -> Tensor:
    """Return 1 / rank where the target is among the first k, else 0: shape (M,), float64."""
    return torch.where(ranks <= as_count(k, "k"), 1 / ranks.double(), 0.0)


@own_settings
def mean_of_each_user(values: Tensor, users: Tensor) -> Tensor:
    """Return the mean of each user's values, so that every user has one vote.

    A bootstrap draws what is independent, and the answers about one user are not: take this first
    where users have several targets.

    Args:
        values: shape (M,), one per target.
        users: shape (M,), int64, whose target it is.

    Returns:
        shape (U,), float64, in the order of the users' numbers.
    """
    _, of_user, count = torch.unique(users, return_inverse=True, return_counts=True)
    total = torch.zeros(len(count), dtype=torch.float64).index_add(0, of_user, values.double())
    means: Tensor = total / count
    return means


def coverage(recommended: Tensor, num_items: int) -> float:
    """Return the share of the catalogue that is in anybody's list.

    Args:
        recommended: shape (M, k), int64; −1 where a list is shorter.
        num_items: N, the size of the catalogue.

    Source: Ge, Delgado-Battenfeld and Jannach, RecSys 2010, §2 ("catalog coverage").
    """
    times = torch.bincount(recommended[recommended >= 0])  # a sort of them takes far longer
    return int(times.count_nonzero()) / num_items


def mean_popularity(recommended: Tensor, popularity: Tensor) -> float:
    """Return how popular the recommended items are: the mean over lists of their items' mean.

    Args:
        recommended: shape (M, k), int64; −1 where a list is shorter. An empty list has no vote.
        popularity: shape (N,), each item's training interactions.

    Source: Yin, Cui, Li, Yao and Chen, VLDB 2012, arXiv 1205.6700, §5 (popularity of the
    recommended items).
    """
    listed = recommended >= 0  # (M, k)
    counts = torch.where(listed, popularity[recommended.clamp(min=0)].double(), 0.0)
    lengths = listed.sum(1)
    return float((counts.sum(1) / lengths)[lengths > 0].mean())


@own_settings
def bootstrap_interval(
    values: Tensor, *, generator: torch.Generator, num_samples: int = 1000, level: float = 0.95
) -> Interval:
    """Return the percentile interval of the mean of one value per user, by resampling users.

    Args:
        values: shape (M,), one value per user.
        generator: draws the samples.
        num_samples: how many times the users are drawn again, with replacement.
        level: the share of samples whose mean lies within.

    Raises:
        ValueError: if there are no values.
    """
    if not len(values):
        raise ValueError(
            "there are no values to draw from, so their mean has no interval: pass at least one "
            "user's value"
        )
    # A hundred samples at a time, fewer of many users: all at once take 16 kB per user.
    blocks = []
    for rows in row_blocks(num_samples, min(100, max(1, DRAWN_AT_A_TIME // len(values)))):
        shape = (rows.stop - rows.start, len(values))
        drawn = torch.randint(len(values), shape, generator=generator)  # (B, M)
        blocks.append(values.index_select(0, drawn.flatten()).view(shape).mean(1))  # (B,)
    means = torch.cat(blocks)  # (num_samples,)
    tail = (1 - level) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=means.dtype)).tolist()
    return Interval(low, high)


def _check_targets(targets: Tensor, what: str, expected: int) -> None:
    if len(targets) != expected:
        raise ValueError(
            f"there are {expected} {what} and {len(targets)} targets: pass one target per row"
        )


def _checked(scores: Array, excluded: HistoryLists) -> tuple[Tensor, Tensor, Tensor]:
    """Check scores, (M, N), and what is excluded of each row of them.

    Returns:
        The scores, and the rows and the items of all exclusions, each (n,) int64.
    """
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        scores = as_vectors(scores, "scores")
    excluded = as_histories(excluded, "excluded")
    if len(excluded) != len(scores):
        raise ValueError(
            f"there are {len(scores)} rows of scores and {len(excluded)} lists of excluded items: "
            "pass one list per row, an empty one where nothing is excluded"
        )
    # A sum is NaN if one of its terms is, and else only between infinities. It is quick to make.
    if scores.sum(1).isnan().any():
        bad = scores.isnan().any(1).nonzero()[:, 0]
        if len(bad):
            raise ValueError(
                f"row {int(bad[0])} of the scores holds a NaN ({len(bad)} such rows): a model that "
                "gives no score gives no rank; fix the model"
            )
    lengths = torch.tensor([len(items) for items in excluded], dtype=torch.int64)
    rows = torch.repeat_interleave(lengths)  # (n,)
    items = torch.cat([torch.empty(0, dtype=torch.int64), *(i for i in excluded if len(i))])
    outside = ((items < 0) | (items >= scores.shape[1])).nonzero()[:, 0]
    if len(outside):
        raise ValueError(
            f"row {int(rows[outside[0]])} excludes item {int(items[outside[0]])}, but the scores "
            f"are of items 0 to {scores.shape[1] - 1}: pass rows of the catalogue, without padding"
        )
    return scores, rows, items
