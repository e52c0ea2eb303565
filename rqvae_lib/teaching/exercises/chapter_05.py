"""The cases of chapter 05's exercises."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rqvae_lib.teaching.checks import Case, passes


def batch_loss(function: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> bool:
    """Check a function that computes the RQ-VAE's loss, (), of a batch.

    It gets features (B, D), what was rebuilt (B, D), what is left after each level (L, B, d), β.
    """
    x, rebuilt = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    nothing = torch.zeros(2, 2, 2)
    left = torch.tensor([[[2.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 2.0]]])
    uneven = torch.zeros(3, 2, 4)
    uneven[:, :, :3] = torch.tensor(
        [[[2.0, 0, 0], [0, 0, 0]], [[1, 1, 0], [0, 2, 0]], [[0, 0, 0], [1, 0, 0]]]
    )
    one = torch.zeros(1, 1)
    loss = torch.tensor
    return passes(
        function,
        [
            Case((x, x, nothing, 0.25), loss(0.0), "without errors there is no loss"),
            Case(
                (x, rebuilt, nothing, 0.25),
                loss(7.0),
                "sum the squared errors over the features of a row, then average over the rows",
            ),
            Case(
                (one, one, torch.full((1, 1, 1), 3.0), 1.0),
                loss(9.0),
                "one row with one number left over, 3, and β = 1: the commitment is its square and "
                "counts once, as codewords that follow averages have no codebook loss",
            ),
            Case(
                (x, x, left, 1.0),
                loss(5.0),
                "sum the squared lengths over the levels and features, then average over the rows",
            ),
            Case(
                (torch.zeros(2, 4), torch.zeros(2, 4), uneven, 1.0),
                loss(5.5),
                "with three levels, two rows, four features: average over the rows, and not over "
                "the levels or features",
            ),
            Case((x, rebuilt, left, 0.25), loss(8.25), "β weighs the commitment, nothing else"),
        ],
    )


def collapsed_levels(function: Callable[[Tensor, int, float], list[int]]) -> bool:
    """Check a function that lists the levels whose perplexity is below a share of K.

    It gets codes (N, L), the codebook size K, and the share. Levels are counted from 1.
    """
    even = torch.arange(8).repeat(2)  # every code twice
    lonely = torch.zeros(16, dtype=torch.int64)  # always the same
    gap = torch.tensor([0] * 15 + [2])  # never code 1; perplexity 1.26
    lonely_but_one = torch.cat([torch.arange(8), torch.zeros(56, dtype=torch.int64)])
    spread = torch.arange(8).repeat(8)
    half = torch.arange(4).repeat(4)  # perplexity 4 of 8
    return passes(
        function,
        [
            Case(
                (torch.stack([even, even], 1), 8, 0.5),
                [],
                "all 8 codes are used alike at both levels, so the perplexity, which is the "
                "exponential of the entropy, is 8, and not below 4",
            ),
            Case(
                (torch.stack([even, even], 1), 8, 1.5),
                [1, 2],
                "both perplexities are 8 (with the natural logarithm in the entropy), which is "
                "below 1.5 × 8, and levels are counted from 1",
            ),
            Case(
                (torch.stack([lonely_but_one, spread], 1), 8, 0.5),
                [1],
                "each code occurs, but one of them nearly always: count real use, the exponential "
                "of the entropy, and not the codes that occur",
            ),
            Case(
                (torch.stack([even, gap], 1), 8, 0.7),
                [2],
                "code 1 has p = 0, and 0 · log 0 computes to nan, which is below nothing: a code "
                "that nobody uses must add 0 to the entropy",
            ),
            Case(
                (torch.stack([half, even], 1), 16, 0.4),
                [1],
                "K is the size of the codebook and not the number of codes that occur",
            ),
            Case(
                (torch.stack([even, lonely], 1), 8, 0.5),
                [2],
                "a level that always has the same code has perplexity 1",
            ),
            Case(
                (torch.stack([half, even], 1), 8, 0.4),
                [],
                "compare with the share of K: perplexity 4 is above 0.4 × 8",
            ),
        ],
    )


def stop_early(function: Callable[[Sequence[float], int], tuple[int, int]]) -> bool:
    """Check a function that says which measurement to keep, and after how many to stop.

    It gets measurements, lower being better, and the patience. Both answers are counted from 1.
    """
    return passes(
        function,
        [
            Case(([5.0, 4.0, 3.0], 2), (3, 3), "while it gets better, nothing stops it"),
            Case(
                ([5.0, 3.0, 4.0, 4.0, 1.0], 2),
                (2, 4),
                "stop after two without a new best, before the 1.0 was ever measured",
            ),
            Case(
                ([5.0, 6.0, 5.5, 5.2], 3),
                (1, 4),
                "better than the one before is not better than the best",
            ),
            Case(
                ([5.0, 4.0, 6.0, 3.0, 7.0, 5.0, 9.0], 2),
                (4, 6),
                "a new best resets the patience; it counts from the last best one",
            ),
            Case(([3.0, 3.0, 3.0, 3.0], 2), (1, 3), "as good as the best is not a new best"),
            Case(
                ([2.0, math.nan, 1.0], 2),
                (3, 3),
                "a measurement that is nan is not a best one, and must not keep a later one from "
                "being it",
            ),
            Case(
                ([2.0, 3.0, math.nan], 5),
                (1, 3),
                "a measurement that is nan is no best one, and every comparison with it is false: "
                "ask whether a value is below the best, not whether it fails to be above",
            ),
            Case(
                ([2.0, math.nan, 3.0, 1.0], 2),
                (1, 3),
                "a measurement that is nan counts: it is one more without a new best",
            ),
            Case(
                ([math.nan, 2.0, 3.0], 3),
                (2, 3),
                "nothing is below nan: start from infinity and not from the first measurement",
            ),
        ],
    )
