"""A causal transformer that continues the sentence of a user's codes.

The sentence is the codes of the first item, then those of the second, and so on. Every code is
predicted from all codes before it, so a window of T items gives T targets in one pass.

Derived in: chapter 08; seen at work in chapter 00.
"""

from torch import Tensor

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.base import BeamState, draw_weights
from rqvae_lib.models.code_sequences import CodeSequenceRecommender
from rqvae_lib.models.configs import DecoderOnlyConfig
from rqvae_lib.models.transformer import Memory, Transformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs


class DecoderOnly(CodeSequenceRecommender):
    """A causal transformer over flattened semantic IDs.

    Args:
        config: the architecture.
        ids: the catalogue whose IDs the model will generate. They become the buffer
            `semantic_ids`.
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
        return self.nll(hidden, items[real])

    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        """Read a batch of histories, as `Recommender.read_histories`."""
        tokens = self.embed_items(items)  # (B, 1 + T·L, D)
        hidden, memory = self.transformer.read(tokens, 1 + lengths * len(self.sizes))
        return BeamState(hidden, lengths, 0, memory)

    def read_token(self, token: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read a new token for each beam, as `CodeSequenceRecommender.read_token`."""
        return self.transformer.step(token, memory)
