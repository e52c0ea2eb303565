"""The cases of chapter 06's exercises."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, tensor

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "where the second codes agree, the sums agree only if the first codes do, so two movies "
    "collide after it if they did before",
    "b": "the second code now repeats the first and says nothing of its own",
    "c": "3 has no factor in common with 256, so different codes stay different: they are only "
    "numbered anew",
    "d": "which third code a movie has is then a matter of chance, and like movies no longer get "
    "like ones",
    "e": "with half as many codes a level, eight times as many pairs collide by chance, but most "
    "of those that were found were no chance",
    "f": "sixteen first codes are too few to keep apart what agrees in the other two",
}


def next_disambiguation(function: Callable[[Tensor, Tensor], int]) -> bool:
    """Check the last code of a movie that joins a catalogue which movies may have left.

    It gets the IDs (N, L + 1) of the movies that are there, and the codes (L,) of the new one.
    """
    ids = tensor([[3, 1, 0], [5, 2, 0], [3, 1, 1], [3, 2, 0]])
    left = tensor([[3, 1, 1], [5, 2, 0], [3, 1, 4]])  # three of the group 3, 1 have left
    return passes(
        function,
        [
            Case((ids, tensor([8, 8])), 0, "where nobody has these codes, the last code is 0"),
            Case(
                (ids, tensor([3, 1])),
                2,
                "two movies have these codes and use 0 and 1; the others do not count, not even "
                "those with the same first code",
            ),
            Case(
                (left, tensor([3, 1])),
                5,
                "two movies are left, and they use 1 and 4: take one more than the largest in use, "
                "so that neither of them is named twice",
            ),
            Case(
                (tensor([[5, 2, 7], [3, 1, 0]]), tensor([3, 1])),
                1,
                "the largest last code of the same group counts, not that of another group",
            ),
            Case(
                (tensor([[3, 1, 7, 0], [3, 1, 4, 2], [3, 5, 7, 4]]), tensor([3, 1, 7])),
                1,
                "all codes must agree, however many there are",
            ),
        ],
    )


def shared_genres(function: Callable[[Tensor, Tensor], float]) -> bool:
    """Check how many genres two movies of the same group share, on average over such pairs.

    It gets the number of each movie's group (N,), and a matrix (N, M) of 0 and 1: which of M
    genres a movie has, float64.
    """
    genres = tensor([[1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 1, 1], [1, 0, 0]], dtype=torch.float64)
    one = torch.ones(3, 2, dtype=torch.float64)
    return passes(
        function,
        [
            Case(
                (tensor([0, 0]), genres[:2]),
                2.0,
                "the pair shares the first two genres, which counts 2 whatever else one of them "
                "has; a movie is no pair with itself",
            ),
            Case(
                (tensor([0, 0, 1, 1]), genres[:4]),
                1.5,
                "one pair shares 2 genres, the other 1; movies of different groups are no pair",
            ),
            Case(
                (tensor([0, 0, 0, 1, 1, 2]), torch.cat([one, 0 * one])),
                1.5,
                "three pairs share 2 genres and one shares none: average over the pairs, not over "
                "the groups, and leave groups of one out",
            ),
            Case(
                (tensor([7, 2, 7, 2, 7]), genres),
                0.75,
                "groups may have any numbers and stand in any order",
            ),
        ],
    )


def more_collide(function: Callable[[str], bool]) -> bool:
    """Check after which changes of the codes more than twice as many movies collide, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    before, after = _rate(""), _rate(change)
    hint = f"({change}) was run: {after:.2%} collide, and {before:.2%} before; {_WHY[change]}"
    return Case((change,), after > 2 * before, hint)


@cache
def _rate(change: str) -> float:
    """The share of movies whose codes an earlier movie has."""
    codes = _changed_codes(change, _codes())
    return 1 - len(torch.unique(codes, dim=0)) / len(codes)


def _changed_codes(change: str, codes: Tensor) -> Tensor:
    """The codes after one of the changes that the chapter prints, "a" to "f"."""
    codes = codes.clone()
    if change == "a":
        codes[:, 0] = (codes[:, 0] + codes[:, 1]) % 256
    if change == "b":
        codes[:, 1] = codes[:, 0]
    if change in ("c", "e"):
        codes = codes * (3 if change == "c" else 2) % 256
    if change == "d":
        generator = torch.Generator().manual_seed(0)
        codes[:, 2] = codes[torch.randperm(len(codes), generator=generator), 2]
    if change == "f":
        codes[:, 0] = codes[:, 0] // 16
    return codes


def _codes() -> Tensor:
    """The codes (9066, 3) of the shipped tokenizer."""
    rqvae, _ = load_rqvae("movielens-small-2016")
    return rqvae.assign(load_embeddings("movielens-small-2016"))
