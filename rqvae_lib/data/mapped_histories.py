"""Histories in a file, of which only what is used is read. They read as those in memory do.

Used by: files of histories, their splits, training. Derived in: chapter 12.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from rqvae_lib.data.splits import Histories, row_of_user
from rqvae_lib.io.mapped_tensors import MappedTensors
from rqvae_lib.ops.arrays import Array, as_rows
from rqvae_lib.ops.ranges import flat_ranges
from rqvae_lib.ops.rows import row_blocks

_USERS = 128  # whose histories are read at a time


class MappedHistories:
    """Each user's items, or the first ones of each, in a file. They read as `Histories` do.

    There is no attribute `items`: it would also hold what a split holds out.

    Attributes:
        begins, ends: (U,) int64; user u owns the positions from begins[u] to ends[u] − 1.
        num_items: N, the size of the catalogue.
        sha256: identifies the histories.
    """

    def __init__(self, tensors: MappedTensors, ends: Tensor, num_items: int, sha256: str) -> None:
        self._tensors = tensors
        self.num_items = num_items
        self.begins = tensors["offsets"][:-1]
        self.ends = ends
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, user: int) -> Tensor:
        """Return one user's items in time order: (T,) int64."""
        row = row_of_user(user, len(self))
        return self._tensors["items"][self.begins[row] : self.ends[row]].long()

    def until(self, ends: Tensor, part: str) -> "MappedHistories":
        """Return the first part of each user's items.

        Args:
            ends: (U,) int64 positions, where each user's part ends.
            part: what it is called in `sha256`.
        """
        return MappedHistories(self._tensors, ends, self.num_items, f"{self.sha256} {part}")

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
        if self.num_items > num_items:
            raise ValueError(
                f"{self._tensors.path} has {self.num_items:,} items, but the catalogue has "
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
