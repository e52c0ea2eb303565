"""Popularity: the recommender that any other must beat.

It knows nothing about the user: it ranks items by how often they occur in the training histories.
It is the floor of every comparison, and not a low one.

Derived in: chapter 11; seen at work in chapter 00.
"""

from collections.abc import Sequence

from torch import Tensor


class Popularity:
    """The model that recommends to everybody what most people had.

    Args:
        counts: shape (N,), float32, each item's training interactions: `Split.popularity`.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the same scores for each of B users: (B, N), float32."""
        return self.counts.expand(len(histories), -1)
