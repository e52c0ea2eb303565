"""Mistakes that readers make in chapter 11's exercises, and words of the hint that each gets."""

from math import comb

import torch


def rank_right(scores, target):
    if scores.isnan().any():
        raise ValueError("a score is NaN")
    return int((scores >= scores[target]).sum())


def rank_from_zero(scores, target):
    return rank_right(scores, target) - 1


def rank_of_the_luckiest(scores, target):
    if scores.isnan().any():
        raise ValueError("a score is NaN")
    return int((scores > scores[target]).sum()) + 1


def rank_by_the_lower_row(scores, target):
    before = torch.arange(len(scores)) <= target
    better = scores > scores[target]
    return int((better | ((scores == scores[target]) & before)).sum())


def rank_without_a_look(scores, target):
    return int((scores >= scores[target]).sum())


def rank_of_zero_if_nan(scores, target):
    """Looks for a NaN in the target's own score only."""
    if scores[target].isnan():
        raise ValueError("a score is NaN")
    return int((scores >= scores[target]).sum())


def rank_that_looks_at_the_others(scores, target):
    others = torch.cat([scores[:target], scores[target + 1 :]])
    if others.isnan().any():
        raise ValueError("a score is NaN")
    return int((others >= scores[target]).sum()) + 1


def width_right(one, other):
    lead = one - other
    return float(1.96 * lead.std() / len(lead) ** 0.5)


def width_unpaired(one, other):
    return float(1.96 * (one.var() / len(one) + other.var() / len(other)) ** 0.5)


def width_of_the_population(one, other):
    lead = one - other
    return float(1.96 * lead.std(correction=0) / len(lead) ** 0.5)


def width_of_one_person(one, other):
    return float(1.96 * (one - other).std())


def width_whole(one, other):
    return 2 * width_right(one, other)


def width_of_the_larger(one, other):
    lead = (one - other).abs()
    return float(1.96 * lead.std() / len(lead) ** 0.5)


def width_of_wins_and_losses(one, other):
    """Counts who is better with whom; exact where all values are 0 or 1."""
    wins, losses = int((one > other).sum()), int((one < other).sum())
    variance = (wins + losses - (wins - losses) ** 2 / len(one)) / (len(one) - 1)
    return 1.96 * (variance / len(one)) ** 0.5


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
    "worst_rank": [rank_right],
    "paired_half_width": [width_right],
    "sampled_hit": [hit_right],
}
WRONG = {
    "worst_rank": [
        (rank_from_zero, "counted from 1"),
        (rank_of_the_luckiest, "come before it here"),
        (rank_by_the_lower_row, "come before it here"),
        (rank_without_a_look, "look for it"),
        (rank_of_zero_if_nan, "look for it"),
        (rank_that_looks_at_the_others, "target's own score"),
    ],
    "paired_half_width": [
        (width_of_the_population, "with a standard deviation"),
        (width_of_one_person, "four people halve it"),
        (width_whole, "1.96 times that is 0.49"),
        (width_unpaired, "1.96 times that is 0.49"),
        (width_of_the_larger, "spreads more than either"),
        (width_of_wins_and_losses, "need not be 0 and 1"),
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
