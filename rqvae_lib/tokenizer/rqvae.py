"""The RQ-VAE: an autoencoder whose bottleneck is a residual quantizer.

An encoder turns an item's embedding into a small latent vector, the quantizer replaces that by a
sum of codewords, and a decoder must rebuild the embedding from the sum. What the codes cannot say
is lost, so training makes the codes say what matters. The codes are the item's semantic ID.

Inputs are standardized, feature by feature: sentence embeddings have a large common mean, and what
tells items apart should not be the smaller part of what has to be rebuilt. Losses are summed over
features, not averaged, so that the weight of reconstruction against commitment does not shrink as
embeddings get wider.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 and §4 (encoder 512-256-128, latent 32, ReLU,
3 levels of 256 codewords, β = 0.25).
Derived in: chapter 05; seen at work in chapter 00.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rqvae_lib.ops.rows import BLOCK_ROWS, check_finite, row_blocks
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer


class RQVAEOutput(NamedTuple):
    reconstruction: Tensor  # (B, input_dim), in the units of the input
    codes: Tensor  # (B, L) int64
    loss: Tensor  # (), reconstruction_loss + quantization_loss
    reconstruction_loss: Tensor  # (), squared error of standardized features: sum, batch mean
    quantization_loss: Tensor  # (), the quantizer's: sum over levels and features, batch mean


class RQVAE(nn.Module):
    """Embeddings (B, input_dim) → latents (B, D) → codes (B, L) → embeddings.

    `fit_to_data` must see the catalogue once before training: it measures the mean and spread of
    each feature and starts the codebooks with k-means. Both are part of the state dict.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: RQVAEConfig) -> None:
        super().__init__()
        self.config = config
        widths: tuple[int, ...] = (config.input_dim,)
        if config.hidden_dims is not None:
            widths = (config.input_dim, *config.hidden_dims, config.latent_dim)
        self.encoder = mlp(widths)
        self.decoder = mlp(widths[::-1])
        self.quantizer = ResidualQuantizer(
            config.num_levels,
            config.codebook_size,
            config.latent_dim,
            commitment_weight=config.commitment_weight,
            estimator=config.estimator,
            learning=config.learning,
            ema_decay=config.ema_decay,
            dead_after=config.dead_after,
            temperature=config.temperature,
            final_temperature=config.final_temperature,
            temperature_decay=config.temperature_decay,
        )
        self.register_buffer("mean", torch.zeros(config.input_dim))
        self.register_buffer("std", torch.ones(config.input_dim))

    def forward(self, embeddings: Tensor) -> RQVAEOutput:
        """Encode, quantize, decode and measure the loss.

        Args:
            embeddings: shape (B, input_dim), float32, not yet standardized.
        """
        x = self.standardize(embeddings)
        latents = self.encoder(x).float()  # (B, D); under bf16 autocast the MLP alone is short
        with torch.autocast(latents.device.type, enabled=False):
            quantized = self.quantizer(latents)  # vectors (B, D)
        rebuilt = self.decoder(quantized.vectors).float()  # (B, input_dim)
        reconstruction_loss = (rebuilt - x).square().sum(1).mean()
        quantization_loss = quantized.loss.mean()
        return RQVAEOutput(
            rebuilt * self.std + self.mean,
            quantized.codes,
            reconstruction_loss + quantization_loss,
            reconstruction_loss,
            quantization_loss,
        )

    def autoencoder_loss(self, embeddings: Tensor) -> Tensor:
        """Return the reconstruction loss (), were there no quantizer between encoder and decoder.

        A random encoder maps all items to much the same place, where k-means finds little. A few
        hundred steps on this loss, before the codebooks are started, let it find the differences.

        Args:
            embeddings: shape (B, input_dim).
        """
        x = self.standardize(embeddings)
        rebuilt = self.decoder(self.encoder(x)).float()
        loss: Tensor = (rebuilt - x).square().sum(1).mean()
        return loss

    def standardize(self, embeddings: Tensor) -> Tensor:
        """Return embeddings (B, input_dim) with mean 0 and spread 1 in each feature."""
        self._check(embeddings)
        return (embeddings - self.mean).div_(self.std)

    def _check(self, embeddings: Tensor) -> None:
        if embeddings.dtype != self.mean.dtype:
            raise ValueError(
                f"embeddings are {embeddings.dtype}; this RQ-VAE reads {self.mean.dtype}: convert "
                "them with .float()"
            )
        if embeddings.ndim != 2 or embeddings.shape[1] != self.config.input_dim:
            raise ValueError(
                f"embeddings have shape {tuple(embeddings.shape)}; this RQ-VAE reads rows of "
                f"{self.config.input_dim} numbers: use the encoder that it was trained on"
            )

    def fit_to_data(self, embeddings: Tensor, *, generator: torch.Generator) -> None:
        """Measure the standardization and start the codebooks, on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), N ≥ K.
            generator: draws the k-means++ starts.

        Raises:
            ValueError: if embeddings are not finite, or fewer than codewords.
        """
        self.fit_standardization(embeddings)
        self.init_codebooks(embeddings, generator=generator)

    @torch.no_grad()
    def fit_standardization(self, embeddings: Tensor) -> None:
        """Measure the mean and the spread of each feature on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), N ≥ K: what could not fill the codebooks later is
                refused now, before anything is trained on it.

        Raises:
            ValueError: as `fit_to_data`.
        """
        self._check(embeddings)
        check_finite(embeddings, "embeddings")
        if len(embeddings) < self.config.codebook_size:
            raise ValueError(
                f"{len(embeddings)} items cannot fill codebooks of {self.config.codebook_size} "
                "codewords: use a smaller codebook_size"
            )
        self.mean.copy_(embeddings.mean(0))
        # A feature that never varies carries nothing; spread 1 keeps it at zero.
        spread = embeddings.std(0, correction=0)
        self.std.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    @torch.no_grad()
    def init_codebooks(self, embeddings: Tensor, *, generator: torch.Generator) -> None:
        """Start the codebooks with k-means on the latents that the encoder makes now.

        Args:
            embeddings: the whole catalogue, shape (N, input_dim), N ≥ K.
            generator: draws the k-means++ starts.

        Raises:
            ValueError: as `fit_to_data`.
        """
        # Without an encoder, k-means is all there is and works in hundreds of dimensions: it is
        # worth more care than a mere start.
        alone = self.config.hidden_dims is None
        self.quantizer.init_codebooks(
            self.encode(embeddings),
            generator=generator,
            num_iterations=25 if alone else 10,
            num_candidates=2 + int(math.log(self.config.codebook_size)) if alone else 1,
        )

    @torch.no_grad()
    def encode(self, embeddings: Tensor) -> Tensor:
        """Return the latents (N, D) of embeddings (N, input_dim), before quantization.

        Raises:
            ValueError: if embeddings are not finite, or of another width.
        """
        self._check(embeddings)
        latents = self.mean.new_empty(len(embeddings), self.config.latent_dim)
        for rows, block in self._latent_blocks(embeddings):
            latents[rows] = block
        return latents

    def _latent_blocks(self, embeddings: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows of embeddings (N, input_dim), and their latents (block, D)."""
        # All blocks are standardized in the same place: new memory a block, which the system has
        # to clear first, takes longer than the arithmetic.
        place = torch.empty_like(embeddings[:BLOCK_ROWS])
        for rows in row_blocks(len(embeddings)):
            block = embeddings[rows]
            if not block.sum().isfinite():  # while the block is in the cache
                check_finite(embeddings, "embeddings")
            x = torch.sub(block, self.mean, out=place[: len(block)]).div_(self.std)
            yield rows, self.encoder(x)

    @torch.no_grad()
    def assign(self, embeddings: Tensor) -> Tensor:
        """Return the codes (N, L) int64 of a whole catalogue's embeddings (N, input_dim).

        Raises:
            ValueError: as `encode`, or if the codebooks were never started on a catalogue.
        """
        if not self.quantizer.initialized:
            raise ValueError(
                "this RQ-VAE has never seen a catalogue, so its codes mean nothing: call "
                "fit_to_data first, or load a trained one"
            )
        self._check(embeddings)
        codes = torch.empty(
            len(embeddings), self.config.num_levels, dtype=torch.int64, device=embeddings.device
        )
        for rows, latents in self._latent_blocks(embeddings):
            codes[rows] = self.quantizer.encode(latents)
        return codes

    def tokenize(self, embeddings: Tensor) -> SemanticIDs:
        """Return the catalogue of semantic IDs of items, by their embeddings (N, input_dim).

        Item i is row i. Items with the same codes are told apart by a disambiguation code.

        Raises:
            ValueError: as `assign`.
        """
        return SemanticIDs(self.assign(embeddings), self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each level has, (L,)."""
        return (self.config.codebook_size,) * self.config.num_levels

    @torch.no_grad()
    def variance_lost(self, embeddings: Tensor, codes: Tensor) -> float:
        """Return the share of the embeddings' variance that is lost when codes stand for them.

        Measured on standardized embeddings, about the mean that `fit_to_data` found.

        Args:
            embeddings: shape (N, input_dim).
            codes: what `assign` makes of them, (N, L), or its first columns, (N, l).

        Returns:
            0 is perfect; 1 is no better than rebuilding the mean of all.
        """
        lost = total = 0.0
        for rows in row_blocks(len(embeddings)):
            x = self.standardize(embeddings[rows])
            rebuilt = self.decoder(self.quantizer.decode(codes[rows]))
            lost += float((rebuilt - x).square().sum())
            total += float(x.square().sum())
        # Items that are all alike vary by nothing but rounding.
        return lost / total if total > 1e-6 * len(embeddings) else 0.0


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (wide, narrow) in enumerate(pairwise(widths)):
        if i:
            layers.append(nn.ReLU(inplace=True))  # a linear layer does not need its output
        layers.append(nn.Linear(wide, narrow))
    return nn.Sequential(*layers)
