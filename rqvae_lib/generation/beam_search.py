"""Recommendations by beam search in the trie, which generates only IDs that exist.

At each level, every beam is extended by each code that leads to an item, and the most probable
extensions of all beams of a user are kept. Codes that lead to no item are skipped, so every
generated ID belongs to an item, and the best k are always k different items.

Items that must not be recommended are excluded before the search, not after it: the search never
enters a prefix without an allowed item below it. This only needs the number of allowed leaves in
the range of each prefix. Every beam can therefore reach an item, and k beams end at k different
items.

Source: De Cao et al., arXiv 2010.00904, §3.2 (constrained beam search); Rajput et al., TIGER, arXiv
2305.05065, §3.2.
Derived in: chapter 09; seen at work in chapter 00.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.generation.config import NUM_BEAMS, NUM_ITEMS, TEMPERATURE, TEMPERATURES
from rqvae_lib.models.base import BeamState, Recommender, check_histories, check_writes_ids
from rqvae_lib.ops.arrays import Array, as_count, as_row, as_rows
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.trie import Trie

# Children in a row that are scored at a time: a few users' if one prefix has thousands.
IN_A_ROW = 2**16


class Recommendations(NamedTuple):
    """The recommended items of B users, and how probable they are."""

    items: Tensor  # (B, k) int64, best first; −1 if a user has fewer than k allowed items
    log_probabilities: Tensor  # (B, k) float32, log p(ID | history); −inf where the item is −1


@own_settings
@torch.no_grad()
def recommend(
    model: Recommender,
    histories: HistoryLists,
    *,
    k: int = NUM_ITEMS,
    beams: int = NUM_BEAMS,
    forbidden: HistoryLists | None = None,
    allowed: Array | None = None,
    temperature: float = TEMPERATURE,
    max_per_prefix: int | None = None,
    batch_size: int = 64,
) -> Recommendations:
    """Recommend the k most probable items that the beam search finds for each user.

    Args:
        model: a generative recommender, in evaluation mode. It has its catalogue and trie.
        histories: B lists of item rows, in time order, which may be empty: tensors, arrays such as
            `Dataset.user_history` returns, or lists; or a `Histories`, such as a split's `train`.
        k: the number of items to recommend, at least 1.
        beams: the number of prefixes kept at each level, at least k. More beams come closer to the
            exact ranking; as many beams as the catalogue has items give it exactly.
        forbidden: B lists of item rows: the items never to recommend to each user. By default those
            of the history.
        allowed: item rows, such as `Dataset.item_index` returns, in any order: the only items to
            recommend to any user, such as a genre or the items in stock. By default the whole
            catalogue.
        temperature: from 1e-6 to 1e6. Every code's scores are divided by it before the softmax.
            Below 1, the probabilities of each code become sharper; above 1, flatter. This also
            changes the ranking: near 0, an earlier code outweighs all later ones. The
            log-probabilities are those of the changed model.
        max_per_prefix: the largest number of items with the same first code, at least 1. It is
            applied to each user's beams, in order of probability, after the search. Use more beams
            than k, or some users may get fewer than k items.
        batch_size: the number of users searched for at a time. It affects the memory, not the
            result.

    Returns:
        Items and log-probabilities, each (B, k). All items of a row differ, all are allowed, and
        none is forbidden. Without `max_per_prefix`, a row has k items if so many are allowed.

    Raises:
        ValueError: if k < 1 or beams < k; if `temperature` or `max_per_prefix` is out of range; if
            there is not one list of forbidden items per user; if `batch_size` is below 1; if a
            history, a list of forbidden items or `allowed` holds something else than item rows, or
            names an item outside the catalogue; or if a score is NaN.
    """
    check_writes_ids(model)
    check_search(k, beams, temperature, max_per_prefix)
    batch_size = as_count(batch_size, "batch_size")
    trie = model.trie
    histories = as_histories(histories)
    check_histories(histories, trie.num_items)
    if forbidden is not None:
        forbidden = as_histories(forbidden, "forbidden")
        if len(forbidden) != len(histories):
            raise ValueError(
                f"there are {len(histories)} histories and {len(forbidden)} lists of forbidden "
                "items: pass one list per history, which may be empty"
            )
        for own in forbidden:
            check_rows(own, "forbidden", trie)
    if allowed is not None:
        allowed = as_rows(allowed, "allowed")
        check_rows(allowed, "allowed", trie)
    allowed_before = count_allowed(trie, allowed)
    found = []
    for start in range(0, len(histories), batch_size):
        batch = slice(start, start + batch_size)
        state = model.read_histories(*model.pad_histories(histories[batch]))
        left_out = histories[batch] if forbidden is None else forbidden[batch]
        blocked = BlockedPrefixes.of(trie, left_out, allowed_before)
        scores, leaves = search(model, state, blocked, beams, temperature)
        refuse_nan(scores)
        if max_per_prefix is not None:
            scores = _at_most(max_per_prefix, trie, scores, leaves)
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            leaves = leaves.gather(1, order)
        scores, leaves = scores[:, :k], leaves[:, :k]
        items = torch.where(scores > -torch.inf, trie.items[leaves], -1)
        missing = k - items.shape[1]  # above 0 if the whole catalogue holds fewer than k items
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
    """Check the settings of a search.

    Args:
        k, beams, temperature, max_per_prefix: as `recommend`.

    Raises:
        ValueError: if a setting is out of range.
    """
    for name, count in (("k", k), ("beams", beams)):
        as_row(count, name)  # a whole number
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
    if max_per_prefix is not None and as_row(max_per_prefix, "max_per_prefix") < 1:
        raise ValueError(
            f"max_per_prefix is {max_per_prefix}; expected at least 1, or None for no limit"
        )


def search(
    model: Recommender,
    state: BeamState,
    blocked: "BlockedPrefixes",
    beams: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Search for one batch of users, from the state after their histories.

    Args:
        model: as `recommend`.
        state: with one beam for each of B users, at depth 0.
        blocked: the prefixes without an item that may be recommended.
        beams, temperature: as `recommend`.

    Returns:
        The log-probability of each beam, (B, K) with K ≤ `beams`, highest first, and −inf if a beam
        found nothing; and the leaf of the trie where it ended, (B, K) int64.
    """
    trie = model.trie
    nodes = torch.zeros_like(state.hidden[..., 0], dtype=torch.int64)  # (B, K): the root
    scores = torch.zeros_like(state.hidden[..., 0])  # (B, K)
    for depth in range(trie.depth):
        width = trie.row_width(depth, nodes.shape[1])
        at_a_time = max(1, IN_A_ROW // width) if width else len(nodes)
        if at_a_time >= len(nodes):
            found = _extended(model, state, blocked, nodes, scores, beams, temperature)
        else:
            parts = [
                _extended(
                    model,
                    state.of_users(users),
                    blocked._replace(forbidden=blocked.forbidden[users]),
                    nodes[users],
                    scores[users],
                    beams,
                    temperature,
                )
                for users in row_blocks(len(nodes), at_a_time)
            ]
            found = _Extended(*(torch.cat(each) for each in zip(*parts, strict=True)))
        scores, nodes = found.scores, found.nodes
        if depth < trie.depth - 1:
            state = model.extend(state, found.parents, found.codes, nodes)
    return scores, nodes


class _Extended(NamedTuple):
    """Beams of the next depth, best first."""

    scores: Tensor  # (B, K') float, the log-probability of each prefix
    parents: Tensor  # (B, K') int64, the beam that each continues
    nodes: Tensor  # (B, K') int64
    codes: Tensor  # (B, K') int64, the last code of each


def _extended(
    model: Recommender,
    state: BeamState,
    blocked: "BlockedPrefixes",
    nodes: Tensor,
    scores: Tensor,
    beams: int,
    temperature: float,
) -> _Extended:
    """Extend each beam by every code that leads to an allowed item, and keep the best."""
    trie, depth = model.trie, state.depth
    children = trie.children_of_beams(depth, nodes)  # (B, K, C), or (B, E) in a row
    log_probabilities = model.child_log_probabilities(state, children, temperature)
    extended = children.of_parents(scores) + log_probabilities
    allowed = children.valid & ~blocked.covers(depth + 1, children.nodes)
    extended = extended.masked_fill(~allowed, -torch.inf).flatten(1)  # (B, K·C) or (B, E)
    scores, chosen = extended.topk(min(beams, extended.shape[1]), dim=1)  # (B, K')
    return _Extended(
        scores,
        children.parents_of(chosen),
        children.nodes.flatten(1).gather(1, chosen),
        children.codes.flatten(1).gather(1, chosen),
    )


def _at_most(limit: int, trie: Trie, scores: Tensor, leaves: Tensor) -> Tensor:
    """Set scores beyond the first `limit` items with the same first code to −inf.

    Args:
        limit: the largest number of such items.
        trie: the catalogue's prefixes.
        scores: shape (B, K), highest first.
        leaves: shape (B, K), int64, the leaf of each score.
    """
    group = trie.node_above(1, leaves)  # (B, K), the node of the first code
    in_groups, order = group.sort(dim=1, stable=True)  # within a group, the highest stays first
    places = torch.arange(group.shape[1], device=group.device)
    number = places - torch.searchsorted(in_groups, in_groups)  # (B, K), 0 for a group's best item
    too_many = torch.zeros_like(number, dtype=torch.bool).scatter(1, order, number >= limit)
    return scores.masked_fill(too_many, -torch.inf)


def refuse_nan(scores: Tensor) -> None:
    """Raise ValueError if a log-probability is NaN, because NaN has no place in a ranking.

    Args:
        scores: of any shape.
    """
    if scores.isnan().any():
        raise ValueError(
            "the model gives a code the score NaN, so its recommendations mean nothing: its "
            "weights are corrupt; load an earlier checkpoint, or train again with a lower "
            "learning rate"
        )


class BlockedPrefixes(NamedTuple):
    """The prefixes without an item that may be recommended, for each of B users."""

    trie: Trie
    forbidden: Tensor  # (B, S) int64, each user's forbidden leaves, sorted, then N as padding
    allowed_before: Tensor | None  # (N + 1,) int64, the allowed leaves before each; None: all are

    @classmethod
    def of(
        cls, trie: Trie, forbidden: Sequence[Tensor], allowed_before: Tensor | None = None
    ) -> "BlockedPrefixes":
        """Find them from the items that each user must not get, and those that all users may get.

        Args:
            trie: the catalogue's prefixes.
            forbidden: as `recommend`.
            allowed_before: the result of `count_allowed`; None: the whole catalogue is allowed.
        """
        # `unique` sorts, and counts a repeated item once.
        leaves = [torch.unique(trie.leaf_of[items.to(trie.items.device)]) for items in forbidden]
        if allowed_before is not None:  # the others are excluded already
            leaves = [own[allowed_before[own] < allowed_before[own + 1]] for own in leaves]
        # The padding is past the last leaf, outside every prefix's range.
        padded = torch.nn.utils.rnn.pad_sequence(
            leaves, batch_first=True, padding_value=trie.num_items
        )
        return cls(trie, padded, allowed_before)

    def covers(self, depth: int, nodes: Tensor) -> Tensor:
        """Return whether no item is left below each node, (B, ...) bool.

        Args:
            depth: the depth of the nodes.
            nodes: shape (B, ...), int64.
        """
        ranges = torch.stack(self.trie.leaf_range(depth, nodes), 1)  # (B, 2, ...)
        forbidden = torch.searchsorted(self.forbidden, ranges.flatten(1)).view_as(ranges)
        if self.allowed_before is not None:
            ranges = self.allowed_before[ranges]
        return forbidden.diff(dim=1)[:, 0] == ranges.diff(dim=1)[:, 0]


def count_allowed(trie: Trie, allowed: Tensor | None) -> Tensor | None:
    """Return the number of allowed leaves before each leaf, (N + 1,) int64, or None for all items.

    Args:
        trie: the catalogue's prefixes.
        allowed: as `recommend`.
    """
    if allowed is None:
        return None
    is_allowed = torch.zeros(trie.num_items, dtype=torch.bool, device=trie.items.device)
    is_allowed[trie.leaf_of[allowed.to(is_allowed.device)]] = True
    return torch.nn.functional.pad(is_allowed.cumsum(0), (1, 0))


def check_rows(items: Tensor, what: str, trie: Trie) -> None:
    """Check that items are rows of the trie's catalogue.

    Args:
        items: shape (n,), int64.
        what: what the message says about the items, such as "forbidden".
        trie: the catalogue's prefixes.

    Raises:
        ValueError: if an item is not from 0 to N − 1.
    """
    outside = items[(items < 0) | (items >= trie.num_items)]
    if len(outside):
        raise ValueError(
            f"item {int(outside[0])} is {what}, but the catalogue holds items 0 to "
            f"{trie.num_items - 1}: pass rows of the catalogue, not the dataset's own ids"
        )
