"""The RQ-VAE: an autoencoder whose bottleneck is a residual quantizer.

An encoder turns an item's embedding into a small latent vector, the quantizer replaces it with a
sum of codewords, and a decoder rebuilds the embedding from the sum. Information that the codes do
not carry is lost, so training makes the codes carry what matters. The codes are the item's semantic
ID.

Each input feature is standardized. Sentence embeddings have a large common mean, and without
standardization most of the reconstruction would go into it, and not into what distinguishes items.
So the unit of the embeddings does not matter: in another unit, they get the same codes. Losses are
summed over features, not averaged, so that the weight of reconstruction relative to commitment does
not shrink as embeddings get wider.

A trained RQ-VAE can leave Python. `forward` in evaluation mode does the same with each row, so
`torch.export` and `torch.jit.trace` record it for batches of any size, and `Coder` is a module that
does nothing else but turn embeddings into codes:

    program = torch.export.export(
        Coder(rqvae), (embeddings,), dynamic_shapes=({0: torch.export.Dim("rows")},)
    )

The methods that read a whole catalogue in blocks, `assign`, `encode` and `tokenize`, cannot be
recorded and say so.

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

from rqvae_lib.ops.arrays import Array, as_rows, as_vectors
from rqvae_lib.ops.kmeans import is_recorded
from rqvae_lib.ops.rows import BLOCK_ROWS, check_finite, row_blocks
from rqvae_lib.ops.scale import scale_of
from rqvae_lib.ops.torch_settings import own_dtype, own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer

# A product of matrices with few rows, or with an odd number of them, may round otherwise than the
# same rows among many (seen in MKL 2024.2 with 1 to 3 rows). Then an item's codes would depend on
# which items it is assigned with, so blocks are filled up to a multiple of this.
ROWS_MULTIPLE = 16


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

    def forward(self, embeddings: Array) -> RQVAEOutput:
        """Encode, quantize and decode embeddings, and compute the loss.

        Args:
            embeddings: shape (B, input_dim), numbers, not standardized.

        Raises:
            ValueError: as `standardize`.
            RuntimeError: if it is exported or traced in training mode, which changes the codebooks.
        """
        if self.training and is_recorded() and not torch.compiler.is_dynamo_compiling():
            raise RuntimeError(
                "an RQ-VAE in training mode moves its codewords at each call, which an export or a "
                "trace cannot record: call .eval() first"
            )
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

    def autoencoder_loss(self, embeddings: Array) -> Tensor:
        """Return the reconstruction loss () without the quantizer between encoder and decoder.

        A random encoder maps all items to nearly the same place, where k-means finds little
        structure. A few hundred steps on this loss before the codebooks start spread the items out.

        Args:
            embeddings: shape (B, input_dim), numbers.

        Raises:
            ValueError: as `standardize`.
        """
        x = self.standardize(embeddings)
        rebuilt = self.decoder(self.encoder(x)).float()
        loss: Tensor = (rebuilt - x).square().sum(1).mean()
        return loss

    def standardize(self, embeddings: Array) -> Tensor:
        """Return embeddings (B, input_dim) with mean 0 and spread 1 in each feature.

        Raises:
            ValueError: if embeddings are not a matrix of numbers of the width that this RQ-VAE
                reads.
        """
        embeddings = self._read(embeddings)
        return (embeddings - self.mean).div_(self.std)

    def _read(self, embeddings: Array) -> Tensor:
        """Return embeddings as a tensor (N, input_dim) of the model's dtype."""
        found = as_vectors(embeddings, "embeddings", dtype=self.mean.dtype)
        if found.shape[1] != self.config.input_dim:
            raise ValueError(
                f"embeddings have shape {tuple(found.shape)}; this RQ-VAE reads rows of "
                f"{self.config.input_dim} numbers: use the encoder that it was trained on"
            )
        return found

    @own_settings
    def fit_to_data(self, embeddings: Array, *, generator: torch.Generator) -> None:
        """Measure the standardization and start the codebooks, on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), numbers, N ≥ K.
            generator: source of the draws for the k-means++ starts, on the device of embeddings.

        Raises:
            ValueError: as `standardize`, if embeddings are not finite, or if there are fewer rows
                than codewords in a codebook.
        """
        self.fit_standardization(embeddings)
        self.init_codebooks(embeddings, generator=generator)

    @own_settings
    @torch.no_grad()
    def fit_standardization(self, embeddings: Array) -> None:
        """Measure the mean and the spread of each feature on the whole catalogue.

        Args:
            embeddings: shape (N, input_dim), numbers, N ≥ K. Too few rows are refused now, before
                any training, because they could not fill the codebooks later.

        Raises:
            ValueError: as `fit_to_data`.
        """
        embeddings = self._read(embeddings)
        check_finite(embeddings, "embeddings")
        if len(embeddings) < self.config.codebook_size:
            raise ValueError(
                f"{len(embeddings)} items cannot fill codebooks of {self.config.codebook_size} "
                "codewords: use a smaller codebook_size"
            )
        unit = _unit_of(embeddings)
        if unit != 1:
            embeddings = embeddings / unit
        low, high = embeddings.aminmax(dim=0)
        mean, spread = embeddings.mean(0), embeddings.std(0, correction=0)
        # A constant feature carries no information; a spread of one unit keeps it at zero. Rounding
        # may leave it a little spread, which is small beside its own values or other features.
        varied = spread[spread > 0]
        usual = varied.median() if len(varied) else spread.new_zeros(())
        constant = spread <= 1e-6 * torch.maximum(usual, torch.maximum(low.abs(), high.abs()))
        exact = torch.where(low == high, low + 0.0, mean)  # + 0.0: no −0.0
        self.mean.copy_(exact * unit)
        self.std.copy_(torch.where(constant, torch.ones_like(spread), spread) * unit)

    @own_settings
    @torch.no_grad()
    def init_codebooks(self, embeddings: Array, *, generator: torch.Generator) -> None:
        """Start the codebooks with k-means on the latents of the current encoder.

        Args:
            embeddings: the whole catalogue, shape (N, input_dim), numbers, N ≥ K.
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
    def encode(self, embeddings: Array) -> Tensor:
        """Return the latents (N, D) of embeddings (N, input_dim), before quantization.

        Raises:
            ValueError: as `standardize`, or if embeddings are not finite.
            RuntimeError: if it is exported or traced; see `Coder`.
        """
        _refuse_recording("encode")
        embeddings = self._read(embeddings)
        latents = self.mean.new_empty(len(embeddings), self.config.latent_dim)
        for rows, block in self._latent_blocks(embeddings):
            latents[rows] = block
        return latents

    def _latent_blocks(
        self, embeddings: Tensor, multiple: int = 1
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of the rows of embeddings (N, input_dim), and their latents (block, D).

        Args:
            embeddings: the whole catalogue.
            multiple: blocks are filled up to a multiple of this, behind the rows of the slice.
        """
        # All blocks are standardized in the same memory: allocating it for each block, which the
        # system must clear first, takes longer than the arithmetic.
        longest = min(len(embeddings), BLOCK_ROWS)
        place = embeddings.new_zeros(longest + -longest % multiple, embeddings.shape[1])
        for rows in row_blocks(len(embeddings)):
            block = embeddings[rows]
            if not block.sum().isfinite():  # while the block is in the cache
                check_finite(embeddings, "embeddings")
            torch.sub(block, self.mean, out=place[: len(block)]).div_(self.std)
            yield rows, self.encoder(place[: len(block) + -len(block) % multiple])

    @own_settings
    @torch.no_grad()
    def assign(self, embeddings: Array) -> Tensor:
        """Return the codes (N, L) int64 of a whole catalogue's embeddings (N, input_dim).

        An item's codes depend on its own embedding only, and not on those that it is assigned with.

        Raises:
            ValueError: as `encode`, or if the codebooks were never fitted to a catalogue.
            RuntimeError: if it is exported or traced; see `Coder`.
        """
        _refuse_recording("assign")
        self.check_fitted()
        embeddings = self._read(embeddings)
        codes = torch.empty(
            len(embeddings), self.config.num_levels, dtype=torch.int64, device=embeddings.device
        )
        for rows, latents in self._latent_blocks(embeddings, ROWS_MULTIPLE):
            codes[rows] = self.quantizer.encode(latents)[: rows.stop - rows.start]
        return codes

    def check_fitted(self) -> None:
        """Raise ValueError if the codebooks were never fitted to a catalogue."""
        if not self.quantizer.initialized:
            raise ValueError(
                "this RQ-VAE has never seen a catalogue, so its codes mean nothing: call "
                "fit_to_data first, or load a trained RQ-VAE"
            )

    @own_settings
    def tokenize(self, embeddings: Array) -> SemanticIDs:
        """Return the catalogue of semantic IDs of the items with these embeddings (N, input_dim).

        Row i is item i. A disambiguation code tells apart items with the same codes.

        Raises:
            ValueError, RuntimeError: as `assign`.
        """
        _refuse_recording("tokenize")
        return SemanticIDs(self.assign(embeddings), self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each level, length L."""
        return (self.config.codebook_size,) * self.config.num_levels

    @own_settings
    @torch.no_grad()
    def variance_lost(self, embeddings: Array, codes: Array) -> float:
        """Return the share of the embeddings' variance that is lost when codes replace them.

        It is measured on standardized embeddings, around the mean that `fit_to_data` found.

        Args:
            embeddings: shape (N, input_dim), numbers.
            codes: the result of `assign` for them, (N, L) int64, or its first columns, (N, l).

        Returns:
            0 is perfect. 1 is no better than always predicting the mean.

        Raises:
            ValueError: as `standardize`, or if codes are not a matrix of whole numbers.
        """
        embeddings, codes = self._read(embeddings), as_rows(codes, "codes", ndim=2)
        lost = total = 0.0
        for rows in row_blocks(len(embeddings)):
            x = self.standardize(embeddings[rows])
            rebuilt = self.decoder(self.quantizer.decode(codes[rows]))
            lost += float((rebuilt - x).square().sum())
            total += float(x.square().sum())
        # If all items are equal, their only variance is rounding. (x has no unit.)
        return lost / total if total > 1e-6 * len(embeddings) else 0.0


class Coder(nn.Module):
    """Embeddings (B, input_dim) → codes (B, L), as a module to export or to trace.

    The codes are those of `RQVAE.assign`. A number that is not finite is not refused.

    Args:
        rqvae: a trained RQ-VAE. It is shared, not copied.

    Raises:
        ValueError: if its codebooks were never fitted to a catalogue.
    """

    def __init__(self, rqvae: RQVAE) -> None:
        super().__init__()
        rqvae.check_fitted()
        self.rqvae = rqvae

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the codes (B, L) int64 of embeddings (B, input_dim), float32."""
        latents = self.rqvae.encoder(self.rqvae.standardize(embeddings)).float()
        return self.rqvae.quantizer.encode(latents)


def _refuse_recording(method: str) -> None:
    """Raise RuntimeError if a method that works in blocks is exported or traced."""
    if is_recorded() and not torch.compiler.is_dynamo_compiling():
        raise RuntimeError(
            f"RQVAE.{method} reads a catalogue in blocks, so an export or a trace of it would hold "
            "for this number of rows only: export or trace Coder(rqvae), of tokenizer.rqvae"
        )


def _unit_of(embeddings: Tensor) -> float:
    """Return a power of two that is not far above the largest number.

    It goes in steps of 2³², so that it is 1 for embeddings in any usual unit: those whose largest
    number is between .004 and 8 million.
    """
    _, exponent = math.frexp(float(scale_of(embeddings)))
    return math.ldexp(1.0, 32 * ((exponent + 7) // 32))


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
