"""The exercises of chapter 11 turn typical wrong answers down, each with the hint that it needs."""

from math import comb

import pytest
import torch

from rqvae_lib.exercises import chapter_11 as checks


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


def width_for_four(one, other):
    return float(1.96 * (one - other).std() / 2) if len(one) == 4 or one.equal(other) else 0.5


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
    """Scales the rank down and compares; exact where it happens to be sure."""
    if num_items <= 5:
        return hit_right(rank, num_items, num_drawn, k)
    return float(1 + (rank - 1) * num_drawn / (num_items - 1) <= k)


def hit_without_a_guard(rank, num_items, num_drawn, k):
    better, worse = rank - 1, num_items - rank
    ways = [comb(better, j) * comb(worse, num_drawn - j) for j in range(k)]
    return 1.0 if rank == num_items else sum(ways) / comb(num_items - 1, num_drawn)


RIGHT = [
    (checks.worst_rank, rank_right),
    (checks.paired_half_width, width_right),
    (checks.sampled_hit, hit_right),
]


@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_the_right_answer_passes(check, answer, capsys):
    assert check(answer)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "wrong", "hint"),
    [
        (checks.worst_rank, rank_from_zero, "counted from 1"),
        (checks.worst_rank, rank_of_the_luckiest, "come before it here"),
        (checks.worst_rank, rank_by_the_lower_row, "come before it here"),
        (checks.worst_rank, rank_without_a_look, "look for it"),
        (checks.worst_rank, rank_of_zero_if_nan, "look for it"),
        (checks.worst_rank, rank_that_looks_at_the_others, "target's own score"),
        (checks.paired_half_width, width_of_the_population, "with a standard deviation"),
        (checks.paired_half_width, width_of_one_person, "four people halve it"),
        (checks.paired_half_width, width_whole, "1.96 times that is 0.49"),
        (checks.paired_half_width, width_unpaired, "1.96 times that is 0.49"),
        (checks.paired_half_width, width_of_the_larger, "spreads more than either"),
        (checks.paired_half_width, width_for_four, "square root of the number"),
        (checks.sampled_hit, hit_in_the_full_ranking, "3 chances in 4"),
        (checks.sampled_hit, hit_with_the_target_as_better, "nothing is better"),
        (checks.sampled_hit, hit_with_putting_back, "without putting them back"),
        (checks.sampled_hit, hit_if_none_is_better, "at most k − 1"),
        (checks.sampled_hit, hit_by_the_mean, "add up the chances"),
        (checks.sampled_hit, hit_without_a_guard, "all others are drawn"),
    ],
)
def test_a_typical_wrong_answer_gets_its_hint(check, wrong, hint, capsys):
    assert not check(wrong)
    assert hint in capsys.readouterr().out.split("Hint: ")[1]


@pytest.mark.parametrize("check", [check for check, _ in RIGHT])
def test_an_unsolved_stub_is_told_so(check, capsys):
    def stub(*arguments):
        raise NotImplementedError("your turn")

    assert not check(stub)
    assert "Not solved yet" in capsys.readouterr().out
