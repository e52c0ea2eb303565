"""Recommenders that any new one must beat.

Popularity knows nothing about the user: it ranks items by how often they occur in the training
histories. It is the floor of every comparison, and not a low one.

Derived in: chapter 11; seen at work in chapter 00.
"""

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
    """
    return torch.bincount(train.items, minlength=num_items).float()
