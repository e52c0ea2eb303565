"""Histories as a caller has them, as the list of tensors that models read.

They come as lists of lists, as NumPy arrays such as `Dataset.user_history` returns, or as a
`Histories`. One history in place of a list of them would be read as many users, so it is refused.

Used by: models, recommendations, scores.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.data.mapped_histories import MappedHistories
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.ops.arrays import Array, as_rows

HistoryLists = Histories | Sequence[Array]


def as_histories(histories: HistoryLists, name: str = "histories") -> list[Tensor]:
    """Return histories as a list of tensors.

    Args:
        histories: B lists of item rows, in time order, which may be empty: tensors, arrays, lists
            or columns of whole numbers of any type; or a `Histories`, such as a split's `train`.
        name: what messages call them.

    Returns:
        B tensors (T,), int64.

    Raises:
        ValueError: if it is one history instead of a list of them, or a history does not hold whole
            numbers; the message says what to write.
    """
    if isinstance(histories, Histories):
        return [histories[user] for user in range(len(histories))]
    if isinstance(histories, Split):
        raise ValueError(
            f"{name} is a split; expected the histories of some users: pass split.train, or the "
            "first result of split.histories_and_targets(split.test)"
        )
    if isinstance(histories, MappedHistories):
        raise ValueError(
            f"{name} is in a file, and may be larger than memory; expected histories in memory: "
            "pass those of some users, of_users(rows)"
        )
    if isinstance(histories, dict):
        raise ValueError(
            f"{name} is a dictionary; expected a list of histories: pass list({name}.values())"
        )
    if isinstance(histories, str | bytes) or not isinstance(histories, Iterable):
        raise ValueError(
            f"{name} is of type {type(histories).__name__}; expected a list of histories, each a "
            "list of item rows: pass [[3, 5]] for one user who met the items 3 and 5"
        )
    together = list(histories)
    if any(_is_number(one) for one in together):
        raise ValueError(
            f"{name} is one history of item rows; expected a list of histories: pass [history] for "
            "one user"
        )
    return [as_rows(one, f"{name}[{row}]") for row, one in enumerate(together)]


def as_flat_histories(histories: HistoryLists, name: str = "histories") -> Histories:
    """Return histories in one flat array, as `Histories` holds them.

    Args:
        histories: as `as_histories`. A `Histories` is returned itself.
        name: what messages call them.

    Raises:
        ValueError: as `as_histories`.
    """
    if isinstance(histories, Histories):
        return histories
    listed = as_histories(histories, name)
    lengths = torch.tensor([0, *map(len, listed)])
    items = torch.cat([torch.empty(0, dtype=torch.int64), *(one.cpu() for one in listed)])
    return Histories(items, lengths.cumsum(0))


def _is_number(one: Any) -> bool:
    is_array = isinstance(one, Tensor | np.ndarray)
    return isinstance(one, int | float | np.generic) or (is_array and not one.ndim)
