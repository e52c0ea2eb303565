"""Which items are near which, and how far a flat map can be believed about it.

A map of a catalogue has two dimensions where the vectors have dozens, so it must put some items
side by side that are far apart. *Trustworthiness* measures how bad that is: it looks at each item's
neighbors on the map and asks how high they rank among its neighbors in truth.

Source: Venna and Kaski, "Neighborhood preservation in nonlinear projection methods", ICANN 2001.
Derived in: chapter 07.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.ops.rows import check_finite, row_blocks


class Neighbors(NamedTuple):
    indices: Tensor  # (N, k) int64, nearest first, never the row itself
    distances: Tensor  # (N, k), the dtype of x, ascending


@torch.no_grad()
def nearest_neighbors(x: Tensor, k: int) -> Neighbors:
    """Find the k nearest other rows of each row by Euclidean distance, comparing it with all.

    Exact but for rounding: two rows may change places if their distances differ by less than what
    the dtype can tell at the width of the data. Where the data stand does not matter.

    Args:
        x: shape (N, D), float32 or float64.
        k: at least 1, below N.

    Raises:
        ValueError: if x is not a finite matrix, or k does not fit its rows.
    """
    _check(x, "x", k)
    indices = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    distances = x.new_empty(len(x), k)
    centred, lengths = _centred(x)
    for rows in row_blocks(len(x)):
        near = _distances(centred, lengths, rows).topk(k, largest=False).indices  # (B, k)
        # The matrix product rounds, so that equal rows are not quite at distance 0: measure again.
        exact = (x[rows, None] - x[near]).norm(dim=2)  # (B, k)
        distances[rows], order = exact.sort(dim=1, stable=True)
        indices[rows] = near.gather(1, order)
    return Neighbors(indices, distances)


@torch.no_grad()
def trustworthiness(x: Tensor, points: Tensor, k: int = 15) -> float:
    """Measure how far the neighbors on a map are neighbors in truth.

    A neighbor on the map that is not among the k nearest in truth is an intruder, and costs as
    many ranks as it stands behind the k-th. The sum is scaled so that the worst map gets about 0.

    Args:
        x: the vectors, shape (N, D).
        points: their places on a map, shape (N, 2) or any other width.
        k: how many neighbors to look at, at least 1 and below N / 2.

    Returns:
        1 if all k neighbors on the map are among the k nearest in truth. A map that was drawn
        blindly gets about 0.5.

    Raises:
        ValueError: if the rows of x and points do not fit, are not finite, or k is too large.
    """
    if len(x) != len(points):
        raise ValueError(
            f"x has {len(x)} rows and points has {len(points)}: pass one point for each vector"
        )
    _check(x, "x", k)
    if 2 * k >= len(x):
        raise ValueError(f"k is {k}, but of {len(x)} rows it must be below half: use a smaller k")
    on_map = nearest_neighbors(points.double(), k).indices  # (N, k)
    centred, lengths = _centred(x)
    behind = 0.0  # ranks behind the k-th, summed over all intruders
    for rows in row_blocks(len(x), block_rows=256):
        distances = _distances(centred, lengths, rows)  # (B, N)
        kth = distances.topk(k, largest=False).values[:, -1].cpu().numpy()  # (B,), of the k-th
        # Counting what is nearer is faster than sorting, and NumPy counts faster than torch.
        table = distances.cpu().numpy()
        for place in distances.gather(1, on_map[rows]).T.cpu().numpy():  # (B,)
            intruder = place > kth  # (B,)
            nearer = np.count_nonzero(table[intruder] < place[intruder, None], axis=1)
            behind += float((nearer + 1 - k).sum())
    n = len(x)
    return 1 - 2 * behind / (n * k * (2 * n - 3 * k - 1))


def _centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Move x (N, D) to the origin, where `_distances` rounds least.

    Returns:
        shape (N, D), and the squared length of each of its rows, (N,).
    """
    centred = x - x.mean(0)
    return centred, centred.square().sum(1)


def _distances(x: Tensor, lengths: Tensor, rows: slice) -> Tensor:
    """Return squared distances of some rows to all, (B, N) up to rounding; to itself, infinite.

    Args:
        x: shape (N, D).
        lengths: shape (N,), the squared length of each row.
        rows: B of the rows.
    """
    squared = lengths[rows, None] - 2 * x[rows] @ x.T + lengths  # (B, N)
    here = torch.arange(len(x), device=x.device)[rows]
    squared[torch.arange(len(here), device=x.device), here] = torch.inf
    return squared


def _check(x: Tensor, name: str, k: int) -> None:
    if x.ndim != 2 or not x.is_floating_point():
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} and type {x.dtype}; expected a matrix of floating "
            "point numbers, one row per item"
        )
    if not 1 <= k < len(x):
        raise ValueError(
            f"k is {k}, but each of {len(x)} rows has {max(len(x) - 1, 0)} neighbors: choose k "
            "from 1 to that number"
        )
    check_finite(x, name)
