"""What every model of histories shares, whether it writes semantic IDs or scores items.

A model reads a window of a user's history: the last items of it, as many as it was trained on, side
by side with those of other users and padded at the end. Its configuration says how wide the window
is, and all of them start from weights of the same size.

Used by: the recommenders (chapter 08) and SASRec (chapter 11).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rqvae_lib.batches import PADDING
from rqvae_lib.transformer import TransformerConfig


@dataclass(frozen=True)
class HistoryModelConfig:
    """What every model of histories has to be told."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    max_items: int = 50  # W: items in a training window; a prediction reads the last W − 1
    embedding_dropout: float = 0.2  # share of the input vectors' numbers dropped in training

    def __post_init__(self) -> None:
        if isinstance(self.transformer, dict):  # as JSON gives it
            object.__setattr__(self, "transformer", TransformerConfig(**self.transformer))
        if self.max_items < 2:
            raise ValueError(
                f"max_items is {self.max_items}; a history and a target need at least 2"
            )
        if not 0 <= self.embedding_dropout < 1:
            raise ValueError(f"embedding_dropout is {self.embedding_dropout}; it must be in [0, 1)")


def draw_weights(model: nn.Module) -> None:
    """Start all linear layers and embeddings small, from torch's default generator."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if isinstance(module, nn.Linear) else 0.05)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx] = 0


def check_histories(histories: Sequence[Tensor], num_items: int) -> None:
    """Raise ValueError, naming the row, if a history names an item outside a catalogue of N."""
    for row, history in enumerate(histories):
        if len(history) and not 0 <= int(history.min()) <= int(history.max()) < num_items:
            raise ValueError(
                f"history {row} names items {int(history.min())} to {int(history.max())}, but the "
                f"catalogue holds items 0 to {num_items - 1}: pass rows of the catalogue, not the "
                "data set's own item ids (Dataset.item_index converts them)"
            )


def pad_histories(
    histories: Sequence[Tensor], max_items: int, num_items: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Put the ends of histories side by side.

    Args:
        histories: B tensors of item rows, int64, in time order; may be empty. At least one.
        max_items: W: the last W − 1 items of each are kept.
        num_items: N, the size of the catalogue.
        device: where the result shall be.

    Returns:
        The items, (B, T) int64, padded at the end with `PADDING`, and how many each has, (B,).

    Raises:
        ValueError: if a history names an item outside the catalogue.
    """
    check_histories(histories, num_items)
    kept = [history[-(max_items - 1) :] for history in histories]
    lengths = torch.tensor([len(history) for history in kept], device=device)
    items = nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=PADDING)
    return items.to(device), lengths
