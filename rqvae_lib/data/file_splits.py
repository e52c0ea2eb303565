"""Where the splits cut the histories of a file: two numbers per user in memory.

A split cuts every user's history at two places: what lies before them is for training, what lies
between them for validation, and what follows for testing. The places are found by reading the file
in blocks. What a training measures itself on is a sample of users, in memory.

Derived in: chapter 12.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.data.mapped_histories import MappedHistories
from rqvae_lib.data.names import NUM_TARGETS, SplitName
from rqvae_lib.data.split_rules import (
    SHARES,
    check_split_name,
    interactions_needed,
    rank_of_cut,
)
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.io.mapped_tensors import MappedTensors
from rqvae_lib.ops.arrays import as_count
from rqvae_lib.ops.ranges import counted_before, flat_ranges

_BLOCK = 2**22  # interactions that are looked at at a time
_BINS = 2**16


@dataclass(frozen=True)
class SampleSplit(Split):
    """The split of some users of a file, in memory, beside the training part of all users."""

    of_all: MappedHistories  # what a model may learn from
    counts: Tensor  # (N,) float32, the training interactions of each item, of all users

    @property
    def popularity(self) -> Tensor:
        """The number of training interactions of each item, of all users of the file: (N,)."""
        return self.counts


class Cuts(NamedTuple):
    """Where a split cuts each user's history."""

    train_ends: Tensor  # (U,) int64 positions after the training part
    test_begins: Tensor  # (U,) int64 positions where the test part begins


def cuts_of(tensors: MappedTensors, histories: MappedHistories, split: SplitName) -> Cuts:
    """Return where a split cuts each user's history.

    Args:
        tensors: the vectors of a file of histories.
        histories: all interactions of the file.
        split: the split's name.

    Raises:
        ValueError: as `split_by_name`.
    """
    check_split_name(split)
    if split == "timestamp":
        return _cuts_in_time(tensors, histories)
    ends, num_targets = histories.ends, NUM_TARGETS[split]
    lengths = ends - histories.begins  # (U,)
    held_out = num_targets * (lengths >= interactions_needed(num_targets))  # (U,)
    return Cuts(ends - 2 * held_out, ends - held_out)


def sample_of(
    tensors: MappedTensors, histories: MappedHistories, split: SplitName, at_most: int
) -> SampleSplit:
    """Return a split of some users, in memory.

    They are every second or third user of whom something is held out, and so on: counted apart for
    users with targets for validation, for testing, and for both, so that neither part is lost.

    Args:
        tensors: the vectors of a file of histories.
        histories: all interactions of the file.
        split: the split's name.
        at_most: about half of the number of targets, for validation and testing together.

    Raises:
        ValueError: as `split_by_name`, or if `at_most` is below 1.
    """
    at_most = as_count(at_most, "at_most")
    cuts = cuts_of(tensors, histories, split)
    held_out = histories.ends - cuts.train_ends  # (U,)
    every = max(1, -(-int(held_out.sum()) // (2 * at_most)))
    validated, tested = cuts.test_begins > cuts.train_ends, histories.ends > cuts.test_begins
    groups = (validated & tested, validated & ~tested, tested & ~validated)  # (U,) each
    users = torch.cat([group.nonzero()[::every, 0] for group in groups]).sort().values  # (n,)
    everything = histories.of_users(users)
    begins, ends = everything.begins, everything.ends
    in_file = histories.begins[users]
    validation = begins + cuts.train_ends[users] - in_file  # (n,) where it begins
    test = begins + cuts.test_begins[users] - in_file
    kept, offsets = flat_ranges(begins, validation)
    return SampleSplit(
        Histories(everything.items[kept], offsets),
        everything,
        flat_ranges(validation, test)[0],
        flat_ranges(test, ends)[0],
        histories.num_items,
        split,
        histories.until(cuts.train_ends, split),
        _counts(tensors, cuts.train_ends, histories.num_items),
    )


def _cuts_in_time(tensors: MappedTensors, histories: MappedHistories) -> Cuts:
    ranks = [rank_of_cut(share, len(tensors["times"])) for share in (SHARES[0], sum(SHARES))]
    train_ends, test_begins = (
        _positions_of(tensors, histories, _time_of_rank(tensors, rank)) for rank in ranks
    )
    for part, begins, ends in (
        ("training", histories.begins, train_ends),
        ("validation", train_ends, test_begins),
    ):
        if bool((begins == ends).all()):
            raise ValueError(
                f"{part} gets no interaction of {tensors.path}, because too many are of one time: "
                "choose another split"
            )
    return Cuts(train_ends, test_begins)


def _time_of_rank(tensors: MappedTensors, rank: int) -> int:
    """Return the time at a place of the sorted times, without sorting them.

    Each pass over the times counts how many fall into each of many bins, and the next one looks
    only into the bin with the wanted time.
    """
    ends = [block.aminmax() for block in tensors.blocks("times")]
    low, high = min(int(end.min) for end in ends), max(int(end.max) for end in ends)
    while low < high:
        width = (high - low) // _BINS + 1
        counts = np.zeros(_BINS, dtype=np.int64)
        below = 0
        for block in tensors.blocks("times"):
            times = block.numpy()
            below += int((times < low).sum())
            inside = times[(times >= low) & (times <= high)]
            counts += np.bincount((inside - low) // width, minlength=_BINS)
        place = int(np.searchsorted(below + counts.cumsum(), rank, side="right"))
        low += place * width
        high = min(high, low + width - 1)
    return low


def _positions_of(tensors: MappedTensors, histories: MappedHistories, time: int) -> Tensor:
    """Return the position of each user's first interaction at or after a time, (U,) int64."""
    found = histories.begins.clone()
    times = tensors["times"]
    for start, stop, first, places in _blocks(tensors):
        earlier = counted_before(times[start:stop] < time)
        found[first : first + len(places) - 1] += earlier[places - start].diff()
    return found


def _counts(tensors: MappedTensors, ends: Tensor, num_items: int) -> Tensor:
    """Return how often each item comes before the end of its user's part: (N,) float32."""
    counts = torch.zeros(num_items, dtype=torch.int64)
    items = tensors["items"]
    for start, stop, first, places in _blocks(tensors):
        ends_here = ends[first : first + len(places) - 1]
        kept = torch.arange(start, stop) < torch.repeat_interleave(ends_here, places.diff())
        counts += torch.bincount(items[start:stop][kept], minlength=num_items)
    return counts.float()


def _blocks(tensors: MappedTensors) -> Iterator[tuple[int, int, int, Tensor]]:
    """Yield ranges of positions, and whose they are.

    Yields:
        The first position and the last + 1; the first user u; and where users u, u + 1, … begin in
        this range, and its end.
    """
    offsets = tensors["offsets"]
    num_interactions = len(tensors["items"])
    with tensors.in_order():
        for start in range(0, num_interactions, _BLOCK):
            stop = min(start + _BLOCK, num_interactions)
            first = int(torch.searchsorted(offsets, start, right=True)) - 1
            last = int(torch.searchsorted(offsets, stop))
            yield start, stop, first, offsets[first : last + 1].clamp(start, stop)
            tensors.let_go()
