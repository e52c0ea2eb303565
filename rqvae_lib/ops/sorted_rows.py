"""The lexicographic order of a matrix of small integers, by sorting one number per row.

To sort rows column by column takes a stable sort per column. Here the columns of a row, and behind
them its number, are packed into the bits of one integer. A plain sort of these integers then sorts
the rows, keeps equal rows in order, and says where each row came from. If 63 bits are too few for
all columns, the last ones are sorted first, and then those before them.

Used by: the catalogue of IDs and its trie.
"""

from functools import cached_property

import torch
from torch import Tensor

WORD = 63  # the bits of an int64, without its sign
LARGEST = 2**31 - 1  # in a matrix: with a row's number behind it, it fits in a word


class SortedRows:
    """The rows of a matrix, sorted by the first column, then the next. Equal rows stay in order.

    Args:
        table: shape (N, L), int64, on the CPU, with numbers from 0 to `LARGEST`.

    Attributes:
        order: (N,) int64, the row of the matrix that comes at each place.
        num_columns: L.
    """

    def __init__(self, table: Tensor) -> None:
        num_rows, self.num_columns = table.shape
        self._widths = [int(top).bit_length() for top in table.amax(0)] if num_rows else []
        row_width = max(num_rows - 1, 0).bit_length()
        groups = _groups(self._widths, WORD - row_width)
        order = packed = torch.arange(num_rows)
        for group in reversed(groups):  # the last columns first: each sort keeps equal rows' order
            is_first = group is groups[-1]
            packed = torch.zeros(num_rows, dtype=torch.int64)
            for column in group:
                packed <<= self._widths[column]
                packed |= table[:, column] if is_first else table[order, column]
            packed <<= row_width
            packed |= torch.arange(num_rows)
            packed.numpy().sort()  # in place; several times faster than torch's sort
            place = packed & ((1 << row_width) - 1)
            order = place if is_first else order[place]
        self.order = order
        self._columns: list[Tensor] | None = None
        if len(groups) > 1:  # no number holds all columns
            self._columns = [table[order, column] for column in range(self.num_columns)]
        self._packed, self._row_width = packed, row_width

    def starts(self, depth: int) -> Tensor:
        """Return where new prefixes start: (N,) bool.

        Args:
            depth: how many columns count, 0 to L. A row starts a prefix if one of them differs from
                the row before it. The first row always does.
        """
        starts = torch.zeros(len(self.order), dtype=torch.bool)
        starts[:1] = True
        if self._columns is not None:
            for column in self._columns[:depth]:
                starts[1:] |= column[1:] != column[:-1]
        elif self._end_of(depth) < WORD:  # otherwise the columns that count have no bits: all are 0
            torch.ge(self._changes, 1 << self._end_of(depth), out=starts[1:])
        return starts

    def column(self, number: int, rows: Tensor) -> Tensor:
        """Return the numbers of a column, counted from 0, at some places: (M,) int64.

        Args:
            number: which column.
            rows: shape (M,), int64, places in the sorted order.
        """
        if self._columns is not None:
            return self._columns[number][rows]
        found = self._packed.index_select(0, rows)
        found >>= self._end_of(number + 1)
        found &= (1 << self._widths[number]) - 1
        return found

    @cached_property
    def _changes(self) -> Tensor:
        """Return the bits in which each packed row differs from the one before it."""
        return self._packed[1:] ^ self._packed[:-1]

    def _end_of(self, depth: int) -> int:
        """Return the number of bits behind the first columns of a packed row."""
        return self._row_width + sum(self._widths[depth:])


def _groups(widths: list[int], capacity: int) -> list[list[int]]:
    """Divide columns into consecutive groups, from the last on, of at most `capacity` bits each."""
    groups: list[list[int]] = []
    free = 0
    for column in reversed(range(len(widths))):
        if not groups or widths[column] > free:
            groups.insert(0, [])
            free = capacity
        groups[0].insert(0, column)
        free -= widths[column]
    return groups
