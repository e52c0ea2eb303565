"""The quality of a tokenizer: does it use its codes, tell items apart, and keep what matters?

A collapsed RQ-VAE trains without an error: its loss falls, but all its codes are the same. Only the
codes of the whole catalogue show the collapse, so the metrics here are measured on them.

Source: the quantities of Lee et al., arXiv 2203.01941, §5, and Zeghidour et al., arXiv 2107.03312,
§III-C; collisions: Rajput et al., TIGER, arXiv 2305.05065, §3.1.
Derived in: chapter 05; seen at work in chapter 00.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_rows
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.rqvae import RQVAE


class CodeUsage(NamedTuple):
    """How much of each level's codebook is used."""

    utilization: Tensor  # (L,) share of codewords that at least one row uses, in [0, 1]
    perplexity: Tensor  # (L,) exp of the entropy of the codes, in [1, K]: codewords in real use


@dataclass(frozen=True)
class TokenizerMetrics:
    """The quality of a tokenizer, measured on a whole catalogue."""

    utilization: tuple[float, ...]  # per level: share of codewords that an item uses, in [0, 1]
    perplexity: tuple[float, ...]  # per level: codewords in real use, in [1, K]
    residual_norms: tuple[float, ...]  # mean length of the input of each level, and of the rest
    collision_rate: float  # share of items whose codes an earlier item has, in [0, 1]
    variance_lost: float  # share of the embeddings' variance that the codes do not keep

    def worst(self) -> dict[str, float]:
        """Return the four numbers that show a collapse. Of the levels, the worst one counts."""
        return {
            "utilization": min(self.utilization),
            "perplexity": min(self.perplexity),
            "collision_rate": self.collision_rate,
            "variance_lost": self.variance_lost,
        }


@own_settings
@torch.no_grad()
def tokenizer_metrics(model: RQVAE, embeddings: Array) -> TokenizerMetrics:
    """Measure a tokenizer on a whole catalogue.

    Args:
        model: in evaluation or training mode. It is not changed.
        embeddings: shape (N, input_dim), numbers, on the model's device.

    Raises:
        ValueError: as `RQVAE.encode`.
    """
    latents = model.encode(embeddings)  # (N, D)
    codes = model.quantizer.encode(latents)  # (N, L)
    usage = code_usage(codes, model.config.codebook_size)
    return TokenizerMetrics(
        tuple(usage.utilization.tolist()),
        tuple(usage.perplexity.tolist()),
        tuple(model.quantizer.residual_norms(latents).tolist()),
        SemanticIDs(codes, model.sizes).collision_rate,
        model.variance_lost(embeddings, codes),
    )


@own_settings
def code_usage(codes: Array, codebook_size: int) -> CodeUsage:
    """Measure how much of each level's codebook is used. A collapse shows here first.

    Args:
        codes: shape (N, L), whole numbers, each in [0, codebook_size).
        codebook_size: K, the number of codewords per level.

    Returns:
        The utilization (L,) and the perplexity (L,), float32. A collapsed level has a perplexity
        near 1. K codewords in equal use have the perplexity K.

    Raises:
        ValueError: if there are no rows, or codes are not a matrix of such numbers.
    """
    codes = as_rows(codes, "codes", ndim=2)
    if not len(codes):
        raise ValueError("codes has no rows; expected one per item: pass the codes of a catalogue")
    if not 0 <= int(codes.min()) <= int(codes.max()) < codebook_size:
        raise ValueError(
            f"the codes are from {int(codes.min())} to {int(codes.max())}; expected 0 to "
            f"{codebook_size - 1}: leave out the disambiguation code, or pass the right "
            "codebook_size"
        )
    counts = torch.stack([torch.bincount(level, minlength=codebook_size) for level in codes.T])
    shares = counts / len(codes)  # (L, K)
    entropy = -torch.special.xlogy(shares, shares).sum(1)  # (L,), nats
    return CodeUsage((counts > 0).float().mean(1), entropy.exp())
