"""The cases of chapter 01's exercises."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, tensor

from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "the target's own rating is of that second, so it is known: it is counted, and stands in "
    "the history",
    "b": "nobody's own future is known, but that of all others is, as in leave-one-out",
    "c": "what is counted ends at the cut, and the target comes after it: an old model may read a "
    "new history",
    "d": "which movies have five ratings is decided with all ratings, so that a movie may pass by "
    "its later ones",
    "e": "it is the same filter, but it counts only what is known by then",
    "f": "a year of the past is a part of the past",
}


def last_sittings(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check where the last sitting of each user begins, of those who have two or more.

    The function gets offsets (U + 1,), and times (E,) in seconds, sorted within each user.
    """
    hour = 3600
    return passes(
        function,
        [
            Case(
                (tensor([0, 4]), tensor([0, 9, 2 * hour, 2 * hour + 9])),
                tensor([2]),
                "a sitting begins with the rating *after* the pause; the answer is positions, as "
                "int64",
            ),
            Case(
                (tensor([0, 3]), tensor([0, hour, 2 * hour - 1])),
                tensor([1]),
                "a pause of exactly an hour, 3,600 seconds, divides two sittings, and a second "
                "less does not",
            ),
            Case(
                (tensor([0, 5]), tensor([0, 2 * hour, 4 * hour, 6 * hour, 6 * hour])),
                tensor([3]),
                "of four sittings, only the last one is asked for",
            ),
            Case(
                (tensor([0, 2, 4]), tensor([0, 9, 2 * hour, 2 * hour + 9])),
                tensor([], dtype=torch.int64),
                "the pause between two users is nobody's: both came once, and the answer is empty",
            ),
            Case(
                (tensor([0, 2, 4, 6]), tensor([0, 2 * hour, 50, 51, 0, 3 * hour])),
                tensor([1, 5]),
                "a user with a single sitting has no place in the answer, and the next user's "
                "positions go on in the same array",
            ),
            Case(
                (tensor([0, 2, 5]), tensor([90 * hour, 99 * hour, 0, 1, 2 * hour])),
                tensor([1, 4]),
                "times rise within a user only: a later user may have come years earlier, so the "
                "difference between two users means nothing",
            ),
        ],
    )


def leaks(function: Callable[[str], bool]) -> bool:
    """Check which changes let the scores of a target depend on later ratings, by a run."""
    return passes(function, [_case(change) for change in _WHY])


class _Ratings(NamedTuple):
    user: Tensor  # (E,), sorted
    item: Tensor  # (E,)
    times: Tensor  # (E,), in seconds
    movies: int
    cut: Tensor  # the moment when 80 % of all ratings are over


def _case(change: str) -> Case:
    differ, targets = _spoilt(change)
    hint = (
        f"({change}) was run for {targets} targets, and once more with other movies in all ratings "
        f"from the target's second on: the scores changed for {differ} of them; {_WHY[change]}"
    )
    return Case((change,), differ > 0, hint)


@cache
def _spoilt(change: str) -> tuple[int, int]:
    """For how many targets the future changes a score, and of how many."""
    known = _ratings()
    after = (known.times >= known.cut).nonzero()[:, 0]
    targets = after[:: len(after) // 30]
    differ = 0
    for position in targets.tolist():
        later = known.times >= known.times[position]
        other = known._replace(item=torch.where(later, known.item.flip(0), known.item))
        scores = [_changed_scores(change, position, ratings) for ratings in (known, other)]
        differ += not torch.equal(*scores)
    return differ, len(targets)


def _changed_scores(change: str, position: int, ratings: _Ratings) -> Tensor:
    """Run the lines that the chapter prints with one of their changes, "a" to "f", or with none.

    Returns:
        What popularity gives to every movie, (N,).
    """
    user, item, times, movies, cut = ratings
    moment = times[position]
    past = times <= moment if change == "a" else times < moment
    known = past
    if change == "b":
        known = past.logical_or(user != user[position])
    elif change == "c":
        known = times < cut
    elif change == "d":
        known = past & (torch.bincount(item, minlength=movies)[item] >= 5)
    elif change == "e":
        known = past & (torch.bincount(item[past], minlength=movies)[item] >= 5)
    elif change == "f":
        known = past & (times > moment - 31_536_000)
    scores = torch.bincount(item[known], minlength=movies)
    scores[item[past & (user == user[position])]] = 0
    return scores


def _ratings() -> _Ratings:
    data = load_dataset("movielens-small-2016")
    columns = [tensor(data.interactions[c].to_numpy()) for c in ("user_id", "item", "timestamp")]
    user, item, times = columns
    times = times // 1_000_000
    cut = times.sort().values[round(0.8 * len(times))]
    return _Ratings(user, item, times, data.num_items, cut)
