"""Histories as sentences of codes, and the causal transformer that continues them.

A user's history becomes a sentence: the codes of the first item, then those of the second, and so
on. A transformer learns to continue it by one item. The level of each code is known, so each code
is chosen only among that level's codes, and the probability of an item is the product over its
codes.

`CodeSequenceRecommender` holds what all such recommenders share, the vocabulary of codes.
`DecoderOnly` adds one causal transformer, which predicts every code from all codes before it, so a
window of T items gives T targets in one pass. (`models.encoder_decoder` adds two transformers.)

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.2.
Derived in: chapter 08; seen at work in chapter 00.
"""

from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.base import BeamState, Recommender, draw_weights
from rqvae_lib.models.configs import CodeSequenceConfig, DecoderOnlyConfig
from rqvae_lib.models.transformer import Memory, Transformer
from rqvae_lib.ops.cross_entropy import BLOCK, grouped_cross_entropy, linear_cross_entropy
from rqvae_lib.ops.rows import take_rows, true_rows
from rqvae_lib.ops.shares import Dropout
from rqvae_lib.ops.torch_settings import own_dtype
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Children, ChildrenInARow


class CodeSequenceRecommender(Recommender):
    """The vocabulary of codes, and their scores. A subclass adds the transformer.

    Args:
        config: the architecture.
        ids: the catalogue whose IDs the model will generate. They become the buffer
            `semantic_ids`.
    """

    offsets: Tensor  # (L,) int64, where each level's codes start in the embedding table

    def __init__(self, config: CodeSequenceConfig, ids: SemanticIDs) -> None:
        super().__init__(config, ids)
        dim = config.transformer.dim
        self.first_codes = tuple(accumulate(self.sizes, initial=0))[:-1]
        offsets = torch.tensor(self.first_codes, device="cpu")  # even if weights are on meta
        self.register_buffer("offsets", offsets, persistent=False)
        self.code_embedding = nn.Embedding(sum(self.sizes), dim)  # also the output layer
        self.start = nn.Parameter(torch.zeros(dim))  # the token before the first item
        self.item_position = nn.Embedding(config.max_items, dim)
        self.level_position = nn.Embedding(len(self.sizes), dim)
        self.bias = nn.Parameter(torch.zeros(sum(self.sizes)))
        self.dropout = Dropout(config.embedding_dropout)
        self.valid_only = config.valid_only

    def next_code_logits(self, state: BeamState) -> Tensor:
        """Return the logits of the next level's codes, as `Recommender.next_code_logits`."""
        logits = self._level_logits(state.hidden, state.depth)
        if not self.valid_only:
            return logits
        return self._mask_invalid(logits, state.depth, self._nodes(state))

    def child_log_probabilities(
        self, state: BeamState, children: Children | ChildrenInARow, temperature: float = 1.0
    ) -> Tensor:
        """Return the children's log-probabilities, as `Recommender.child_log_probabilities`.

        A level may have thousands of codes, so the scores of all codes are computed for a block of
        beams at a time. Memory is needed for one block and for the children.
        """
        level = state.depth
        num_users, num_beams = state.hidden.shape[:2]
        users = max(1, BLOCK // (num_beams * self.sizes[level]))
        places = children.places(self.sizes[level])  # (B, E)
        if users >= num_users:
            scores = self._scores_at(state.hidden, level, places, temperature)
        else:
            scores = torch.cat(
                [
                    self._scores_at(hidden, level, own, temperature)
                    for hidden, own in zip(
                        torch.split(state.hidden, users), torch.split(places, users), strict=True
                    )
                ]
            )
        scores = scores.view_as(children.codes)
        return children.log_softmax(scores) if self.valid_only else scores

    def _scores_at(self, hidden: Tensor, level: int, places: Tensor, temperature: float) -> Tensor:
        """Return the scores of some codes of each user's beams, divided by the temperature.

        Args:
            hidden: shape (b, K, D), the outputs of the beams.
            level: from 0.
            places: shape (b, E), int64, the codes, numbered through the codes of all beams.
            temperature: as `child_log_probabilities`.

        Returns:
            shape (b, E): logits or, if the softmax is over all codes, log-probabilities.
        """
        size = self.sizes[level]
        beams = hidden.shape[1] if len(hidden) > 1 else max(1, BLOCK // size)
        scores = None
        for start in range(0, hidden.shape[1], beams):
            logits = self._level_logits(hidden[:, start : start + beams], level) / temperature
            if not self.valid_only:
                logits = logits.log_softmax(2)
            logits = logits.flatten(1)
            if logits.shape[1] == hidden.shape[1] * size:
                return logits.gather(1, places)
            local = places - start * size
            here = (local >= 0) & (local < logits.shape[1])
            if scores is None:
                scores = logits.new_zeros(places.shape)
            scores = torch.where(here, logits.gather(1, local.where(here, 0)), scores)
        assert scores is not None
        return scores

    def extend(
        self, state: BeamState, parents: Tensor, codes: Tensor, nodes: Tensor | None = None
    ) -> BeamState:
        """Append a code to chosen beams, as `Recommender.extend`."""
        assert state.memory is not None
        token = self.embed_code(codes, state.depth, state.lengths)  # (B, K', D)
        hidden, memory = self.read_token(token, state.memory.select(parents))
        if nodes is None and self.valid_only:
            nodes = self.trie.follow(state.depth, self._nodes(state).gather(1, parents), codes)
        return BeamState(hidden, state.lengths, state.depth + 1, memory, nodes)

    # The parts that the architectures use

    def read_token(self, token: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read a new token for each beam.

        Args:
            token: shape (B, K, D).
            memory: the history and the tokens of the beams so far.

        Returns:
            The output, shape (B, K, D), and the memory with the new token.
        """
        raise NotImplementedError

    def embed_items(self, items: Tensor) -> Tensor:
        """Turn rows of items (B, T) into sentences of tokens (B, 1 + T·L, D), the start first."""
        batch, length = items.shape
        codes = self.semantic_ids[items.clamp(min=0)]  # (B, T, L); padding is read as item 0
        vectors = take_rows(self.code_embedding.weight, codes + self.offsets)  # (B, T, L, D)
        vectors = vectors + self.item_position.weight[:length, None] + self.level_position.weight
        start = self.start.expand(batch, 1, -1)  # (B, 1, D)
        return torch.cat([start, vectors.flatten(1, 2)], 1)

    def embed_code(self, codes: Tensor, level: int, place: Tensor) -> Tensor:
        """Turn codes of one level into tokens.

        Args:
            codes: shape (B, K), int64.
            level: the level of the codes, from 0.
            place: shape (B,), int64, the position of the item in the history.

        Returns:
            shape (B, K, D).
        """
        position = self.item_position(place)[:, None]  # (B, 1, D)
        token = self.code_embedding(codes + self.offsets[level]) + position  # (B, K, D)
        embedded: Tensor = token + self.level_position.weight[level]
        return embedded

    def nll(self, hidden: Tensor, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of an item, in nats: the sum over its codes.

        Args:
            hidden: shape (M, L, D), the output before each code of each item.
            items: shape (M,), int64, the items.

        Returns:
            shape (), float32.
        """
        total = hidden.new_zeros(())
        for level in range(len(self.sizes)):
            if self.valid_only:
                total = total + self._valid_nll(hidden[:, level], items, level)
            else:
                vectors, bias = self._level_weights(level)
                targets = self.semantic_ids[:, level].index_select(0, items)  # (M,)
                total = total + linear_cross_entropy(hidden[:, level], vectors, bias, targets)
        return total / len(items)

    def _valid_nll(self, hidden: Tensor, items: Tensor, level: int) -> Tensor:
        """Return the sum of −log p(code | its siblings) of some items, shape ().

        Args:
            hidden: shape (M, D), the output before the code.
            items: shape (M,), int64.
            level: from 0.
        """
        leaves = self.trie.leaf_of[items]  # (M,)
        nodes = self.trie.node_above(level, leaves)
        used, group = torch.unique(nodes, return_inverse=True)
        children, first = self.trie.children_in_a_row(level, used)  # (E,)
        codes = self.trie.level(level + 1).code[children].long()
        own = self.trie.node_above(level + 1, leaves)  # (M,), the child that leads to the item
        targets = first[group] + own - children[first[:-1]][group]
        vectors, bias = self._level_weights(level)
        if len(used) == 1 and len(codes) == len(vectors):  # then the codes are 0, 1, 2, …
            return linear_cross_entropy(hidden, vectors, bias, targets)
        vectors, bias = vectors.index_select(0, codes), bias.index_select(0, codes)
        return grouped_cross_entropy(hidden, vectors, bias, targets, group, first)

    def _nodes(self, state: BeamState) -> Tensor:
        """Return each beam's node of the trie, (B, K) int64."""
        if state.nodes is None:  # nothing is written yet, so it is the root
            return torch.zeros_like(state.hidden[..., 0], dtype=torch.int64)
        return state.nodes

    def _mask_invalid(self, logits: Tensor, level: int, nodes: Tensor) -> Tensor:
        """Set the logits (..., size) of codes that lead from the nodes (...) to no item to −inf."""
        children, first = self.trie.children_in_a_row(level, nodes.flatten())  # (E,)
        row = torch.repeat_interleave(first.diff())  # (E,)
        exists = torch.zeros_like(logits, dtype=torch.bool)
        exists.view(-1, logits.shape[-1])[row, self.trie.level(level + 1).code[children].long()] = 1
        return logits.masked_fill(~exists, -torch.inf)

    def _level_logits(self, hidden: Tensor, level: int) -> Tensor:
        return F.linear(hidden, *self._level_weights(level))

    def _level_weights(self, level: int) -> tuple[Tensor, Tensor]:
        """Return the vectors of a level's codes, (size, D), and their biases, (size,)."""
        first = self.first_codes[level]
        codes = slice(first, first + self.sizes[level])
        return self.code_embedding.weight[codes], self.bias[codes]


class DecoderOnly(CodeSequenceRecommender):
    """A causal transformer over flattened semantic IDs.

    Args:
        config: the architecture.
        ids: the catalogue whose IDs the model will generate. They become the buffer
            `semantic_ids`.
    """

    @own_dtype
    def __init__(self, config: DecoderOnlyConfig, ids: SemanticIDs) -> None:
        super().__init__(config, ids)
        self.transformer = Transformer(config.transformer)
        draw_weights(self)

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
        tokens = self.embed_items(items)  # (B, 1 + T·L, D)
        hidden = self.transformer(self.dropout(tokens[:, :-1]))  # (B, T·L, D)
        by_item = hidden.unflatten(1, (items.shape[1], -1)).flatten(0, 1)  # (B·T, L, D)
        hidden = true_rows(by_item, real.flatten())  # (M, L, D), M real items
        return self.nll(hidden, items[real])

    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        """Read a batch of histories, as `Recommender.read_histories`."""
        tokens = self.embed_items(items)  # (B, 1 + T·L, D)
        hidden, memory = self.transformer.read(tokens, 1 + lengths * len(self.sizes))
        return BeamState(hidden, lengths, 0, memory)

    def read_token(self, token: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read a new token for each beam, as `CodeSequenceRecommender.read_token`."""
        return self.transformer.step(token, memory)
