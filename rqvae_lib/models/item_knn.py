"""Item-kNN: users who had this item also had those. No network should lose to this baseline.

Two items are similar if the same users chose both. Their similarity is the cosine of their columns
in the table of users and items. A user's score for an item is the sum of its similarities to the
last items of the history. Nothing is trained; the table of neighbors is counted once.

Source: Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation
algorithms", WWW 2001; shrinkage as in Bell and Koren, ICDM 2007, §3; that tuned neighbors keep
up with networks: Ferrari Dacrema, Cremonesi and Jannach, RecSys 2019, arXiv 1907.06902.
Derived in: chapter 11.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from rqvae_lib.data.splits import Histories
from rqvae_lib.models.base import check_histories
from rqvae_lib.ops.torch_settings import own_settings


class ItemKNN:
    """The most similar items of each item, and the scores that follow from them.

    Args:
        train: the histories to count in, without held-out interactions.
        num_items: N, the size of the catalogue.
        num_neighbors: the number of similar items to keep per item, at least 1. All others get
            similarity 0.
        shrinkage: a number of users, at least 0, that is added to the denominator. It keeps two
            items with a single user in common from being very similar. 0 is the plain cosine.
        last: the number of latest items of a history that count, at least 1. None: all items.

    Raises:
        ValueError: if a setting is out of range, or the histories name an item outside the
            catalogue.
    """

    @own_settings
    def __init__(
        self,
        train: Histories,
        num_items: int,
        *,
        num_neighbors: int = 100,
        shrinkage: float = 0.0,
        last: int | None = None,
    ) -> None:
        for name, value, least in (
            ("num_neighbors", num_neighbors, 1),
            ("shrinkage", shrinkage, 0),
            ("last", 1 if last is None else last, 1),
        ):
            if not value >= least:
                raise ValueError(f"{name} is {value}; expected at least {least}")
        train.check_items(num_items)
        self.num_items = num_items
        self.last = last
        self.shrinkage = shrinkage
        self.similarity = _similarities(train, num_items, num_neighbors, shrinkage)

    @own_settings
    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Score every item for each user.

        Args:
            histories: B tensors of item rows, int64, in time order. An empty one gives scores of 0.

        Returns:
            shape (B, N), float32.

        Raises:
            ValueError: if a history names an item outside the catalogue.
        """
        check_histories(histories, self.num_items)
        heard = [history[-self.last :] if self.last else history for history in histories]
        offsets = np.cumsum([0, *map(len, heard)])
        items = torch.cat([*heard, torch.empty(0, dtype=torch.int64)]).numpy()
        chosen = sparse.csr_array(
            (np.ones(len(items)), items, offsets), shape=(len(heard), self.num_items)
        )
        return torch.from_numpy((chosen @ self.similarity).toarray()).float()


def _similarities(
    train: Histories, num_items: int, num_neighbors: int, shrinkage: float
) -> sparse.csr_array:
    """Return the similarity of each item, a row, to its neighbors, (N, N), without itself."""
    table = sparse.csr_array(
        (np.ones(len(train.items)), train.items.numpy(), train.offsets.numpy()),
        shape=(len(train), num_items),
        copy=True,  # the next lines sort each row in place, and the histories are the caller's
    )
    table.sum_duplicates()
    table.data[:] = 1  # whether a user had it; how often does not count
    together = (table.T @ table).tocsr()  # (N, N), the number of users who had both
    users_of = together.diagonal()  # (N,)
    together.setdiag(0)
    together.eliminate_zeros()
    together.sort_indices()
    starts, others = together.indptr, together.indices
    users_of_both = np.repeat(users_of, np.diff(starts)) * users_of[others]
    cosine = together.data / (np.sqrt(users_of_both) + shrinkage)
    kept = np.concatenate(
        [
            start + _largest(cosine[start:end], num_neighbors)
            for start, end in pairwise(starts.tolist())
        ]
    )
    sizes = np.minimum(np.diff(starts), num_neighbors)
    offsets = np.concatenate([[0], sizes.cumsum()])
    found = sparse.csr_array((cosine[kept], others[kept], offsets), shape=together.shape)
    found.sort_indices()
    return found


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the positions of the `count` largest values, largest first, ties in order."""
    places = np.arange(len(values))
    if len(values) > count:
        places = places[values >= np.partition(values, -count)[-count]]  # with ties at the end
    return places[np.argsort(-values[places], kind="stable")[:count]]
