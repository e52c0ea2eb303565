"""What tests of more than one package need."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.tables import INTERACTION_DTYPES, ITEM_DTYPES

ROOT = Path(__file__).resolve().parents[1]


def small_dataset(change: Callable[[list[int]], list[int]] = list) -> Dataset:
    """90 items, 40 users of 1 to 13 interactions; `change` may rewrite each history's items."""
    chance = np.random.default_rng(0)
    rows = [
        (user, item, 1.0, time)
        for user in range(40)
        for time, item in enumerate(
            change(chance.choice(90, size=1 + user % 13, replace=False).tolist())
        )
    ]
    items = {
        "item_id": range(90), "title": "T", "year": 2000, "genres": "", "text": "T"
    }  # fmt: skip
    return Dataset(
        "small",
        pd.DataFrame(items, index=range(90)).astype(ITEM_DTYPES),
        pd.DataFrame(rows, columns=list(INTERACTION_DTYPES)).astype(INTERACTION_DTYPES),
    )
