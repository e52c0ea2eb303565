"""The cases of chapter 07's exercises."""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.neighbors import nearest_neighbors
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "each distance is compared with the nearest one, and of that difference 50 drops out",
    "b": "each movie has its own σ, which grows with the movie's distances: how dense it is around "
    "a movie is forgotten",
    "c": "the 14 distances of a movie differ little from each other, and there a square is almost "
    "a straight line, whose slope goes into σ",
    "d": "now the order alone is left; but a nearest neighbour that is far ahead of the others is "
    "to count for more than one that is hardly ahead",
    "e": "σ has to grow until the 14 weights add up to 4.9 in place of 3.9, so that nearly all of "
    "them grow",
    "f": "the lengths go, and the lengths had a say in who is near to whom: many movies have "
    "other neighbours now",
}


def ties_stay(function: Callable[[str], bool]) -> bool:
    """Check after which changes no tie's weight moves by more than 0.05, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    moved = _moved(change)
    hint = f"({change}) was run: the largest change of a weight is {moved:.2f}; {_WHY[change]}"
    return Case((change,), moved <= 0.05, hint)


@cache
def _moved(change: str) -> float:
    """The largest change of an entry of the matrix of ties; 0 for no change."""
    return float((_ties(*_changed_weights(change)) - _ties(*_changed_weights(""))).abs().max())


def _changed_weights(change: str) -> tuple[Tensor, Tensor]:
    """The neighbours of 2,000 movies and their weights, (2000, 14), after one of the changes.

    The changes are those that the chapter prints, "a" to "f", or "" for none.
    """
    x = _movies()
    near = nearest_neighbors(normalize(x) if change == "f" else x, 14)
    distances, total = near.distances, math.log2(15)
    if change == "a":
        distances = distances + 50
    elif change == "b":
        distances = distances * torch.linspace(1, 5, 2000)[:, None]
    elif change == "c":
        distances = distances**2
    elif change == "d":
        distances = torch.arange(1.0, 15).expand(2000, 14)
    elif change == "e":
        total = math.log2(30)
    return near.indices, _weights_of(distances, total)


def _ties(neighbours: Tensor, weights: Tensor) -> Tensor:
    named = torch.zeros(len(neighbours), len(neighbours)).scatter_(1, neighbours, weights)
    return named + named.T - named * named.T


def _weights_of(distances: Tensor, total: float) -> Tensor:
    """The chapter's function of this name: (N, k) → (N, k)."""
    apart = distances.where(distances > 0, torch.inf)
    beyond = (distances - apart.min(1, keepdim=True)[0]).clamp(min=0)
    low = torch.zeros(len(distances), 1)
    high = torch.full_like(low, torch.inf)
    sigma = torch.ones_like(low)
    for _ in range(64):
        too_much = torch.exp(-beyond / sigma).sum(1, keepdim=True) > total
        high = torch.where(too_much, sigma, high)
        low = torch.where(too_much, low, sigma)
        sigma = torch.where(high.isinf(), 2 * sigma, (low + high) / 2)
    return torch.exp(-beyond / sigma)


@cache
def _movies() -> Tensor:
    """The standardised embeddings of 2,000 movies, drawn at random: (2000, 384)."""
    embeddings = load_embeddings("movielens-small-2016")
    spread = embeddings.std(0, correction=0)
    x = (embeddings - embeddings.mean(0)) / spread.where(spread > 1e-6, 1)
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:2000]]


def tsne_probabilities(function: Callable[[Tensor, float], Tensor]) -> bool:
    """Check a function that finds the bandwidths of t-SNE and returns the probabilities, (N, k).

    It gets distances (N, k), float64, and the perplexity.
    """

    def distances(p: Tensor, sigma: float, offset: float) -> Tensor:
        return (offset - 2 * sigma**2 * p.log()).sqrt()

    p = torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)
    q = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]], dtype=torch.float64)
    perplexity = {"p": math.exp(1.75 * math.log(2)), "q": math.exp(_entropy(q[0]))}
    mixed = torch.cat([distances(q[:1], 0.01, 0.0), distances(q[:1], 300.0, 0.0)])
    return passes(
        function,
        [
            Case(
                (distances(p, 1.0, 0.0), perplexity["p"]),
                p,
                "p is proportional to exp(−d² / 2σ²) and sums to 1 in each row; the entropy, with "
                "the natural logarithm, is the logarithm of the perplexity",
            ),
            Case(
                (mixed, perplexity["q"]),
                q,
                "each row has its own σ, and it may be 0.01 or 300: widen the bracket, or search "
                "on the logarithm, until the answer lies inside",
            ),
            Case(
                (distances(p, 0.5, 10_000.0), perplexity["p"]),
                p,
                "these movies are all about 100 away, so exp(−d² / 2σ²) is 0 in every place: the "
                "probabilities do not change if the smallest d² of the row is subtracted first",
            ),
        ],
    )


def _entropy(p: Tensor) -> float:
    return float(torch.special.entr(p).sum())
