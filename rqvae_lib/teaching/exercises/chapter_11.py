"""The cases of chapter 11's exercises."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "a movie that nobody's history scores has a sum of 0, and 0 / 0 is a NaN: each comparison "
    "with it is false, so that such a target comes first",
    "b": "many scores become equal, but of equal scores the lower row still comes first, whichever "
    "movie is the target",
    "c": "most targets have a score of 0, as most movies have, and where fewer than ten movies "
    "score higher, a target that ties with thousands is found",
    "d": "what a person has rated is often like the last movie, and takes places of the list",
    "e": "most of the movies that could be better are no longer looked at, as with drawn movies",
    "f": "item-kNN gives these movies 0 anyway, and a list of ten seldom needs a movie with 0",
}


class _Asked(NamedTuple):
    scores: Tensor  # (U, N), of item-kNN as the chapter tuned it
    histories: list[Tensor]
    targets: Tensor  # (U,)
    popularity: Tensor  # (N,)


def flatters(function: Callable[[str], bool]) -> bool:
    """Check which changes raise a Recall@10 by more than a hundredth, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    unchanged, recall = _recall(""), _recall(change)
    hint = (
        f"({change}) was run: Recall@10 is {recall:.3f}, and {unchanged:.3f} without the change; "
        f"{_WHY[change]}"
    )
    return Case((change,), recall > unchanged + 0.01, hint)


@cache
def _recall(change: str) -> float:
    """Run the lines that the chapter prints with one of their changes, "a" to "f", or with none."""
    scores, histories, targets, popularity = _asked()
    people, movies = torch.arange(len(targets)), torch.arange(len(popularity))
    scores = scores.clone()
    if change == "a":
        scores = scores / scores.sum(0)
    elif change == "b":
        scores = scores.round(decimals=1)
    for person, history in enumerate(histories):
        if change != "d":
            scores[person, history] = -torch.inf
    if change == "f":
        scores[:, popularity == 0] = -torch.inf
    ours = scores[people, targets][:, None]
    better = scores > ours
    if change != "c":
        better = better | ((scores == ours) & (movies < targets[:, None]))
    if change == "e":
        better = better[:, popularity >= 100]
    return float((better.sum(1) < 10).double().mean())


@cache
def _asked() -> _Asked:
    """The test of leave-one-out, and what item-kNN with its best settings makes of it."""
    split = leave_one_out(load_dataset("movielens-small-2016"))
    histories, targets = split.histories_and_targets(split.test)
    model = ItemKNN(split.train, split.num_items, num_neighbors=100, shrinkage=20.0)
    model.last = 1
    return _Asked(model.scores(histories), list(histories), targets, split.popularity)


def sampled_hit(function: Callable[[int, int, int, int], float]) -> bool:
    """Check how often a target of a full rank is among k, against sampled items only."""
    return passes(
        function,
        [
            Case(
                (1, 101, 10, 1),
                1.0,
                "nothing is better than a target of rank 1, whatever is drawn",
            ),
            Case(
                (2, 5, 1, 1),
                0.75,
                "four items compete, one of them is better, and one is drawn: with 3 chances in 4 "
                "it is not the better one",
            ),
            Case(
                (3, 5, 2, 1),
                1 / 6,
                "the items are drawn without putting them back: of the 6 pairs of 4 items, one "
                "holds neither of the two better ones",
            ),
            Case(
                (3, 5, 2, 2),
                5 / 6,
                "to be among k, at most k − 1 better items may have been drawn, not only none",
            ),
            Case(
                (101, 1001, 100, 10),
                0.44498,
                "add up the chances of 0 to k − 1 better items among those drawn; with rank r "
                "there are r − 1 better ones",
            ),
            Case(
                (5, 5, 4, 4),
                0.0,
                "where all others are drawn, the sampled rank is the full rank",
            ),
            Case(
                (5, 9, 2, 10),
                1.0,
                "of two movies drawn at most two are better, so the sampled rank is 3 at most; "
                "stop at j = 2, for `math.comb` takes no negative number",
            ),
        ],
    )
