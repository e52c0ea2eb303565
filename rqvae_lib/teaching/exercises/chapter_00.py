"""The cases of chapter 00's exercises."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "the fine codewords are short, and taken first they can only begin to describe a movie; "
    "the coarse ones, which come last, are far too long for what is left",
    "b": "nothing is subtracted, so every level describes the whole movie again, and the sum "
    "counts the same thing three times",
    "c": "the nearest by another distance is mostly the same codeword, or one about as near",
    "d": "half of the numbers say most of what all of them say about which codeword is near, and "
    "the next level corrects a part of the mistakes",
    "e": "the residual is a difference, so after the first level the 5 is gone from it, but not "
    "from the second and third codebook",
    "f": "the 5 is subtracted along with the first codeword, so from there on nothing has changed",
}


def shared_prefix_length(function: Callable[[tuple[int, ...], tuple[int, ...]], int]) -> bool:
    """Check a function that counts the leading codes two semantic IDs share."""
    return passes(
        function,
        [
            Case(((1, 9, 2, 0), (5, 9, 2, 0)), 0, "codes after a difference no longer count"),
            Case(((5, 9, 2, 0), (5, 9, 7, 1)), 2, "count every code before the first difference"),
            Case(((5, 9, 2, 0), (5, 9, 2, 0)), 4, "equal IDs share all of their codes"),
            Case(((5, 9, 2, 0), (5, 1, 2, 0)), 1, "stop at the first difference, for good"),
        ],
    )


def spoils(function: Callable[[str], bool]) -> bool:
    """Check which changes lose more than four times as much of the latents, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    unchanged, lost = _lost(""), _lost(change)
    hint = (
        f"({change}) was run: {lost:.0%} of the variance is lost, and {unchanged:.0%} without the "
        f"change; {_WHY[change]}"
    )
    return Case((change,), lost > 4 * unchanged, hint)


@cache
def _lost(change: str) -> float:
    """The share of the variance of 500 movies' latents that three codewords do not rebuild."""
    z, codebooks = _movies()
    z, rebuilt = _changed_codes(change, z, codebooks)
    return float((z - rebuilt).square().sum() / (z - z.mean(0)).square().sum())


def _changed_codes(change: str, z: Tensor, codebooks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Run the lines that the chapter prints with one of their changes, "a" to "f", or with none.

    Args:
        change: the letter, or "".
        z: latents, (N, D).
        codebooks: of each level, (K, D).

    Returns:
        The latents (N, D), which two changes move, and what the codewords add up to (N, D).
    """
    if change in ("e", "f"):
        moved = len(codebooks) if change == "e" else 1
        z = z + 5
        codebooks = [c + 5 if place < moved else c for place, c in enumerate(codebooks)]
    residual, rebuilt = z, torch.zeros_like(z)
    for codebook in codebooks[::-1] if change == "a" else codebooks:
        differences = residual[:, None] - codebook  # (N, K, D)
        if change == "d":
            differences = differences[:, :, :16]
        distances = differences.abs() if change == "c" else differences.square()
        nearest = distances.sum(2).argmin(1)  # (N,)
        rebuilt = rebuilt + codebook[nearest]
        residual = z if change == "b" else residual - codebook[nearest]
    return z, rebuilt


@torch.no_grad()
def _movies() -> tuple[Tensor, list[Tensor]]:
    """Latents of 500 movies by the shipped RQ-VAE, (500, 32), and its codebooks, each (256, 32)."""
    rqvae, _ = load_rqvae("movielens-small-2016")
    embeddings = load_embeddings("movielens-small-2016")
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))
    codebooks = [codebook.detach().clone() for codebook in rqvae.quantizer.codebooks]
    return rqvae.encode(embeddings[order[:500]]), codebooks
