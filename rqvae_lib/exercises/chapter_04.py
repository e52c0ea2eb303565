"""The cases of chapter 04's exercises."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, tensor

from rqvae_lib.checks import Case, passes

Quantize = Callable[[Tensor, Tensor], Tensor]

# Three levels in the plane: (6, 3) = (5, 5) + (1, -1) + (0, -0.5) and (0, -0.5) left over.
ROWS = tensor([[6.0, 3.0], [-4.5, 1.5]])
BOOKS = tensor([[[5.0, 5.0], [-5, 0]], [[1, -1], [-1, 1]], [[0, 0.5], [0, -0.5]]])


def greedy_codes(function: Quantize) -> bool:
    """Check the codes that residual quantization chooses, one level after the other."""
    return passes(
        function,
        [
            Case(
                (tensor([[0.9], [3.5]]), tensor([[[1.0], [3.0]]])),
                tensor([[0], [1]]),
                "with a single level the code is the place of the nearest codeword; return codes "
                "of type int64 and shape (B, L)",
            ),
            Case(
                (tensor([[2.0, 0.5]]), tensor([[[8.0, 2.0], [2.0, 0.0]]])),
                tensor([[1]]),
                "the nearest codeword has the smallest distance, not the largest dot product or "
                "the same direction: a codeword can be far too long",
            ),
            Case(
                (tensor([[3.2]]), tensor([[[4.0], [10.0]], [[1.0], [-1.0]]])),
                tensor([[0, 1]]),
                "the second level is given the residual, what the first left over, and a residual "
                "has a sign: vector minus codeword",
            ),
            Case(
                (ROWS[:1], BOOKS),
                tensor([[0, 0, 1]]),
                "each level subtracts from what reached it, so that the third is given what the "
                "first two left over together",
            ),
        ],
    )


def quantized_once(function: Quantize) -> bool:
    """Check a quantizer's output, and that its gradient reaches the latents exactly once."""
    return passes(
        _observed(function),
        [
            Case(
                (ROWS, BOOKS, "value"),
                tensor([[6.0, 3.5], [-6.0, 1.5]]),
                "the value is the sum of the chosen codewords of all levels, no more and no less",
            ),
            Case(
                (ROWS, BOOKS[:1], "gradient at z"),
                torch.ones(2, 2),
                "a chosen codeword sends nothing back to z: use an estimator such as "
                "z + (q - z).detach()",
            ),
            Case(
                (ROWS, BOOKS, "gradient at z"),
                torch.ones(2, 2),
                "ones were sent back, and with three levels too each must arrive at z once: apply "
                "the estimator once, to the sum, not at every level",
            ),
            Case(
                (ROWS, BOOKS, "gradient at the codebooks"),
                torch.zeros_like(BOOKS),
                "a gradient reaches the codebooks: detach the codewords, or their sum",
            ),
        ],
    )


def commitment_loss(function: Quantize) -> bool:
    """Check the commitment loss of all levels: its value, and the pull of every level."""
    return passes(
        _observed(function),
        [
            Case(
                (ROWS[:1], BOOKS[:1], "value"),
                tensor([5.0]),
                "one number a row: the squared length of z minus its codeword, summed over "
                "features, not averaged, and without a root",
            ),
            Case(
                (ROWS, BOOKS, "value"),
                tensor([6.25, 7.25]),
                "add up what every level leaves over, the last included; z itself, which reaches "
                "the first level, is not an error yet",
            ),
            Case(
                (ROWS[:1], BOOKS[:1], "gradient at z"),
                tensor([[2.0, -4.0]]),
                "the codeword is a constant and z is not: detach the one and not the other",
            ),
            Case(
                (ROWS, BOOKS, "gradient at z"),
                tensor([[2.0, -7.0], [7.0, 4.0]]),
                "every level must add to the gradient: subtract the detached codeword, for a "
                "residual made with a straight-through estimate, or a detached one, has none",
            ),
            Case(
                (ROWS, BOOKS, "gradient at the codebooks"),
                torch.zeros_like(BOOKS),
                "a gradient reaches the codebooks: detach the codewords",
            ),
        ],
    )


def _observed(function: Quantize) -> Callable[[Tensor, Tensor, str], Any]:
    """Return the reader's function with a third argument: what to look at.

    It is "value", or "gradient at z" or "gradient at the codebooks" when ones are sent back.
    """

    def observed(z: Tensor, codebooks: Tensor, what: str) -> Any:
        z, codebooks = z.requires_grad_(), codebooks.requires_grad_()  # copies, made by `passes`
        output = function(z, codebooks)
        if not isinstance(output, Tensor):
            return output
        if what == "value":
            return output.detach()
        wanted = z if what == "gradient at z" else codebooks
        if output.requires_grad:
            output.sum().backward()  # type: ignore[no-untyped-call]
        return torch.zeros_like(wanted) if wanted.grad is None else wanted.grad

    observed.__name__ = getattr(function, "__name__", "your function")
    return observed
