"""The cases of chapter 08's exercises."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, empty, int64, tensor

from rqvae_lib.teaching.checks import Case, passes


def letters_of(function: Callable[[Tensor, Sequence[int]], Tensor]) -> bool:
    """Check a function that writes the IDs of a history (T, L) as one sentence of letters (T·L,).

    It gets the IDs and how many values each level has.
    """
    return passes(
        function,
        [
            Case(
                (tensor([[1, 0, 2]]), (4, 4, 4)),
                tensor([1, 4, 10]),
                "the first level's letters start at 0, and each later level's where those of the "
                "level before end; return one sentence, not a table",
            ),
            Case(
                (tensor([[0, 1], [2, 3]]), (4, 4)),
                tensor([0, 5, 2, 7]),
                "movie by movie: all codes of the first movie, then all of the second",
            ),
            Case(
                (tensor([[0, 0, 0, 1]]), (8, 2, 5, 3)),
                tensor([0, 8, 10, 16]),
                "the levels may differ in size: add up the sizes of the levels before",
            ),
            Case(
                (empty(0, 2, dtype=int64), (4, 4)),
                empty(0, dtype=int64),
                "an empty history is an empty sentence of int64 numbers",
            ),
        ],
    )


def nats_an_item(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check a function that averages nats (B, T, L) over the movies of a padded batch (B, T)."""
    nothing = math.nan
    return passes(
        function,
        [
            Case(
                (tensor([[[1.0, 2.0], [3.0, 4.0]]]), tensor([[7, 5]])),
                tensor(5.0),
                "sum over the levels of a movie, and average over the movies",
            ),
            Case(
                (tensor([[[2.5], [9.0]], [[2.0], [3.0]]]), tensor([[7, -1], [5, 6]])),
                tensor(2.5),
                "padding is no movie: leave its numbers out, and do not count it",
            ),
            Case(
                (
                    tensor([[[6.0], [0.0], [0.0]], [[1.0], [2.0], [3.0]]]),
                    tensor([[7, -1, -1], [4, 5, 6]]),
                ),
                tensor(3.0),
                "each movie counts as much as any other: average over all movies of the batch at "
                "once, not over histories",
            ),
            Case(
                (tensor([[[4.0], [2.0]]]), tensor([[0, 3]])),
                tensor(3.0),
                "0 is the first movie of the catalogue and no padding",
            ),
            Case(
                (tensor([[[1.0, 1.0], [nothing, nothing]]]), tensor([[3, -1]])),
                tensor(2.0),
                "what stands at the padding may be NaN, and NaN times 0 is NaN: select the movies "
                "instead of multiplying the others by 0",
            ),
        ],
    )


def gradient_at_logits(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    """Check the gradient (M, K) of the mean loss at logits (M, K), among existing codes (M, K).

    It gets the logits, the true codes (M,) and which codes exist.
    """
    log2, log3 = math.log(2), math.log(3)
    return passes(
        function,
        [
            Case(
                (tensor([[0.0, log3]]), tensor([0]), tensor([[True, True]])),
                tensor([[-0.75, 0.75]]),
                "a wrong code's gradient is its probability and the true code's is its probability "
                "minus 1: the step goes against the gradient, so the true code rises",
            ),
            Case(
                (tensor([[0.0, 0.0, 9.0]]), tensor([1]), tensor([[True, True, False]])),
                tensor([[0.5, -0.5, 0.0]]),
                "codes that do not exist have no share in the softmax: the others' probabilities "
                "add up to 1 without them, and their own gradient is 0",
            ),
            Case(
                (
                    tensor([[0.0, log2], [0.0, log3]]),
                    tensor([1, 0]),
                    tensor([[True, True], [True, True]]),
                ),
                tensor([[1 / 6, -1 / 6], [-3 / 8, 3 / 8]]),
                "the loss is the mean over the M rows, so each row's gradient is divided by M",
            ),
            Case(
                (tensor([[2.0, 5.0, 7.0]]), tensor([0]), tensor([[True, False, False]])),
                tensor([[0.0, 0.0, 0.0]]),
                "a single existing code has probability 1: nothing is left to learn",
            ),
        ],
    )
