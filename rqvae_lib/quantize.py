"""Residual quantization: a vector becomes a short tuple of codes, coarse to fine.

The first codebook replaces the vector by its nearest codeword. What is left over, the residual,
goes to the second codebook, and so on. Codewords add up, so L codebooks of K codewords reach K^L
points for the price of L·K vectors.

Choosing the nearest codeword has no gradient. The straight-through estimator hands the gradient of
the quantized vector to the input unchanged. Here each level subtracts the *detached* codeword and
the estimator is applied once, to the sum: the reconstruction gradient reaches the encoder exactly
once, whatever the number of levels.

Source: Lee et al., "Autoregressive image generation using residual quantization", arXiv 2203.01941,
§3.1; Rajput et al., "Recommender systems with generative retrieval" (TIGER), arXiv 2305.05065,
§3.1; straight-through and moving averages: van den Oord et al., arXiv 1711.00937, §3.2, appendix
A.1; dead codewords: Zeghidour et al., arXiv 2107.03312, §III-C.
Derived in: chapter 04; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.kmeans import kmeans, nearest


class Quantized(NamedTuple):
    codes: Tensor  # (B, L) int64, level 1 first
    vectors: Tensor  # (B, D), the sum of the codewords; gradients pass straight through
    loss: Tensor  # (B,), weighted commitment loss, summed over levels and features


class CodeUsage(NamedTuple):
    utilisation: Tensor  # (L,) share of codewords that some row uses, in [0, 1]
    perplexity: Tensor  # (L,) exp of the entropy of the codes, in [1, K]: codewords in real use


class ResidualQuantizer(nn.Module):
    """L codebooks of K codewords in D dimensions, each quantizing what the levels above left over.

    In training mode a codeword follows the rows that choose it, as the exponential moving average
    of their mean. A codeword that no row has chosen for `dead_after` steps is moved onto a random
    row of the batch, so no code is lost for good.

    Args:
        num_levels: L, at least 1.
        codebook_size: K, at least 1.
        dim: D, at least 1.
        commitment_weight: β, the weight of the commitment loss (TIGER uses 0.25).
        ema_decay: γ, in [0, 1): how slowly the averages forget.
        dead_after: training steps without a row until a codeword is moved, at least 1.

    Attributes:
        codebooks: parameter (L, K, D), float32, learned by averages and not by gradient.
        initialized: bool buffer, (); set by `init_codebooks`, so it survives save and load.
    """

    initialized: Tensor
    rows_average: Tensor  # (L, K), moving average of how many rows choose each codeword
    sum_average: Tensor  # (L, K, D), moving average of their sum
    unused_steps: Tensor  # (L, K) int64, training steps since a row last chose it

    def __init__(
        self,
        num_levels: int,
        codebook_size: int,
        dim: int,
        *,
        commitment_weight: float = 0.25,
        ema_decay: float = 0.99,
        dead_after: int = 20,
    ) -> None:
        super().__init__()
        self.commitment_weight = commitment_weight
        self.ema_decay = ema_decay
        self.dead_after = dead_after
        start = torch.randn(num_levels, codebook_size, dim) / dim**0.5
        self.codebooks = nn.Parameter(start, requires_grad=False)
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("rows_average", torch.zeros(num_levels, codebook_size))
        self.register_buffer("sum_average", torch.zeros(num_levels, codebook_size, dim))
        self.register_buffer(
            "unused_steps", torch.zeros(num_levels, codebook_size, dtype=torch.int64)
        )

    def forward(self, z: Tensor) -> Quantized:
        """Quantize vectors; in training mode also move the codewords towards them.

        Args:
            z: vectors, shape (B, D).

        Returns:
            codes (B, L), vectors (B, D) and loss (B,): β Σ_l ‖r_l − sg[e_l]‖², the commitment term
            of TIGER's §3.1, where r_l is the residual that reaches level l and e_l its codeword.
            Moving averages take the place of the other term, ‖sg[r_l] − e_l‖² (van den Oord et
            al., appendix A.1).
        """
        residual = z
        codes = []
        loss = z.new_zeros(len(z))
        for level, codebook in enumerate(self.codebooks):
            reached = residual.detach()  # (B, D)
            level_codes, _ = nearest(reached, codebook)
            residual = residual - F.embedding(level_codes, codebook)
            loss = loss + self.commitment_weight * residual.square().sum(1)
            codes.append(level_codes)
            if self.training:
                self._follow(level, reached, level_codes)
        # What is left after the last level is z minus the sum of the codewords.
        return Quantized(torch.stack(codes, 1), z - residual.detach(), loss)

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Return the codes of vectors (B, D): at each level the nearest, (B, L) int64."""
        residual, codes = z, []
        for codebook in self.codebooks:
            level_codes, _ = nearest(residual, codebook)
            residual = residual - F.embedding(level_codes, codebook)
            codes.append(level_codes)
        return torch.stack(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum of the codewords.

        Args:
            codes: shape (B, l) for any l up to L: a prefix decodes to a coarser vector.

        Returns:
            vectors, shape (B, D).
        """
        vectors = torch.zeros_like(self.codebooks[0, 0]).expand(len(codes), -1)  # (B, D)
        for level_codes, codebook in zip(codes.T, self.codebooks, strict=False):
            vectors = vectors + F.embedding(level_codes, codebook)
        return vectors

    @torch.no_grad()
    def init_codebooks(self, z: Tensor, *, generator: torch.Generator) -> None:
        """Start each codebook at the k-means centroids of the residuals that reach it.

        Args:
            z: vectors, shape (N, D), N ≥ K: the whole catalogue, not one batch.
            generator: draws the k-means++ starts, on the device of z.

        Raises:
            ValueError: as `kmeans`: fewer vectors than codewords, or some not finite.
        """
        residual = z
        for codebook in self.codebooks:
            result = kmeans(residual, len(codebook), generator=generator)
            codebook.copy_(result.centroids)
            residual = residual - result.centroids[result.codes]
        # The averages start where the codewords are, with the weight of one row each: from zero,
        # the first batch would take the place of the whole catalogue's k-means.
        self.rows_average.fill_(1.0)
        self.sum_average.copy_(self.codebooks)
        self.initialized.fill_(True)

    @torch.no_grad()
    def _follow(self, level: int, rows: Tensor, codes: Tensor) -> None:
        """Move a level's codewords towards the rows (B, D) that chose them, codes (B,)."""
        codebook = self.codebooks[level]
        counts = torch.bincount(codes, minlength=len(codebook))  # (K,)
        sums = torch.zeros_like(codebook).index_add_(0, codes, rows)  # (K, D)
        rows_average, sum_average = self.rows_average[level], self.sum_average[level]
        rows_average.lerp_(counts.to(rows), 1 - self.ema_decay)
        sum_average.lerp_(sums, 1 - self.ema_decay)
        # A codeword that was hardly ever chosen has no average worth following: it stays.
        followed = (rows_average > 1e-3)[:, None]
        average = sum_average / rows_average.clamp(min=1e-3)[:, None]
        codebook.copy_(torch.where(followed, average, codebook))

        unused = self.unused_steps[level]
        unused.copy_(torch.where(counts > 0, 0, unused + 1))
        dead = (unused >= self.dead_after).nonzero()[: len(rows), 0]
        if len(dead):
            drawn = rows[torch.randperm(len(rows), device=rows.device)[: len(dead)]]
            weight = rows_average.mean()  # the new place counts like an average codeword's
            codebook[dead], unused[dead] = drawn, 0
            rows_average[dead], sum_average[dead] = weight, weight * drawn


def code_usage(codes: Tensor, codebook_size: int) -> CodeUsage:
    """Measure, level by level, how much of a codebook is used: the first place collapse shows.

    Args:
        codes: shape (N, L), int64, each in [0, codebook_size).
        codebook_size: K.

    Returns:
        utilisation (L,) and perplexity (L,), float32. A collapsed level has perplexity near 1; K
        codewords in equal use have perplexity K.
    """
    counts = torch.stack([torch.bincount(level, minlength=codebook_size) for level in codes.T])
    shares = counts / len(codes)  # (L, K)
    entropy = -torch.special.xlogy(shares, shares).sum(1)  # (L,), nats
    return CodeUsage((counts > 0).float().mean(1), entropy.exp())
