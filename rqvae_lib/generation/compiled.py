"""A compiled beam search, for a service that answers one request at a time.

For a single user, the tensors of a search are so small that most of its time goes into starting
operations, not into computing. torch exports the whole search, from the user's items to the leaves
of the trie, as one graph, and its compiler turns the graph into a native library. This takes about
a minute, so it is done when the search is made and not at the first request.

Source: torch.export and AOTInductor, https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html
Used by: services that answer one request at a time.
"""

import copy
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

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
from rqvae_lib.models.base import Recommender, check_histories, check_writes_ids
from rqvae_lib.ops.arrays import Array, as_count, as_rows
from rqvae_lib.ops.compiler import COMPILERS, has_cpp_compiler
from rqvae_lib.ops.torch_settings import own_settings


class CompiledSearch:
    """Recommends to one user per call, as `recommend` does, in a fraction of the time.

    Making it takes about a minute and needs a C++ compiler. The recommendations are those of
    `recommend`, up to the rounding of the scores. The search has a copy of the model, so a later
    change of the model has no effect on it.

    Args:
        model: as `recommend`, on the CPU.
        k, beams, temperature, allowed: as `recommend`.
        max_forbidden: the largest number of different items that a call may forbid, at least 1.

    Raises:
        ValueError: as `recommend`, or if `max_forbidden` is below 1, or if the model is not on the
            CPU.
        RuntimeError: if there is no C++ compiler, or as torch's compiler.
    """

    @own_settings
    def __init__(
        self,
        model: Recommender,
        *,
        k: int = NUM_ITEMS,
        beams: int = NUM_BEAMS,
        temperature: float = TEMPERATURE,
        allowed: Array | None = None,
        max_forbidden: int = 4096,
    ) -> None:
        check_writes_ids(model)
        check_search(k, beams, temperature, None)
        max_forbidden = as_count(max_forbidden, "max_forbidden")
        device = model.semantic_ids.device
        if device.type != "cpu":
            raise ValueError(f"the model is on {device}; pass a copy of it on the CPU")
        if allowed is not None:
            allowed = as_rows(allowed, "allowed")
            check_rows(allowed, "allowed", model.trie)
        if not has_cpp_compiler():
            raise RuntimeError(
                "a CompiledSearch needs a C++ compiler, and none was found "
                f"({', '.join(COMPILERS)}): install one, name it in the variable CXX, or use "
                "recommend"
            )
        self.model = model = copy.deepcopy(model).eval()
        self.k, self.max_forbidden = k, max_forbidden
        self._allowed_before = count_allowed(model.trie, allowed)
        self._uncompiled = _Search(model, beams, temperature, self._allowed_before).eval()
        model.prepare()
        example = torch.zeros(2, dtype=torch.int64)
        self._compiled = _compiled(
            self._uncompiled, self._inputs(example, example), model.config.max_items - 1
        )

    @own_settings
    @torch.no_grad()
    def __call__(self, history: Array, *, forbidden: Array | None = None) -> Recommendations:
        """Recommend k items to one user.

        Args:
            history: item rows, (T,), in time order; may be empty.
            forbidden: item rows, (S,), never to recommend; by default those of the history.

        Returns:
            Items and log-probabilities, each (1, k), as `recommend`.

        Raises:
            ValueError: if `history` is not of integers, if it or `forbidden` names an item outside
                the catalogue, if more than `max_forbidden` items are forbidden, or if a score is
                NaN.
        """
        history = as_rows(history, "history")  # a compiled graph takes any memory for int64
        check_histories([history], self.model.trie.num_items)
        if forbidden is None:
            forbidden = history
        else:
            forbidden = as_rows(forbidden, "forbidden")
            check_rows(forbidden, "forbidden", self.model.trie)
        inputs = self._inputs(history, forbidden)
        # An exported graph is for two items or more: torch specializes on the sizes 0 and 1.
        run = self._compiled if len(history) > 1 else self._uncompiled
        items, scores = run(*inputs)
        refuse_nan(scores)
        items = items.masked_fill(scores == -torch.inf, -1)
        missing = max(0, self.k - items.shape[1])  # if the catalogue holds fewer items
        return Recommendations(
            pad(items[:, : self.k], (0, missing), value=-1),
            pad(scores[:, : self.k], (0, missing), value=-torch.inf),
        )

    def _inputs(self, history: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the window of a history, its length, and the forbidden leaves, all of them padded.

        Only the window's width differs between requests.
        """
        trie = self.model.trie
        leaves = BlockedPrefixes.of(trie, [forbidden], self._allowed_before).forbidden  # (1, S)
        missing = self.max_forbidden - leaves.shape[1]
        if missing < 0:
            raise ValueError(
                f"{leaves.shape[1]} items are forbidden, expected at most {self.max_forbidden}: "
                "make a CompiledSearch with a larger max_forbidden"
            )
        items, lengths = self.model.pad_histories([history])
        return items, lengths, pad(leaves, (0, missing), value=trie.num_items)


class _Search(nn.Module):
    """The search as a module, which is what torch exports."""

    allowed_before: Tensor | None

    def __init__(
        self, model: Recommender, beams: int, temperature: float, allowed_before: Tensor | None
    ) -> None:
        super().__init__()
        self.model, self.beams, self.temperature = model, beams, temperature
        self.register_buffer("allowed_before", allowed_before)

    def forward(self, items: Tensor, lengths: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor]:
        trie = self.model.trie
        state = self.model.read_histories(items, lengths)
        blocked = BlockedPrefixes(trie, forbidden, self.allowed_before)
        scores, leaves = search(self.model, state, blocked, self.beams, self.temperature)
        return trie.items[leaves], scores


@torch.no_grad()
def _compiled(module: _Search, example: tuple[Tensor, Tensor, Tensor], window: int) -> nn.Module:
    """Compile a search for histories of 2 to `window` items, or of 1 if no more are read."""
    from torch._inductor import aoti_compile_and_package, aoti_load_package

    # A window of 1 or 2 items has one width only.
    width = {1: torch.export.Dim("width", min=2, max=window)} if window > 2 else None
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore", FutureWarning)  # from within torch
        exported = torch.export.export(module, example, dynamic_shapes=(width, None, None))
        package = aoti_compile_and_package(exported, package_path=str(Path(folder) / "search.pt2"))
        compiled: nn.Module = aoti_load_package(package)
    return compiled
