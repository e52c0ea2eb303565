"""k-means: finds the codewords that fit a set of vectors.

A codebook of random vectors lies far from the data. Even if items use all of its codewords, the
codes say almost nothing about the items. A codebook that starts at the centroids of the data is
useful from the first step, so the RQ-VAE initializes its codebooks with k-means.

Two ideas make it fast. First, ‖x − c‖² = ‖x‖² − 2 x·c + ‖c‖², and ‖x‖² is the same for every
centroid, so one matrix product finds the nearest one. Second, the rows are processed in blocks of
about a thousand, so this product stays in the processor's cache.

The unit of the vectors does not matter: they are divided by their scale before anything is squared.

Source: Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory 1982; Arthur and
Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007; its use for codebooks:
Zeghidour et al., "SoundStream", arXiv 2107.03312, §III-C.
Derived in: chapter 03; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_count, as_row, as_vectors
from rqvae_lib.ops.once import is_transformed
from rqvae_lib.ops.rows import check_finite, row_blocks
from rqvae_lib.ops.scale import scale_of
from rqvae_lib.ops.torch_settings import own_settings


class KMeansResult(NamedTuple):
    """What `kmeans` returns."""

    centroids: Tensor  # (K, D), float32, or float64 if x is
    codes: Tensor  # (N,) int64, each row's nearest centroid
    inertia: float  # sum over rows of the squared distance to the nearest centroid


@own_settings
def nearest(x: Array, centroids: Array) -> Tensor:
    """Find the nearest centroid of each row, by L2 distance.

    Args:
        x: vectors, shape (N, D), numbers. All but float64 are computed with in float32.
        centroids: shape (K, D), on the same device.

    Returns:
        The codes, shape (N,), int64. Ties go to the lower code.

    Raises:
        ValueError: if one of them is not a matrix of numbers.
    """
    x = as_vectors(x, "x")
    centroids = as_vectors(centroids, "centroids", dtype=x.dtype)
    # All scores are divided by the scale of the centroids and by the larger one of both scales,
    # which no argmin notices. Then neither a square nor a product leaves the range of floats.
    scale = scale_of(centroids)
    larger = torch.maximum(scale, scale_of(x))
    centroids = centroids / scale
    half_norms = centroids.square().sum(1) * (scale / larger / 2)  # (K,)
    centroids = centroids / larger
    if is_recorded():  # a loop over blocks and NumPy's result would be recorded for this x alone
        return torch.addmm(half_norms, x, centroids.T, alpha=-1).argmin(1)
    codes = x.new_empty(len(x), dtype=torch.int64)
    for rows in row_blocks(len(x)):
        scores = torch.addmm(half_norms, x[rows], centroids.T, alpha=-1)  # (block, K)
        codes[rows] = _argmin(scores)
    return codes


def is_recorded() -> bool:
    """Return whether something of torch records what is done, or runs it for many rows at once.

    That is `torch.export`, `torch.compile`, `torch.jit.trace` or a transform of `torch.func`.
    """
    tracing: bool = torch._C._get_tracing_state() is not None
    return tracing or torch.compiler.is_compiling() or is_transformed()


def _argmin(scores: Tensor) -> Tensor:
    """Return the column of the lowest value in each row of (N, K), (N,) int64; ties: the first."""
    if scores.device.type == "cpu":  # eight times faster than torch, which does not vectorize it
        return torch.from_numpy(scores.detach().numpy().argmin(1))
    return scores.argmin(1)


@own_settings
def kmeans(
    x: Array,
    num_clusters: int,
    *,
    generator: torch.Generator | None = None,
    num_iterations: int = 10,
    num_candidates: int = 1,
    initial_centroids: Array | None = None,
) -> KMeansResult:
    """Run Lloyd's algorithm from a k-means++ start.

    Each step moves every empty cluster to a row that is farthest from its own centroid, where it
    helps most.

    Args:
        x: vectors, shape (N, D), finite numbers. All but float64 are computed with in float32.
        num_clusters: K, from 1 to N.
        generator: source of the draws for the k-means++ start, on the device of x. The same state
            gives the same result. Not needed with `initial_centroids`, because nothing else is
            drawn.
        num_iterations: Lloyd steps, at least 0. Ten are enough for a start that training will
            change anyway.
        num_candidates: as in `kmeans_plus_plus`.
        initial_centroids: shape (K, D), finite. They replace the k-means++ start.

    Returns:
        The centroids, the codes and the inertia. The codes belong to the returned centroids.

    Raises:
        ValueError: if x is not a finite (N, D) matrix of numbers; if num_clusters is not from 1 to
            N; if num_iterations or num_candidates is too low; if there is neither a generator nor
            initial centroids; or if the initial centroids have another shape or are not finite.
    """
    x = as_vectors(x, "x")
    num_clusters = _checked_clusters(num_clusters, x)
    num_iterations = as_count(num_iterations, "num_iterations", least=0)
    start = None
    if initial_centroids is not None:
        start = as_vectors(initial_centroids, "initial_centroids", dtype=x.dtype).to(x.device)
        _check_start(start, x, num_clusters)
    if start is None and generator is None:
        raise ValueError(
            "k-means got neither a generator, to draw its start, nor initial_centroids: pass one"
        )
    center = x.mean(0)  # (D,); near the origin, products of floats lose the least precision
    x = x - center
    scale = scale_of(x) if start is None else torch.maximum(scale_of(x), scale_of(start - center))
    x.div_(scale)
    if start is not None:
        centroids = (start - center) / scale
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
    return KMeansResult(centroids * scale + center, codes, float(inertia) * float(scale) ** 2)


def _squared_distances(x: Tensor, centroids: Tensor, codes: Tensor) -> Tensor:
    """Return the squared distance of each row of x (N, D) from its code's centroid: (N,)."""
    distances = x.new_empty(len(x))
    for rows in row_blocks(len(x)):
        distances[rows] = (x[rows] - centroids[codes[rows]]).square().sum(1)
    return distances


@own_settings
def kmeans_plus_plus(
    x: Array, num_clusters: int, *, generator: torch.Generator, num_candidates: int = 1
) -> Tensor:
    """Choose starting centroids among the rows, each far from those already chosen.

    Each next centroid is a row drawn with probability proportional to its squared distance from the
    nearest centroid so far (Arthur and Vassilvitskii 2007, §2.2). If every row coincides with a
    centroid, the next one is drawn uniformly.

    Args:
        x: vectors, shape (N, D), as `kmeans`.
        num_clusters: K, from 1 to N.
        generator: source of the draws, on the device of x.
        num_candidates: C ≥ 1, the rows drawn for each centroid. The one that lowers the sum of
            squared distances most is kept. More than one is slower but avoids outliers;
            scikit-learn draws 2 + log K. On the latents of an RQ-VAE before training, one candidate
            does nearly as well.

    Returns:
        The centroids, shape (K, D), each a copy of a row.

    Raises:
        ValueError: if x is not a finite (N, D) matrix of numbers, if num_clusters is not from 1 to
            N, or if num_candidates is below 1.
    """
    x = as_vectors(x, "x")
    num_clusters = _checked_clusters(num_clusters, x)
    num_candidates = as_count(num_candidates, "num_candidates")
    # Draw by inverting the cumulative sum, because `multinomial` refuses more than 2²⁴ rows.
    shape = (num_clusters, num_candidates)
    draws = torch.rand(shape, generator=generator, device=x.device, dtype=torch.float64)
    rows, x = x, x / scale_of(x)  # a row is drawn by distances, whose unit does not matter
    row_norms = x.square().sum(1, keepdim=True)  # (N, 1)
    candidates = (draws[0, :1] * len(x)).long()  # (1,)
    # (N,), to the nearest chosen row
    distances = _squared_distances_to(x, row_norms, candidates)[:, 0]
    chosen = x.new_empty(num_clusters, dtype=torch.int64)
    chosen[0] = candidates[0]
    for i in range(1, num_clusters):
        cumulative = distances.cumsum(0, dtype=torch.float64)
        if cumulative[-1] > 0:
            drawn = torch.searchsorted(cumulative, draws[i] * cumulative[-1], right=True)
            candidates = drawn.clamp(max=len(x) - 1)  # a draw close to 1 may round up to N
        else:
            candidates = (draws[i] * len(x)).long()
        to_candidates = _squared_distances_to(x, row_norms, candidates)  # (N, C)
        remaining = torch.minimum(distances[:, None], to_candidates)  # (N, C)
        best = remaining.sum(0).argmin()
        chosen[i] = candidates[best]
        distances = remaining[:, best]
    return rows[chosen]


def _squared_distances_to(x: Tensor, row_norms: Tensor, rows: Tensor) -> Tensor:
    """Return the squared distances (N, C) of x to C of its rows.

    Args:
        x: shape (N, D).
        row_norms: shape (N, 1), the squared norms of x.
        rows: shape (C,), int64.
    """
    points = x[rows]  # (C, D)
    distances = row_norms - 2 * (x @ points.T) + points.square().sum(1)
    # Rounding can leave a tiny distance between a row and an equal point: treat it as zero.
    hair = 1e-6 * torch.finfo(x.dtype).eps / torch.finfo(torch.float32).eps  # 1e-6 in float32
    distances[distances < hair * row_norms] = 0
    return distances


def _checked_clusters(num_clusters: int, x: Tensor) -> int:
    """Return the number of clusters, or raise ValueError if x has no such clusters."""
    num_clusters = as_row(num_clusters, "num_clusters")
    if not 1 <= num_clusters <= len(x):
        raise ValueError(
            f"num_clusters is {num_clusters}, but x has {len(x)} rows; expected at least 1 cluster "
            "and at most one per row: use a smaller codebook, or more rows"
        )
    check_finite(x, "x")
    return num_clusters


def _check_start(centroids: Tensor, x: Tensor, num_clusters: int) -> None:
    """Raise ValueError unless the initial centroids are finite and (K, D)."""
    if centroids.shape != (num_clusters, x.shape[1]):
        raise ValueError(
            f"initial_centroids have shape {tuple(centroids.shape)}; expected "
            f"{(num_clusters, x.shape[1])}: pass one vector per cluster, as wide as a row of x"
        )
    check_finite(centroids, "initial_centroids")
