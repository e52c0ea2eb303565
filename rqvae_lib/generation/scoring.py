"""The exact probability of every item in the catalogue, without generating every item's ID.

log p(item | history) is a sum over the item's codes. Items with the same first codes share the
first terms of that sum. The model therefore walks the trie level by level and reads each distinct
prefix once, however many items are below it. It reads the user's history once, as in beam search.

A level of a large catalogue may not fit in memory. A chunk of neighboring prefixes is therefore
followed down to its items before the next chunk starts. Memory is needed for one chunk per level.

Source: teacher-forced scoring over a prefix tree, the exact counterpart of the constrained beam
search of De Cao et al., arXiv 2010.00904, §3.2.
Derived in: chapter 09.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.generation.beam_search import check_rows, refuse_nan
from rqvae_lib.models.base import BeamState, Recommender, check_histories, check_writes_ids
from rqvae_lib.ops.arrays import Array, as_count, as_rows
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.trie import ChildrenInARow


@own_settings
@torch.no_grad()
def score_items(
    model: Recommender,
    histories: HistoryLists,
    items: Array | None = None,
    *,
    chunk_size: int = 1024,
    batch_size: int = 16,
) -> Tensor:
    """Return log p(item | history) for each user and item.

    Args:
        model: a generative recommender, in evaluation mode. It has its catalogue and trie.
        histories: as `recommend`.
        items: item rows, (S,), the items to score; by default all N, in catalogue order. The
            model reads only the prefixes of these items.
        chunk_size: the number of prefixes per user and level in memory at a time, at least 1. It
            affects the memory, not the result.
        batch_size: the number of users scored at a time, at least 1. It affects the memory, not the
            result.

    Returns:
        shape (B, S), float32, in nats. Over all N items, the probabilities sum to at most 1. The
        rest belongs to tuples of codes that are no item's ID.

    Raises:
        ValueError: if `chunk_size` or `batch_size` is below 1, if a history or `items` names an
            item outside the catalogue, or if a score is NaN.
    """
    check_writes_ids(model)
    chunk_size = as_count(chunk_size, "chunk_size")
    batch_size = as_count(batch_size, "batch_size")
    trie = model.trie
    device = trie.items.device
    histories = as_histories(histories)
    if items is None:
        items = torch.arange(trie.num_items, device=device)
    else:
        items = as_rows(items, "items").to(device)
    check_histories(histories, trie.num_items)
    check_rows(items, "to be scored", trie)
    leaves = trie.leaf_of[items]  # (S,)
    wanted = torch.zeros(trie.num_items + 1, dtype=torch.int64, device=leaves.device)
    wanted[leaves + 1] = 1
    walk = _Walk(model, wanted.cumsum(0), chunk_size)
    found = [
        walk.score(histories[start : start + batch_size])[:, leaves]
        for start in range(0, len(histories), batch_size)
    ]
    return torch.cat(found) if found else torch.empty(0, len(items))


class _Walk:
    """A walk down the trie for one batch of users after another."""

    def __init__(self, model: Recommender, wanted_before: Tensor, chunk_size: int) -> None:
        self.model = model
        self.trie = model.trie
        self.wanted_before = wanted_before  # (N + 1,), the number of leaves to score before each
        self.chunk_size = chunk_size

    def score(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the log-probability of each leaf, (B, N), and −inf for leaves not to score."""
        state = self.model.read_histories(*self.model.pad_histories(histories))
        hidden = state.hidden
        leaves = hidden.new_full((len(histories), self.trie.num_items), -torch.inf)
        root = torch.zeros(1, dtype=torch.int64, device=hidden.device)
        self._descend(state, root, hidden.new_zeros(len(histories), 1), leaves)
        refuse_nan(leaves)
        return leaves

    def _descend(self, state: BeamState, nodes: Tensor, scores: Tensor, leaves: Tensor) -> None:
        """Score all items below some nodes, and write the scores into `leaves`.

        Args:
            state: its K beams are at the nodes, which are the same for each user.
            nodes: shape (K,), int64.
            scores: shape (B, K), the log-probability of each node's prefix.
            leaves: shape (B, N), the output.
        """
        depth, num_users = state.depth, len(scores)
        children, first = self.trie.children_in_a_row(depth, nodes)  # (E,)
        parents = torch.repeat_interleave(first.diff())  # (E,)
        codes = self.trie.level(depth + 1).code[children].long()
        row = ChildrenInARow(
            nodes=children.expand(num_users, -1),
            codes=codes.expand(num_users, -1),
            valid=torch.ones_like(codes, dtype=torch.bool).expand(num_users, -1),
            parents=parents.expand(num_users, -1),
            num_parents=len(nodes),
        )
        scores = row.of_parents(scores) + self.model.child_log_probabilities(state, row)  # (B, E)
        # All children count in the softmax. Only those that lead to an item to score are followed.
        start, end = self.trie.leaf_range(depth + 1, children)
        asked = self.wanted_before[end] > self.wanted_before[start]  # (E,), M of them
        scores, parents, codes = scores[:, asked], parents[asked], codes[asked]
        nodes = children[asked]
        if depth + 1 == self.trie.depth:
            leaves[:, nodes] = scores
            return
        for chunk in row_blocks(len(nodes), self.chunk_size):
            further = self.model.extend(
                state,
                parents[chunk].expand(len(scores), -1),  # (B, K'), the same for each user
                codes[chunk].expand(len(scores), -1),
                nodes[chunk].expand(len(scores), -1),
            )
            self._descend(further, nodes[chunk], scores[:, chunk], leaves)
