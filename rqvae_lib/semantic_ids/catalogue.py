"""The catalogue of semantic IDs: which tuple of codes names which item, both ways.

Two items may get the same codes: they collide. A last code, counting 0, 1, 2, … within each such
group, tells them apart, so that every ID names exactly one item. It is given in catalogue order,
hence adding items at the end of the catalogue never renames an older one. (`remedies` can move
items to other codes first, so that fewer collide.)

The IDs are looked up in sorted order. All IDs that start with the same codes are neighbors there,
so a look-up narrows a range once for each code, by binary search.

The catalogue's sha256 is its name: a model that learned to speak in these IDs talks nonsense in any
other, so checkpoints carry the name and refuse any other.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 "Handling collisions".
Derived in: chapter 06; seen at work in chapter 00.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from operator import index

import numpy as np
import pandas as pd
import torch
from torch import Tensor


class SemanticIDs:
    """One unique tuple of codes for each item of a catalogue.

    Args:
        codes: shape (N, L), int64, ≥ 0: the learned codes, row i for item i, level 1 first. Rows
            may repeat; the disambiguation code is added here.
        codebook_sizes: K of each level, length L, or one K for all levels; each code is below its
            K.

    Raises:
        ValueError: if codes are not an integer (N, L) matrix within their codebooks.

    Attributes:
        ids: (N, L + 1) int64, the codes with the disambiguation code last. Every row is unique.
        sizes: length L + 1, how many values each position can take.
    """

    def __init__(self, codes: Tensor, codebook_sizes: int | Sequence[int]) -> None:
        codes = codes.cpu()  # a catalogue is looked up, hashed and written: it lives there
        if isinstance(codebook_sizes, int | np.integer):
            codebook_sizes = [int(codebook_sizes)] * (codes.shape[1] if codes.ndim == 2 else 1)
        # Plain numbers: the catalogue's name is hashed from how the sizes are written.
        sizes = tuple(index(size) for size in codebook_sizes)
        if codes.ndim != 2 or codes.dtype != torch.int64 or not codes.shape[1] == len(sizes) > 0:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)} and type {codes.dtype}; expected an int64 "
                f"matrix of one row per item and {len(sizes)} columns, at least one"
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

    def collision_groups(self) -> list[Tensor]:
        """Return the groups of items that share their learned codes.

        Returns:
            A tensor (M,) int64 a group, M ≥ 2, of items in catalogue order; the largest group
            first, equally large ones in the order of their codes. An item that shares its codes
            with no other is in none.
        """
        first = (self.ids[self.order, -1] == 0).nonzero()[:, 0]  # where a group starts in `order`
        sizes = torch.diff(first, append=torch.tensor([len(self)]))
        shared = sizes > 1
        groups = zip(first[shared].tolist(), sizes[shared].tolist(), strict=True)
        by_size = sorted(groups, key=lambda group: -group[1])
        return [self.order[start : start + size] for start, size in by_size]

    @cached_property
    def order(self) -> Tensor:
        """The items in the sorted order of their IDs, (N,) int64."""
        return lexicographic_order(self.ids)

    @cached_property
    def _sorted_columns(self) -> np.ndarray:
        """The sorted IDs, (L + 1, N) int64, each position's codes side by side."""
        return np.ascontiguousarray(self.ids[self.order].numpy().T)

    def _range(self, prefix: Sequence[int]) -> tuple[int, int]:
        """Return where, in sorted order, the IDs that start with a prefix begin and end."""
        start, end = 0, len(self)
        for column, code in zip(self._sorted_columns, prefix, strict=False):
            candidates = column[start:end]
            wanted = np.int64(index(code))  # of the column's own type, else NumPy casts the column
            end = start + int(candidates.searchsorted(wanted, "right"))
            start = start + int(candidates.searchsorted(wanted, "left"))
        return start, end

    def id_of(self, item: int) -> tuple[int, ...]:
        """Return the ID of an item, L + 1 numbers.

        Args:
            item: its row in the catalogue, 0 to N − 1.

        Raises:
            ValueError: if the catalogue has no such row.
        """
        if not 0 <= item < len(self):
            raise ValueError(
                f"item is {item}; expected a row of this catalogue, 0 to {len(self) - 1}: turn the "
                "data set's own ids into rows with dataset.item_index"
            )
        return tuple(self.ids[item].tolist())

    def item_of(self, semantic_id: Sequence[int]) -> int | None:
        """Return the item (its row) that an ID of L + 1 numbers names; None if no item has it."""
        if len(semantic_id) != len(self.sizes):
            return None
        start, end = self._range(semantic_id)
        return int(self.order[start]) if start < end else None

    def with_prefix(self, prefix: Sequence[int]) -> Tensor:
        """Return the items whose ID starts with these codes, in catalogue order: (M,) int64.

        The L learned codes of an item give all items that collide with it, and the item itself.
        """
        if len(prefix) > len(self.sizes):
            return torch.empty(0, dtype=torch.int64)
        start, end = self._range(prefix)
        items, _ = self.order[start:end].sort()
        return items

    def with_new_items(self, codes: Tensor) -> "SemanticIDs":
        """Return a grown catalogue: these items, by these IDs, and new ones after them.

        A new item needs no training: the tokenizer that gave the old codes gives it codes too
        (`RQVAE.assign` on its vector), and the disambiguation code keeps them apart.

        The grown catalogue has a `sha256` of its own. A decoder that was trained on the old one
        still recommends from the old one; `load_recommender` refuses it for the grown one, because
        it has never met the new IDs (where a group grew past the largest, it even lacks the
        number for the last code). Train it on the grown catalogue, if only for a while.

        Args:
            codes: shape (M, L), int64: the learned codes of the new items.

        Raises:
            ValueError: as `SemanticIDs`; a row in the message counts all items, the old ones first.
        """
        codes = codes.cpu()
        if codes.ndim != 2 or codes.dtype != torch.int64 or codes.shape[1] != len(self.sizes) - 1:
            raise ValueError(
                f"the new items' codes have shape {tuple(codes.shape)} and type {codes.dtype}; "
                f"expected an int64 matrix of {len(self.sizes) - 1} columns: pass what the same "
                "tokenizer's assign returns"
            )
        return SemanticIDs(torch.cat([self.codes, codes]), self.sizes[:-1])

    def to_frame(self, item_ids: np.ndarray, titles: Sequence[str]) -> pd.DataFrame:
        """Return the table that `rqvae-lib inference-rqvae` writes, one row per item.

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
