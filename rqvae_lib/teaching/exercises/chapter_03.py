"""The cases of chapter 03's exercises."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, tensor

from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.checks import Case, passes

# The recipe as the chapter prints it, and for each change the line that it replaces.
RECIPE = """\
codebook = x[torch.randperm(len(x), generator=generator)[:64]]
for _ in range(10):
    codes = (codebook.square().sum(1) / 2 - x @ codebook.T).argmin(1)
    counts = torch.bincount(codes, minlength=64)[:, None]
    sums = torch.zeros_like(codebook).index_add_(0, codes, x)
    codebook = torch.where(counts > 0, sums / counts.clamp(min=1), codebook)
"""
_START, _, _ASSIGN, _, _, _AVERAGE = RECIPE.splitlines()
CHANGES = {
    "a": (_START, "codebook = torch.randn(64, 384, generator=generator) / 384**0.5"),
    "b": (_START, "codebook = torch.randn(64, 384, generator=generator) / 384**0.5 * 100"),
    "c": (_ASSIGN, "    codes = (-x @ codebook.T).argmin(1)"),
    "d": (_ASSIGN, "    codes = (codebook.square().sum(1) - x @ codebook.T).argmin(1)"),
    "e": (_AVERAGE, "    codebook = torch.where(counts > 0, sums, codebook)"),
    "f": (_START, f"x = x + 100\n{_START}"),
}
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
    return passes(function, [_case(change) for change in CHANGES])


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
    generator = torch.Generator().manual_seed(0)
    x = _movies()
    names: dict[str, Any] = {"torch": torch, "x": x, "generator": generator}
    exec(RECIPE.replace(*CHANGES[change]), names)
    x = names["x"]
    codebook: Tensor = names["codebook"]
    codes = nearest(x, codebook)
    counts = codes.bincount(minlength=64)
    lost = (x - codebook[codes]).square().sum() / (x - x.mean(0)).square().sum()
    return int((counts == 0).sum()), int(counts.max()), float(lost)


def _movies() -> Tensor:
    """2,000 standardised embeddings, drawn at random: (2000, 384)."""
    embeddings = load_embeddings("movielens-small-2016")
    spread = embeddings.std(0, correction=0)
    x = (embeddings - embeddings.mean(0)) / spread.where(spread > 1e-6, 1)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:2000]]
