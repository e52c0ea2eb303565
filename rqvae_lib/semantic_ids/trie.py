"""The trie: a catalogue's prefixes as flat tensors, so that only existing IDs are generated.

Sort the IDs. Each distinct prefix is a node, and the nodes of a level are numbered in sorted order.
The children of a node then have consecutive numbers, and so do the items below it. A node stores
only where its children start and where its items start. This is the compressed sparse row layout,
with 12 bytes per node and one extra entry per level.

Source: constrained decoding over a prefix tree: De Cao et al., "Autoregressive entity retrieval",
arXiv 2010.00904, §3.2; the flat layout: Su et al., "STATIC", arXiv 2602.22647.
Derived in: chapter 09; seen at work in chapter 00.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rqvae_lib.ops.sorted_rows import SortedRows
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs


class Children(NamedTuple):
    """The children of some nodes, padded to C, the largest number of children at the level."""

    nodes: Tensor  # (..., C) int64, nodes of the next level; an arbitrary node where not valid
    codes: Tensor  # (..., C) int64, the code that leads to each child
    valid: Tensor  # (..., C) bool, false for padding


class Level(NamedTuple):
    """The nodes at one depth, in the sorted order of their prefixes."""

    code: Tensor  # (M,) int32, the last code of each prefix
    first_child: Tensor  # (M + 1,) int32, where its children start in the next level
    first_leaf: Tensor  # (M + 1,) int32, where its items start in `Trie.items`
    max_children: int  # the largest number of children of a node at this depth


class Trie(nn.Module):
    """All prefixes of a catalogue of IDs. Its tensors are buffers, so `.to(device)` moves them.

    Level 0 holds only the root, the empty prefix. Level d holds the prefixes of d codes.

    Args:
        ids: the catalogue.

    Attributes:
        items: (N,) int64, the items in the sorted order of their IDs. These are the leaves.
        leaf_of: (N,) int64, each item's position among the leaves, the inverse of `items`.
        depth: the number of codes of an ID.
        max_children: for each depth, the largest number of children of a node.

    Raises:
        ValueError: if the catalogue is empty.
    """

    items: Tensor
    leaf_of: Tensor

    @own_settings
    def __init__(self, ids: SemanticIDs) -> None:
        super().__init__()
        if not len(ids):
            raise ValueError("the catalogue holds no item: a trie needs at least one ID")
        rows = SortedRows(ids.ids)
        # Written in random order, which is quicker in 32 bits: more of it is in the cache.
        leaf_of = torch.empty(len(ids), dtype=torch.int32)
        leaf_of[rows.order] = torch.arange(len(ids), dtype=torch.int32)
        self._keep("items", rows.order)
        self._keep("leaf_of", leaf_of.long())
        num_items, self.depth = ids.ids.shape  # the codes of an ID
        root = torch.zeros(1, dtype=torch.int64)
        end = torch.tensor([num_items])
        self._keep("code_0", root.int())
        first_leaf = torch.cat([root, end])  # (M + 1,) of the level above
        max_children = []
        for depth in range(1, self.depth + 1):
            begins = rows.starts(depth)  # (N,)
            starts = begins.nonzero()[:, 0]  # (M,), the leaf where each prefix begins
            first_child = first_leaf  # if every leaf begins a prefix
            if len(starts) < num_items:  # the prefixes above begin at some of these leaves
                before = torch.nn.functional.pad(begins.cumsum(0, dtype=torch.int32), (1, 0))
                first_child = before[first_leaf]
            self._keep(f"first_child_{depth - 1}", first_child.int())
            self._keep(f"first_leaf_{depth - 1}", first_leaf.int())
            self._keep(f"code_{depth}", rows.column(depth - 1, starts).int())
            max_children.append(int(first_child.diff().max()))
            first_leaf = torch.cat([starts, end])
        # Each leaf counts as its own child: every level needs a next one.
        self._keep(f"first_child_{self.depth}", first_leaf.int())
        self._keep(f"first_leaf_{self.depth}", first_leaf.int())
        self.max_children = (*max_children, 1)
        self._levels = self._find_levels()

    def _apply(self, *arguments: Any, **options: Any) -> "Trie":
        # Called by `to`, `half` and the like, after which the buffers are others.
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        self._levels = self._find_levels()
        return self

    def _keep(self, name: str, tensor: Tensor) -> None:
        # Not in a state dict: the IDs are there, and a trie can be made from them.
        self.register_buffer(name, tensor, persistent=False)

    def level(self, depth: int) -> Level:
        """Return the nodes at one depth, 0 to `self.depth`."""
        return self._levels[depth]

    @property
    def levels(self) -> list[Level]:
        """The nodes of every depth, the root first."""
        return list(self._levels)

    def _find_levels(self) -> list[Level]:
        """Collect each level's buffers: to look them up by their names at each step is slow."""
        return [
            Level(
                getattr(self, f"code_{depth}"),
                getattr(self, f"first_child_{depth}"),
                getattr(self, f"first_leaf_{depth}"),
                number,
            )
            for depth, number in enumerate(self.max_children)
        ]

    @property
    def num_items(self) -> int:
        """N, the number of items in the catalogue."""
        return len(self.items)

    def children_of(self, depth: int, nodes: Tensor) -> Children:
        """Return the children of each node.

        Args:
            depth: the depth of `nodes`, 0 (the root, node 0) to `self.depth` − 1.
            nodes: shape (...), int64, nodes of that level.

        Returns:
            The nodes, codes and validity of the children, each of shape (..., C), where C is the
            level's `max_children`.
        """
        level, below = self.level(depth), self.level(depth + 1)
        first, end = _from_to(level.first_child, nodes)  # (..., 1)
        found = first + torch.arange(level.max_children, device=nodes.device)  # (..., C)
        valid = found < end
        found = found.clamp(max=len(below.code) - 1)
        return Children(found, below.code[found].long(), valid)

    def follow(self, depth: int, nodes: Tensor, codes: Tensor) -> Tensor:
        """Return the child of each node that a code leads to.

        Args:
            depth: the depth of `nodes`, 0 to `self.depth` − 1.
            nodes: shape (...), int64, nodes of that level.
            codes: shape (...), int64, one code per node.

        Returns:
            shape (...), int64, nodes of the next level. If no child has the code, the result is
            another child.
        """
        children = self.children_of(depth, nodes)  # (..., C)
        chosen = children.valid & (children.codes == codes[..., None])
        return children.nodes.gather(-1, chosen.byte().argmax(-1, keepdim=True))[..., 0]

    def leaf_range(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the items below each node start and end in `items`.

        Args:
            depth: the depth of `nodes`, 0 to `self.depth`.
            nodes: shape (...), int64, nodes of that level.

        Returns:
            The starts and the ends, each of shape (...), int64.
        """
        first, end = _from_to(self.level(depth).first_leaf, nodes)
        return first[..., 0], end[..., 0]

    def node_above(self, depth: int, leaves: Tensor) -> Tensor:
        """Return the node of a level that each leaf is below: (...) int64.

        Args:
            depth: the depth of the nodes, 0 to `self.depth`.
            leaves: shape (...), int64, positions in `items`.
        """
        first_leaf = self.level(depth).first_leaf[:-1]
        return torch.searchsorted(first_leaf, leaves.int(), right=True) - 1


def _from_to(starts: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Look up a range for each row: starts[row] and starts[row + 1], each (..., 1) int64."""
    pairs = starts.unfold(0, 2, 1)[rows].long()  # (..., 2), a single look-up
    return pairs[..., :1], pairs[..., 1:]
