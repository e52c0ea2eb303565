"""Nearest neighbors, and how far to trust the neighbors on a flat map.

A map of a catalogue has two dimensions and the vectors have dozens, so the map must place some
items side by side that are far apart. *Trustworthiness* measures the damage: it takes each item's
neighbors on the map and asks how they rank among its true neighbors.

Source: Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN 2001.
Derived in: chapter 07.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_row, as_vectors
from rqvae_lib.ops.rows import check_finite, row_blocks
from rqvae_lib.ops.scale import scale_of
from rqvae_lib.ops.torch_settings import own_settings


class Neighbors(NamedTuple):
    """The k nearest other rows of each row."""

    indices: Tensor  # (N, k) int64, nearest first, never the row itself
    distances: Tensor  # (N, k), ascending; float32, or float64 if x is


@own_settings
@torch.no_grad()
def nearest_neighbors(x: Array, k: int) -> Neighbors:
    """Find the k nearest other rows of each row by Euclidean distance, comparing all pairs.

    The result is exact up to rounding: two rows may swap places if their distances differ by less
    than the dtype can resolve at the spread of the data. A shift of all rows does not matter, nor
    does their unit.

    Args:
        x: shape (N, D), numbers. All but float64 are computed with in float32.
        k: at least 1, below N.

    Returns:
        The indices and the distances of the neighbors, each (N, k).

    Raises:
        ValueError: if x is not a finite matrix, or k does not fit its rows.
    """
    x = as_vectors(x, "x")
    k = _checked_count(k, x)
    indices = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    distances = x.new_empty(len(x), k)
    centered, lengths, scale = _centered(x)
    for rows in row_blocks(len(x)):
        near = _distances(centered, lengths, rows).topk(k, largest=False).indices  # (B, k)
        # The matrix product rounds, so equal rows get a distance above 0: measure again.
        exact = (x[rows, None] - x[near]).div_(scale).norm(dim=2) * scale  # (B, k)
        distances[rows], order = exact.sort(dim=1, stable=True)
        indices[rows] = near.gather(1, order)
    return Neighbors(indices, distances)


@own_settings
@torch.no_grad()
def trustworthiness(x: Array, points: Array, k: int = 15) -> float:
    """Measure how far down the true order of neighbors those on a map stand.

    A neighbor on the map that is not among the true k nearest is an intruder. Its cost is the
    number of ranks between it and the k-th neighbor. The sum is scaled so that the worst map gets
    about 0. Intruders from nearby cost little: a map whose clusters are right, with the items of
    each dealt out at random within it, can be close to 1.

    Args:
        x: the vectors, shape (N, D), as `nearest_neighbors`.
        points: their positions on a map, shape (N, 2) or any other width.
        k: the number of neighbors to look at, at least 1 and below N / 2.

    Returns:
        1 if all k neighbors on the map are among the true k nearest. A random map gets about 0.5.

    Raises:
        ValueError: if x and points differ in their number of rows or are not finite matrices, or if
            k is out of range.
    """
    x, points = as_vectors(x, "x"), as_vectors(points, "points")
    if len(x) != len(points):
        raise ValueError(
            f"x has {len(x)} rows and points has {len(points)}: pass one point per vector"
        )
    k = _checked_count(k, x)
    if 2 * k >= len(x):
        raise ValueError(
            f"k is {k}, but it must be below half of the {len(x)} rows: use a smaller k"
        )
    on_map = nearest_neighbors(points.double(), k).indices  # (N, k)
    centered, lengths, _ = _centered(x)
    behind = 0.0  # ranks behind the k-th neighbor, summed over all intruders
    for rows in row_blocks(len(x), block_rows=256):
        distances = _distances(centered, lengths, rows)  # (B, N)
        kth = distances.topk(k, largest=False).values[:, -1].cpu().numpy()  # (B,), to the k-th
        # Counting the nearer rows is faster than sorting, and NumPy counts faster than torch.
        table = distances.cpu().numpy()
        for place in distances.gather(1, on_map[rows]).T.cpu().numpy():  # (B,)
            intruder = place > kth  # (B,)
            nearer = np.count_nonzero(table[intruder] < place[intruder, None], axis=1)
            behind += float((nearer + 1 - k).sum())
    n = len(x)
    return 1 - 2 * behind / (n * k * (2 * n - 3 * k - 1))


def _centered(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Center x (N, D) on the origin, where `_distances` rounds least, and divide it by its scale.

    Returns:
        The rows, shape (N, D), their squared lengths, (N,), and the scale, ().
    """
    centered = x - x.mean(0)
    scale = scale_of(centered)
    centered.div_(scale)
    return centered, centered.square().sum(1), scale


def _distances(x: Tensor, lengths: Tensor, rows: slice) -> Tensor:
    """Return the squared distances of B rows to all rows, (B, N), up to rounding.

    The distance of a row to itself is set to infinity.

    Args:
        x: shape (N, D).
        lengths: shape (N,), the squared length of each row.
        rows: selects B of the rows.
    """
    squared = lengths[rows, None] - 2 * x[rows] @ x.T + lengths  # (B, N)
    here = torch.arange(len(x), device=x.device)[rows]
    squared[torch.arange(len(here), device=x.device), here] = torch.inf
    return squared


def _checked_count(k: int, x: Tensor) -> int:
    """Return the number of neighbors, or raise ValueError if rows of x have not so many."""
    k = as_row(k, "k")
    if not 1 <= k < len(x):
        raise ValueError(
            f"k is {k}, but each of the {len(x)} rows has {max(len(x) - 1, 0)} neighbors: choose k "
            "from 1 to that number"
        )
    check_finite(x, "x")
    return k
