"""The trie: a catalogue's prefixes as flat tensors, so that only existing IDs are generated.

Sort the IDs. Each distinct prefix is a node, and the nodes of a level are numbered in sorted order.
The children of a node then have consecutive numbers, and so do the items below it. A node stores
only where its children start and where its items start. This is the compressed sparse row layout,
with 12 bytes per node and one extra entry per level. Nothing here grows with the sizes of the
codebooks or with their product: memory grows with the number of items times that of codes.

One node may have very many children, such as the prefix of a thousand items that share one text.
`children_of` pads each node's children to the largest number of them. `children_of_beams` and
`children_in_a_row` do not, and cost what is there.

Source: constrained decoding over a prefix tree: De Cao et al., "Autoregressive entity retrieval",
arXiv 2010.00904, §3.2; the flat layout: Su et al., "STATIC", arXiv 2602.22647.
Derived in: chapter 09; seen at work in chapter 00.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rqvae_lib.ops.ranges import flat_ranges
from rqvae_lib.ops.sorted_rows import SortedRows
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs


class Children(NamedTuple):
    """The children of some nodes, padded to C, the largest number of children at the level."""

    nodes: Tensor  # (..., C) int64, nodes of the next level; an arbitrary node where not valid
    codes: Tensor  # (..., C) int64, the code that leads to each child
    valid: Tensor  # (..., C) bool, false for padding

    def of_parents(self, values: Tensor) -> Tensor:
        """Return the value of each child's parent, from those of all K parents, (..., K)."""
        return values[..., None]

    def parents_of(self, chosen: Tensor) -> Tensor:
        """Return the parents of children that are numbered through all parents of a user."""
        return chosen // self.nodes.shape[-1]

    def log_softmax(self, scores: Tensor) -> Tensor:
        """Return the logarithm of the softmax of scores (..., C) over the children of a node."""
        return scores.masked_fill(~self.valid, -torch.inf).log_softmax(-1)

    def places(self, size: int) -> Tensor:
        """Return the place of each child's code in a table (B, K·size) of K parents: (B, K·C)."""
        rows = torch.arange(0, self.codes.shape[1] * size, size, device=self.codes.device)
        return (self.codes + rows[:, None]).flatten(1)


class ChildrenInARow(NamedTuple):
    """The children of K nodes for each of B users: those of the first node, of the second, …"""

    nodes: Tensor  # (B, E) int64, nodes of the next level; an arbitrary node where not valid
    codes: Tensor  # (B, E) int64, the code that leads to each child
    valid: Tensor  # (B, E) bool, false for padding
    parents: Tensor  # (B, E) int64, 0 to K − 1, the node that each is a child of
    num_parents: int  # K

    def of_parents(self, values: Tensor) -> Tensor:
        """As `Children.of_parents`."""
        return values.gather(1, self.parents)

    def parents_of(self, chosen: Tensor) -> Tensor:
        """As `Children.parents_of`."""
        return self.parents.gather(1, chosen)

    def log_softmax(self, scores: Tensor) -> Tensor:
        """As `Children.log_softmax`, for scores (B, E). Sums are in float64."""
        scores = scores.masked_fill(~self.valid, -torch.inf)
        top = scores.new_full((len(scores), self.num_parents), -torch.inf)  # (B, K)
        top = top.scatter_reduce(1, self.parents, scores, "amax")
        top = top.masked_fill(top == -torch.inf, 0)  # of a node whose children are left out
        shifted = scores - top.gather(1, self.parents)
        total = torch.zeros_like(top, dtype=torch.float64)
        total = total.scatter_add(1, self.parents, shifted.exp().double())
        return shifted - total.log().to(scores.dtype).gather(1, self.parents)

    def places(self, size: int) -> Tensor:
        """As `Children.places`: (B, E)."""
        return self.parents * size + self.codes


class Level(NamedTuple):
    """The nodes at one depth, in the sorted order of their prefixes."""

    code: Tensor  # (M,) int32, the last code of each prefix
    first_child: Tensor  # (M + 1,) int32, where its children start in the next level
    first_leaf: Tensor  # (M + 1,) int32, where its items start in `Trie.items`
    max_children: int  # the largest number of children of a node at this depth
    most_children: tuple[int, ...]  # of the 1, 2, 3, … nodes with most children; empty: not counted

    def bound(self, num_nodes: int) -> int:
        """Return how many children so many different nodes can have together, at most."""
        if not self.most_children:
            return num_nodes * self.max_children
        counted = len(self.most_children)
        known = self.most_children[min(num_nodes, counted) - 1]
        return known + max(0, num_nodes - counted) * (known // counted)


# From so many children of one node on, they are counted, and may be written in a row.
MANY_CHILDREN = 256


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
        max_children, most_children = [], []
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
            num_children = first_child.diff()
            max_children.append(int(num_children.max()))
            most_children.append(_most(num_children, max_children[-1]))
            first_leaf = torch.cat([starts, end])
        # Each leaf counts as its own child: every level needs a next one.
        self._keep(f"first_child_{self.depth}", first_leaf.int())
        self._keep(f"first_leaf_{self.depth}", first_leaf.int())
        self.max_children = (*max_children, 1)
        self._most_children = (*most_children, ())
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
                *numbers,
            )
            for depth, numbers in enumerate(
                zip(self.max_children, self._most_children, strict=True)
            )
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

    def children_of_beams(self, depth: int, nodes: Tensor) -> Children | ChildrenInARow:
        """Return the children of each user's nodes, in a row if padding would cost much more.

        The result has the same shape for all nodes of a level, so that a search can be compiled.

        Args:
            depth: as `children_of`.
            nodes: shape (B, K), int64: those of a user are different. If some are not, the last
                ones may lose children. (A search puts its beams without an item there.)
        """
        num_nodes = nodes.shape[1]
        level, below = self.level(depth), self.level(depth + 1)
        width = self.row_width(depth, num_nodes)
        if width is None:
            return self.children_of(depth, nodes)
        first, end = (each[..., 0] for each in _from_to(level.first_child, nodes))  # (B, K)
        ends = (end - first).cumsum(1)  # in the row
        places = torch.arange(width, device=nodes.device).expand(len(nodes), -1).contiguous()
        parents = torch.searchsorted(ends, places, right=True)  # (B, E)
        valid = parents < num_nodes
        parents = parents.clamp(max=num_nodes - 1)
        found = places + (end - ends).gather(1, parents)
        found = found.clamp(max=len(below.code) - 1)
        return ChildrenInARow(found, below.code[found].long(), valid, parents, num_nodes)

    def row_width(self, depth: int, num_nodes: int) -> int | None:
        """Return E, the width of `children_of_beams` in a row, or None where it pads.

        Args:
            depth: as `children_of`.
            num_nodes: K.
        """
        level = self.level(depth)
        width = min(level.bound(num_nodes), len(self.level(depth + 1).code))
        padded = num_nodes * level.max_children
        return width if padded > max(2 * width, 16 * MANY_CHILDREN) else None

    def children_in_a_row(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the children of some nodes, one after another.

        Args:
            depth: as `children_of`.
            nodes: shape (P,), int64.

        Returns:
            The children, (E,) int64, and where each node's start among them, and E: (P + 1,) int64.
        """
        first, end = _from_to(self.level(depth).first_child, nodes)
        return flat_ranges(first[:, 0], end[:, 0])

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
        level, below = self.level(depth), self.level(depth + 1)
        first, end = (each[..., 0] for each in _from_to(level.first_child, nodes))
        last = end - 1
        # A node's children are in the order of their codes: halve the range until one is left.
        for _ in range((level.max_children - 1).bit_length()):
            middle = (first + last) // 2
            smaller = below.code[middle] < codes
            first = torch.where(smaller, (middle + 1).minimum(last), first)
            last = torch.where(smaller, last, middle)
        return first

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


def _most(num_children: Tensor, largest: int) -> tuple[int, ...]:
    """Return the sums of the 1, 2, 3, … largest numbers, or nothing if they are all small."""
    if largest < MANY_CHILDREN:
        return ()
    most, _ = num_children.topk(min(1024, len(num_children)))
    return tuple(most.cumsum(0).tolist())
