"""Training batches: each is a function of the seed and the step number, and of nothing else.

A batch does not depend on earlier calls. A training that was interrupted at step s therefore
continues with exactly the batch it would have seen, and two machines agree on it.

Derived in: chapter 05 (rows) and chapter 08 (windows); seen at work in chapter 00.
"""

from typing import Protocol

import torch
from torch import Tensor

from rqvae_lib.data.splits import Histories
from rqvae_lib.ops.torch_settings import own_settings

PADDING = -1  # means "no item", at the end of the shorter rows of a batch


class Batches(Protocol):
    """Anything that returns the batch of a step, counted from 0."""

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps in one pass over the data."""
        ...

    def __call__(self, step: int) -> Tensor:
        """Return the batch of one step."""
        ...


class RowBatches:
    """Rows of a matrix in random order, each at most once per epoch.

    Args:
        rows: shape (N, D), of any dtype and device.
        batch_size: rows per step, or N if there are fewer. Rows that do not fill a last batch are
            left out of that epoch.
        seed: the seed of the order.

    Raises:
        ValueError: if there are no rows, or `batch_size` is below 1.
    """

    @own_settings
    def __init__(self, rows: Tensor, *, batch_size: int, seed: int) -> None:
        self.rows = rows
        self.shuffled = _Shuffled(len(rows), batch_size, seed)
        self.steps_per_epoch = self.shuffled.steps_per_epoch

    @own_settings
    def __call__(self, step: int) -> Tensor:
        """Return the rows of one step, (batch_size, D)."""
        _, chosen = self.shuffled(step)
        return self.rows[chosen.to(self.rows.device)]


class WindowBatches:
    """Windows of users' histories in random order, each interaction at most once per epoch.

    A history longer than a window is cut into several windows. The cuts move from epoch to epoch;
    otherwise an item would always be predicted from the same few items before it. No window is
    empty.

    Args:
        histories: the training histories.
        max_items: W, the number of items in a full window.
        batch_size: windows per step, or all windows if there are fewer.
        seed: the seed of the order and of the cuts.

    Raises:
        ValueError: if the histories hold no item, or `batch_size` is below 1.
    """

    @own_settings
    def __init__(self, histories: Histories, *, max_items: int, batch_size: int, seed: int) -> None:
        self.histories = histories
        self.max_items = max_items
        self.seed = seed
        lengths = histories.offsets.diff()  # (U,)
        cut = lengths > max_items
        # With as few windows as possible, `spare` places stay free, so the first window may end up
        # to `spare` places earlier. One more window allows the larger shifts instead. Use whichever
        # allows more shifts.
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
        self.epoch = -1
        self.shift = torch.empty(0, dtype=torch.int64)

    @own_settings
    def __call__(self, step: int) -> Tensor:
        """Return the windows of one step: items, (batch_size, ≤ W) int64, padded at the end."""
        epoch, chosen = self.shuffled(step)
        user, number = self.user[chosen], self.number[chosen]
        if epoch != self.epoch:  # draw once per epoch: a draw for every user at every step is slow
            self.shift, self.epoch = self._draw_shift(epoch), epoch
        begin, end = self.histories.offsets[user], self.histories.offsets[user + 1]
        start = begin + number * self.max_items - self.shift[user]
        stop = torch.minimum(start + self.max_items, end)
        start = torch.maximum(start, begin)
        width = int((stop - start).max())
        positions = start[:, None] + torch.arange(width)  # (B, width)
        items = self.histories.items[positions.clamp(max=len(self.histories.items) - 1)]
        return items.masked_fill(positions >= stop[:, None], PADDING)

    def _draw_shift(self, epoch: int) -> Tensor:
        """Draw how many places earlier each user's first window ends in an epoch, (U,) int64."""
        generator = _generator(self.seed, epoch, 1)
        drawn = torch.rand(len(self.histories), generator=generator, dtype=torch.float64)
        return self.least_shift + (drawn * self.num_shifts).long()


class _Shuffled:
    """The indices 0 to N − 1 in batches, in a new order each epoch."""

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
        """Return the epoch of a step and the indices in its batch, (batch_size,) int64."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:  # draw the order once per epoch, not at every step
            generator = _generator(self.seed, epoch, 0)
            self.order = torch.randperm(self.num_examples, generator=generator)
            self.epoch = epoch
        return epoch, self.order[number * self.batch_size : (number + 1) * self.batch_size]


def _generator(seed: int, epoch: int, purpose: int) -> torch.Generator:
    """Return a generator whose draws depend on these three numbers alone."""
    mixed = (seed * 1_000_003 + epoch) * 2 + purpose
    return torch.Generator().manual_seed(mixed % 2**63)
