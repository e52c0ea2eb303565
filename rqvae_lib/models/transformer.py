"""A pre-norm transformer with a cache: causal over a sequence, and cheap to extend by many beams.

In training, it reads whole sequences with a causal mask. In generation, it reads a user's history
once and keeps the keys and values of every layer. Each beam then adds its own few tokens. A new
token attends to the history, which all beams of the user share, and to the tokens of its own beam,
so only those few tokens are stored per beam. With a mask, the transformer is an encoder that reads
in both directions and cannot be extended. Nothing in this file knows about recommendation.

Source: Vaswani et al., arXiv 1706.03762; pre-norm: Xiong et al., arXiv 2002.04745.
Derived in: chapter 08 (the block) and chapter 09 (the cache); seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.models.configs import TransformerConfig


class KeyValues(NamedTuple):
    """The keys and values of some tokens in one layer."""

    keys: Tensor  # (B, H, T, D/H) for a shared history; (B, K, H, n, D/H) for K beams' own tokens
    values: Tensor  # same shape

    def append(self, keys: Tensor, values: Tensor) -> "KeyValues":
        """Add one new token per beam to the beams' own tokens.

        Args:
            keys, values: shape (B, H, K, D/H), those of the new token of each of K beams.

        Returns:
            The keys and the values of n + 1 tokens, each (B, K, H, n + 1, D/H).
        """
        return KeyValues(
            torch.cat([self.keys, keys.transpose(1, 2)[..., None, :]], 3),  # (B, K, H, n + 1, D/H)
            torch.cat([self.values, values.transpose(1, 2)[..., None, :]], 3),
        )


class Memory(NamedTuple):
    """The cache of a generation: the history, which beams share, and each beam's own tokens."""

    history: list[KeyValues]  # one per layer
    history_mask: Tensor  # (B, 1, 1, T) bool, True where there is a token
    own: list[KeyValues]  # one per layer

    @classmethod
    def of(cls, history: list[KeyValues], history_mask: Tensor) -> "Memory":
        """Make the memory of a history, with one beam per user that has no tokens yet.

        Args:
            history: the keys and values of each layer, each (B, H, T, D/H).
            history_mask: shape (B, 1, 1, T), bool, True where there is a token.
        """
        keys = history[0].keys
        batch, num_heads, _, head_dim = keys.shape
        nothing = keys.new_empty(batch, 1, num_heads, 0, head_dim)
        return cls(history, history_mask, [KeyValues(nothing, nothing)] * len(history))

    def select(self, parents: Tensor) -> "Memory":
        """Return the memory of new beams: beam k of user b continues the old beam parents[b, k].

        Args:
            parents: shape (B, K'), int64.
        """
        rows = torch.arange(len(parents), device=parents.device)[:, None]  # (B, 1)
        own = [
            KeyValues(layer.keys[rows, parents], layer.values[rows, parents]) for layer in self.own
        ]
        return self._replace(own=own)


class Block(nn.Module):
    """Attention, then a two-layer MLP. Each reads its input normalized and adds to the input.

    Args:
        config: the size of the block.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.attention_norm = nn.LayerNorm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.mlp_dim), nn.GELU(), nn.Linear(config.mlp_dim, config.dim)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, KeyValues]:
        """Read whole sequences. Each token attends to itself and those before it, or to all tokens.

        Args:
            x: shape (B, T, D). In causal reading, padding is at the end, where no real token
                attends to it.
            mask: None to read causally. Otherwise shape (B, 1, 1, T), bool, True where there is a
                token, at least one in each row: each token then attends to all of these.

        Returns:
            The output, shape (B, T, D), and the keys and values, each (B, H, T, D/H).
        """
        q, k, v = self._project(x)  # (B, H, T, D/H)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = self._add_attention(x, mixed.transpose(1, 2).flatten(2))
        return self._add_mlp(x), KeyValues(k, v)

    def step(
        self, x: Tensor, history: KeyValues, history_mask: Tensor, own: KeyValues
    ) -> tuple[Tensor, KeyValues]:
        """Read one new token per beam.

        Args:
            x: shape (B, K, D), the new token of each of K beams.
            history: each (B, H, T, D/H), shared by a user's beams.
            history_mask: shape (B, 1, 1, T), bool, True where there is a token.
            own: each (B, K, H, n, D/H), the beam's tokens so far; n may be 0.

        Returns:
            The output, shape (B, K, D), and `own` with the new token, each (B, K, H, n + 1, D/H).
        """
        q, k, v = self._project(x)  # (B, H, K, D/H)
        own = own.append(k, v)  # (B, K, H, n + 1, D/H)
        scale = q.shape[-1] ** -0.5
        to_history = (q @ history.keys.transpose(2, 3)) * scale  # (B, H, K, T)
        to_history = to_history.masked_fill(~history_mask, -torch.inf)
        beam_q = q.transpose(1, 2)[..., None, :]  # (B, K, H, 1, D/H)
        to_own = (beam_q @ own.keys.transpose(3, 4)) * scale  # (B, K, H, 1, n + 1)
        to_own = to_own.squeeze(3).transpose(1, 2)  # (B, H, K, n + 1)
        weights = torch.cat([to_history, to_own], 3).softmax(3)
        on_history, on_own = weights.tensor_split([to_history.shape[3]], 3)
        mixed = on_history @ history.values  # (B, H, K, D/H)
        own_mixed = on_own.transpose(1, 2)[..., None, :] @ own.values  # (B, K, H, 1, D/H)
        mixed = mixed.transpose(1, 2) + own_mixed.squeeze(3)  # (B, K, H, D/H)
        return self._add_mlp(self._add_attention(x, mixed.flatten(2))), own

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, D/H) each
        return q, k, v

    def _add_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        added: Tensor = x + self.dropout(self.out(mixed))  # (B, T, D)
        return added

    def _add_mlp(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))  # (B, T, D)
        return added


class Transformer(nn.Module):
    """Blocks, one after another, and a last normalization.

    Args:
        config: the size of the transformer.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read whole sequences, with a mask as in `Block.forward`: (B, T, D) → (B, T, D)."""
        for block in self.blocks:
            x, _ = block(x, mask)
        normed: Tensor = self.norm(x)
        return normed

    def read(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Memory]:
        """Read histories and keep their keys and values.

        Args:
            x: shape (B, T, D), padded at the end.
            lengths: shape (B,), int64, the number of real tokens in each history, 1 to T.

        Returns:
            The output of each history's last real token, (B, 1, D), and the memory.
        """
        history = []
        for block in self.blocks:
            x, layer = block(x)
            history.append(layer)
        batch, length, _ = x.shape
        positions = torch.arange(length, device=x.device)
        mask = (positions < lengths[:, None])[:, None, None]  # (B, 1, 1, T)
        last = x[torch.arange(batch, device=x.device), lengths - 1]  # (B, D)
        return self.norm(last)[:, None], Memory.of(history, mask)

    def step(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read one new token per beam: (B, K, D) → (B, K, D), and the memory with the token."""
        own = []
        for block, history, tokens in zip(self.blocks, memory.history, memory.own, strict=True):
            assert isinstance(block, Block)
            x, tokens = block.step(x, history, memory.history_mask, tokens)
            own.append(tokens)
        normed: Tensor = self.norm(x)
        return normed, memory._replace(own=own)
