"""Histories larger than memory: all users' items in a file, of which only what is used is read.

`pack_histories` writes the file from a table: items and times, user by user in time order, and
where each user begins. It holds no split. Each of the three splits cuts every user's history at two
places, and these are all that a split needs in memory: two numbers per user.

A training reads a split's training part as it reads `Histories`. What it measures itself on is a
sample of users, in memory.

Derived in: chapter 12.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from rqvae_lib.data.item_rows import shown
from rqvae_lib.data.names import NUM_TARGETS, SplitName
from rqvae_lib.data.plain_ids import plain_id
from rqvae_lib.data.splits import SHARES, Histories, Split, row_of_user
from rqvae_lib.io.mapped_tensors import MappedTensors
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.ops.arrays import Array, as_rows
from rqvae_lib.ops.ranges import flat_ranges
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.torch_settings import own_settings

KIND = "histories"
SAMPLE = 10_000  # targets that a training is measured on
_BLOCK = 2**22  # interactions that are looked at at a time
_USERS = 128  # whose histories are read at a time
_BINS = 2**16


class MappedHistories:
    """Each user's items, or the first ones of each, in a file. They read as `Histories` do.

    There is no attribute `items`: it would also hold what a split holds out.

    Attributes:
        begins, ends: (U,) int64; user u owns the positions from begins[u] to ends[u] − 1.
        sha256: identifies the histories.
    """

    def __init__(self, tensors: MappedTensors, ends: Tensor, num_items: int, sha256: str) -> None:
        self._tensors = tensors
        self._num_items = num_items
        self.begins = tensors["offsets"][:-1]
        self.ends = ends
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, user: int) -> Tensor:
        """Return one user's items in time order: (T,) int64."""
        row = row_of_user(user, len(self))
        return self._tensors["items"][self.begins[row] : self.ends[row]].long()

    def items_at(self, positions: Tensor) -> Tensor:
        """Return the items at some positions: int64, the shape of `positions`."""
        return self._tensors.look_up("items", positions)

    def check_items(self, num_items: int) -> None:
        """Check the histories against a catalogue.

        Args:
            num_items: N, the size of the catalogue.

        Raises:
            ValueError: if the file has more items.
        """
        if self._num_items > num_items:
            raise ValueError(
                f"{self._tensors.path} has {self._num_items:,} items, but the catalogue has "
                f"{num_items:,}: take both from the same dataset"
            )

    def of_users(self, users: Array) -> Histories:
        """Return the histories of some users in memory.

        Args:
            users: (n,) rows from 0 to U − 1.

        Raises:
            ValueError: if there is no such user.
        """
        rows = as_rows(users, "users")
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise ValueError(
                f"users are from {int(rows.min())} to {int(rows.max())}; expected rows from 0 to "
                f"{len(self) - 1}"
            )
        lengths = self.ends[rows] - self.begins[rows]
        items = [torch.empty(0, dtype=torch.int64)]
        for block in row_blocks(len(rows), _USERS):
            some = rows[block]
            positions, _ = flat_ranges(self.begins[some], self.ends[some])
            items.append(self.items_at(positions))
        return Histories(torch.cat(items), pad(lengths.cumsum(0), (1, 0)))


@dataclass(frozen=True)
class SampleSplit(Split):
    """The split of some users of a file, in memory, beside the training part of all users."""

    of_all: MappedHistories  # what a model may learn from
    users: Tensor  # (n,) int64, their rows in the file
    counts: Tensor  # (N,) float32, the training interactions of each item, of all users

    @property
    def popularity(self) -> Tensor:
        """The number of training interactions of each item, of all users of the file: (N,)."""
        return self.counts


class HistoriesFile:
    """A file of histories, and what it says of itself.

    Args:
        path: a file that `pack_histories` wrote. It is checked: its sizes agree, each user begins
            where the one before ends, and every item is of the catalogue.

    Attributes:
        histories: all interactions.
        name: the table that they were read from.
        num_interactions, num_users, num_items: E, U, N.
        checksum: the sha256 (hex) of the contents. A checkpoint identifies its data by it.
        items_checksum: that of the catalogue, as `Dataset.items_checksum` of the same tables.
        notes: what was taken for what when it was written.

    Raises:
        CheckpointError: if it is no such file, was cut off, or breaks one of these rules.
        OSError: if it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._tensors = MappedTensors(self.path, KIND)
        config, card = self._tensors.described
        try:
            self.num_interactions, self.num_users, self.num_items = (
                int(config[name]) for name in ("interactions", "users", "items")
            )
            self.name, self.checksum, self.items_checksum = (
                str(card[name]) for name in ("dataset", "sha256", "items_sha256")
            )
            self.notes = tuple(map(str, card["notes"]))
            self._check()
        except (LookupError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} does not match its own description ({error}): pack the histories "
                "again, or pass another file"
            ) from error
        offsets = self._tensors["offsets"]
        self.histories = MappedHistories(self._tensors, offsets[1:], self.num_items, self.checksum)

    @property
    def item_ids(self) -> NDArray[Any]:
        """The source's ids of the items, (N,), int64 or strings. Row i is item i."""
        return self._ids("item", 0, self.num_items)

    def user_ids(self, first: int = 0, last: int | None = None) -> NDArray[Any]:
        """Return the source's ids of users: int64 or strings, unique and sorted.

        Args:
            first, last: the rows from `first` to `last` − 1; by default, all.
        """
        return self._ids("user", first, self.num_users if last is None else last)

    def user_row(self, user_id: int | str) -> int:
        """Return the row of the user with an id.

        Raises:
            ValueError: if there is none.
        """
        wanted = plain_id(user_id)
        is_text = "user_ids_offsets" in self._tensors
        if isinstance(wanted, str) == is_text and isinstance(wanted, str | int):
            rows = range(self.num_users)
            row = bisect_left(rows, wanted, key=lambda row: self.user_ids(row, row + 1)[0])
            if row < self.num_users and self.user_ids(row, row + 1)[0] == wanted:
                return row
        raise ValueError(
            f"user {shown(user_id)} is not in {self.path}: expected one of its {self.num_users:,} "
            f"users, whose ids lie between {shown(self.user_ids(0, 1)[0])} and "
            f"{shown(self.user_ids(self.num_users - 1)[0])}"
        )

    @own_settings
    def train(self, split: SplitName) -> MappedHistories:
        """Return the training part of a split, as `split_by_name(…).train` has it in memory.

        Args:
            split: "leave-one-out", "last-ten" or "timestamp".

        Raises:
            ValueError: as `split_by_name`.
        """
        ends, _ = self._cuts(split)
        return MappedHistories(self._tensors, ends, self.num_items, f"{self.checksum} {split}")

    @own_settings
    def sample(self, split: SplitName, at_most: int = SAMPLE) -> SampleSplit:
        """Return a split of some users, in memory, to measure a model on.

        They are every second or third user of whom something is held out, and so on. With one
        target per user, the validation targets are those that `validation_targets` takes.

        Args:
            split: as `train`.
            at_most: about how many targets there are for validation, and as many for testing.

        Raises:
            ValueError: as `split_by_name`.
        """
        train_ends, test_begins = self._cuts(split)
        held_out = self.histories.ends - train_ends  # (U,)
        every = max(1, -(-int(held_out.sum()) // (2 * at_most)))
        users = held_out.nonzero()[::every, 0].contiguous()  # (n,)
        everything = self.histories.of_users(users)
        begins, ends = everything.begins, everything.ends
        in_file = self.histories.begins[users]
        validation = begins + train_ends[users] - in_file  # (n,) where it begins
        test = begins + test_begins[users] - in_file
        kept, offsets = flat_ranges(begins, validation)
        return SampleSplit(
            Histories(everything.items[kept], offsets),
            everything,
            flat_ranges(validation, test)[0],
            flat_ranges(test, ends)[0],
            self.num_items,
            split,
            MappedHistories(self._tensors, train_ends, self.num_items, f"{self.checksum} {split}"),
            users,
            self._counts(train_ends),
        )

    def _check(self) -> None:
        """Raise ValueError for the first rule that the vectors break."""
        sizes = {"items": self.num_interactions, "times": self.num_interactions}
        sizes["offsets"] = self.num_users + 1
        for name, length in sizes.items():
            if len(self._tensors[name]) != length:
                raise ValueError(f"{name!r} holds {len(self._tensors[name]):,}, not {length:,}")
        for name, length in (("user_ids", self.num_users), ("item_ids", self.num_items)):
            is_text = f"{name}_offsets" in self._tensors
            held = (
                len(self._tensors[f"{name}_offsets"]) - 1 if is_text else len(self._tensors[name])
            )
            if held != length:
                raise ValueError(f"{name!r} holds {held:,} ids, not {length:,}")
        before = torch.zeros(1, dtype=torch.int64)
        for block in self._tensors.blocks("offsets"):
            joined = torch.cat([before, block])
            if bool((joined.diff() < 0).any()):
                raise ValueError("a user begins before the user before ends")
            before = joined[-1:]
        if int(self._tensors["offsets"][0]) or int(before) != self.num_interactions:
            raise ValueError("the users' parts are not all of the interactions")
        for block in self._tensors.blocks("items"):
            low, high = (int(one) for one in block.aminmax())
            if low < 0 or high >= self.num_items:
                wrong = low if low < 0 else high
                raise ValueError(f"a user met item {wrong}, of items 0 to {self.num_items - 1}")

    def _ids(self, whose: str, first: int, last: int) -> NDArray[Any]:
        name = f"{whose}_ids"
        if f"{name}_offsets" not in self._tensors:
            numbers: NDArray[Any] = self._tensors[name][first:last].numpy().copy()
            return numbers
        offsets = self._tensors[f"{name}_offsets"][first : last + 1]
        begin, end = int(offsets[0]), int(offsets[-1])
        text = self._tensors[name][begin:end].numpy().tobytes()
        buffers = [None, pa.py_buffer((offsets - begin).numpy().tobytes()), pa.py_buffer(text)]
        try:
            array = pa.LargeStringArray.from_buffers(last - first, *buffers[1:])
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise CheckpointError(
                f"{self.path} holds {whose} ids that are no text ({str(error)[:100]}): pack the "
                "histories again"
            ) from error
        ids: NDArray[Any] = array.to_numpy(zero_copy_only=False).astype(object)
        return ids

    # Splits

    def _cuts(self, split: SplitName) -> tuple[Tensor, Tensor]:
        """Return where each user's training part ends, and where the test part begins: (U,) each.

        What lies between them is for validation.
        """
        if split not in get_args(SplitName):
            raise ValueError(f"split is {split!r}; it must be one of {get_args(SplitName)}")
        if split == "timestamp":
            return self._cuts_in_time()
        begins, ends = self.histories.begins, self.histories.ends
        num_targets = NUM_TARGETS[split]
        held_out = num_targets * (ends - begins >= 2 * num_targets + 1)  # (U,)
        return ends - 2 * held_out, ends - held_out

    def _cuts_in_time(self) -> tuple[Tensor, Tensor]:
        cuts = []
        for share in (SHARES[0], sum(SHARES)):
            rank = min(round(share * self.num_interactions), self.num_interactions - 1)
            cuts.append(self._positions_of(self._time_of_rank(rank)))
        train_ends, test_begins = cuts
        for part, begins, ends in (
            ("training", self.histories.begins, train_ends),
            ("validation", train_ends, test_begins),
        ):
            if bool((begins == ends).all()):
                raise ValueError(
                    f"{part} gets no interaction of {self.path}, because too many are of one time: "
                    "choose another split"
                )
        return train_ends, test_begins

    def _time_of_rank(self, rank: int) -> int:
        """Return the time at a place of the sorted times, without sorting them.

        Each pass over the times counts how many fall into each of many bins, and the next one looks
        only into the bin with the wanted time.
        """
        ends = [block.aminmax() for block in self._tensors.blocks("times")]
        low, high = min(int(end.min) for end in ends), max(int(end.max) for end in ends)
        while low < high:
            width = (high - low) // _BINS + 1
            counts = np.zeros(_BINS, dtype=np.int64)
            below = 0
            for block in self._tensors.blocks("times"):
                times = block.numpy()
                below += int((times < low).sum())
                inside = times[(times >= low) & (times <= high)]
                counts += np.bincount((inside - low) // width, minlength=_BINS)
            place = int(np.searchsorted(below + counts.cumsum(), rank, side="right"))
            low += place * width
            high = min(high, low + width - 1)
        return low

    def _positions_of(self, time: int) -> Tensor:
        """Return the position of each user's first interaction at or after a time, (U,) int64."""
        found = self.histories.begins.clone()
        times = self._tensors["times"]
        for start, stop, first, places in self._blocks():
            earlier = torch.zeros(stop - start + 1, dtype=torch.int64)
            torch.cumsum(times[start:stop] < time, 0, out=earlier[1:])
            found[first : first + len(places) - 1] += earlier[places - start].diff()
        return found

    def _counts(self, ends: Tensor) -> Tensor:
        """Return how often each item comes before the end of its user's part: (N,) float32."""
        counts = torch.zeros(self.num_items, dtype=torch.int64)
        items = self._tensors["items"]
        for start, stop, first, places in self._blocks():
            ends_here = ends[first : first + len(places) - 1]
            kept = torch.arange(start, stop) < torch.repeat_interleave(ends_here, places.diff())
            counts += torch.bincount(items[start:stop][kept], minlength=self.num_items)
        return counts.float()

    def _blocks(self) -> Iterator[tuple[int, int, int, Tensor]]:
        """Yield ranges of positions, and whose they are.

        Yields:
            The first position and the last + 1; the first user u; and where users u, u + 1, …
            begin in this range, and its end.
        """
        offsets = self._tensors["offsets"]
        with self._tensors.in_order():
            for start in range(0, self.num_interactions, _BLOCK):
                stop = min(start + _BLOCK, self.num_interactions)
                first = int(torch.searchsorted(offsets, start, right=True)) - 1
                last = int(torch.searchsorted(offsets, stop))
                yield start, stop, first, offsets[first : last + 1].clamp(start, stop)
                self._tensors.let_go()
