"""The trie against brute-force sets of prefixes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.semantic_ids import trie as trie_module
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


@settings(deadline=None, max_examples=60)
@given(catalogues(), st.data())
def test_children_in_a_row_are_the_padded_ones(ids: SemanticIDs, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie_module, "MANY_CHILDREN", 0)  # in a row whenever it is shorter
        trie = Trie(ids)
        for depth in range(trie.depth):
            num_nodes = len(trie.level(depth).code)
            order = torch.tensor(data.draw(st.permutations(range(num_nodes))))
            nodes = order[: data.draw(st.integers(1, num_nodes))].expand(2, -1)
            found, padded = trie.children_of_beams(depth, nodes), trie.children_of(depth, nodes)
            scores = torch.randn(found.nodes.shape, generator=torch.Generator().manual_seed(depth))
            assert found.valid.sum() == padded.valid.sum()
            assert torch.equal(found.nodes[found.valid], padded.nodes[padded.valid])
            assert torch.equal(found.codes[found.valid], padded.codes[padded.valid])
            parents = found.of_parents(nodes).expand_as(found.nodes)[found.valid]
            expected = padded.of_parents(nodes).expand_as(padded.nodes)[padded.valid]
            assert torch.equal(parents, expected)
            at = found.valid.flatten(1).int().argmax(1, keepdim=True)  # a valid child of each user
            assert torch.equal(
                nodes.gather(1, found.parents_of(at))[:, 0],
                found.of_parents(nodes).expand_as(found.nodes).flatten(1).gather(1, at)[:, 0],
            )
            same = torch.zeros(padded.nodes.shape).masked_scatter(padded.valid, scores[found.valid])
            torch.testing.assert_close(
                found.log_softmax(scores)[found.valid], padded.log_softmax(same)[padded.valid]
            )
            flat, first = trie.children_in_a_row(depth, nodes[0])
            assert torch.equal(flat, padded.nodes[0][padded.valid[0]])
            assert torch.equal(first.diff(), padded.valid[0].sum(1))


@settings(deadline=None, max_examples=40)
@given(catalogues())
def test_every_code_leads_to_its_child(ids: SemanticIDs) -> None:
    trie = Trie(ids)
    nodes = torch.zeros(len(ids), dtype=torch.int64)
    for depth in range(trie.depth):
        nodes = trie.follow(depth, nodes, ids.ids[:, depth])
        assert torch.equal(nodes, trie.node_above(depth + 1, trie.leaf_of))
        other = trie.follow(depth, torch.zeros_like(nodes), torch.full_like(nodes, 99))
        assert int(other.max()) < len(trie.level(depth + 1).code)  # no such code, but a node


def test_a_bound_on_children_counts_the_largest_first() -> None:
    codes = torch.tensor([[0], [0], [0], [1], [2], [2]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trie_module, "MANY_CHILDREN", 2)
        level = Trie(SemanticIDs(codes, [3])).level(1)
    assert [level.bound(n) for n in (1, 2, 3)] == [3, 5, 6]
    assert level.bound(4) >= 6
