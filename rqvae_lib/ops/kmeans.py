"""k-means: the codewords that a set of vectors would choose for itself.

A codebook that starts as random vectors stands where no item lives: even where items use all of its
codewords, these say next to nothing about them. Starting it at the centroids of the data makes
every codeword useful on the first step, so the RQ-VAE's codebooks are initialized with k-means.

Two ideas do all the work here. ‖x − c‖² = ‖x‖² − 2 x·c + ‖c‖², and ‖x‖² is the same for every
centroid, so the nearest one is found with one matrix product. And a block of a thousand rows keeps
that product in the processor's cache, which is faster than all rows at once.

Source: Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 1982; Arthur and
Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007; its use for codebooks:
Zeghidour et al., "SoundStream", arXiv 2107.03312, §III-C.
Derived in: chapter 03; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.rows import check_finite, row_blocks


class KMeansResult(NamedTuple):
    centroids: Tensor  # (K, D), the dtype of x
    codes: Tensor  # (N,) int64, the nearest of these centroids for each row
    inertia: float  # sum over rows of the squared distance to the nearest centroid


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Find the nearest centroid of each row, by L2 distance.

    Args:
        x: vectors, shape (N, D), float32 or float64.
        centroids: shape (K, D), same dtype and device.

    Returns:
        codes, shape (N,), int64. Ties go to the lower code.
    """
    half_norms = centroids.square().sum(1) / 2  # (K,)
    codes = x.new_empty(len(x), dtype=torch.int64)
    for rows in row_blocks(len(x)):
        scores = torch.addmm(half_norms, x[rows], centroids.T, alpha=-1)  # (block, K)
        codes[rows] = _argmin(scores)
    return codes


def _argmin(scores: Tensor) -> Tensor:
    """Return where each row of (N, K) is lowest, first place at a tie: (N,) int64."""
    if scores.device.type == "cpu":  # eight times faster than torch's, which is not vectorised
        return torch.from_numpy(scores.detach().numpy().argmin(1))
    return scores.argmin(1)


def kmeans(
    x: Tensor,
    num_clusters: int,
    *,
    generator: torch.Generator | None = None,
    num_iterations: int = 10,
    num_candidates: int = 1,
    initial_centroids: Tensor | None = None,
) -> KMeansResult:
    """Run Lloyd's algorithm from a k-means++ start.

    In each step, a cluster that no row chose is moved onto the row that is farthest from its
    own centroid, where it is of most use.

    Args:
        x: vectors, shape (N, D), floating point, finite.
        num_clusters: K, at most N.
        generator: draws the k-means++ start; lives on the device of x. Same state, same result. Not
            needed with `initial_centroids`, since nothing else is drawn.
        num_iterations: Lloyd steps, at least 0. Ten are enough for a start that training will move.
        num_candidates: of the k-means++ start, as there.
        initial_centroids: shape (K, D), the dtype of x, finite; given, they replace the k-means++
            start.

    Returns:
        centroids, codes and inertia; the codes belong to the returned centroids.

    Raises:
        ValueError: if x is not a finite (N, D) matrix of floating point numbers, or has fewer rows
            than clusters; if num_iterations or num_candidates is too low; without a generator or
            initial centroids, or for ones of another shape or dtype, or not finite.
    """
    _check(x, num_clusters)
    if num_iterations < 0:
        raise ValueError(f"num_iterations is {num_iterations}; it must be at least 0")
    if initial_centroids is not None:
        _check_start(initial_centroids, x, num_clusters)
    if initial_centroids is None and generator is None:
        raise ValueError(
            "k-means has neither a generator, to draw its start, nor initial_centroids: pass one"
        )
    center = x.mean(0)  # (D,); near the origin, products of floats lose the least
    x = x - center
    if initial_centroids is not None:
        centroids = initial_centroids - center
    else:
        assert generator is not None
        centroids = kmeans_plus_plus(
            x, num_clusters, generator=generator, num_candidates=num_candidates
        )
    for _ in range(num_iterations):
        codes = nearest(x, centroids)
        counts = torch.bincount(codes, minlength=num_clusters)  # (K,)
        sums = torch.zeros_like(centroids).index_add_(0, codes, x)  # (K, D)
        means = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            distances = _squared_distances(x, centroids, codes)
            means[empty] = x[distances.topk(len(empty)).indices]
        centroids = means
    codes = nearest(x, centroids)
    inertia = _squared_distances(x, centroids, codes).sum(dtype=torch.float64)
    return KMeansResult(centroids + center, codes, float(inertia))


def _squared_distances(x: Tensor, centroids: Tensor, codes: Tensor) -> Tensor:
    """Return how far each row (N, D) is from the centroid of its code, squared: (N,)."""
    distances = x.new_empty(len(x))
    for rows in row_blocks(len(x)):
        distances[rows] = (x[rows] - centroids[codes[rows]]).square().sum(1)
    return distances


def kmeans_plus_plus(
    x: Tensor, num_clusters: int, *, generator: torch.Generator, num_candidates: int = 1
) -> Tensor:
    """Choose starting centroids among the rows, each far from those already chosen.

    The next centroid is a row drawn with probability proportional to its squared distance from the
    nearest centroid so far (Arthur and Vassilvitskii 2007, §2.2). Where all rows coincide with a
    centroid already, it is drawn uniformly.

    Args:
        x: vectors, shape (N, D).
        num_clusters: K, at most N.
        generator: source of the draws, on the device of x.
        num_candidates: C ≥ 1, rows drawn for each centroid, of which the one that lowers the sum of
            distances most is taken. More than one is slower and shuns outliers; scikit-learn draws
            2 + log K. Before training, on the latents of an RQ-VAE, one does nearly as well.

    Returns:
        Centroids, shape (K, D), each a copy of a row.

    Raises:
        ValueError: as `kmeans`.
    """
    _check(x, num_clusters)
    if num_candidates < 1:
        raise ValueError(f"num_candidates is {num_candidates}; it must be at least 1")
    # Uniform numbers are inverted through the cumulative sum: `multinomial` refuses over 2²⁴ rows.
    shape = (num_clusters, num_candidates)
    draws = torch.rand(shape, generator=generator, device=x.device, dtype=torch.float64)
    row_norms = x.square().sum(1, keepdim=True)  # (N, 1)
    candidates = (draws[0, :1] * len(x)).long()  # (1,)
    distances = _squared_distances_to(x, row_norms, candidates)[:, 0]  # (N,), to the nearest chosen
    chosen = x.new_empty(num_clusters, dtype=torch.int64)
    chosen[0] = candidates[0]
    for i in range(1, num_clusters):
        cumulative = distances.cumsum(0, dtype=torch.float64)
        if cumulative[-1] > 0:
            drawn = torch.searchsorted(cumulative, draws[i] * cumulative[-1], right=True)
            candidates = drawn.clamp(max=len(x) - 1)  # a draw next to 1 may round up to the end
        else:
            candidates = (draws[i] * len(x)).long()
        to_candidates = _squared_distances_to(x, row_norms, candidates)  # (N, C)
        remaining = torch.minimum(distances[:, None], to_candidates)  # (N, C)
        best = remaining.sum(0).argmin()
        chosen[i] = candidates[best]
        distances = remaining[:, best]
    return x[chosen]


def _squared_distances_to(x: Tensor, row_norms: Tensor, rows: Tensor) -> Tensor:
    """Return squared distances (N, C) of x, whose squared norms are (N, 1), to C of its rows."""
    points = x[rows]  # (C, D)
    distances = row_norms - 2 * (x @ points.T) + points.square().sum(1)
    # Rounding leaves a row that coincides with a point a hair away from it: that is no distance.
    hair = 1e-6 * torch.finfo(x.dtype).eps / torch.finfo(torch.float32).eps  # 1e-6 in float32
    distances[distances < hair * row_norms] = 0
    return distances


def _check(x: Tensor, num_clusters: int) -> None:
    if x.ndim != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; k-means needs a matrix of (rows, numbers)")
    if not x.is_floating_point():
        raise ValueError(f"x has type {x.dtype}; k-means needs floating point numbers: x.float()")
    if not 1 <= num_clusters <= len(x):
        raise ValueError(
            f"{num_clusters} clusters were asked of {len(x)} rows: ask for between 1 and "
            f"{len(x)} clusters, or use a smaller codebook"
        )
    check_finite(x, "x")


def _check_start(centroids: Tensor, x: Tensor, num_clusters: int) -> None:
    """Raise ValueError unless initial centroids are finite, (K, D), and of the dtype of x."""
    if centroids.shape != (num_clusters, x.shape[1]):
        raise ValueError(
            f"initial_centroids have shape {tuple(centroids.shape)}; expected "
            f"{(num_clusters, x.shape[1])}: a vector like the rows of x for each cluster"
        )
    if centroids.dtype != x.dtype:
        raise ValueError(
            f"initial_centroids have type {centroids.dtype} and x has {x.dtype}; expected the same "
            "of both: pass initial_centroids.to(x)"
        )
    check_finite(centroids, "initial_centroids")
