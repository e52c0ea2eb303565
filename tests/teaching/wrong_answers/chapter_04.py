"""Mistakes that readers make in chapter 04's exercises, and words of the hint that each gets."""

import torch


def nearest_code(left, codebook):
    return (left[:, None] - codebook).square().sum(2).argmin(1)


def words_of(codes, codebooks):
    return torch.stack([book[column] for book, column in zip(codebooks, codes.T, strict=True)])


# Exercise 1


def polished_right(z, codes, codebooks, order=None, others=None, passes=1):
    codes = codes.clone()
    for _ in range(passes):
        for level in range(len(codebooks))[:: order or 1]:
            words = words_of(codes, codebooks)
            rest = others(words, level) if others else words.sum(0) - words[level]
            codes[:, level] = nearest_code(z - rest, codebooks[level])
    return codes


def polished_greedily(z, codes, codebooks):
    return polished_right(z, codes, codebooks, others=lambda words, level: words[:level].sum(0))


def polished_by_later_levels(z, codes, codebooks):
    return polished_right(
        z, codes, codebooks, others=lambda words, level: words[level + 1 :].sum(0)
    )


def polished_without_a_residual(z, codes, codebooks):
    return torch.stack([nearest_code(z, codebook) for codebook in codebooks], 1)


def polished_with_its_own(z, codes, codebooks):
    return polished_right(z, codes, codebooks, others=lambda words, level: words.sum(0))


def polished_all_at_once(z, codes, codebooks):
    words = words_of(codes, codebooks)
    rests = words.sum(0) - words
    chosen = [nearest_code(z - rest, book) for rest, book in zip(rests, codebooks, strict=True)]
    return torch.stack(chosen, 1)


def polished_from_the_last(z, codes, codebooks):
    return polished_right(z, codes, codebooks, order=-1)


def polished_by_dot_product(z, codes, codebooks):
    codes = codes.clone()
    for level, codebook in enumerate(codebooks):
        words = words_of(codes, codebooks)
        codes[:, level] = ((z - words.sum(0) + words[level]) @ codebook.T).argmax(1)
    return codes


def polished_transposed(z, codes, codebooks):
    return polished_right(z, codes, codebooks).T


def polished_not_at_all(z, codes, codebooks):
    return codes


def polished_by_the_first_row(z, codes, codebooks):
    return polished_right(
        z, codes, codebooks, others=lambda words, level: (words.sum(0) - words[level])[:1]
    )


def polished_twice(z, codes, codebooks):
    return polished_right(z, codes, codebooks, passes=2)


# Exercise 2

ARRIVE = {"a": (1, 1), "b": (1, 3), "c": (0, 3), "d": (1, 3), "e": (1, 0), "f": (1, 3)}


def arrives_right(change):
    return ARRIVE.get(change, (1, 3))


def arrives_from_every_level(change):
    return {**ARRIVE, "a": (1, 3)}.get(change, (1, 3))


def arrives_once_a_level(change):
    return {**ARRIVE, "b": (3, 3)}.get(change, (1, 3))


def arrives_since_the_value_is_right(change):
    return {**ARRIVE, "c": (1, 3)}.get(change, (1, 3))


def arrives_from_the_first_level_of_z(change):
    return {**ARRIVE, "d": (1, 1)}.get(change, (1, 3))


def arrives_from_an_estimate_as_in_a(change):
    return {**ARRIVE, "e": (1, 1)}.get(change, (1, 3))


def arrives_nothing_of_the_residual(change):
    return {**ARRIVE, "f": (0, 3)}.get(change, (1, 3))


RIGHT = {"polished": [polished_right], "arrives": [arrives_right]}
WRONG = {
    "polished": [
        (polished_by_dot_product, "by the squared distance"),
        (polished_transposed, "shape (B, L)"),
        (polished_not_at_all, "nearest codeword"),
        (polished_greedily, "what the second adds"),
        (polished_without_a_residual, "what the second adds"),
        (polished_with_its_own, "there are no others"),
        (polished_all_at_once, "the *new* codeword"),
        (polished_from_the_last, "the *new* codeword"),
        (polished_by_later_levels, "of all levels but one"),
        (polished_by_the_first_row, "each row subtracts its own"),
        (polished_twice, "once, from the codes that were given"),
    ],
    "arrives": [
        (arrives_from_every_level, "from the second level on the residual is a constant"),
        (arrives_once_a_level, "the last line detaches their sum"),
        (arrives_since_the_value_is_right, "no gradient at all"),
        (arrives_from_the_first_level_of_z, "z minus what was said so far is the residual"),
        (arrives_from_an_estimate_as_in_a, "residual minus estimate has no gradient"),
        (arrives_nothing_of_the_residual, "it passes on one copy"),
    ],
}
