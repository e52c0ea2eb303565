"""The cases of chapter 07's exercises."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rqvae_lib.teaching.checks import Case, passes


def agreement(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check a function that says how many neighbours have the same label, as a share, ().

    It gets neighbours (N, k) int64 and labels (N,) int64.
    """
    ring = torch.tensor([[1, 3], [2, 0], [3, 1], [0, 2]])
    labels = torch.tensor([7, 7, 2, 2])
    share = torch.tensor
    return passes(
        function,
        [
            Case((ring, torch.zeros(4, dtype=torch.int64)), share(1.0), "one label agrees always"),
            Case(
                (ring, torch.arange(4)),
                share(0.0),
                "no two items have the same label here: compare the neighbours' labels, "
                "labels[neighbours], with the item's own, and not with their places",
            ),
            Case(
                (ring, labels),
                share(0.5),
                "count pairs of an item and one of its neighbours, N · k in all",
            ),
            Case(
                (torch.tensor([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]), share([5, 5, 5, 9])),
                share(0.5),
                "every pair counts alike, and 6 of these 12 agree: neither each item nor each "
                "label has a vote of its own first",
            ),
        ],
    )


def union(function: Callable[[Tensor], Tensor]) -> bool:
    """Check a function that joins both directions of a neighbour graph: (N, N) → (N, N)."""
    one_way = torch.tensor([[0.0, 0.6, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    sure = torch.tensor([[0.0, 1.0], [0.4, 0.0]])
    both = torch.tensor([[0.0, 0.5, 1.0], [0.5, 0.0, 0.2], [0.4, 0.0, 0.0]])
    return passes(
        function,
        [
            Case(
                (one_way,),
                torch.tensor([[0.0, 0.6, 0.0], [0.6, 0.0, 0.0], [0.0, 0.0, 0.0]]),
                "if only one of two items names the other, its weight holds in full, both ways",
            ),
            Case(
                (sure,),
                torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
                "one end is sure of the tie, so it exists, and no chance is larger than 1",
            ),
            Case(
                (both,),
                torch.tensor([[0.0, 0.75, 1.0], [0.75, 0.0, 0.2], [1.0, 0.2, 0.0]]),
                "two weights of one half make 1 − 0.5 · 0.5: the chance that not both fail",
            ),
        ],
    )


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
