"""Near pairs: items that the same users chose close together.

Item-kNN asks whether the same users chose two items, and does not ask when. Here a pair counts only
if the two stand close together in a history: 1 / d at distance d, up to a window. What people do in
one evening weighs more than what they do in ten years. The counts of all users are divided by how
often the two items were chosen, and a user's score for an item is the sum over the last items of
the history. Nothing is trained.

Source: counts of items in one session, weighted by their distance, as in Ludewig and Jannach,
"Evaluation of session-based recommendation algorithms", UMUAI 28, 2018, arXiv 1803.09587
("sequential rules"); here both items of a pair count for each other.
Derived in: chapter 11.
"""

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

PAIRS_AT_A_TIME = 2**22  # pairs that are counted at a time: about 200 MB


class NearPairs:
    """Items that were chosen close together in time score high; all others score 0.

    The table takes 12 bytes per pair of items that ever stood close together, at most
    24 × `window` bytes per interaction.

    Args:
        train: the histories to count in, without held-out interactions.
        num_items: N, the size of the catalogue.
        window: the largest distance of a pair, at least 1. Neighbors in a history are 1 apart.
        both_ways: whether a pair counts for both of its items. If not, it counts only for the
            item that came later, as for a model that learns to name the next item.
        shrinkage: a number of interactions, at least 0, that is added to those of each item. It
            keeps pairs of rare items from being very similar.
        last: the number of latest items of a history that count, at least 1. None: all items.

    Attributes:
        similarity: (N, N) sparse float64, the similarity of each item, a row, to the others.

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
        window: int = 5,
        both_ways: bool = True,
        shrinkage: float = 20.0,
        last: int | None = None,
    ) -> None:
        train = as_flat_histories(train, "train")
        check_counting(train, num_items, last, (shrinkage,))
        self.window = as_count(window, "window")
        self.last = None if last is None else index(last)
        self.both_ways = both_ways
        self.shrinkage = shrinkage
        self.num_items = num_items = index(num_items)
        chosen = np.bincount(train.items.numpy(), minlength=num_items)  # (N,)
        shrunk = np.sqrt(chosen + shrinkage)
        together = _together(train, num_items, self.window, both_ways)
        rows = np.repeat(np.arange(num_items), np.diff(together.indptr))
        together.data /= shrunk[rows] * shrunk[together.indices]  # an item of a pair was chosen
        self.similarity = together

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


def _together(train: Histories, num_items: int, window: int, both_ways: bool) -> sparse.csr_array:
    """Return how often each item stood near each other one, (N, N) float64, weighted by distance.

    Pairs are counted for some items at a time, so that their list does not fill the memory.
    """
    items = train.items.numpy()
    user = np.repeat(np.arange(len(train)), np.diff(train.offsets.numpy()))  # of each place
    by_item = np.argsort(items, kind="stable")  # places, those of one item together
    first_of = np.concatenate([[0], np.bincount(items, minlength=num_items).cumsum()])  # (N + 1,)
    longest = int(np.diff(train.offsets.numpy()).max(initial=0))
    window = min(window, max(longest - 1, 1))  # no pair is further apart
    steps = [step for d in range(1, window + 1) for step in ((d, -d) if both_ways else (d,))]
    blocks, first = [], 0
    while first < num_items:
        most = first_of[first] + PAIRS_AT_A_TIME // len(steps)
        end = max(int(np.searchsorted(first_of, most, side="right")) - 1, first + 1)
        places = by_item[first_of[first] : first_of[end]]
        blocks.append(_block(items, user, places, steps, (first, end, num_items)))
        first = end
    return sparse.csr_array(sparse.vstack(blocks)) if blocks else sparse.csr_array((0, 0))


def _block(
    items: NDArray[np.int64],
    user: NDArray[np.int64],
    places: NDArray[np.int64],
    steps: list[int],
    shape: tuple[int, int, int],
) -> sparse.csr_array:
    """Count the pairs of the items first to end − 1 of N.

    Args:
        items: (I,), of all histories.
        user: (I,), whose item each is.
        places: (P,), where the items of the block stand.
        steps: how far to look: +2 is the second item after.
        shape: first, end and N.

    Returns:
        (end − first, N) float64.
    """
    first, end, num_items = shape
    ones, others, weights = [], [], []
    for step in steps:
        there = places + step
        inside = (there >= 0) & (there < len(items))
        here, there = places[inside], there[inside]
        same = user[here] == user[there]
        ones.append(items[here[same]] - first)
        others.append(items[there[same]])
        weights.append(np.full(int(same.sum()), 1 / abs(step)))
    pairs = (np.concatenate(weights), (np.concatenate(ones), np.concatenate(others)))
    return sparse.coo_array(pairs, shape=(end - first, num_items)).tocsr()
