"""The catalogue of semantic IDs: which tuple of codes names which item, both ways.

Two items may get the same codes. A last code, counting 0, 1, 2, … within each such group, tells
them apart, so that every ID names exactly one item. It is given in catalogue order, hence adding
items at the end of the catalogue never renames an older one.

The catalogue's sha256 is its name: a model that learned to speak in these IDs talks nonsense in any
other, so checkpoints carry the name and refuse a stranger.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 "Handling collisions".
Derived in: chapter 06; seen at work in chapter 00.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from operator import index
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rqvae_lib.files import write_atomically


class SemanticIDs:
    """One unique tuple of codes for each item of a catalogue.

    Args:
        codes: shape (N, L), int64, ≥ 0: the learned codes, row i for item i, level 1 first. Rows
            may repeat; the disambiguation code is added here.
        codebook_sizes: K of each level, length L; each code is below its K.

    Raises:
        ValueError: if codes are not an integer (N, L) matrix within their codebooks.

    Attributes:
        ids: (N, L + 1) int64, the codes with the disambiguation code last. Every row is unique.
        sizes: length L + 1, how many values each position can take.
    """

    def __init__(self, codes: Tensor, codebook_sizes: Sequence[int]) -> None:
        codes = codes.cpu()  # a catalogue is looked up, hashed and written: it lives there
        # Plain numbers: the catalogue's name is hashed from how the sizes are written.
        sizes = tuple(index(size) for size in codebook_sizes)
        if codes.ndim != 2 or codes.dtype != torch.int64 or not codes.shape[1] == len(sizes) > 0:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)} and type {codes.dtype}; expected an int64 "
                f"matrix of one row an item and {len(sizes)} columns, at least one"
            )
        outside = ((codes < 0) | (codes >= torch.tensor(sizes))).nonzero()
        if len(outside):
            row, level = outside[0].tolist()
            raise ValueError(
                f"item {row} has code {int(codes[row, level])} at level {level + 1}, where the "
                f"codebook holds 0 to {sizes[level] - 1}: pass the sizes of their codebook"
            )
        duplicates = disambiguate(codes)  # (N,)
        self.ids = torch.cat([codes, duplicates[:, None]], 1)  # (N, L + 1)
        self.sizes = (*sizes, int(duplicates.max()) + 1 if len(codes) else 1)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"SemanticIDs({len(self)} items, sizes={self.sizes}, sha256={self.sha256[:12]}…)"

    @property
    def codes(self) -> Tensor:
        """The learned codes, (N, L) int64, without the disambiguation code."""
        return self.ids[:, :-1]

    @cached_property
    def sha256(self) -> str:
        """The catalogue's name: a hash of its IDs, in item order, and of the positions' sizes."""
        digest = hashlib.sha256(repr(self.sizes).encode())
        digest.update(self.ids.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def collision_rate(self) -> float:
        """The share of items that would vanish if each tuple of learned codes kept one item."""
        return float((self.ids[:, -1] > 0).sum()) / max(1, len(self))

    @cached_property
    def _items(self) -> dict[tuple[int, ...], int]:
        return {tuple(row): item for item, row in enumerate(self.ids.tolist())}

    def id_of(self, item: int) -> tuple[int, ...]:
        """Return the ID of an item (its row in the catalogue), L + 1 numbers."""
        return tuple(self.ids[item].tolist())

    def item_of(self, semantic_id: Sequence[int]) -> int | None:
        """Return the item that an ID names, or None if no item has it."""
        return self._items.get(tuple(semantic_id))

    def with_prefix(self, prefix: Sequence[int]) -> Tensor:
        """Return the items whose ID starts with these codes, in catalogue order: (M,) int64."""
        if len(prefix) > len(self.sizes):
            return torch.empty(0, dtype=torch.int64)
        same = self.ids[:, : len(prefix)] == torch.tensor(list(prefix), dtype=torch.int64)
        return same.all(1).nonzero()[:, 0]

    def to_frame(self, item_ids: np.ndarray, titles: Sequence[str]) -> pd.DataFrame:
        """Return the table that `rqvae-lib inference-rqvae` writes, one row an item.

        Args:
            item_ids: the catalogue's own ids, (N,).
            titles: N titles.

        Returns:
            Columns item_id, title, code_1 … code_L, disambiguation, semantic_id ("17-4-203-0").
        """
        columns = [*(f"code_{level}" for level in range(1, len(self.sizes))), "disambiguation"]
        frame = pd.DataFrame(self.ids.numpy(), columns=columns)
        frame.insert(0, "item_id", item_ids)
        frame.insert(1, "title", list(titles))
        frame["semantic_id"] = ["-".join(map(str, row)) for row in self.ids.tolist()]
        return frame


def disambiguate(codes: Tensor) -> Tensor:
    """Count, for each row, the equal rows before it: the code that makes it unique.

    Args:
        codes: shape (N, L), int64.

    Returns:
        shape (N,), int64: 0 for the first row with these codes, 1 for the second, and so on.
    """
    order = lexicographic_order(codes)  # (N,), equal rows stay in order
    sorted_codes = codes[order]
    starts = torch.ones(len(codes), dtype=torch.bool)
    starts[1:] = (sorted_codes[1:] != sorted_codes[:-1]).any(1)
    position = torch.arange(len(codes))
    group_start = position[starts][starts.cumsum(0) - 1]  # (N,), where each row's group begins
    counts = torch.empty_like(position)
    counts[order] = position - group_start
    return counts


def lexicographic_order(table: Tensor) -> Tensor:
    """Return the stable order, (N,) int64, that sorts rows (N, L) by their first column first."""
    return torch.from_numpy(np.lexsort(table.numpy().T[::-1]))


def write_ids(path: Path, frame: pd.DataFrame) -> None:
    """Write the table of `SemanticIDs.to_frame` as CSV or Parquet, by the ending, atomically.

    Raises:
        ValueError: if the path ends in neither .csv nor .parquet.
        OSError: if the path cannot be written; an older file is then still whole.
    """
    writers = {
        ".csv": lambda target: frame.to_csv(target, index=False, lineterminator="\n"),
        ".parquet": lambda target: frame.to_parquet(target, index=False),
    }
    if path.suffix not in writers:
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .csv or a .parquet file")
    with write_atomically(path) as temporary:
        writers[path.suffix](temporary)
