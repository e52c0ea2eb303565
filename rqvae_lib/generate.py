"""Generating only IDs that exist: a beam search that walks the trie, and recommendations from it.

At each level every beam is extended by each code that leads to an item, and the most probable
extensions, over all beams of a user, survive. Codes that lead nowhere are never scored, so every ID
that comes out names an item, and the best k are always k different items.

Items that must not be recommended are left out before the search, not after it: a prefix whose
items are all forbidden is not entered. That needs only a count, for each prefix, of the forbidden
leaves in its range.

Source: De Cao et al., arXiv 2010.00904, §3.2 (constrained beam search); Rajput et al., TIGER, arXiv
2305.05065, §3.2.
Derived in: chapter 09; seen at work in chapter 00.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rqvae_lib.recommenders import BeamState
from rqvae_lib.trie import Trie


class GenerativeRecommender(Protocol):
    """What generation needs of a recommender; see `recommenders`."""

    def encode_history(self, histories: Sequence[Tensor]) -> BeamState: ...
    def next_code_logits(self, state: BeamState) -> Tensor: ...
    def extend(self, state: BeamState, parents: Tensor, codes: Tensor) -> BeamState: ...


class Recommendations(NamedTuple):
    items: Tensor  # (B, k) int64, best first; −1 where a user has fewer than k allowed items
    log_probabilities: Tensor  # (B, k) float32, log p(ID | history); −inf where the item is −1


@torch.no_grad()
def recommend(
    model: GenerativeRecommender,
    trie: Trie,
    histories: Sequence[Tensor],
    *,
    k: int = 10,
    beams: int = 50,
    forbidden: Sequence[Tensor] | None = None,
    batch_size: int = 64,
) -> Recommendations:
    """Recommend the k most probable items that the beam search finds for each user.

    Args:
        model: a recommender over the trie's catalogue, in evaluation mode.
        trie: the catalogue's prefixes, on the model's device.
        histories: B tensors of item rows, int64, in time order; may be empty.
        k: items to recommend, at least 1.
        beams: prefixes kept at each level, at least k. More beams, closer to the exact ranking; as
            many as the catalogue has items gives it exactly.
        forbidden: for each user the items never to recommend; by default those of the history.
        batch_size: users searched for at a time; it bounds the memory, not the result.

    Returns:
        items and log-probabilities, each (B, k). All items of a row differ, and none is forbidden.

    Raises:
        ValueError: if k < 1 or beams < k, if there is not one list of forbidden items a user, or if
            a history or such a list names an item outside the catalogue.
    """
    if not 1 <= k <= beams:
        raise ValueError(f"k is {k} and beams is {beams}: ask for at least 1 item and k beams")
    forbidden = histories if forbidden is None else forbidden
    if len(forbidden) != len(histories):
        raise ValueError(
            f"there are {len(histories)} histories and {len(forbidden)} lists of forbidden items: "
            "pass one list a history, an empty one where nothing is forbidden"
        )
    found = [
        _search(model, trie, histories[start:stop], forbidden[start:stop], k, beams)
        for start in range(0, len(histories), batch_size)
        for stop in [start + batch_size]
    ]
    if not found:
        return Recommendations(torch.empty(0, k, dtype=torch.int64), torch.empty(0, k))
    return Recommendations(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _search(
    model: GenerativeRecommender,
    trie: Trie,
    histories: Sequence[Tensor],
    forbidden: Sequence[Tensor],
    k: int,
    beams: int,
) -> Recommendations:
    """Search for one batch of users."""
    state = model.encode_history(histories)
    blocked = _BlockedPrefixes(trie, forbidden)
    device = state.hidden.device
    nodes = torch.zeros(len(histories), 1, dtype=torch.int64, device=device)  # (B, K): the root
    scores = torch.zeros(len(histories), 1, device=device)  # (B, K)
    for depth in range(trie.depth):
        log_probabilities = model.next_code_logits(state).log_softmax(2)  # (B, K, size)
        children = trie.children(depth, nodes)  # (B, K, C)
        extended = scores[..., None] + log_probabilities.gather(2, children.codes)
        allowed = children.valid & ~blocked.covers(depth + 1, children.nodes)
        extended = extended.masked_fill(~allowed, -torch.inf).flatten(1)  # (B, K·C)
        scores, chosen = extended.topk(min(beams, extended.shape[1]), dim=1)  # (B, K')
        parents = chosen // children.nodes.shape[2]
        nodes = children.nodes.flatten(1).gather(1, chosen)
        if depth < trie.depth - 1:
            codes = children.codes.flatten(1).gather(1, chosen)
            state = model.extend(state, parents, codes)
    refuse_nan(scores)
    scores, nodes = scores[:, :k], nodes[:, :k]
    items = torch.where(scores > -torch.inf, trie.items[nodes], -1)
    missing = k - items.shape[1]  # where the whole catalogue holds fewer than k items
    return Recommendations(
        torch.nn.functional.pad(items, (0, missing), value=-1),
        torch.nn.functional.pad(scores, (0, missing), value=-torch.inf),
    )


def refuse_nan(scores: Tensor) -> None:
    """Raise ValueError if a log-probability is NaN, which no ranking can place."""
    if scores.isnan().any():
        raise ValueError(
            "the model scores a code NaN, so its recommendations mean nothing: its weights are "
            "ruined; load an earlier checkpoint, or train it anew with a lower learning rate"
        )


class _BlockedPrefixes:
    """Which prefixes have no allowed item left, for each user."""

    def __init__(self, trie: Trie, forbidden: Sequence[Tensor]) -> None:
        self.trie = trie
        for items in forbidden:
            outside = items[(items < 0) | (items >= trie.num_items)]
            if len(outside):
                raise ValueError(
                    f"item {int(outside[0])} is forbidden, but the catalogue holds items 0 to "
                    f"{trie.num_items - 1}: pass rows of the catalogue, not the data set's own ids"
                )
        leaf_of = trie.leaf_of()
        # `unique` sorts, and counts a repeated item once.
        leaves = [torch.unique(leaf_of[items.to(leaf_of.device)]) for items in forbidden]
        # Padding past the last leaf is inside no prefix's range.
        self.leaves = torch.nn.utils.rnn.pad_sequence(
            leaves, batch_first=True, padding_value=trie.num_items
        )  # (B, S)

    def covers(self, depth: int, nodes: Tensor) -> Tensor:
        """Return whether all items below each node (B, K, C) are forbidden: (B, K, C) bool."""
        first, end = self.trie.leaf_range(depth, nodes)
        forbidden = self._leaves_before(end) - self._leaves_before(first)
        return forbidden == end - first

    def _leaves_before(self, leaf: Tensor) -> Tensor:
        return torch.searchsorted(self.leaves, leaf.flatten(1)).view_as(leaf)
