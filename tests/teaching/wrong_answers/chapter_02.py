"""Mistakes that readers make in chapter 02's exercises, and words of the hint that each gets."""

import math

import torch
from torch.nn.functional import normalize


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


def survives_right(change):
    return {"b": True, "d": True, "f": True}.get(change, False)


def survives_no_shift(change):
    return change in ("d", "f")


def survives_not_as_signs(change):
    return change in ("b", "f")


def survives_as_an_eighth(change):
    return change in ("a", "b", "d", "f")


def survives_with_equal_directions(change):
    return change in ("b", "d", "e", "f")


def survives_no_exponential(change):
    return change in ("b", "d")


def survives_a_little_noise(change):
    return change in ("b", "c", "d", "f")


RIGHT = {
    "survives": [survives_right],
    "positive_pmi": [pmi],
    "weighted_halves": [halves],
}
WRONG = {
    "survives": [
        (survives_no_shift, "neighbours are a matter of order"),
        (survives_not_as_signs, "384 signs say much"),
        (survives_as_an_eighth, "an eighth of the numbers is left"),
        (survives_with_equal_directions, "the many weak ones"),
        (survives_no_exponential, "nearly 1 + x"),
        (survives_a_little_noise, "as long as the embedding"),
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
