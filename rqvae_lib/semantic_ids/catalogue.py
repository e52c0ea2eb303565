"""The catalogue of semantic IDs: which tuple of codes belongs to which item, and back.

Two items may get the same codes; they collide. A last code, which counts 0, 1, 2, … within each
such group, makes every ID unique. It is assigned in catalogue order, so items that are added at the
end never change an older ID. (`tokenizer.collisions` can move items to other codes first, so that
fewer of them collide.)

Look-ups use the sorted IDs. All IDs that start with the same codes are adjacent there, so a look-up
narrows a range by binary search, once per code.

A catalogue is identified by its sha256. A model that was trained with one set of IDs generates
nonsense with another, so a checkpoint stores the sha256 and refuses any other catalogue.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 "Handling collisions".
Derived in: chapter 06; seen at work in chapter 00.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rqvae_lib.data.plain_ids import of_one_type
from rqvae_lib.ops.arrays import Array, as_row, as_rows
from rqvae_lib.ops.sorted_rows import LARGEST, SortedRows
from rqvae_lib.ops.torch_settings import own_settings


class SemanticIDs:
    """One unique tuple of codes for each item of a catalogue.

    Args:
        codes: shape (N, L), whole numbers: the learned codes, row i for item i, level 1 first. Rows
            may repeat; this class adds the disambiguation code.
        codebook_sizes: K of each level, length L, or one K for all levels. The codes of a level are
            from 0 to K − 1, and none is above 2³¹ − 1.

    Raises:
        ValueError: if codes are not a matrix (N, L) of whole numbers with L ≥ 1, or a code is out
            of range.

    Attributes:
        ids: (N, L + 1) int64, the codes followed by the disambiguation code. Every row is unique.
        order: (N,) int64, the items in the sorted order of their IDs.
        sizes: length L + 1, the number of values at each position.
    """

    @own_settings
    def __init__(self, codes: Array, codebook_sizes: int | Sequence[int]) -> None:
        # A catalogue is searched, hashed and written on the CPU.
        codes = as_rows(codes, "codes", ndim=None).cpu()
        if not isinstance(codebook_sizes, Iterable) or not getattr(codebook_sizes, "ndim", 1):
            one = as_row(codebook_sizes, "a codebook size")
            codebook_sizes = [one] * (codes.shape[1] if codes.ndim == 2 else 1)
        # Plain ints, because the sha256 depends on how the sizes are printed.
        sizes = tuple(as_row(size, "a codebook size") for size in codebook_sizes)
        if codes.ndim != 2 or not codes.shape[1] == len(sizes) > 0:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)}; expected a matrix of one row per item and "
                f"{len(sizes)} columns, at least one"
            )
        largest = torch.tensor([min(size - 1, LARGEST) for size in sizes])
        if len(codes) and ((codes.amin(0) < 0) | (codes.amax(0) > largest)).any():
            outside = ((codes < 0) | (codes > largest)).nonzero()
            row, level = outside[0].tolist()
            raise ValueError(
                f"item {row} has code {int(codes[row, level])} at level {level + 1}; expected a "
                f"code of the codebook, 0 to {int(largest[level])}: pass the right codebook_sizes"
            )
        rows = SortedRows(codes)
        self.order = rows.order  # of the IDs too: of equal codes the earlier item comes first
        duplicates = _number_duplicates(rows)  # (N,)
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
        """The sha256 (hex) of the IDs, in item order, and `sizes`. It identifies the catalogue."""
        digest = hashlib.sha256(repr(self.sizes).encode())
        digest.update(self.ids.numpy().astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def collision_rate(self) -> float:
        """The share of items that would be lost if each tuple of learned codes kept one item."""
        return float((self.ids[:, -1] > 0).sum()) / max(1, len(self))

    @own_settings
    def collision_groups(self) -> list[Tensor]:
        """Return the groups of items that share their learned codes.

        Returns:
            One tensor (M,) int64 per group, M ≥ 2, with its items in catalogue order. The largest
            group is first; groups of equal size are in the order of their codes. An item that
            shares its codes with no other is in no group.
        """
        first = (self.ids[self.order, -1] == 0).nonzero()[:, 0]  # where a group starts in `order`
        sizes = torch.diff(first, append=torch.tensor([len(self)]))
        shared = sizes > 1
        groups = zip(first[shared].tolist(), sizes[shared].tolist(), strict=True)
        by_size = sorted(groups, key=lambda group: -group[1])
        return [self.order[start : start + size].clone() for start, size in by_size]

    @cached_property
    def _sorted_columns(self) -> np.ndarray:
        """The sorted IDs, transposed: (L + 1, N) int64, each position contiguous in memory."""
        return np.ascontiguousarray(self.ids[self.order].numpy().T)

    def _range(self, prefix: Sequence[int]) -> tuple[int, int]:
        """Return the range, in sorted order, of the IDs that start with a prefix: start, end."""
        start, end = 0, len(self)
        for column, code in zip(self._sorted_columns, prefix, strict=False):
            candidates = column[start:end]
            if not 0 <= code <= LARGEST:
                return 0, 0
            wanted = np.int64(code)  # the column's dtype, or NumPy would cast the column
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
        item = as_row(item, "item")
        if not 0 <= item < len(self):
            raise ValueError(
                f"item is {item}; expected a row of this catalogue, 0 to {len(self) - 1}: turn the "
                "dataset's own ids into rows with dataset.item_index"
            )
        return tuple(self.ids[item].tolist())

    def item_of(self, semantic_id: Sequence[int] | Array) -> int | None:
        """Return the item, a row, with an ID of L + 1 numbers, or None if no item has this ID.

        Raises:
            ValueError: if the ID is not a list of whole numbers.
        """
        codes = _listed(semantic_id, "semantic_id")
        if len(codes) != len(self.sizes):
            return None
        start, end = self._range(codes)
        return int(self.order[start]) if start < end else None

    @own_settings
    def with_prefix(self, prefix: Sequence[int] | Array) -> Tensor:
        """Return the items whose IDs start with these codes, in catalogue order: (M,) int64.

        For the L learned codes of an item, these are the item itself and all items that collide
        with it.

        Raises:
            ValueError: if the prefix is not a list of whole numbers.
        """
        codes = _listed(prefix, "prefix")
        if len(codes) > len(self.sizes):
            return torch.empty(0, dtype=torch.int64)
        start, end = self._range(codes)
        items, _ = self.order[start:end].sort()
        return items

    @own_settings
    def with_new_items(self, codes: Array) -> "SemanticIDs":
        """Return a larger catalogue: the old items with their old IDs, then the new items.

        The tokenizer needs no training for a new item: it computes the item's codes
        (`RQVAE.assign` on its vector), and the disambiguation code makes the ID unique.

        The new catalogue has another `sha256`. A recommender that was trained on the old catalogue
        still works with the old one, and `load_recommender` refuses it for the new one.
        `models.growth.extend_catalogue` makes of it a recommender of the new catalogue with the
        same weights, and `semantic_ids.newcomers` says how new each new ID is to it. (If a
        collision group grew beyond the largest old group, the old model does not even have an
        output for the last code.) Training on the new catalogue makes it better, even a short one.

        Args:
            codes: shape (M, L), whole numbers: the learned codes of the new items.

        Raises:
            ValueError: as `SemanticIDs`. A row in a message counts all items, the old ones first.
        """
        codes = as_rows(codes, "codes", ndim=None).cpu()
        if codes.ndim != 2 or codes.shape[1] != len(self.sizes) - 1:
            raise ValueError(
                f"the new items' codes have shape {tuple(codes.shape)}; expected a matrix of "
                f"{len(self.sizes) - 1} columns: pass the result of the same tokenizer's assign"
            )
        return SemanticIDs(torch.cat([self.codes, codes]), self.sizes[:-1])

    def to_frame(self, item_ids: np.ndarray, titles: Sequence[str]) -> pd.DataFrame:
        """Return the table that `rqvae-lib inference-rqvae` writes, one row per item.

        Args:
            item_ids: the dataset's own item ids, (N,): all whole numbers or all text.
            titles: N titles.

        Returns:
            The columns item_id, title, code_1 … code_L, disambiguation and semantic_id
            ("17-4-203-0").

        Raises:
            ValueError: if the item ids are of several types, or neither numbers nor text.
        """
        columns = [*(f"code_{level}" for level in range(1, len(self.sizes))), "disambiguation"]
        frame = pd.DataFrame(self.ids.numpy(), columns=columns)
        frame.insert(0, "item_id", of_one_type(item_ids))
        frame.insert(1, "title", list(titles))
        frame["semantic_id"] = ["-".join(map(str, row)) for row in self.ids.tolist()]
        return frame


def _listed(codes: Sequence[int] | Array, name: str) -> list[int]:
    """Return the codes of an ID or of a prefix as ints."""
    if isinstance(codes, list | tuple) and all(type(code) is int for code in codes):
        return list(codes)  # by far the most common, and a look-up should take no time
    listed: list[int] = as_rows(codes, name).tolist()
    return listed


@own_settings
def disambiguate(codes: Array) -> Tensor:
    """Count the equal rows before each row. This number is the code that makes the row unique.

    Args:
        codes: shape (N, L), whole numbers from 0 to 2³¹ − 1.

    Returns:
        shape (N,), int64: 0 for the first row with some codes, 1 for the second, and so on.

    Raises:
        ValueError: if a code is out of range.
    """
    codes = as_rows(codes, "codes", ndim=2).cpu()
    if codes.numel() and not 0 <= codes.min() <= codes.max() <= LARGEST:
        raise ValueError(
            f"the codes are from {int(codes.min())} to {int(codes.max())}; expected numbers from 0 "
            f"to {LARGEST}: number the values that occur, as torch.unique's inverse does"
        )
    return _number_duplicates(SortedRows(codes))


def _number_duplicates(rows: SortedRows) -> Tensor:
    """Count the equal rows before each row of a matrix: (N,) int64, in the matrix's order."""
    numbers = torch.zeros(len(rows.order), dtype=torch.int64)
    later = (~rows.starts(rows.num_columns)).nonzero()[:, 0]  # (D,), all but each group's first row
    if len(later):
        # A group's later rows are neighbors in sorted order, behind its first row.
        begins = torch.diff(later, prepend=torch.tensor([-1])) > 1
        begins[0] = True
        first = begins.nonzero()[:, 0]
        sizes = torch.diff(first, append=torch.tensor([len(later)]))
        start = torch.repeat_interleave(first, sizes)
        numbers[rows.order[later]] = torch.arange(len(later)) - start + 1
    return numbers
