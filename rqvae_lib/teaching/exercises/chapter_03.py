"""The cases of chapter 03's exercises."""

from collections.abc import Callable

from torch import Tensor, tensor

from rqvae_lib.teaching.checks import Case, passes


def margin(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check how much more squared distance the second-nearest codeword has than the nearest."""
    return passes(
        function,
        [
            Case(
                (tensor([[2.0]]), tensor([[1.0], [3.0]])),
                tensor([0.0]),
                "halfway between two codewords the margin is 0; ‖x‖² may be dropped, ‖c‖² not",
            ),
            Case(
                (tensor([[0.0], [4.0]]), tensor([[1.0], [3.0]])),
                tensor([8.0, 8.0]),
                "second-nearest minus nearest, never negative; squared distances, not distances; "
                "and ‖c‖²/2 − x·c is half of one, so its differences must be doubled",
            ),
            Case(
                (tensor([[0.0]]), tensor([[5.0], [3.0], [2.0]])),
                tensor([5.0]),
                "compare the nearest with the second-nearest codeword, wherever they stand in the "
                "list, and not with the farthest",
            ),
            Case(
                (tensor([[0.0, 0.0]]), tensor([[3.0, -3.0], [1.0, 1.0], [0.0, 2.0]])),
                tensor([2.0]),
                "a squared distance is the sum of the squared differences over all D numbers",
            ),
        ],
    )


def update(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    """Check one averaging step of Lloyd's algorithm that leaves an empty cluster in place."""
    return passes(
        function,
        [
            Case(
                (
                    tensor([[0.0, 0.0], [2.0, 4.0], [9.0, 9.0]]),
                    tensor([0, 0, 1]),
                    tensor([[5.0, 5.0], [6.0, 6.0]]),
                ),
                tensor([[1.0, 2.0], [9.0, 9.0]]),
                "each codeword becomes the mean of its own rows: divide their sum by how many "
                "they are",
            ),
            Case(
                (tensor([[1.0], [3.0]]), tensor([1, 1]), tensor([[7.0], [5.0], [8.0]])),
                tensor([[7.0], [2.0], [8.0]]),
                "a codeword that no row chose stays where it was: it becomes neither 0 nor NaN, "
                "and it must not be lost even at the end of the list",
            ),
            Case(
                (tensor([[1.0], [-1.0]]), tensor([0, 0]), tensor([[4.0], [6.0]])),
                tensor([[0.0], [6.0]]),
                "a mean of 0 is a real mean: ask the counts, not the sums, which cluster is empty",
            ),
        ],
    )


def draw_probabilities(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check the probabilities with which k-means++ draws the next codeword."""
    return passes(
        function,
        [
            Case(
                (tensor([[0.0], [1.0], [3.0]]), tensor([[0.0]])),
                tensor([0.0, 0.1, 0.9]),
                "probabilities are proportional to the squared distance and add up to 1",
            ),
            Case(
                (tensor([[0.0], [1.0], [4.0], [9.0]]), tensor([[0.0], [10.0]])),
                tensor([0.0, 1 / 18, 16 / 18, 1 / 18]),
                "only the nearest codeword of a row counts: take the minimum over the codewords, "
                "not their sum or the last one",
            ),
            Case(
                (tensor([[3.0, 4.0], [0.0, 5.0]]), tensor([[0.0, 0.0]])),
                tensor([0.5, 0.5]),
                "square each number of the difference first, and sum the squares",
            ),
            Case(
                (tensor([[2.0], [2.0], [5.0], [5.0]]), tensor([[2.0], [5.0]])),
                tensor([0.25, 0.25, 0.25, 0.25]),
                "where every row coincides with a codeword the distances add up to 0: draw "
                "uniformly then, instead of dividing by 0",
            ),
        ],
    )
