"""The cases of chapter 10's exercises."""

from collections.abc import Callable, Sequence
from math import log

from torch import Tensor, float32, tensor

from rqvae_lib.teaching.checks import Case, passes


def movie_tokens(function: Callable[[Tensor, Sequence[Tensor]], Tensor]) -> bool:
    """Check the sum of the vectors of each movie's codes: (T, L) and L tables → (T, D)."""
    first = tensor([[1.0, 0.0], [2.0, 5.0], [0.0, -1.0]])
    second = tensor([[10.0, 20.0], [30.0, 40.0]])
    return passes(
        function,
        [
            Case(
                (tensor([[1, 0], [2, 1], [1, 1]]), [first, second]),
                tensor([[12.0, 25.0], [30.0, 39.0], [32.0, 45.0]]),
                "one row a movie: look up each code in its own level's table, and add the vectors "
                "of a movie, without dividing by their number",
            ),
            Case(
                (tensor([[0, 1, 1], [2, 0, 1]]), [first, second, second]),
                tensor([[61.0, 80.0], [40.0, 59.0]]),
                "an ID may have three codes, and each of them counts, also where two are equal",
            ),
            Case(
                (tensor([[2, 0]]), [first, second]),
                tensor([[10.0, 19.0]]),
                "a history of one movie is still a row: the shape is (1, D)",
            ),
        ],
    )


def rivals_of(function: Callable[[Tensor, int], Tensor]) -> bool:
    """Check among how many codes each item's code is chosen, given those before: (N,) int64."""
    ids = tensor([[0, 1, 0], [0, 1, 1], [0, 2, 0], [3, 1, 0], [3, 2, 2], [0, 4, 0]])
    return passes(
        function,
        [
            Case(
                (ids, 0),
                tensor([2] * 6),
                "the first codes are 0 and 3, so each item's is one of two: count different codes, "
                "the item's own among them, and not items",
            ),
            Case(
                (ids, 1),
                tensor([3, 3, 3, 2, 2, 3]),
                "after 0 follow 1, 2 and 4, and after 3 follow 1 and 2: only items with the same "
                "codes before compete, and each code counts once",
            ),
            Case(
                (ids, 2),
                tensor([2, 2, 1, 1, 1, 1]),
                "the third code is chosen among those that follow the same two codes, not the same "
                "second code",
            ),
        ],
    )


def catalogue_log_p(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check log p of every item, from the scores of its prefixes: (N, L), (N, L) → (N,)."""
    flat = tensor([[0], [1], [2]])
    tree = tensor([[0, 0], [0, 1], [1, 0], [1, 1], [0, 2]])
    halves = tensor([[0.0, log(3.0)], [0.0, 0.0], [0.0, 0.0], [0.0, log(9.0)], [0.0, 0.0]])
    ends = tensor([[2, 0, 0], [0, 1, 1], [2, 0, 1], [0, 0, 1]])
    steps = tensor([[0.0, 5.0, 0.0], [log(3.0), 0.0, -7.0], [0.0, 5.0, 0.0], [log(3.0), 0.0, 2.0]])
    return passes(
        function,
        [
            Case(
                (flat, tensor([[0.0], [log(2.0)], [0.0]])),
                tensor([0.25, 0.5, 0.25]).log(),
                "with one level it is the log-softmax of the scores",
            ),
            Case(
                (tree, halves),
                tensor([0.3, 0.1, 0.05, 0.45, 0.1]).log(),
                "both first codes have the same score, so each has 0.5, though one leads to three "
                "items and the other to two: a prefix competes once, however many items begin so, "
                "and only with those that follow the same codes",
            ),
            Case(
                (ends, steps),
                tensor([0.125, 0.375, 0.125, 0.375]).log(),
                "an only child costs nothing, whatever its score; and a set of siblings is that of "
                "all codes before, not only of the last one",
            ),
            Case(
                (flat, tensor([[1000.0], [1000.0], [0.0]])),
                tensor([-log(2.0), -log(2.0), -1000.0 - log(2.0)], dtype=float32),
                "scores may be large: a sum of exponentials overflows, logsumexp does not",
            ),
        ],
    )
