"""TIGER's architecture: an encoder reads the history, and a decoder writes the next item's codes.

The encoder reads a whole history at once, and each token attends to those on both sides. The
decoder writes the next item code by code. A new code attends to the codes already written and, by
cross-attention, to the encoder's output. The keys and values of cross-attention are computed once
per user, and all beams share them.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.2 and figure 2 (there a T5).
Derived in: chapter 10.
"""

import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.base import BeamState, draw_weights
from rqvae_lib.models.configs import EncoderDecoderConfig
from rqvae_lib.models.cross_attention import CrossTransformer
from rqvae_lib.models.decoder_only import CodeSequenceRecommender
from rqvae_lib.models.transformer import Memory, Transformer
from rqvae_lib.ops.shares import own_rows, whole_batch
from rqvae_lib.ops.torch_settings import own_dtype
from rqvae_lib.semantic_ids.catalogue import SemanticIDs


class EncoderDecoder(CodeSequenceRecommender):
    """A bidirectional encoder of histories, and a causal decoder of one item's codes.

    Args:
        config: the architecture.
        ids: the catalogue whose IDs the model will generate. They become the buffer
            `semantic_ids`.
    """

    @own_dtype
    def __init__(self, config: EncoderDecoderConfig, ids: SemanticIDs) -> None:
        super().__init__(config, ids)
        self.target_start = nn.Parameter(torch.zeros(config.transformer.dim))  # before the codes
        self.encoder = Transformer(config.transformer)
        self.decoder = CrossTransformer(config.transformer)
        draw_weights(self)

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of an item, in nats: the sum over its codes.

        One item of each row is the target, predicted from those before it. In evaluation mode, it
        is the last item. In training mode, it is drawn uniformly from the row at every call, with
        torch's default generator, which `training.loop.train` seeds for each step.

        Args:
            items: shape (B, T ≤ W), int64, rows padded at the end with `PADDING`; no row is empty.

        Returns:
            shape (), float32.
        """
        place = self._target_places(whole_batch(items))
        longest = int(place.max())  # of all processes, so that their tensors have one width
        place = own_rows(place)  # (B,), the target's position, which is also its history's length
        rows = torch.arange(len(items), device=items.device)
        targets = items[rows, place]  # (B,)
        memory = self._encode(items[:, :longest], place)
        codes = self.semantic_ids[targets]  # (B, L)
        written = [
            self.embed_code(codes[:, level, None], level, place)  # (B, 1, D)
            for level in range(len(self.sizes) - 1)
        ]
        start = self.target_start.expand(len(items), 1, -1)
        tokens = torch.cat([start, *written], 1)  # (B, L, D)
        return self.nll(self.decoder(self.dropout(tokens), memory), targets)

    def num_targets(self, items: Tensor) -> int:
        """Return the number of items that `loss` is the mean over: one of every row."""
        return len(items)

    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        """Read a batch of histories, as `Recommender.read_histories`."""
        start = self.target_start.expand(len(items), 1, -1)  # (B, 1, D)
        hidden, memory = self.decoder.step(start, self._encode(items, lengths))
        return BeamState(hidden, lengths, 0, memory)

    def read_token(self, token: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read a new token for each beam, as `CodeSequenceRecommender.read_token`."""
        return self.decoder.step(token, memory)

    def _target_places(self, items: Tensor) -> Tensor:
        """Return the position of each row's target, (B,) int64, for the rows of a whole batch."""
        count = (items != PADDING).sum(1)  # (B,)
        if not self.training:
            return count - 1
        # Drawn on the CPU, so that every device gets the same examples.
        drawn = torch.rand(len(items), dtype=torch.float64).to(items.device)
        return (drawn * count).long()

    def _encode(self, items: Tensor, lengths: Tensor) -> Memory:
        """Encode the first `lengths` (B,) items of each row of items (B, T)."""
        tokens = self.dropout(self.embed_items(items))  # (B, 1 + T·L, D)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        real = positions < 1 + lengths[:, None] * len(self.sizes)  # (B, 1 + T·L)
        mask = real[:, None, None]  # (B, 1, 1, 1 + T·L)
        return self.decoder.read(self.encoder(tokens, mask), mask)
