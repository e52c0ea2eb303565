"""A tensor that is made from a model's weights, and kept until one of them changes.

Some tensors depend on no user, only on the weights. A service that answers one request at a time
would spend most of its time making them again.

Derived in: chapter 10.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

# torch counts the changes of a tensor, but not those of its fused optimizers (seen in 2.13). So the
# steps of all optimizers are counted here.
_numbers = count(1)
_last_step = 0


def _count_step(*_: Any) -> None:
    global _last_step
    _last_step = next(_numbers)


register_optimizer_step_post_hook(_count_step)


class Derived:
    """A result that is computed at its first use, and again after a change of the weights.

    A change is the step of any optimizer of torch, `load_state_dict`, a move to another device, a
    conversion, any operation in place.
    """

    def __init__(self) -> None:
        self._weights: list[tuple[Tensor, int]] = []
        self._made: Tensor | None = None
        self._step = 0

    def of(self, weights: Sequence[Tensor], make: Callable[[], Tensor]) -> Tensor:
        """Return the result for the weights as they are now.

        Args:
            weights: what the result is made from.
            make: computes it.
        """
        if torch.compiler.is_compiling() and self._made is not None:
            return self._made  # a compiled graph cannot ask; see `Recommender.prepare`
        if self._made is None or not self._is_current(weights):
            step, made = _last_step, make()
            # Kept with the weights' memory, so that no other tensor can come to lie at its address.
            self._weights = [(weight.detach(), weight._version) for weight in weights]
            self._made, self._step = made, step
        return self._made

    def _is_current(self, weights: Sequence[Tensor]) -> bool:
        return self._step == _last_step and all(
            weight.data_ptr() == known.data_ptr() and weight._version == version
            for weight, (known, version) in zip(weights, self._weights, strict=True)
        )
