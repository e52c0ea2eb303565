"""A causal transformer that continues the sentence of a user's codes.

The codes of the first item, then those of the second, and so on: one sequence, in which every code
is predicted from all codes before it. So a window of T items gives T targets in one pass.

Derived in: chapter 08; seen at work in chapter 00.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rqvae_lib.batches import PADDING
from rqvae_lib.code_sequences import CodeSequenceConfig, CodeSequenceRecommender
from rqvae_lib.history_models import draw_weights
from rqvae_lib.recommenders import BeamState
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.transformer import Memory, Transformer


@dataclass(frozen=True)
class DecoderOnlyConfig(CodeSequenceConfig):
    """The architecture of a `DecoderOnly`; the fields are `CodeSequenceConfig`'s."""


class DecoderOnly(CodeSequenceRecommender):
    """A causal transformer over flattened semantic IDs.

    Args:
        config: the architecture.
        ids: the catalogue that the model will speak. Its IDs become the buffer `item_ids`.
    """

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
        hidden = hidden.unflatten(1, (items.shape[1], -1))[real]  # (M, L, D), M real items
        return self.nats(hidden, items[real])

    def encode_history(self, histories: Sequence[Tensor]) -> BeamState:
        items, lengths = self.pad_histories(histories)  # (B, T), (B,)
        tokens = self.embed_items(items)  # (B, 1 + T·L, D)
        hidden, memory = self.transformer.read(tokens, 1 + lengths * len(self.sizes))
        return BeamState(hidden, lengths, 0, memory)

    def read_token(self, token: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        return self.transformer.step(token, memory)
