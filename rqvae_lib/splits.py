"""Which interactions a model may learn from, and which it must predict.

All histories stand one after another in a single flat array, and a *target* is a position in it:
the item there is to be predicted, from all that the same user did before. Training keeps the part
of each history before its first held-out position, so no split can leak a held-out item by accident
of bookkeeping.

Source: leave-one-out as in Kang and McAuley, SASRec, arXiv 1808.09781, §IV.
Derived in: chapter 01; seen at work in chapter 00.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.datasets import Dataset


@dataclass(frozen=True)
class Histories:
    items: Tensor  # (E,) int64, the items of user 0 in time order, then those of user 1, …
    offsets: Tensor  # (U + 1,) int64, user u owns items[offsets[u] : offsets[u + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, user: int) -> Tensor:
        """Return one user's items in time order."""
        if not -len(self) <= user < len(self):
            raise IndexError(f"user {user} of {len(self)}")
        start, end = self.offsets[user % len(self)], self.offsets[user % len(self) + 1]
        return self.items[start:end]

    def before(self, position: int) -> Tensor:
        """Return what the user did before a position: the history, if it is a target."""
        user = int(torch.searchsorted(self.offsets, position, right=True)) - 1
        return self.items[self.offsets[user] : position]


@dataclass(frozen=True)
class Split:
    train: Histories  # what a model may learn from, one history a user, some perhaps empty
    everything: Histories  # the full histories, which held-out positions point into
    validation: Tensor  # (M,) int64 positions in `everything`, for choosing a model
    test: Tensor  # (M,) int64 positions in `everything`, for reporting

    def histories_and_targets(self, positions: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the history before each held-out position, and the items there, (M,) int64."""
        histories = [self.everything.before(int(position)) for position in positions]
        return histories, self.everything.items[positions]


def leave_one_out(dataset: Dataset) -> Split:
    """Hold out each user's last item for testing and the one before it for validation.

    Users with fewer than three interactions stay in training and are not tested. Interactions of
    one user at the same second keep their order in the source file.

    Args:
        dataset: its interactions are sorted by user, then time.

    Returns:
        The split; user u is row u of `dataset.user_ids`.
    """
    items = torch.tensor(dataset.interactions["item"].to_numpy())  # (E,)
    _, counts = np.unique(dataset.interactions["user_id"].to_numpy(), return_counts=True)
    lengths = torch.from_numpy(counts)  # (U,)
    everything = Histories(items, _offsets(lengths))
    held_out = torch.where(lengths >= 3, 2, 0)  # (U,)
    ends = everything.offsets[1:]
    user_of = torch.repeat_interleave(torch.arange(len(lengths)), lengths)  # (E,)
    in_train = torch.arange(len(items)) < (ends - held_out)[user_of]
    train = Histories(items[in_train], _offsets(lengths - held_out))
    tested_ends = ends[held_out > 0]
    return Split(train, everything, validation=tested_ends - 2, test=tested_ends - 1)


def _offsets(lengths: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
