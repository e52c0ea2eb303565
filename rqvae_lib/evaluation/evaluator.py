"""One table for all models: the same targets, the same lists of 50, the same metrics.

Models answer in two ways. Some score every item; others write IDs, and a beam search turns what
they write into a list. From here on both are a list of 50 items for each target, and what is
measured does not know where it came from.

Each person has one vote, however many targets: first the mean over a person's targets is taken,
then the mean over people. Intervals, and differences between models, are over people too.

Derived in: chapter 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.data.splits import Split
from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.evaluation.metrics import (
    Interval,
    bootstrap_interval,
    coverage,
    mean_of_each_user,
    mean_popularity,
    mrr_at,
    ndcg_at,
    ranks_in_lists,
    recall_at,
    top_items,
)
from rqvae_lib.evaluation.shards import fill_in_batches
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.config import NUM_BEAMS
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender, ScoresItems
from rqvae_lib.ops.arrays import Array, as_count, as_row, as_rows
from rqvae_lib.ops.torch_settings import own_settings

_NOTHING = torch.empty(0, dtype=torch.int64)
METRICS = {"Recall": recall_at, "NDCG": ndcg_at, "MRR": mrr_at}


class Mean(NamedTuple):
    """A mean over people, and how sure it is."""

    mean: float
    interval: Interval  # 95 %, over people


def mean_over_people(of_people: Tensor) -> Mean:
    """Return the mean of one number per person, (U,) float64, and its bootstrap interval.

    Differences between two models, person by person, are such numbers, too.
    """
    interval = bootstrap_interval(of_people, generator=torch.Generator().manual_seed(0))
    return Mean(float(of_people.mean()), interval)


@dataclass(frozen=True)
class Evaluation:
    """What a model recommended for M targets.

    Attributes:
        lists: (M, 50) int64, items, best first; −1 where a list is shorter.
        targets: (M,) int64.
        users: (M,) int64, whose target each is.
        popularity: (N,) float32, each item's training interactions.
        beams: of the beam search that made the lists; None where every item was scored.
    """

    lists: Tensor
    targets: Tensor
    users: Tensor
    popularity: Tensor
    beams: int | None

    @property
    def exact(self) -> bool:
        """Whether every item was scored; else a beam search may have missed some."""
        return self.beams is None

    @cached_property
    def ranks(self) -> Tensor:
        """The rank of each target in its list, (M,) int64; `metrics.NOT_RANKED` if absent."""
        return ranks_in_lists(self.lists, self.targets)

    @own_settings
    def of_people(self, metric: str, k: int) -> Tensor:
        """Return a metric's mean for each person, (U,) float64, in the order of their numbers.

        Args:
            metric: one of `METRICS`.
            k: items of the list that count, 1 to 50.

        Raises:
            ValueError: for another metric or k. So do the other methods.
        """
        if metric not in METRICS:
            raise ValueError(f"metric is {metric!r}; it must be one of {', '.join(METRICS)}")
        self._check(k)
        return mean_of_each_user(METRICS[metric](self.ranks, k), self.users)

    @own_settings
    def mean(self, metric: str, k: int) -> Mean:
        """Return a metric's mean over people, with the interval that a bootstrap gives."""
        return mean_over_people(self.of_people(metric, k))

    @own_settings
    def unseen(self, k: int) -> Mean | None:
        """Return Recall for the targets that nobody had in training; None if there are none."""
        self._check(k)
        never = self.popularity[self.targets] == 0  # (M,)
        if not never.any():
            return None
        return mean_over_people(
            mean_of_each_user(recall_at(self.ranks[never], k), self.users[never])
        )

    @own_settings
    def coverage(self, k: int) -> float:
        """Return the share of the catalogue that is in anybody's list."""
        self._check(k)
        return coverage(self.lists[:, :k], len(self.popularity))

    @own_settings
    def mean_popularity(self, k: int) -> float:
        """Return how many training interactions a recommended item has, on average."""
        self._check(k)
        return mean_popularity(self.lists[:, :k], self.popularity)

    def _check(self, k: int) -> None:
        if not 1 <= as_row(k, "k") <= self.lists.shape[1]:
            raise ValueError(f"k is {k}; it must be 1 to {self.lists.shape[1]}, the lists' length")


@own_settings
def difference(one: Evaluation, other: Evaluation, metric: str, k: int) -> Mean:
    """Return by how much one model is better than another for the same people.

    The same people are drawn for both, so what is hard about a person cancels out.

    Raises:
        ValueError: if the two were not asked for the same targets.
    """
    if not (torch.equal(one.targets, other.targets) and torch.equal(one.users, other.users)):
        raise ValueError("the two evaluations have different targets: take both from one split")
    return mean_over_people(one.of_people(metric, k) - other.of_people(metric, k))


@own_settings
def evaluate(
    model: Recommender | ScoresItems,
    split: Split,
    positions: Array,
    *,
    exact: bool | None = None,
    beams: int = NUM_BEAMS,
    allow_repeats: bool = False,
    batch_size: int = 64,
    progress: bool = False,
) -> Evaluation:
    """Recommend for each held-out position, and keep what is needed to judge the result.

    The histories are read and the items scored for a batch at a time. What stays in memory is a
    list per target, of 400 bytes.

    In a world of several processes, all must call it. Each makes the lists of some batches, and all
    of them return the evaluation of all targets: the same, bit for bit, as one process with as many
    threads. Inside of `ops.world.alone`, a process evaluates by itself.

    Args:
        model: trained on `split.train`.
        split: says what came before each position. Items of the history are not recommended.
        positions: `split.validation` or `split.test`.
        exact: whether to score every item, or to let a beam search find what a generative model
            writes. None: exactly where the model has `scores`, else by beams. The result says
            which it was.
        beams: of the beam search, at least 50.
        allow_repeats: whether items of the history may be recommended too, as is right where users
            come back to the same items. Otherwise, a target that is in its own history
            (`split.had_before`) counts as a miss.
        batch_size: histories at a time; it bounds the memory, and changes the result by rounding
            only.
        progress: whether to show progress on stderr.

    Raises:
        ValueError: if there are no positions, if the model's catalogue or the histories are not of
            the split's N items, if a score is NaN, if beams are asked of a model that only scores,
            if `batch_size` is below 1, or as `generation.beam_search.recommend`.
    """
    positions = as_rows(positions, "positions")
    if not len(positions):
        raise ValueError(
            "there are no held-out positions to evaluate: no user has enough interactions for "
            "this split; use more data"
        )
    if exact is None:
        exact = isinstance(model, ScoresItems)
    elif not exact and not isinstance(model, Recommender):
        raise ValueError(
            f"exact is False, but a {type(model).__name__} writes no IDs to search for: it scores "
            "every item; leave exact out"
        )
    batch_size = as_count(batch_size, "batch_size")
    popularity, num_items = split.popularity, split.num_items
    k = max(CUTOFFS)
    if isinstance(model, Recommender):
        _check_size(len(model.ids), num_items)

    def lists_of(rows: slice) -> Tensor:
        """Return the lists of some targets, (B, 50)."""
        histories, _ = split.histories_and_targets(positions[rows])
        forbidden = [_NOTHING] * len(histories) if allow_repeats else histories
        if isinstance(model, Recommender) and not exact:
            found = recommend(
                model, histories, k=k, beams=beams, forbidden=forbidden, batch_size=batch_size
            )
            return found.items.cpu()
        scores = _scores(model, histories)  # (B, N)
        _check_size(scores.shape[1], num_items)
        return top_items(scores, k, forbidden)

    lists = torch.empty(len(positions), k, dtype=torch.int64)  # (M, 50)
    fill_in_batches(lists, batch_size, lists_of, unit="target", progress=progress)
    return Evaluation(
        lists,
        split.everything.items[positions],
        split.everything.user_of(positions),
        popularity,
        None if exact else beams,
    )


def _scores(model: Recommender | ScoresItems, histories: Sequence[Tensor]) -> Tensor:
    """Return the scores of all items for each of B histories, (B, N), on the CPU."""
    if isinstance(model, ScoresItems):
        return model.scores(histories).cpu()
    return score_items(model, histories).cpu()


def _check_size(found: int, num_items: int) -> None:
    if found != num_items:
        raise ValueError(
            f"the model knows {found:,} items, but the split is of {num_items:,}: take both from "
            "one dataset"
        )
