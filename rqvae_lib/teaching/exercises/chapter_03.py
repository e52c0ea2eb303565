"""The cases of chapter 03's exercises."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, tensor

from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "the codewords are short, but about equally so, and each of them is the nearest in some "
    "direction; from there on, they are means",
    "b": "the movies lie near the middle, far from all codewords, and the few that are the nearest "
    "take them all; the others stay where nobody comes",
    "c": "the dot products alone still send each movie to a mean that lies in its direction, which "
    "does as well here",
    "d": "short codewords are preferred, so that one near the middle takes a large part of the "
    "movies; but this is no matter of dead codewords, look at what is lost",
    "e": "a sum of many movies lies far from each of them, so that they leave it for a shorter "
    "codeword, which grows in its turn",
    "f": "all means move along with the movies, and differences stay as they were, up to rounding",
}


def worth(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check by how much the inertia rises if a codeword is taken out of the codebook."""
    return passes(
        function,
        [
            Case(
                (tensor([[0.0], [4.0]]), tensor([[1.0], [3.0]])),
                tensor([8.0, 8.0]),
                "each movie is 1 from its codeword and would be 3 from the other: it is squared "
                "distances that count, and what is lost today (1) does not count as worth; if you "
                "use ‖c‖²/2 − x·c, its differences must be doubled",
            ),
            Case(
                (tensor([[0.0], [0.0], [5.0]]), tensor([[0.0], [5.0]])),
                tensor([50.0, 25.0]),
                "a codeword is worth the sum over all of its movies, and not their mean",
            ),
            Case(
                (tensor([[0.0], [1.0]]), tensor([[0.0], [3.0], [9.0]])),
                tensor([12.0, 0.0, 0.0]),
                "nobody chose the last two codewords, so nobody misses them: they are worth 0, and "
                "the answer has one number for each codeword, also at the end of the list",
            ),
            Case(
                (tensor([[0.0]]), tensor([[5.0], [3.0], [2.0]])),
                tensor([0.0, 0.0, 5.0]),
                "a movie goes to the second-nearest codeword, wherever it stands in the list, and "
                "not to the farthest",
            ),
            Case(
                (tensor([[0.0, 0.0]]), tensor([[3.0, -3.0], [1.0, 1.0], [0.0, 2.0]])),
                tensor([0.0, 2.0, 0.0]),
                "a squared distance is the sum of the squared differences over all D numbers",
            ),
        ],
    )


def collapses(function: Callable[[str], bool]) -> bool:
    """Check which changes of the recipe leave more than half of the codewords dead, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    dead, largest, lost = _measured(change)
    hint = (
        f"({change}) was run: {dead} of the 64 codewords are dead, the largest has {largest:,} of "
        f"the 2,000 movies, and {lost:.2f} of the variance is lost; {_WHY[change]}"
    )
    return Case((change,), dead > 32, hint)


@cache
def _measured(change: str) -> tuple[int, int, float]:
    """Run the recipe with a change: dead codewords, movies of the largest, variance lost."""
    x, codebook = _changed_recipe(change)
    codes = nearest(x, codebook)
    counts = codes.bincount(minlength=64)
    lost = (x - codebook[codes]).square().sum() / (x - x.mean(0)).square().sum()
    return int((counts == 0).sum()), int(counts.max()), float(lost)


def _changed_recipe(change: str) -> tuple[Tensor, Tensor]:
    """Run the recipe that the chapter prints with one of its changes, "a" to "f".

    Returns:
        The movies (2000, 384) and the codebook (64, 384).
    """
    generator = torch.Generator().manual_seed(0)
    x = _movies() + (100 if change == "f" else 0)
    if change in ("a", "b"):
        codebook = torch.randn(64, 384, generator=generator) / 384**0.5
        codebook = codebook * (100 if change == "b" else 1)
    else:
        codebook = x[torch.randperm(len(x), generator=generator)[:64]]
    for _ in range(10):
        dots, squares = x @ codebook.T, codebook.square().sum(1)
        costs = {"c": -dots, "d": squares - dots}.get(change, squares / 2 - dots)
        codes = costs.argmin(1)
        counts = torch.bincount(codes, minlength=64)[:, None]
        sums = torch.zeros_like(codebook).index_add_(0, codes, x)
        means = sums if change == "e" else sums / counts.clamp(min=1)
        codebook = torch.where(counts > 0, means, codebook)
    return x, codebook


def _movies() -> Tensor:
    """2,000 standardised embeddings, drawn at random: (2000, 384)."""
    embeddings = load_embeddings("movielens-small-2016")
    spread = embeddings.std(0, correction=0)
    x = (embeddings - embeddings.mean(0)) / spread.where(spread > 1e-6, 1)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:2000]]
