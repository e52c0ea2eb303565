"""The cases of chapter 02's exercises."""

from collections.abc import Callable

import torch
from torch import Tensor

from rqvae_lib.teaching.checks import Case, passes


def nearest_by_cosine(function: Callable[[Tensor, int, int], Tensor]) -> bool:
    """Check a function that finds the k other items with the largest cosine, best first."""
    lengths = torch.tensor([[1.0, 0.0], [0.8, 0.6], [1.0, 10.0], [-1.0, 0.0]])
    opposite = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.6, 0.8]])
    twins = torch.tensor([[0.6, 0.8], [0.0, 2.0], [0.0, 2.0]])
    cold = torch.tensor([[0.0, 0.0], [-1.0, 0.1], [2.0, 0.0], [3.0, 3.0]])
    return passes(
        function,
        [
            Case(
                (torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]), 0, 2),
                torch.tensor([2, 1]),
                "an item is not its own neighbour, and the largest cosine comes first",
            ),
            Case(
                (opposite, 0, 1),
                torch.tensor([2]),
                "the opposite direction has the cosine −1, the smallest there is: keep the sign",
            ),
            Case(
                (lengths, 0, 2),
                torch.tensor([1, 2]),
                "a long vector must not win by its length: divide by both lengths",
            ),
            Case(
                (opposite, 0, 2),
                torch.tensor([2, 1]),
                "even an opposite vector comes before the item itself: to rule the item out, give "
                "it less than −1",
            ),
            Case(
                (twins, 2, 2),
                torch.tensor([1, 0]),
                "another item may have the same vector, so the item itself need not be the first "
                "place: rule it out by its index",
            ),
            Case(
                (cold, 2, 3),
                torch.tensor([3, 0, 1]),
                "a vector of zeros has no direction and 0 / 0 is not a number: let its cosine be 0",
            ),
        ],
    )


def positive_pmi(function: Callable[[Tensor], Tensor]) -> bool:
    """Check a function that turns symmetric counts into positive pointwise mutual information."""
    log2 = float(torch.tensor(2.0).log())
    worked = torch.tensor([[0.0, 8, 2], [8, 0, 0], [2, 0, 0]])
    below = torch.tensor([[0.0, 1, 10, 0], [1, 0, 0, 10], [10, 0, 0, 0], [0, 10, 0, 0]])
    lonely = torch.tensor([[0.0, 3, 0], [3, 0, 0], [0, 0, 0]])
    often = float(torch.tensor(42 / 11).log())
    return passes(
        function,
        [
            Case(
                (torch.tensor([[0.0, 5], [5, 0]]),),
                torch.tensor([[0.0, log2], [log2, 0.0]]),
                "these two met five times: log 2 = 0.6931. A 1 there is a logarithm to base 2, and "
                "a 0 means that the total is not the sum of the matrix, which holds each meeting "
                "twice. On the diagonal, pairs that never met get 0, not -inf",
            ),
            Case(
                (worked,),
                torch.tensor([[0.0, log2, log2], [log2, 0.0, 0.0], [log2, 0.0, 0.0]]),
                "divide by the frequencies of both items, row and column",
            ),
            Case(
                (below,),
                torch.tensor(
                    [[0.0, 0, often, 0], [0, 0, 0, often], [often, 0, 0, 0], [0, often, 0, 0]]
                ),
                "a pair that meets less often than by chance has a negative logarithm: write 0",
            ),
            Case(
                (lonely,),
                torch.tensor([[0.0, log2, 0], [log2, 0.0, 0], [0, 0, 0]]),
                "an item without company divides by zero: its row must come out as zeros",
            ),
        ],
    )


def weighted_halves(function: Callable[[Tensor, Tensor, float], Tensor]) -> bool:
    """Check a function that joins two kinds of vectors, so that dot products weigh the cosines.

    It gets text (N, D) and taste (N, C) vectors, and the weight of the text cosine in [0, 1].
    """
    half = 0.5**0.5
    return passes(
        function,
        [
            Case(
                (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.5),
                torch.tensor([[half, 0.0, 0.0, half]]),
                "one after the other, text first; the dot product of this item with itself is to "
                "be the weighted mean of 1 and 1, which is 1",
            ),
            Case(
                (torch.tensor([[3.0, 4.0]]), torch.tensor([[0.5]]), 0.5),
                torch.tensor([[0.6 * half, 0.8 * half, half]]),
                "bring each half to length 1 by itself, before they are joined",
            ),
            Case(
                (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.36),
                torch.tensor([[0.6, 0.0, 0.0, 0.8]]),
                "a dot product multiplies the factor of a half by itself: for a text cosine that "
                "weighs 0.36 the factor is 0.6",
            ),
            Case(
                (
                    torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
                    torch.tensor([[0.0, 9.0], [1.0, 0.0]]),
                    0.5,
                ),
                torch.tensor([[half, 0, 0, half], [0, half, half, 0]]),
                "the length is one of each row, not of the whole matrix",
            ),
            Case(
                (torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 0.0]]), 0.5),
                torch.tensor([[0.0, half, 0.0, 0.0]]),
                "a movie that nobody rated has zeros in its second half: they must stay zeros, and "
                "not become 0 / 0; the first half keeps its factor, so the whole is shorter than 1",
            ),
        ],
    )
