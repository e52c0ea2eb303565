"""The RQ-VAE: an autoencoder whose bottleneck is a residual quantizer.

An encoder turns an item's embedding into a small latent vector, the quantizer replaces it with a
sum of codewords, and a decoder rebuilds the embedding from the sum. Information that the codes do
not carry is lost, so training makes the codes carry what matters. The codes are the item's semantic
ID.

Each input feature is standardized. Sentence embeddings have a large common mean, and without
standardization most of the reconstruction would go into it, and not into what distinguishes items.
Losses are summed over features, not averaged, so that the weight of reconstruction relative to
commitment does not shrink as embeddings get wider.

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
from rqvae_lib.ops.torch_settings import own_dtype, own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer


class RQVAEOutput(NamedTuple):
    """What the RQ-VAE makes of a batch of B embeddings, and its loss."""

    reconstruction: Tensor  # (B, input_dim), in the units of the input
    codes: Tensor  # (B, L) int64
    loss: Tensor  # (), reconstruction_loss + quantization_loss
    reconstruction_loss: Tensor  # (), squared error of standardized features: sum, batch mean
    quantization_loss: Tensor  # (), the quantizer's: sum over levels and features, batch mean


class RQVAE(nn.Module):
    """Embeddings (B, input_dim) → latents (B, D) → codes (B, L) → embeddings.

    Call `fit_to_data` with the catalogue once before training. It measures the mean and the spread
    of each feature and starts the codebooks with k-means. Both are part of the state dict.

    Args:
        config: the architecture.

    Attributes:
        mean: buffer (input_dim,), float32, the mean of each feature.
        std: buffer (input_dim,), float32, the spread of each feature.
    """

    mean: Tensor
    std: Tensor

    @own_dtype
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
        """Encode, quantize and decode embeddings, and compute the loss.

        Args:
            embeddings: shape (B, input_dim), float32, not standardized.

        Raises:
            ValueError: as `standardize`.
        """
        x = self.standardize(embeddings)
        latents = self.encoder(x).float()  # (B, D); under autocast, only the MLPs run in bf16
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
        """Return the reconstruction loss () without the quantizer between encoder and decoder.

        A random encoder maps all items to nearly the same place, where k-means finds little
        structure. A few hundred steps on this loss before the codebooks start spread the items out.

        Args:
            embeddings: shape (B, input_dim), float32.

        Raises:
            ValueError: as `standardize`.
        """
        x = self.standardize(embeddings)
        rebuilt = self.decoder(self.encoder(x)).float()
        loss: Tensor = (rebuilt - x).square().sum(1).mean()
        return loss

    def standardize(self, embeddings: Tensor) -> Tensor:
        """Return embeddings (B, input_dim) with mean 0 and spread 1 in each feature.

        Raises:
            ValueError: if embeddings have another dtype or width than this RQ-VAE reads.
        """
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

    @own_settings
    def fit_to_data(self, embeddings: Tensor, *, generator: torch.Generator) -> None:
        """Measure the standardization and start the codebooks, on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), float32, N ≥ K.
            generator: source of the draws for the k-means++ starts, on the device of embeddings.

        Raises:
            ValueError: as `standardize`, if embeddings are not finite, or if there are fewer rows
                than codewords in a codebook.
        """
        self.fit_standardization(embeddings)
        self.init_codebooks(embeddings, generator=generator)

    @own_settings
    @torch.no_grad()
    def fit_standardization(self, embeddings: Tensor) -> None:
        """Measure the mean and the spread of each feature on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), float32, N ≥ K. Too few rows are refused now, before
                any training, because they could not fill the codebooks later.

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
        # A constant feature carries no information; spread 1 keeps it at zero.
        spread = embeddings.std(0, correction=0)
        self.std.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    @own_settings
    @torch.no_grad()
    def init_codebooks(self, embeddings: Tensor, *, generator: torch.Generator) -> None:
        """Start the codebooks with k-means on the latents of the current encoder.

        Args:
            embeddings: the whole catalogue, shape (N, input_dim), float32, N ≥ K.
            generator: source of the draws for the k-means++ starts, on the device of embeddings.

        Raises:
            ValueError: as `fit_to_data`.
        """
        # Without an encoder, k-means does all the work, and in hundreds of dimensions, so it gets
        # more iterations and candidates than a start for training.
        alone = self.config.hidden_dims is None
        self.quantizer.init_codebooks(
            self.encode(embeddings),
            generator=generator,
            num_iterations=25 if alone else 10,
            num_candidates=2 + int(math.log(self.config.codebook_size)) if alone else 1,
        )

    @own_settings
    @torch.no_grad()
    def encode(self, embeddings: Tensor) -> Tensor:
        """Return the latents (N, D) of embeddings (N, input_dim), before quantization.

        Raises:
            ValueError: as `standardize`, or if embeddings are not finite.
        """
        self._check(embeddings)
        latents = self.mean.new_empty(len(embeddings), self.config.latent_dim)
        for rows, block in self._latent_blocks(embeddings):
            latents[rows] = block
        return latents

    def _latent_blocks(self, embeddings: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of the rows of embeddings (N, input_dim), and their latents (block, D)."""
        # All blocks are standardized in the same memory: allocating it for each block, which the
        # system must clear first, takes longer than the arithmetic.
        place = torch.empty_like(embeddings[:BLOCK_ROWS])
        for rows in row_blocks(len(embeddings)):
            block = embeddings[rows]
            if not block.sum().isfinite():  # while the block is in the cache
                check_finite(embeddings, "embeddings")
            x = torch.sub(block, self.mean, out=place[: len(block)]).div_(self.std)
            yield rows, self.encoder(x)

    @own_settings
    @torch.no_grad()
    def assign(self, embeddings: Tensor) -> Tensor:
        """Return the codes (N, L) int64 of a whole catalogue's embeddings (N, input_dim).

        Raises:
            ValueError: as `encode`, or if the codebooks were never fitted to a catalogue.
        """
        if not self.quantizer.initialized:
            raise ValueError(
                "this RQ-VAE has never seen a catalogue, so its codes mean nothing: call "
                "fit_to_data first, or load a trained RQ-VAE"
            )
        self._check(embeddings)
        codes = torch.empty(
            len(embeddings), self.config.num_levels, dtype=torch.int64, device=embeddings.device
        )
        for rows, latents in self._latent_blocks(embeddings):
            codes[rows] = self.quantizer.encode(latents)
        return codes

    @own_settings
    def tokenize(self, embeddings: Tensor) -> SemanticIDs:
        """Return the catalogue of semantic IDs of the items with these embeddings (N, input_dim).

        Row i is item i. A disambiguation code tells apart items with the same codes.

        Raises:
            ValueError: as `assign`.
        """
        return SemanticIDs(self.assign(embeddings), self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each level, length L."""
        return (self.config.codebook_size,) * self.config.num_levels

    @own_settings
    @torch.no_grad()
    def variance_lost(self, embeddings: Tensor, codes: Tensor) -> float:
        """Return the share of the embeddings' variance that is lost when codes replace them.

        It is measured on standardized embeddings, around the mean that `fit_to_data` found.

        Args:
            embeddings: shape (N, input_dim), float32.
            codes: the result of `assign` for them, (N, L) int64, or its first columns, (N, l).

        Returns:
            0 is perfect. 1 is no better than always predicting the mean.
        """
        lost = total = 0.0
        for rows in row_blocks(len(embeddings)):
            x = self.standardize(embeddings[rows])
            rebuilt = self.decoder(self.quantizer.decode(codes[rows]))
            lost += float((rebuilt - x).square().sum())
            total += float(x.square().sum())
        # If all items are equal, their only variance is rounding.
        return lost / total if total > 1e-6 * len(embeddings) else 0.0


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers with ReLU between them, and none after the last layer.

    Args:
        widths: the width of the input, then of each layer's output.
    """
    layers: list[nn.Module] = []
    for i, (wide, narrow) in enumerate(pairwise(widths)):
        if i:
            layers.append(nn.ReLU(inplace=True))  # backward does not need the layer's own output
        layers.append(nn.Linear(wide, narrow))
    return nn.Sequential(*layers)
