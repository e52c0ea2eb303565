"""The scale of some numbers, as a power of two, so that results do not depend on the unit.

Squares leave the range of float32 long before the numbers do: that of 1e-23 is 0, and that of 1e20
is infinite. Numbers are therefore divided by their scale before they are squared. Dividing by a
power of two changes only the exponents, so it rounds nothing, and numbers of ordinary size give the
same results with the division as without it, bit for bit.

Used by: k-means, nearest neighbors, gradient estimators, the RQ-VAE.
"""

import torch
from torch import Tensor

_LIMIT = 2.0**100  # a scale, its inverse and its square stay far from the ends of float32
_LIMIT_OF_HALF = 2.0**14  # float16 ends at 2^16


def scale_of(x: Tensor, dim: int | None = None) -> Tensor:
    """Return the power of two just above the largest absolute value.

    Nothing here depends on a value in Python, so a GPU need not be waited for, and the result can
    be exported.

    Args:
        x: of any shape, floating point.
        dim: the dimension to reduce, which stays with size 1; by default all of them.

    Returns:
        shape (), or that of x with size 1 at `dim`; the dtype of x. It is 1 if all numbers are 0,
        if there are none, or if one is not finite.
    """
    if dim is None and not x.numel():
        return x.new_ones(())
    peak = x.abs().amax() if dim is None else x.abs().amax(dim, keepdim=True)
    scale = peak / torch.frexp(peak).mantissa  # exact: the peak is mantissa · 2^exponent
    limit = _LIMIT if x.dtype != torch.float16 else _LIMIT_OF_HALF
    return torch.where(scale.isfinite(), scale, 1.0).clamp(1 / limit, limit)
