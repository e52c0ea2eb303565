"""The shapes in which IDs go to other projects, and the default of every choice that they leave.

Used by: the export and the import of IDs.
"""

from typing import Literal

Format = Literal[
    "index-json",
    "grid",
    "catalogue-jsonl",
    "sem-ids",
    "text-json",
    "parquet",
    "csv",
    "item-to-sid",
    "records",
    "tokens",
]
Digit = Literal["all", "colliding", "none"]
Keys = Literal["items", "rows"]
Style = Literal["lc-rec", "openonerec", "unigenrec", "forge", "sid"]
Collisions = Literal["disambiguate", "keep", "refuse"]
Surplus = Literal["refuse", "drop"]

ENDINGS: dict[Format, tuple[str, ...]] = {
    "index-json": (".json",),
    "grid": (".npy", ".safetensors"),
    "catalogue-jsonl": (".jsonl",),
    "sem-ids": (".sem_ids", ".json"),
    "text-json": (".json",),
    "parquet": (".parquet",),
    "csv": (".csv",),
    "item-to-sid": (".csv", ".parquet"),
    "tokens": (".txt", ".json"),
    "records": (".bin",),
}

BASE = 0  # the first code of a level
DIGIT: Digit = "all"
KEYS: Keys = "items"
STYLE: Style = "lc-rec"
LEVELS_FIRST = True  # of an array
AS_MANY = ("grid", "csv", "item-to-sid", "records")  # have as many numbers for each item
COLLISIONS: Collisions = "disambiguate"
SURPLUS: Surplus = "refuse"
