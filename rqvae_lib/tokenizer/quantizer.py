"""Residual quantization: a vector becomes a short tuple of codes, coarse to fine.

The first codebook replaces the vector with its nearest codeword. The difference, the residual, goes
to the second codebook, and so on. Codewords add up, so L codebooks of K codewords reach K^L points
with only L·K vectors.

Each level subtracts the *detached* codeword, and the gradient estimator is applied once, to the
sum. The reconstruction gradient therefore reaches the encoder exactly once, whatever the number of
levels. (Gumbel-softmax is different: there, a level subtracts a mixture of codewords, which has its
own gradient.)

Codebooks collapse when a few codewords win all rows and the others are never chosen again. There
are three optional remedies: start at the k-means centroids of the data; let codewords follow the
average of the rows that choose them instead of a gradient; and move a codeword that no row chooses
to where there are rows.

Several processes that train together have a batch in shares. Averages, moves and noise are those of
the whole batch, in each of them.

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

from rqvae_lib.ops.arrays import Array, as_rows, as_vectors
from rqvae_lib.ops.estimators import (
    gumbel_noise,
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from rqvae_lib.ops.kmeans import kmeans, nearest
from rqvae_lib.ops.scale import scale_of
from rqvae_lib.ops.shares import own_rows, size_of_batch
from rqvae_lib.ops.torch_settings import own_dtype, own_settings
from rqvae_lib.ops.world import current_world
from rqvae_lib.tokenizer.config import Estimator, Learning, RQVAEConfig, check_choices


class Quantized(NamedTuple):
    """What the quantizer makes of B vectors."""

    codes: Tensor  # (B, L) int64, level 1 first
    vectors: Tensor  # (B, D), the sums of the codewords; gradients pass through the estimator
    loss: Tensor  # (B,), summed over levels and features


class ResidualQuantizer(nn.Module):
    """L codebooks of K codewords in D dimensions. Each quantizes the residual of the level before.

    Args:
        num_levels: L, at least 1.
        codebook_size: K, at least 1.
        dim: D, at least 1.
        estimator: how gradients pass through the choice of codewords, see `ops.estimators`.
        learning: how codewords learn. "average": each follows the exponential moving average of
            the rows that choose it. "gradient": the codebook loss trains them together with
            everything else. Gumbel-softmax sends its own gradient to the codewords, so it needs
            "gradient".
        commitment_weight: β, the weight of the commitment loss (TIGER uses 0.25).
        ema_decay: γ, in [0, 1), the decay of the moving averages. A high γ forgets slowly.
        dead_after: how long a codeword may stay unused, as a multiple of its fair share of rows
            (one in K). When so many rows in succession have not chosen it, the codeword moves to a
            random row of the batch. With 0, unused codewords stay where they are.
        temperature: τ of Gumbel-softmax at the first training step, in units of squared distance.
        final_temperature: the lowest τ.
        temperature_decay: the factor on τ at each training step.

    Raises:
        ValueError: for an unknown estimator or way of learning, or for Gumbel-softmax with
            codewords that learn by averages.

    Attributes:
        codebooks: parameter (L, K, D), float32.
        initialized: buffer (), bool. `init_codebooks` sets it; it is part of the state dict.
    """

    initialized: Tensor
    unused_rows: Tensor  # (L, K) int64, rows seen in training since the codeword was last chosen
    rows_average: Tensor  # (L, K), moving average of the number of rows that choose each codeword
    sum_average: Tensor  # (L, K, D), moving average of the sum of these rows
    temperature: Tensor  # (), τ at the next training step

    @own_dtype
    def __init__(
        self,
        num_levels: int,
        codebook_size: int,
        dim: int,
        *,
        estimator: Estimator = RQVAEConfig.estimator,
        learning: Learning = RQVAEConfig.learning,
        commitment_weight: float = RQVAEConfig.commitment_weight,
        ema_decay: float = RQVAEConfig.ema_decay,
        dead_after: int = RQVAEConfig.dead_after,
        temperature: float = RQVAEConfig.temperature,
        final_temperature: float = RQVAEConfig.final_temperature,
        temperature_decay: float = RQVAEConfig.temperature_decay,
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
        """Quantize vectors and, in training mode, update the codewords.

        Args:
            z: vectors, shape (B, D), float32. In training with several processes, this process's
                share of the rows of a batch, which may be none.

        Returns:
            The codes (B, L), the vectors (B, D) and the loss (B,). The vectors equal
            `decode(codes)` before the update, bit for bit; in training with Gumbel-softmax, they
            are mixtures. The loss is that of TIGER's §3.1:
            Σ_l ‖sg[r_l] − e_l‖² + β ‖r_l − sg[e_l]‖², where r_l is the residual that reaches level
            l, e_l is its codeword and sg stops gradients. Codewords that follow averages do not
            need the first term, so it is left out for them (van den Oord et al., appendix A.1).
        """
        if self.training and self.estimator == "gumbel":
            return self._mix(z)
        residual, summed = z, torch.zeros_like(z)
        loss = torch.zeros_like(z[:, 0])  # a size in Python would be recorded in a trace
        reached, codes = [], []  # the input of each level, (B, D), and its codes, (B,)
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
        """Quantize (B, D) softly: a mixture of codewords per level, whose code has most weight."""
        residual, summed = z, torch.zeros_like(z)
        loss = z.new_zeros(len(z))
        reached, codes = [], []
        temperature = self.temperature
        num_rows = size_of_batch(len(z))
        for codebook in self.codebooks.clone():  # the update below changes them before backward
            reached.append(residual.detach())
            # Like the residual: torch.compile makes one draw of what looks the same at each level.
            noise = own_rows(gumbel_noise(num_rows, len(codebook), like=residual))  # (B, K)
            weights = gumbel_softmax(residual, codebook, temperature, noise)  # (B, K)
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

    @own_settings
    @torch.no_grad()
    def encode(self, z: Array) -> Tensor:
        """Return the codes of vectors (B, D), the nearest codeword at each level: (B, L) int64.

        Raises:
            ValueError: if z is not a matrix of numbers as wide as a codeword.
        """
        residual, codes = self._read(z), []
        for codebook in self.codebooks:
            level_codes = nearest(residual, codebook)
            residual = residual - F.embedding(level_codes, codebook)
            codes.append(level_codes)
        return torch.stack(codes, 1)

    def _read(self, z: Array) -> Tensor:
        return as_vectors(z, "z", dtype=self.codebooks.dtype, width=self.codebooks.shape[2])

    def decode(self, codes: Array) -> Tensor:
        """Return the sum of the codewords.

        Args:
            codes: shape (B, l), int64, for any l up to L. A prefix decodes to a coarser vector.

        Returns:
            The vectors, shape (B, D).

        Raises:
            ValueError: if codes are not a matrix of whole numbers, or there are more codes than
                levels.
        """
        codes = as_rows(codes, "codes", ndim=2)
        if codes.shape[1] > len(self.codebooks):
            raise ValueError(
                f"codes have {codes.shape[1]} columns, but there are {len(self.codebooks)} levels: "
                "leave out the disambiguation code, which has no codeword"
            )
        return sum_of_codewords(codes, self.codebooks)

    @own_settings
    @torch.no_grad()
    def residual_norms(self, z: Array) -> Tensor:
        """Return the mean length of each level's input, and of the residual after the last level.

        Args:
            z: vectors, shape (B, D).

        Returns:
            shape (L + 1,). A level that does not reduce the length has learned nothing.
        """
        z = self._read(z)
        codes = self.encode(z)
        left = [z - self.decode(codes[:, :level]) for level in range(codes.shape[1] + 1)]
        scale = scale_of(z)
        return torch.stack([(residual / scale).norm(dim=1).mean() for residual in left]) * scale

    @own_settings
    @torch.no_grad()
    def init_codebooks(
        self,
        z: Array,
        *,
        generator: torch.Generator,
        num_iterations: int = 10,
        num_candidates: int = 1,
    ) -> None:
        """Start each codebook at the k-means centroids of the residuals that reach it.

        If the vectors never change, no more training is needed. This is residual k-means, the
        R-KMeans of the literature.

        Args:
            z: vectors, shape (N, D), N ≥ K: the whole catalogue, not one batch.
            generator: source of the draws for the k-means++ starts, on the device of z.
            num_iterations, num_candidates: as `kmeans`.

        Raises:
            ValueError: as `kmeans`, for fewer vectors than codewords, or a number that is not
                finite.
        """
        residual = self._read(z)
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
            # The averages start as if one row at the codeword had chosen it in each step so far.
            self.rows_average.fill_(1.0)
            self.sum_average.copy_(self.codebooks)
        self.unused_rows.zero_()
        self.initialized.fill_(True)

    @torch.no_grad()
    def _update_codebooks(self, reached: Tensor, codes: Tensor) -> None:
        """Move codewords to where the rows are, after a step, for all levels at once.

        Args:
            reached: the input of each level, shape (L, B, D).
            codes: the codes that were chosen, shape (B, L).
        """
        # Each process does the same with the rows of all, so their codewords stay the same.
        world = current_world()
        reached = world.all_rows(reached.transpose(0, 1)).transpose(0, 1)
        codes = world.all_rows(codes)
        num_levels, size, _ = self.codebooks.shape
        first = torch.arange(0, num_levels * size, size, device=codes.device)  # (L,)
        chosen = (codes + first).T.reshape(-1)  # (L·B,), codewords numbered across all levels
        counts = torch.zeros(num_levels * size, dtype=torch.int64, device=codes.device)
        counts = counts.scatter_add_(0, chosen, torch.ones_like(chosen)).view(num_levels, size)
        if self.learning == "average":
            self._update_ema(reached, chosen, counts)
        if self.dead_after:
            self._expire_dead_codes(reached, counts)

    def _update_ema(self, reached: Tensor, chosen: Tensor, counts: Tensor) -> None:
        """Move codewords to the moving average of the rows that choose them."""
        sums = torch.zeros_like(self.codebooks)  # (L, K, D)
        sums.flatten(0, 1).index_add_(0, chosen, reached.flatten(0, 1))
        self.rows_average.lerp_(counts.to(sums), 1 - self.ema_decay)
        self.sum_average.lerp_(sums, 1 - self.ema_decay)
        # A codeword that is almost never chosen has no reliable average, so it stays.
        followed = (self.rows_average > 1e-3)[..., None]
        average = self.sum_average / self.rows_average.clamp(min=1e-3)[..., None]
        self.codebooks.copy_(torch.where(followed, average, self.codebooks))

    def _expire_dead_codes(self, reached: Tensor, counts: Tensor) -> None:
        """Move each codeword that has been unused for long to a random row, no two to the same."""
        # No `if`: reading a result from the GPU would synchronize with it at every step.
        num_levels, num_rows, _ = reached.shape
        self.unused_rows.copy_(torch.where(counts > 0, 0, self.unused_rows + num_rows))
        dead = self.unused_rows >= self.dead_after * counts.shape[1]  # (L, K)
        place = dead.cumsum(1) - 1  # (L, K), numbers the dead codewords of a level
        dead = dead & (place < num_rows)
        shuffled = torch.randperm(num_rows, device=reached.device)
        level = torch.arange(num_levels, device=reached.device)[:, None]
        drawn = reached[level, shuffled[place.clamp(0, num_rows - 1)]]  # (L, K, D)
        self.codebooks.copy_(torch.where(dead[..., None], drawn, self.codebooks))
        self.unused_rows.masked_fill_(dead, 0)
        if self.learning == "average":  # the moved codeword gets the mean weight of its level
            weight = self.rows_average.mean(1, keepdim=True)  # (L, 1)
            weighted = weight[..., None] * drawn
            self.sum_average.copy_(torch.where(dead[..., None], weighted, self.sum_average))
            self.rows_average.copy_(torch.where(dead, weight, self.rows_average))


def sum_of_codewords(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sum of the codewords of each row of codes.

    Args:
        codes: shape (B, l), int64, l ≤ L.
        codebooks: shape (L, K, D).

    Returns:
        The vectors, shape (B, D), the dtype of the codebooks.
    """
    vectors = torch.zeros_like(codebooks[0, 0]).expand(len(codes), -1)  # (B, D)
    for level_codes, codebook in zip(codes.T, codebooks, strict=False):
        vectors = vectors + F.embedding(level_codes, codebook)
    return vectors
