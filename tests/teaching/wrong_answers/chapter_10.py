"""Mistakes that readers make in chapter 10's exercises, and words of the hint that each gets."""

import torch


def tokens_right(history_ids, tables):
    return sum(table[codes] for table, codes in zip(tables, history_ids.T, strict=True))


def tokens_as_a_mean(history_ids, tables):
    return tokens_right(history_ids, tables) / len(tables)


def tokens_side_by_side(history_ids, tables):
    rows = [table[codes] for table, codes in zip(tables, history_ids.T, strict=True)]
    return torch.cat(rows, 1)


def tokens_of_one_table(history_ids, tables):
    return sum(tables[0][codes] for codes in history_ids.T)


def tokens_of_two_levels(history_ids, tables):
    return tables[0][history_ids[:, 0]] + tables[1][history_ids[:, 1]]


def tokens_squeezed(history_ids, tables):
    return tokens_right(history_ids, tables).squeeze(0)


def rivals_right(ids, level):
    prefixes = ids[:, : level + 1].unique(dim=0)
    return torch.stack([(prefixes[:, :level] == row[:level]).all(1).sum() for row in ids])


def rivals_as_items(ids, level):
    return torch.stack([(ids[:, :level] == row[:level]).all(1).sum() for row in ids])


def rivals_without_oneself(ids, level):
    return rivals_right(ids, level) - 1


def rivals_of_the_level(ids, level):
    return torch.full((len(ids),), len(ids[:, level].unique()))


def rivals_of_the_last_code(ids, level):
    if level == 0:
        return rivals_right(ids, 0)
    pairs = ids[:, level - 1 : level + 1].unique(dim=0)
    return torch.stack([(pairs[:, 0] == row[level - 1]).sum() for row in ids])


def p_right(ids, scores):
    total = torch.zeros(len(ids))
    for level in range(ids.shape[1]):
        for item in range(len(ids)):
            beside = (ids[:, :level] == ids[item, :level]).all(1)
            first = {}
            for other in beside.nonzero()[:, 0].tolist():
                first.setdefault(int(ids[other, level]), scores[other, level])
            among = torch.stack(list(first.values())).logsumexp(0)
            total[item] += scores[item, level] - among
    return total


def p_once_an_item(ids, scores):
    total = torch.zeros(len(ids))
    for level in range(ids.shape[1]):
        for item in range(len(ids)):
            beside = (ids[:, :level] == ids[item, :level]).all(1)
            total[item] += scores[item, level] - scores[beside, level].logsumexp(0)
    return total


def p_of_whole_ids(ids, scores):
    return scores.sum(1).log_softmax(0)


def p_not_normalised(ids, scores):
    return scores.sum(1)


def p_as_probabilities(ids, scores):
    return p_right(ids, scores).exp()


def p_after_the_last_code(ids, scores):
    total = torch.zeros(len(ids))
    for level in range(ids.shape[1]):
        for item in range(len(ids)):
            start = max(level - 1, 0)
            beside = (ids[:, start:level] == ids[item, start:level]).all(1)
            first = {}
            for other in beside.nonzero()[:, 0].tolist():
                first.setdefault(int(ids[other, level]), scores[other, level])
            total[item] += scores[item, level] - torch.stack(list(first.values())).logsumexp(0)
    return total


def p_by_exponentials(ids, scores):
    total = torch.zeros(len(ids))
    for level in range(ids.shape[1]):
        for item in range(len(ids)):
            beside = (ids[:, :level] == ids[item, :level]).all(1)
            codes = {int(ids[o, level]): scores[o, level].exp() for o in beside.nonzero()[:, 0]}
            total[item] += (scores[item, level].exp() / sum(codes.values())).log()
    return total


RIGHT = {
    "movie_tokens": [tokens_right],
    "rivals_of": [rivals_right],
    "catalogue_log_p": [p_right],
}
WRONG = {
    "movie_tokens": [
        (tokens_as_a_mean, "without dividing"),
        (tokens_side_by_side, "add the vectors"),
        (tokens_of_one_table, "its own level's table"),
        (tokens_of_two_levels, "may have three codes"),
        (tokens_squeezed, "still a row"),
    ],
    "rivals_of": [
        (rivals_as_items, "and not items"),
        (rivals_without_oneself, "the item's own among them"),
        (rivals_of_the_level, "the same codes before compete"),
        (rivals_of_the_last_code, "not the same second code"),
    ],
    "catalogue_log_p": [
        (p_not_normalised, "log-softmax"),
        (p_as_probabilities, "log-softmax"),
        (p_once_an_item, "competes once"),
        (p_of_whole_ids, "competes once"),
        (p_after_the_last_code, "an only child"),
        (p_by_exponentials, "overflows"),
    ],
}
