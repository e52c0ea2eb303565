"""Mistakes that readers make in chapter 06's exercises, and words of the hint that each gets."""

import torch


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


def more_right(change):
    return {"b": True, "f": True}.get(change, False)


def more_after_a_sum(change):
    return change in ("a", "b", "f")


def more_never_with_three_levels(change):
    return change == "f"


def more_after_a_remainder(change):
    return change in ("b", "c", "f")


def more_after_a_shuffle(change):
    return change in ("b", "d", "f")


def more_with_half_as_many(change):
    return change in ("b", "e", "f")


def more_only_by_copies(change):
    return change == "b"


RIGHT = {
    "more_collide": [more_right],
    "next_disambiguation": [last_right],
    "shared_genres": [genres_right],
}
WRONG = {
    "more_collide": [
        (more_after_a_sum, "if they did before"),
        (more_never_with_three_levels, "says nothing of its own"),
        (more_after_a_remainder, "only numbered anew"),
        (more_after_a_shuffle, "a matter of chance"),
        (more_with_half_as_many, "were no chance"),
        (more_only_by_copies, "sixteen first codes are too few"),
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
