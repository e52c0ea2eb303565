"""The cases of chapter 10's exercises."""

from collections.abc import Callable
from math import log

import torch
from torch import Tensor, float32, tensor

from rqvae_lib.teaching.checks import Case, passes

_WHY = {
    "a": "differences are doubled, so that the likelier sibling becomes likelier still",
    "b": "siblings have the same parent, so all of them get the same number",
    "c": "the mean is one number, the same for all first codes",
    "d": "siblings have the same codes before, so all of them get the same number",
    "e": "siblings differ in just this code, so each of them gets another number",
    "f": "an item's sum over its levels differs between siblings, and a softmax sees it",
}


def leaves_log_p(function: Callable[[str], bool]) -> bool:
    """Check which changes of the scores leave log p of every item as it is, by a run."""
    return passes(function, [_case(change) for change in _WHY])


def _case(change: str) -> Case:
    ids, scores = _small_catalogue()
    moved = _log_p(ids, _changed_scores(change, ids, scores.clone())) - _log_p(ids, scores)
    by = float(moved.abs().max())
    hint = f"({change}) was run: log p moves by {by:.3f} at most; {_WHY[change]}"
    return Case((change,), by < 1e-6, hint)


def _changed_scores(change: str, ids: Tensor, scores: Tensor) -> Tensor:
    """Apply one of the lines that the chapter prints, "a" to "f", to scores (N, 3)."""
    if change == "a":
        return 2 * scores
    if change == "b":
        scores[:, 1] += scores[:, 0]
    elif change == "c":
        scores[:, 0] += scores[:, 1].mean()
    elif change == "d":
        scores[:, 2] += ids[:, 0] * ids[:, 1]
    elif change == "e":
        scores[:, 1] += ids[:, 1]
    else:
        return scores - scores.logsumexp(1, keepdim=True)
    return scores


def _small_catalogue() -> tuple[Tensor, Tensor]:
    """Twenty IDs of three codes, (20, 3), and scores that equal prefixes share, (20, 3)."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.cartesian_prod(torch.arange(3), torch.arange(3), torch.arange(4))
    ids = ids[torch.randperm(len(ids), generator=generator)[:20]]
    scores = torch.empty(20, 3, dtype=torch.float64)
    for level in range(3):
        _, prefix = torch.unique(ids[:, : level + 1], dim=0, return_inverse=True)
        of_prefix = torch.randn(int(prefix.max()) + 1, generator=generator, dtype=torch.float64)
        scores[:, level] = of_prefix[prefix]
    return ids, scores


def _log_p(ids: Tensor, scores: Tensor) -> Tensor:
    """The log-softmax over siblings, added up over the levels: (N, L), (N, L) → (N,)."""
    total = torch.zeros(len(ids), dtype=scores.dtype)
    for level in range(ids.shape[1]):
        beside = (ids[:, None, :level] == ids[None, :, :level]).all(2)  # (N, N)
        same = (ids[:, None, : level + 1] == ids[None, :, : level + 1]).all(2).double()
        weights = scores[:, level].exp() / same.sum(1)  # each prefix counts once
        total += scores[:, level] - (beside * weights).sum(1).log()
    return total


def catalogue_log_p(function: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Check log p of every item, from the scores of its prefixes: (N, L), (N, L) → (N,)."""
    flat = tensor([[0], [1], [2]])
    tree = tensor([[0, 0], [0, 1], [1, 0], [1, 1], [0, 2]])
    halves = tensor([[0.0, log(3.0)], [0.0, 0.0], [0.0, 0.0], [0.0, log(9.0)], [0.0, 0.0]])
    ends = tensor([[2, 0, 0], [0, 1, 1], [2, 0, 1], [0, 0, 1]])
    steps = tensor([[0.0, 5.0, 0.0], [log(3.0), 0.0, -7.0], [0.0, 5.0, 0.0], [log(3.0), 0.0, 2.0]])
    return passes(
        function,
        [
            Case(
                (flat, tensor([[0.0], [log(2.0)], [0.0]])),
                tensor([0.25, 0.5, 0.25]).log(),
                "with one level it is the log-softmax of the scores",
            ),
            Case(
                (tree, halves),
                tensor([0.3, 0.1, 0.05, 0.45, 0.1]).log(),
                "both first codes have the same score, so each has 0.5, though one leads to three "
                "items and the other to two: a prefix competes once, however many items begin so, "
                "and only with those that follow the same codes",
            ),
            Case(
                (ends, steps),
                tensor([0.125, 0.375, 0.125, 0.375]).log(),
                "an only child costs nothing, whatever its score; and a set of siblings is that of "
                "all codes before, not only of the last one",
            ),
            Case(
                (flat, tensor([[1000.0], [1000.0], [0.0]])),
                tensor([-log(2.0), -log(2.0), -1000.0 - log(2.0)], dtype=float32),
                "scores may be large: a sum of exponentials overflows, logsumexp does not",
            ),
        ],
    )
