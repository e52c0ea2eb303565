"""An RQ-Transformer: a transformer over items, and small networks over the codes of one item.

A sentence of codes is L times as long as the history. Here, an item is a single token, the sum of
its codes' vectors, so a transformer reads T tokens instead of T · L. It gives one *context* for
each next item. The codes of that item are then chosen one after another without reading the history
again: the score of a code is the dot product of the context with a vector for the prefix that ends
in this code.

Two small networks complete the transformer. One adapts the context to each level. The other gives
each prefix its vector and does not depend on the user. The vectors of all prefixes of the catalogue
are therefore computed once, and the exact scores of all items cost one matrix product per level
(see `scores`). In Lee et al., one small transformer reads context and prefix together, so it runs
again for each user and prefix.

The vector of a prefix starts with that of its last code. There are two ways to add the codes
before. A network can compute the rest from the sum of the prefix's code vectors. Or each prefix
that has siblings learns its own vector, which is also added where an item is read. An ID then names
places in a tree, and not only codes that the whole tree shares. The price is that the number of
weights grows with the catalogue.

Source: Lee et al., RQ-Transformer, arXiv 2203.01941, §3.2; vectors for prefixes: compare the n-gram
embeddings of Singh et al., "Better generalization with semantic IDs", arXiv 2306.08121, §4.
Derived in: chapter 10.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.base import BeamState, Recommender, draw_weights
from rqvae_lib.models.configs import RQTransformerConfig
from rqvae_lib.models.derived import Derived
from rqvae_lib.models.transformer import Transformer
from rqvae_lib.ops.cross_entropy import grouped_cross_entropy
from rqvae_lib.ops.ranges import segment_logsumexp
from rqvae_lib.ops.rows import row_blocks, row_sums, take_rows, true_rows
from rqvae_lib.ops.shares import Dropout
from rqvae_lib.ops.torch_settings import own_dtype, own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.sibling_sets import SiblingSets, sibling_sets
from rqvae_lib.semantic_ids.trie import Children, ChildrenInARow

# To look up a choice's vector and multiply it costs about as much as this many dot products in one
# large matrix product (measured on a CPU, with vectors of 64 numbers).
PRODUCTS_PER_LOOKUP = 8
# With fewer choices per target, a step makes the vectors of all of them: to find out which of them
# it needs, and to look these up, takes longer.
CHOICES_PER_TARGET = 8
LOOKUP_BLOCK = 2**22  # numbers of vectors that are looked up at a time
ITEM_BLOCK = 2**13  # items whose scores are summed at a time


class RQTransformer(Recommender):
    """A transformer over items that chooses the next item code by code.

    Args:
        config: the architecture.
        ids: the catalogue whose IDs the model will generate. They become the buffer
            `semantic_ids`.
    """

    code_rows: Tensor  # (N, L) int64, the rows of each item's codes in `code_embedding`
    prefix_rows: Tensor  # (N, L) int64, the rows of its prefixes in `prefix_embedding`

    @own_dtype
    def __init__(self, config: RQTransformerConfig, ids: SemanticIDs) -> None:
        super().__init__(config, ids)
        dim = config.transformer.dim
        starts = tuple(accumulate(self.sizes, initial=0))
        self.code_slices = tuple(slice(*ends) for ends in pairwise(starts))  # in `code_embedding`
        with torch.device("cpu"):  # the weights may be on the meta device, but not the catalogue
            levels = sibling_sets(self.trie)
            first_codes = torch.tensor(starts[:-1])
            prefix_rows, self.num_prefixes = _prefix_rows(levels)
        num_prefixes = sum(self.num_prefixes)
        for level, choices in enumerate(levels):
            for name, value in choices._asdict().items():
                self.register_buffer(f"choices_{level}_{name}", value, persistent=False)
        self.register_buffer("code_rows", ids.ids + first_codes, persistent=False)
        self.register_buffer("prefix_rows", prefix_rows, persistent=False)
        self.code_embedding = nn.Embedding(sum(self.sizes), dim)
        self.prefix_embedding = self.prefix_network = None
        if config.prefix_embeddings:
            self.prefix_embedding = nn.Embedding(num_prefixes + 1, dim, padding_idx=num_prefixes)
        else:
            self.prefix_network = _two_layers(dim)
        self.start = nn.Parameter(torch.zeros(dim))  # the token before the first item
        self.item_position = nn.Embedding(config.max_items, dim)
        self.level_position = nn.Embedding(len(self.sizes), dim)
        self.dropout = Dropout(config.embedding_dropout)
        self.transformer = Transformer(config.transformer)
        self.context_network = _two_layers(dim)
        self.context_norm = nn.LayerNorm(dim)
        self._made: Derived[list[Tensor]] = Derived()
        self._levels = self._find_levels()
        draw_weights(self)

    def _apply(self, *arguments: Any, **options: Any) -> "RQTransformer":
        # Called by `to`, `half` and the like, after which the buffers are others.
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._levels = self._find_levels()
        return self

    def _find_levels(self) -> list[SiblingSets]:
        """Collect each level's buffers: to look them up by their names at each step is slow."""
        names = SiblingSets._fields
        return [
            SiblingSets(*(getattr(self, f"choices_{level}_{name}") for name in names))
            for level in range(len(self.sizes))
        ]

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of an item, in nats: the sum over its codes.

        Every item of every row is a target, predicted from those before it in the row.

        Args:
            items: shape (B, T ≤ W), int64, rows padded at the end with `PADDING`; at least one
                item.

        Returns:
            shape (), float32.
        """
        real = items != PADDING  # (B, T)
        hidden = self.transformer(self.dropout(self._embed(items[:, :-1])))  # (B, T, D)
        hidden = true_rows(hidden.flatten(0, 1), real.flatten())  # (M, D)
        inner = self._inner(hidden)  # (M, 2 D)
        targets = items[real]  # (M,)
        own_vectors = self._own_vectors()
        total = 0 * hidden.sum()  # even a catalogue of one item, without a choice, has a gradient
        for level in range(len(self.sizes)):
            choices = self._choices(level)
            chosen = choices.of_item.index_select(0, targets)  # (M,)
            is_choice = chosen >= 0
            if is_choice.any():
                context = self._context(
                    true_rows(hidden, is_choice), true_rows(inner, is_choice), level
                )
                chosen = chosen[is_choice]
                sets = choices.set_of.index_select(0, chosen)
                if len(choices.item) <= CHOICES_PER_TARGET * len(chosen):
                    members, group, first = None, sets, choices.first  # all of them
                else:
                    used, group = torch.unique(sets, return_inverse=True)
                    members, first = choices.members(used)  # (E,), the choices of the used sets
                vectors = self._prefix_vectors(level, own_vectors[level], members)
                places = first[group] + chosen - choices.first[sets]
                total = total + grouped_cross_entropy(context, vectors, None, places, group, first)
        mean: Tensor = total / len(targets)
        return mean

    @own_settings
    @torch.no_grad()
    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the exact log p(item | history) of every item for each user.

        Args:
            histories: B tensors of item rows, int64, in time order; may be empty. The last W − 1
                items of each are read.

        Returns:
            shape (B, N), float32, in nats. Their exponentials sum to 1.

        Raises:
            ValueError: if a history names an item outside the catalogue.
        """
        if not histories:
            return torch.empty(0, len(self.semantic_ids), device=self.semantic_ids.device)
        state = self.encode_history(histories)
        # Users last, so that the numbers of a choice and of an item are neighbors in memory.
        total = state.hidden.new_zeros(len(self.semantic_ids), len(histories))  # (N, B)
        for level in range(len(self.sizes)):
            choices = self._choices(level)
            if len(choices.item):
                logits = self._choice_logits(state, level, users_last=True)  # (C, B)
                of_sets = segment_logsumexp(logits, choices.set_of, len(choices.first) - 1)
                for rows in row_blocks(len(total), ITEM_BLOCK):
                    chosen = choices.of_item[rows]
                    log_p = logits.index_select(0, chosen.clamp(min=0))
                    log_p -= of_sets.index_select(0, choices.set_of[chosen])
                    total[rows] += log_p.masked_fill_(
                        (chosen < 0)[:, None], 0
                    )  # log p of no choice
        return total.T.contiguous()

    @torch.no_grad()
    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        """Read a batch of histories, as `Recommender.read_histories`."""
        hidden, _ = self.transformer.read(self._embed(items), lengths + 1)  # (B, 1, D)
        root = torch.zeros(len(items), 1, dtype=torch.int64, device=items.device)
        contexts = self._contexts(hidden[:, 0])
        vectors = self._made_vectors()
        return BeamState(hidden, lengths, 0, nodes=root, contexts=contexts, vectors=vectors)

    def next_code_logits(self, state: BeamState) -> Tensor:
        """Return the scores of the next level's codes, as `Recommender.next_code_logits`.

        A code that leads to no item gets −inf.
        """
        assert state.nodes is not None
        level, (num_users, num_beams) = state.depth, state.nodes.shape
        choices, size = self._choices(level), self.sizes[level]
        children, first = self.trie.children_in_a_row(level, state.nodes.flatten())  # (E,)
        row = torch.repeat_interleave(first.diff())  # (E,), the beam of each child
        codes = self.trie.level(level + 1).code[children].long()
        # All beams of a user have the same context, so all choices are scored once.
        logits = F.pad(self._choice_logits(state, level), (0, 1))  # (B, C + 1)
        scores = logits[row // num_beams, choices.of_node[children]]  # −1: the zeros
        found = scores.new_full((num_users * num_beams, size), -torch.inf)
        found[row, codes] = scores
        return found.view(num_users, num_beams, size)

    @torch.no_grad()
    def prepare(self) -> None:
        """Compute the vectors that a network makes, as `Recommender.prepare`."""
        self._made_vectors()

    def child_log_probabilities(
        self, state: BeamState, children: Children | ChildrenInARow, temperature: float = 1.0
    ) -> Tensor:
        """Return the children's log-probabilities, as `Recommender.child_log_probabilities`.

        Only the children are scored, so the cost does not grow with the catalogue.
        """
        level = state.depth
        choices = self._choices(level)
        if not len(choices.item):  # nobody has siblings at this level
            return torch.zeros_like(children.nodes, dtype=state.hidden.dtype)
        if level == 0:
            logits = self._choice_logits(state, level)  # (B, C): the children of the root
        else:
            # An only child is −1 among the choices. Any finite score will do: its softmax is 1.
            rows = choices.of_node[children.nodes].clamp(min=0).flatten(1)  # (B, K·C)
            # Many beams have most choices among their children, and one product is cheaper then.
            if len(rows) * len(choices.item) < PRODUCTS_PER_LOOKUP * rows.numel():
                logits = self._choice_logits(state, level).gather(1, rows)
            else:
                logits = self._scored(state, rows, children.codes.flatten(1))
        logits = logits.view_as(children.nodes)
        return children.log_softmax(logits / temperature)

    def _scored(self, state: BeamState, rows: Tensor, codes: Tensor) -> Tensor:
        """Score some choices of the next level for each user.

        Args:
            state: at depth 1 or more.
            rows: shape (B, M), int64, the choices.
            codes: shape (B, M), int64, their last codes.

        Returns:
            shape (B, M).
        """
        assert state.contexts is not None
        level = state.depth
        context = state.contexts[level]  # (B, D)
        if state.vectors is not None:
            return _looked_up_products(state.vectors[level], rows, context)
        own = self._own_vectors()[level]
        assert own is not None
        # The vector of a choice is a sum, so its score is one too: the first term once per code.
        of_codes = context @ self.code_embedding.weight[self.code_slices[level]].T  # (B, size)
        return _looked_up_products(own, rows, context) + of_codes.gather(1, codes)

    def extend(
        self, state: BeamState, parents: Tensor, codes: Tensor, nodes: Tensor | None = None
    ) -> BeamState:
        """Append a code to chosen beams, as `Recommender.extend`."""
        if nodes is None:
            assert state.nodes is not None
            nodes = self.trie.follow(state.depth, state.nodes.gather(1, parents), codes)
        hidden = state.hidden[:, :1].expand(-1, nodes.shape[1], -1)
        return state._replace(hidden=hidden, depth=state.depth + 1, nodes=nodes)

    def _choices(self, level: int) -> SiblingSets:
        return self._levels[level]

    def _embed(self, items: Tensor) -> Tensor:
        """Turn rows of items (B, T) into tokens (B, 1 + T, D), the start first."""
        known = items.clamp(min=0)  # padding is read as item 0
        vectors = row_sums(self.code_embedding.weight, self.code_rows[known])  # (B, T, D)
        if self.prefix_embedding is not None:
            table = self.prefix_embedding.weight
            longer = self.prefix_rows[known][..., 1:]  # one code has no vector of its own
            vectors = vectors + row_sums(table, longer, padding=len(table) - 1)
        vectors = vectors + self.item_position.weight[: items.shape[1]]
        return torch.cat([self.start.expand(len(items), 1, -1), vectors], 1)

    def _own_vectors(self) -> list[Tensor | None]:
        """Return the learned vectors of each level's choices, (C, D), or None if there are none."""
        if self.prefix_embedding is None:
            return [None] * len(self.sizes)
        # Split once: with a slice per level, each gradient would be a table of its own.
        sizes = [*self.num_prefixes, 1]  # the last row is zeros, the padding
        _, *own, _ = self.prefix_embedding.weight.split_with_sizes(sizes)
        return [None, *own]

    def _prefix_vectors(
        self, level: int, own: Tensor | None, chosen: Tensor | None = None
    ) -> Tensor:
        """Return the vectors of a level's choices, (C, D), or of some of them.

        Args:
            level: from 0.
            own: the learned vectors of the level's choices, (C, D), or None if there are none.
            chosen: shape (C',), int64, the choices; None: all.
        """
        item = self._choices(level).item
        if chosen is not None:
            item = item.index_select(0, chosen)
            own = own if own is None else own.index_select(0, chosen)
        if self.prefix_network is None:
            last_codes = self.code_rows[:, level].index_select(0, item)  # (C,)
            vectors = self.code_embedding.weight.index_select(0, last_codes)
            return vectors if own is None else vectors + own
        steps = take_rows(self.code_embedding.weight, self.code_rows[item, : level + 1])
        place = self.level_position.weight[level]
        made: Tensor = steps[:, -1] + self.prefix_network(steps.sum(1) + place)
        return made

    def _inner(self, hidden: Tensor) -> Tensor:
        """Apply the context network's first layer to outputs (M, D), without a level: (M, 2 D)."""
        inner: Tensor = self.context_network[0](hidden)
        return inner

    def _context(self, hidden: Tensor, inner: Tensor, level: int) -> Tensor:
        """Return the context of a level from outputs h: norm(h + network(h + place)), (M, D).

        The first layer is linear, so its product with h is computed once for all levels:
        W (h + place) = W h + W place.

        Args:
            hidden: shape (M, D).
            inner: shape (M, 2 D), the result of `_inner` for `hidden`.
            level: from 0.
        """
        first, rest = self.context_network[0], self.context_network[1:]
        assert isinstance(first, nn.Linear)
        place = F.linear(self.level_position.weight[level], first.weight)  # (2 D,)
        context: Tensor = self.context_norm(hidden + rest(inner + place))
        return context

    def _contexts(self, hidden: Tensor) -> Tensor:
        """Return the contexts of all levels from outputs (B, D): (L, B, D). See `_context`."""
        first, rest = self.context_network[0], self.context_network[1:]
        assert isinstance(first, nn.Linear)
        places = F.linear(self.level_position.weight, first.weight)  # (L, 2 D)
        contexts: Tensor = self.context_norm(hidden + rest(self._inner(hidden) + places[:, None]))
        return contexts

    def _choice_logits(self, state: BeamState, level: int, *, users_last: bool = False) -> Tensor:
        """Score all choices of a level for each user: (B, C), or (C, B) if users come last."""
        assert state.contexts is not None
        if state.vectors is not None:
            vectors = state.vectors[level]
        else:
            vectors = self._prefix_vectors(level, self._own_vectors()[level])
        context = state.contexts[level]  # (B, D)
        return vectors @ context.T if users_last else context @ vectors.T

    def _made_vectors(self) -> list[Tensor] | None:
        """Return the vectors of all choices of each level, (C, D), if a network makes them.

        It makes them for the whole catalogue, so they are kept until the weights change.
        """
        if self.prefix_network is None:
            return None
        weights = [
            self.code_embedding.weight,
            self.level_position.weight,
            *self.prefix_network.parameters(),
        ]
        return self._made.of(
            weights,
            lambda: [self._prefix_vectors(level, None) for level in range(len(self.sizes))],
        )


def _prefix_rows(levels: Sequence[SiblingSets]) -> tuple[Tensor, tuple[int, ...]]:
    """Number the prefixes of two or more codes that have siblings.

    A prefix of one code needs no number: it has the vector of its code.

    Returns:
        The number of each item's prefix at each level, (N, L) int64, or the total number of
        prefixes if the prefix has none, which is the row of zeros; and the number of numbered
        prefixes per level.
    """
    counts = (0, *(len(choices.item) for choices in levels[1:]))
    rows = torch.full((len(levels[0].of_item), len(levels)), sum(counts))
    for level, choices in enumerate(levels[1:], 1):
        has_number = choices.of_item >= 0
        rows[has_number, level] = choices.of_item[has_number] + sum(counts[:level])
    return rows, counts


def _two_layers(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))


def _looked_up_products(vectors: Tensor, rows: Tensor, context: Tensor) -> Tensor:
    """Return the products of each user's context with some vectors: (B, M).

    Args:
        vectors: shape (C, D).
        rows: shape (B, M), int64, the vectors for each user.
        context: shape (B, D).
    """
    users = max(1, LOOKUP_BLOCK // (rows.shape[1] * vectors.shape[1]))
    if users >= len(rows):
        return torch.bmm(F.embedding(rows, vectors), context[:, :, None])[..., 0]
    parts = zip(torch.split(rows, users), torch.split(context, users), strict=True)
    return torch.cat([_looked_up_products(vectors, *part) for part in parts])
