"""The catalogue's prefixes as a few flat tensors, so that only IDs that exist can be generated.

Sort the IDs. Each distinct prefix is a node, and the nodes of one level, in sorted order, are
numbered one after another. Then the children of a node are neighbours too, and so are all the items
below it: a node needs to remember only where its children start and where its items start. This is
the compressed sparse row layout, 12 bytes a node and one extra entry a level.

Source: constrained decoding over a prefix tree: De Cao et al., "Autoregressive entity retrieval",
arXiv 2010.00904, §3.2; the flat layout: Su et al., "STATIC", arXiv 2602.22647.
Derived in: chapter 09; seen at work in chapter 00.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.semantic_ids import SemanticIDs


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


class Trie:
    """All prefixes of a catalogue of IDs.

    Level 0 holds the root alone (the empty prefix); level d the prefixes of d codes.

    Attributes:
        levels: one `Level` a depth, 0 to the length of an ID.
        items: (N,) int64, the items in the sorted order of their IDs: the leaves.
        leaf_of: (N,) int64, each item's position among the leaves: the inverse of `items`.
        catalogue: the sha256 of the IDs, by which a model knows that they are those it speaks.

    Raises:
        ValueError: if the catalogue is empty.
    """

    def __init__(self, ids: SemanticIDs, device: torch.device | str = "cpu") -> None:
        if not len(ids):
            raise ValueError("the catalogue holds no item: a trie needs at least one ID")
        self.items = ids.order
        self.leaf_of = torch.empty_like(self.items)
        self.leaf_of[self.items] = torch.arange(len(self.items))
        table = ids.ids[self.items]  # (N, depth)
        self.catalogue = ids.sha256
        num_items, depth = table.shape
        starts = [torch.zeros(1, dtype=torch.int64)]  # a level: row where each prefix begins
        begins = torch.zeros(num_items, dtype=torch.bool)
        begins[0] = True
        for level in range(depth):
            begins[1:] |= table[1:, level] != table[:-1, level]
            starts.append(begins.nonzero()[:, 0])
        starts.append(starts[-1])  # a leaf stands for itself, so that every level has a next one
        end = torch.tensor([num_items])
        self.levels = []
        for d in range(depth + 1):
            rows = torch.cat([starts[d], end])  # (M + 1,)
            first_child = torch.searchsorted(starts[d + 1], rows)
            self.levels.append(
                Level(
                    code=table[starts[d], d - 1].int() if d else torch.zeros(1, dtype=torch.int32),
                    first_child=first_child.int(),
                    first_leaf=rows.int(),
                    max_children=int(first_child.diff().max()),
                )
            )
        self.to(device)

    def to(self, device: torch.device | str) -> "Trie":
        """Move the tensors to a device, in place, and return the trie."""
        self.items, self.leaf_of = self.items.to(device), self.leaf_of.to(device)
        self.levels = [
            Level(
                level.code.to(device),
                level.first_child.to(device),
                level.first_leaf.to(device),
                level.max_children,
            )
            for level in self.levels
        ]
        return self

    @property
    def depth(self) -> int:
        """The number of codes in an ID."""
        return len(self.levels) - 1

    @property
    def num_items(self) -> int:
        return len(self.items)

    def children(self, depth: int, nodes: Tensor) -> Children:
        """Return the nodes one code further.

        Args:
            depth: the depth of `nodes`, 0 (the root, node 0) to `self.depth` − 1.
            nodes: shape (...), int64, nodes of that level.

        Returns:
            nodes, codes and validity, each of shape (..., C), C = the level's `max_children`.
        """
        level, below = self.levels[depth], self.levels[depth + 1]
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
        children = self.children(depth, nodes)  # (..., C)
        chosen = children.valid & (children.codes == codes[..., None])
        return children.nodes.gather(-1, chosen.byte().argmax(-1, keepdim=True))[..., 0]

    def leaf_range(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the items below each node start and end in `items`, each of shape (...)."""
        first_leaf = self.levels[depth].first_leaf
        return first_leaf[nodes].long(), first_leaf[nodes + 1].long()

    def node_above(self, depth: int, leaves: Tensor) -> Tensor:
        """Return the node of a level below which each leaf (...) stands, (...) int64."""
        first_leaf = self.levels[depth].first_leaf.long()
        return torch.searchsorted(first_leaf[:-1], leaves, right=True) - 1
