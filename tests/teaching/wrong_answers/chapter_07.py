"""Mistakes that readers make in chapter 07's exercises, and words of the hint that each gets."""

import math

import torch


def search(distances, perplexity, low, high, *, shift=True, power=2, log=torch.log):
    """The bisection of exercise 3, right unless an argument says otherwise; bounds are on σ."""
    d = distances**power
    d = d - d.min(1, keepdim=True).values if shift else d
    low, high = (torch.full((len(d), 1), end, dtype=d.dtype) for end in (low, high))
    for _ in range(120):
        sigma = (low * high).sqrt()
        p = torch.exp(-d / (2 * sigma**2))
        p = p / p.sum(1, keepdim=True)
        entropy = -(p * log(p.clamp(min=1e-300))).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        high, low = torch.where(wide, sigma, high), torch.where(wide, low, sigma)
    return p


def tsne_probabilities(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6)


def ties_stay(change):
    return change in ("a", "b", "c")


def ties_stay_by_ratios(change):
    return change in ("b", "c")


def ties_stay_with_one_sigma(change):
    return change in ("a", "c")


def ties_stay_when_linear(change):
    return change in ("a", "b")


def ties_stay_by_order(change):
    return change in ("a", "b", "c", "d")


def ties_stay_with_any_sum(change):
    return change in ("a", "b", "c", "e")


def ties_stay_by_direction(change):
    return change in ("a", "b", "c", "f")


def tsne_of_distances(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6, power=1)


def tsne_in_bits(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6, log=torch.log2)


def tsne_in_a_narrow_bracket(distances, perplexity):
    return search(distances, perplexity, 0.05, 100.0)


def tsne_of_large_distances(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6, shift=False)


RIGHT = {
    "ties_stay": [ties_stay],
    "tsne_probabilities": [tsne_probabilities],
}
WRONG = {
    "ties_stay": [
        (ties_stay_by_ratios, "of that difference 50 drops out"),
        (ties_stay_with_one_sigma, "each movie has its own σ"),
        (ties_stay_when_linear, "a square is almost a straight line"),
        (ties_stay_by_order, "far ahead of the others"),
        (ties_stay_with_any_sum, "until the 14 weights add up"),
        (ties_stay_by_direction, "the lengths had a say"),
    ],
    "tsne_probabilities": [
        (tsne_of_distances, "proportional to exp(−d² / 2σ²)"),
        (tsne_in_bits, "with the natural logarithm"),
        (tsne_in_a_narrow_bracket, "each row has its own σ"),
        (tsne_of_large_distances, "subtracted first"),
    ],
}
