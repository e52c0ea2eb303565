"""Histories → item vectors: what users' choices say about an item that its text does not.

Two items that the same users choose at about the same time are related. Pointwise mutual
information measures how much more often than by chance they occur together within a window of a
history. Pairs that occur together less often than by chance say too little, so they get zero. A
truncated singular value decomposition of this matrix gives each item a short vector. Items that
occur with the same other items get similar vectors.

Do not make such vectors from interactions that a model is later tested on, because they would leak
the answers: pass a split's `train`.

Source: Levy and Goldberg, "Neural word embedding as implicit matrix factorization", NeurIPS 2014,
§3 and §5; the square root of the singular values: Levy, Goldberg and Dagan, TACL 2015, §3.3;
subspace iteration: Halko, Martinsson and Tropp, SIAM Review 2011, arXiv 0909.4061, §4.5.
Derived in: chapter 02.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_flat_histories
from rqvae_lib.data.splits import Histories
from rqvae_lib.ops.arrays import as_count, as_row
from rqvae_lib.ops.torch_settings import own_settings

if TYPE_CHECKING:  # its import takes as long as a recommendation, which does not need it
    from scipy import sparse


@own_settings
def collaborative_vectors(
    histories: HistoryLists, num_items: int, *, dim: int = 64, window: int = 10
) -> Tensor:
    """Give similar vectors to items that occur with the same other items.

    The result is deterministic: the same histories give the same vectors.

    Args:
        histories: the training histories of a split; or lists of item rows.
        num_items: N, the size of the catalogue.
        dim: numbers per vector, from 1 to N − 1.
        window: two items of a history occur together if they are at most this many places apart;
            at least 1.

    Returns:
        shape (N, dim), float32. An item that occurs with no other item more often than by chance
        gets zeros.

    Raises:
        ValueError: if dim or window is out of range, or an item is outside the catalogue.
    """
    num_items, dim = as_row(num_items, "num_items"), as_row(dim, "dim")
    if not 1 <= dim < num_items:
        raise ValueError(f"dim is {dim}; for {num_items} items it must be 1 to {num_items - 1}")
    window = as_count(window, "window")
    histories = as_flat_histories(histories)
    histories.check_items(num_items)
    information = positive_pmi(cooccurrences(histories, num_items, window))
    left, values = leading_singular_vectors(information, dim)
    vectors = left * np.sqrt(values)
    vectors[np.diff(information.indptr) == 0] = 0  # exactly 0, without rounding errors
    return torch.from_numpy(vectors).float()


def cooccurrences(histories: Histories, num_items: int, window: int) -> "sparse.csr_array":
    """Count how often two items occur within a window of each other in a history.

    Args:
        histories: E interactions in total.
        num_items: N, the size of the catalogue.
        window: the largest distance that counts, in places.

    Returns:
        Symmetric counts, shape (N, N), float64, with a zero diagonal.
    """
    from scipy import sparse

    items = histories.items.numpy()  # (E,)
    user = np.repeat(np.arange(len(histories)), histories.offsets.diff().numpy())  # (E,)
    counts = sparse.csr_array((num_items, num_items), dtype=np.float64)
    for distance in range(1, window + 1):
        same = (user[:-distance] == user[distance:]) & (items[:-distance] != items[distance:])
        first, second = items[:-distance][same], items[distance:][same]
        pairs = sparse.coo_array((np.ones(len(first)), (first, second)), shape=counts.shape).tocsr()
        counts = counts + pairs + pairs.T
    return counts


def positive_pmi(counts: "sparse.csr_array") -> "sparse.csr_array":
    """Return the positive pointwise mutual information, max(0, log(p(i, j) / (p(i) p(j)))).

    Args:
        counts: symmetric, shape (N, N), float64.

    Returns:
        A sparse array, shape (N, N), float64. A pair with a count of 0 gets 0.
    """
    from scipy import sparse

    entries = counts.tocoo()
    total = entries.data.sum()
    of_item = np.asarray(counts.sum(1)).ravel()  # (N,)
    information = np.log(entries.data * total / (of_item[entries.row] * of_item[entries.col]))
    kept = information > 1e-12  # nats; by chance alone, rounding leaves it a little above 0
    return sparse.csr_array(
        (information[kept], (entries.row[kept], entries.col[kept])), shape=counts.shape
    )


def leading_singular_vectors(
    matrix: "sparse.csr_array", num: int, *, num_iterations: int = 20, spare: int = 32
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the left singular vectors of a symmetric matrix with the largest singular values.

    This is subspace iteration: a random basis is multiplied by the matrix and made orthonormal,
    again and again. Each round strengthens the directions with large singular values. The basis
    starts from a fixed seed, so the result is reproducible. The Lanczos solvers of libraries draw
    random numbers again when singular values coincide.

    Args:
        matrix: symmetric, shape (N, N).
        num: the number of vectors, below N.
        num_iterations: the number of rounds.
        spare: extra vectors in the basis, which make the last requested vectors converge faster.

    Returns:
        The vectors, shape (N, num), each with a sign that makes its largest number positive, and
        the values, (num,), in descending order. Values that are zero up to rounding are set to 0.
    """
    size = min(num + spare, matrix.shape[0])
    basis = np.random.default_rng(0).standard_normal((matrix.shape[0], size))
    for _ in range(num_iterations):
        basis, _ = np.linalg.qr(matrix @ basis)
    # The matrix within the basis is small. It is symmetric, so its singular values are the absolute
    # values of its eigenvalues.
    eigenvalues, within = np.linalg.eigh(basis.T @ (matrix @ basis))
    order = np.argsort(-np.abs(eigenvalues), kind="stable")[:num]
    values, vectors = np.abs(eigenvalues[order]), basis @ within[:, order]
    values[values < 1e-9 * values[0]] = 0
    largest = vectors[np.abs(vectors).argmax(0), np.arange(num)]
    return vectors * np.where(largest < 0, -1.0, 1.0), values
