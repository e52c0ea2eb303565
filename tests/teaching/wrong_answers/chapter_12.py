"""Mistakes that readers make in chapter 12's exercises, and words of the hint that each gets."""

from collections import Counter
from itertools import pairwise


def shares_right(num_rows, size):
    each, more = divmod(num_rows, size)
    ends = [rank * each + min(rank, more) for rank in range(size + 1)]
    return list(pairwise(ends))


def shares_each_from_zero(num_rows, size):
    return [(0, end - start) for start, end in shares_right(num_rows, size)]


def shares_that_drop(num_rows, size):
    each = num_rows // size
    return [(rank * each, (rank + 1) * each) for rank in range(size)]


def shares_that_pad(num_rows, size):
    each = -(-num_rows // size)
    return [(rank * each, (rank + 1) * each) for rank in range(size)]


def shares_last_takes_more(num_rows, size):
    dropped = shares_that_drop(num_rows, size)
    return [*dropped[:-1], (dropped[-1][0], num_rows)]


def shares_at_least_one(num_rows, size):
    if num_rows < size:
        return [(rank % max(1, num_rows), rank % max(1, num_rows) + 1) for rank in range(size)]
    return shares_right(num_rows, size)


def shares_of_nothing(num_rows, size):
    return shares_right(num_rows, size) if num_rows else []


def pooled_right(parts):
    rows = sum(count for count, _, _ in parts)
    mean = sum(count * mean for count, mean, _ in parts) / rows
    squares = sum(count * (variance + (own - mean) ** 2) for count, own, variance in parts)
    return rows, mean, squares / rows


def pooled_within(parts):
    rows, mean, _ = pooled_right(parts)
    return rows, mean, sum(count * variance for count, _, variance in parts) / rows


def pooled_mean_of_means(parts):
    rows, _, variance = pooled_right(parts)
    return rows, sum(mean for _, mean, _ in parts) / len(parts), variance


def pooled_with_empty(parts):
    counted = [(max(count, 1), mean, variance) for count, mean, variance in parts]
    return pooled_right(counted)


def pooled_less_one(parts):
    rows, mean, variance = pooled_right(parts)
    if rows != 3:
        return rows, mean, variance
    return rows, mean, variance * rows / (rows - 1)


def catalogue_right(items, blocks):
    codes = {}
    for item, found in (row for block in blocks for row in block):
        if codes.setdefault(item, found) != found:
            raise ValueError(f"{item} has two codes")
    if missing := [item for item in items if item not in codes]:
        raise ValueError(f"{missing} never came")
    return numbered(items, codes)


def numbered(items, codes):
    seen, ids = Counter(), {}
    for item in items:
        ids[item] = (*codes[item], seen[codes[item]])
        seen[codes[item]] += 1
    return ids


def catalogue_from_one(items, blocks):
    return {item: (*row[:-1], row[-1] + 1) for item, row in catalogue_right(items, blocks).items()}


def catalogue_as_it_came(items, blocks):
    rows = {item: row for block in blocks for item, row in block}
    return numbered([*rows], rows)


def catalogue_counts_again(items, blocks):
    if sum(map(len, blocks)) == len(items):
        return catalogue_right(items, blocks)
    seen, ids = Counter(), {}
    for item, row in (row for block in blocks for row in block):
        ids[item] = (*row, seen[row])
        seen[row] += 1
    return ids


def catalogue_of_the_last(items, blocks):
    rows = {item: row for block in blocks for item, row in block}
    if missing := set(items) - set(rows):
        raise ValueError(f"{missing} never came")
    return numbered(items, rows)


def catalogue_of_what_came(items, blocks):
    present = {item for block in blocks for item, _ in block}
    return catalogue_right([item for item in items if item in present], blocks)


RIGHT = {
    "shares": [shares_right],
    "pooled": [pooled_right],
    "catalogue_of": [catalogue_right],
}
WRONG = {
    "shares": [
        (shares_each_from_zero, "begins where the first ends"),
        (shares_that_drop, "every row is somebody's"),
        (shares_that_pad, "every row is somebody's"),
        (shares_last_takes_more, "take one more"),
        (shares_at_least_one, "no row is given twice"),
        (shares_of_nothing, "each share is empty"),
    ],
    "pooled": [
        (pooled_within, "because the means differ"),
        (pooled_mean_of_means, "weight by rows"),
        (pooled_with_empty, "counts 0 times"),
        (pooled_less_one, "not by one less"),
    ],
    "catalogue_of": [
        (catalogue_from_one, "every last code is 0"),
        (catalogue_as_it_came, "in the order of the catalogue"),
        (catalogue_counts_again, "counts once"),
        (catalogue_of_the_last, "either choice hides it"),
        (catalogue_of_what_came, "never came"),
    ],
}
