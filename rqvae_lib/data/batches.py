"""Training batches: each is a function of the seed and the step number, and of nothing else.

A batch does not depend on earlier calls. A training that was interrupted at step s therefore
continues with exactly the batch it would have seen, and two machines agree on it.

Derived in: chapter 05 (rows) and chapter 08 (windows); seen at work in chapter 00.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

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


class ReadsHistories(Protocol):
    """Histories in memory (`Histories`) or on disk (`MappedHistories`)."""

    @property
    def begins(self) -> Tensor:
        """The position of each user's first item: (U,) int64."""
        ...

    @property
    def ends(self) -> Tensor:
        """The position after each user's last item: (U,) int64."""
        ...

    def __len__(self) -> int:
        """Return the number of users."""
        ...

    def items_at(self, positions: Tensor) -> Tensor:
        """Return the items at some positions: int64, the shape of `positions`."""
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
    def __init__(
        self, histories: ReadsHistories, *, max_items: int, batch_size: int, seed: int
    ) -> None:
        self.histories = histories
        self.max_items = max_items
        self.seed = seed
        # One number per user, and no more: there may be millions of users.
        self.ends = _cut(histories.ends - histories.begins, max_items).windows.cumsum(0)  # (U,)
        num_windows = int(self.ends[-1]) if len(self.ends) else 0
        self.shuffled = _Shuffled(num_windows, batch_size, seed)
        self.steps_per_epoch = self.shuffled.steps_per_epoch
        self.epoch = -1
        self.drawn = torch.empty(0, dtype=torch.float64)

    @own_settings
    def __call__(self, step: int) -> Tensor:
        """Return the windows of one step: items, (batch_size, ≤ W) int64, padded at the end."""
        epoch, chosen = self.shuffled(step)
        if epoch != self.epoch:  # draw once per epoch: a draw for every user at every step is slow
            self.drawn, self.epoch = self._draw(epoch), epoch
        user = torch.searchsorted(self.ends, chosen, right=True)  # (B,)
        begin, end = self.histories.begins[user], self.histories.ends[user]
        cut = _cut(end - begin, self.max_items)
        number = chosen - (self.ends[user] - cut.windows)  # 0 for a user's first window
        shift = cut.least_shift + (self.drawn[user] * cut.num_shifts).long()
        start = begin + number * self.max_items - shift
        stop = torch.minimum(start + self.max_items, end)
        start = torch.maximum(start, begin)
        width = int((stop - start).max())
        positions = start[:, None] + torch.arange(width)  # (B, width)
        items = self.histories.items_at(torch.minimum(positions, stop[:, None] - 1))
        return items.masked_fill(positions >= stop[:, None], PADDING)

    def _draw(self, epoch: int) -> Tensor:
        """Draw what decides where each user's first window ends in an epoch: (U,) in [0, 1)."""
        generator = _generator(self.seed, epoch, 1)
        return torch.rand(len(self.histories), generator=generator, dtype=torch.float64)


class _Cut(NamedTuple):
    """How histories are cut into windows. The first window ends `shift` places earlier."""

    windows: Tensor  # (n,) int64, how many there are
    least_shift: Tensor  # (n,) int64
    num_shifts: Tensor  # (n,) int64, the number of shifts to choose from


def _cut(lengths: Tensor, max_items: int) -> _Cut:
    """Return how to cut histories of some lengths, (n,) int64."""
    cut = lengths > max_items
    # With as few windows as possible, `spare` places stay free, so the first window may end up to
    # `spare` places earlier. One more window allows the larger shifts instead. Use whichever allows
    # more shifts.
    fewest = -(-lengths // max_items)  # (n,)
    spare = fewest * max_items - lengths
    one_more = cut & (max_items - 1 - spare > spare + 1)
    return _Cut(
        fewest + one_more,
        torch.where(one_more, spare + 1, 0),
        torch.where(one_more, max_items - 1 - spare, torch.where(cut, spare, 0) + 1),
    )


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
        # The same draws in half the memory, where the numbers fit.
        self.dtype = torch.int32 if num_examples < 2**31 else torch.int64
        self.order = torch.empty(0, dtype=self.dtype)

    def __call__(self, step: int) -> tuple[int, Tensor]:
        """Return the epoch of a step and the indices in its batch, (batch_size,) int64."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:  # draw the order once per epoch, not at every step
            generator = _generator(self.seed, epoch, 0)
            self.order = torch.randperm(self.num_examples, generator=generator, dtype=self.dtype)
            self.epoch = epoch
        chosen = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        return epoch, chosen.long()


def _generator(seed: int, epoch: int, purpose: int) -> torch.Generator:
    """Return a generator whose draws depend on these three numbers alone."""
    mixed = (seed * 1_000_003 + epoch) * 2 + purpose
    return torch.Generator().manual_seed(mixed % 2**63)
