"""A grown catalogue: is it the old one with items at its end, and how new are their IDs?

A published ID must stay: it is stored in logs and in other systems, and a recommender has learned
it. So a catalogue grows at its end only, and a new item whose codes are taken gets the next
disambiguation code. What a recommender of the old catalogue knows of a new item depends on the
beginning that its ID shares with old IDs, and on whether each of its codes has been seen at all.

Derived in: chapter 13.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs


class Newcomers(NamedTuple):
    """How new the IDs of M new items are, seen from the old catalogue."""

    shared: Tensor  # (M,) int64, learned codes from the start that an old ID has too, 0 to L
    unseen_code: Tensor  # (M,) bool, a learned code that no old item has at its level
    unseen_digit: Tensor  # (M,) bool, a disambiguation code above all old ones


@own_settings
def newcomers(old: SemanticIDs, grown: SemanticIDs) -> Newcomers:
    """Compare the IDs at the end of a grown catalogue with the old ones.

    Args:
        old: the catalogue that a recommender was trained on, N items.
        grown: the same N items with the same IDs, and M more.

    Raises:
        ValueError: if `grown` is not such a catalogue.
    """
    check_grown(old, grown)
    codes = grown.codes[len(old) :]  # (M, L)
    shared = torch.zeros(len(codes), dtype=torch.int64)
    unseen = torch.zeros(len(codes), dtype=torch.bool)
    known = torch.ones(len(codes), dtype=torch.bool)
    for level, size in enumerate(old.sizes[:-1]):
        seen = torch.zeros(size, dtype=torch.bool)
        seen[old.codes[:, level]] = True
        unseen |= ~seen[codes[:, level]]
        known &= _occurs(codes[:, : level + 1], old.codes[:, : level + 1])
        shared += known
    return Newcomers(shared, unseen, grown.ids[len(old) :, -1] >= old.sizes[-1])


@own_settings
def check_grown(old: SemanticIDs, grown: SemanticIDs) -> None:
    """Check that a catalogue is another one with items added at its end.

    Raises:
        ValueError: if it has other codebooks or fewer items, or if an old item has another ID in
            it.
    """
    if grown.sizes[:-1] != old.sizes[:-1] or len(grown) < len(old):
        raise ValueError(
            f"the grown catalogue has {len(grown):,} items and codebooks of {grown.sizes[:-1]}; "
            f"expected the {len(old):,} old items or more, and the old codebooks, "
            f"{old.sizes[:-1]}: add items with old.with_new_items(codes)"
        )
    moved = (grown.ids[: len(old)] != old.ids).any(1)
    if moved.any():
        item = int(moved.int().argmax())
        raise ValueError(
            f"item {item} has the ID {grown.id_of(item)} in the grown catalogue, and "
            f"{old.id_of(item)} in the old one; expected the old items first, with their old IDs: "
            "add items with old.with_new_items(codes)"
        )


def _occurs(rows: Tensor, among: Tensor) -> Tensor:
    """Return whether each row (M, l) is one of the rows (N, l), (M,) bool."""
    both = torch.cat([among, rows])
    numbers = torch.unique(both, dim=0, return_inverse=True)[1]
    return torch.isin(numbers[len(among) :], numbers[: len(among)])
