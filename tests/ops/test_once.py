"""First derivatives as ever; a second one is an error, also where torch alone would say nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.ops.cross_entropy import grouped_cross_entropy, linear_cross_entropy
from rqvae_lib.ops.residual_mlp import residual_mlp


def dense(x: Tensor) -> Tensor:
    return linear_cross_entropy(x, torch.eye(6, dtype=x.dtype), None, torch.arange(4))


def grouped(x: Tensor) -> Tensor:
    targets, first = torch.tensor([0, 1, 4, 5]), torch.tensor([0, 2, 6])
    group = torch.tensor([0, 0, 1, 1])
    return grouped_cross_entropy(x, torch.eye(6, dtype=x.dtype), None, targets, group, first)


def mlp(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).to(x.dtype)
    return residual_mlp(x, nn.LayerNorm(6, dtype=x.dtype), network).sum()


@pytest.mark.parametrize("function", [dense, grouped, mlp])
def test_only_the_first_derivative_exists(function: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(function, x)
    [expected] = torch.autograd.grad(function(x), x)
    loss = function(x)
    [first] = torch.autograd.grad(loss, x, create_graph=True)
    assert torch.equal(first, expected)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        (loss + first.square().sum()).backward()
