"""The cases of chapter 11's exercises."""

from collections.abc import Callable
from math import inf, nan

from torch import Tensor, tensor

from rqvae_lib.teaching.checks import REFUSED, Case, passes


def worst_rank(function: Callable[[Tensor, int], int]) -> bool:
    """Check the rank of a target among scores (N,), ties counted against it; a NaN is refused."""
    return passes(
        function,
        [
            Case(
                (tensor([0.2, 0.9, 0.5]), 2),
                2,
                "one item scores higher, so the target comes second: ranks are counted from 1",
            ),
            Case(
                (tensor([1.0, 1.0, 1.0, 1.0]), 1),
                4,
                "items that score as much as the target come before it here, wherever they stand; "
                "only the target does not count against itself",
            ),
            Case(
                (tensor([0.3, -inf, 0.3, 0.7]), 0),
                3,
                "one item is better and one is equal; an item of −inf is merely the last",
            ),
            Case(
                (tensor([0.3, nan, 0.1]), 0),
                REFUSED,
                "any comparison with a NaN is false, so a NaN would count for nothing: look for "
                "it, and raise a ValueError",
            ),
            Case(
                (tensor([nan, 0.2, 0.1]), 0),
                REFUSED,
                "if the target's own score is a NaN, every comparison is false and the rank would "
                "be 1: raise a ValueError",
            ),
        ],
    )


def paired_half_width(function: Callable[[Tensor, Tensor], float]) -> bool:
    """Check 1.96 standard errors of a mean difference between two values of each person, (U,)."""
    same = tensor([0.0, 1.0, 0.0, 1.0, 1.0]).double()
    return passes(
        function,
        [
            Case(
                (tensor([1.0, 0.0, 1.0, 0.0]).double(), tensor([0.0, 0.0, 1.0, 0.0]).double()),
                0.49,
                "the differences are 1, 0, 0, 0, with a standard deviation of 0.5 (divide by "
                "U − 1, as `std` does); four people halve it, and 1.96 times that is 0.49",
            ),
            Case(
                (same, same),
                0.0,
                "two models that agree on everybody have no uncertain difference: take the "
                "difference for each person first, and its spread then",
            ),
            Case(
                (tensor([1.0, 0.0, 1.0, 0.0]).double(), tensor([0.0, 1.0, 0.0, 1.0]).double()),
                1.96 * (4 / 3) ** 0.5 / 2,
                "where one model is right whenever the other is wrong, the difference spreads more "
                "than either, not less",
            ),
            Case(
                (tensor([0.5, 0.25, 0.0]).double(), tensor([0.25, 0.5, 0.5]).double()),
                1.96 * (7 / 48) ** 0.5 / 3**0.5,
                "the values need not be 0 and 1; divide by the square root of the number of people",
            ),
        ],
    )


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
