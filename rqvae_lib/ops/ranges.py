"""Ranges of different lengths, written one after another instead of padded to the longest.

A padded table costs as many places as it has rows, times its longest row. If one row is much longer
than the others, nearly all of these places are empty. One flat list costs what is in it.

Used by: the trie, the sibling sets, the models that choose among siblings, and the splits.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def flat_ranges(first: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Write the numbers of some ranges one after another.

    Args:
        first: shape (P,), int64, where each range starts.
        end: shape (P,), int64, where each range ends, at least `first`.

    Returns:
        The numbers, (E,) int64, and where each range starts among them, and E: (P + 1,) int64.
    """
    starts = pad((end - first).cumsum(0), (1, 0))  # (P + 1,)
    shift = torch.repeat_interleave(first - starts[:-1], end - first)  # (E,)
    return torch.arange(len(shift), device=first.device) + shift, starts


def counted_before(mask: Tensor) -> Tensor:
    """Return how often a mask is true before each position, and in all: (E + 1,) int64.

    Args:
        mask: (E,) bool.
    """
    counts = torch.zeros(len(mask) + 1, dtype=torch.int64)
    torch.cumsum(mask, 0, out=counts[1:])
    return counts


def segment_logsumexp(x: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Return the logarithm of the sum of the exponentials of the rows of each segment.

    Sums are in float64, because a float32 sum loses a digit for every hundred-fold more terms.

    Args:
        x: shape (C, B), float.
        segment: shape (C,), int64, the segment of each row.
        num_segments: G; each segment has a row.

    Returns:
        shape (G, B), in the type of x.
    """
    top = x.new_full((num_segments, x.shape[1]), -torch.inf)  # (G, B)
    top.scatter_reduce_(0, segment[:, None].expand_as(x), x, "amax")
    top.masked_fill_(top.isinf(), 0)  # a difference of two infinities is NaN
    total = torch.zeros_like(top, dtype=torch.float64)
    rows = max(1, _BLOCK // max(1, x.shape[1]))
    for start in range(0, len(x), rows):
        part = segment[start : start + rows]
        shifted = x[start : start + rows] - top.index_select(0, part)
        total.index_add_(0, part, shifted.exp_().double())
    return total.log_().to(x.dtype) + top


_BLOCK = 2**18  # numbers of an intermediate result: it stays in the cache, and needs no memory
