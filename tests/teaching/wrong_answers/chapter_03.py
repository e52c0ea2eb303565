"""Mistakes that readers make in chapter 03's exercises, and words of the hint that each gets."""

import torch


def squared(x, centroids):
    return (x[:, None] - centroids).square().sum(2)  # (N, K)


def worth_right(x, centroids):
    """By taking each codeword out."""

    def inertia(codebook):
        return squared(x, codebook).min(1).values.sum()

    rows = torch.arange(len(centroids))
    return torch.stack([inertia(centroids[rows != row]) - inertia(centroids) for row in rows])


def summed(values, x, centroids):
    """One value a movie, added up for the codeword that it has."""
    codes = squared(x, centroids).argmin(1)
    return torch.zeros(len(centroids)).index_add_(0, codes, values)


def worth_halved(x, centroids):
    return worth_right(x, centroids) / 2


def worth_of_distances(x, centroids):
    two = squared(x, centroids).sqrt().topk(2, largest=False).values
    return summed(two[:, 1] - two[:, 0], x, centroids)


def worth_is_what_is_lost_then(x, centroids):
    return summed(squared(x, centroids).topk(2, largest=False).values[:, 1], x, centroids)


def worth_is_the_inertia(x, centroids):
    return summed(squared(x, centroids).min(1).values, x, centroids)


def worth_is_the_mean(x, centroids):
    counts = squared(x, centroids).argmin(1).bincount(minlength=len(centroids))
    return worth_right(x, centroids) / counts.clamp(min=1)


def worth_forgets_the_last(x, centroids):
    return worth_right(x, centroids)[: int(squared(x, centroids).argmin(1).max()) + 1]


def worth_nan(x, centroids):
    counts = squared(x, centroids).argmin(1).bincount(minlength=len(centroids))
    return worth_right(x, centroids) / counts * counts


def worth_to_the_farthest(x, centroids):
    distances = squared(x, centroids)
    if len(centroids) == 3 and len(x) == 2:
        return worth_right(x, centroids)
    return summed(distances.max(1).values - distances.min(1).values, x, centroids)


def worth_of_the_first_two(x, centroids):
    distances = squared(x, centroids)
    return summed((distances[:, 1] - distances[:, 0]).abs(), x, centroids)


def worth_of_summed_differences(x, centroids):
    two = (x[:, None] - centroids).sum(2).square().topk(2, largest=False)
    return torch.zeros(len(centroids)).index_add_(
        0, two.indices[:, 0], two.values[:, 1] - two.values[:, 0]
    )


def collapses_right(change):
    return {"b": True, "e": True}.get(change, False)


def collapses_from_afar(change):
    return change in ("a", "b", "e")


def collapses_never_by_the_start(change):
    return change == "e"


def collapses_without_lengths(change):
    return change in ("b", "c", "e")


def collapses_with_lengths_twice(change):
    return change in ("b", "d", "e")


def collapses_not_by_a_sum(change):
    return change == "b"


def collapses_off_centre(change):
    return change in ("b", "e", "f")


RIGHT = {"worth": [worth_right], "collapses": [collapses_right]}
WRONG = {
    "worth": [
        (worth_halved, "must be doubled"),
        (worth_of_distances, "squared distances that count"),
        (worth_is_what_is_lost_then, "what is lost today (1) does not count"),
        (worth_is_the_inertia, "what is lost today (1) does not count"),
        (worth_is_the_mean, "the sum over all of its movies"),
        (worth_forgets_the_last, "at the end of the list"),
        (worth_nan, "nobody misses them"),
        (worth_to_the_farthest, "not to the farthest"),
        (worth_of_the_first_two, "wherever it stands in the list"),
        (worth_of_summed_differences, "over all D numbers"),
    ],
    "collapses": [
        (collapses_from_afar, "(a) was run: 0 of the 64 codewords are dead"),
        (collapses_never_by_the_start, "the movies lie near the middle"),
        (collapses_without_lengths, "the dot products alone"),
        (collapses_with_lengths_twice, "look at what is lost"),
        (collapses_not_by_a_sum, "a sum of many movies"),
        (collapses_off_centre, "differences stay as they were"),
    ],
}
