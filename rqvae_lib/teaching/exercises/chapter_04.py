"""The cases of chapter 04's exercises."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, tensor

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "from the second level on the residual is a constant, and what a constant leaves over "
    "moves no encoder; in the values nothing is to be seen",
    "b": "the estimates bring a copy each, but the last line detaches their sum and adds z once",
    "c": "the value is right, but for autograd the residual is z minus constants, so that z minus "
    "the residual has no gradient at all",
    "d": "z minus what was said so far is the residual, with the same gradient",
    "e": "residual minus estimate has no gradient, so this loss pulls nobody, and the next "
    "residual is a constant besides",
    "f": "the residual is z minus constants, so it passes on one copy, as z does",
}


def polished(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    """Check codes that are chosen again, level by level, with the other levels known."""
    return passes(
        function,
        [
            Case(
                (
                    tensor([[2.0, 0.5], [6.0, 1.5]]),
                    tensor([[0], [0]]),
                    tensor([[[8.0, 2.0], [2.0, 0.0]]]),
                ),
                tensor([[1], [0]]),
                "with a single level there are no others, so its new code is that of the nearest "
                "codeword, by the squared distance; return int64 codes of shape (B, L)",
            ),
            Case(
                (tensor([[2.1]]), tensor([[1, 0]]), tensor([[[0.0], [4.0]], [[0.5], [9.0]]])),
                tensor([[0, 0]]),
                "the first level must know what the second adds: it is given z minus the codewords "
                "of the *other* levels, here 2.1 − 0.5, and not z",
            ),
            Case(
                (tensor([[4.2]]), tensor([[1, 0]]), tensor([[[0.0], [4.0]], [[0.1], [9.0]]])),
                tensor([[1, 0]]),
                "the level that chooses is no other level: do not subtract its own codeword",
            ),
            Case(
                (tensor([[2.1]]), tensor([[1, 0]]), tensor([[[0.0], [4.0]], [[0.5], [2.0]]])),
                tensor([[0, 1]]),
                "go from the first level to the last, and let the second work with the *new* "
                "codeword of the first",
            ),
            Case(
                (
                    tensor([[6.0, 3.0], [-4.5, 1.5]]),
                    tensor([[0, 1, 1], [1, 0, 1]]),
                    tensor([[[5.0, 5.0], [-5, 0]], [[1, -1], [-1, 1]], [[0, 0.5], [0, -0.5]]]),
                ),
                tensor([[0, 0, 1], [1, 1, 0]]),
                "each row subtracts its own codewords, of all levels but one",
            ),
            Case(
                (tensor([[2.6]]), tensor([[1, 0]]), tensor([[[6.0], [4.0]], [[5.0], [-7.0]]])),
                tensor([[1, 1]]),
                "go through the levels once, from the codes that were given, and stop",
            ),
        ],
    )


def arrives(function: Callable[[str], tuple[int, int]]) -> bool:
    """Check how much of each loss arrives at z after a change of the loop, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    copies, levels = _measured(change)
    hint = (
        f"({change}) was run with three levels: of the reconstruction's gradient {copies} arrive, "
        f"and the commitment is heard of {levels}; {_WHY[change]}"
    )
    return Case((change,), (copies, levels), hint)


@cache
def _measured(change: str) -> tuple[int, int]:
    """Run the loop with a change: copies of the reconstruction's gradient, and levels heard."""
    z, codebooks = _latents()
    z.requires_grad_()
    copies = round(float(_arrived(_changed_loop(change, z, codebooks)[0], z).mean()))
    before, levels = torch.zeros_like(z), 0
    for level in (1, 2, 3):
        pull = _arrived(_changed_loop(change, z, codebooks[:level])[1], z)
        levels += not torch.allclose(pull, before, atol=1e-3)
        before = pull
    return copies, levels


def _arrived(output: Tensor, z: Tensor) -> Tensor:
    """What arrives at z when ones are sent back."""
    if not output.requires_grad:
        return torch.zeros_like(z)
    (gradient,) = torch.autograd.grad(output.sum(), z)
    return gradient


def _changed_loop(change: str, z: Tensor, codebooks: Tensor) -> tuple[Tensor, Tensor]:
    """Run the loop that the chapter prints with one of its changes, "a" to "f".

    Returns:
        The sum (B, D) and the commitment loss (B,).
    """
    residual, total, commitment = z, torch.zeros_like(z), torch.zeros(len(z))
    for codebook in codebooks:
        word = codebook[nearest(residual.detach(), codebook)]
        if change == "e":
            word = residual + (word - residual).detach()
        left = z - total if change == "d" else residual
        commitment = commitment + (left - word).square().sum(1)
        said = residual + (word - residual).detach() if change == "b" else word
        total = total + said
        residual = residual - word
        if change == "a":
            residual = residual.detach()
    if change == "c":
        return z - residual, commitment
    if change == "f":
        return residual + (total - residual).detach(), commitment
    return z + (total - z).detach(), commitment


def _latents() -> tuple[Tensor, Tensor]:
    """The latents of 256 movies, (256, 32), and the shipped codebooks (3, 256, 32)."""
    model, _ = load_rqvae("movielens-small-2016")
    z = model.encode(load_embeddings("movielens-small-2016")[:256])
    return z, model.quantizer.codebooks.detach().clone()
