"""k-means: the codewords that a set of vectors would choose for itself.

A codebook that starts as random vectors leaves most of its codewords where no item lives. Starting
it at the centroids of the data makes every codeword useful on the first step, which is why the
RQ-VAE's codebooks are initialised with k-means.

Two ideas do all the work here. ‖x − c‖² = ‖x‖² − 2 x·c + ‖c‖², and ‖x‖² is the same for every
centroid, so the nearest one is found with one matrix product. And a block of a thousand rows keeps
that product in the processor's cache, which is faster than all rows at once.

Source: Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 1982; Arthur and
Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007; its use for codebooks:
Zeghidour et al., "SoundStream", arXiv 2107.03312, §III-C.
Derived in: chapter 03; seen at work in chapter 00.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_ROWS = 1024  # rows a block: the (1024, K) scores of usual codebooks stay in the L2 cache


class KMeansResult(NamedTuple):
    centroids: Tensor  # (K, D), the dtype of x
    codes: Tensor  # (N,) int64, the nearest of these centroids for each row
    inertia: float  # sum over rows of the squared distance to the nearest centroid


def row_blocks(num_rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield the slices that cut `num_rows` rows into blocks that fit the cache."""
    for start in range(0, num_rows, block_rows):
        yield slice(start, min(start + block_rows, num_rows))


def nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Find the nearest centroid of each row, by squared L2 distance.

    Args:
        x: vectors, shape (N, D).
        centroids: shape (K, D), same dtype and device.

    Returns:
        codes, shape (N,), int64, and scores, shape (N,): ½‖c‖² − x·c of the chosen centroid,
        which is half the squared distance less ½‖x‖². Ties go to the lower code.
    """
    half_norms = centroids.square().sum(1) / 2  # (K,)
    codes = x.new_empty(len(x), dtype=torch.int64)
    scores = x.new_empty(len(x))
    for rows in row_blocks(len(x)):
        block = torch.addmm(half_norms, x[rows], centroids.T, alpha=-1)  # (block, K)
        scores[rows], codes[rows] = block.min(1)
    return codes, scores


def kmeans(
    x: Tensor,
    num_clusters: int,
    *,
    generator: torch.Generator,
    num_iterations: int = 10,
    initial_centroids: Tensor | None = None,
) -> KMeansResult:
    """Run Lloyd's algorithm from a k-means++ start.

    After each step, a cluster that no row chose is moved onto the row that is farthest from its
    own centroid, where it is of most use.

    Args:
        x: vectors, shape (N, D), floating point, finite.
        num_clusters: K, at most N.
        generator: draws the k-means++ start; lives on the device of x. Same state, same result.
        num_iterations: Lloyd steps. Ten are within 1 % of the inertia of twenty-five on item
            embeddings, so more is rarely worth the time.
        initial_centroids: shape (K, D); given, they replace the k-means++ start.

    Returns:
        centroids, codes and inertia; the codes belong to the returned centroids.

    Raises:
        ValueError: if x is not a finite (N, D) matrix, or has fewer rows than clusters.
    """
    _check(x, num_clusters)
    if initial_centroids is None:
        centroids = kmeans_plus_plus(x, num_clusters, generator=generator)
    else:
        centroids = initial_centroids.clone()
    row_norms = x.square().sum(1)  # (N,)
    for _ in range(num_iterations):
        codes, scores = nearest(x, centroids)
        counts = torch.bincount(codes, minlength=num_clusters)  # (K,)
        sums = torch.zeros_like(centroids).index_add_(0, codes, x)  # (K, D)
        centroids = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            distances = row_norms + 2 * scores  # (N,)
            centroids[empty] = x[distances.topk(len(empty)).indices]
    codes, scores = nearest(x, centroids)
    inertia = (row_norms + 2 * scores).clamp(min=0).sum(dtype=torch.float64)
    return KMeansResult(centroids, codes, float(inertia))


def kmeans_plus_plus(x: Tensor, num_clusters: int, *, generator: torch.Generator) -> Tensor:
    """Choose starting centroids among the rows, each far from those already chosen.

    The next centroid is a row drawn with probability proportional to its squared distance from the
    nearest centroid so far (Arthur and Vassilvitskii 2007, §2.2). Where all rows coincide with a
    centroid already, it is drawn uniformly.

    Args:
        x: vectors, shape (N, D).
        num_clusters: K, at most N.
        generator: source of the draws, on the device of x.

    Returns:
        Centroids, shape (K, D), each a copy of a row.

    Raises:
        ValueError: as `kmeans`.
    """
    _check(x, num_clusters)
    # Uniform numbers are inverted through the cumulative sum: `multinomial` refuses over 2²⁴ rows.
    draws = torch.rand(
        num_clusters, generator=generator, device=x.device, dtype=torch.float64
    )  # (K,)
    chosen = x.new_empty(num_clusters, dtype=torch.int64)
    chosen[0] = (draws[0] * len(x)).long()
    row_norms = x.square().sum(1)  # (N,)
    distances = torch.full_like(row_norms, torch.inf)
    for i in range(1, num_clusters):
        previous = x[chosen[i - 1]]  # (D,)
        to_previous = row_norms - 2 * (x @ previous) + previous.square().sum()  # (N,)
        # Rounding leaves a row that coincides with the centroid a hair away from it: that hair
        # is not a distance.
        to_previous[to_previous < 1e-6 * row_norms] = 0
        distances = torch.minimum(distances, to_previous)
        cumulative = distances.cumsum(0, dtype=torch.float64)
        if cumulative[-1] > 0:
            drawn = torch.searchsorted(cumulative, draws[i] * cumulative[-1], right=True)
            chosen[i] = drawn.clamp(max=len(x) - 1)  # a draw next to 1 may round up to the end
        else:
            chosen[i] = (draws[i] * len(x)).long()
    return x[chosen]


def _check(x: Tensor, num_clusters: int) -> None:
    if x.ndim != 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; k-means needs a matrix of (rows, numbers)")
    if not 1 <= num_clusters <= len(x):
        raise ValueError(
            f"{num_clusters} clusters were asked of {len(x)} rows: ask for between 1 and "
            f"{len(x)} clusters, or use a smaller codebook"
        )
    check_finite(x, "x")


def check_finite(x: Tensor, name: str) -> None:
    """Raise ValueError, naming the first bad row, if a matrix (N, D) holds a NaN or an infinity."""
    bad_rows = (~x.isfinite()).any(1).nonzero()[:, 0]
    if len(bad_rows):
        raise ValueError(
            f"row {int(bad_rows[0])} of {name} holds a NaN or an infinity ({len(bad_rows)} such "
            "rows, all must be finite): mend or drop these rows"
        )
