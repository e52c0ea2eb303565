"""What a catalogue's codes say about its items, compared with chance.

A number such as "97 % of the movies with the same three codes share a genre" means nothing by
itself, because groups of one always agree. Each measure here therefore has a baseline. For
collisions, it is the exact expectation for random codes with the same shares. For an attribute of
the items, shuffle the labels and measure again.

Source: collisions of random codes are the birthday problem, Feller, *An Introduction to Probability
Theory and Its Applications* I, §II.3; entropies and mutual information: Cover and Thomas, *Elements
of Information Theory*, §2.2–2.5; purity, pairs and normalized mutual information: Manning,
Raghavan and Schütze, *Introduction to Information Retrieval*, §16.3.
Derived in: chapter 06.
"""

import math

import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_rows
from rqvae_lib.ops.torch_settings import own_settings


def prefix_groups(codes: Array, length: int) -> Tensor:
    """Number the groups of items that share their first codes.

    Args:
        codes: shape (N, L), int64, ≥ 0, level 1 first.
        length: the number of first codes that a group shares, 0 to L. With length 0, all items are
            in one group.

    Returns:
        shape (N,), int64: the number of each item's group, from 0, in the order of the prefixes.

    Raises:
        ValueError: if codes are not an int64 matrix (N, L) with at least one row and one column, if
            a code is below 0, or if length is out of range.
    """
    codes = _checked_codes(codes)
    if not 0 <= length <= codes.shape[1]:
        raise ValueError(
            f"length is {length}; items with {codes.shape[1]} codes have prefixes of 0 to "
            f"{codes.shape[1]} codes: choose one of these"
        )
    if length == 0:
        return codes.new_zeros(len(codes))
    groups: Tensor = torch.unique(codes[:, :length], dim=0, return_inverse=True)[1]
    return groups


@own_settings
def expected_collision_rate(codes: Array) -> float:
    """Return the expected collision rate of random codes that use each codebook in the same way.

    Each of N items draws its code at each level independently, with the shares of the codes in
    `codes`. At least one item then draws a tuple of probability p with probability 1 - (1 - p)^N.
    The sum over all tuples is the expected number of different tuples, and all other items collide.
    Tuples with the same p are added together, so the sum is short.

    Args:
        codes: shape (N, L), int64, ≥ 0. Only the shares of the codes in each column matter.

    Returns:
        The expectation of `SemanticIDs.collision_rate` for such codes, in [0, 1).

    Raises:
        ValueError: if codes are not an int64 matrix (N, L) with at least one row and one column, or
            a code is below 0.
    """
    codes = _checked_codes(codes)
    num_items = len(codes)
    # The possible probabilities of a tuple, times N^L, are products of one count per level. Counts
    # repeat, so there are few products, and it is enough to count the tuples of each.
    products = torch.ones(1, dtype=torch.float64)
    tuples = torch.ones(1, dtype=torch.float64)
    for level in codes.T:
        used = torch.unique(level, return_counts=True)[1]
        counts, codewords = torch.unique(used, return_counts=True)
        weights = (tuples[:, None] * codewords).reshape(-1)
        products, where = torch.unique(products[:, None] * counts, return_inverse=True)
        tuples = torch.zeros_like(products).index_add_(0, where.reshape(-1), weights)
    probabilities = products / float(num_items) ** codes.shape[1]
    drawn = -torch.expm1(num_items * torch.log1p(-probabilities))  # by at least one item
    return 1 - float((tuples * drawn).sum()) / num_items


@own_settings
def conditional_entropies(codes: Array) -> Tensor:
    """Return the entropy of each code, given the codes before it.

    This is the joint entropy of the first l codes minus that of the first l - 1. The values add up
    to the entropy of the whole tuples, which is at most log N for N items. In a small catalogue,
    this limits the last levels, and not the size of their codebooks.

    Args:
        codes: shape (N, L), int64, ≥ 0.

    Returns:
        shape (L,), float64, in nats (natural logarithm): H(c_l | c_1 … c_(l-1)). It is 0 if the
        codes before determine the code.

    Raises:
        ValueError: if codes are not an int64 matrix (N, L) with at least one row and one column, or
            a code is below 0.
    """
    codes = _checked_codes(codes)
    # The groups that a level does not split are summed in the same order, so the difference is
    # exactly 0.
    joint = [entropy(prefix_groups(codes, length)) for length in range(codes.shape[1] + 1)]
    return torch.tensor(joint, dtype=torch.float64).diff()


def entropy(labels: Array) -> float:
    """Return the entropy, in nats, of the label of an item drawn at random.

    Args:
        labels: shape (N,), integers, N ≥ 1.

    Raises:
        ValueError: if labels are not a vector of at least one integer.
    """
    labels = _checked_labels("labels", labels, None)
    return _entropy(torch.unique(labels, return_counts=True)[1])


@own_settings
def purity(groups: Array, labels: Array) -> float:
    """Return the share of items that have the most common label of their group.

    A group of one is always pure, and a small group nearly so. Compare the result with the purity
    of shuffled labels, `purity(groups, labels[torch.randperm(N)])`.

    Args:
        groups: shape (N,), integers: the group of each item, such as `prefix_groups` returns.
        labels: shape (N,), integers: the label of each item, such as its genre or its decade.

    Returns:
        A number in (0, 1].

    Raises:
        ValueError: if either is not a vector of integers, if they differ in length, or are empty.
    """
    pairs, counts = _contingency(groups, labels)
    best = torch.zeros(int(pairs[:, 0].max()) + 1, dtype=torch.int64)
    best.scatter_reduce_(0, pairs[:, 0], counts, "amax")
    return int(best.sum()) / int(counts.sum())


@own_settings
def pair_precision(groups: Array, labels: Array) -> float:
    """Return the share of pairs with the same label, among pairs of items in the same group.

    Groups of one have no pairs, and small groups get no advantage. Its baseline does not depend on
    the groups: for shuffled labels, the mean is the value for a single group of all items.

    Args:
        groups, labels: as `purity`.

    Returns:
        A number in [0, 1]; NaN if no two items share a group.

    Raises:
        ValueError: as `purity`.
    """
    _, together = _contingency(groups, labels)
    groups = _checked_labels("groups", groups, None)
    _, sizes = torch.unique(groups, return_counts=True)
    alike, pairs = (int((n * (n - 1)).sum()) for n in (together, sizes))
    return alike / pairs if pairs else math.nan


@own_settings
def normalized_mutual_information(groups: Array, labels: Array) -> float:
    """Return the mutual information of groups and labels, divided by the mean of their entropies.

    Like purity, it rises when groups get smaller, whatever they contain. Compare it with the value
    for shuffled labels.

    Args:
        groups, labels: as `purity`.

    Returns:
        A number in [0, 1]: 0 if groups and labels are independent, 1 if each determines the other.
        For one group and one label it is 1, as in scikit-learn.

    Raises:
        ValueError: as `purity`.
    """
    _, together = _contingency(groups, labels)
    of_both = entropy(groups) + entropy(labels)
    if of_both == 0:
        return 1.0
    # Rounding may give a number just outside [0, 1].
    return min(1.0, max(0.0, of_both - _entropy(together)) / (of_both / 2))


def _checked_codes(codes: Array) -> Tensor:
    """Return codes as int64, or raise ValueError unless they are a non-empty matrix of ≥ 0."""
    codes = as_rows(codes, "codes", ndim=None)
    if codes.ndim != 2 or not codes.numel():
        raise ValueError(
            f"codes have shape {tuple(codes.shape)} and type {codes.dtype}; expected an int64 "
            "matrix with one row per item and one column per level, at least one of each"
        )
    if int(codes.min()) < 0:
        row, level = (codes < 0).nonzero()[0].tolist()
        raise ValueError(
            f"item {row} has code {int(codes[row, level])} at level {level + 1}; expected 0 or "
            "more: pass the codes that a tokenizer assigned"
        )
    return codes


def _checked_labels(name: str, labels: Array, length: int | None) -> Tensor:
    """Return labels, or raise ValueError unless they are some integers, of this length if any."""
    if str(getattr(labels, "dtype", "")) in ("bool", "torch.bool"):
        labels = labels * 1  # type: ignore[operator]  # a yes or no is a label like others
    labels = as_rows(labels, name, ndim=None)
    if labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"{name} have shape {tuple(labels.shape)} and type {labels.dtype}; expected a vector "
            "of integers, one per item: number the values, as pandas.factorize does"
        )
    if length is not None and len(labels) != length:
        raise ValueError(
            f"there are {length} entries in groups but {len(labels)} {name}; expected one of each "
            "per item: drop the items without a label from both"
        )
    return labels


def _contingency(groups: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """Count how often each pair of a group and a label occurs.

    Returns:
        The pairs that occur, (P, 2) int64, with groups and labels numbered from 0; and how often
        each occurs, (P,) int64.
    """
    groups = _checked_labels("groups", groups, None)
    labels = _checked_labels("labels", labels, len(groups))
    numbered = [torch.unique(column, return_inverse=True)[1] for column in (groups, labels)]
    pairs, counts = torch.unique(torch.stack(numbered, 1), dim=0, return_counts=True)
    return pairs, counts


def _entropy(counts: Tensor) -> float:
    """Return the entropy, in nats, of shares that are proportional to counts (P,)."""
    return float(torch.special.entr(counts.double() / counts.sum()).sum())
