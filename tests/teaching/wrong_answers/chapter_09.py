"""Mistakes that readers make in chapter 09's exercises, and words of the hint that each gets."""

import heapq

import torch
from torch.nn import functional as F


def codes_right(ids, prefix):
    begins = (ids[:, : len(prefix)] == torch.tensor(prefix, dtype=torch.int64)).all(1)
    return ids[begins, len(prefix)].unique()


def codes_repeated(ids, prefix):
    begins = (ids[:, : len(prefix)] == torch.tensor(prefix, dtype=torch.int64)).all(1)
    return ids[begins, len(prefix)]


def codes_of_the_prefix(ids, prefix):
    begins = (ids[:, : len(prefix)] == torch.tensor(prefix, dtype=torch.int64)).all(1)
    return ids[begins, len(prefix) - 1].unique()


def codes_by_the_last(ids, prefix):
    if not prefix:
        return ids[:, 0].unique()
    return ids[ids[:, len(prefix) - 1] == prefix[-1], len(prefix)].unique()


def codes_without_the_root(ids, prefix):
    return codes_right(ids, prefix) if prefix else torch.empty(0, dtype=torch.int64)


def codes_as_a_set(ids, prefix):
    rows = [row for row in ids.tolist() if set(row[: len(prefix)]) == set(prefix)]
    return torch.tensor(sorted({row[len(prefix)] for row in rows}), dtype=torch.int64)


def codes_empty_as_float(ids, prefix):
    return torch.tensor(codes_right(ids, prefix).tolist())


def open_right(first_leaf, allowed):
    before = F.pad(allowed.cumsum(1), (1, 0))
    return before[:, first_leaf[1:]] > before[:, first_leaf[:-1]]


def open_without_a_zero(first_leaf, allowed):
    count = allowed.cumsum(1)
    return count[:, first_leaf[1:] - 1] > count[:, first_leaf[:-1]]


def open_as_counts(first_leaf, allowed):
    return F.pad(allowed.cumsum(1), (1, 0))[:, first_leaf].diff()


def open_for_the_first_person(first_leaf, allowed):
    return open_right(first_leaf, allowed)[0]


def open_along_the_people(first_leaf, allowed):
    before = F.pad(allowed.cumsum(0), (1, 0))
    return before[:, first_leaf[1:]] > before[:, first_leaf[:-1]]


def open_for_anybody(first_leaf, allowed):
    return open_right(first_leaf, allowed).any(0).expand(len(allowed), -1)


def open_if_all_are_allowed(first_leaf, allowed):
    count = F.pad(allowed.cumsum(1), (1, 0))[:, first_leaf].diff()
    return count == first_leaf.diff()


def open_by_the_first_movie(first_leaf, allowed):
    return allowed[:, first_leaf[:-1]]


def open_from_the_first(first_leaf, allowed):
    return allowed.cumsum(1)[:, first_leaf[1:] - 1] > 0


def open_with_the_next(first_leaf, allowed):
    """Takes the movie at which the next node starts as well."""
    starts, ends = first_leaf[:-1].tolist(), first_leaf[1:].tolist()
    found = [allowed[:, a : b + 1].any(1) for a, b in zip(starts, ends, strict=True)]
    return torch.stack(found, 1)


def open_where_nothing_is_allowed(first_leaf, allowed):
    """Takes an empty filter for none."""
    return open_right(first_leaf, allowed | ~allowed.any(1, keepdim=True))


def best_right(tree, k):
    waiting = [(0.0, (), tree)]
    best = []
    while waiting and len(best) < k:
        cost, written, branch = heapq.heappop(waiting)
        if branch is None:
            best.append((written, -cost))
            continue
        for code, (log_p, below) in branch.items():
            heapq.heappush(waiting, (cost - log_p, (*written, code), below))
    return best


def everything(tree, written=(), score=0.0):
    if tree is None:
        return [(written, score)]
    return [
        item
        for code, (log_p, below) in tree.items()
        for item in everything(below, (*written, code), score + log_p)
    ]


def best_of_all(tree, k):
    return sorted(everything(tree), key=lambda item: -item[1])[:k]


def beam(tree, k, width):
    kept = [((), 0.0, tree)]
    while kept[0][2] is not None:
        longer = [
            ((*written, code), score + log_p, below)
            for written, score, branch in kept
            for code, (log_p, below) in branch.items()
        ]
        kept = sorted(longer, key=lambda entry: -entry[1])[:width]
    return [(written, score) for written, score, _ in kept[:k]]


def best_by_greedy(tree, k):
    return beam(tree, k, 1)


def best_by_two_beams(tree, k):
    return beam(tree, k, 2)


def best_by_many_beams(tree, k):
    return beam(tree, k, 100)


def best_padded(tree, k):
    best = best_right(tree, k)
    return best + [((), float("-inf"))] * (k - len(best))


def best_compared_with_the_first(tree, k):
    """Stops when no open prefix beats the best item, instead of the k-th best."""
    waiting, best = [(0.0, (), tree)], []
    while waiting and (len(best) < k or -waiting[0][0] > best[0][1]):
        cost, written, branch = heapq.heappop(waiting)
        for code, (log_p, below) in branch.items():
            longer = (cost - log_p, (*written, code), below)
            if below is None:
                best.append((longer[1], -longer[0]))
            else:
                heapq.heappush(waiting, longer)
        best.sort(key=lambda item: -item[1])
    return best[:k]


def best_of_two_codes(tree, k):
    """Takes every ID for two codes long."""
    waiting, best = [(0.0, (), tree)], []
    while waiting and len(best) < k:
        cost, written, branch = heapq.heappop(waiting)
        if len(written) == 2:
            best.append((written, -cost))
            continue
        for code, (log_p, below) in branch.items():
            heapq.heappush(waiting, (cost - log_p, (*written, code), below))
    return best


RIGHT = {
    "codes_after": [codes_right],
    "open_nodes": [open_right],
    "best_items": [best_right],
}
WRONG = {
    "codes_after": [
        (codes_repeated, "each once"),
        (codes_of_the_prefix, "stands behind it"),
        (codes_without_the_root, "nothing is written yet"),
        (codes_by_the_last, "not only the last one"),
        (codes_as_a_set, "2-1 is not 1-2"),
        (codes_empty_as_float, "an empty int64 tensor"),
    ],
    "open_nodes": [
        (open_without_a_zero, "0 before the first movie"),
        (open_as_counts, "not as a count"),
        (open_for_the_first_person, "every node is open"),
        (open_along_the_people, "every node is open"),
        (open_for_anybody, "another person's"),
        (open_if_all_are_allowed, "if any movie"),
        (open_by_the_first_movie, "if any movie"),
        (open_from_the_first, "another node's"),
        (open_with_the_next, "the next node's start"),
        (open_where_nothing_is_allowed, "has no open node"),
    ],
    "best_items": [
        (best_by_greedy, "the likeliest item"),
        (best_by_two_beams, "no fixed number of prefixes"),
        (best_padded, "return all of them"),
        (best_of_all, "cannot hold an item that beats"),
        (best_by_many_beams, "cannot hold an item that beats"),
        (best_compared_with_the_first, "is still open"),
        (best_of_two_codes, "may have three codes"),
    ],
}
