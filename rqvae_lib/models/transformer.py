"""A pre-norm transformer that remembers: causal over a sequence, cheap to extend by many beams.

Trained, it reads whole sequences with a causal mask. To generate, it reads a user's history once
and keeps the keys and values of every layer. Each beam then adds its own few tokens: a new token
looks at the history, which all beams of the user share, and at its own beam's tokens. Nothing is
copied per beam but those few tokens. Given a mask, it reads in both directions, as an encoder
does; then there is nothing to extend. Nothing in this file knows about recommendation.

Source: Vaswani et al., arXiv 1706.03762; pre-norm: Xiong et al., arXiv 2002.04745.
Derived in: chapter 08 (the block) and chapter 09 (the cache); seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.models.configs import TransformerConfig


class KeyValues(NamedTuple):
    keys: Tensor  # (B, H, T, D/H) for a shared history; (B, K, H, n, D/H) for K beams' own tokens
    values: Tensor  # same shape

    def append(self, keys: Tensor, values: Tensor) -> "KeyValues":
        """Add the new token of each of K beams, (B, H, K, D/H), to the beams' own tokens."""
        return KeyValues(
            torch.cat([self.keys, keys.transpose(1, 2)[..., None, :]], 3),  # (B, K, H, n + 1, D/H)
            torch.cat([self.values, values.transpose(1, 2)[..., None, :]], 3),
        )


class Memory(NamedTuple):
    """What generation remembers: the history, shared by the beams, and each beam's own tokens."""

    history: list[KeyValues]  # a layer
    history_mask: Tensor  # (B, 1, 1, T) bool, True where there is a token
    own: list[KeyValues]  # a layer

    @classmethod
    def of(cls, history: list[KeyValues], history_mask: Tensor) -> "Memory":
        """Remember a history, for one beam per user that has no token of its own yet."""
        keys = history[0].keys
        batch, num_heads, _, head_dim = keys.shape
        nothing = keys.new_empty(batch, 1, num_heads, 0, head_dim)
        return cls(history, history_mask, [KeyValues(nothing, nothing)] * len(history))

    def select(self, parents: Tensor) -> "Memory":
        """Take beam `parents[b, k]` of user b as its k-th beam from now on; (B, K') int64."""
        rows = torch.arange(len(parents), device=parents.device)[:, None]  # (B, 1)
        own = [
            KeyValues(layer.keys[rows, parents], layer.values[rows, parents]) for layer in self.own
        ]
        return self._replace(own=own)


class Block(nn.Module):
    """Attention, then a two-layer MLP, each on normalized input and added to what came in."""

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
        """Read whole sequences, each token seeing itself and those before it, or all.

        Args:
            x: shape (B, T, D). Padding stands at the end, where no real token sees it.
            mask: None to read causally. Or (B, 1, 1, T) bool, True where there is a token: then
                each token sees all of those, on both sides; at least one in each row.

        Returns:
            shape (B, T, D), and the keys and values, each (B, H, T, D/H).
        """
        q, k, v = self._project(x)  # (B, H, T, D/H)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = self._add_attention(x, mixed.transpose(1, 2).flatten(2))
        return self._add_mlp(x), KeyValues(k, v)

    def step(
        self, x: Tensor, history: KeyValues, history_mask: Tensor, own: KeyValues
    ) -> tuple[Tensor, KeyValues]:
        """Read one new token a beam.

        Args:
            x: shape (B, K, D), the new token of each of K beams.
            history: each (B, H, T, D/H), shared by a user's beams.
            history_mask: (B, 1, 1, T) bool, True where there is a token.
            own: each (B, K, H, n, D/H), the beam's tokens so far; n may be 0.

        Returns:
            shape (B, K, D), and `own` with the new token, each (B, K, H, n + 1, D/H).
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
    """Blocks, one after another, and a last normalization."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read whole sequences, causally or as `mask` says (see `Block`): (B, T, D) → same."""
        for block in self.blocks:
            x, _ = block(x, mask)
        normed: Tensor = self.norm(x)
        return normed

    def read(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Memory]:
        """Read histories and remember them.

        Args:
            x: shape (B, T, D), padded at the end.
            lengths: shape (B,), int64, the real tokens of each, 1 to T.

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
        """Read one new token a beam: (B, K, D) → (B, K, D), and the memory that holds it."""
        own = []
        for block, history, tokens in zip(self.blocks, memory.history, memory.own, strict=True):
            assert isinstance(block, Block)
            x, tokens = block.step(x, history, memory.history_mask, tokens)
            own.append(tokens)
        normed: Tensor = self.norm(x)
        return normed, memory._replace(own=own)
