"""Gradient estimators against explicit matrices, finite differences and formulas by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from rqvae_lib.ops.estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)

BOTH = pytest.mark.parametrize("estimator", [straight_through, rotation_trick])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def gradient(estimator, z: Tensor, quantized: Tensor, upstream: Tensor) -> Tensor:
    """What reaches z when `upstream` arrives at the estimate."""
    z = z.clone().requires_grad_()
    estimator(z, quantized).backward(upstream)
    return z.grad


def householder(z: Tensor, quantized: Tensor) -> Tensor:
    """λR of two vectors (D,), written out: I − 2 w wᵀ + 2 v uᵀ, stretched."""
    u, v = z / z.norm(), quantized / quantized.norm()
    w = (u + v) / (u + v).norm()
    rotation = torch.eye(len(z), dtype=z.dtype) - 2 * torch.outer(w, w) + 2 * torch.outer(v, u)
    return quantized.norm() / z.norm() * rotation


def plane_rotation(z: Tensor, quantized: Tensor) -> Tensor:
    """λR of two vectors (D,), from the angle between them: turn their plane, leave the rest."""
    e1 = z / z.norm()
    e2 = quantized - (quantized @ e1) * e1
    e2 = e2 / e2.norm()
    angle = math.atan2(float(quantized @ e2), float(quantized @ e1))
    basis = torch.stack([e1, e2], 1)  # (D, 2)
    turn = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=z.dtype
    )
    rest = torch.eye(len(z), dtype=z.dtype) - basis @ basis.T
    return quantized.norm() / z.norm() * (basis @ turn @ basis.T + rest)


# Values


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_value_is_the_quantized_vector_bit_for_bit(estimator, dtype: torch.dtype) -> None:
    scale = torch.logspace(-6, 6, 50, dtype=dtype)[:, None]
    z = normal(50, 7, dtype=dtype) * scale.flip(0)
    quantized = normal(50, 7, seed=2, dtype=dtype) * scale
    assert torch.equal(estimator(z, quantized), quantized)
    assert estimator(z[:0], quantized[:0]).shape == (0, 7)


@BOTH
def test_no_gradient_reaches_the_quantized_vector(estimator) -> None:
    z, quantized = normal(5, 4).requires_grad_(), normal(5, 4, seed=2).requires_grad_()
    estimator(z, quantized).sum().backward()
    assert quantized.grad is None
    assert z.grad.abs().sum() > 0


# Straight-through


def test_the_straight_through_gradient_is_the_one_that_arrives() -> None:
    upstream = normal(6, 4, seed=3)
    got = gradient(straight_through, normal(6, 4), normal(6, 4, seed=2), upstream)
    assert torch.equal(got, upstream)


# Rotation trick


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_the_rotation_gradient_is_that_of_two_explicit_matrices(dim: int) -> None:
    z, quantized, upstream = normal(9, dim), normal(9, dim, seed=2), normal(9, dim, seed=3)
    quantized = quantized * torch.logspace(-2, 2, 9, dtype=torch.float64)[:, None]
    got = gradient(rotation_trick, z, quantized, upstream)
    for row in range(9):
        first, second = householder(z[row], quantized[row]), plane_rotation(z[row], quantized[row])
        torch.testing.assert_close(first, second)  # the two constructions agree
        torch.testing.assert_close(first @ z[row], quantized[row])  # and do carry z onto q
        torch.testing.assert_close(got[row], first.T @ upstream[row])
        whole = jacobian(
            lambda x, q=quantized[row]: rotation_trick(x[None], q[None])[0], z[row].clone()
        )
        torch.testing.assert_close(whole, second)


def test_a_gradient_keeps_its_angle_to_the_vector_and_its_stretched_length() -> None:
    z, quantized, upstream = normal(40, 6), normal(40, 6, seed=2), normal(40, 6, seed=3)
    got = gradient(rotation_trick, z, quantized, upstream)
    cosine = torch.nn.functional.cosine_similarity
    torch.testing.assert_close(cosine(got, z), cosine(upstream, quantized))
    stretch = quantized.norm(dim=1) / z.norm(dim=1)
    torch.testing.assert_close(got.norm(dim=1), stretch * upstream.norm(dim=1))
    # Two gradients also keep the angle between them: the map is orthogonal.
    other = gradient(rotation_trick, z, quantized, normal(40, 6, seed=4))
    torch.testing.assert_close(cosine(got, other), cosine(upstream, normal(40, 6, seed=4)))


def test_a_quarter_turn_by_hand() -> None:
    """z = (2, 0, 0) onto q = (0, 6, 0): turned by 90° and stretched by 3, the third axis stays."""
    matrix = jacobian(
        lambda z: rotation_trick(z, torch.tensor([[0.0, 6.0, 0.0]]))[0],
        torch.tensor([[2.0, 0.0, 0.0]]),
    )[:, 0]
    expected = torch.tensor([[0.0, -3.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    torch.testing.assert_close(matrix, expected)


def test_a_vector_in_the_same_direction_is_only_stretched() -> None:
    z, upstream = normal(5, 4), normal(5, 4, seed=3)
    torch.testing.assert_close(gradient(rotation_trick, z, z, upstream), upstream)
    torch.testing.assert_close(gradient(rotation_trick, z, 2.5 * z, upstream), 2.5 * upstream)


def test_opposite_vectors_are_reflected_and_stay_finite() -> None:
    """No plane is singled out: what is left of the formula is the mirror I − 2 u uᵀ."""
    z, upstream = normal(5, 4), normal(5, 4, seed=3)
    got = gradient(rotation_trick, z, -2 * z, upstream)
    u = z / z.norm(dim=1, keepdim=True)
    expected = 2 * (upstream - 2 * u * (u * upstream).sum(1, keepdim=True))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("nearly", [1e-3, 1e-5, 1e-6, 1e-7, 1e-9])
def test_nearly_opposite_vectors_never_explode(nearly: float) -> None:
    z = normal(50, 6, dtype=torch.float32)
    upstream = normal(50, 6, seed=3, dtype=torch.float32)
    got = gradient(rotation_trick, z, -z + nearly * normal(50, 6, seed=2).float(), upstream)
    assert got.isfinite().all()
    assert (got.norm(dim=1) <= 3.01 * upstream.norm(dim=1)).all()  # |I| + 2|w wᵀ| or 2|v uᵀ|
    if nearly == 1e-3:  # far enough from opposite to be a rotation
        torch.testing.assert_close(got.norm(dim=1), upstream.norm(dim=1), rtol=1e-2, atol=0)


def test_a_zero_quantized_vector_stretches_the_gradient_to_zero() -> None:
    got = gradient(rotation_trick, normal(3, 4), torch.zeros(3, 4).double(), normal(3, 4, seed=3))
    assert torch.equal(got, torch.zeros(3, 4).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_vectors_give_finite_gradients_and_exact_values(dtype: torch.dtype) -> None:
    z, quantized = torch.zeros(4, 3, dtype=dtype), normal(4, 3, dtype=dtype)
    assert torch.equal(rotation_trick(z, quantized), quantized)
    upstream = normal(4, 3, seed=3, dtype=dtype)
    assert gradient(rotation_trick, z, quantized, upstream).isfinite().all()
    nothing = torch.zeros_like(z)
    assert torch.equal(rotation_trick(z, nothing), nothing)
    assert torch.equal(gradient(rotation_trick, z, nothing, upstream), nothing)


def test_a_zero_vector_has_no_direction_and_gets_no_gradient() -> None:
    z, quantized, upstream = normal(4, 3), normal(4, 3, seed=2), normal(4, 3, seed=3)
    z[2] = 0
    got = gradient(rotation_trick, z, quantized, upstream)
    assert torch.equal(got[2], torch.zeros(3).double())


# Gumbel-softmax


def weights_by_hand(residual: Tensor, codebook: Tensor, temperature: float, seed: int) -> Tensor:
    """softmax((−‖r − c‖² + g) / τ), the noise from −log of exponential draws of this seed."""
    distances = (residual[:, None] - codebook[None]).square().sum(2)  # (B, K)
    torch.manual_seed(seed)
    noise = -torch.empty_like(distances).exponential_().log()
    scores = ((noise - distances) / temperature).exp()
    return scores / scores.sum(1, keepdim=True)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_gumbel_weights_by_hand_with_the_same_noise(temperature: float) -> None:
    residual, codebook = normal(8, 3), normal(6, 3, seed=2)
    torch.manual_seed(7)
    got = gumbel_softmax(residual, codebook, torch.tensor(temperature))
    torch.testing.assert_close(got, weights_by_hand(residual, codebook, temperature, 7))
    torch.testing.assert_close(got.sum(1), torch.ones(8).double())


def test_the_likeliest_codeword_is_drawn_as_a_softmax_of_distances_says() -> None:
    """The Gumbel-max trick: which weight is largest has probability softmax(−‖r − c‖²)."""
    codebook = torch.tensor([[0.0], [1.0], [-0.5]])
    torch.manual_seed(0)
    weights = gumbel_softmax(torch.zeros(40_000, 1), codebook, torch.tensor(3.0))
    frequencies = torch.bincount(weights.argmax(1), minlength=3) / 40_000
    likelihood = torch.tensor([1.0, math.exp(-1), math.exp(-0.25)])
    expected = likelihood / likelihood.sum()
    assert (frequencies - expected).abs().max() < 0.01  # four standard deviations


def test_a_low_temperature_leaves_a_single_codeword() -> None:
    residual, codebook = normal(50, 3), normal(6, 3, seed=2)
    torch.manual_seed(3)
    soft = gumbel_softmax(residual, codebook, torch.tensor(1.0))
    torch.manual_seed(3)
    hard = gumbel_softmax(residual, codebook, torch.tensor(1e-4))
    assert torch.equal(hard.argmax(1), soft.argmax(1))
    assert (hard.max(1).values > 0.999).float().mean() > 0.95
    assert (soft.max(1).values < 0.9).any()


def test_gumbel_gradients_equal_finite_differences() -> None:
    residual = normal(4, 3).requires_grad_()
    codebook = normal(5, 3, seed=2).requires_grad_()

    def weights(residual: Tensor, codebook: Tensor) -> Tensor:
        torch.manual_seed(11)  # the same noise at every call
        return gumbel_softmax(residual, codebook, torch.tensor(0.7))

    assert torch.autograd.gradcheck(weights, (residual, codebook))
