"""IDs as other projects write them: from 0 or 1, with or without offsets, with or without a digit.

Projects agree that an item is a few numbers, and on nothing else. A level may count from 0 or from
1. Each number may have the sizes of the levels before it added to it, its *offset*, so that no two
levels share a number. A last number, the *collision digit*, may tell items with equal codes apart,
and perhaps only such items have it. A file says none of this. So it is inferred by the rules below,
said, and can be overruled. Where two readings are possible, the file is refused.

Used by: the export and the import of IDs.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from rqvae_lib.semantic_ids.catalogue import SemanticIDs, disambiguate
from rqvae_lib.semantic_ids.config import BASE, DIGIT, Digit

LARGEST = 2**31 - 1  # a number in a file; codebooks are far smaller
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


class Numbers(NamedTuple):
    """The numbers of N items. Rows may have different lengths."""

    table: NDArray[np.int64]  # (N, W); what is behind a row's length means nothing
    lengths: NDArray[np.int64]  # (N,), from 1 to W


class WrittenIDs(NamedTuple):
    """What a file says of its items, before anything is made of the numbers."""

    where: str  # the file
    numbers: Numbers
    keys: NDArray[Any] | None  # (N,) int64 or Python strings; None: a row's number is its item
    row: Literal["item", "line", "row"]  # how a message names a row
    columns: tuple[str, ...] = ()  # the file's names of the levels; none: "level 1" and so on
    levels_named: bool = False  # whether each number says its level, as <b_3> does

    def wrong(self, row: int, level: int | None, found: object, expected: str) -> ValueError:
        """Return the error that names a row, a level and what was found there."""
        return wrong(
            self.where, place(self.row, row, self.keys), self._level(level), found, expected
        )

    def _level(self, level: int | None) -> str:
        if level is None:
            return ""
        return f"column {self.columns[level]!r}" if self.columns else f"level {level + 1}"


class Codes(NamedTuple):
    """The codes that a file's numbers stand for."""

    codes: NDArray[np.int64]  # (N, L), the learned codes, from 0
    digits: NDArray[np.int64] | None  # (N,), the collision digit as written, −1 where there is none
    sizes: tuple[int, ...]  # L codebook sizes
    said: tuple[str, ...]  # what was taken for what


def wrong(where: str, row: str, level: str, found: object, expected: str) -> ValueError:
    """Return the error that names a file, a place in it, what was found, and what was expected."""
    at = ", ".join(part for part in (where, row, level) if part)
    return ValueError(
        f"{at}: found {shown(found)}, expected {expected}: fix the file, or make it again"
    )


def place(what: str, row: int, keys: NDArray[Any] | None) -> str:
    """Return how a message names a row: item '5', line 7 (from 1), or row 6 (from 0)."""
    if what == "line":
        return f"line {row + 1}"
    return f"item {shown(keys[row])}" if what == "item" and keys is not None else f"row {row}"


def shown(found: object, length: int = 40) -> str:
    """Return a value as Python writes it, cut to some characters and an ellipsis."""
    text = repr(found.item() if isinstance(found, np.generic) else found)
    return text if len(text) <= length else f"{text[:length]}…"


# Out


def written_numbers(
    ids: SemanticIDs, *, base: int = BASE, offsets: bool = False, digit: Digit = DIGIT
) -> Numbers:
    """Return the numbers to write for a catalogue.

    Args:
        ids: the catalogue.
        base: the number of a level's first code, 0 or 1.
        offsets: whether the sizes of the levels before it are added to each number.
        digit: which items get the collision digit as their last number.
    """
    table = ids.codes if digit == "none" else ids.ids
    numbers = table.numpy() + base
    if offsets:
        numbers = numbers + level_starts(ids.sizes)[: table.shape[1]]
    lengths = np.full(len(ids), table.shape[1], dtype=np.int64)
    if digit == "colliding":
        lengths -= ~colliding(ids)
    return Numbers(numbers[:, : int(lengths.max(initial=1))], lengths)


def colliding(ids: SemanticIDs) -> NDArray[np.bool_]:
    """Tell of each item whether it shares its learned codes with another: (N,) bool."""
    digits = ids.ids[ids.order, -1].numpy()
    first = digits == 0
    group = np.cumsum(first) - 1  # (N,) of each item, in sorted order
    shared = np.empty(len(ids), dtype=bool)
    shared[ids.order.numpy()] = np.bincount(group, minlength=1)[group] > 1
    return shared


def flat(numbers: Numbers) -> NDArray[np.int64]:
    """Return the numbers of all rows, one row after another."""
    return numbers.table[np.arange(numbers.table.shape[1]) < numbers.lengths[:, None]]


def ragged(values: NDArray[np.int64], lengths: NDArray[np.int64]) -> Numbers:
    """Return what `flat` was made from."""
    table = np.zeros((len(lengths), int(lengths.max())), dtype=np.int64)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    return Numbers(table, lengths)


def level_starts(sizes: Sequence[int]) -> NDArray[np.int64]:
    """Return the sum of the sizes before each level, (len(sizes),)."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


# In


def interpret(
    written: WrittenIDs,
    *,
    base: int | None = None,
    offsets: bool | None = None,
    collision_digit: bool | None = None,
    codebook_sizes: Sequence[int] | None = None,
) -> Codes:
    """Return the codes that a file's numbers stand for.

    Args:
        written: what the file says.
        base, offsets, collision_digit, codebook_sizes: as `import_ids`.

    Raises:
        ValueError: if the numbers contradict an argument, or two readings are possible.
    """
    _check_range(written)
    sizes = None if codebook_sizes is None else tuple(int(size) for size in codebook_sizes)
    lows, highs = _extremes(written.numbers)
    width = len(lows)
    digit = _digit_by_width(written, width, collision_digit, sizes)
    starts = _offset_starts(written, lows, highs, base, offsets, digit, sizes)
    table = written.numbers.table - starts  # (N, W)
    lengths = written.numbers.lengths
    if digit is None:
        digit = width > 1 and _is_digit(written, table)
    num_levels = width - 1 if digit else width
    learned = table[:, :num_levels]
    first = _base(written, learned, base, sizes)
    codes = np.ascontiguousarray(learned - first)
    _check_codes(written, codes, first + starts[:num_levels], sizes)
    digits = np.where(lengths == width, table[:, -1], -1) if digit else None
    used = tuple(int(high) + 1 for high in codes.max(0))
    said = _sentences(width, num_levels, digit, first, starts, lengths, sizes, used)
    return Codes(codes, digits, sizes or used, said)


def _check_range(written: WrittenIDs) -> None:
    """Refuse a number below 0, or one that no codebook reaches."""
    table, lengths = written.numbers
    outside = (table < 0) | (table > LARGEST)
    outside &= np.arange(table.shape[1]) < lengths[:, None]
    if outside.any():
        row, level = (int(one[0]) for one in outside.nonzero())
        raise written.wrong(row, level, table[row, level], f"a code from 0 to {LARGEST:,}")


def _extremes(numbers: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest and the highest number of each level, (W,) each."""
    table, lengths = numbers
    lows, highs = table.min(0), table.max(0)
    for level in range(int(lengths.min()), table.shape[1]):
        present = table[lengths > level, level]
        lows[level], highs[level] = present.min(), present.max()
    return lows, highs


def _digit_by_width(
    written: WrittenIDs, width: int, collision_digit: bool | None, sizes: tuple[int, ...] | None
) -> bool | None:
    """Tell whether the last number is a collision digit, as far as the rows' lengths say it."""
    lengths = written.numbers.lengths
    if sizes is not None and width not in (len(sizes), len(sizes) + 1):
        raise ValueError(
            f"{written.where}: its items have {_many(width, 'number')}, but codebook_sizes "
            f"(--ids-sizes) names {_many(len(sizes), 'level')}; expected as many, or one more for "
            "a collision digit"
        )
    found = collision_digit
    if (lengths < width).any():
        odd = lengths < width - 1
        if odd.any() or width < 2:
            row = int(odd.argmax())
            raise written.wrong(
                row, None, f"{_many(int(lengths[row]), 'number')}", f"{width}, or one less"
            )
        found = True
    elif found is None and sizes is not None:
        found = width > len(sizes)
    said = {True: "with", False: "without"}
    by_sizes = None if sizes is None else width > len(sizes)
    for other, why in ((collision_digit, "collision_digit"), (by_sizes, "codebook_sizes")):
        if other is not None and found is not None and other != found:
            raise ValueError(
                f"{written.where}: its items have {_many(width, 'number')}, which is a row "
                f"{said[found]} a collision digit, but {why} asks for one {said[other]} it: pass "
                "another collision_digit (--ids-collision-digit) or codebook_sizes (--ids-sizes)"
            )
    if found and width < 2:
        raise ValueError(
            f"{written.where}: its items have one number, so it cannot be a collision digit: pass "
            "collision_digit=False (--no-ids-collision-digit)"
        )
    return found


def _offset_starts(
    written: WrittenIDs,
    lows: NDArray[np.int64],
    highs: NDArray[np.int64],
    base: int | None,
    offsets: bool | None,
    digit: bool | None,
    sizes: tuple[int, ...] | None,
) -> NDArray[np.int64]:
    """Return what each level's numbers have added to them, (W,); zeros without offsets."""
    width = len(lows)
    plain = np.zeros(width, dtype=np.int64)
    if offsets is False or width == 1:
        return plain
    if sizes is not None:
        starts = level_starts((*sizes, 1))[:width]
        if offsets is None:
            offsets = _fit_with_sizes(written, lows, highs, starts, sizes, base)
        return _with_low_digit(starts, lows, digit) if offsets else plain
    if offsets is None and written.levels_named:
        return plain
    levels = width if digit is False or width == 2 else width - 1
    if offsets is None and (levels < 2 or not (lows[1:levels] > highs[: levels - 1]).all()):
        return plain
    size = _step(lows, highs, base, bounded=width if digit is False else width - 1)
    if size is None:
        raise ValueError(
            f"{written.where}: the levels' numbers lie between "
            f"{', '.join(f'{low} and {high}' for low, high in zip(lows, highs, strict=True))}, so "
            "each level's offset may be in them, but it does not say which: pass codebook_sizes "
            "(--ids-sizes), or offsets=False (--no-ids-offsets)"
        )
    return _with_low_digit(size * np.arange(width), lows, digit)


def _with_low_digit(
    starts: NDArray[np.int64], lows: NDArray[np.int64], digit: bool | None
) -> NDArray[np.int64]:
    """Return the offsets with 0 for a collision digit that begins below its own."""
    if digit is not False and lows[-1] < starts[-1]:
        starts = starts.copy()
        starts[-1] = 0
    return starts


def _fit_with_sizes(
    written: WrittenIDs,
    lows: NDArray[np.int64],
    highs: NDArray[np.int64],
    starts: NDArray[np.int64],
    sizes: tuple[int, ...],
    base: int | None,
) -> bool:
    """Tell whether the numbers have offsets in them, where the sizes of the levels are known."""
    levels = len(sizes)
    bases = (0, 1) if base is None else (base,)

    def fits(added: NDArray[np.int64]) -> bool:
        return any(
            bool((lows[:levels] >= added + first).all())
            and bool((highs[:levels] < added + first + np.array(sizes)).all())
            for first in bases
        )

    with_offsets, without = fits(starts[:levels]), fits(np.zeros(levels, dtype=np.int64))
    if with_offsets and without and levels > 1:
        raise ValueError(
            f"{written.where}: the numbers fit codebooks of {_listed(sizes)} with each level's "
            "offset in them and without: pass offsets=True or False (--ids-offsets, "
            "--no-ids-offsets)"
        )
    return with_offsets and not without


def _step(
    lows: NDArray[np.int64], highs: NDArray[np.int64], base: int | None, bounded: int
) -> int | None:
    """Return the one size of all levels that puts each level's numbers behind those before it.

    If several do, a power of two is taken, if it is the only one.
    """
    level = np.arange(len(lows))
    ends = highs[:bounded] + (base == 0)  # with base 1, the first level of K codes ends at K
    smallest = max(1, int((-(-ends // (level[:bounded] + 1))).max()))
    behind = slice(1, max(bounded, 2))
    largest = int(((lows[behind] - (base or 0)) // level[behind]).min())
    if smallest == largest:
        return smallest
    powers = [2**n for n in range(31) if smallest <= 2**n <= largest]
    return powers[0] if len(powers) == 1 else None


def _is_digit(written: WrittenIDs, table: NDArray[np.int64]) -> bool:
    """Tell whether the last column counts the rows that share the others.

    It counts from 0 or 1 in every group; or it is one number where a row is alone, and counts from
    the next number on where rows share the others. If most rows share the others, the column may
    still be a level with a regular pattern, so the file is refused.
    """
    order = np.lexsort(table.T[::-1])
    prefix, last = table[order, :-1], table[order, -1]
    begins = np.ones(len(table), dtype=bool)
    begins[1:] = (prefix[1:] != prefix[:-1]).any(1)
    steps = np.diff(last)[~begins[1:]]
    if not (steps == 1).all():
        return False
    alone = begins & np.append(begins[1:], True)
    single, shared = last[alone], last[begins & ~alone]
    firsts = set(np.unique(single).tolist()), set(np.unique(shared).tolist())
    if any(len(first) > 1 for first in firsts) or max(firsts[0], default=0) > 1:
        return False
    if max(firsts[1], default=0) > 2:
        return False
    if firsts[0] and firsts[1] and not firsts[1] - firsts[0] <= {1 + min(firsts[0])}:
        return False
    sharing = len(table) - int(alone.sum())
    if 2 * sharing > len(table):
        raise ValueError(
            f"{written.where}: the last number may be a collision digit, which counts the items "
            f"with equal codes ({sharing:,} of {len(table):,}), or a level: pass "
            "collision_digit=True or False (--ids-collision-digit, --no-ids-collision-digit)"
        )
    return True


def _base(
    written: WrittenIDs,
    learned: NDArray[np.int64],
    base: int | None,
    sizes: tuple[int, ...] | None,
) -> int:
    """Return the number of a level's first code, 0 or 1."""
    if base is not None:
        return base
    lows = learned.min(0)
    if lows.min() <= 0:
        return 0
    if (lows == 1).all() or (sizes is not None and (learned.max(0) == np.array(sizes)).any()):
        return 1
    level = int((lows != 1).argmax())
    raise ValueError(
        f"{written.where}: no code is 0, and the lowest of level {level + 1} is {lows[level]}, so "
        "codes may begin at 0 or at 1: pass base=0 or base=1 (--ids-base)"
    )


def _check_codes(
    written: WrittenIDs,
    codes: NDArray[np.int64],
    firsts: NDArray[np.int64],
    sizes: tuple[int, ...] | None,
) -> None:
    """Refuse the first code that is not from 0 to K − 1, in the numbers that the file writes."""
    outside = codes < 0
    if sizes is not None:
        outside |= codes >= np.array(sizes)
    if outside.any():
        row, level = (int(one[0]) for one in outside.nonzero())
        low = int(firsts[level])
        expected = (
            f"a number from {low} on" if sizes is None else f"{low} to {low + sizes[level] - 1}"
        )
        raise written.wrong(row, level, written.numbers.table[row, level], expected)


def _sentences(
    width: int,
    levels: int,
    digit: bool,
    base: int,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    sizes: tuple[int, ...] | None,
    used: tuple[int, ...],
) -> tuple[str, ...]:
    """Say what the numbers were taken for, and what overrules it."""
    some = f", which {int((lengths == width).sum()):,} of {len(lengths):,} items have"
    said = [
        f"{_many(levels, 'level')}; codes begin at {base} (base)",
        "each level's offset is in its numbers (offsets)"
        if starts[:levels].any()
        else "no offsets in the numbers (offsets)",
        (
            f"the last number is a collision digit{some if (lengths < width).any() else ''}"
            if digit
            else "no collision digit"
        )
        + " (collision_digit)",
    ]
    if sizes is None:
        said.append(f"codebooks of {_listed(used)}, as the largest codes say (codebook_sizes)")
    return tuple(said)


def _many(count: int, what: str) -> str:
    number = WORDS[count] if count < len(WORDS) else str(count)
    return f"{number} {what}{'' if count == 1 else 's'}"


def _listed(sizes: Sequence[int]) -> str:
    return f"{sizes[0]}" if len(set(sizes)) == 1 else ", ".join(map(str, sizes))


# Collisions


class Counted(NamedTuple):
    """How far a file's IDs tell its items apart."""

    distinct: int  # whole IDs, the collision digit included
    repeated: NDArray[np.bool_]  # (N,), whether an earlier item has the same whole ID


def count_collisions(found: Codes) -> Counted:
    """Count the items whose whole ID, with its digit, is that of an earlier item."""
    whole = found.codes
    if found.digits is not None:
        # From 0 on, as rows to compare must be: a missing digit is −1.
        whole = np.column_stack([whole, found.digits + 1])
    repeated = disambiguate(torch.from_numpy(whole)).numpy() > 0
    return Counted(int((~repeated).sum()), repeated)


def with_digit_as_level(found: Codes) -> Codes:
    """Return codes in which the collision digit is a level as the others, 0 where it is missing."""
    if found.digits is None:
        return found
    digits = found.digits - found.digits.min()  # −1, a missing one, becomes 0
    codes = np.column_stack([found.codes, digits])
    return found._replace(codes=codes, digits=None, sizes=(*found.sizes, int(digits.max()) + 1))
