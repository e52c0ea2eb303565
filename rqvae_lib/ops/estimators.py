"""Gradient estimators: how a gradient passes through a discrete choice.

A quantizer replaces a vector z by a sum of codewords q. The choice of codewords does not change
when z moves a little, so its gradient is zero and the encoder before it would learn nothing. An
estimator replaces that gradient with a useful one. The first two keep the value q. The third trains
on a mixture of codewords and uses q only after training.

    straight-through  dq/dz := I. The encoder receives the gradient that the decoder has for q.
    rotation trick    dq/dz := λR, the rotation and stretch that map z onto q. A gradient keeps its
                      angle to the vector, so two inputs with the same codeword get different
                      gradients.
    Gumbel-softmax    a mixture of all codewords instead of a choice, weighted by a noisy softmax,
                      which has a true gradient. As the temperature falls, the mixture approaches a
                      choice.

Source: straight-through: Bengio et al., arXiv 1308.3432, and van den Oord et al., arXiv 1711.00937,
§3.2; rotation trick: Fifty et al., arXiv 2410.06424, §4; Gumbel-softmax: Jang et al., arXiv
1611.01144, §2.1.
Derived in: chapter 04.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from rqvae_lib.ops.scale import scale_of


def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    """Return the value of `quantized` with the gradient of z.

    Args:
        z: vectors before quantization, shape (B, D), floating point.
        quantized: the vectors after it, shape (B, D), same dtype; receives no gradient.

    Returns:
        shape (B, D), exactly equal to `quantized`.
    """
    return quantized.detach() + (z - z.detach())  # the bracket is zero, but its gradient is not


def rotation_trick(z: Tensor, quantized: Tensor) -> Tensor:
    """Return the value of `quantized` with the gradient of z, rotated and stretched onto it.

    Let u, v and w be the unit vectors of z, q and u + v. The rotation of u onto v in their plane is
    R = I − 2 w wᵀ + 2 v uᵀ, and the stretch is λ = ‖q‖ / ‖z‖. Both are treated as constants. The
    code uses dot products of rows, so it needs no D × D matrix (Fifty et al., §4.2).

    Args:
        z: vectors before quantization, shape (B, D), floating point. A zero vector has no direction
            and gets no gradient.
        quantized: the vectors after it, shape (B, D), same dtype; receives no gradient.

    Returns:
        shape (B, D), exactly equal to `quantized`.
    """
    target = quantized.detach()
    with torch.no_grad():
        scale, of_target = scale_of(z, 1), scale_of(target, 1)  # (B, 1)
        scaled, scaled_target = z / scale, target / of_target  # longer than 0.4, or exactly 0
        length = scaled.norm(dim=1, keepdim=True)  # (B, 1)
        ratio = scaled_target.norm(dim=1, keepdim=True) / length
        stretch = torch.where(length > 0, ratio * (of_target / scale), 0)
        u, v = F.normalize(scaled, eps=1e-6), F.normalize(scaled_target, eps=1e-6)  # (B, D)
        w = F.normalize(u + v, eps=1e-6)
    rotated = z - 2 * w * (w * z).sum(1, keepdim=True) + 2 * v * (u * z).sum(1, keepdim=True)
    passed: Tensor = target + stretch * (rotated - rotated.detach())
    return passed


def gumbel_softmax(
    residual: Tensor, codebook: Tensor, temperature: Tensor, noise: Tensor | None = None
) -> Tensor:
    """Draw a mixture of codewords that favors near ones: softmax((−‖r − c‖² + g) / τ).

    Args:
        residual: r, shape (B, D), floating point.
        codebook: the codewords c, shape (K, D), same dtype.
        temperature: τ, shape (), above 0. Near 0 the mixture is almost a single codeword.
        noise: g, shape (B, K); by default the result of `gumbel_noise`.

    Returns:
        The weights, shape (B, K). Each row sums to 1. Gradients reach `residual` and `codebook`.
    """
    half_norms = codebook.square().sum(1) / 2  # (K,)
    # This is −‖r − c‖² without ‖r‖², which is equal for all codewords and cancels in the softmax.
    scores = -2 * torch.addmm(half_norms, residual, codebook.T, alpha=-1)  # (B, K)
    if noise is None:
        noise = gumbel_noise(*scores.shape, like=scores)
    return ((scores + noise) / temperature).softmax(1)


def gumbel_noise(num_rows: int, num_codewords: int, *, like: Tensor) -> Tensor:
    """Draw the noise of Gumbel-softmax, (B, K), from torch's default generator.

    Args:
        num_rows, num_codewords: B and K.
        like: a tensor of the noise's dtype and device.
    """
    return -like.new_empty(num_rows, num_codewords).exponential_().log()
