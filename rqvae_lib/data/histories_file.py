"""A file of histories larger than memory, and what it says of itself.

`pack_histories` writes the file from a table: items and times, user by user in time order, and
where each user begins. It holds no split: `file_splits` finds where a split cuts each history.

Derived in: chapter 12.
"""

from bisect import bisect_left
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from numpy.typing import NDArray

from rqvae_lib.data.file_splits import SampleSplit, cuts_of, sample_of
from rqvae_lib.data.item_rows import shown
from rqvae_lib.data.mapped_histories import MappedHistories
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.plain_ids import plain_id
from rqvae_lib.io.mapped_tensors import MappedTensors
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.ops.torch_settings import own_settings

KIND = "histories"
SAMPLE = 10_000  # targets that a training is measured on


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
        kind = str if "user_ids_offsets" in self._tensors else int
        if isinstance(wanted, kind) and not isinstance(wanted, bool):
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
        return self.histories.until(cuts_of(self._tensors, self.histories, split).train_ends, split)

    @own_settings
    def sample(self, split: SplitName, at_most: int = SAMPLE) -> SampleSplit:
        """Return a split of some users, in memory, to measure a model on.

        They are every second or third user of whom something is held out, and so on: counted apart
        for users with targets for validation, for testing, and for both, so that neither part is
        lost. With one target per user, the validation targets are those that `validation_targets`
        takes.

        Args:
            split: as `train`.
            at_most: about half of the number of targets, for validation and testing together.

        Raises:
            ValueError: as `split_by_name`.
        """
        return sample_of(self._tensors, self.histories, split, at_most)

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
        texts = self._tensors[name][begin:end].numpy().tobytes()
        places = (offsets - begin).numpy().tobytes()
        try:
            array = pa.LargeStringArray.from_buffers(
                last - first, pa.py_buffer(places), pa.py_buffer(texts)
            )
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            raise CheckpointError(
                f"{self.path} holds {whose} ids that are no text ({str(error)[:100]}): pack the "
                "histories again"
            ) from error
        ids: NDArray[Any] = array.to_numpy(zero_copy_only=False).astype(object)
        return ids
