"""Which examples a training step sees: a function of the seed and the step's number, nothing else.

Because no sampler remembers anything, a training that was interrupted at step s continues with
exactly the batch that it would have seen, and two machines agree on it.

Derived in: chapter 05 (rows) and chapter 08 (windows); seen at work in chapter 00.
"""

from typing import Protocol

import torch
from torch import Tensor

from rqvae_lib.data.splits import Histories

PADDING = -1  # stands for "no item" at the end of the shorter rows of a batch


class Batches(Protocol):
    """Anything that gives the batch of a step, counted from 0."""

    @property
    def steps_per_epoch(self) -> int:
        """How many steps see all the data once."""
        ...

    def __call__(self, step: int) -> Tensor: ...


class RowBatches:
    """Rows of a matrix in random order, all of them once an epoch.

    Args:
        rows: shape (N, D).
        batch_size: rows per step; N if there are fewer. What does not fill a last batch is left out
            of that epoch.
        seed: of the order.
    """

    def __init__(self, rows: Tensor, *, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.shuffled = _Shuffled(len(rows), batch_size, seed)
        self.steps_per_epoch = self.shuffled.steps_per_epoch

    def __call__(self, step: int) -> Tensor:
        """Return the rows of one step, (batch_size, D)."""
        _, chosen = self.shuffled(step)
        return self.rows[chosen.to(self.rows.device)]


class WindowBatches:
    """Windows of users' histories in random order, every interaction at most once an epoch.

    A history longer than a window is cut, and where it is cut moves from epoch to epoch, so that an
    item is not always predicted from the same few before it. No window is ever empty.

    Args:
        histories: what may be learned from.
        max_items: W, items a window.
        batch_size: windows per step.
        seed: of the order and of the cuts.
    """

    def __init__(self, histories: Histories, *, max_items: int, batch_size: int, seed: int) -> None:
        self.histories = histories
        self.max_items = max_items
        self.seed = seed
        lengths = histories.offsets.diff()  # (U,)
        cut = lengths > max_items
        # The fewest windows that hold a history leave `spare` places free: the first window may end
        # up to `spare` earlier. One window more allows the other shifts. Take what moves further.
        fewest = -(-lengths // max_items)  # (U,)
        spare = fewest * max_items - lengths
        one_more = cut & (max_items - 1 - spare > spare + 1)
        windows = fewest + one_more
        self.least_shift = torch.where(one_more, spare + 1, 0)
        self.num_shifts = torch.where(
            one_more, max_items - 1 - spare, torch.where(cut, spare, 0) + 1
        )
        self.user = torch.repeat_interleave(torch.arange(len(histories)), windows)  # (M,)
        first = torch.repeat_interleave(windows.cumsum(0) - windows, windows)
        self.number = torch.arange(len(self.user)) - first  # (M,), 0 for a user's first window
        self.shuffled = _Shuffled(len(self.user), batch_size, seed)
        self.steps_per_epoch = self.shuffled.steps_per_epoch

    def __call__(self, step: int) -> Tensor:
        """Return the windows of one step, (batch_size, ≤ W) item rows, padded at the end."""
        epoch, chosen = self.shuffled(step)
        user, number = self.user[chosen], self.number[chosen]
        drawn = torch.rand(
            len(self.histories), generator=_generator(self.seed, epoch, 1), dtype=torch.float64
        )
        # A user's first window ends this much earlier.
        shift = self.least_shift + (drawn * self.num_shifts).long()  # (U,)
        begin, end = self.histories.offsets[user], self.histories.offsets[user + 1]
        start = begin + number * self.max_items - shift[user]
        stop = torch.minimum(start + self.max_items, end)
        start = torch.maximum(start, begin)
        width = int((stop - start).max())
        positions = start[:, None] + torch.arange(width)  # (B, width)
        items = self.histories.items[positions.clamp(max=len(self.histories.items) - 1)]
        return items.masked_fill(positions >= stop[:, None], PADDING)


class _Shuffled:
    """Indices 0 to N − 1 in batches, in a new order each epoch."""

    def __init__(self, num_examples: int, batch_size: int, seed: int) -> None:
        if num_examples < 1 or batch_size < 1:
            raise ValueError(
                f"{num_examples} examples in batches of {batch_size}: training needs at least one "
                "example and a batch size of at least 1"
            )
        self.num_examples = num_examples
        self.batch_size = min(batch_size, num_examples)
        self.steps_per_epoch = num_examples // self.batch_size
        self.seed = seed
        self.epoch = -1
        self.order = torch.empty(0, dtype=torch.int64)

    def __call__(self, step: int) -> tuple[int, Tensor]:
        """Return a step's epoch and the indices it sees, (batch_size,) int64."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:  # the order of the current epoch is kept, not drawn at every step
            generator = _generator(self.seed, epoch, 0)
            self.order = torch.randperm(self.num_examples, generator=generator)
            self.epoch = epoch
        return epoch, self.order[number * self.batch_size : (number + 1) * self.batch_size]


def _generator(seed: int, epoch: int, purpose: int) -> torch.Generator:
    """Return a generator whose draws depend on these three numbers."""
    mixed = (seed * 1_000_003 + epoch) * 2 + purpose
    return torch.Generator().manual_seed(mixed % 2**63)
