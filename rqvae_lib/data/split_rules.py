"""What the splits hold out, whether the histories are in memory or in a file.

Used by: splits, splits of a file. Derived in: chapter 01.
"""

from typing import get_args

from rqvae_lib.data.names import SplitName

SHARES = (0.8, 0.1)  # of `global_timestamp`: of the interactions, for training and validation


def check_split_name(name: str) -> None:
    """Raise ValueError unless it is one of `SplitName`."""
    if name not in get_args(SplitName):
        raise ValueError(f"split is {name!r}; it must be one of {get_args(SplitName)}")


def interactions_needed(num_targets: int) -> int:
    """Return how many interactions a user needs for something to be held out.

    There are n targets for validation, n for testing, and at least one interaction before them.

    Args:
        num_targets: n.
    """
    return 2 * num_targets + 1


def rank_of_cut(share: float, num_interactions: int) -> int:
    """Return which of the sorted times, counted from 0, is the first one after a cut.

    Args:
        share: of the interactions, those before the cut.
        num_interactions: E.
    """
    return min(round(share * num_interactions), num_interactions - 1)
