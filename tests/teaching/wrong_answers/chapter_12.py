"""Mistakes that readers make in chapter 12's exercises, and words of the hint that each gets."""

from collections import Counter


def depends_right(change):
    return {"a": True, "c": True, "f": True}.get(change, False)


def depends_not_on_means(change):
    return change in ("c", "f")


def depends_on_any_cut(change):
    return change in ("a", "b", "c", "f")


def depends_on_no_cut(change):
    return change in ("a", "f")


def depends_on_decay(change):
    return change in ("a", "c", "d", "f")


def depends_on_sums(change):
    return change in ("a", "c", "e", "f")


def depends_not_with_one_seed(change):
    return change in ("a", "c")


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
    "depends": [depends_right],
    "pooled": [pooled_right],
    "catalogue_of": [catalogue_right],
}
WRONG = {
    "depends": [
        (depends_not_on_means, "a plain mean gives a row of a short share more weight"),
        (depends_on_any_cut, "the whole gradient is cut, after it was added up"),
        (depends_on_no_cut, "cut before it is added"),
        (depends_on_decay, "the weights of the shares add up to 1"),
        (depends_on_sums, "divided once"),
        (depends_not_with_one_seed, "the row's place in its share"),
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
