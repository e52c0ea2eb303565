"""What is made from a model's weights, and kept until one of them changes.

Some results depend on no user, only on the weights. A service that answers one request at a time
would spend most of its time making them again.

Used by: the RQ-Transformer.
"""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Derived(Generic[Result]):
    """A result that is computed at its first use, and again after a change of the weights.

    The weights are compared with a copy. torch also counts the changes of a tensor, but not all of
    them: it misses those through `.data`, those through a NumPy array of the same memory and those
    of its fused optimizers (seen in 2.13).
    """

    def __init__(self) -> None:
        self._kept: _Kept[Result] | None = None

    def __reduce__(self) -> tuple[type["Derived[Result]"], tuple[()]]:
        return Derived, ()  # a copy, or a file, of a model makes the result again

    def of(self, weights: Sequence[Tensor], make: Callable[[], Result]) -> Result:
        """Return the result for the weights as they are now.

        Args:
            weights: what the result is made from, at least one tensor, all on one device.
            make: computes it. It runs without gradients and without autocast, since the result is
                also for later callers with other settings.
        """
        kept = self._kept  # looked up once: another thread may replace it
        if kept is not None and (_is_exporting() or _all_equal(kept.weights, weights)):
            return kept.made
        device = weights[0].device.type
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device, enabled=False):
            copies = [weight.clone() for weight in weights]
            kept = self._kept = _Kept(copies, make())
        return kept.made


class _Kept(NamedTuple, Generic[Result]):
    """A result, and a copy of the weights that it was made from."""

    weights: list[Tensor]
    made: Result


def _is_exporting() -> bool:
    """Return whether torch exports a graph, which cannot compare; see `Recommender.prepare`."""
    return torch.compiler.is_compiling() and torch.compiler.is_exporting()


def _all_equal(known: Sequence[Tensor], weights: Sequence[Tensor]) -> bool:
    return all(
        old.dtype == new.dtype and old.device == new.device and torch.equal(old, new)
        for old, new in zip(known, weights, strict=True)
    )
