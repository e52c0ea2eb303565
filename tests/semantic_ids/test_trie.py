"""The trie against brute-force sets of prefixes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie


def random_ids(num_items: int, sizes: list[int], seed: int = 0) -> SemanticIDs:
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, (num_items,), generator=generator) for size in sizes]
    return SemanticIDs(torch.stack(columns, 1), sizes)


def check_against_brute_force(ids: SemanticIDs) -> None:
    """Walk every node and compare it with sets of prefixes."""
    trie = Trie(ids)
    rows = [tuple(row) for row in ids.ids.tolist()]
    assert trie.depth == len(ids.sizes)
    assert trie.num_items == len(ids)
    assert trie.items.tolist() == sorted(range(len(rows)), key=lambda i: rows[i])
    assert trie.items[trie.leaf_of].tolist() == list(range(len(rows)))
    reached: dict[int, tuple[int, ...]] = {0: ()}  # node → prefix, at the current depth
    for depth in range(trie.depth):
        prefixes = sorted({row[:depth] for row in rows})
        assert [reached[node] for node in range(len(reached))] == prefixes
        nodes = torch.arange(len(prefixes))
        children = trie.children_of(depth, nodes)
        first, end = trie.leaf_range(depth, nodes)
        above = trie.node_above(depth, torch.arange(len(rows)))
        assert [reached[int(node)] for node in above] == [row[:depth] for row in sorted(rows)]
        following: dict[int, tuple[int, ...]] = {}
        for node, prefix in enumerate(prefixes):
            valid = children.valid[node]
            codes = children.codes[node][valid].tolist()
            assert codes == sorted({row[depth] for row in rows if row[:depth] == prefix})
            for child, code in zip(children.nodes[node][valid].tolist(), codes, strict=True):
                assert child not in following
                following[child] = (*prefix, code)
            items = trie.items[int(first[node]) : int(end[node])].tolist()
            assert sorted(items) == ids.with_prefix(prefix).tolist()
        most = max(len({r[depth] for r in rows if r[:depth] == p}) for p in prefixes)
        assert children.nodes.shape == (len(prefixes), most)
        # What is not valid must still be a node of the next level, to be looked up safely.
        assert 0 <= int(children.nodes.min()) <= int(children.nodes.max()) < len(following)
        reached = following
    assert [reached[leaf] for leaf in range(len(rows))] == sorted(rows)
    first, end = trie.leaf_range(trie.depth, torch.arange(len(rows)))
    assert first.tolist() == list(range(len(rows)))
    assert (end - first).tolist() == [1] * len(rows)


@st.composite
def catalogues(draw: st.DrawFn) -> SemanticIDs:
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    rows = draw(st.lists(row, min_size=1, max_size=30))
    return SemanticIDs(torch.tensor(rows).view(len(rows), len(sizes)), sizes)


@given(catalogues())
@settings(max_examples=80, deadline=None)
def test_any_catalogue_equals_brute_force(ids: SemanticIDs) -> None:
    check_against_brute_force(ids)


@pytest.mark.parametrize("num_levels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("num_items", [1, 2, 60])
def test_ids_of_two_to_six_codes_equal_brute_force(num_levels: int, num_items: int) -> None:
    check_against_brute_force(random_ids(num_items, [4] * num_levels))


def test_a_worked_example() -> None:
    trie = Trie(SemanticIDs(torch.tensor([[2, 1], [0, 1], [2, 1], [2, 0]]), [3, 2]))
    assert trie.items.tolist() == [1, 3, 0, 2]  # 0-1-0, 2-0-0, 2-1-0, 2-1-1
    assert [level.code.tolist() for level in trie.levels] == [
        [0], [0, 2], [1, 0, 1], [0, 0, 0, 1],
    ]  # fmt: skip
    assert [level.first_child.tolist() for level in trie.levels[:3]] == [
        [0, 2], [0, 1, 3], [0, 1, 2, 4],
    ]  # fmt: skip
    children = trie.children_of(1, torch.tensor([[1, 0], [0, 1]]))  # two users, two beams each
    assert children.codes[children.valid].tolist() == [0, 1, 1, 1, 0, 1]
    assert children.valid.tolist() == [[[True, True], [True, False]], [[True, False], [True, True]]]


def test_a_node_costs_at_most_16_bytes() -> None:
    def bytes_of(tensors: list[Tensor]) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    trie = Trie(random_ids(5000, [64, 64, 64]))
    num_nodes = sum(len(level.code) for level in trie.levels)
    spent = sum(bytes_of([v for v in level if isinstance(v, Tensor)]) for level in trie.levels)
    assert spent <= 16 * num_nodes
    # As the module says: 12 bytes per node, and one extra entry per level.
    assert spent == 12 * num_nodes + 8 * len(trie.levels)


def test_an_empty_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="no item"):
        Trie(SemanticIDs(torch.zeros(0, 2, dtype=torch.int64), [3, 2]))
