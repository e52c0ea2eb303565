"""Recommenders that any new one must beat.

Popularity knows nothing about the user: it ranks items by how often they occur in the training
histories. It is the floor of every comparison, and not a low one.

Derived in: chapter 11; seen at work in chapter 00.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rqvae_lib.splits import Histories


def popularity_scores(train: Histories, num_items: int) -> Tensor:
    """Count each item's training interactions.

    Args:
        train: the training histories, without anything held out.
        num_items: N, the size of the catalogue.

    Returns:
        shape (N,), float32; the same scores serve every user.

    Raises:
        ValueError: if the histories name an item outside the catalogue.
    """
    train.check_items(num_items)
    return torch.bincount(train.items, minlength=num_items).float()


class Popularity:
    """The model that recommends to everybody what most people had.

    Args:
        train, num_items: as `popularity_scores`.
    """

    def __init__(self, train: Histories, num_items: int) -> None:
        self.counts = popularity_scores(train, num_items)  # (N,)

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the same scores for each of B users: (B, N), float32."""
        return self.counts.expand(len(histories), -1)
