"""The cases of chapter 08's exercises."""

import math
from collections.abc import Callable

from torch import Generator, Tensor, cat, ones, randn, tensor

from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "the mask comes too late: in the sum that the softmax divides by, all later scores "
    "have taken part",
    "b": "e to the power of −100 is so small that, beside the other weights, float32 loses it: "
    "a large number below zero does as well as −∞",
    "c": "the mean over the tokens takes in every later token, and it is subtracted from each one",
    "d": "this mean is taken over the numbers of each token by itself",
    "e": "the softmax runs down the columns: what a token is given depends on who looks there "
    "later",
    "f": "a query and a key have changed their parts, and the mask still hides each later token",
}


def sees_ahead(function: Callable[[str], bool]) -> bool:
    """Check after which changes an output depends on a later token, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    moved = _moved(change)
    said = f"an earlier output moved by {moved:.3f}" if moved else "no earlier output moved"
    return Case((change,), moved > 0, f"({change}) was run: {said}; {_WHY[change]}")


def _moved(change: str) -> float:
    """How far the first twelve outputs move at most, if the tokens after them are others."""
    x, others = _tokens()
    before, after = (_changed_attention(change, tokens)[:12] for tokens in (x, others))
    return float((before - after).abs().max())


def _changed_attention(change: str, x: Tensor) -> Tensor:
    """What each token receives, (16, 64), after one of the changes, "a" to "f"."""
    if change in ("c", "d"):
        x = x - x.mean(0 if change == "c" else 1, keepdim=True)
    q, k, v = (x @ w for w in _matrices())
    scores = k @ q.T / 8 if change == "f" else q @ k.T / 8
    later = ones(16, 16).triu(1).bool()
    if change == "a":
        weights = scores.softmax(1).masked_fill(later, 0)
    elif change == "b":
        weights = scores.masked_fill(later, -100).softmax(1)
    else:
        weights = scores.masked_fill(later, -math.inf).softmax(0 if change == "e" else 1)
    received: Tensor = weights @ v
    return received


def _tokens() -> tuple[Tensor, Tensor]:
    """Sixteen tokens, (16, 64), and the same with others in the last four places."""
    x, other = randn(2, 16, 64, generator=Generator().manual_seed(0))
    return x, cat([x[:12], other[12:]])


def _matrices() -> Tensor:
    """The three matrices that make queries, keys and values: (3, 64, 64)."""
    return randn(3, 64, 64, generator=Generator().manual_seed(1)) / 8


def nats_an_item(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check a function that averages nats (B, T, L) over the movies of a padded batch (B, T)."""
    nothing = math.nan
    return passes(
        function,
        [
            Case(
                (tensor([[[1.0, 2.0], [3.0, 4.0]]]), tensor([[7, 5]])),
                tensor(5.0),
                "sum over the levels of a movie, and average over the movies",
            ),
            Case(
                (tensor([[[2.5], [9.0]], [[2.0], [3.0]]]), tensor([[7, -1], [5, 6]])),
                tensor(2.5),
                "padding is no movie: leave its numbers out, and do not count it",
            ),
            Case(
                (
                    tensor([[[6.0], [0.0], [0.0]], [[1.0], [2.0], [3.0]]]),
                    tensor([[7, -1, -1], [4, 5, 6]]),
                ),
                tensor(3.0),
                "each movie counts as much as any other: average over all movies of the batch at "
                "once, not over histories",
            ),
            Case(
                (tensor([[[4.0], [2.0]]]), tensor([[0, 3]])),
                tensor(3.0),
                "0 is the first movie of the catalogue and no padding",
            ),
            Case(
                (tensor([[[1.0, 1.0], [nothing, nothing]]]), tensor([[3, -1]])),
                tensor(2.0),
                "what stands at the padding may be NaN, and NaN times 0 is NaN: select the movies "
                "instead of multiplying the others by 0",
            ),
        ],
    )


def gradient_at_logits(function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> bool:
    """Check the gradient (M, K) of the mean loss at logits (M, K), among existing codes (M, K).

    It gets the logits, the true codes (M,) and which codes exist.
    """
    log2, log3 = math.log(2), math.log(3)
    return passes(
        function,
        [
            Case(
                (tensor([[0.0, log3]]), tensor([0]), tensor([[True, True]])),
                tensor([[-0.75, 0.75]]),
                "a wrong code's gradient is its probability and the true code's is its probability "
                "minus 1: the step goes against the gradient, so the true code rises",
            ),
            Case(
                (tensor([[0.0, 0.0, 9.0]]), tensor([1]), tensor([[True, True, False]])),
                tensor([[0.5, -0.5, 0.0]]),
                "codes that do not exist have no share in the softmax: the others' probabilities "
                "add up to 1 without them, and their own gradient is 0",
            ),
            Case(
                (
                    tensor([[0.0, log2], [0.0, log3]]),
                    tensor([1, 0]),
                    tensor([[True, True], [True, True]]),
                ),
                tensor([[1 / 6, -1 / 6], [-3 / 8, 3 / 8]]),
                "the loss is the mean over the M rows, so each row's gradient is divided by M",
            ),
            Case(
                (tensor([[2.0, 5.0, 7.0]]), tensor([0]), tensor([[True, False, False]])),
                tensor([[0.0, 0.0, 0.0]]),
                "a single existing code has probability 1: nothing is left to learn",
            ),
        ],
    )
