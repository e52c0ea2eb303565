"""The cases of chapter 05's exercises."""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "the reconstruction is divided by its 384 features, and the commitment is not",
    "b": "its mean is over the three levels as well as the 32 features and the rows",
    "c": "both terms are divided, and their ratio stays: the loss and its gradient are smaller, "
    "and an optimizer such as AdamW hardly notices",
    "d": "one term is divided by 384 and the other by 3 × 32, since mse_loss averages over "
    "everything, the levels too",
    "e": "the reconstruction is summed over the 256 rows too, so the balance depends on the batch",
    "f": "the mean is over the levels and the rows; three levels weigh as much as one",
}


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


def commitment_weighs(function: Callable[[str], float]) -> bool:
    """Check how many times as much the commitment weighs after a change, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    factor = _balance(change) / _balance("")
    hint = (
        f"({change}) was run: beside the reconstruction, the commitment's gradient is "
        f"{factor:.4g} times what it was; {_WHY[change]}"
    )
    return Case((change,), factor, hint)


@cache
def _balance(change: str) -> float:
    """The length of the gradient at what is left, over that at what was rebuilt."""
    x, rebuilt, left = _batch()
    rebuilt.requires_grad_()
    left.requires_grad_()
    loss = _changed_loss(change, x, rebuilt, left)
    of_rebuilt, of_left = torch.autograd.grad(loss, [rebuilt, left])
    return float(of_left.norm() / of_rebuilt.norm())


def _changed_loss(change: str, x: Tensor, rebuilt: Tensor, left: Tensor) -> Tensor:
    """The loss that the chapter prints, with one of its changes, "a" to "f"."""
    if change == "d":
        return mse_loss(rebuilt, x) + 0.25 * mse_loss(left, torch.zeros_like(left))
    reconstruction = (rebuilt - x).square().sum(1).mean()
    commitment = left.square().sum(2).sum(0).mean()
    if change == "a":
        reconstruction = (rebuilt - x).square().mean()
    if change == "b":
        commitment = left.square().mean()
    if change == "e":
        reconstruction = (rebuilt - x).square().sum()
    if change == "f":
        commitment = left.square().sum(2).mean()
    loss = reconstruction + 0.25 * commitment
    return loss / 256 if change == "c" else loss


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    """Features (256, 384), what was rebuilt (256, 384), what is left (3, 256, 32), all drawn."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((256, 384), (256, 384), (3, 256, 32))
    x, rebuilt, left = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    return x, rebuilt, left
