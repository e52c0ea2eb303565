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
from rqvae_lib.ops.residual_mlp import residual_mlp
from rqvae_lib.ops.shares import Dropout


class KeyValues(NamedTuple):
    """The keys and values of some tokens in one layer."""

    keys: Tensor  # (B, H, T, D/H) for a shared history; (B, K, H, n, D/H) for K beams' own tokens
    values: Tensor  # same shape


class Memory(NamedTuple):
    """The cache of a generation: the history, which beams share, and each beam's own tokens."""

    history: list[KeyValues]  # one per layer
    history_mask: Tensor | None  # (B, 1, 1, T) bool, True where there is a token; None: everywhere
    own_tokens: Tensor  # (B, K, layers, 2, H, n, D/H): the keys, then the values, of n tokens

    @classmethod
    def of(cls, history: list[KeyValues], history_mask: Tensor | None) -> "Memory":
        """Make the memory of a history, with one beam per user that has no tokens yet.

        Args:
            history: the keys and values of each layer, each (B, H, T, D/H).
            history_mask: shape (B, 1, 1, T), bool, True where there is a token; None: everywhere.
        """
        keys = history[0].keys
        batch, num_heads, _, head_dim = keys.shape
        return cls(
            history,
            history_mask,
            keys.new_empty(batch, 1, len(history), 2, num_heads, 0, head_dim),
        )

    @property
    def own(self) -> list[KeyValues]:
        """The keys and values of the beams' own tokens, one per layer, each (B, K, H, n, D/H)."""
        return [KeyValues(*layer.unbind(2)) for layer in self.own_tokens.unbind(2)]

    def select(self, parents: Tensor) -> "Memory":
        """Return the memory of new beams: beam k of user b continues the old beam parents[b, k].

        Args:
            parents: shape (B, K'), int64.
        """
        batch, num_beams = self.own_tokens.shape[:2]
        if batch > 1:
            first = torch.arange(0, batch * num_beams, num_beams, device=parents.device)
            chosen = (parents + first[:, None]).flatten()
        else:
            chosen = parents[0]
        own = self.own_tokens.flatten(0, 1).index_select(0, chosen)
        return self._replace(own_tokens=own.view(*parents.shape, *own.shape[1:]))


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
        self.dropout = Dropout(config.dropout)

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

    def read_last(
        self, x: Tensor, lengths: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, KeyValues]:
        """Read whole sequences causally, but compute the output of one token of each only.

        The last block of a transformer that reads a history needs no other output: the keys and
        values of all tokens come from its input.

        Args:
            x: shape (B, T, D), padded at the end.
            lengths: shape (B,), int64, the number of real tokens, 1 to T: the last of them counts.
            mask: shape (B, 1, 1, T), bool, True where there is a token; None: everywhere.

        Returns:
            The output, shape (B, 1, D), and the keys and values, each (B, H, T, D/H).
        """
        dim, normed = x.shape[2], self.attention_norm(x)
        if mask is None:
            last, last_normed = x[:, -1:], normed[:, -1:]
        else:
            rows = torch.arange(len(x), device=x.device)
            last, last_normed = (each[rows, lengths - 1][:, None] for each in (x, normed))
        q = self._part_of_qkv(last_normed, slice(dim))  # (B, 1, D)
        kv = self._part_of_qkv(normed, slice(dim, None))  # (B, T, 2 D)
        heads = (*x.shape[:2], 2, self.num_heads, dim // self.num_heads)
        k, v = kv.view(heads).permute(2, 0, 3, 1, 4)  # (B, H, T, D/H) each
        q = q.view(len(x), self.num_heads, 1, dim // self.num_heads)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, H, 1, D/H)
        last = self._add_attention(last, mixed.transpose(1, 2).flatten(2))
        return self._add_mlp(last), KeyValues(k, v)

    def step(
        self, x: Tensor, history: KeyValues, history_mask: Tensor | None, own: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read one new token per beam.

        Args:
            x: shape (B, K, D), the new token of each of K beams.
            history: each (B, H, T, D/H), shared by a user's beams.
            history_mask: shape (B, 1, 1, T), bool, True where there is a token; None: everywhere.
            own: shape (B, K, 2, H, n, D/H), the keys and values of the beam's tokens so far; n may
                be 0.

        Returns:
            The output, shape (B, K, D), and `own` with the new token, (B, K, 2, H, n + 1, D/H).
        """
        qkv = self._qkv(x)  # (B, K, 3, H, D/H)
        own = torch.cat([own, qkv[:, :, 1:, :, None]], 4)  # (B, K, 2, H, n + 1, D/H)
        q = qkv[:, :, 0] * qkv.shape[-1] ** -0.5  # (B, K, H, D/H)
        to_history = q.transpose(1, 2) @ history.keys.transpose(2, 3)  # (B, H, K, T)
        if history_mask is not None:
            to_history = to_history.masked_fill(~history_mask, -torch.inf)
        to_own = q[..., None, :] @ own[:, :, 0].transpose(3, 4)  # (B, K, H, 1, n + 1)
        to_own = to_own.squeeze(3).transpose(1, 2)  # (B, H, K, n + 1)
        weights = torch.cat([to_history, to_own], 3).softmax(3)
        on_history, on_own = weights.tensor_split([to_history.shape[3]], 3)
        mixed = on_history @ history.values  # (B, H, K, D/H)
        own_mixed = on_own.transpose(1, 2)[..., None, :] @ own[:, :, 1]  # (B, K, H, 1, D/H)
        mixed = mixed.transpose(1, 2) + own_mixed.squeeze(3)  # (B, K, H, D/H)
        return self._add_mlp(self._add_attention(x, mixed.flatten(2))), own

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self._qkv(x).permute(2, 0, 3, 1, 4)  # (B, H, T, D/H) each
        return q, k, v

    def _qkv(self, x: Tensor) -> Tensor:
        """Return the query, key and value of each token: (B, T, D) → (B, T, 3, H, D/H)."""
        qkv: Tensor = self.qkv(self.attention_norm(x))
        return qkv.view(*x.shape[:2], 3, self.num_heads, -1)

    def _part_of_qkv(self, normed: Tensor, part: slice) -> Tensor:
        """Return some of the outputs of `qkv`, and compute only these."""
        if type(self.qkv) is nn.Linear:
            return F.linear(normed, self.qkv.weight[part], self.qkv.bias[part])
        every: Tensor = self.qkv(normed)  # another layer was put there, such as a quantized one
        return every[..., part]

    def _add_attention(self, x: Tensor, mixed: Tensor) -> Tensor:
        added: Tensor = x + self.dropout(self.out(mixed))  # (B, T, D)
        return added

    def _add_mlp(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.dropout(residual_mlp(x, self.mlp_norm, self.mlp))  # (B, T, D)
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
        mask = None  # if all histories are of one length, each token is real
        # An exported graph cannot ask; it reads one history at a time, without padding.
        exporting = torch.compiler.is_compiling() and torch.compiler.is_exporting()
        if not (exporting and len(x) == 1) and not (lengths == x.shape[1]).all():
            positions = torch.arange(x.shape[1], device=x.device)
            mask = (positions < lengths[:, None])[:, None, None]  # (B, 1, 1, T)
        *blocks, last = self.blocks
        history = []
        for block in blocks:
            x, layer = block(x)
            history.append(layer)
        assert isinstance(last, Block)
        x, layer = last.read_last(x, lengths, mask)
        normed: Tensor = self.norm(x)
        return normed, Memory.of([*history, layer], mask)

    def step(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read one new token per beam: (B, K, D) → (B, K, D), and the memory with the token."""
        own = []
        tokens_before = memory.own_tokens.unbind(2)
        for block, history, tokens in zip(self.blocks, memory.history, tokens_before, strict=True):
            assert isinstance(block, Block)
            x, tokens = block.step(x, history, memory.history_mask, tokens)
            own.append(tokens)
        normed: Tensor = self.norm(x)
        return normed, memory._replace(own_tokens=torch.stack(own, 2))
