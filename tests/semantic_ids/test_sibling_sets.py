"""The choices of a catalogue against counting siblings by hand and by brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.sibling_sets import sibling_sets
from rqvae_lib.semantic_ids.trie import Trie


def test_a_worked_example() -> None:
    # Items 0 and 3 share two codes, so that only the disambiguation code tells them apart.
    codes = torch.tensor([[2, 0], [0, 1], [2, 1], [2, 0], [0, 1]])
    first, second, third = sibling_sets(Trie(SemanticIDs(codes, [3, 2])))
    # The first code: 0 or 2. The second: 0 or 1 after 2; after 0 it is always 1.
    assert first.first.tolist() == [0, 2]
    assert first.of_item.tolist() == [1, 0, 1, 1, 0]
    assert second.first.tolist() == [0, 2]
    assert second.of_item.tolist() == [0, -1, 1, 0, -1]
    assert second.of_node.tolist() == [-1, 0, 1]
    # The third: two sets of two, after (0, 1) and after (2, 0); item 2 is alone.
    assert third.first.tolist() == [0, 2, 4]
    assert third.set_of.tolist() == [0, 0, 1, 1]
    assert third.of_item.tolist() == [2, 0, -1, 3, 1]
    members, first = third.members(torch.tensor([1, 0]))
    assert members.tolist() == [2, 3, 0, 1]
    assert first.tolist() == [0, 2, 4]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_sets_are_the_siblings_of_brute_force(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    rows = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    codes = torch.tensor(data.draw(st.lists(rows, min_size=1, max_size=12)))
    ids = SemanticIDs(codes, sizes)
    for level, choices in enumerate(sibling_sets(Trie(ids))):
        for item, own in enumerate(ids.ids.tolist()):
            siblings = {
                tuple(other[: level + 1])
                for other in ids.ids.tolist()
                if other[:level] == own[:level]
            }
            choice = int(choices.of_item[item])
            if len(siblings) == 1:
                assert choice == -1
                continue
            members, first = choices.members(choices.set_of[choice, None])
            assert first.tolist() == [0, len(members)]
            found = {
                tuple(ids.ids[choices.item[member], : level + 1].tolist())
                for member in members.tolist()
            }
            assert found == siblings
            assert choice in members.tolist()
            assert ids.ids[choices.item[choice], : level + 1].tolist() == own[: level + 1]


@pytest.mark.parametrize("num_items", [1, 2])
def test_one_item_leaves_no_choice_and_two_leave_one(num_items: int) -> None:
    levels = sibling_sets(Trie(SemanticIDs(torch.zeros(num_items, 2, dtype=torch.int64), [4, 4])))
    assert [len(choices.item) for choices in levels] == [0, 0, 0 if num_items == 1 else 2]
