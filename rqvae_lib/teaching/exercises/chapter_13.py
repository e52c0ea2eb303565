"""The cases of chapter 13's exercises."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, tensor

from rqvae_lib.teaching.checks import REFUSED, Case, passes


def rows_of(function: Callable[[list[Any], list[Any]], list[int]]) -> bool:
    """Check ids turned into rows of a catalogue; an id that it lacks is refused."""
    return passes(
        function,
        [
            Case(
                ([30, 10, 20], [10, 30, 10]),
                [1, 0, 1],
                "10 is in row 1 of the catalogue and 30 in row 0: rows are counted from 0, in the "
                "catalogue's own order, and an id may be wanted twice",
            ),
            Case((["b", "a"], ["a", "b"]), [1, 0], "ids may be text"),
            Case(([5], []), [], "nobody wants anything, and that is an empty list"),
            Case(
                ([30, 10], [10, 99]),
                REFUSED,
                "99 is not in the catalogue: raise a ValueError, since any number that is returned "
                "would name another item",
            ),
            Case(
                ([7, 8], ["7"]),
                REFUSED,
                '"7" is not 7: do not turn ids into another type before they are compared',
            ),
        ],
    )


def tied_share(function: Callable[[list[Any], list[Any]], float]) -> bool:
    """Check the share of rows that have user and time in common with another row."""
    return passes(
        function,
        [
            Case(
                ([1, 1, 1, 2], [50, 50, 60, 70]),
                0.5,
                "the first two rows tie, so two of the four rows count, and not one pair",
            ),
            Case(
                ([1, 2, 3], [50, 50, 50]),
                0.0,
                "three users at one time: rows tie only if the user is the same, too",
            ),
            Case(
                ([1, 2, 1], [50, 60, 50]),
                2 / 3,
                "rows that tie need not stand side by side",
            ),
            Case(
                (["a", "a", "a"], [9, 9, 9]),
                1.0,
                "of three rows that tie, all three count, the first one too",
            ),
        ],
    )


def family_counts(function: Callable[[Tensor, list[int], list[Tensor]], list[int]]) -> bool:
    """Check how many items that share a new item's longest known prefix are in each history."""
    codes = tensor([[3, 1, 4], [3, 1, 5], [3, 2, 4], [0, 1, 4], [3, 1, 4]])
    everybody = [tensor([0, 1, 2]), tensor([3]), tensor([], dtype=codes.dtype), tensor([4, 0, 3])]
    return passes(
        function,
        [
            Case(
                (codes, [3, 1, 4], everybody),
                [1, 0, 0, 2],
                "items 0 and 4 have all three codes of the new item, and they alone are its family",
            ),
            Case(
                (codes, [3, 1, 9], everybody),
                [2, 0, 0, 2],
                "nobody has 3-1-9, but items 0, 1 and 4 begin with 3-1: drop the last code and "
                "look again",
            ),
            Case(
                (codes, [3, 9, 4], everybody),
                [3, 0, 0, 2],
                "only the first code is known, and items 0, 1, 2 and 4 have it; that some of them "
                "have the 4 at the end does not count",
            ),
            Case(
                (codes, [9, 1, 4], everybody),
                [3, 1, 0, 3],
                "no item has the first code, so all items are the family",
            ),
        ],
    )
