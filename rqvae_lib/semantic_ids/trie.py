"""The catalogue's prefixes as a few flat tensors, so that only IDs that exist can be generated.

Sort the IDs. Each distinct prefix is a node, and the nodes of one level, in sorted order, are
numbered one after another. Then the children of a node are neighbors too, and so are all the items
below it: a node needs to remember only where its children start and where its items start. This is
the compressed sparse row layout, 12 bytes per node and one extra entry per level.

Source: constrained decoding over a prefix tree: De Cao et al., "Autoregressive entity retrieval",
arXiv 2010.00904, §3.2; the flat layout: Su et al., "STATIC", arXiv 2602.22647.
Derived in: chapter 09; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rqvae_lib.semantic_ids.catalogue import SemanticIDs


class Children(NamedTuple):
    nodes: Tensor  # (..., C) int64, nodes of the next level; where not valid, any node
    codes: Tensor  # (..., C) int64, the code that leads to each
    valid: Tensor  # (..., C) bool; C is the largest number of children at this level


class Level(NamedTuple):
    """The nodes at one depth, in the sorted order of their prefixes."""

    code: Tensor  # (M,) int32, the last code of each prefix
    first_child: Tensor  # (M + 1,) int32, where its children start in the next level
    first_leaf: Tensor  # (M + 1,) int32, where its items start in `Trie.items`
    max_children: int


class Trie(nn.Module):
    """All prefixes of a catalogue of IDs; its tensors are buffers, so `.to(device)` moves them.

    Level 0 holds the root alone (the empty prefix); level d the prefixes of d codes.

    Args:
        ids: the catalogue.

    Attributes:
        items: (N,) int64, the items in the sorted order of their IDs: the leaves.
        leaf_of: (N,) int64, each item's position among the leaves: the inverse of `items`.

    Raises:
        ValueError: if the catalogue is empty.
    """

    items: Tensor
    leaf_of: Tensor

    def __init__(self, ids: SemanticIDs) -> None:
        super().__init__()
        if not len(ids):
            raise ValueError("the catalogue holds no item: a trie needs at least one ID")
        leaf_of = torch.empty_like(ids.order)
        leaf_of[ids.order] = torch.arange(len(ids.order))
        self._keep("items", ids.order)
        self._keep("leaf_of", leaf_of)
        table = ids.ids[ids.order]  # (N, depth)
        num_items, self.depth = table.shape  # the codes of an ID
        starts = [torch.zeros(1, dtype=torch.int64)]  # a level: row where each prefix begins
        begins = torch.zeros(num_items, dtype=torch.bool)
        begins[0] = True
        for level in range(self.depth):
            begins[1:] |= table[1:, level] != table[:-1, level]
            starts.append(begins.nonzero()[:, 0])
        starts.append(starts[-1])  # a leaf stands for itself, so that every level has a next one
        end = torch.tensor([num_items])
        max_children = []
        for d in range(self.depth + 1):
            rows = torch.cat([starts[d], end])  # (M + 1,)
            first_child = torch.searchsorted(starts[d + 1], rows)
            root = torch.zeros(1, dtype=torch.int64)
            self._keep(f"code_{d}", (table[starts[d], d - 1] if d else root).int())
            self._keep(f"first_child_{d}", first_child.int())
            self._keep(f"first_leaf_{d}", rows.int())
            max_children.append(int(first_child.diff().max()))
        self.max_children = tuple(max_children)

    def _keep(self, name: str, tensor: Tensor) -> None:
        # Not in a state dict: the IDs are there, and say it all.
        self.register_buffer(name, tensor, persistent=False)

    def level(self, depth: int) -> Level:
        """Return the nodes at one depth, 0 to `self.depth`."""
        code, first_child, first_leaf = (
            getattr(self, f"{name}_{depth}") for name in ("code", "first_child", "first_leaf")
        )
        return Level(code, first_child, first_leaf, self.max_children[depth])

    @property
    def levels(self) -> list[Level]:
        """The nodes of every depth, the root first."""
        return [self.level(depth) for depth in range(self.depth + 1)]

    @property
    def num_items(self) -> int:
        return len(self.items)

    def children_of(self, depth: int, nodes: Tensor) -> Children:
        """Return the nodes one code further.

        Args:
            depth: the depth of `nodes`, 0 (the root, node 0) to `self.depth` − 1.
            nodes: shape (...), int64, nodes of that level.

        Returns:
            nodes, codes and validity, each of shape (..., C), C = the level's `max_children`.
        """
        level, below = self.level(depth), self.level(depth + 1)
        first = level.first_child[nodes].long()  # (...)
        last = level.first_child[nodes + 1].long()
        offsets = torch.arange(level.max_children, device=nodes.device)  # (C,)
        found = first[..., None] + offsets  # (..., C)
        valid = found < last[..., None]
        found = found.clamp(max=len(below.code) - 1)
        return Children(found, below.code[found].long(), valid)

    def follow(self, depth: int, nodes: Tensor, codes: Tensor) -> Tensor:
        """Return the child of each node (...) that a code (...) leads to, (...) int64.

        Where no child has the code, the result is some other child.
        """
        children = self.children_of(depth, nodes)  # (..., C)
        chosen = children.valid & (children.codes == codes[..., None])
        return children.nodes.gather(-1, chosen.byte().argmax(-1, keepdim=True))[..., 0]

    def leaf_range(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the items below each node start and end in `items`, each of shape (...)."""
        first_leaf = self.level(depth).first_leaf
        return first_leaf[nodes].long(), first_leaf[nodes + 1].long()

    def node_above(self, depth: int, leaves: Tensor) -> Tensor:
        """Return the node of a level below which each leaf (...) stands, (...) int64."""
        first_leaf = self.level(depth).first_leaf.long()
        return torch.searchsorted(first_leaf[:-1], leaves, right=True) - 1
