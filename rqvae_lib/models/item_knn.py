"""Item-kNN: users who had this item also had those. No network should lose to this baseline.

Two items are similar if the same users chose both. Their similarity is the cosine of their columns
in the table of users and items. A user's score for an item is the sum of its similarities to the
last items of the history. Nothing is trained; the table of neighbors is counted once.

Most pairs of items have users in common in a large catalogue, so the counts of all pairs would not
fit in memory. They are counted for some items at a time, and only the nearest neighbors are kept.

Source: Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation
algorithms", WWW 2001; shrinkage as in Bell and Koren, ICDM 2007, §3; that tuned neighbors keep
up with networks: Ferrari Dacrema, Cremonesi and Jannach, RecSys 2019, arXiv 1907.06902.
Derived in: chapter 11.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import index

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_flat_histories
from rqvae_lib.data.splits import Histories
from rqvae_lib.models.item_similarities import check_counting, summed_similarities
from rqvae_lib.ops.arrays import as_count
from rqvae_lib.ops.torch_settings import own_settings

PAIRS_AT_A_TIME = 2**22  # pairs of items that are counted at a time: about 200 MB


class ItemKNN:
    """The most similar items of each item, and the scores that follow from them.

    The table of neighbors takes 12 bytes per item and neighbor, and twice as much while it is
    counted. Then each interaction takes up to 24 bytes, too, and the pairs of items that are
    counted at a time 200 MB.

    Args:
        train: the histories to count in, without held-out interactions.
        num_items: N, the size of the catalogue.
        num_neighbors: the number of similar items to keep per item, at least 1. All others get
            similarity 0. Among equally similar items, those of lower rows are kept.
        shrinkage: a number of users, at least 0, that is added to the denominator. It keeps two
            items with a single user in common from being very similar. 0 is the plain cosine.
        last: the number of latest items of a history that count, at least 1. None: all items.

    Attributes:
        similarity: (N, N) sparse float64, the similarity of each item, a row, to its neighbors.

    Raises:
        ValueError: if a setting is out of range, or the histories name an item outside the
            catalogue.
    """

    @own_settings
    def __init__(
        self,
        train: HistoryLists,
        num_items: int,
        *,
        num_neighbors: int = 100,
        shrinkage: float = 0.0,
        last: int | None = None,
    ) -> None:
        train = as_flat_histories(train, "train")
        check_counting(train, num_items, last, (shrinkage,))
        as_count(num_neighbors, "num_neighbors")
        (similarity,) = _similarities(train, num_items, index(num_neighbors), (shrinkage,))
        self._set(similarity, shrinkage, last)

    @classmethod
    def of_shrinkages(
        cls,
        train: HistoryLists,
        num_items: int,
        shrinkages: Sequence[float],
        *,
        num_neighbors: int = 100,
        last: int | None = None,
    ) -> list["ItemKNN"]:
        """Return a model for each shrinkage. The pairs of items are counted once for all of them.

        Args:
            train, num_items, num_neighbors, last: as for the class.
            shrinkages: one per model.

        Raises:
            ValueError: as for the class.
        """
        train = as_flat_histories(train, "train")
        check_counting(train, num_items, last, shrinkages)
        as_count(num_neighbors, "num_neighbors")
        models = []
        tables = _similarities(train, num_items, index(num_neighbors), shrinkages)
        for shrinkage, similarity in zip(shrinkages, tables, strict=True):
            model = cls.__new__(cls)
            model._set(similarity, shrinkage, last)
            models.append(model)
        return models

    def _set(self, similarity: sparse.csr_array, shrinkage: float, last: int | None) -> None:
        self.num_items = similarity.shape[0]
        self.last = None if last is None else index(last)  # of NumPy, −uint8(3) would be 253
        self.shrinkage = shrinkage
        self.similarity = similarity

    @own_settings
    def scores(self, histories: HistoryLists) -> Tensor:
        """Score every item for each user.

        Args:
            histories: B lists of item rows, as `recommend`. An empty one gives scores of 0.

        Returns:
            shape (B, N), float32.

        Raises:
            ValueError: if a history names an item outside the catalogue.
        """
        return summed_similarities(self.similarity, histories, self.last)


def _similarities(
    train: Histories, num_items: int, num_neighbors: int, shrinkages: Sequence[float]
) -> list[sparse.csr_array]:
    """Return the similarity of each item, a row, to its neighbors, without itself.

    Returns:
        (N, N) float64 for each shrinkage.
    """
    table = sparse.csr_array(
        (np.ones(len(train.items), np.int32), train.items.numpy(), train.offsets.numpy()),
        shape=(len(train), num_items),
        copy=True,  # the next line sorts each row in place, and the histories are the caller's
    )
    table.sum_duplicates()
    table.data[:] = 1  # whether a user had it; how often does not count
    of_items = table.T.tocsr()  # (N, U)
    users_of = np.diff(of_items.indptr).astype(np.float64)  # (N,)
    found: list[list[tuple[NDArray[np.int32], NDArray[np.float64]]]] = [[] for _ in shrinkages]
    for first, end in _blocks(of_items, table):
        together = of_items[first:end] @ table  # (B, N), the number of users who had both
        others = together.indices
        users_of_both = np.repeat(users_of[first:end], np.diff(together.indptr)) * users_of[others]
        for neighbors, shrinkage in zip(found, shrinkages, strict=True):
            cosine = together.data / (np.sqrt(users_of_both) + shrinkage)
            for item, (start, stop) in enumerate(pairwise(together.indptr.tolist()), first):
                neighbors.append(
                    _nearest(item, others[start:stop], cosine[start:stop], num_neighbors)
                )
    return [_table_of(neighbors) for neighbors in found]


def _blocks(of_items: sparse.csr_array, table: sparse.csr_array) -> Iterator[tuple[int, int]]:
    """Cut the items into blocks of at most `PAIRS_AT_A_TIME` pairs, or of a single item.

    Args:
        of_items: (N, U), the users of each item.
        table: (U, N), the items of each user.

    Yields:
        The first item of a block, and the first one after it.
    """
    num_items = len(of_items.indptr) - 1
    met = of_items @ np.diff(table.indptr).astype(np.float64)  # (N,), by its users, with repeats
    before = np.concatenate([[0], np.minimum(met, num_items).cumsum()])  # (N + 1,), pairs at most
    first = 0
    while first < num_items:
        last = int(np.searchsorted(before, before[first] + PAIRS_AT_A_TIME, side="right")) - 1
        end = max(last, first + 1)
        yield first, end
        first = end


def _nearest(
    item: int, others: NDArray[np.int32], cosine: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the `count` most similar others of an item, in the order of their rows.

    Args:
        item: its row, which is among the others if anybody had the item.
        others: (n,), rows of items, in any order.
        cosine: (n,), their similarities.
        count: how many to keep; at a tie, those of lower rows.
    """
    kept = others != item
    if len(others) - 1 > count:
        # Without the item itself, which would be the first of count + 1 places.
        least = np.partition(np.where(kept, cosine, 0.0), -count)[-count]
        ties = np.flatnonzero(kept & (cosine == least))
        kept &= cosine > least
        free = count - np.count_nonzero(kept)
        kept[ties[np.argsort(others[ties])[:free]]] = True
    others, cosine = others[kept], cosine[kept]
    order = np.argsort(others)
    return others[order], cosine[order]


def _table_of(
    neighbors: list[tuple[NDArray[np.int32], NDArray[np.float64]]],
) -> sparse.csr_array:
    """Return the neighbors of N items as a table, (N, N), and empty the list to save memory."""
    num_items = len(neighbors)
    offsets = np.cumsum([0, *(len(others) for others, _ in neighbors)])
    indices = np.concatenate([np.empty(0, np.int32), *(others for others, _ in neighbors)])
    cosines = np.concatenate([np.empty(0), *(cosine for _, cosine in neighbors)])
    neighbors.clear()
    return sparse.csr_array((cosines, indices, offsets), shape=(num_items, num_items))
