"""The MLP of a transformer block, computed again in the backward pass instead of remembered.

A training step remembers the inputs of every operation until their gradients are computed. Half of
what a transformer block remembers is within its MLP, whose hidden layer is several times as wide as
the tokens. Here only the tokens are kept. The backward pass computes the rest again, for a block of
tokens at a time, so that everything in between stays in the processor's cache.

Source: Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174.
Used by: the transformers, in training.
"""

from typing import Any

import torch
from torch import Tensor, nn

from rqvae_lib.ops.once import differentiable_once
from rqvae_lib.ops.rows import row_blocks


def residual_mlp(x: Tensor, norm: nn.LayerNorm, mlp: nn.Sequential) -> Tensor:
    """Return mlp(norm(x)), as the modules themselves would, up to rounding.

    The modules are called if they are not what this function computes (other layers, layers with
    hooks, autocast, a compiled graph), or if no gradient is wanted.

    Args:
        x: shape (..., D).
        norm: a normalization with a scale and a shift.
        mlp: a linear layer, an exact GELU and another linear layer, each with a bias.

    Returns:
        shape (..., D). It can be differentiated once.
    """
    if not (torch.is_grad_enabled() and _is_plain(x, norm, mlp)):
        result: Tensor = mlp(norm(x))
        return result
    found: Tensor = _ResidualMLP.apply(  # type: ignore[no-untyped-call]
        x.reshape(-1, x.shape[-1]),
        norm.weight,
        norm.bias,
        mlp[0].weight,
        mlp[0].bias,
        mlp[2].weight,
        mlp[2].bias,
        norm.eps,
    )
    return found.view(x.shape)


def _is_plain(x: Tensor, norm: nn.LayerNorm, mlp: nn.Sequential) -> bool:
    """Return whether the modules are the ones that are computed here, with no hooks."""
    layers = [norm, mlp, *mlp]
    return (
        [type(layer) for layer in layers[2:]] == [nn.Linear, nn.GELU, nn.Linear]
        and type(norm) is nn.LayerNorm
        and norm.normalized_shape == x.shape[-1:]
        and mlp[1].approximate == "none"
        and not any(each.bias is None for each in (norm, mlp[0], mlp[2]))
        and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)
        and not any(layer._backward_hooks or layer._backward_pre_hooks for layer in layers)
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
        and x.dtype == norm.weight.dtype == mlp[0].weight.dtype
    )


class _ResidualMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        weight_1: Tensor,
        bias_1: Tensor,
        weight_2: Tensor,
        bias_2: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, scale, shift, weight_1, bias_1, weight_2)
        ctx.eps = eps
        result = torch.empty_like(x)
        for rows in row_blocks(len(x)):
            normed, _, _ = torch.native_layer_norm(x[rows], x.shape[1:], scale, shift, eps)
            hidden = nn.functional.gelu(torch.addmm(bias_1, normed, weight_1.T))
            torch.addmm(bias_2, hidden, weight_2.T, out=result[rows])
        return result

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, weight_1, bias_1, weight_2 = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x = torch.empty_like(x)
        of_scale, of_shift, of_bias_1 = map(torch.zeros_like, (scale, shift, bias_1))
        of_weight_1, of_weight_2 = torch.zeros_like(weight_1), torch.zeros_like(weight_2)
        for rows in row_blocks(len(x)):
            block, wanted = x[rows], gradient[rows]
            normed, mean, rstd = torch.native_layer_norm(block, x.shape[1:], scale, shift, ctx.eps)
            before = torch.addmm(bias_1, normed, weight_1.T)
            of_weight_2.addmm_(wanted.T, nn.functional.gelu(before))
            of_hidden = torch.ops.aten.gelu_backward(wanted @ weight_2, before)
            of_weight_1.addmm_(of_hidden.T, normed)
            of_bias_1 += of_hidden.sum(0)
            of_block, more_scale, more_shift = torch.ops.aten.native_layer_norm_backward(
                of_hidden @ weight_1, block, x.shape[1:], mean, rstd, scale, shift, [True] * 3
            )
            of_x[rows] = of_block
            of_scale += more_scale
            of_shift += more_shift
        of_bias_2 = gradient.sum(0)
        return of_x, of_scale, of_shift, of_weight_1, of_bias_1, of_weight_2, of_bias_2, None
