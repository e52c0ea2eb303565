"""A causal transformer that also attends to a sequence that another transformer has encoded.

Each block has three parts: attention to the earlier tokens of its own sequence, attention to the
encoded sequence (cross-attention), and the MLP. Each block computes a key and a value for each
encoded token once. They are kept in a `Memory`, the class that `Transformer` uses for the history,
and all beams share them. Nothing in this file knows about recommendation.

Source: Vaswani et al., arXiv 1706.03762, §3.2.3; pre-norm: Xiong et al., arXiv 2002.04745.
Derived in: chapter 10.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.models.transformer import Block, KeyValues, Memory


class CrossBlock(Block):
    """A `Block` with cross-attention to an encoded sequence between self-attention and MLP.

    Args:
        config: the size of the block.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.cross_norm = nn.LayerNorm(config.dim)
        self.cross_q = nn.Linear(config.dim, config.dim)
        self.cross_kv = nn.Linear(config.dim, 2 * config.dim)
        self.cross_out = nn.Linear(config.dim, config.dim)

    def keys_and_values(self, encoded: Tensor) -> KeyValues:
        """Return this block's keys and values of an encoded sequence.

        Args:
            encoded: shape (B, T, D).

        Returns:
            The keys and the values, each (B, H, T, D/H).
        """
        kv = self.cross_kv(encoded).unflatten(2, (2, self.num_heads, -1))
        return KeyValues(*kv.permute(2, 0, 3, 1, 4))

    def read(self, x: Tensor, encoded: KeyValues, mask: Tensor | None) -> Tensor:
        """Read whole sequences, causally.

        Args:
            x: shape (B, n, D).
            encoded: each (B, H, T, D/H), from `keys_and_values`.
            mask: shape (B, 1, 1, T), bool, True where there is an encoded token; None: everywhere.

        Returns:
            shape (B, n, D).
        """
        q, k, v = self._project(x)  # (B, H, n, D/H)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = self._add_attention(x, mixed.transpose(1, 2).flatten(2))
        return self._add_mlp(self._look(x, encoded, mask))

    def step(
        self, x: Tensor, history: KeyValues, history_mask: Tensor | None, own: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read one new token per beam, as `Block.step`, where `history` is the encoded sequence."""
        qkv = self._qkv(x)  # (B, K, 3, H, D/H)
        own = torch.cat([own, qkv[:, :, 1:, :, None]], 4)  # (B, K, 2, H, n + 1, D/H)
        mixed = F.scaled_dot_product_attention(qkv[:, :, 0, :, None], own[:, :, 0], own[:, :, 1])
        x = self._add_attention(x, mixed.flatten(2))  # (B, K, D)
        return self._add_mlp(self._look(x, history, history_mask)), own

    def _look(self, x: Tensor, encoded: KeyValues, mask: Tensor | None) -> Tensor:
        """Add the result of cross-attention to each token of x (B, n, D)."""
        q = self.cross_q(self.cross_norm(x)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, *encoded, attn_mask=mask)  # (B, H, n, D/H)
        looked: Tensor = x + self.dropout(self.cross_out(mixed.transpose(1, 2).flatten(2)))
        return looked


class CrossTransformer(nn.Module):
    """Cross-blocks, one after another, and a last normalization.

    Args:
        config: the size of the transformer.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CrossBlock(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)

    def read(self, encoded: Tensor, mask: Tensor) -> Memory:
        """Return the memory of an encoded sequence, computed once for all tokens that read it.

        Args:
            encoded: shape (B, T, D).
            mask: shape (B, 1, 1, T), bool, True where there is a token, at least one in each row.
        """
        return Memory.of([block.keys_and_values(encoded) for block in self._blocks()], mask)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        """Read whole sequences causally, with attention to the memory: (B, n, D) → (B, n, D)."""
        for block, encoded in zip(self._blocks(), memory.history, strict=True):
            x = block.read(x, encoded, memory.history_mask)
        normed: Tensor = self.norm(x)
        return normed

    def step(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read one new token per beam: (B, K, D) → (B, K, D), and the memory with the token."""
        own = []
        tokens_before = memory.own_tokens.unbind(2)
        for block, encoded, tokens in zip(
            self._blocks(), memory.history, tokens_before, strict=True
        ):
            x, tokens = block.step(x, encoded, memory.history_mask, tokens)
            own.append(tokens)
        normed: Tensor = self.norm(x)
        return normed, memory._replace(own_tokens=torch.stack(own, 2))

    def _blocks(self) -> list[CrossBlock]:
        return [block for block in self.blocks if isinstance(block, CrossBlock)]
