"""A tensor that is made from a model's weights, and kept until one of them changes.

Some tensors depend on no user, only on the weights. A service that answers one request at a time
would spend most of its time making them again.

Derived in: chapter 10.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Derived:
    """A result that is computed at its first use, and again after a change of the weights.

    A change is what torch counts as one: an optimizer's step, `load_state_dict`, a move to another
    device, a conversion, any operation in place.
    """

    def __init__(self) -> None:
        self._weights: list[tuple[Tensor, int]] = []
        self._made: Tensor | None = None

    def of(self, weights: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
        """Return the result for the weights as they are now.

        Args:
            weights: what the result is made from.
            make: computes it.
        """
        if torch.compiler.is_compiling() and self._made is not None:
            return self._made  # a compiled graph cannot ask; see `Recommender.prepare`
        if self._made is None or not self._is_current(weights):
            made = make()
            # Kept with the weights' memory, so that no other tensor can come to lie at its address.
            self._weights = [(weight.detach(), weight._version) for weight in weights]
            self._made = made
        return self._made

    def _is_current(self, weights: Sequence[Tensor]) -> bool:
        return len(weights) == len(self._weights) and all(
            weight.data_ptr() == known.data_ptr() and weight._version == version
            for weight, (known, version) in zip(weights, self._weights, strict=True)
        )
