"""The interface of recommenders.

A recommender ranks items for a history in one of two ways. Some models score the whole catalogue at
once and have the method `scores` (SASRec, item-kNN, popularity). Generative recommenders write the
next item's semantic ID, code by code: `read_histories` reads histories once; `next_code_logits`
scores the next code of every beam; `extend` appends a chosen code to chosen beams; and `loss` is
for training. Beam search and exact scoring use only these methods, so an architecture is free to
choose everything else. (The RQ-Transformer can do both.)

A model of histories reads a window of each history: its last items, up to the number that the model
was trained on, in one batch with those of other users and padded at the end.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.2.
Derived in: chapter 08; seen at work in chapter 00.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import PADDING
from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.models.configs import HistoryModelConfig
from rqvae_lib.models.transformer import Memory
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Children, ChildrenInARow, Trie


@runtime_checkable
class ScoresItems(Protocol):
    """A model that scores the whole catalogue at once."""

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return a score for each of B users and N items, (B, N): larger is better.

        Args:
            histories: B tensors of item rows, int64, in time order; may be empty.
        """
        ...


class BeamState(NamedTuple):
    """The state of a generation: K beams for each of B users, all at the same depth."""

    hidden: Tensor  # (B, K, D), the output that predicts the next code
    lengths: Tensor  # (B,) int64, items in each history
    depth: int  # codes written so far, 0 to L
    memory: Memory | None = None  # the cached history, and the codes that each beam wrote
    nodes: Tensor | None = None  # (B, K) int64, each beam's node of the trie; None: unknown
    contexts: Tensor | None = None  # (L, B, D), an RQ-Transformer's context of each level
    vectors: list[Tensor] | None = None  # of each level's choices, (C, D), if a network makes them

    def of_users(self, users: slice) -> "BeamState":
        """Return the state of some users, to score their next codes. It cannot be extended."""
        return self._replace(
            hidden=self.hidden[users],
            lengths=self.lengths[users],
            memory=None,
            nodes=None if self.nodes is None else self.nodes[users],
            contexts=None if self.contexts is None else self.contexts[:, users],
        )


class HistoryModel(nn.Module):
    """A network that learns from rows of items."""

    def num_targets(self, items: Tensor) -> int:
        """Return the number of items that `loss` is the mean over: every item of every row.

        Args:
            items: as `loss`.
        """
        return int((items != PADDING).sum())


class Recommender(HistoryModel):
    """A generative recommender: a catalogue of semantic IDs, its trie, and four methods.

    A subclass adds the network.

    Args:
        config: the architecture.
        ids: the catalogue whose IDs the model will generate.

    Attributes:
        ids: the catalogue.
        semantic_ids: its IDs as a buffer, (N, L) int64, including the disambiguation code.
        trie: all prefixes of its IDs. It moves with the model from device to device, and is built
            again when the model is loaded.
    """

    semantic_ids: Tensor
    trie: Trie

    def __init__(self, config: HistoryModelConfig, ids: SemanticIDs) -> None:
        super().__init__()
        self.config = config
        self.ids = ids
        self.sizes = ids.sizes
        self.register_buffer("semantic_ids", ids.ids.clone())
        with torch.device("cpu"):  # the weights may be on the meta device, but not the catalogue
            self.trie = Trie(ids)

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of the batch's targets, in nats per item.

        Args:
            items: shape (B, T ≤ W), int64, rows padded at the end with `PADDING`; no row is empty.
                The architecture decides which of them are targets.

        Returns:
            shape (), float32.
        """
        raise NotImplementedError

    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        """Read a batch of histories, once for all beams.

        Args:
            items: shape (B, T < W), int64, rows of the catalogue, padded at the end with `PADDING`.
            lengths: shape (B,), int64, the number of items in each history; 0 is allowed.

        Returns:
            A state with one beam per user, at depth 0.
        """
        raise NotImplementedError

    def next_code_logits(self, state: BeamState) -> Tensor:
        """Return the scores of the next level's codes for each beam: (B, K, size of that level).

        A model that chooses only among valid codes gives −inf to a code that leads to no item.

        Args:
            state: at depth d < L.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Compute what depends on the weights alone, if it is not at hand.

        The other methods do this when they need it, but a compiled search cannot.
        """

    def child_log_probabilities(
        self, state: BeamState, children: Children | ChildrenInARow, temperature: float = 1.0
    ) -> Tensor:
        """Return the log-probability of each child of the beams' nodes, float32, in nats.

        A search asks only for these. An architecture whose codes cost one by one overrides this
        method, so that the cost does not grow with the catalogue.

        Args:
            state: at depth d < L.
            children: of the beams' nodes, (B, K, C) or, in a row, (B, E).
            temperature: the scores are divided by it before the softmax.

        Returns:
            The shape of the children. The result for an invalid one means nothing.
        """
        logits = (self.next_code_logits(state) / temperature).log_softmax(2)  # (B, K, size)
        places = children.places(logits.shape[2])
        return logits.flatten(1).gather(1, places).view_as(children.codes)

    def extend(
        self, state: BeamState, parents: Tensor, codes: Tensor, nodes: Tensor | None = None
    ) -> BeamState:
        """Append a code to chosen beams.

        Args:
            state: at depth d < L.
            parents: shape (B, K'), int64: beam k continues the old beam parents[b, k].
            codes: shape (B, K'), int64: the code of level d + 1 that each beam appends. If the
                model chooses only among valid codes, an item's ID must start with the result.
            nodes: shape (B, K'), int64: the nodes of the trie that these codes lead to. A search
                that walks the trie knows them. If None, the model looks them up if it needs them.

        Returns:
            The state of K' beams at depth d + 1.
        """
        raise NotImplementedError

    def encode_history(self, histories: HistoryLists) -> BeamState:
        """Check histories, pad the last W − 1 items of each to a batch, and read the batch.

        Args:
            histories: B ≥ 1 lists of item rows, as `recommend`.

        Returns:
            As `read_histories`.

        Raises:
            ValueError: if a history holds something else than item rows, or names an item outside
                the catalogue.
        """
        histories = as_histories(histories)
        check_histories(histories, len(self.semantic_ids))
        return self.read_histories(*self.pad_histories(histories))

    def pad_histories(self, histories: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the last items of histories that were checked before, and how many there are.

        Args:
            histories: as `encode_history`.

        Returns:
            As the function `pad_histories`, on the model's device.
        """
        return pad_histories(histories, self.config.max_items, self.semantic_ids.device)


def check_writes_ids(model: object) -> None:
    """Refuse a model that writes no IDs, where a recommender is expected.

    What has the attributes of one will do, such as a wrapper that counts what is read.

    Raises:
        ValueError: if it has no trie, such as a SASRec or the name of a file.
    """
    if not hasattr(model, "trie"):
        raise ValueError(
            f"the model is a {type(model).__name__}; expected a generative recommender: pass the "
            "model that load_recommender returns, or rank items by this model's own scores"
        )


def draw_weights(model: nn.Module) -> None:
    """Initialize linear layers and embeddings with small numbers from torch's default generator."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02 if isinstance(module, nn.Linear) else 0.05)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            with torch.no_grad():
                module.weight[module.padding_idx] = 0


def check_histories(histories: Sequence[Tensor], num_items: int) -> None:
    """Check that histories name only items of the catalogue.

    Args:
        histories: tensors of item rows, int64; may be empty.
        num_items: N, the size of the catalogue.

    Raises:
        ValueError: if an item is not from 0 to N − 1; the message names the history.
    """
    together = torch.cat([*histories]) if histories else torch.empty(0)
    if not len(together):
        return
    low, high = together.aminmax()
    if low >= 0 and high < num_items:
        return
    for row, history in enumerate(histories):
        if len(history) and not 0 <= int(history.min()) <= int(history.max()) < num_items:
            raise ValueError(
                f"history {row} names items {int(history.min())} to {int(history.max())}, but the "
                f"catalogue holds items 0 to {num_items - 1}: pass rows of the catalogue, not the "
                "dataset's own item ids (Dataset.item_index converts them)"
            )


def pad_histories(
    histories: Sequence[Tensor], max_items: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Pad the last items of histories to a batch.

    Args:
        histories: B ≥ 1 tensors of item rows, int64, in time order; may be empty.
        max_items: W; the last W − 1 items of each history are kept.
        device: the device of the result.

    Returns:
        The items, (B, T) int64, padded at the end with `PADDING`, and the number of items in each
        row, (B,) int64.
    """
    kept = [history[-(max_items - 1) :] for history in histories]
    lengths = torch.tensor([len(history) for history in kept], device=device)
    items = nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=PADDING)
    return items.to(device), lengths
