"""The MLP that is computed again against the modules that remember, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.ops.residual_mlp import residual_mlp


def layers(dtype: torch.dtype = torch.float64) -> tuple[nn.LayerNorm, nn.Sequential]:
    torch.manual_seed(0)
    norm, mlp = nn.LayerNorm(6), nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 6))
    for parameter in [*norm.parameters(), *mlp.parameters()]:
        nn.init.normal_(parameter, std=0.7)
    return norm.to(dtype), mlp.to(dtype)


def gradients(result: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return torch.autograd.grad((result * weights).sum(), inputs)


@pytest.mark.parametrize("shape", [(3, 6), (2, 5, 6), (1030, 2, 6)])
def test_it_equals_the_modules(shape: tuple[int, ...]) -> None:
    norm, mlp = layers()
    x = torch.randn(shape, dtype=torch.float64).transpose(0, -2).requires_grad_()
    inputs = [x, *norm.parameters(), *mlp.parameters()]
    found, expected = residual_mlp(x, norm, mlp), mlp(norm(x))
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(gradients(found, *inputs), gradients(expected, *inputs), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_layers_with_hooks_or_of_another_kind_are_called() -> None:
    norm, mlp = layers()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    mlp[1].register_forward_hook(lambda *_: torch.zeros(4, 10, dtype=torch.float64))
    torch.testing.assert_close(residual_mlp(x, norm, mlp), mlp[2].bias.expand(4, -1))
    norm, mlp = layers()
    mlp[1] = nn.ReLU()
    torch.testing.assert_close(residual_mlp(x, norm, mlp), mlp(norm(x)))


def test_autocast_and_no_gradients_call_the_modules() -> None:
    norm, mlp = layers(torch.float32)
    x = torch.randn(4, 6, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(residual_mlp(x, norm, mlp), mlp(norm(x)))
    with torch.no_grad():
        assert torch.equal(residual_mlp(x, norm, mlp), mlp(norm(x)))


def _tanh(mlp: nn.Sequential) -> None:
    mlp[1] = nn.GELU("tanh")


def _no_bias(mlp: nn.Sequential) -> None:
    mlp[0] = nn.Linear(6, 10, bias=False, dtype=torch.float64)


@pytest.mark.parametrize("change", [_tanh, _no_bias])
def test_other_settings_of_the_same_layers_are_called(
    change: Callable[[nn.Sequential], None],
) -> None:
    norm, mlp = layers()
    change(mlp)
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.equal(residual_mlp(x, norm, mlp), mlp(norm(x)))


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm((3, 6)), nn.LayerNorm(6, bias=False), nn.LayerNorm(6, elementwise_affine=False)],
)
def test_another_normalization_is_called(norm: nn.LayerNorm) -> None:
    _, mlp = layers()
    norm = norm.double()
    x = torch.randn(4, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.equal(residual_mlp(x, norm, mlp), mlp(norm(x)))


def test_nothing_but_the_tokens_is_remembered() -> None:
    norm, mlp = layers()
    x = torch.randn(50, 6, dtype=torch.float64, requires_grad=True)
    parameters = {each.data_ptr() for each in [*norm.parameters(), *mlp.parameters()]}
    kept: list[Tensor] = []

    def keep(each: Tensor) -> Tensor:
        if each.data_ptr() not in parameters:
            kept.append(each)
        return each

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each):
        residual_mlp(x, norm, mlp)
    assert [each.data_ptr() for each in kept] == [x.data_ptr()]
