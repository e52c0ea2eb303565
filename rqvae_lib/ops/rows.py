"""Processing the rows of a large matrix in blocks.

A block of about a thousand rows fits in the processor's cache. This is faster than processing all
rows at once, and intermediate results need memory for one block only.

Used by: k-means, the RQ-VAE, stored embeddings.
"""

from collections.abc import Iterator

from torch import Tensor

BLOCK_ROWS = 1024  # rows per block: the (1024, K) scores of a usual codebook fit in the L2 cache


def row_blocks(num_rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cut `num_rows` rows into blocks of at most `block_rows` rows."""
    for start in range(0, num_rows, block_rows):
        yield slice(start, min(start + block_rows, num_rows))


def check_finite(x: Tensor, name: str) -> None:
    """Raise ValueError if a matrix holds a NaN or an infinity.

    Args:
        x: shape (N, D), floating point.
        name: what the message calls the matrix.

    Raises:
        ValueError: if a number is not finite; the message names the first such row.
    """
    # A sum is finite only if all its terms are, and summing is thirty times faster than checking
    # each term. A sum of finite terms can overflow, so the rows are checked if a sum is not finite.
    if all(x[rows].sum().isfinite() for rows in row_blocks(len(x))):
        return
    bad_rows = (~x.isfinite()).any(1).nonzero()[:, 0]
    if len(bad_rows):
        raise ValueError(
            f"row {int(bad_rows[0])} of {name} holds a NaN or an infinity ({len(bad_rows)} such "
            "rows); all numbers must be finite: fix or drop these rows"
        )
