"""How a gradient passes a choice that has none.

A quantizer replaces a vector z by a sum of codewords q. Which codewords it takes is a choice, and a
choice does not change when z moves a little: its gradient is zero, and the encoder before it would
learn nothing. An estimator puts something useful in the gradient's place. With the first two the
value stays q; the third trains on a mixture and takes q only afterwards.

    straight-through  dq/dz := I. The encoder is told what the decoder wants of q.
    rotation trick    dq/dz := λR, the rotation and stretch that carry z onto q. A gradient keeps
                      its angle to the vector, so two inputs of one codeword are told different
                      things.
    Gumbel-softmax    no choice but a mixture of all codewords, weighted by a noisy softmax, which
                      has a true gradient. As the temperature falls, the mixture becomes a choice.

Source: straight-through: Bengio et al., arXiv 1308.3432, and van den Oord et al., arXiv 1711.00937,
§3.2; rotation trick: Fifty et al., arXiv 2410.06424, §4; Gumbel-softmax: Jang et al., arXiv
1611.01144, §2.1.
Derived in: chapter 04.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized` exactly, with the gradient of z.

    Args:
        z: vectors before quantization, shape (B, D).
        quantized: what they became, shape (B, D); no gradient goes there.
    """
    return quantized.detach() + (z - z.detach())  # the bracket is zero, its gradient is not


def rotation_trick(z: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized` exactly, with the gradient of z rotated and stretched onto it.

    With unit vectors u of z and v of q, and w of u + v, the rotation of u onto v in their plane is
    R = I − 2 w wᵀ + 2 v uᵀ, and λ = ‖q‖ / ‖z‖. Both are held constant. Written as dot products of
    rows, it needs no D × D matrix (Fifty et al., §4.2).

    Args:
        z: vectors before quantization, shape (B, D). A zero vector has no direction: it gets no
            gradient.
        quantized: what they became, shape (B, D); no gradient goes there.
    """
    target = quantized.detach()
    with torch.no_grad():
        length = z.norm(dim=1, keepdim=True)  # (B, 1)
        stretch = torch.where(length > 1e-6, target.norm(dim=1, keepdim=True) / length, 0)
        u, v = F.normalize(z, eps=1e-6), F.normalize(target, eps=1e-6)  # (B, D)
        w = F.normalize(u + v, eps=1e-6)
    rotated = z - 2 * w * (w * z).sum(1, keepdim=True) + 2 * v * (u * z).sum(1, keepdim=True)
    passed: Tensor = target + stretch * (rotated - rotated.detach())
    return passed


def gumbel_softmax(residual: Tensor, codebook: Tensor, temperature: Tensor) -> Tensor:
    """Draw a mixture of codewords, near ones likelier: softmax((−‖r − c‖² + g) / τ).

    Args:
        residual: r, shape (B, D).
        codebook: the codewords c, shape (K, D).
        temperature: τ, shape (), above 0. Near 0 the mixture is almost a single codeword.

    Returns:
        The weights, shape (B, K), each row summing to 1; gradients reach both arguments. The noise
        g is drawn from torch's default generator.
    """
    half_norms = codebook.square().sum(1) / 2  # (K,)
    # −‖r − c‖² but for ‖r‖², which is the same for all codewords and leaves a softmax unchanged.
    scores = -2 * torch.addmm(half_norms, residual, codebook.T, alpha=-1)  # (B, K)
    weights: Tensor = F.gumbel_softmax(scores, tau=temperature)  # type: ignore[arg-type]
    return weights
