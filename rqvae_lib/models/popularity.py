"""Popularity: the baseline that every recommender must beat.

It knows nothing about the user and ranks items by how often they occur in the training histories.
It is the floor of every comparison, and the floor is not low.

Derived in: chapter 11; seen at work in chapter 00.
"""

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.ops.arrays import Array
from rqvae_lib.ops.torch_settings import own_settings


class Popularity:
    """A model that recommends the same popular items to every user.

    Args:
        counts: shape (N,), numbers, the number of training interactions of each item, as
            `Split.popularity`.

    Raises:
        ValueError: if there is not one number per item.
    """

    @own_settings
    def __init__(self, counts: Array) -> None:
        if not isinstance(counts, Tensor):
            counts = torch.from_numpy(np.array(counts, dtype=np.float32))
        if counts.ndim != 1:
            raise ValueError(
                f"counts have shape {tuple(counts.shape)}; expected one number per item, such as "
                "split.popularity"
            )
        self.counts = counts.detach().clone()  # the caller may go on counting in theirs

    @own_settings
    def scores(self, histories: HistoryLists) -> Tensor:
        """Return the same scores for each of B users: (B, N), of the type of the counts.

        Args:
            histories: B lists of item rows, as `recommend`. They are only counted.

        Raises:
            ValueError: if it is one history instead of a list of them.
        """
        # A table of its own: written into a view, one user's −∞ would be that of all, for good.
        return self.counts.repeat(len(as_histories(histories)), 1)
