"""Generating only IDs that exist: a beam search that walks the trie, and recommendations from it.

At each level every beam is extended by each code that leads to an item, and the most probable
extensions, over all beams of a user, survive. Codes that lead nowhere are never scored, so every ID
that comes out names an item, and the best k are always k different items.

Items that must not be recommended are left out before the search, not after it: a prefix with no
allowed item below it is not entered. That needs only a count, for each prefix, of the allowed
leaves in its range. So every beam can still reach an item, and k beams end at k different ones.

Source: De Cao et al., arXiv 2010.00904, §3.2 (constrained beam search); Rajput et al., TIGER, arXiv
2305.05065, §3.2.
Derived in: chapter 09; seen at work in chapter 00.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.generation.config import NUM_BEAMS, NUM_ITEMS
from rqvae_lib.models.base import BeamState, Recommender, check_histories
from rqvae_lib.semantic_ids.trie import Trie

# Scores divided by less may leave float32's range; divided by more, they differ by less than their
# rounding. The lowest already decides as greedily as any lower one.
TEMPERATURES = (1e-6, 1e6)


class Recommendations(NamedTuple):
    items: Tensor  # (B, k) int64, best first; −1 where a user has fewer than k allowed items
    log_probabilities: Tensor  # (B, k) float32, log p(ID | history); −inf where the item is −1


@torch.no_grad()
def recommend(
    model: Recommender,
    histories: Sequence[Tensor],
    *,
    k: int = NUM_ITEMS,
    beams: int = NUM_BEAMS,
    forbidden: Sequence[Tensor] | None = None,
    allowed: Tensor | None = None,
    temperature: float = 1.0,
    max_per_prefix: int | None = None,
    batch_size: int = 64,
) -> Recommendations:
    """Recommend the k most probable items that the beam search finds for each user.

    Args:
        model: a generative recommender, in evaluation mode; it brings its catalogue and trie.
        histories: B tensors of item rows, int64, in time order; may be empty.
        k: items to recommend, at least 1.
        beams: prefixes kept at each level, at least k. More beams, closer to the exact ranking; as
            many as the catalogue has items gives it exactly.
        forbidden: for each user the items never to recommend; by default those of the history.
        allowed: item rows, int64, in any order: nothing else is recommended to anybody (a genre,
            what is in stock). By default the whole catalogue.
        temperature: from 1e-6 to 1e6; every code's scores are divided by it before the softmax.
            Below 1 each code is chosen more decidedly, above 1 less. The ranking changes with it:
            towards 0, an earlier code outweighs all later ones. The log-probabilities are those of
            the model so changed.
        max_per_prefix: at most so many items that share their first code, at least 1. Each user's
            beams are gone through, the most probable first, and an item too many is left out; so
            ask for more beams than k, or some users get fewer than k items.
        batch_size: users searched for at a time; it bounds the memory, not the result.

    Returns:
        items and log-probabilities, each (B, k). All items of a row differ, all are allowed, and
        none is forbidden. Without `max_per_prefix` a row holds k items wherever k are left.

    Raises:
        ValueError: if k < 1 or beams < k, if `temperature` or `max_per_prefix` is out of range, if
            there is not one list of forbidden items per user, if `batch_size` is below 1, if a
            history, such a list or `allowed` names an item outside the catalogue, or if a score is
            NaN.
    """
    check_search(k, beams, temperature, max_per_prefix)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    trie = model.trie
    check_histories(histories, trie.num_items)
    if forbidden is not None:
        if len(forbidden) != len(histories):
            raise ValueError(
                f"there are {len(histories)} histories and {len(forbidden)} lists of forbidden "
                "items: pass one list per history, an empty one where nothing is forbidden"
            )
        for own in forbidden:
            check_rows(own, "forbidden", trie)
    if allowed is not None:
        check_rows(allowed, "allowed", trie)
    found = []
    for start in range(0, len(histories), batch_size):
        batch = slice(start, start + batch_size)
        state = model.read_histories(*model.pad_histories(histories[batch]))
        left_out = histories[batch] if forbidden is None else forbidden[batch]
        blocked = _BlockedPrefixes(trie, left_out, allowed)
        scores, leaves = _search(model, state, blocked, beams, temperature)
        if max_per_prefix is not None:
            scores = _at_most(max_per_prefix, trie, scores, leaves)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        scores, leaves = scores[:, :k], leaves.gather(1, order)[:, :k]
        items = torch.where(scores > -torch.inf, trie.items[leaves], -1)
        missing = k - items.shape[1]  # where the whole catalogue holds fewer than k items
        found.append(
            Recommendations(
                torch.nn.functional.pad(items, (0, missing), value=-1),
                torch.nn.functional.pad(scores, (0, missing), value=-torch.inf),
            )
        )
    if not found:
        return Recommendations(torch.empty(0, k, dtype=torch.int64), torch.empty(0, k))
    return Recommendations(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def check_search(k: int, beams: int, temperature: float, max_per_prefix: int | None) -> None:
    """Raise ValueError for a setting of the search that is out of range, as `recommend` does."""
    if not 1 <= k <= beams:
        raise ValueError(
            f"k is {k} and beams is {beams}: ask for at least 1 item, and for at least k beams, "
            "because each beam ends at one item"
        )
    if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
        raise ValueError(
            f"temperature is {temperature}; expected a number from {TEMPERATURES[0]:g} to "
            f"{TEMPERATURES[1]:g}: 1 leaves the model as it is, and beyond these the divided "
            "scores may overflow or lose all differences"
        )
    if max_per_prefix is not None and max_per_prefix < 1:
        raise ValueError(
            f"max_per_prefix is {max_per_prefix}; expected at least 1, or None for no limit"
        )


def _search(
    model: Recommender,
    state: BeamState,
    blocked: "_BlockedPrefixes",
    beams: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Search for one batch of users, from the state that their histories leave.

    Returns:
        The log-probability of each beam, (B, K) with K ≤ `beams`, highest first and −inf where a
        beam found nothing; and the leaf of the trie that it ended at, (B, K) int64.
    """
    trie = model.trie
    nodes = torch.zeros_like(state.hidden[..., 0], dtype=torch.int64)  # (B, K): the root
    scores = torch.zeros_like(state.hidden[..., 0])  # (B, K)
    for depth in range(trie.depth):
        logits = model.next_code_logits(state) / temperature  # (B, K, size)
        log_probabilities = logits.log_softmax(2)
        children = trie.children_of(depth, nodes)  # (B, K, C)
        extended = scores[..., None] + log_probabilities.gather(2, children.codes)
        allowed = children.valid & ~blocked.covers(depth + 1, children.nodes)
        extended = extended.masked_fill(~allowed, -torch.inf).flatten(1)  # (B, K·C)
        scores, chosen = extended.topk(min(beams, extended.shape[1]), dim=1)  # (B, K')
        parents = chosen // children.nodes.shape[2]
        nodes = children.nodes.flatten(1).gather(1, chosen)
        if depth < trie.depth - 1:
            codes = children.codes.flatten(1).gather(1, chosen)
            state = model.extend(state, parents, codes, nodes)
    refuse_nan(scores)
    return scores, nodes


def _at_most(limit: int, trie: Trie, scores: Tensor, leaves: Tensor) -> Tensor:
    """Set to −inf the scores (B, K), highest first, of items too many with one first code."""
    group = trie.node_above(1, leaves)  # (B, K), the node of the first code
    in_groups, order = group.sort(dim=1, stable=True)  # within a group, still the highest first
    places = torch.arange(group.shape[1], device=group.device)
    number = places - torch.searchsorted(in_groups, in_groups)  # (B, K), 0 for a group's best
    too_many = torch.zeros_like(number, dtype=torch.bool).scatter(1, order, number >= limit)
    return scores.masked_fill(too_many, -torch.inf)


def refuse_nan(scores: Tensor) -> None:
    """Raise ValueError if a log-probability is NaN, which no ranking can place."""
    if scores.isnan().any():
        raise ValueError(
            "the model scores a code NaN, so its recommendations mean nothing: its weights are "
            "ruined; load an earlier checkpoint, or train it again with a lower learning rate"
        )


class _BlockedPrefixes:
    """Which prefixes have no item left that may be recommended, for each user."""

    def __init__(self, trie: Trie, forbidden: Sequence[Tensor], allowed: Tensor | None) -> None:
        self.trie = trie
        device = trie.items.device
        # `unique` sorts, and counts a repeated item once.
        leaves = [torch.unique(trie.leaf_of[items.to(device)]) for items in forbidden]
        self.allowed_before = None  # the whole catalogue is allowed
        if allowed is not None:
            is_allowed = torch.zeros(trie.num_items, dtype=torch.bool, device=device)
            is_allowed[trie.leaf_of[allowed.to(device)]] = True
            # How many allowed leaves stand before each, (N + 1,) int64.
            self.allowed_before = torch.nn.functional.pad(is_allowed.cumsum(0), (1, 0))
            leaves = [own[is_allowed[own]] for own in leaves]  # what is not allowed is out already
        # Padding past the last leaf is inside no prefix's range.
        self.forbidden = torch.nn.utils.rnn.pad_sequence(
            leaves, batch_first=True, padding_value=trie.num_items
        )  # (B, S)

    def covers(self, depth: int, nodes: Tensor) -> Tensor:
        """Return whether no item is left below each node (B, K, C): (B, K, C) bool."""
        first, end = self.trie.leaf_range(depth, nodes)
        forbidden = self._forbidden_before(end) - self._forbidden_before(first)
        if self.allowed_before is None:
            return forbidden == end - first
        return forbidden == self.allowed_before[end] - self.allowed_before[first]

    def _forbidden_before(self, leaf: Tensor) -> Tensor:
        return torch.searchsorted(self.forbidden, leaf.flatten(1)).view_as(leaf)


def check_rows(items: Tensor, what: str, trie: Trie) -> None:
    """Raise ValueError if items (n,) that are `what` are not of the trie's catalogue."""
    outside = items[(items < 0) | (items >= trie.num_items)]
    if len(outside):
        raise ValueError(
            f"item {int(outside[0])} is {what}, but the catalogue holds items 0 to "
            f"{trie.num_items - 1}: pass rows of the catalogue, not the data set's own ids"
        )
