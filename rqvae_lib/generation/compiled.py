"""A compiled beam search, for a service that answers one request at a time.

For a single user, the tensors of a search are so small that most of its time goes into starting
operations, not into computing. torch.compile turns the whole search, from the padded history to the
leaves of the trie, into a few native functions. The first call does this work, which takes about a
minute, so it is made when the search is created and not at the first request.

Every request has the same shapes: the history is padded to the model's window, and the forbidden
items to a fixed number. So nothing is compiled again later.

Derived in: chapter 09.
"""

import torch
from torch import Tensor

from rqvae_lib.generation.beam_search import (
    BlockedPrefixes,
    Recommendations,
    check_rows,
    check_search,
    count_allowed,
    refuse_nan,
    search,
)
from rqvae_lib.generation.config import NUM_BEAMS, NUM_ITEMS, TEMPERATURE
from rqvae_lib.models.base import Recommender, check_histories, pad_histories


class CompiledSearch:
    """Recommends to one user per call, as `recommend` does, but faster.

    Making it compiles the search, which takes about a minute and needs a C++ compiler. The results
    are those of `recommend`, up to the rounding of the scores. Later changes of the model's weights
    in place are followed.

    Args:
        model: as `recommend`, on the device where it will stay.
        k, beams, temperature, allowed: as `recommend`.
        max_forbidden: the largest number of different items that a call may forbid, at least 1.

    Raises:
        ValueError: as `recommend`, or if `max_forbidden` is below 1.
    """

    def __init__(
        self,
        model: Recommender,
        *,
        k: int = NUM_ITEMS,
        beams: int = NUM_BEAMS,
        temperature: float = TEMPERATURE,
        allowed: Tensor | None = None,
        max_forbidden: int = 4096,
    ) -> None:
        check_search(k, beams, temperature, None)
        if max_forbidden < 1:
            raise ValueError(f"max_forbidden is {max_forbidden}; it must be at least 1")
        if allowed is not None:
            check_rows(allowed, "allowed", model.trie)
        self.model, self.k, self.max_forbidden = model, k, max_forbidden
        self._allowed_before = count_allowed(model.trie, allowed)

        def run(items: Tensor, lengths: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor]:
            state = model.read_histories(items, lengths)
            blocked = BlockedPrefixes(model.trie, forbidden, self._allowed_before)
            scores, leaves = search(model, state, blocked, beams, temperature)
            return model.trie.items[leaves], scores

        self._run = torch.compile(run, dynamic=False, fullgraph=True)
        self(torch.empty(0, dtype=torch.int64))

    @torch.no_grad()
    def __call__(self, history: Tensor, *, forbidden: Tensor | None = None) -> Recommendations:
        """Recommend k items to one user.

        Args:
            history: item rows, (T,) int64, in time order; may be empty.
            forbidden: item rows, (S,) int64, never to recommend; by default those of the history.

        Returns:
            Items and log-probabilities, each (1, k), as `recommend`.

        Raises:
            ValueError: if `history` or `forbidden` names an item outside the catalogue, if more
                than `max_forbidden` items are forbidden, or if a score is NaN.
        """
        model, window = self.model, self.model.config.max_items - 1
        device = model.semantic_ids.device
        check_histories([history], model.trie.num_items)
        if forbidden is None:
            forbidden = history
        else:
            check_rows(forbidden, "forbidden", model.trie)
        items, lengths = pad_histories([history], window + 1, device)
        items = _padded(items, window, 0)
        leaves = BlockedPrefixes.of(model.trie, [forbidden], self._allowed_before).forbidden  # (1, S)
        if leaves.shape[1] > self.max_forbidden:
            raise ValueError(
                f"{leaves.shape[1]} items are forbidden, expected at most max_forbidden, "
                f"{self.max_forbidden}: make a CompiledSearch with a larger one"
            )
        model.prepare()
        found, scores = self._run(
            items, lengths, _padded(leaves, self.max_forbidden, model.trie.num_items)
        )
        refuse_nan(scores)
        missing = max(0, self.k - found.shape[1])  # if the catalogue holds fewer items
        found = found.masked_fill(scores == -torch.inf, -1)
        return Recommendations(
            torch.nn.functional.pad(found[:, : self.k], (0, missing), value=-1),
            torch.nn.functional.pad(scores[:, : self.k], (0, missing), value=-torch.inf),
        )


def _padded(rows: Tensor, width: int, value: int) -> Tensor:
    """Pad a matrix (1, n) to (1, width)."""
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1]), value=value)
