"""Base, offsets and collision digit: what is inferred, against what the numbers were made from."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.numbering import (
    Digit,
    Numbers,
    WrittenIDs,
    colliding,
    count_collisions,
    flat,
    interpret,
    level_starts,
    ragged,
    written_numbers,
)

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12)


def written(rows: list[tuple[int, ...]] | list[list[int]], **more: bool) -> WrittenIDs:
    lengths = np.array([len(row) for row in rows])
    values = np.array(list(itertools.chain(*rows)), dtype=np.int64)
    return WrittenIDs("ids.json", ragged(values, lengths), None, "row", **more)  # type: ignore[arg-type]


@given(ROWS)
def test_those_that_collide_are_those_with_a_double(rows: list[tuple[int, int]]) -> None:
    found = colliding(SemanticIDs(torch.tensor(rows), [4, 3]))
    assert found.tolist() == [rows.count(row) > 1 for row in rows]


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=5), min_size=1, max_size=9))
def test_rows_of_any_length_come_back(rows: list[list[int]]) -> None:
    numbers = written(rows).numbers
    assert flat(numbers).tolist() == list(itertools.chain(*rows))
    assert [row[:n].tolist() for row, n in zip(*numbers, strict=True)] == rows


def test_starts_are_the_sizes_before() -> None:
    assert level_starts([4, 3, 9]).tolist() == [0, 4, 7]
    assert level_starts([5]).tolist() == [0]


@pytest.mark.parametrize("digit", ["all", "colliding", "none"])
@given(rows=ROWS, base=st.sampled_from([0, 1]), offsets=st.booleans(), say_sizes=st.booleans())
def test_what_is_said_and_what_is_inferred_never_contradict_the_truth(
    digit: Digit, rows: list[tuple[int, int]], base: int, offsets: bool, say_sizes: bool
) -> None:
    """Whatever is left to be inferred, the result is the truth, or the file is refused.

    Base and offsets are said here. With few items, they can be read in two ways, of which the rules
    take the likelier one and say so.
    """
    ids = SemanticIDs(torch.tensor(rows), [4, 3])
    numbers = written_numbers(ids, base=base, offsets=offsets, digit=digit)
    there = digit == "all" or (digit == "colliding" and bool(colliding(ids).any()))
    found = interpret(
        WrittenIDs("x", numbers, None, "row"),
        base=base,
        offsets=offsets,
        codebook_sizes=(4, 3) if say_sizes or offsets else None,
        collision_digit=None if say_sizes or offsets else there,
    )
    assert found.codes.tolist() == ids.codes.tolist()
    assert (found.digits is not None) == there
    assert count_collisions(found).distinct == (len(rows) if there else len(set(rows)))


@given(ROWS, st.sampled_from([0, 1]))
def test_a_base_that_is_inferred_is_the_right_one_where_the_first_code_is_used(
    rows: list[tuple[int, int]], base: int
) -> None:
    assume(min(a for a, _ in rows) == min(b for _, b in rows) == 0)
    numbers = Numbers(np.array(rows) + base, np.full(len(rows), 2))
    found = interpret(WrittenIDs("x", numbers, None, "row"), offsets=False, collision_digit=False)
    assert found.codes.tolist() == [list(row) for row in rows]


DIGITS = {
    "0 for all: nothing collides": ([[5, 1, 0], [5, 2, 0], [0, 2, 0]], True),
    "counts from 0 in each group": ([[5, 0, 0], [5, 0, 1], [0, 2, 0], [0, 3, 0]], True),
    "0 alone, else from 1": ([[5, 0, 1], [5, 0, 2], [0, 2, 0], [0, 3, 0]], True),
    "in any order": ([[5, 0, 1], [0, 2, 0], [5, 0, 0], [0, 3, 0]], True),
    "not in steps of one": ([[5, 0, 0], [5, 0, 2], [0, 2, 0], [0, 3, 0]], False),
    "twice the same": ([[5, 0, 0], [5, 0, 0], [0, 2, 0], [0, 3, 0]], False),
    "two numbers for those alone": ([[5, 1, 0], [5, 2, 1], [0, 2, 0]], False),
    "a constant that is no beginning": ([[5, 1, 7], [5, 2, 7], [0, 2, 7]], False),
    "from 1 in one group, from 2 in another": (
        [[5, 0, 1], [5, 0, 2], [6, 0, 2], [6, 0, 3], [0, 1, 0], [0, 2, 0], [0, 3, 0], [0, 4, 0]],
        False,
    ),
}


@pytest.mark.parametrize("name", DIGITS)
def test_a_digit_is_what_counts(name: str) -> None:
    rows, is_digit = DIGITS[name]
    found = interpret(written(rows), base=0, offsets=False)
    assert (found.digits is not None) == is_digit
    assert found.codes.tolist() == ([row[:2] for row in rows] if is_digit else rows)


@pytest.mark.parametrize(
    ("rows", "sizes", "starts"),
    [
        ([[0, 256], [255, 300]], (256, 45), [0, 256]),  # 256: the only power of two that fits
        ([[0, 100], [99, 199]], (100, 100), [0, 100]),  # 100: the only size that fits
        ([[1, 257], [256, 512]], (256, 256), [1, 257]),  # and from 1 on
        ([[3, 7, 0], [2, 1, 5]], (4, 8, 6), [0, 0, 0]),  # the levels overlap: no offsets
    ],
)
def test_offsets_are_found_where_levels_follow_each_other(
    rows: list[list[int]], sizes: tuple[int, ...], starts: list[int]
) -> None:
    found = interpret(written(rows), collision_digit=False)
    assert (found.codes + starts).tolist() == rows
    assert found.sizes == sizes


def test_tokens_that_say_their_level_need_no_offsets() -> None:
    rows = [[0, 256], [255, 300]]
    found = interpret(written(rows, levels_named=True), collision_digit=False)
    assert found.codes.tolist() == rows
