"""Mistakes that readers make in chapter 06's exercises, and words of the hint that each gets."""

import math

import torch


def pairs_right(num_items, shares):
    return math.comb(num_items, 2) * math.prod(float(p.square().sum()) for p in shares)


def pairs_both_ways(num_items, shares):
    return 2 * pairs_right(num_items, shares)


def pairs_with_oneself(num_items, shares):
    return num_items * (num_items + 1) / 2 * math.prod(float((p * p).sum()) for p in shares)


def pairs_uniform(num_items, shares):
    return math.comb(num_items, 2) / math.prod(len(p) for p in shares)


def pairs_add_levels(num_items, shares):
    return math.comb(num_items, 2) * min(1.0, sum(float((p * p).sum()) for p in shares))


def pairs_average_levels(num_items, shares):
    return math.comb(num_items, 2) * sum(float((p * p).sum()) for p in shares) / len(shares)


def pairs_all(num_items, shares):
    return math.comb(num_items, 2) * math.prod(float(p.sum()) for p in shares)


def last_right(ids, codes):
    same = (ids[:, :-1] == codes).all(1)
    return int(ids[same, -1].max()) + 1 if same.any() else 0


def last_counts(ids, codes):
    return int((ids[:, :-1] == codes).all(1).sum())


def last_fills_the_gap(ids, codes):
    used = set(ids[(ids[:, :-1] == codes).all(1), -1].tolist())
    return next(code for code in range(len(used) + 1) if code not in used)


def last_by_the_first_code(ids, codes):
    return int((ids[:, 0] == codes[0]).sum())


def last_of_any_level(ids, codes):
    return int((ids[:, :-1] == codes).any(1).sum())


def last_of_all_groups(ids, codes):
    same = (ids[:, :-1] == codes).all(1)
    return int(ids[:, -1].max()) + 1 if same.any() else 0


def last_fails_if_alone(ids, codes):
    return int(ids[(ids[:, :-1] == codes).all(1), -1].max()) + 1


def genres_right(groups, genres):
    _, number = torch.unique(groups, return_inverse=True)
    sums = genres.new_zeros(int(number.max()) + 1, genres.shape[1]).index_add_(0, number, genres)
    sizes = torch.bincount(number)
    return float((sums * (sums - 1)).sum() / (sizes * (sizes - 1)).sum())


def genres_with_oneself(groups, genres):
    _, number = torch.unique(groups, return_inverse=True)
    sums = genres.new_zeros(int(number.max()) + 1, genres.shape[1]).index_add_(0, number, genres)
    return float(sums.square().sum() / torch.bincount(number).square().sum())


def genres_of_all_pairs(groups, genres):
    return genres_right(torch.zeros_like(groups), genres)


def genres_mean_of_groups(groups, genres):
    means = []
    for group in groups.unique():
        inside = genres[groups == group]
        if len(inside) > 1:
            means.append(genres_right(groups[groups == group], inside))
    return sum(means) / len(means)


def genres_alone_count(groups, genres):
    means = []
    for group in groups.unique():
        inside = genres[groups == group]
        means.append(genres_right(groups[groups == group], inside) if len(inside) > 1 else 0.0)
    return sum(means) / len(means)


def genres_of_neighbours_in_the_list(groups, genres):
    _, runs = torch.unique_consecutive(groups, return_inverse=True)
    return genres_right(runs, genres)


def genres_jaccard(groups, genres):
    total = number = 0.0
    for i in range(len(groups)):
        for j in range(i):
            if groups[i] == groups[j]:
                either = float(((genres[i] + genres[j]) > 0).sum())
                total += float((genres[i] * genres[j]).sum()) / either if either else 0.0
                number += 1
    return total / number


def last_by_two_codes(ids, codes):
    return last_right(torch.cat([ids[:, :2], ids[:, -1:]], 1), codes[:2])


RIGHT = {
    "expected_pairs": [pairs_right],
    "next_disambiguation": [last_right],
    "shared_genres": [genres_right],
}
WRONG = {
    "expected_pairs": [
        (pairs_both_ways, "are one pair"),
        (pairs_with_oneself, "are one pair"),
        (pairs_uniform, "1/K only where"),
        (pairs_add_levels, "do not add"),
        (pairs_average_levels, "do not add"),
        (pairs_all, "agrees with probability"),
    ],
    "next_disambiguation": [
        (last_counts, "one more than the largest"),
        (last_fills_the_gap, "one more than the largest"),
        (last_by_the_first_code, "same first code"),
        (last_of_any_level, "same first code"),
        (last_of_all_groups, "not that of another group"),
        (last_by_two_codes, "all codes must agree"),
        (last_fails_if_alone, "the last code is 0"),
    ],
    "shared_genres": [
        (genres_with_oneself, "no pair with itself"),
        (genres_jaccard, "counts 2 whatever else"),
        (genres_of_all_pairs, "different groups are no pair"),
        (genres_mean_of_groups, "not over the groups"),
        (genres_alone_count, "not over the groups"),
        (genres_of_neighbours_in_the_list, "in any order"),
    ],
}
