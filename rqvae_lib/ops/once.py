"""Gradients that cannot be differentiated again, and say so.

Some functions here compute their gradients by formulas of their own, in blocks, which autograd
cannot follow. Torch's `once_differentiable` reports a second derivative only if the gradient that
it gets can be differentiated itself. That of a plain sum cannot, and a penalty on the size of a
gradient would then train as if it were a constant.

Used by: the cross-entropies and the MLP of the transformers, in training.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Backward = Callable[..., tuple[Tensor | None, ...]]


def differentiable_once(backward: Backward) -> Backward:
    """Make the `backward` of an autograd function refuse second derivatives, with one sentence.

    Args:
        backward: returns one gradient or None for each input.
    """

    @wraps(backward)
    def inside(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = backward(ctx, *gradients)
        if not torch.is_grad_enabled():  # it is with create_graph=True only
            return found
        return tuple(
            None if each is None else _Final.apply(each.requires_grad_())  # type: ignore[no-untyped-call]
            for each in found
        )

    return inside


class _Final(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        raise RuntimeError(
            "the gradients of a model of histories cannot be differentiated again, because they "
            "are computed in blocks; expected a loss without gradients in it: leave out the "
            "penalty or whatever else was computed with create_graph=True"
        )
