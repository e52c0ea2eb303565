"""The cases of chapter 01's exercises."""

from collections.abc import Callable

import torch
from torch import Tensor

from rqvae_lib.teaching.checks import Case, passes


def test_positions(function: Callable[[Tensor], Tensor]) -> bool:
    """Check a function that finds the test targets of leave-one-out from the offsets, (U + 1,)."""
    return passes(
        function,
        [
            Case(
                (torch.tensor([0, 4, 8]),),
                torch.tensor([3, 7]),
                "offsets[u + 1] is where the next user begins, so the last movie stands one before",
            ),
            Case(
                (torch.tensor([0, 4, 6, 7, 7, 11]),),
                torch.tensor([3, 10]),
                "users with fewer than three movies have no target",
            ),
            Case(
                (torch.tensor([0, 3, 6]),),
                torch.tensor([2, 5]),
                "three movies are enough: one to learn from, one for validation, one for the test",
            ),
        ],
    )


def unheard_of(function: Callable[[Tensor, Tensor, Tensor], int]) -> bool:
    """Check a function that counts targets whose movie nobody had rated at an earlier second."""
    movies = torch.tensor([5, 6, 7, 6, 8, 7])
    times = torch.tensor([10, 20, 30, 15, 40, 35])
    return passes(
        function,
        [
            Case(
                (movies, times, torch.tensor([0, 4])),
                2,
                "a target's own rating is no earlier one: compare with <, not with <=",
            ),
            Case(
                (movies, times, torch.tensor([2, 4])),
                2,
                "movie 7 is rated twice, but the other rating comes later: compare times",
            ),
            Case(
                (movies, times, torch.tensor([1])),
                0,
                "an earlier rating may stand further back in the array: look at all of it, and "
                "order by time, not by position",
            ),
            Case(
                (torch.tensor([3, 3]), torch.tensor([9, 9]), torch.tensor([0, 1])),
                2,
                "a rating of the same second is not earlier",
            ),
            Case(
                (movies, times, torch.tensor([1, 3])),
                1,
                "another target's rating counts too, where it is earlier: leave none of them out",
            ),
        ],
    )


def core_mask(function: Callable[[Tensor, Tensor, int], Tensor]) -> bool:
    """Check a function that says which interactions the k-core keeps, as a Boolean tensor (E,)."""
    square = (torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 0, 1, 1]))
    rare_movie = (torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 1]))
    chain = (torch.tensor([0, 0, 1, 1, 2, 2, 2, 3, 3]), torch.tensor([0, 1, 0, 1, 1, 2, 3, 3, 4]))
    steps = torch.arange(40)  # user 0 has movies 0 and 1, user 1 has 1 and 2, and so on
    path = (steps.repeat_interleave(2), torch.stack([steps, steps + 1], 1).flatten())
    return passes(
        function,
        [
            Case(
                (*square, 2),
                torch.tensor([True, True, True, True, False]),
                "a user with one interaction goes, one with exactly k stays; and once the last "
                "users are gone, `bincount` counts to the end only if `minlength` says so",
            ),
            Case(
                (*rare_movie, 2),
                torch.tensor([True, True, False, True, True]),
                "movies need k interactions as well as users",
            ),
            Case(
                (*chain, 2),
                torch.tensor([True] * 4 + [False] * 5),
                "what one pass removes can leave others with too few: repeat until nothing goes",
            ),
            Case(
                (*path, 2),
                torch.tensor([False] * 80),
                "a long chain falls apart from its ends, a link at a time: no fixed number of "
                "passes is enough",
            ),
            Case(
                (*square, 3),
                torch.tensor([False] * 5),
                "the mask is all False where nothing holds together; the loop must end there too",
            ),
        ],
    )
