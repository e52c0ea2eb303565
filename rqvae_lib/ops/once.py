"""Gradients that cannot be differentiated again or transformed, and say so.

Some functions here compute their gradients by formulas of their own, in blocks, which autograd
cannot follow. Torch's `once_differentiable` reports a second derivative only if the gradient that
it gets can be differentiated itself. That of a plain sum cannot, and a penalty on the size of a
gradient would then train as if it were a constant.

Nor can the transforms of torch.func see into such a function, and what torch says of that names
neither the loss nor a way out.

Used by: the cross-entropies, the MLP of the transformers and the losses, in training.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import torch
from torch import Tensor

from rqvae_lib.ops.torch_settings import Function

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


def is_transformed() -> bool:
    """Return whether a transform of torch.func, such as grad or vmap, is at work."""
    return bool(torch._C._functorch.maybe_current_level())


def refuses_transforms(loss: Function) -> Function:
    """Make a loss refuse to be computed inside torch.func.grad, vmap and the like, with a sentence.

    Args:
        loss: a method.
    """

    @wraps(loss)
    def inside(*args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and is_transformed():
            raise RuntimeError(
                "the loss of a model cannot be transformed by torch.func (grad, vmap, jacrev), "
                "because it is computed in blocks; expected a plain call: for the gradient of each "
                "example, call loss and torch.autograd.grad with one row of the batch at a time"
            )
        return loss(*args, **kwargs)

    return cast(Function, inside)


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
