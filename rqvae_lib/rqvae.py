"""The RQ-VAE: an autoencoder whose bottleneck is a residual quantizer.

An encoder turns an item's embedding into a small latent vector, the quantizer replaces that by a
sum of codewords, and a decoder must rebuild the embedding from the sum. What the codes cannot say
is lost, so training makes the codes say what matters. The codes are the item's semantic ID.

Inputs are standardised, feature by feature: sentence embeddings have a large common mean, which
otherwise takes the whole first codebook. Losses are summed over features, not averaged, so that the
weight of reconstruction against commitment does not shrink as embeddings get wider.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 and §4 (encoder 512-256-128, latent 32, ReLU,
3 levels of 256 codewords, β = 0.25).
Derived in: chapter 05; seen at work in chapter 00.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rqvae_lib.kmeans import check_finite, row_blocks
from rqvae_lib.quantize import ResidualQuantizer


@dataclass(frozen=True)
class RQVAEConfig:
    input_dim: int = 384  # numbers in an item's embedding
    hidden_dims: tuple[int, ...] = (512, 256, 128)  # encoder layers; the decoder mirrors them
    latent_dim: int = 32  # D: numbers in the latent vector and in each codeword
    num_levels: int = 3  # L: codes in a semantic ID, before disambiguation
    codebook_size: int = 256  # K: codewords a level
    commitment_weight: float = 0.25  # β: how strongly the encoder is pulled to its codewords
    ema_decay: float = 0.99  # memory of the codewords' moving averages, in [0, 1)
    dead_after: int = 20  # training steps without a single row until a codeword is placed anew

    def __post_init__(self) -> None:
        counts = ("input_dim", "latent_dim", "num_levels", "codebook_size", "dead_after")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if any(width < 1 for width in self.hidden_dims):
            raise ValueError(f"hidden_dims is {self.hidden_dims}; each width must be at least 1")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be in [0, 1)")
        if not 0 <= self.commitment_weight < math.inf:
            raise ValueError(
                f"commitment_weight is {self.commitment_weight}; it must be finite and at least 0"
            )
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))  # JSON gives a list


class RQVAEOutput(NamedTuple):
    reconstruction: Tensor  # (B, input_dim), in the units of the input
    codes: Tensor  # (B, L) int64
    loss: Tensor  # (), reconstruction_loss + quantization_loss
    reconstruction_loss: Tensor  # (), squared error of standardised features: sum, batch mean
    quantization_loss: Tensor  # (), weighted commitment loss: sum over levels, batch mean


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
        widths = (config.input_dim, *config.hidden_dims, config.latent_dim)
        self.encoder = mlp(widths)
        self.decoder = mlp(widths[::-1])
        self.quantizer = ResidualQuantizer(
            config.num_levels,
            config.codebook_size,
            config.latent_dim,
            commitment_weight=config.commitment_weight,
            ema_decay=config.ema_decay,
            dead_after=config.dead_after,
        )
        self.register_buffer("mean", torch.zeros(config.input_dim))
        self.register_buffer("std", torch.ones(config.input_dim))

    def forward(self, embeddings: Tensor) -> RQVAEOutput:
        """Encode, quantize, decode and measure the loss.

        Args:
            embeddings: shape (B, input_dim), float32, not yet standardised.
        """
        x = self.standardize(embeddings)
        quantized = self.quantizer(self.encoder(x))  # vectors (B, D)
        rebuilt = self.decoder(quantized.vectors)  # (B, input_dim)
        reconstruction_loss = (rebuilt - x).square().sum(1).mean()
        quantization_loss = quantized.loss.mean()
        return RQVAEOutput(
            rebuilt * self.std + self.mean,
            quantized.codes,
            reconstruction_loss + quantization_loss,
            reconstruction_loss,
            quantization_loss,
        )

    def standardize(self, embeddings: Tensor) -> Tensor:
        """Return embeddings (B, input_dim) with mean 0 and spread 1 in each feature."""
        self._check_width(embeddings)
        return (embeddings - self.mean) / self.std

    def _check_width(self, embeddings: Tensor) -> None:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.config.input_dim:
            raise ValueError(
                f"embeddings have shape {tuple(embeddings.shape)}; this RQ-VAE reads rows of "
                f"{self.config.input_dim} numbers: use the encoder that it was trained on"
            )

    @torch.no_grad()
    def fit_to_data(self, embeddings: Tensor, *, generator: torch.Generator) -> None:
        """Measure the standardisation and start the codebooks, on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), N ≥ K.
            generator: draws the k-means++ starts.

        Raises:
            ValueError: if embeddings are not finite, or fewer than codewords.
        """
        self._check_width(embeddings)
        check_finite(embeddings, "embeddings")
        self.mean.copy_(embeddings.mean(0))
        # A feature that never varies carries nothing; spread 1 keeps it at zero.
        spread = embeddings.std(0, correction=0)
        self.std.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))
        self.quantizer.init_codebooks(self.encode(embeddings), generator=generator)

    @torch.no_grad()
    def encode(self, embeddings: Tensor) -> Tensor:
        """Return the latents (N, D) of embeddings (N, input_dim), before quantization.

        Raises:
            ValueError: if embeddings are not finite, or of another width.
        """
        self._check_width(embeddings)
        check_finite(embeddings, "embeddings")
        return torch.cat(
            [
                self.encoder(self.standardize(embeddings[rows]))
                for rows in row_blocks(len(embeddings))
            ]
        )

    @torch.no_grad()
    def assign(self, embeddings: Tensor) -> Tensor:
        """Return the codes (N, L) int64 of a whole catalogue's embeddings (N, input_dim)."""
        return self.quantizer.encode(self.encode(embeddings))

    @torch.no_grad()
    def reconstruction_error(self, embeddings: Tensor) -> float:
        """Return the share of the embeddings' variance that the codes lose: 0 is perfect."""
        x = self.standardize(embeddings)
        rebuilt = self.decoder(self.quantizer.decode(self.assign(embeddings)))
        return float((rebuilt - x).square().sum() / x.square().sum())


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Return linear layers of these widths with ReLU between them, none after the last."""
    layers: list[nn.Module] = []
    for i, (wide, narrow) in enumerate(pairwise(widths)):
        if i:
            layers.append(nn.ReLU())
        layers.append(nn.Linear(wide, narrow))
    return nn.Sequential(*layers)
