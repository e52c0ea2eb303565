"""Sibling sets: the prefixes of a catalogue at which an ID has a choice.

After two or three codes, most prefixes of a real catalogue have only one continuation. Such a code
is not a choice: given the codes before it, its probability is 1, and a model does not need to score
it. The rest are sets of siblings, the codes that may follow one prefix. A model that knows the
catalogue therefore scores only these *choices*, with one softmax per set of siblings.

Source: a softmax over the children of each node of a tree: Morin and Bengio, "Hierarchical
probabilistic neural network language model", AISTATS 2005.
Derived in: chapter 10.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.ranges import flat_ranges
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.trie import Trie


class SiblingSets(NamedTuple):
    """The choices of one level: C prefixes in G sets of siblings, one set after another.

    If every prefix of the level is an only child, C and G are 0.
    """

    item: Tensor  # (C,) int64, one item whose ID begins with the prefix
    set_of: Tensor  # (C,) int64, the set of siblings that each choice belongs to
    first: Tensor  # (G + 1,) int64, where each set starts among the choices, and C
    of_node: Tensor  # (M,) int64, the choice that each node of the trie's level is, or −1
    of_item: Tensor  # (N,) int64, the choice in the ID of each item, or −1

    def members(self, sets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the choices of some sets, one set after another.

        Args:
            sets: shape (P,), int64.

        Returns:
            The choices, (E,) int64, and where each set starts among them, and E: (P + 1,) int64.
        """
        return flat_ranges(self.first[sets], self.first[sets + 1])


@own_settings
def sibling_sets(trie: Trie) -> list[SiblingSets]:
    """Return the choices of each level, from the first code to the last.

    Args:
        trie: the catalogue's prefixes, on the CPU.

    Returns:
        One `SiblingSets` per code of an ID, on the CPU.
    """
    levels = []
    for depth in range(1, trie.depth + 1):
        num_children = trie.level(depth - 1).first_child.long().diff()  # of the nodes above
        splits = num_children > 1
        parent = torch.repeat_interleave(torch.arange(len(num_children)), num_children)  # (M,)
        has_siblings = splits[parent]  # (M,)
        nodes = has_siblings.nonzero()[:, 0]  # (C,)
        of_node = torch.where(has_siblings, has_siblings.cumsum(0) - 1, -1)  # (M,)
        num_leaves = trie.level(depth).first_leaf.diff()  # below each node
        of_leaf = torch.repeat_interleave(of_node, num_leaves)  # (N,)
        levels.append(
            SiblingSets(
                item=trie.items[trie.level(depth).first_leaf[nodes].long()],
                set_of=(splits.cumsum(0) - 1)[parent[nodes]],
                first=torch.nn.functional.pad(num_children[splits].cumsum(0), (1, 0)),
                of_node=of_node,
                of_item=of_leaf[trie.leaf_of],
            )
        )
    return levels
