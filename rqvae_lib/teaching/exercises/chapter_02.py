"""The cases of chapter 02's exercises."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "an eighth of the numbers is left, and what a vector says is spread over all of them",
    "b": "all cosines come close to 1, and what still tells them apart is nearly what it was: "
    "neighbours are a matter of order",
    "c": "0.05 looks small beside a length of 1; but 384 such numbers make a vector that is as "
    "long as the embedding",
    "d": "384 signs say much about a direction, and nothing else is left of the vectors",
    "e": "all principal directions come out equally long, so that the many weak ones, in which "
    "little is said, outvote the strong ones",
    "f": "the numbers are small, so that exp(x) is nearly 1 + x, which is the change (b)",
}


def survives(function: Callable[[str], bool]) -> bool:
    """Check after which changes most movies keep four of their ten neighbours, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    kept = _kept(change)
    hint = f"({change}) was run: {10 * kept:.1f} of ten neighbours are kept; {_WHY[change]}"
    return Case((change,), kept >= 0.4, hint)


@cache
def _kept(change: str) -> float:
    """The share of the ten nearest neighbours of 2,000 movies that a change keeps."""
    before, after = (_ten_nearest(x) for x in (_movies(), _changed_vectors(change, _movies())))
    return float((before[:, :, None] == after[:, None]).any(2).double().mean())


def _changed_vectors(change: str, x: Tensor) -> Tensor:
    """Apply one of the changes that the chapter prints, "a" to "f", to vectors (N, D)."""
    if change == "a":
        return x[:, :48]
    if change == "b":
        return x + 1
    if change == "c":
        return x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    if change == "d":
        return x.sign()
    if change == "e":
        left: Tensor = torch.linalg.svd(x - x.mean(0), full_matrices=False)[0]
        return left
    return x.exp()


def _ten_nearest(x: Tensor) -> Tensor:
    """The indices of the ten largest cosines of each row, without itself: (N, 10)."""
    units = normalize(x)
    return (units @ units.T).fill_diagonal_(-2).topk(10).indices


def _movies() -> Tensor:
    """2,000 embeddings, drawn at random: (2000, 384)."""
    embeddings = load_embeddings("movielens-small-2016")
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))
    return embeddings[order[:2000]]


def positive_pmi(function: Callable[[Tensor], Tensor]) -> bool:
    """Check a function that turns symmetric counts into positive pointwise mutual information."""
    log2 = float(torch.tensor(2.0).log())
    worked = torch.tensor([[0.0, 8, 2], [8, 0, 0], [2, 0, 0]])
    below = torch.tensor([[0.0, 1, 10, 0], [1, 0, 0, 10], [10, 0, 0, 0], [0, 10, 0, 0]])
    lonely = torch.tensor([[0.0, 3, 0], [3, 0, 0], [0, 0, 0]])
    often = float(torch.tensor(42 / 11).log())
    return passes(
        function,
        [
            Case(
                (torch.tensor([[0.0, 5], [5, 0]]),),
                torch.tensor([[0.0, log2], [log2, 0.0]]),
                "these two met five times: log 2 = 0.6931. A 1 there is a logarithm to base 2, and "
                "a 0 means that the total is not the sum of the matrix, which holds each meeting "
                "twice. On the diagonal, pairs that never met get 0, not -inf",
            ),
            Case(
                (worked,),
                torch.tensor([[0.0, log2, log2], [log2, 0.0, 0.0], [log2, 0.0, 0.0]]),
                "divide by the frequencies of both items, row and column",
            ),
            Case(
                (below,),
                torch.tensor(
                    [[0.0, 0, often, 0], [0, 0, 0, often], [often, 0, 0, 0], [0, often, 0, 0]]
                ),
                "a pair that meets less often than by chance has a negative logarithm: write 0",
            ),
            Case(
                (lonely,),
                torch.tensor([[0.0, log2, 0], [log2, 0.0, 0], [0, 0, 0]]),
                "an item without company divides by zero: its row must come out as zeros",
            ),
        ],
    )


def weighted_halves(function: Callable[[Tensor, Tensor, float], Tensor]) -> bool:
    """Check a function that joins two kinds of vectors, so that dot products weigh the cosines.

    It gets text (N, D) and taste (N, C) vectors, and the weight of the text cosine in [0, 1].
    """
    half = 0.5**0.5
    return passes(
        function,
        [
            Case(
                (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.5),
                torch.tensor([[half, 0.0, 0.0, half]]),
                "one after the other, text first; the dot product of this item with itself is to "
                "be the weighted mean of 1 and 1, which is 1",
            ),
            Case(
                (torch.tensor([[3.0, 4.0]]), torch.tensor([[0.5]]), 0.5),
                torch.tensor([[0.6 * half, 0.8 * half, half]]),
                "bring each half to length 1 by itself, before they are joined",
            ),
            Case(
                (torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.36),
                torch.tensor([[0.6, 0.0, 0.0, 0.8]]),
                "a dot product multiplies the factor of a half by itself: for a text cosine that "
                "weighs 0.36 the factor is 0.6",
            ),
            Case(
                (
                    torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
                    torch.tensor([[0.0, 9.0], [1.0, 0.0]]),
                    0.5,
                ),
                torch.tensor([[half, 0, 0, half], [0, half, half, 0]]),
                "the length is one of each row, not of the whole matrix",
            ),
            Case(
                (torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 0.0]]), 0.5),
                torch.tensor([[0.0, half, 0.0, 0.0]]),
                "a movie that nobody rated has zeros in its second half: they must stay zeros, and "
                "not become 0 / 0; the first half keeps its factor, so the whole is shorter than 1",
            ),
        ],
    )
