"""Mistakes that readers make in chapter 05's exercises, and words of the hint that each gets."""

import math

import torch


def collapsed_levels(codes, size, share):
    levels = []
    for level, column in enumerate(codes.T, 1):
        p = torch.bincount(column, minlength=size) / len(column)
        if torch.special.entr(p).sum().exp() < share * size:
            levels.append(level)
    return levels


def stop_early(values, patience):
    best, kept = math.inf, 0
    for number, value in enumerate(values, 1):
        if value < best:
            best, kept = value, number
        if number - kept >= patience:
            return kept, number
    return kept, len(values)


def used_levels(codes, size, share):
    return [i for i, c in enumerate(codes.T, 1) if len(c.unique()) < share * size]


def from_zero(codes, size, share):
    return [level - 1 for level in collapsed_levels(codes, size, share)]


def of_the_codes_seen(codes, size, share):
    return [
        level
        for level, column in enumerate(codes.T, 1)
        if level in collapsed_levels(codes, len(column.unique()), share)
    ]


def zero_times_log_of_zero(codes, size, share):
    levels = []
    for level, column in enumerate(codes.T, 1):
        p = torch.bincount(column) / len(column)
        if (-p * p.log()).sum().exp() < share * size:
            levels.append(level)
    return levels


def entropy_itself(codes, size, share):
    levels = []
    for level, column in enumerate(codes.T, 1):
        p = torch.bincount(column, minlength=size) / len(column)
        if torch.special.entr(p).sum() < share * size:
            levels.append(level)
    return levels


def bits_and_exp(codes, size, share):
    levels = []
    for level, column in enumerate(codes.T, 1):
        p = torch.bincount(column, minlength=size) / len(column)
        bits = torch.special.entr(p).sum() / math.log(2)
        if bits.exp() < share * size:
            levels.append(level)
    return levels


def patience_never_renewed(values, patience):
    worse, best, kept = 0, math.inf, 0
    for number, value in enumerate(values, 1):
        if value < best:
            best, kept = value, number
        else:
            worse += 1
        if worse >= patience:
            return kept, number
    return kept, len(values)


def best_of_all(values, patience):
    kept = min(range(len(values)), key=lambda i: values[i]) + 1
    return kept, len(values)


def equal_is_better(values, patience):
    best, kept = math.inf, 0
    for number, value in enumerate(values, 1):
        if value <= best:
            best, kept = value, number
        if number - kept >= patience:
            return kept, number
    return kept, len(values)


def not_worse_is_better(values, patience):
    best, kept = math.inf, 0
    for number, value in enumerate(values, 1):
        if not value >= best:
            best, kept = value, number
        if number - kept >= patience:
            return kept, number
    return kept, len(values)


def starts_from_the_first(values, patience):
    best, kept = values[0], 1
    for number, value in enumerate(values, 1):
        if value < best:
            best, kept = value, number
        if number - kept >= patience:
            return kept, number
    return kept, len(values)


def better_than_before(values, patience):
    before, kept = math.inf, 0
    for number, value in enumerate(values, 1):
        if value < before:
            kept = number
        before = value
        if number - kept >= patience:
            return kept, number
    return kept, len(values)


def nan_is_no_measurement(values, patience):
    best, place, since = math.inf, 0, 0
    for number, value in enumerate(values, 1):
        if math.isnan(value):
            continue
        if value < best:
            best, place, since = value, number, 0
        else:
            since += 1
        if since == patience:
            return place, number
    return place, len(values)


FACTORS = {"a": 384, "b": 1 / 96, "c": 1, "d": 4, "e": 1 / 256, "f": 1 / 3}


def weighs_right(change):
    return FACTORS.get(change, 1)


def weighs_the_same_for_adamw(change):
    return {**FACTORS, "a": 1}.get(change, 1)


def weighs_the_other_way(change):
    return {**FACTORS, "a": 1 / 384}.get(change, 1)


def weighs_by_features_alone(change):
    return {**FACTORS, "b": 1 / 32}.get(change, 1)


def weighs_by_the_whole_loss(change):
    return {**FACTORS, "c": 1 / 256}.get(change, 1)


def weighs_as_with_three(change):
    return {**FACTORS, "d": 12}.get(change, 1)


def weighs_whatever_the_rows(change):
    return {**FACTORS, "e": 1}.get(change, 1)


def weighs_whatever_the_levels(change):
    return {**FACTORS, "f": 1}.get(change, 1)


RIGHT = {
    "commitment_weighs": [weighs_right],
    "collapsed_levels": [collapsed_levels],
    "stop_early": [stop_early],
}
WRONG = {
    "commitment_weighs": [
        (weighs_the_same_for_adamw, "the commitment is not"),
        (weighs_the_other_way, "divided by its 384 features"),
        (weighs_by_features_alone, "over the three levels as well"),
        (weighs_by_the_whole_loss, "both terms are divided"),
        (weighs_as_with_three, "3 × 32"),
        (weighs_whatever_the_rows, "depends on the batch"),
        (weighs_whatever_the_levels, "three levels weigh as much as one"),
    ],
    "collapsed_levels": [
        (used_levels, "count real use"),
        (from_zero, "counted from 1"),
        (bits_and_exp, "natural logarithm"),
        (zero_times_log_of_zero, "0 · log 0"),
        (entropy_itself, "the exponential of the entropy"),
        (of_the_codes_seen, "K is the size"),
    ],
    "stop_early": [
        (patience_never_renewed, "resets the patience"),
        (best_of_all, "before the 1.0"),
        (equal_is_better, "as good as the best"),
        (not_worse_is_better, "is no best"),
        (starts_from_the_first, "start from infinity"),
        (nan_is_no_measurement, "a measurement that is nan counts"),
        (better_than_before, "is not better than the best"),
    ],
}
