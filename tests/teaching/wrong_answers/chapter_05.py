"""Mistakes that readers make in chapter 05's exercises, and words of the hint that each gets."""

import math

import torch


def batch_loss(x, rebuilt, left, beta):
    return ((rebuilt - x).square().sum(1) + beta * left.square().sum((0, 2))).mean()


def loss_averaged(x, rebuilt, left, beta):
    return (rebuilt - x).square().mean()


def loss_summed(x, rebuilt, left, beta):
    return (rebuilt - x).square().sum()


def loss_averaged_over_levels(x, rebuilt, left, beta):
    return (rebuilt - x).square().sum(1).mean() + beta * left.square().sum(2).mean()


def loss_without_beta(x, rebuilt, left, beta):
    return batch_loss(x, rebuilt, left, 1.0)


def loss_counted_twice(x, rebuilt, left, beta):
    return batch_loss(x, rebuilt, left, 2 * beta)


def loss_for_codewords_too(x, rebuilt, left, beta):
    return batch_loss(x, rebuilt, left, 1 + beta)


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


def loss_averaged_over_the_levels(x, rebuilt, left, beta):
    return (x - rebuilt).square().sum(1).mean() + beta * left.square().sum((1, 2)).mean()


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


RIGHT = {
    "batch_loss": [batch_loss],
    "collapsed_levels": [collapsed_levels],
    "stop_early": [stop_early],
}
WRONG = {
    "batch_loss": [
        (loss_averaged, "over the features of a row"),
        (loss_summed, "then average over the rows"),
        (loss_averaged_over_levels, "over the levels and features"),
        (loss_averaged_over_the_levels, "not over the levels or features"),
        (loss_without_beta, "β weighs"),
        (loss_counted_twice, "counts once"),
        (loss_for_codewords_too, "no codebook loss"),
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
