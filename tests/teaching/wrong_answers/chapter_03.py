"""Mistakes that readers make in chapter 03's exercises, and words of the hint that each gets."""

import torch


def squared(x, centroids):
    return (x[:, None] - centroids).square().sum(2)  # (N, K)


def margin_right(x, centroids):
    scores = centroids.square().sum(1) - 2 * x @ centroids.T
    two = scores.topk(2, largest=False).values
    return two[:, 1] - two[:, 0]


def margin_halved(x, centroids):
    return margin_right(x, centroids) / 2


def margin_of_distances(x, centroids):
    two = squared(x, centroids).sqrt().topk(2, largest=False).values
    return two[:, 1] - two[:, 0]


def margin_to_the_farthest(x, centroids):
    distances = squared(x, centroids)
    return distances.max(1).values - distances.min(1).values


def margin_of_the_first_two(x, centroids):
    distances = squared(x, centroids)
    return (distances[:, 1] - distances[:, 0]).abs()


def margin_without_lengths(x, centroids):
    two = (2 * x @ centroids.T).topk(2).values
    return two[:, 0] - two[:, 1]


def update_right(x, codes, centroids):
    means = centroids.clone()
    for code in codes.unique():
        means[code] = x[codes == code].mean(0)
    return means


def update_sums(x, codes, centroids):
    return torch.zeros_like(centroids).index_add_(0, codes, x)


def update_divides_by_all(x, codes, centroids):
    return update_sums(x, codes, centroids) / len(x)


def update_nan(x, codes, centroids):
    counts = torch.bincount(codes, minlength=len(centroids))
    return update_sums(x, codes, centroids) / counts[:, None]


def update_zero(x, codes, centroids):
    counts = torch.bincount(codes, minlength=len(centroids))
    return update_sums(x, codes, centroids) / counts.clamp(min=1)[:, None]


def update_forgets_the_last(x, codes, centroids):
    return update_right(x, codes, centroids)[: int(codes.max()) + 1]


def update_asks_the_sums(x, codes, centroids):
    means = update_zero(x, codes, centroids)
    return torch.where(means == 0, centroids, means)


def draw_right(x, centroids):
    distances = squared(x, centroids).min(1).values
    if distances.sum() == 0:
        distances = torch.ones_like(distances)
    return distances / distances.sum()


def draw_unsquared(x, centroids):
    distances = squared(x, centroids).min(1).values.sqrt()
    return distances / distances.sum()


def draw_not_normalised(x, centroids):
    return squared(x, centroids).min(1).values


def draw_from_the_sum(x, centroids):
    distances = squared(x, centroids).sum(1)
    return distances / distances.sum()


def draw_from_the_last(x, centroids):
    return draw_right(x, centroids[-1:])


def draw_city_blocks(x, centroids):
    distances = (x[:, None] - centroids).abs().sum(2).square().min(1).values
    return distances / distances.sum()


def draw_nan(x, centroids):
    distances = squared(x, centroids).min(1).values
    return distances / distances.sum()


def margin_of_summed_differences(x, centroids):
    two = (x[:, None] - centroids).sum(2).square().topk(2, largest=False).values
    return two[:, 1] - two[:, 0]


RIGHT = {
    "margin": [margin_right],
    "update": [update_right],
    "draw_probabilities": [draw_right],
}
WRONG = {
    "margin": [
        (margin_halved, "must be doubled"),
        (margin_of_distances, "not distances"),
        (margin_to_the_farthest, "not with the farthest"),
        (margin_of_the_first_two, "wherever they stand"),
        (margin_without_lengths, "‖c‖² not"),
        (margin_of_summed_differences, "over all D numbers"),
    ],
    "update": [
        (update_sums, "divide their sum"),
        (update_divides_by_all, "divide their sum"),
        (update_nan, "neither 0 nor NaN"),
        (update_zero, "neither 0 nor NaN"),
        (update_forgets_the_last, "end of the list"),
        (update_asks_the_sums, "ask the counts"),
    ],
    "draw_probabilities": [
        (draw_unsquared, "add up to 1"),
        (draw_not_normalised, "add up to 1"),
        (draw_from_the_sum, "not their sum"),
        (draw_from_the_last, "the last one"),
        (draw_city_blocks, "square each number"),
        (draw_nan, "draw uniformly"),
    ],
}
