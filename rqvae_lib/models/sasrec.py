"""SASRec: a causal transformer over items that scores the whole catalogue at once.

Every item has its own vector, and a history is the sequence of its items' vectors. A causal
transformer turns each prefix of it into a prediction, and the score of an item is the dot product
of the prediction with the item's vector. There are no semantic IDs and no search, and the model
knows nothing about an item that nobody chose. Generative recommenders are measured against it.

The original compares the true next item with one random item. Here, as in the strong reproductions,
the softmax is over the whole catalogue, at every position (full cross-entropy).

Source: Kang and McAuley, SASRec, arXiv 1808.09781; full cross-entropy: Klenitskiy and Vasilev,
"Turning Dross Into Gold Loss", RecSys 2023, arXiv 2309.07602.
Derived in: chapter 11.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.data.batches import PADDING
from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.models.base import (
    HistoryModel,
    check_histories,
    draw_weights,
    pad_histories,
)
from rqvae_lib.models.configs import SASRecConfig
from rqvae_lib.models.transformer import Transformer
from rqvae_lib.ops.cross_entropy import linear_cross_entropy
from rqvae_lib.ops.once import refuses_transforms
from rqvae_lib.ops.rows import take_rows, true_rows
from rqvae_lib.ops.shares import Dropout
from rqvae_lib.ops.torch_settings import own_dtype, own_settings


class SASRec(HistoryModel):
    """A causal transformer over items.

    Args:
        config: the architecture and the size of the catalogue.
    """

    @own_dtype
    def __init__(self, config: SASRecConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.transformer.dim
        self.item_embedding = nn.Embedding(config.num_items, dim)  # also the output layer
        self.start = nn.Parameter(torch.zeros(dim))  # the token before the first item
        self.position = nn.Embedding(config.max_items, dim)
        self.dropout = Dropout(config.embedding_dropout)
        self.transformer = Transformer(config.transformer)
        self.bias = nn.Parameter(torch.zeros(config.num_items))
        draw_weights(self)

    @refuses_transforms
    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of an item, in nats.

        Every item of every row is a target, predicted from those before it in the row.

        Args:
            items: shape (B, T ≤ W), int64, rows padded at the end with `PADDING`; at least one
                item.

        Returns:
            shape (), float32.
        """
        real = items != PADDING  # (B, T)
        hidden = self.transformer(self.dropout(self._embed(items[:, :-1])))  # (B, T, D)
        targets = items[real]  # (M,)
        vectors = self.item_embedding.weight
        hidden = true_rows(hidden.flatten(0, 1), real.flatten())  # (M, D)
        return linear_cross_entropy(hidden, vectors, self.bias, targets) / len(targets)

    @own_settings
    @torch.no_grad()
    def scores(self, histories: HistoryLists) -> Tensor:
        """Score every item for each user.

        Args:
            histories: B lists of item rows, as `recommend`. The last W − 1 items of each are read.

        Returns:
            shape (B, N), float32: logits. Larger is better.

        Raises:
            ValueError: if a history names an item outside the catalogue.
        """
        device = self.bias.device
        histories = as_histories(histories)
        if not histories:
            return torch.empty(0, self.config.num_items, device=device)
        check_histories(histories, self.config.num_items)
        items, lengths = pad_histories(histories, self.config.max_items, device)
        hidden = self.transformer(self._embed(items))  # (B, 1 + T, D)
        return self._logits(hidden[torch.arange(len(items), device=device), lengths])

    def _embed(self, items: Tensor) -> Tensor:
        """Turn rows of items (B, T) into tokens (B, 1 + T, D), the start first."""
        known = items.clamp(min=0)  # padding is read as item 0
        vectors = take_rows(self.item_embedding.weight, known)  # (B, T, D)
        vectors = vectors + self.position.weight[: items.shape[1]]
        return torch.cat([self.start.expand(len(items), 1, -1), vectors], 1)

    def _logits(self, hidden: Tensor) -> Tensor:
        """Score all items from outputs (M, D): (M, N)."""
        return F.linear(hidden, self.item_embedding.weight, self.bias)
