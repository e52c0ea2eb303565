"""Processing the rows of a large matrix in blocks, and choosing some of them.

A block of about a thousand rows fits in the processor's cache. This is faster than processing all
rows at once, and intermediate results need memory for one block only.

On a CPU, the gradient of torch's embedding is slow, and that of an indexed tensor is slower. The
gradient of `index_select` takes a third of the time, so rows are chosen with it here.

Used by: k-means, the RQ-VAE, stored embeddings; the models of histories.
"""

from collections.abc import Iterator
from typing import Any

import torch
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


def true_rows(matrix: Tensor, chosen: Tensor) -> Tensor:
    """Return the rows of a matrix (R, D) where a mask (R,) is true."""
    return matrix if chosen.all() else matrix.index_select(0, chosen.nonzero()[:, 0])


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a table (V, D), as `torch.nn.functional.embedding`: (..., D).

    Args:
        table: shape (V, D).
        rows: shape (...), int64.
    """
    return table.index_select(0, rows.flatten()).view(*rows.shape, table.shape[1])


def row_sums(table: Tensor, rows: Tensor, padding: int | None = None) -> Tensor:
    """Return sums of rows of a table: (..., D).

    Args:
        table: shape (V, D).
        rows: shape (..., L), int64: the rows of each sum.
        padding: a row that gets no gradient.
    """
    if not torch.is_grad_enabled():  # the usual case of a request, which then takes less
        return take_rows(table, rows).sum(-2)
    found: Tensor = _RowSums.apply(table, rows, padding)  # type: ignore[no-untyped-call]
    return found


class _RowSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.num_rows, ctx.padding = len(table), padding
        return take_rows(table, rows).sum(-2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        [rows] = ctx.saved_tensors
        of_sums = gradient.reshape(-1, gradient.shape[-1])
        of_table = of_sums.new_zeros(ctx.num_rows, gradient.shape[-1])
        for column in rows.reshape(-1, rows.shape[-1]).unbind(1):
            of_table.index_add_(0, column, of_sums)
        if ctx.padding is not None:
            of_table[ctx.padding] = 0
        return of_table, None, None
