"""Histories → item vectors: what the users know about an item that its text does not say.

Two items that the same users choose at about the same time are related. How often they meet within
a window of a history, beyond what chance would give, is their pointwise mutual information; where
they meet less often than by chance, there is too little to know, and zero is written. A truncated
singular value decomposition of this matrix gives each item a short vector, and items that keep the
same company get similar ones.

Such vectors belong to the histories that they were made from. Made from interactions that a model
is later tested on, they would tell it the answers: pass a split's `train`.

Source: Levy and Goldberg, "Neural word embedding as implicit matrix factorization", NeurIPS 2014,
§3 and §5; the square root of the singular values: Levy, Goldberg and Dagan, TACL 2015, §3.3;
subspace iteration: Halko, Martinsson and Tropp, SIAM Review 2011, arXiv 0909.4061, §4.5.
Derived in: chapter 02.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from rqvae_lib.data.splits import Histories


def collaborative_vectors(
    histories: Histories, num_items: int, *, dim: int = 64, window: int = 10
) -> Tensor:
    """Give each item a vector that is close to those of items which keep the same company.

    Args:
        histories: the interactions of one split that may be learned from.
        num_items: N, items of the catalogue.
        dim: numbers per vector, below N.
        window: two items of one history meet if they stand at most this many places apart.

    Returns:
        shape (N, dim), float32. An item that meets no other beyond chance gets zeros. The same
        histories give the same vectors.

    Raises:
        ValueError: if dim or window is out of range, or there is an item outside the catalogue.
    """
    if not 1 <= dim < num_items:
        raise ValueError(f"dim is {dim}; for {num_items} items it must be 1 to {num_items - 1}")
    if window < 1:
        raise ValueError(f"window is {window}; it must be at least 1")
    histories.check_items(num_items)
    information = positive_pmi(cooccurrences(histories, num_items, window))
    left, values = leading_singular_vectors(information, dim)
    vectors = left * np.sqrt(values)
    vectors[np.diff(information.indptr) == 0] = 0  # no rounding where nothing is known
    return torch.from_numpy(vectors).float()


def cooccurrences(histories: Histories, num_items: int, window: int) -> sparse.csr_array:
    """Count how often two items stand within a window of each other in a history.

    Args:
        histories: E interactions in all.
        num_items: N.
        window: the largest distance that counts, in places.

    Returns:
        Symmetric counts, shape (N, N), float64. An item does not meet itself.
    """
    items = histories.items.numpy()  # (E,)
    user = np.repeat(np.arange(len(histories)), histories.offsets.diff().numpy())  # (E,)
    counts = sparse.csr_array((num_items, num_items), dtype=np.float64)
    for distance in range(1, window + 1):
        same = (user[:-distance] == user[distance:]) & (items[:-distance] != items[distance:])
        first, second = items[:-distance][same], items[distance:][same]
        pairs = sparse.coo_array((np.ones(len(first)), (first, second)), shape=counts.shape).tocsr()
        counts = counts + pairs + pairs.T
    return counts


def positive_pmi(counts: sparse.csr_array) -> sparse.csr_array:
    """Return max(0, log p(i, j) / (p(i) p(j))) of symmetric counts (N, N), where they are not 0."""
    entries = counts.tocoo()
    total = entries.data.sum()
    of_item = np.asarray(counts.sum(1)).ravel()  # (N,)
    information = np.log(entries.data * total / (of_item[entries.row] * of_item[entries.col]))
    kept = information > 0
    return sparse.csr_array(
        (information[kept], (entries.row[kept], entries.col[kept])), shape=counts.shape
    )


def leading_singular_vectors(
    matrix: sparse.csr_array, num: int, *, num_iterations: int = 20, spare: int = 32
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the left singular vectors of a symmetric matrix with the largest singular values.

    Subspace iteration: a random basis is multiplied by the matrix, made orthonormal, and again.
    Each round enlarges what belongs to large singular values. It starts from a fixed seed, so it
    has one result; the libraries' Lanczos solvers draw again where singular values coincide.

    Args:
        matrix: symmetric, shape (N, N).
        num: how many vectors, below N.
        num_iterations: rounds.
        spare: vectors more in the basis, which make the last of the wanted ones exact sooner.

    Returns:
        Vectors, shape (N, num), the largest number of each positive, and values, (num,), falling.
        Values that are zero but for rounding are zero.
    """
    size = min(num + spare, matrix.shape[0])
    basis = np.random.default_rng(0).standard_normal((matrix.shape[0], size))
    for _ in range(num_iterations):
        basis, _ = np.linalg.qr(matrix @ basis)
    # The matrix within the basis is small. Being symmetric, its singular values are the sizes of
    # its eigenvalues.
    eigenvalues, within = np.linalg.eigh(basis.T @ (matrix @ basis))
    order = np.argsort(-np.abs(eigenvalues), kind="stable")[:num]
    values, vectors = np.abs(eigenvalues[order]), basis @ within[:, order]
    values[values < 1e-9 * max(values[0], 1)] = 0
    largest = vectors[np.abs(vectors).argmax(0), np.arange(num)]
    return vectors * np.where(largest < 0, -1.0, 1.0), values
