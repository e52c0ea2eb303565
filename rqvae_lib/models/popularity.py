"""Popularity: the baseline that every recommender must beat.

It knows nothing about the user and ranks items by how often they occur in the training histories.
It is the floor of every comparison, and the floor is not low.

Derived in: chapter 11; seen at work in chapter 00.
"""

from collections.abc import Sequence

from torch import Tensor


class Popularity:
    """A model that recommends the same popular items to every user.

    Args:
        counts: shape (N,), float32, the number of training interactions of each item, as
            `Split.popularity`.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the same scores for each of B users: (B, N), float32.

        Args:
            histories: B tensors of item rows. They are not read.
        """
        return self.counts.expand(len(histories), -1)
