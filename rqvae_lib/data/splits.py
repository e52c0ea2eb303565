"""Which interactions a model may learn from, and which ones it must predict.

One flat array holds all histories, one after another. A *target* is a position in it: a model must
predict the item there from everything that the same user did before. Training keeps only the part
of each history before its first held-out position, so a mistake in the bookkeeping cannot leak a
user's held-out item.

There are two ways to choose targets. `leave_one_out` (or `leave_last_out`) holds out each user's
last items. `global_timestamp` holds out everything after a point in time.

Source: leave-one-out as in Kang and McAuley, SASRec, arXiv 1808.09781, §IV; why it leaks, and what
to do instead: Ji, Sun, Zhang and Li, arXiv 2010.11060.
Derived in: chapter 01; seen at work in chapter 00.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import NUM_TARGETS, SplitName
from rqvae_lib.data.repeats import met_before
from rqvae_lib.data.split_rules import (
    SHARES,
    check_split_name,
    interactions_needed,
    rank_of_cut,
)
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.ops.arrays import Array, as_count, as_row, as_rows
from rqvae_lib.ops.ranges import counted_before
from rqvae_lib.ops.torch_settings import own_settings


@dataclass(frozen=True)
class Histories:
    """All users' items in one flat array, and where each user's part begins.

    Raises:
        ValueError: if items or offsets are not vectors of whole numbers, or the offsets do not
            rise from 0.
    """

    items: Tensor  # (E,) int64, the items of user 0 in time order, then those of user 1, …
    offsets: Tensor  # (U + 1,) int64, user u owns items[offsets[u] : offsets[u + 1]]

    def __post_init__(self) -> None:
        for name in ("items", "offsets"):  # arrays of NumPy become tensors
            object.__setattr__(self, name, as_rows(getattr(self, name), name))
        if not len(self.offsets) or self.offsets[0] != 0 or bool((self.offsets.diff() < 0).any()):
            raise ValueError(
                f"offsets are {_beginning(self.offsets)}; expected 0, and then where each user's "
                "items end, never less than before: add up the lengths of the histories"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def begins(self) -> Tensor:
        """The position of each user's first item: (U,) int64."""
        return self.offsets[:-1]

    @property
    def ends(self) -> Tensor:
        """The position after each user's last item: (U,) int64."""
        return self.offsets[1:]

    @property
    def sha256(self) -> str:
        """The sha256 (hex) of the histories. It identifies what a model was trained on."""
        return tensors_sha256(self.items, self.offsets)

    def items_at(self, positions: Tensor) -> Tensor:
        """Return the items at some positions: int64, the shape of `positions`."""
        return self.items[positions]

    def __getitem__(self, user: int) -> Tensor:
        """Return one user's items in time order: (T,) int64, a copy."""
        row = row_of_user(user, len(self))
        start, end = self.offsets[row], self.offsets[row + 1]
        return self.items[start:end].clone()  # who masks items in it must not change the data

    def check_items(self, num_items: int) -> None:
        """Check the histories against a catalogue.

        Args:
            num_items: N, the size of the catalogue.

        Raises:
            ValueError: if an item is not from 0 to N − 1, or belongs to no user.
        """
        outside = self.items[(self.items < 0) | (self.items >= num_items)]
        if len(outside):
            raise ValueError(
                f"the histories name item {int(outside[0])}, but the catalogue has items 0 to "
                f"{num_items - 1}: take both from the same dataset"
            )
        if int(self.offsets[-1]) != len(self.items):
            raise ValueError(
                f"the last offset of the histories is {int(self.offsets[-1])}, expected "
                f"{len(self.items)}, the number of their items: make the offsets again"
            )

    def user_of(self, positions: Array) -> Tensor:
        """Return the user of each position in `items`: int64, the shape of `positions`.

        Raises:
            ValueError: if a position is not in `items`.
        """
        places = self._positions(positions).contiguous()
        return torch.searchsorted(self.offsets, places, right=True) - 1

    def _positions(self, positions: Array) -> Tensor:
        """Return positions in `items` as int64, or raise ValueError if one of them is not."""
        found = as_rows(positions, "positions", ndim=None)
        if found.numel() and not 0 <= int(found.min()) <= int(found.max()) < len(self.items):
            raise ValueError(
                f"the positions are from {int(found.min())} to {int(found.max())}; expected places "
                f"in all histories, 0 to {len(self.items) - 1}: pass split.validation or split.test"
            )
        return found

    @own_settings
    def before(self, position: int) -> Tensor:
        """Return the same user's items before a position in `items`: (T,) int64.

        If the position is a target, this is its history.

        Raises:
            ValueError: if the position is not in `items`.
        """
        position = as_row(position, "position")
        user = int(self.user_of(torch.tensor(position)))
        return self.items[self.offsets[user] : position].clone()


@dataclass(frozen=True)
class Split:
    """The training part of a dataset's histories, and the targets that are held out."""

    train: Histories  # what a model may learn from: one history per user, some may be empty
    everything: Histories  # the full histories, which the held-out positions point into
    validation: Tensor  # (M,) int64 positions in `everything`, for choosing a model
    test: Tensor  # likewise, for reporting; M may differ from validation
    num_items: int  # N, the size of the catalogue
    name: str  # "leave-one-out", "last-ten" or "timestamp", as on the command line, or another

    @cached_property
    @own_settings
    def popularity(self) -> Tensor:
        """The number of training interactions of each item, (N,) float32.

        It is counted at the first use only.

        Raises:
            ValueError: if the training histories name an item outside the catalogue.
        """
        self.train.check_items(self.num_items)
        return torch.bincount(self.train.items, minlength=self.num_items).float()

    @own_settings
    def histories_and_targets(self, positions: Array) -> tuple[list[Tensor], Tensor]:
        """Return the history before each held-out position, and the item at it.

        Args:
            positions: (M,) int64 positions in `everything`, such as `test`.

        Returns:
            M histories, (T,) int64 with a T of their own, and the target items, (M,) int64.

        Raises:
            ValueError: if a position is not in `everything`.
        """
        positions = as_rows(positions, "positions")
        starts = self.everything.offsets[self.everything.user_of(positions)]  # (M,)
        items = self.everything.items
        ranges = zip(starts.tolist(), positions.tolist(), strict=True)
        return [items[start:position].clone() for start, position in ranges], items[positions]

    @own_settings
    def had_before(self, positions: Array) -> Tensor:
        """Return whether the item at each held-out position is in its own history.

        Such a target cannot be hit by a model that recommends nothing from the history.

        Args:
            positions: (M,) int64 positions in `everything`, such as `test`.

        Returns:
            (M,) bool.

        Raises:
            ValueError: if a position is not in `everything`.
        """
        positions = self.everything._positions(positions)
        again = met_before(self.everything.items.numpy(), self.everything.offsets.numpy())
        return torch.from_numpy(again)[positions]


def split_by_name(dataset: Dataset, name: SplitName) -> Split:
    """Return a split by its name on the command line.

    Args:
        dataset: the dataset to split.
        name: "leave-one-out" or "last-ten" for `leave_last_out` with one or ten targets per user,
            or "timestamp" for `global_timestamp`.

    Raises:
        ValueError: for another name, or as `global_timestamp`.
    """
    check_split_name(name)
    if name == "timestamp":
        return global_timestamp(dataset)
    return leave_last_out(dataset, NUM_TARGETS[name])


def leave_one_out(dataset: Dataset) -> Split:
    """Hold out each user's last item for testing and the one before it for validation.

    This is the usual split of the literature. It is `leave_last_out` with one target per user; see
    there for the details.
    """
    return leave_last_out(dataset, 1)


@own_settings
def leave_last_out(dataset: Dataset, num_targets: int) -> Split:
    """Hold out each user's last n items for testing and the n before them for validation.

    More targets per user make the mean of a metric steadier but leave fewer interactions for
    training. The history of a target is everything that the same user did before it, so it may
    contain earlier targets.

    Users with fewer than 2n + 1 interactions stay in training and are not tested. Interactions of
    one user at the same time keep the order of the source.

    Each user is tested at a different time, so training contains what other users did after a
    target. `global_timestamp` is the split without this leak.

    Args:
        dataset: its interactions are sorted by user, then time.
        num_targets: n, at least 1.

    Returns:
        The split; user u is row u of `dataset.user_ids`.

    Raises:
        ValueError: if `num_targets` is below 1.
    """
    num_targets = as_count(num_targets, "num_targets")
    everything = _histories(dataset)
    lengths = everything.offsets.diff()  # (U,)
    tested = lengths >= interactions_needed(num_targets)  # (U,)
    ends = everything.offsets[1:]
    last = ends[tested, None] - num_targets + torch.arange(num_targets)  # (tested users, n)
    in_train = torch.ones(len(everything.items), dtype=torch.bool)  # (E,)
    in_train[last] = in_train[last - num_targets] = False
    names = {number: name for name, number in NUM_TARGETS.items()}
    return Split(
        _kept(everything, in_train),
        everything,
        validation=(last - num_targets).flatten(),
        test=last.flatten(),
        num_items=dataset.num_items,
        name=names.get(num_targets, f"last-{num_targets}"),
    )


@own_settings
def global_timestamp(
    dataset: Dataset,
    *,
    train_share: float = SHARES[0],
    validation_share: float = SHARES[1],
) -> Split:
    """Hold out everything after a point in time that is the same for all users.

    Two cuts divide time into training, validation and test. Every held-out interaction is a target.
    Its history is everything that the same user did before it, even after the cut (a rolling
    evaluation): a model in service keeps reading what its users do, although it was trained before
    the cut.

    Each cut is a time of the data, and all interactions at that time come after it, so ties never
    straddle a cut. Ties can only make the earlier part smaller than its share.

    A user's first interaction may be a target, with an empty history. Such targets are kept,
    because a recommender in service meets new users, and leaving them out would favor the models
    that need a history. Weight the targets by user before you take a mean, because active users
    have many.

    Args:
        dataset: its interactions are sorted by user, then time.
        train_share: the share of all interactions that is for training, the earliest ones.
        validation_share: the share of all interactions that follows; the rest is for testing.

    Returns:
        The split; user u is row u of `dataset.user_ids`. Users who came after the first cut have
        an empty training history.

    Raises:
        ValueError: if a share is not above 0, if both shares leave nothing for testing, or if ties
            leave one of the three parts empty.

    Source: Ji, Sun, Zhang and Li, "A Critical Study on Data Leakage in Recommender System Offline
    Evaluation", ACM TOIS 2023.
    """
    if not (train_share > 0 and validation_share > 0 and train_share + validation_share < 1):
        raise ValueError(
            f"train_share is {train_share} and validation_share {validation_share}, expected two "
            "positive shares with a sum below 1: what is left is the share for testing"
        )
    shares = (train_share, validation_share)
    name = "timestamp" if shares == SHARES else f"timestamp-{train_share:g}-{validation_share:g}"
    everything = _histories(dataset)
    times = torch.tensor(dataset.interactions["timestamp"].to_numpy())  # (E,)
    ordered = torch.from_numpy(np.sort(times.numpy()))  # torch would return their order, too
    validation_from, test_from = (
        ordered[rank_of_cut(share, len(times))]
        for share in (train_share, train_share + validation_share)
    )
    in_train, in_test = times < validation_from, times >= test_from  # (E,)
    parts = {"training": in_train, "validation": ~in_train & ~in_test}  # a test part always exists
    for part_name, part in parts.items():
        if not part.any():
            moments = len(torch.unique_consecutive(ordered))
            raise ValueError(
                f"{part_name} gets no interaction of {dataset.name}: {len(times):,} interactions "
                f"share {moments:,} times, and those of one time stay together; "
                "choose another split, or in Python other shares"
            )
    return Split(
        _kept(everything, in_train),
        everything,
        validation=parts["validation"].nonzero()[:, 0],
        test=in_test.nonzero()[:, 0],
        num_items=dataset.num_items,
        name=name,
    )


def row_of_user(user: int, num_users: int) -> int:
    """Return the row of a user, from 0 to `num_users` − 1; −1 is the last one.

    Raises:
        ValueError: if it is not a whole number.
        IndexError: if there is no such user.
    """
    row = as_row(user, "user")
    if not -num_users <= row < num_users:
        raise IndexError(
            f"user {row} of {num_users} does not exist; expected a row from 0 to {num_users - 1}"
        )
    return row % num_users


def _beginning(numbers: Tensor) -> str:
    """Return the first numbers of a vector, for a message."""
    listed = ", ".join(map(str, numbers[:8].tolist()))
    return f"[{listed}{', …' if len(numbers) > 8 else ''}]"


def _histories(dataset: Dataset) -> Histories:
    """Return all interactions of a dataset, user by user."""
    items = torch.tensor(dataset.interactions["item"].to_numpy())  # (E,)
    return Histories(items, torch.from_numpy(dataset.user_offsets))


def _kept(histories: Histories, keep: Tensor) -> Histories:
    """Return the histories at the positions where keep, (E,) bool, is true. Every user stays."""
    return Histories(histories.items[keep], counted_before(keep)[histories.offsets])
