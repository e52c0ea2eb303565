"""Walking through the rows of a large matrix, a block at a time.

A block of a thousand rows stays in the processor's cache while it is worked on, which is faster
than all rows at once and needs memory for one block only.

Used by: k-means, the RQ-VAE, stored embeddings.
"""

from collections.abc import Iterator

from torch import Tensor

BLOCK_ROWS = 1024  # rows a block: the (1024, K) scores of usual codebooks stay in the L2 cache


def row_blocks(num_rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield the slices that cut `num_rows` rows into blocks that fit the cache."""
    for start in range(0, num_rows, block_rows):
        yield slice(start, min(start + block_rows, num_rows))


def check_finite(x: Tensor, name: str) -> None:
    """Raise ValueError, naming the first bad row, if a matrix (N, D) holds a NaN or an infinity."""
    # A sum is finite only if all its terms are, and summing is thirty times faster than looking at
    # each. (Finite terms may add up to infinity: then the block is looked at.)
    if all(x[rows].sum().isfinite() for rows in row_blocks(len(x))):
        return
    bad_rows = (~x.isfinite()).any(1).nonzero()[:, 0]
    if len(bad_rows):
        raise ValueError(
            f"row {int(bad_rows[0])} of {name} holds a NaN or an infinity ({len(bad_rows)} such "
            "rows, all must be finite): fix or drop these rows"
        )
