"""The cases of chapter 09's exercises."""

from collections.abc import Callable, Sequence
from math import log
from typing import Any, NoReturn

from torch import Tensor, empty, int64, tensor

from rqvae_lib.teaching.checks import Case, passes


def codes_after(function: Callable[[Tensor, Sequence[int]], Tensor]) -> bool:
    """Check which codes may follow a prefix, given the IDs (N, L): (C,) int64, ascending."""
    ids = tensor([[2, 1, 0], [0, 4, 0], [2, 3, 0], [2, 1, 1]])
    return passes(
        function,
        [
            Case(
                (ids, [2]),
                tensor([1, 3]),
                "of the IDs that begin with the prefix, the code that stands behind it, each once "
                "and in ascending order, as an int64 tensor",
            ),
            Case(
                (ids, []),
                tensor([0, 2]),
                "nothing is written yet, so every ID begins with the empty prefix",
            ),
            Case(
                (tensor([[2, 1, 0], [0, 1, 4], [2, 1, 3]]), [2, 1]),
                tensor([0, 3]),
                "all codes of the prefix must agree, not only the last one or any one of them",
            ),
            Case(
                (tensor([[1, 2, 4], [2, 1, 3]]), [1, 2]),
                tensor([4]),
                "each code of the prefix must stand at its own place: 2-1 is not 1-2",
            ),
            Case(
                (ids, [3]),
                empty(0, dtype=int64),
                "no first code is 3, so nothing may follow: an empty int64 tensor",
            ),
        ],
    )


def open_nodes(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check which nodes have an allowed movie, a row for each person: (B, M) bool."""
    starts = tensor([0, 2, 3, 6])
    return passes(
        function,
        [
            Case(
                (starts, tensor([[True] * 6])),
                tensor([[True] * 3]),
                "where every movie is allowed, every node is open, as bool and not as a count; a "
                "running count must say 0 before the first movie",
            ),
            Case(
                (
                    starts,
                    tensor([[False, False, True] + [False] * 3, [True] + [False] * 4 + [True]]),
                ),
                tensor([[False, True, False], [True, False, True]]),
                "a node is open if any movie between its start and the next node's start is "
                "allowed for this person; neither another node's nor another person's movies count",
            ),
            Case(
                (tensor([0, 1, 4]), tensor([[False] * 4, [False, True, True, False], [True] * 4])),
                tensor([[False, False], [False, True], [True, True]]),
                "whoever may be recommended nothing has no open node",
            ),
        ],
    )


class Unopened(dict[int, Any]):
    """A branch that no careful search needs to look into."""

    def _refuse(self, *arguments: object) -> NoReturn:
        raise RuntimeError("a branch was opened that cannot hold one of the k best")

    __iter__ = keys = values = items = get = __getitem__ = _refuse

    def __len__(self) -> int:
        return 1  # something is below it; what, only an opening tells

    def __deepcopy__(self, memo: object) -> "Unopened":
        return self

    def __repr__(self) -> str:
        return "<a branch>"


def best_items(function: Callable[[dict[int, Any], int], list[tuple[Any, float]]]) -> bool:
    """Check an exact search of a tree of log-probabilities, code → (log p, branch or None)."""

    def leaves(*chances: float) -> dict[int, Any]:
        return {code: (log(chance), None) for code, chance in enumerate(chances)}

    def node(*parts: tuple[float, dict[int, Any]]) -> dict[int, Any]:
        return {code: (log(chance), branch) for code, (chance, branch) in enumerate(parts)}

    trap = node((0.6, leaves(0.52, 0.48)), (0.4, leaves(0.1, 0.9)))
    wide = node((0.36, leaves(0.6, 0.4)), (0.35, leaves(0.6, 0.4)), (0.29, leaves(1.0)))
    closed = node((0.9, leaves(0.2, 0.8)), (0.1, Unopened()))
    needed = node((0.75, leaves(0.8, 0.2)), (0.2, leaves(0.9, 0.1)), (0.05, Unopened()))
    deep = node(
        (0.7, node((0.9, leaves(0.9, 0.1)), (0.1, Unopened()))),
        (0.3, node((0.7, leaves(0.5, 0.5)), (0.3, Unopened()))),
    )
    return passes(
        function,
        [
            Case(
                (trap, 1),
                [((1, 1), log(0.36))],
                "the likeliest first code need not lead to the likeliest item: add the "
                "log-probabilities of all codes, and let a prefix that was set aside come back",
            ),
            Case(
                (wide, 2),
                [((2, 0), log(0.29)), ((0, 0), log(0.216))],
                "no fixed number of prefixes a level is enough: the best item may begin with the "
                "third code even if only two items are asked for",
            ),
            Case(
                (trap, 9),
                [
                    ((1, 1), log(0.36)),
                    ((0, 0), log(0.312)),
                    ((0, 1), log(0.288)),
                    ((1, 0), log(0.04)),
                ],
                "where fewer than k items exist, return all of them, best first",
            ),
            Case(
                (closed, 2),
                [((0, 1), log(0.72)), ((0, 0), log(0.18))],
                "a branch whose prefix has 0.1 cannot hold an item that beats 0.18: always open "
                "the likeliest prefix next, and stop at the k-th item",
            ),
            Case(
                (needed, 2),
                [((0, 0), log(0.6)), ((1, 0), log(0.18))],
                "the first two items found have 0.6 and 0.15, but a branch of 0.2 is still open: "
                "an item counts as found when nothing that is open is more probable",
            ),
            Case(
                (deep, 1),
                [((0, 0, 0), log(0.567))],
                "IDs may have three codes: the same rule, at every depth",
            ),
        ],
    )
