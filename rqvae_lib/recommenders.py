"""What every generative recommender is: a catalogue of semantic IDs, and four methods.

A recommender writes the next item's ID, code by code. `encode_history` reads histories once;
`next_code_logits` scores the next code of every beam; `extend` appends a chosen code to chosen
beams; and `loss` is for training. Beam search and exact scoring know nothing else of a recommender,
so that an architecture is free in all the rest.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.2.
Derived in: chapter 08; seen at work in chapter 00.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from rqvae_lib.history_models import HistoryModelConfig, pad_histories
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.transformer import Memory


class BeamState(NamedTuple):
    """Where generation stands: K beams for each of B users, all of the same depth."""

    hidden: Tensor  # (B, K, D), the output from which the next code is predicted
    lengths: Tensor  # (B,) int64, items in each history
    depth: int  # codes written so far, 0 to L
    memory: Memory | None = None  # where a beam reads what it wrote, and the history, again
    nodes: Tensor | None = None  # (B, K) int64 of the trie, where the model knows the catalogue


class Recommender(nn.Module):
    """The interface; a subclass adds the network.

    Args:
        config: the architecture.
        ids: the catalogue that the model will speak. Its IDs become the buffer `item_ids`.
    """

    item_ids: Tensor  # (N, L) int64

    def __init__(self, config: HistoryModelConfig, ids: SemanticIDs) -> None:
        super().__init__()
        self.config = config
        self.ids = ids
        self.sizes = ids.sizes
        self.register_buffer("item_ids", ids.ids.clone())

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the batch's targets, in nats an item.

        Args:
            items: shape (B, T ≤ W), int64, rows padded at the end with `PADDING`; no row is empty.
                Which of them are targets, each architecture says.

        Returns:
            shape (), float32.
        """
        raise NotImplementedError

    def encode_history(self, histories: Sequence[Tensor]) -> BeamState:
        """Read histories once, the last W − 1 items of each; an empty one is welcome.

        Args:
            histories: B tensors of item rows, int64, in time order.

        Returns:
            A state with one beam a user, at depth 0.

        Raises:
            ValueError: if a history names an item outside the catalogue.
        """
        raise NotImplementedError

    def next_code_logits(self, state: BeamState) -> Tensor:
        """Return the scores of the next level's codes for each beam: (B, K, size of that level).

        A model that knows the catalogue scores −inf what leads to no item.
        """
        raise NotImplementedError

    def extend(self, state: BeamState, parents: Tensor, codes: Tensor) -> BeamState:
        """Append a code to chosen beams.

        Args:
            state: at depth d < L.
            parents: shape (B, K'), int64: beam k continues the old beam parents[b, k].
            codes: shape (B, K'), int64: the code of level d + 1 that it appends. Where the model
                knows the catalogue, some item's ID must begin so.

        Returns:
            The state of K' beams at depth d + 1.
        """
        raise NotImplementedError

    def pad_histories(self, histories: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the ends of histories, (B, T), and how many items each has, (B,)."""
        num_items, device = len(self.item_ids), self.item_ids.device
        return pad_histories(histories, self.config.max_items, num_items, device)
