"""Mistakes that readers make in chapter 11's exercises, and words of the hint that each gets."""

from math import comb


def says(letters):
    def answer(change):
        return change in letters

    answer.__name__ = f"says_{letters}"
    return answer


def hit_right(rank, num_items, num_drawn, k):
    better, worse = rank - 1, num_items - rank
    ways = sum(comb(better, j) * comb(worse, num_drawn - j) for j in range(min(k, num_drawn + 1)))
    return ways / comb(num_items - 1, num_drawn)


def hit_in_the_full_ranking(rank, num_items, num_drawn, k):
    return float(rank <= k)


def hit_with_the_target_as_better(rank, num_items, num_drawn, k):
    return hit_right(rank + 1, num_items + 1, num_drawn, k)


def hit_with_putting_back(rank, num_items, num_drawn, k):
    p = (rank - 1) / (num_items - 1)
    return sum(comb(num_drawn, j) * p**j * (1 - p) ** (num_drawn - j) for j in range(k))


def hit_if_none_is_better(rank, num_items, num_drawn, k):
    return comb(num_items - rank, num_drawn) / comb(num_items - 1, num_drawn)


def hit_by_the_mean(rank, num_items, num_drawn, k):
    """Scales the rank down, and compares."""
    return float(1 + (rank - 1) * num_drawn / (num_items - 1) <= k)


def hit_unless_k_are_better(rank, num_items, num_drawn, k):
    """Takes off the chance of exactly k better ones, and forgets those of more than k."""
    better, worse = rank - 1, num_items - rank
    missed = comb(better, k) * comb(worse, max(num_drawn - k, 0))
    return 1 - missed / comb(num_items - 1, num_drawn)


def hit_without_a_guard(rank, num_items, num_drawn, k):
    better, worse = rank - 1, num_items - rank
    ways = sum(comb(better, j) * comb(worse, num_drawn - j) for j in range(k))
    return ways / comb(num_items - 1, num_drawn)


RIGHT = {
    "flatters": [says("ace")],
    "sampled_hit": [hit_right],
}
WRONG = {
    "flatters": [
        (says(""), "0 / 0 is a NaN"),
        (says("ce"), "0 / 0 is a NaN"),
        (says("abce"), "the lower row still comes first"),
        (says("ae"), "ties with thousands"),
        (says("acde"), "takes places of the list"),
        (says("ac"), "no longer looked at"),
        (says("acef"), "gives these movies 0 anyway"),
    ],
    "sampled_hit": [
        (hit_in_the_full_ranking, "3 chances in 4"),
        (hit_with_the_target_as_better, "nothing is better"),
        (hit_with_putting_back, "without putting them back"),
        (hit_if_none_is_better, "at most k − 1"),
        (hit_by_the_mean, "3 chances in 4"),
        (hit_unless_k_are_better, "without putting them back"),
        (hit_without_a_guard, "takes no negative number"),
    ],
}
