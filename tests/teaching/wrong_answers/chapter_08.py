"""Mistakes that readers make in chapter 08's exercises, and words of the hint that each gets."""

import torch


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


def sees_ahead(change):
    return change in ("a", "c", "e")


def sees_ahead_if_masked_late(change):
    return change in ("c", "e")


def sees_ahead_without_infinity(change):
    return change in ("a", "b", "c", "e")


def sees_ahead_by_no_mean(change):
    return change in ("a", "e")


def sees_ahead_by_every_mean(change):
    return change in ("a", "c", "d", "e")


def sees_ahead_by_rows(change):
    return change in ("a", "c")


def sees_ahead_if_exchanged(change):
    return change in ("a", "c", "e", "f")


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
    "sees_ahead": [sees_ahead],
    "nats_an_item": [nats_an_item],
    "gradient_at_logits": [gradient_at_logits],
}
WRONG = {
    "sees_ahead": [
        (sees_ahead_if_masked_late, "the mask comes too late"),
        (sees_ahead_without_infinity, "float32 loses it"),
        (sees_ahead_by_no_mean, "takes in every later token"),
        (sees_ahead_by_every_mean, "each token by itself"),
        (sees_ahead_by_rows, "down the columns"),
        (sees_ahead_if_exchanged, "changed their parts"),
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
