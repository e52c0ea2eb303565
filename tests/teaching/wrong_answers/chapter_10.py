"""Mistakes that readers make in chapter 10's exercises, and words of the hint that each gets."""

import torch


def says(letters):
    def answer(change):
        return change in letters

    answer.__name__ = f"says_{letters}"
    return answer


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
    "leaves_log_p": [says("bcd")],
    "catalogue_log_p": [p_right],
}
WRONG = {
    "leaves_log_p": [
        (says("abcd"), "differences are doubled"),
        (says("cd"), "have the same parent"),
        (says("bd"), "one number"),
        (says("bc"), "the same codes before"),
        (says("bcde"), "differ in just this code"),
        (says("bcdf"), "a softmax sees it"),
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
