"""The cases of chapter 12's exercises."""

from collections.abc import Callable
from typing import Any

from rqvae_lib.teaching.checks import REFUSED, Case, passes

Statistics = tuple[int, float, float]  # rows, mean, variance
IDs = dict[str, tuple[int, ...]]


def shares(function: Callable[[int, int], list[tuple[int, int]]]) -> bool:
    """Check which rows of a batch each process takes."""
    return passes(
        function,
        [
            Case(
                (8, 2),
                [(0, 4), (4, 8)],
                "8 rows for 2 processes: each takes four, and the second begins where the first "
                "ends",
            ),
            Case(
                (10, 4),
                [(0, 3), (3, 6), (6, 8), (8, 10)],
                "10 rows for 4 processes: two each leaves two rows over, and the first two "
                "processes take one more, so that every row is somebody's",
            ),
            Case(
                (2, 4),
                [(0, 1), (1, 2), (2, 2), (2, 2)],
                "with fewer rows than processes some have nothing to do, and their share is empty; "
                "no row is given twice",
            ),
            Case((0, 2), [(0, 0), (0, 0)], "no rows: each share is empty"),
        ],
    )


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
