"""Popularity gives every user the same scores, one per item."""

import numpy as np
import pytest

from rqvae_lib.models.popularity import Popularity


def test_every_user_gets_the_counts() -> None:
    assert Popularity([3, 1, 2]).scores([[0], []]).tolist() == [[3, 1, 2]] * 2


def test_a_table_of_counts_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"counts have shape \(2, 3\); expected one number per item"
    ):
        Popularity(np.ones((2, 3)))
