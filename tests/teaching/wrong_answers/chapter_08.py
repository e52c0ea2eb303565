"""Mistakes that readers make in chapter 08's exercises, and words of the hint that each gets."""

from itertools import accumulate

import torch


def starts(sizes):
    return torch.tensor([0, *accumulate(sizes)][:-1])


def letters_of(ids, sizes):
    return (ids + starts(sizes)).flatten()


def nats_an_item(nats, items):
    return nats[items != -1].sum(-1).mean()


def gradient_at_logits(logits, codes, exists):
    p = logits.masked_fill(~exists, -torch.inf).softmax(1)
    p[torch.arange(len(p)), codes] -= 1
    return p / len(p)


def masked_sum(nats, items):
    real = items != -1
    return (nats.sum(-1) * real).sum() / real.sum()


def mean_of_histories(nats, items):
    rows = [row[own != -1].sum(-1).mean() for row, own in zip(nats, items, strict=True)]
    return torch.stack(rows).mean()


def over_all_codes(logits, codes, exists):
    return gradient_at_logits(logits, codes, torch.ones_like(exists))


def zeroed_after_the_softmax(logits, codes, exists):
    p = logits.softmax(1) * exists
    p[torch.arange(len(p)), codes] -= 1
    return p / len(p)


def letters_without_offsets(ids, sizes):
    return ids.flatten()


def letters_as_a_table(ids, sizes):
    return ids + starts(sizes)


def letters_level_by_level(ids, sizes):
    return (ids + starts(sizes)).T.flatten()


def letters_of_equal_levels(ids, sizes):
    return (ids + sizes[0] * torch.arange(len(sizes))).flatten()


def nats_a_code(nats, items):
    return nats.mean()


def nats_with_padding(nats, items):
    return nats.sum(-1).mean()


def nats_without_movie_0(nats, items):
    return nats[items > 0].sum(-1).mean()


def gradient_turned_round(logits, codes, exists):
    return -gradient_at_logits(logits, codes, exists)


def gradient_of_the_sum(logits, codes, exists):
    return len(logits) * gradient_at_logits(logits, codes, exists)


RIGHT = {
    "letters_of": [letters_of],
    "nats_an_item": [nats_an_item],
    "gradient_at_logits": [gradient_at_logits],
}
WRONG = {
    "letters_of": [
        (letters_without_offsets, "start at 0"),
        (letters_as_a_table, "not a table"),
        (letters_level_by_level, "movie by movie"),
        (letters_of_equal_levels, "may differ in size"),
    ],
    "nats_an_item": [
        (nats_a_code, "sum over the levels"),
        (nats_with_padding, "padding is no movie"),
        (mean_of_histories, "not over histories"),
        (nats_without_movie_0, "first movie"),
        (masked_sum, "NaN times 0"),
    ],
    "gradient_at_logits": [
        (gradient_turned_round, "probability minus 1"),
        (over_all_codes, "have no share"),
        (zeroed_after_the_softmax, "have no share"),
        (gradient_of_the_sum, "divided by M"),
    ],
}
