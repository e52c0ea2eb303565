"""The cases of chapter 12's exercises."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rqvae_lib.teaching.checks import REFUSED, Case, passes

Statistics = tuple[int, float, float]  # rows, mean, variance
IDs = dict[str, tuple[int, ...]]

_WHY = {
    "a": "the shares have 10, 20 and 30 rows, and a plain mean gives a row of a short share more "
    "weight",
    "b": "the whole gradient is cut, after it was added up: the training is another one, but the "
    "same with any number of shares",
    "c": "each share's gradient is cut before it is added, and how much is cut off depends on what "
    "the share holds",
    "d": "each share adds the same vector, and the weights of the shares add up to 1",
    "e": "sums of rows are added up and divided once, by the number of all rows",
    "f": "the same seed does not give the same mask to a row: it depends on the row's place in its "
    "share, and on how large the share is",
}


def depends(function: Callable[[str], bool]) -> bool:
    """Check which changes make a step depend on the number of shares, by running it with both."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    apart = _apart(change)
    found = f"{apart:.0%} of the step" if apart > 1e-6 else "no more than rounding"
    hint = f"({change}) was run: one share and three differ by {found}; {_WHY[change]}"
    return Case((change,), apart > 1e-6, hint)


@cache
def _apart(change: str) -> float:
    """How far a step with three shares ends from one with one share, as a share of the step."""
    draw = torch.Generator().manual_seed(0)
    x, y, w = (
        torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((60, 8), 60, 8)
    )
    x, y = x * torch.linspace(0.5, 1.5, 8), y + x @ w.flip(0)

    def after(sizes: list[int]) -> Tensor:
        shares = zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)
        return _changed_step(change, list(shares), w)

    alone = after([60])
    return float((after([10, 20, 30]) - alone).norm() / (alone - w).norm())


def _changed_step(change: str, shares: list[tuple[Tensor, Tensor]], w: Tensor) -> Tensor:
    """Take the step that the chapter prints with one of its changes, "a" to "f".

    Args:
        change: the letter.
        shares: rows (B, D) and targets (B,) of each share.
        w: the weights before, (D,).

    Returns:
        The weights after, (D,).
    """
    if change == "f":
        shares = [(_dropped(x), y) for x, y in shares]
    rows = sum(len(y) for _, y in shares)
    sums = [x.T @ (x @ w - y) for x, y in shares]
    means = [g / len(y) for g, (_, y) in zip(sums, shares, strict=True)]
    if change == "c":
        means = [g / max(1, float(g.norm())) for g in means]
    if change == "d":
        means = [g + 0.5 * w for g in means]
    if change == "a":
        gradient = torch.stack(means).sum(0) / len(shares)
    elif change == "e":
        gradient = torch.stack(sums).sum(0) / rows
    else:
        weighted = [len(y) / rows * g for g, (_, y) in zip(means, shares, strict=True)]
        gradient = torch.stack(weighted).sum(0)
    if change == "b":
        gradient = gradient.clamp(-0.3, 0.3)
    else:
        gradient = gradient / max(1, float(gradient.norm()))
    return w - 0.1 * gradient


def _dropped(x: Tensor) -> Tensor:
    """Dropout with the seed of the step: half of the numbers of `x` are 0."""
    return x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(7)) < 0.5)


def pooled(function: Callable[[list[Statistics]], Statistics]) -> bool:
    """Check mean and variance of all rows from those of each process."""
    return passes(
        function,
        [
            Case(
                ([(2, 1.0, 0.0), (2, 3.0, 0.0)],),
                (4, 2.0, 1.0),
                "the rows are 1, 1, 3, 3: no process sees any spread, and yet their variance is "
                "1, because the means differ",
            ),
            Case(
                ([(3, 2.0, 1.0), (1, 6.0, 0.0)],),
                (4, 3.0, 3.75),
                "one process has three rows and the other has one, so the mean is "
                "(3 · 2 + 1 · 6) / 4: weight by rows",
            ),
            Case(
                ([(2, 5.0, 4.0), (0, 0.0, 0.0)],),
                (2, 5.0, 4.0),
                "a process without rows must not change anything: its mean counts 0 times",
            ),
            Case(
                ([(1, 0.0, 0.0), (1, 3.0, 0.0), (1, 6.0, 0.0)],),
                (3, 3.0, 6.0),
                "divide by the number of all rows, three, and not by one less",
            ),
        ],
    )


def catalogue_of(function: Callable[[list[str], list[list[Any]]], IDs]) -> bool:
    """Check a catalogue put together from blocks that come in any order, some of them twice."""
    return passes(
        function,
        [
            Case(
                (["a", "b", "c"], [[("c", (5, 1))], [("a", (2, 7)), ("b", (4, 4))]]),
                {"a": (2, 7, 0), "b": (4, 4, 0), "c": (5, 1, 0)},
                "nobody collides here, so that every last code is 0; the answer is in the order "
                "of the catalogue",
            ),
            Case(
                (["a", "b", "c"], [[("c", (2, 7))], [("b", (4, 4))], [("a", (2, 7))]]),
                {"a": (2, 7, 0), "b": (4, 4, 0), "c": (2, 7, 1)},
                "a and c collide; c came first, but a is first in the catalogue, so a gets 0: "
                "count in the order of the catalogue, or the next run gives other IDs",
            ),
            Case(
                (["a", "b"], [[("a", (1, 1))], [("a", (1, 1)), ("b", (1, 1))]]),
                {"a": (1, 1, 0), "b": (1, 1, 1)},
                "a came twice with the same codes, as it does when a block is computed again: it "
                "is one item, and counts once",
            ),
            Case(
                (["a", "b"], [[("a", (1, 1))], [("a", (1, 2)), ("b", (3, 3))]]),
                REFUSED,
                "a came twice with different codes, so that two workers had different codebooks: "
                "raise a ValueError, since either choice hides it",
            ),
            Case(
                (["a", "b"], [[("a", (1, 1))]]),
                REFUSED,
                "b never came: raise a ValueError, since a short catalogue looks like a whole one",
            ),
        ],
    )
