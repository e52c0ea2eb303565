"""What users name in words: embedded data sets, splits, and what semantic IDs are made from.

The command line offers these as choices before it has done any work, so this file imports nothing
that takes time to load.

Used by: data sets, splits, item vectors, the command line.
"""

from typing import Literal

EMBEDDED = ("movielens-small-2016",)  # the data sets that ship inside the package
SplitName = Literal["leave-one-out", "last-ten", "timestamp"]
DEFAULT_SPLIT: SplitName = "leave-one-out"
Content = Literal["text", "collaborative", "both"]  # what a tokenizer reads of an item
DEFAULT_CONTENT: Content = "text"
