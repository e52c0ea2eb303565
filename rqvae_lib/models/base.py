"""What every recommender is: the interface, in one file.

A recommender ranks items for a history in one of two ways. Some score the whole catalogue at once:
they have `scores` (SASRec, item-kNN, popularity). Generative ones write the next item's semantic
ID, code by code: `read_histories` reads histories once; `next_code_logits` scores the next code of
every beam; `extend` appends a chosen code to chosen beams; and `loss` is for training. Beam search
and exact scoring know nothing else of a recommender, so that an architecture is free in all the
rest. (The RQ-Transformer can do both.)

A model of histories reads a window of each: the last items, as many as it was trained on, side by
side with those of other users and padded at the end.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.2.
Derived in: chapter 08; seen at work in chapter 00.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.configs import HistoryModelConfig
from rqvae_lib.models.transformer import Memory
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie


@runtime_checkable
class ScoresItems(Protocol):
    """A model that scores the whole catalogue at once."""

    def scores(self, histories: Sequence[Tensor]) -> Tensor: ...  # (B, N)


class BeamState(NamedTuple):
    """Where generation stands: K beams for each of B users, all of the same depth."""

    hidden: Tensor  # (B, K, D), the output from which the next code is predicted
    lengths: Tensor  # (B,) int64, items in each history
    depth: int  # codes written so far, 0 to L
    memory: Memory | None = None  # where a beam reads what it wrote, and the history, again
    nodes: Tensor | None = None  # (B, K) int64, where each beam stands in the trie; None: unknown


class Recommender(nn.Module):
    """A generative recommender: a catalogue of semantic IDs, its trie, and four methods.

    A subclass adds the network.

    Args:
        config: the architecture.
        ids: the catalogue that the model will speak.

    Attributes:
        ids: the catalogue.
        semantic_ids: its IDs as a buffer, (N, L) int64, the disambiguation code included.
        trie: all prefixes of its IDs. It moves with the model from device to device, and is made
            anew when the model is loaded.
    """

    semantic_ids: Tensor
    trie: Trie

    def __init__(self, config: HistoryModelConfig, ids: SemanticIDs) -> None:
        super().__init__()
        self.config = config
        self.ids = ids
        self.sizes = ids.sizes
        self.register_buffer("semantic_ids", ids.ids.clone())
        with torch.device("cpu"):  # weights may be made without memory, a catalogue may not
            self.trie = Trie(ids)

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the batch's targets, in nats per item.

        Args:
            items: shape (B, T ≤ W), int64, rows padded at the end with `PADDING`; no row is empty.
                Which of them are targets, each architecture says.

        Returns:
            shape (), float32.
        """
        raise NotImplementedError

    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        """Read a batch of histories, once for all beams.

        Args:
            items: shape (B, T < W), int64, rows of the catalogue, padded at the end with `PADDING`.
            lengths: shape (B,), int64, how many items each history has; 0 is welcome.

        Returns:
            A state with one beam per user, at depth 0.
        """
        raise NotImplementedError

    def next_code_logits(self, state: BeamState) -> Tensor:
        """Return the scores of the next level's codes for each beam: (B, K, size of that level).

        A model that chooses among valid codes only scores −inf what leads to no item.
        """
        raise NotImplementedError

    def extend(
        self, state: BeamState, parents: Tensor, codes: Tensor, nodes: Tensor | None = None
    ) -> BeamState:
        """Append a code to chosen beams.

        Args:
            state: at depth d < L.
            parents: shape (B, K'), int64: beam k continues the old beam parents[b, k].
            codes: shape (B, K'), int64: the code of level d + 1 that it appends. Where the model
                chooses among valid codes only, some item's ID must begin so.
            nodes: shape (B, K'), int64: where in the trie these codes lead. A search that walks the
                trie knows; else they are looked up.

        Returns:
            The state of K' beams at depth d + 1.
        """
        raise NotImplementedError

    def encode_history(self, histories: Sequence[Tensor]) -> BeamState:
        """Check histories, put the last W − 1 items of each side by side, and read them.

        Args:
            histories: B tensors of item rows, int64, in time order; may be empty.

        Returns:
            As `read_histories`.

        Raises:
            ValueError: if a history names an item outside the catalogue.
        """
        check_histories(histories, len(self.semantic_ids))
        return self.read_histories(*self.pad_histories(histories))

    def pad_histories(self, histories: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the ends of histories that were checked, (B, T), and their lengths, (B,)."""
        return pad_histories(histories, self.config.max_items, self.semantic_ids.device)


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
    histories: Sequence[Tensor], max_items: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Put the ends of histories side by side.

    Args:
        histories: B tensors of item rows, int64, in time order; may be empty. At least one.
        max_items: W: the last W − 1 items of each are kept.
        device: where the result shall be.

    Returns:
        The items, (B, T) int64, padded at the end with `PADDING`, and how many each has, (B,).
    """
    kept = [history[-(max_items - 1) :] for history in histories]
    lengths = torch.tensor([len(history) for history in kept], device=device)
    items = nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=PADDING)
    return items.to(device), lengths
