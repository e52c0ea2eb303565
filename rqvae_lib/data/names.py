"""The names that users choose from: tables, embedded datasets, splits, and the content of IDs.

The command line offers these names before it does any work, so this file imports nothing that is
slow to load.

Used by: datasets, splits, item vectors, the command line.
"""

from typing import Literal

TABLES = ("interactions", "items")  # of a dataset of one's own
EMBEDDED = ("movielens-small-2016",)  # the datasets that ship inside the package
Repeats = Literal["keep", "first", "last", "refuse"]  # what becomes of rows that repeat a pair
SplitName = Literal["leave-one-out", "last-ten", "timestamp"]
DEFAULT_SPLIT: SplitName = "leave-one-out"
NUM_TARGETS = {"leave-one-out": 1, "last-ten": 10}  # items of each user that a split holds out
Content = Literal["text", "collaborative", "both"]  # what item vectors are made from
DEFAULT_CONTENT: Content = "text"
