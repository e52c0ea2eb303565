"""What a catalogue's codes say of its items, beside what chance would say.

A number such as "97 % of the movies with the same three codes share a genre" means nothing by
itself: groups of one agree with themselves. So each measure here comes with what it is to be held
against. Collisions have an exact expectation for codes that were drawn at random with the same
shares; for what the codes know of an attribute, shuffle the labels and measure again.

Source: collisions of random codes are the birthday problem, Feller, *An Introduction to Probability
Theory and Its Applications* I, §II.3; entropies and mutual information: Cover and Thomas, *Elements
of Information Theory*, §2.2–2.5; purity, pairs and normalized mutual information: Manning,
Raghavan and Schütze, *Introduction to Information Retrieval*, §16.3.
Derived in: chapter 06.
"""

import math

import torch
from torch import Tensor


def prefix_groups(codes: Tensor, length: int) -> Tensor:
    """Number the groups of items that share their first codes.

    Args:
        codes: shape (N, L), int64, level 1 first.
        length: codes that a group shares, 0 to L. Of length 0 there is one group, all items.

    Returns:
        shape (N,), int64: the number of each item's group, from 0, in the order of the prefixes.

    Raises:
        ValueError: if codes are not an (N, L) int64 matrix, or length is out of range.
    """
    _check_codes(codes)
    if not 0 <= length <= codes.shape[1]:
        raise ValueError(
            f"length is {length}; items with {codes.shape[1]} codes have prefixes of 0 to "
            f"{codes.shape[1]} codes: choose one of these"
        )
    if length == 0:
        return codes.new_zeros(len(codes))
    groups: Tensor = torch.unique(codes[:, :length], dim=0, return_inverse=True)[1]
    return groups


def expected_collision_rate(codes: Tensor) -> float:
    """Return the collision rate that chance would give codes with the same use of each codebook.

    Each of N items draws its code of each level by itself, with the shares that the codes have in
    `codes`. A tuple of probability p is then drawn by somebody with probability 1 - (1 - p)^N, so
    the expected number of different tuples is the sum of this over all tuples. Everybody else
    collides. Tuples with the same p are summed at once, which makes the sum short.

    Args:
        codes: shape (N, L), int64, ≥ 0: only the shares of the codes in each column matter.

    Returns:
        The expectation of `SemanticIDs.collision_rate` for such codes, in [0, 1).

    Raises:
        ValueError: if codes are not an (N, L) int64 matrix with a row and a column.
    """
    _check_codes(codes)
    num_items = len(codes)
    # What a tuple's probability can be, times N^L: a product of one count per level. Counts repeat,
    # so there are few such products, and of each it is enough to know how many tuples have it.
    products = torch.ones(1, dtype=torch.float64)
    tuples = torch.ones(1, dtype=torch.float64)
    for level in codes.T:
        used = torch.unique(level, return_counts=True)[1]
        counts, codewords = torch.unique(used, return_counts=True)
        weights = (tuples[:, None] * codewords).reshape(-1)
        products, where = torch.unique(products[:, None] * counts, return_inverse=True)
        tuples = torch.zeros_like(products).index_add_(0, where.reshape(-1), weights)
    probabilities = products / float(num_items) ** codes.shape[1]
    drawn = -torch.expm1(num_items * torch.log1p(-probabilities))  # by somebody, at least once
    return 1 - float((tuples * drawn).sum()) / num_items


def conditional_entropies(codes: Tensor) -> Tensor:
    """Return how uncertain each code is for one who knows the codes before it.

    The entropy of the first l codes together, less that of the first l - 1. All of them add up to
    the entropy of whole tuples, which N items cannot raise above log N: where items are few, the
    last levels are bounded by that, and not by their codebooks.

    Args:
        codes: shape (N, L), int64.

    Returns:
        shape (L,), float64, in nats (natural logarithm): H(c_l | c_1 … c_(l-1)), 0 where the codes
        before leave no choice.

    Raises:
        ValueError: if codes are not an (N, L) int64 matrix with a row and a column.
    """
    _check_codes(codes)
    # Groups that a level does not split are summed in the same order: the difference is 0 exactly.
    joint = [entropy(prefix_groups(codes, length)) for length in range(codes.shape[1] + 1)]
    return torch.tensor(joint, dtype=torch.float64).diff()


def entropy(labels: Tensor) -> float:
    """Return the entropy, in nats, of the label of an item drawn at random.

    Args:
        labels: shape (N,), integers, N ≥ 1.

    Raises:
        ValueError: if labels are not a row of integers with at least one.
    """
    _check_labels("labels", labels, None)
    return _entropy(torch.unique(labels, return_counts=True)[1])


def purity(groups: Tensor, labels: Tensor) -> float:
    """Return the share of items that have the commonest label of their group.

    A group of one is always pure, and small groups nearly so: hold it against the purity of
    shuffled labels, `purity(groups, labels[torch.randperm(N)])`.

    Args:
        groups: shape (N,), integers: which group an item is in, such as `prefix_groups` gives.
        labels: shape (N,), integers: its genre, its decade, …

    Returns:
        A number in (0, 1].

    Raises:
        ValueError: if either is not a row of integers, if they differ in length, or are empty.
    """
    pairs, counts = _contingency(groups, labels)
    best = torch.zeros(int(pairs[:, 0].max()) + 1, dtype=torch.int64)
    best.scatter_reduce_(0, pairs[:, 0], counts, "amax")
    return int(best.sum()) / len(groups)


def pair_precision(groups: Tensor, labels: Tensor) -> float:
    """Return the share of pairs with the same label, among pairs of items of the same group.

    Groups of one have no pair, and small groups are not flattered. Of shuffled labels it is, on
    average, what it is for one group of all items, whatever the groups: that is its control.

    Args:
        groups, labels: as `purity`.

    Returns:
        A number in [0, 1]; NaN if no two items share a group.

    Raises:
        ValueError: as `purity`.
    """
    _, together = _contingency(groups, labels)
    _, sizes = torch.unique(groups, return_counts=True)
    alike, pairs = (int((n * (n - 1)).sum()) for n in (together, sizes))
    return alike / pairs if pairs else math.nan


def normalized_mutual_information(groups: Tensor, labels: Tensor) -> float:
    """Return the mutual information of groups and labels, over the mean of their entropies.

    Like purity it rises when groups get smaller, whatever they hold: hold it against that of
    shuffled labels.

    Args:
        groups, labels: as `purity`.

    Returns:
        A number in [0, 1]: 0 if they know nothing of each other, 1 if each gives the other. If
        there is one group and one label it is 1, as scikit-learn has it.

    Raises:
        ValueError: as `purity`.
    """
    _, together = _contingency(groups, labels)
    of_both = entropy(groups) + entropy(labels)
    if of_both == 0:
        return 1.0
    # Rounding may leave the unit interval by a hair.
    return min(1.0, max(0.0, of_both - _entropy(together)) / (of_both / 2))


def _check_codes(codes: Tensor) -> None:
    """Raise ValueError unless codes are an int64 matrix with a row and a column, none negative."""
    if codes.ndim != 2 or codes.dtype != torch.int64 or not codes.numel():
        raise ValueError(
            f"codes have shape {tuple(codes.shape)} and type {codes.dtype}; expected an int64 "
            "matrix of one row per item and one column per level, at least one of each"
        )
    if int(codes.min()) < 0:
        row, level = (codes < 0).nonzero()[0].tolist()
        raise ValueError(
            f"item {row} has code {int(codes[row, level])} at level {level + 1}; expected 0 or "
            "more: pass the codes that a tokenizer assigned"
        )


def _check_labels(name: str, labels: Tensor, length: int | None) -> None:
    """Raise ValueError unless labels are a row of integers, of this length, at least one."""
    if labels.ndim != 1 or labels.is_floating_point() or not len(labels):
        raise ValueError(
            f"{name} have shape {tuple(labels.shape)} and type {labels.dtype}; expected a row of "
            "integers, one per item: number the values, as pandas.factorize does"
        )
    if length is not None and len(labels) != length:
        raise ValueError(
            f"there are {length} entries in groups but {len(labels)} {name}; expected one of each "
            "for every item: drop the items without a label from both"
        )


def _contingency(groups: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs (P, 2) of a group and a label that occur, numbered from 0, and how often."""
    _check_labels("groups", groups, None)
    _check_labels("labels", labels, len(groups))
    numbered = [torch.unique(column, return_inverse=True)[1] for column in (groups, labels)]
    pairs, counts = torch.unique(torch.stack(numbered, 1), dim=0, return_counts=True)
    return pairs, counts


def _entropy(counts: Tensor) -> float:
    """Return the entropy, in nats, of shares that are proportional to counts (P,)."""
    return float(torch.special.entr(counts.double() / counts.sum()).sum())
