"""Mistakes that readers make in chapter 07's exercises, and words of the hint that each gets."""

import math

import torch


def agreement(neighbours, labels):
    return (labels[neighbours] == labels[:, None]).float().mean()


def union(weights):
    return 1 - (1 - weights) * (1 - weights.T)


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


def agree_all_pairs(neighbours, labels):
    return (labels[:, None] == labels).float().mean()


def agree_with_the_place(neighbours, labels):
    return (neighbours == labels[:, None]).float().mean()


def agree_more_than_one(neighbours, labels):
    return (labels[neighbours] == labels[:, None]).float().sum() / len(labels)


def agree_by_majority(neighbours, labels):
    return ((labels[neighbours] == labels[:, None]).float().mean(1) > 0.5).float().mean()


def agree_mean_of_labels(neighbours, labels):
    each = (labels[neighbours] == labels[:, None]).float().mean(1)
    return torch.stack([each[labels == label].mean() for label in labels.unique()]).mean()


def union_of_nothing(weights):
    return weights


def union_as_mean(weights):
    return (weights + weights.T) / 2


def union_as_product(weights):
    return weights * weights.T


def union_as_sum(weights):
    return weights + weights.T


def union_as_sum_up_to_one(weights):
    return (weights + weights.T).clamp(max=1)


def union_as_maximum(weights):
    return weights.maximum(weights.T)


def tsne_of_distances(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6, power=1)


def tsne_in_bits(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6, log=torch.log2)


def tsne_in_a_narrow_bracket(distances, perplexity):
    return search(distances, perplexity, 0.05, 100.0)


def tsne_of_large_distances(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6, shift=False)


RIGHT = {
    "agreement": [agreement],
    "union": [union],
    "tsne_probabilities": [tsne_probabilities],
}
WRONG = {
    "agreement": [
        (agree_all_pairs, "no two items have the same label here"),
        (agree_with_the_place, "one label agrees always"),
        (agree_more_than_one, "one label agrees always"),
        (agree_by_majority, "count pairs of an item"),
        (agree_mean_of_labels, "every pair counts alike"),
    ],
    "union": [
        (union_of_nothing, "both ways"),
        (union_as_mean, "its weight holds in full"),
        (union_as_product, "its weight holds in full"),
        (union_as_sum, "no chance is larger than 1"),
        (union_as_maximum, "make 1 − 0.5 · 0.5"),
        (union_as_sum_up_to_one, "make 1 − 0.5 · 0.5"),
    ],
    "tsne_probabilities": [
        (tsne_of_distances, "proportional to exp(−d² / 2σ²)"),
        (tsne_in_bits, "with the natural logarithm"),
        (tsne_in_a_narrow_bracket, "each row has its own σ"),
        (tsne_of_large_distances, "subtracted first"),
    ],
}
