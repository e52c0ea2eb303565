"""The cases of chapter 06's exercises."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, tensor

from rqvae_lib.teaching.checks import Case, passes


def expected_pairs(function: Callable[[int, Sequence[Tensor]], float]) -> bool:
    """Check the expected number of colliding pairs of items that draw their codes by chance.

    It gets how many items there are, and for each level the shares (K,) of its codes.
    """
    fair, uneven = tensor([0.5, 0.5]), tensor([0.75, 0.25])
    return passes(
        function,
        [
            Case(
                (2, [tensor([1.0])]),
                1.0,
                "two items with the only code there is are one pair, and it collides",
            ),
            Case(
                (4, [tensor([0.25, 0.25, 0.25, 0.25])]),
                1.5,
                "four items form N(N − 1)/2 = six pairs, not twelve and not sixteen, and each pair "
                "agrees with probability 4 · 0.25² = 0.25",
            ),
            Case(
                (3, [uneven]),
                1.875,
                "two items agree on code k with probability p_k², so on any code with the sum of "
                "p_k²: it is 1/K only where all codes are used alike",
            ),
            Case(
                (5, [fair, uneven]),
                3.125,
                "they must agree at each level: multiply the levels' probabilities, do not add "
                "them",
            ),
            Case((1, [fair, fair]), 0.0, "one item alone collides with nobody"),
        ],
    )


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
