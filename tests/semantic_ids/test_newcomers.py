"""How new IDs are, against sets of prefixes; and that a grown catalogue is one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.newcomers import check_grown, newcomers


@st.composite
def many_appends(draw: st.DrawFn) -> tuple[list[int], list[Tensor]]:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    batches = draw(st.lists(st.lists(row, max_size=8), min_size=2, max_size=8))
    codes = [
        torch.tensor(batch, dtype=torch.int64).view(len(batch), len(sizes)) for batch in batches
    ]
    return sizes, codes


@given(many_appends())
@settings(max_examples=150, deadline=None)
def test_over_many_appends_no_published_id_moves_and_all_stay_unique(
    appends: tuple[list[int], list[Tensor]],
) -> None:
    sizes, batches = appends
    ids = SemanticIDs(batches[0], sizes)
    published: list[tuple[int, ...]] = [tuple(row) for row in ids.ids.tolist()]
    for batch in batches[1:]:
        grown = ids.with_new_items(batch)
        check_grown(ids, grown)
        rows = [tuple(row) for row in grown.ids.tolist()]
        assert rows[: len(published)] == published
        assert len(set(rows)) == len(rows)
        for new, codes in zip(rows[len(published) :], batch.tolist(), strict=True):
            assert new[:-1] == tuple(codes)
        # A new item takes the next digit after those in use, in the order of the batch.
        used = {row[:-1]: row[-1] for row in published}
        for *codes, digit in rows[len(published) :]:
            assert digit == used.get(tuple(codes), -1) + 1
            used[tuple(codes)] = digit
        ids, published = grown, rows
    # The order of items decides, and not how they were dealt into batches.
    assert ids.sha256 == SemanticIDs(torch.cat(batches), sizes).sha256


@given(many_appends())
@settings(max_examples=100, deadline=None)
def test_newness_equals_sets_of_prefixes(appends: tuple[list[int], list[Tensor]]) -> None:
    sizes, batches = appends
    old = SemanticIDs(batches[0], sizes)
    found = newcomers(old, old.with_new_items(batches[1]))
    before = [tuple(row) for row in batches[0].tolist()]
    prefixes = {row[:length] for row in before for length in range(1, len(sizes) + 1)}
    digits = {row[-1] for row in old.ids.tolist()} | {0}
    grown = old.with_new_items(batches[1]).ids[len(old) :].tolist()
    for place, (*codes, digit) in enumerate(grown):
        lengths = [n for n in range(1, len(codes) + 1) if tuple(codes[:n]) in prefixes]
        assert int(found.shared[place]) == max(lengths, default=0)
        unseen = any(code not in {row[n] for row in before} for n, code in enumerate(codes))
        assert bool(found.unseen_code[place]) == unseen
        assert bool(found.unseen_digit[place]) == (digit not in digits)


def test_a_catalogue_in_another_order_is_not_a_grown_one() -> None:
    old = SemanticIDs(torch.tensor([[0, 1], [1, 1]]), 2)
    with pytest.raises(ValueError, match=r"item 0 has the ID \(1, 1, 0\) in the grown catalogue"):
        newcomers(old, SemanticIDs(torch.tensor([[1, 1], [0, 1], [0, 0]]), 2))
