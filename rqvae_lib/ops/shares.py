"""A process's share of a batch, and what is random for each row of the whole batch.

Several processes that train together each take some rows of the same batch. What is drawn for a
row, such as its dropout mask, must not depend on how many processes there are. So each process
draws for the whole batch, in the order in which one process would, and keeps its own rows. The mask
of the others' rows costs little: about a hundredth of what is done with one's own.

Inside of `sharing`, the functions below know the whole batch. Outside of it, the rows at hand are
the whole batch.

Derived in: chapter 12.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class _Share(NamedTuple):
    batch: Tensor  # the whole batch
    rows: slice  # of it, those of this process


_current: _Share | None = None  # no ContextVar, which torch.compile could not read


@contextmanager
def sharing(batch: Tensor, rows: slice) -> Iterator[None]:
    """Work on some rows of a batch inside of a `with` block, while other processes do the others.

    Args:
        batch: shape (B, ...), the whole batch.
        rows: of the batch, those that the block works on.
    """
    global _current
    before, _current = _current, _Share(batch, rows)
    try:
        yield
    finally:
        _current = before


def whole_batch(rows: Tensor) -> Tensor:
    """Return the batch that these rows, shape (B', ...), are a process's share of."""
    share = _share_of(len(rows))
    return rows if share is None else share.batch.to(rows.device)


def size_of_batch(num_rows: int) -> int:
    """Return how many rows the batch has that a process's `num_rows` rows are a share of."""
    share = _share_of(num_rows)
    return num_rows if share is None else len(share.batch)


def own_rows(values: Tensor) -> Tensor:
    """Return this process's share of something, shape (B, ...), that the whole batch has."""
    share = _current
    return values if share is None else values[share.rows]


class Dropout(nn.Dropout):
    """Dropout over rows of a batch, (B, ...), which any number of processes may share.

    In one process it is `torch.nn.Dropout`. Under `torch.compile`, which draws in its own way, one
    process gets other masks than several: their trainings then differ by more than rounding.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop a share of the numbers of x, (B', ...), if the module is in training mode."""
        share = _share_of(len(x)) if self.training and self.p else None
        if share is None:
            return super().forward(x)
        return x * _kept(x, len(share.batch), self.p)[share.rows]


def _kept(x: Tensor, num_rows: int, p: float) -> Tensor:
    """Return what `num_rows` rows like those of x are multiplied by: 0, or 1 / (1 − p)."""
    shape = (num_rows, *x.shape[1:])
    if x.device.type == "cpu":  # as torch does it there, but without a pass over ones
        return x.new_empty(shape).bernoulli_(1 - p).div_(1 - p)
    # Which number a GPU draws for which place depends on how the tensor lies in memory.
    ones = x.new_ones(num_rows * x.stride(0)) if x.stride(0) >= x[:1].numel() > 0 else None
    laid_out = x.new_ones(shape) if ones is None else ones.as_strided(shape, x.stride())
    return F.dropout(laid_out, p)


def _share_of(num_rows: int) -> _Share | None:
    share = _current
    if share is not None and num_rows != len(share.batch[share.rows]):
        raise ValueError(
            f"{num_rows} rows are at hand, but this process's share of the batch has "
            f"{len(share.batch[share.rows])}: what is random must be drawn for each row of the "
            "batch that `loss_of` is given"
        )
    return share
