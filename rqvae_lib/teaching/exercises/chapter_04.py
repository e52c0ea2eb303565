"""The cases of chapter 04's exercises."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, tensor

from rqvae_lib.teaching.checks import Case, passes

Quantize = Callable[[Tensor, Tensor], Tensor]

# Three levels in the plane: (6, 3) = (5, 5) + (1, -1) + (0, -0.5) and (0, -0.5) left over.
ROWS = tensor([[6.0, 3.0], [-4.5, 1.5]])
BOOKS = tensor([[[5.0, 5.0], [-5, 0]], [[1, -1], [-1, 1]], [[0, 0.5], [0, -0.5]]])


def greedy_codes(function: Quantize) -> bool:
    """Check the codes that residual quantization chooses, one level after the other."""
    return _passes_looks(
        function,
        [
            ("", _CODES),
            (
                "z after ",
                [
                    Case(
                        (ROWS[:1], BOOKS),
                        ROWS[:1],
                        "the codes are right, but the caller's z was changed on the way: write "
                        "z = z - codeword, which makes a new tensor, not z -= codeword",
                    )
                ],
            ),
        ],
    )


_CODES = [
    Case(
        (tensor([[0.9, 0.2], [0.1, 0.7], [0.2, 0.6]]), tensor([[[1.0, 0.0], [0.0, 1.0]]])),
        tensor([[0], [1], [1]]),
        "with a single level the code is the place of the nearest codeword; return codes of type "
        "int64 and shape (B, L)",
    ),
    Case(
        (tensor([[2.0, 0.5], [6.0, 1.5]]), tensor([[[8.0, 2.0], [2.0, 0.0]]])),
        tensor([[1], [0]]),
        "these codewords differ in length: take the smallest distance, or the smallest "
        "‖c‖² / 2 − z · c, with its half; not the largest dot product or the same direction",
    ),
    Case(
        (tensor([[3.2]]), tensor([[[1.0], [4.0]], [[2.0], [99.0]]])),
        tensor([[1, 0]]),
        "start with the first codebook, and put its code first",
    ),
    Case(
        (tensor([[3.2]]), tensor([[[4.0], [10.0]], [[1.0], [-1.0]]])),
        tensor([[0, 1]]),
        "the second level is given the residual, what the first left over, and a residual has a "
        "sign: vector minus codeword",
    ),
    Case(
        (ROWS, BOOKS),
        tensor([[0, 0, 1], [1, 1, 0]]),
        "each level subtracts from what reached it, in each row that row's own codeword, so that "
        "the third is given what the first two left over together; return a row for each vector",
    ),
]


def quantized_once(function: Quantize) -> bool:
    """Check a quantizer's output, and that its gradient reaches the latents exactly once."""
    return _passes_looks(
        function,
        [
            (
                "",
                [
                    Case(
                        (ROWS, BOOKS),
                        tensor([[6.0, 3.5], [-6.0, 1.5]]),
                        "the value is the sum of the chosen codewords of all levels, no more and "
                        "no less",
                    )
                ],
            ),
            (
                "the gradient at z of ",
                [
                    Case(
                        (ROWS, BOOKS[:1]),
                        torch.ones(2, 2),
                        "a chosen codeword sends nothing back to z: use an estimator such as "
                        "z + (q - z).detach()",
                    ),
                    Case(
                        (ROWS, BOOKS),
                        torch.ones(2, 2),
                        "ones were sent back, and with three levels too each must arrive at z "
                        "once: apply the estimator once, to the sum, not at every level",
                    ),
                ],
            ),
            (
                "the gradient at the codebooks of ",
                [
                    Case(
                        (ROWS, BOOKS),
                        torch.zeros_like(BOOKS),
                        "a gradient reaches the codebooks: detach the codewords, or their sum",
                    )
                ],
            ),
        ],
    )


def commitment_loss(function: Quantize) -> bool:
    """Check the commitment loss of all levels: its value, and the pull of every level."""
    return _passes_looks(
        function,
        [
            (
                "",
                [
                    Case(
                        (ROWS[:1], BOOKS[:1]),
                        tensor([5.0]),
                        "one number a row: the squared length of z minus its codeword, summed over "
                        "features, not averaged, without a root, and without β",
                    ),
                    Case(
                        (ROWS, BOOKS),
                        tensor([6.25, 7.25]),
                        "add up what every level leaves over, the last included; z itself, which "
                        "reaches the first level, is not an error yet",
                    ),
                ],
            ),
            (
                "the gradient at z of ",
                [
                    Case(
                        (ROWS[:1], BOOKS[:1]),
                        tensor([[2.0, -4.0]]),
                        "the codeword is a constant and z is not: detach the one and not the other",
                    ),
                    Case(
                        (ROWS, BOOKS),
                        tensor([[2.0, -7.0], [7.0, 4.0]]),
                        "every level must add to the gradient: subtract the detached codeword, for "
                        "a residual made with a straight-through estimate, or a detached one, has "
                        "none",
                    ),
                ],
            ),
            (
                "the gradient at the codebooks of ",
                [
                    Case(
                        (ROWS, BOOKS),
                        torch.zeros_like(BOOKS),
                        "a gradient reaches the codebooks: detach the codewords",
                    )
                ],
            ),
        ],
    )


class _Looking:
    """The reader's function, which gives what the current cases look at instead of its answer.

    `look` is "" for the answer itself, or words that say what is looked at, to be read before the
    call: "z after ", "the gradient at z of ", "the gradient at the codebooks of ". A gradient is
    what arrives when ones are sent back.
    """

    def __init__(self, function: Quantize) -> None:
        self.function = self.__wrapped__ = function  # so that its signature is the reader's
        self.look = ""

    @property
    def __name__(self) -> str:
        return self.look + getattr(self.function, "__name__", "your function")

    def __call__(self, z: Tensor, codebooks: Tensor) -> Any:  # both are copies, made by `passes`
        if "gradient" not in self.look:
            output = self.function(z, codebooks)
            return z if self.look else output
        z.requires_grad_()
        codebooks.requires_grad_()
        output = self.function(z, codebooks)
        if output.requires_grad:
            output.sum().backward()  # type: ignore[no-untyped-call]
        wanted = z if "at z" in self.look else codebooks
        return torch.zeros_like(wanted) if wanted.grad is None else wanted.grad


def _passes_looks(function: Quantize, looks: Iterable[tuple[str, list[Case]]]) -> bool:
    """Check the cases of each look, in order; a message says what was looked at."""
    looking = _Looking(function)

    def cases() -> Iterator[Case]:
        for look, of_this_look in looks:
            looking.look = look  # `passes` asks for one case after another
            yield from of_this_look

    return passes(looking, cases())
