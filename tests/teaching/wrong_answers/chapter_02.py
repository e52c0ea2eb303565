"""Mistakes that readers make in chapter 02's exercises, and words of the hint that each gets."""

import math

import torch
from torch.nn.functional import normalize


def nearest(vectors, item, k):
    units = normalize(vectors)
    cosines = units @ units[item]
    cosines[item] = -math.inf
    return cosines.topk(k).indices


def nearest_with_itself(vectors, item, k):
    units = normalize(vectors)
    return (units @ units[item]).topk(k).indices


def nearest_by_dot_product(vectors, item, k):
    products = vectors @ vectors[item]
    products[item] = -math.inf
    return products.topk(k).indices


def nearest_without_the_first(vectors, item, k):
    units = normalize(vectors)
    return (units @ units[item]).sort(descending=True, stable=True).indices[1 : k + 1]


def nearest_or_opposite(vectors, item, k):
    units = normalize(vectors)
    cosines = (units @ units[item]).abs()
    cosines[item] = -math.inf
    return cosines.topk(k).indices


def nearest_with_zero_for_itself(vectors, item, k):
    units = normalize(vectors)
    cosines = units @ units[item]
    cosines[item] = 0
    return cosines.topk(k).indices


def nearest_that_divides_by_zero(vectors, item, k):
    units = vectors / vectors.norm(dim=1, keepdim=True)
    cosines = units @ units[item]
    cosines[item] = -math.inf
    return cosines.topk(k).indices


def pmi(counts, kept=lambda ratio: ratio > 1, log=torch.log):
    of_item = counts.sum(1)
    ratio = counts * counts.sum() / (of_item[:, None] * of_item)
    return torch.where(kept(ratio), log(ratio), 0.0)


def pmi_with_negatives(counts):
    return pmi(counts, kept=lambda ratio: ratio > 0)


def pmi_in_bits(counts):
    return pmi(counts, log=torch.log2)


def pmi_of_half_the_total(counts):
    of_item = counts.sum(1)
    ratio = counts * counts.triu().sum() / (of_item[:, None] * of_item)
    return torch.where(ratio > 1, ratio.log(), 0.0)


def pmi_of_all_kinds(counts):
    return pmi(counts, kept=lambda ratio: ratio < math.inf)


def pmi_of_columns_only(counts):
    of_item = counts.sum(1)
    ratio = counts * counts.sum() / (of_item * of_item)  # [:, None] is missing
    return torch.where(ratio > 1, ratio.log(), 0.0)


def pmi_that_clamps_a_nan(counts):
    of_item = counts.sum(1)
    return (counts * counts.sum() / (of_item[:, None] * of_item)).log().clamp(min=0)


def halves(text, taste, share):
    return torch.cat([share**0.5 * normalize(text), (1 - share) ** 0.5 * normalize(taste)], 1)


def halves_of_length_one(text, taste, share):
    return torch.cat([normalize(text), normalize(taste)], 1)


def halves_joined_first(text, taste, share):
    return normalize(torch.cat([share**0.5 * text, (1 - share) ** 0.5 * taste], 1))


def halves_of_the_matrix(text, taste, share):
    text, taste = text / text.norm(), taste / taste.norm()
    return torch.cat([share**0.5 * text, (1 - share) ** 0.5 * taste], 1)


def halves_brought_to_one_again(text, taste, share):
    return normalize(halves(text, taste, share))


def halves_without_a_root(text, taste, share):
    joined = torch.cat([share * normalize(text), (1 - share) * normalize(taste)], 1)
    return joined / (share**2 + (1 - share) ** 2) ** 0.5


RIGHT = {
    "nearest_by_cosine": [nearest],
    "positive_pmi": [pmi],
    "weighted_halves": [halves],
}
WRONG = {
    "nearest_by_cosine": [
        (nearest_with_itself, "not its own neighbour"),
        (nearest_by_dot_product, "must not win by its length"),
        (nearest_without_the_first, "rule it out by its index"),
        (nearest_that_divides_by_zero, "let its cosine be 0"),
        (nearest_or_opposite, "keep the sign"),
        (nearest_with_zero_for_itself, "less than −1"),
    ],
    "positive_pmi": [
        (pmi_in_bits, "logarithm to base 2"),
        (pmi_of_half_the_total, "sum of the matrix"),
        (pmi_of_all_kinds, "get 0, not -inf"),
        (pmi_of_columns_only, "row and column"),
        (pmi_with_negatives, "has a negative logarithm"),
        (pmi_that_clamps_a_nan, "must come out as zeros"),
    ],
    "weighted_halves": [
        (halves_of_length_one, "the weighted mean of 1 and 1"),
        (halves_joined_first, "by itself, before they are joined"),
        (halves_of_the_matrix, "not of the whole matrix"),
        (halves_brought_to_one_again, "the first half keeps its factor"),
        (halves_without_a_root, "the factor is 0.6"),
    ],
}
