"""Residual quantization: a vector becomes a short tuple of codes, coarse to fine.

The first codebook replaces the vector by its nearest codeword. What is left over, the residual,
goes to the second codebook, and so on. Codewords add up, so L codebooks of K codewords reach K^L
points for the price of L·K vectors.

Each level subtracts the *detached* codeword, and the gradient estimator is applied once, to the
sum: the reconstruction gradient reaches the encoder exactly once, whatever the number of levels.
(Gumbel-softmax is another matter: there a level subtracts a mixture of codewords, which has a
gradient of its own.)

Codebooks collapse when a few codewords win all rows and the others are never chosen again. Three
remedies stand here, each a choice: start at the k-means centroids of the data; let codewords follow
the average of the rows that choose them, not a gradient; and move a codeword that nobody chooses to
where there are rows.

Source: Lee et al., "Autoregressive image generation using residual quantization", arXiv 2203.01941,
§3.1; Rajput et al., "Recommender systems with generative retrieval" (TIGER), arXiv 2305.05065,
§3.1; moving averages: van den Oord et al., arXiv 1711.00937, appendix A.1; dead codewords:
Zeghidour et al., arXiv 2107.03312, §III-C.
Derived in: chapter 04; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.ops.estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from rqvae_lib.ops.kmeans import kmeans, nearest
from rqvae_lib.tokenizer.config import Estimator, Learning, check_choices


class Quantized(NamedTuple):
    codes: Tensor  # (B, L) int64, level 1 first
    vectors: Tensor  # (B, D), the sum of the codewords; gradients pass by the estimator
    loss: Tensor  # (B,), summed over levels and features


class ResidualQuantizer(nn.Module):
    """L codebooks of K codewords in D dimensions, each quantizing what the levels above left over.

    Args:
        num_levels: L, at least 1.
        codebook_size: K, at least 1.
        dim: D, at least 1.
        estimator: how gradients pass the choice of codewords, see `estimators`.
        learning: how codewords learn. "average": each follows the exponential moving average of
            the rows that choose it. "gradient": they are trained with everything else, by the
            codebook loss. Gumbel-softmax sends its own gradient to the codewords, so it takes
            "gradient" only.
        commitment_weight: β, the weight of the commitment loss (TIGER uses 0.25).
        ema_decay: γ, in [0, 1): how slowly the averages forget.
        dead_after: a codeword is moved onto a random row of the batch when, in a row, this many
            times its fair share of rows (one in K) went by and none chose it. 0 leaves dead
            codewords dead.
        temperature: τ of Gumbel-softmax at the first training step, in squared distance.
        final_temperature: where τ ends.
        temperature_decay: factor on τ at each training step.

    Raises:
        ValueError: for an estimator or a way of learning that does not exist, or Gumbel-softmax
            with codewords that learn by averages.

    Attributes:
        codebooks: parameter (L, K, D), float32.
        initialized: bool buffer, (); set by `init_codebooks`, so it survives save and load.
    """

    initialized: Tensor
    unused_rows: Tensor  # (L, K) int64, rows gone by in training since one last chose the codeword
    rows_average: Tensor  # (L, K), moving average of how many rows choose each codeword
    sum_average: Tensor  # (L, K, D), moving average of their sum
    temperature: Tensor  # (), τ at the next training step

    def __init__(
        self,
        num_levels: int,
        codebook_size: int,
        dim: int,
        *,
        estimator: Estimator = "straight-through",
        learning: Learning = "average",
        commitment_weight: float = 0.25,
        ema_decay: float = 0.99,
        dead_after: int = 20,
        temperature: float = 1.0,
        final_temperature: float = 0.1,
        temperature_decay: float = 0.999,
    ) -> None:
        super().__init__()
        check_choices(estimator, learning)
        self.estimator = estimator
        self.learning = learning
        self.commitment_weight = commitment_weight
        self.ema_decay = ema_decay
        self.dead_after = dead_after
        self.final_temperature = final_temperature
        self.temperature_decay = temperature_decay
        shape = (num_levels, codebook_size, dim)
        start = torch.randn(shape) / dim**0.5
        self.codebooks = nn.Parameter(start, requires_grad=learning == "gradient")
        self.register_buffer("initialized", torch.tensor(False))
        self.register_buffer("unused_rows", torch.zeros(shape[:2], dtype=torch.int64))
        if learning == "average":
            self.register_buffer("rows_average", torch.zeros(shape[:2]))
            self.register_buffer("sum_average", torch.zeros(shape))
        if estimator == "gumbel":
            self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, z: Tensor) -> Quantized:
        """Quantize vectors; in training mode also look after the codewords.

        Args:
            z: vectors, shape (B, D), float32.

        Returns:
            codes (B, L); vectors (B, D), what `decode(codes)` gave before the codewords moved, bit
            for bit, except in training with Gumbel-softmax, where they are a mixture; and loss
            (B,), TIGER's §3.1:
            Σ_l ‖sg[r_l] − e_l‖² + β ‖r_l − sg[e_l]‖², where r_l is the residual that reaches level
            l, e_l its codeword and sg stops gradients. Codewords that follow averages have no use
            for the first term, which is then left out (van den Oord et al., appendix A.1).
        """
        if self.training and self.estimator == "gumbel":
            return self._mix(z)
        residual, summed = z, torch.zeros_like(z)
        loss = z.new_zeros(len(z))
        reached, codes = [], []  # what each level is given, (B, D), and what it chooses, (B,)
        for codebook in self.codebooks:
            reached.append(residual.detach())
            codes.append(nearest(reached[-1], codebook.detach()))
            codewords = F.embedding(codes[-1], codebook)  # (B, D)
            residual = residual - codewords.detach()
            summed = summed + codewords.detach()
            loss = loss + self.commitment_weight * residual.square().sum(1)
            if self.learning == "gradient":
                loss = loss + (reached[-1] - codewords).square().sum(1)
        estimate = rotation_trick if self.estimator == "rotation" else straight_through
        quantized = Quantized(torch.stack(codes, 1), estimate(z, summed), loss)
        if self.training:
            self._update_codebooks(torch.stack(reached), quantized.codes)
        return quantized

    def _mix(self, z: Tensor) -> Quantized:
        """Quantize (B, D) softly: a mixture of codewords at each level, the likeliest its code."""
        residual, summed = z, torch.zeros_like(z)
        loss = z.new_zeros(len(z))
        reached, codes = [], []
        temperature = self.temperature
        for codebook in self.codebooks.clone():  # they may move before the gradient is computed
            reached.append(residual.detach())
            weights = gumbel_softmax(residual, codebook, temperature)  # (B, K)
            codes.append(weights.argmax(1))
            mixture = weights @ codebook  # (B, D)
            loss = loss + self.commitment_weight * (residual - mixture.detach()).square().sum(1)
            loss = loss + (reached[-1] - mixture).square().sum(1)
            residual = residual - mixture
            summed = summed + mixture
        quantized = Quantized(torch.stack(codes, 1), summed, loss)
        self._update_codebooks(torch.stack(reached), quantized.codes)
        self.temperature = (temperature * self.temperature_decay).clamp(min=self.final_temperature)
        return quantized

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Return the codes of vectors (B, D): at each level the nearest, (B, L) int64."""
        residual, codes = z, []
        for codebook in self.codebooks:
            level_codes = nearest(residual, codebook)
            residual = residual - F.embedding(level_codes, codebook)
            codes.append(level_codes)
        return torch.stack(codes, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum of the codewords.

        Args:
            codes: shape (B, l) for any l up to L: a prefix decodes to a coarser vector.

        Returns:
            vectors, shape (B, D).

        Raises:
            ValueError: if there are more codes than levels.
        """
        if codes.shape[1] > len(self.codebooks):
            raise ValueError(
                f"codes have {codes.shape[1]} columns, but there are {len(self.codebooks)} levels: "
                "leave out the disambiguation code, which has no codeword"
            )
        return sum_of_codewords(codes, self.codebooks)

    @torch.no_grad()
    def residual_norms(self, z: Tensor) -> Tensor:
        """Return the mean length of what reaches each level, and of what is left after the last.

        Args:
            z: vectors, shape (B, D).

        Returns:
            shape (L + 1,). A level that does not shorten it learned nothing.
        """
        codes = self.encode(z)
        left = [z - self.decode(codes[:, :level]) for level in range(codes.shape[1] + 1)]
        return torch.stack([residual.norm(dim=1).mean() for residual in left])

    @torch.no_grad()
    def init_codebooks(
        self,
        z: Tensor,
        *,
        generator: torch.Generator,
        num_iterations: int = 10,
        num_candidates: int = 1,
    ) -> None:
        """Start each codebook at the k-means centroids of the residuals that reach it.

        On vectors that will not move, this is all there is to learn: residual k-means, the
        R-KMeans of the literature.

        Args:
            z: vectors, shape (N, D), N ≥ K: the whole catalogue, not one batch.
            generator: draws the k-means++ starts, on the device of z.
            num_iterations, num_candidates: as `kmeans`.

        Raises:
            ValueError: as `kmeans`: fewer vectors than codewords, or some not finite.
        """
        residual = z
        for codebook in self.codebooks:
            result = kmeans(
                residual,
                len(codebook),
                generator=generator,
                num_iterations=num_iterations,
                num_candidates=num_candidates,
            )
            codebook.copy_(result.centroids)
            residual = residual - F.embedding(result.codes, codebook)
        if self.learning == "average":
            # The averages start as if each codeword had been chosen once a step, by itself.
            self.rows_average.fill_(1.0)
            self.sum_average.copy_(self.codebooks)
        self.unused_rows.zero_()
        self.initialized.fill_(True)

    @torch.no_grad()
    def _update_codebooks(self, reached: Tensor, codes: Tensor) -> None:
        """After a step, move codewords to where the rows are: all levels in one go.

        Args:
            reached: what each level was given, shape (L, B, D).
            codes: what it chose, shape (B, L).
        """
        num_levels, size, _ = self.codebooks.shape
        first = torch.arange(0, num_levels * size, size, device=codes.device)  # (L,)
        chosen = (codes + first).T.reshape(-1)  # (L·B,), codewords numbered through all levels
        counts = torch.zeros(num_levels * size, dtype=torch.int64, device=codes.device)
        counts = counts.scatter_add_(0, chosen, torch.ones_like(chosen)).view(num_levels, size)
        if self.learning == "average":
            self._update_ema(reached, chosen, counts)
        if self.dead_after:
            self._expire_dead_codes(reached, counts)

    def _update_ema(self, reached: Tensor, chosen: Tensor, counts: Tensor) -> None:
        """Let codewords follow the moving average of the rows that choose them."""
        sums = torch.zeros_like(self.codebooks)  # (L, K, D)
        sums.flatten(0, 1).index_add_(0, chosen, reached.flatten(0, 1))
        self.rows_average.lerp_(counts.to(sums), 1 - self.ema_decay)
        self.sum_average.lerp_(sums, 1 - self.ema_decay)
        # A codeword that was hardly ever chosen has no average worth following: it stays.
        followed = (self.rows_average > 1e-3)[..., None]
        average = self.sum_average / self.rows_average.clamp(min=1e-3)[..., None]
        self.codebooks.copy_(torch.where(followed, average, self.codebooks))

    def _expire_dead_codes(self, reached: Tensor, counts: Tensor) -> None:
        """Move codewords that no row has chosen for long onto rows, each onto a row of its own."""
        # No `if`: asking a GPU whether anything died would make it wait at every step.
        num_levels, num_rows, _ = reached.shape
        self.unused_rows.copy_(torch.where(counts > 0, 0, self.unused_rows + num_rows))
        dead = self.unused_rows >= self.dead_after * counts.shape[1]  # (L, K)
        place = dead.cumsum(1) - 1  # (L, K), the dead of a level in order
        dead = dead & (place < num_rows)
        shuffled = torch.randperm(num_rows, device=reached.device)
        level = torch.arange(num_levels, device=reached.device)[:, None]
        drawn = reached[level, shuffled[place.clamp(0, num_rows - 1)]]  # (L, K, D)
        self.codebooks.copy_(torch.where(dead[..., None], drawn, self.codebooks))
        self.unused_rows.masked_fill_(dead, 0)
        if self.learning == "average":  # the new place counts like an average codeword's
            weight = self.rows_average.mean(1, keepdim=True)  # (L, 1)
            weighted = weight[..., None] * drawn
            self.sum_average.copy_(torch.where(dead[..., None], weighted, self.sum_average))
            self.rows_average.copy_(torch.where(dead, weight, self.rows_average))


def sum_of_codewords(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the vectors (B, D) that codes (B, l) stand for in codebooks (L, K, D), l ≤ L."""
    vectors = torch.zeros_like(codebooks[0, 0]).expand(len(codes), -1)  # (B, D)
    for level_codes, codebook in zip(codes.T, codebooks, strict=False):
        vectors = vectors + F.embedding(level_codes, codebook)
    return vectors
