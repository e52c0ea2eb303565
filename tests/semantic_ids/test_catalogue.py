"""The catalogue of IDs against brute-force counting."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.semantic_ids.catalogue import (
    SemanticIDs,
    disambiguate,
)
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE


@st.composite
def catalogues(draw: st.DrawFn, min_items: int = 0, max_items: int = 30) -> tuple[Tensor, list]:
    """Codes (N, L) and the codebooks' sizes; small codebooks, so that collisions are common."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    rows = draw(st.lists(row, min_size=min_items, max_size=max_items))
    return torch.tensor(rows, dtype=torch.int64).view(len(rows), len(sizes)), sizes


def counted_by_hand(codes: Tensor) -> list[int]:
    """How many earlier rows are the same."""
    rows = [tuple(row) for row in codes.tolist()]
    return [rows[:i].count(row) for i, row in enumerate(rows)]


EXAMPLE = torch.tensor([[2, 1], [0, 1], [2, 1], [2, 0], [2, 1]])


def example() -> SemanticIDs:
    return SemanticIDs(EXAMPLE, [3, 2])


# Disambiguation


def test_a_worked_example() -> None:
    ids = example()
    assert ids.ids.tolist() == [[2, 1, 0], [0, 1, 0], [2, 1, 1], [2, 0, 0], [2, 1, 2]]
    assert ids.sizes == (3, 2, 3)
    assert torch.equal(ids.codes, EXAMPLE)
    assert ids.collision_rate == pytest.approx(2 / 5)
    assert len(ids) == 5
    assert "5 items" in repr(ids)


@given(catalogues())
@settings(max_examples=100, deadline=None)
def test_disambiguation_equals_brute_force_counting(catalogue: tuple[Tensor, list]) -> None:
    codes, sizes = catalogue
    assert disambiguate(codes).tolist() == counted_by_hand(codes)
    ids = SemanticIDs(codes, sizes)
    rows = [tuple(row) for row in ids.ids.tolist()]
    assert len(set(rows)) == len(codes)
    most = max(Counter(tuple(row) for row in codes.tolist()).values(), default=1)
    assert ids.sizes == (*sizes, most)


@given(catalogues(min_items=1), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_items_added_at_the_end_rename_none(catalogue: tuple[Tensor, list], old: int) -> None:
    codes, sizes = catalogue
    old = min(old, len(codes))
    assert torch.equal(SemanticIDs(codes[:old], sizes).ids, SemanticIDs(codes, sizes).ids[:old])


@given(catalogues(min_items=1))
@settings(max_examples=60, deadline=None)
def test_the_order_is_the_one_of_sorted_ids(catalogue: tuple[Tensor, list]) -> None:
    ids = SemanticIDs(*catalogue)
    assert ids.order.tolist() == sorted(range(len(ids)), key=lambda i: ids.ids[i].tolist())


# Look-up


@given(catalogues(min_items=1))
@settings(max_examples=60, deadline=None)
def test_ids_and_items_name_each_other(catalogue: tuple[Tensor, list]) -> None:
    codes, sizes = catalogue
    ids = SemanticIDs(codes, sizes)
    assert [ids.item_of(ids.id_of(item)) for item in range(len(ids))] == list(range(len(ids)))
    assert ids.item_of((*ids.id_of(0)[:-1], len(codes))) is None
    assert ids.item_of(ids.id_of(0)[:-1]) is None


@given(catalogues())
@settings(max_examples=40, deadline=None)
def test_with_prefix_equals_brute_force(catalogue: tuple[Tensor, list]) -> None:
    codes, sizes = catalogue
    ids = SemanticIDs(codes, sizes)
    rows = [tuple(row) for row in ids.ids.tolist()]
    prefixes = {row[:length] for row in rows for length in range(len(sizes) + 2)} | {(), (99,)}
    for prefix in prefixes:
        expected = [i for i, row in enumerate(rows) if row[: len(prefix)] == prefix]
        assert ids.with_prefix(prefix).tolist() == expected


def test_a_prefix_longer_than_an_id_names_nothing() -> None:
    assert example().with_prefix((2, 1, 0, 0)).tolist() == []


def test_an_item_that_the_catalogue_lacks_is_named() -> None:
    for item in (-1, 5):
        with pytest.raises(ValueError, match=rf"item is {item}; expected .* 0 to 4"):
            example().id_of(item)


@pytest.mark.parametrize("code", [2**62, -(2**62), -1])
def test_a_code_far_outside_names_nothing(code: int) -> None:
    assert example().with_prefix((code,)).tolist() == []
    assert example().item_of((2, 1, code)) is None


def test_codes_of_other_integer_types_are_looked_up() -> None:
    assert example().item_of(np.array([2, 1, 1], dtype="uint8")) == 2
    assert example().item_of(torch.tensor([2, 1, 1])) == 2
    assert example().with_prefix(torch.tensor([2, 1])).tolist() == [0, 2, 4]


@given(catalogues())
@settings(max_examples=60, deadline=None)
def test_collision_groups_equal_brute_force(catalogue: tuple[Tensor, list]) -> None:
    codes, sizes = catalogue
    rows = [tuple(row) for row in codes.tolist()]
    shared = sorted(code for code, count in Counter(rows).items() if count > 1)
    shared.sort(key=lambda code: -rows.count(code))
    expected = [[i for i, row in enumerate(rows) if row == code] for code in shared]
    assert [group.tolist() for group in SemanticIDs(codes, sizes).collision_groups()] == expected


# Growing


@given(catalogues(min_items=1), st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_grown_catalogue_keeps_its_ids_and_is_the_one_made_at_once(
    catalogue: tuple[Tensor, list], old: int
) -> None:
    codes, sizes = catalogue
    old = min(old, len(codes))
    before = SemanticIDs(codes[:old], sizes)
    grown = before.with_new_items(codes[old:])
    assert torch.equal(grown.ids[:old], before.ids)
    assert [grown.item_of(before.id_of(item)) for item in range(old)] == list(range(old))
    assert grown.sha256 == SemanticIDs(codes, sizes).sha256
    assert (grown.sha256 == before.sha256) == (old == len(codes))


def test_an_unseen_item_gets_an_id_without_training() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(60, 8, generator=generator)
    torch.manual_seed(0)
    tokenizer = RQVAE(RQVAEConfig(8, (8,), 4, num_levels=2, codebook_size=4))
    tokenizer.fit_to_data(vectors, generator=generator)
    before = tokenizer.tokenize(vectors)
    unseen = torch.cat([torch.randn(3, 8, generator=generator), vectors[7:8]])
    grown = before.with_new_items(tokenizer.assign(unseen))
    assert len(grown) == 64
    assert torch.equal(grown.ids[:60], before.ids)
    nearest_codes = tokenizer.quantizer.encode(tokenizer.encode(unseen))
    assert torch.equal(grown.codes[60:], nearest_codes)
    twin, copy = grown.id_of(7), grown.id_of(63)  # the same vector, hence the same learned codes
    assert twin[:-1] == copy[:-1]
    assert copy[-1] > twin[-1]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            torch.zeros(2, 3, dtype=torch.int64),
            r"new items' codes .* expected a matrix of 2 columns",
        ),
        (torch.zeros(2, dtype=torch.int64), r"new items' codes .* expected a matrix of 2 columns"),
        (torch.zeros(2, 2), "codes holds numbers of type torch.float32"),
    ],
)
def test_new_items_with_codes_of_another_shape_or_type_are_refused(
    codes: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        example().with_new_items(codes)


def test_a_new_items_code_outside_its_codebook_is_named() -> None:
    with pytest.raises(ValueError, match="item 6 has code 2 at level 2"):
        example().with_new_items(torch.tensor([[0, 0], [0, 2]]))


# The catalogue's name


def test_the_sha256_changes_with_any_code_order_or_size() -> None:
    names = {example().sha256}
    for row in range(5):
        for level in range(2):
            changed = EXAMPLE.clone()
            changed[row, level] = (changed[row, level] + 1) % [3, 2][level]
            names.add(SemanticIDs(changed, [3, 2]).sha256)
    names.add(SemanticIDs(EXAMPLE.flip(0), [3, 2]).sha256)
    names.add(SemanticIDs(EXAMPLE[:-1], [3, 2]).sha256)
    names.add(SemanticIDs(EXAMPLE, [4, 2]).sha256)
    assert len(names) == 1 + 10 + 3


def test_the_sha256_is_the_one_of_the_bytes_described() -> None:
    text = b"(3, 2, 3)" + np.array(example().ids.tolist(), dtype="<i8").tobytes()
    assert example().sha256 == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("sizes", [(3, 2), np.array([3, 2]), torch.tensor([3, 2])])
def test_the_name_does_not_depend_on_the_type_of_the_sizes(sizes: object) -> None:
    ids = SemanticIDs(EXAMPLE, sizes)
    assert ids.sha256 == example().sha256
    assert ids.sizes == (3, 2, 3)
    assert all(type(size) is int for size in ids.sizes)


@pytest.mark.parametrize("size", [3, np.int64(3), np.uint8(3)])
def test_one_number_is_the_size_of_every_codebook(size: int) -> None:
    ids = SemanticIDs(EXAMPLE, size)
    assert ids.sizes == (3, 3, 3)
    assert ids.sha256 == SemanticIDs(EXAMPLE, [3, 3]).sha256
    assert all(type(size) is int for size in ids.sizes)
    assert SemanticIDs(EXAMPLE[:, :1], size).sizes == (3, 4)
    grown = ids.with_new_items(torch.tensor([[2, 2]]))  # 2 is below 3 at each level
    assert grown.sizes == (3, 3, 3)


def test_one_number_bounds_the_codes_of_every_level() -> None:
    with pytest.raises(ValueError, match=r"item 0 has code 2 at level 1; expected .* 0 to 1"):
        SemanticIDs(EXAMPLE, 2)
    with pytest.raises(ValueError, match=r"codes holds numbers of type torch.float32"):
        SemanticIDs(torch.zeros(3, 2), 3)
    with pytest.raises(ValueError, match=r"shape \(3,\); expected a matrix"):
        SemanticIDs(torch.zeros(3, dtype=torch.int64), 3)
    with pytest.raises(ValueError, match=r"shape \(3, 0\)"):
        SemanticIDs(torch.zeros(3, 0, dtype=torch.int64), 3)


def test_the_catalogue_keeps_its_codes_if_the_caller_changes_theirs() -> None:
    codes = EXAMPLE.clone()
    ids = SemanticIDs(codes, [3, 2])
    codes.zero_()
    assert torch.equal(ids.codes, EXAMPLE)


# Bad input


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        (torch.tensor([0, 1]), r"shape \(2,\)"),
        (torch.zeros(3, 3, dtype=torch.int64), r"shape \(3, 3\)"),
        (torch.zeros(3, 2), "float32"),
        (torch.zeros(3, 2, dtype=torch.bool), "a mask of True and False"),
    ],
)
def test_codes_that_are_not_a_matrix_of_integers_are_refused(codes: Tensor, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        SemanticIDs(codes, [3, 2])


def test_codes_without_a_level_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 0\)"):
        SemanticIDs(torch.zeros(3, 0, dtype=torch.int64), [])


@pytest.mark.parametrize(("bad", "level"), [(-1, 0), (3, 0), (2, 1), (-5, 1)])
def test_a_code_outside_its_codebook_is_named(bad: int, level: int) -> None:
    codes = EXAMPLE.clone()
    codes[3, level] = bad
    with pytest.raises(ValueError, match=rf"item 3 has code {bad} at level {level + 1}"):
        SemanticIDs(codes, [3, 2])


def test_a_code_above_31_bits_is_refused() -> None:
    """A trie holds codes in 32 bits, and rows are sorted as packed integers."""
    codes = torch.tensor([[2**31 - 1, 0], [5, 2**31 - 1], [5, 0]])
    ids = SemanticIDs(codes, 2**62)
    assert ids.order.tolist() == [2, 1, 0]
    codes[1, 1] += 1
    with pytest.raises(ValueError, match=r"item 1 has code 2147483648 .* 0 to 2147483647: pass"):
        SemanticIDs(codes, 2**62)


@pytest.mark.parametrize("code", [-1, 2**31])
def test_codes_that_cannot_be_disambiguated_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match=f"codes are from {min(code, 0)} to {max(code, 2)}; expec"):
        disambiguate(torch.tensor([[0, 2], [code, 1]]))


def test_an_empty_catalogue_has_no_ids_and_still_a_name() -> None:
    ids = SemanticIDs(torch.zeros(0, 2, dtype=torch.int64), [3, 2])
    assert len(ids) == 0
    assert ids.sizes == (3, 2, 1)
    assert ids.item_of((0, 0, 0)) is None
    assert ids.with_prefix(()).tolist() == []
    assert ids.collision_rate == 0
    assert len(ids.sha256) == 64


# The table

TITLES = ['Alien, "the" first', "Amélie\nor not", "七人の侍", "", "NA"]
ITEM_IDS = np.array([10, 7, 2**40, 4, 5])


def test_the_table_row_by_row() -> None:
    frame = example().to_frame(ITEM_IDS, TITLES)
    columns = ["item_id", "title", "code_1", "code_2", "disambiguation", "semantic_id"]
    assert list(frame.columns) == columns
    assert frame.iloc[4].tolist() == [5, "NA", 2, 1, 2, "2-1-2"]
    assert frame["semantic_id"].tolist() == ["2-1-0", "0-1-0", "2-1-1", "2-0-0", "2-1-2"]


def test_the_table_does_not_share_memory_with_the_catalogue() -> None:
    ids = example()
    frame = ids.to_frame(ITEM_IDS, TITLES)
    frame.loc[0, "code_1"] = 0
    assert torch.equal(ids.codes, EXAMPLE)
