"""Chapter 02's exercises: the typical wrong answers are turned down, each with its own hint."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from rqvae_lib.exercises import chapter_02 as checks


def nearest(vectors, item, k):
    units = normalize(vectors)
    cosines = units @ units[item]
    cosines[item] = -math.inf
    return cosines.topk(k).indices


def nearest_with_itself(vectors, item, k):
    units = normalize(vectors)
    return (units @ units[item]).topk(k).indices


def nearest_by_dot_product(vectors, item, k):
    products = vectors @ vectors[item]
    products[item] = -math.inf
    return products.topk(k).indices


def nearest_without_the_first(vectors, item, k):
    units = normalize(vectors)
    return (units @ units[item]).sort(descending=True, stable=True).indices[1 : k + 1]


def nearest_or_opposite(vectors, item, k):
    units = normalize(vectors)
    cosines = (units @ units[item]).abs()
    cosines[item] = -math.inf
    return cosines.topk(k).indices


def nearest_with_zero_for_itself(vectors, item, k):
    units = normalize(vectors)
    cosines = units @ units[item]
    cosines[item] = 0
    return cosines.topk(k).indices


def nearest_that_divides_by_zero(vectors, item, k):
    units = vectors / vectors.norm(dim=1, keepdim=True)
    cosines = units @ units[item]
    cosines[item] = -math.inf
    return cosines.topk(k).indices


def pmi(counts, kept=lambda ratio: ratio > 1, log=torch.log):
    of_item = counts.sum(1)
    ratio = counts * counts.sum() / (of_item[:, None] * of_item)
    return torch.where(kept(ratio), log(ratio), 0.0)


def pmi_with_negatives(counts):
    return pmi(counts, kept=lambda ratio: ratio > 0)


def pmi_in_bits(counts):
    return pmi(counts, log=torch.log2)


def pmi_of_half_the_total(counts):
    of_item = counts.sum(1)
    ratio = counts * counts.triu().sum() / (of_item[:, None] * of_item)
    return torch.where(ratio > 1, ratio.log(), 0.0)


def pmi_of_rows_only(counts):
    total = counts.sum()
    ratio = counts * 2 / counts.sum(1, keepdim=True).clamp(min=1)
    return torch.where((ratio > 1) & (total > 0), ratio.log(), 0.0)


def pmi_that_clamps_a_nan(counts):
    of_item = counts.sum(1)
    return (counts * counts.sum() / (of_item[:, None] * of_item)).log().clamp(min=0)


def halves(text, taste, share):
    return torch.cat([share**0.5 * normalize(text), (1 - share) ** 0.5 * normalize(taste)], 1)


def halves_of_length_one(text, taste, share):
    return torch.cat([normalize(text), normalize(taste)], 1)


def halves_joined_first(text, taste, share):
    return normalize(torch.cat([share**0.5 * text, (1 - share) ** 0.5 * taste], 1))


def halves_of_the_matrix(text, taste, share):
    text, taste = text / text.norm(), taste / taste.norm()
    return torch.cat([share**0.5 * text, (1 - share) ** 0.5 * taste], 1)


def halves_brought_to_one_again(text, taste, share):
    return normalize(halves(text, taste, share))


def halves_without_a_root(text, taste, share):
    joined = torch.cat([share * normalize(text), (1 - share) * normalize(taste)], 1)
    return joined / (share**2 + (1 - share) ** 2) ** 0.5


EXERCISES: list[tuple[Callable[..., bool], Callable[..., Any], list[Callable[..., Any]]]] = [
    (
        checks.nearest_by_cosine,
        nearest,
        [
            nearest_with_itself,
            nearest_by_dot_product,
            nearest_without_the_first,
            nearest_that_divides_by_zero,
            nearest_or_opposite,
            nearest_with_zero_for_itself,
        ],
    ),
    (
        checks.positive_pmi,
        pmi,
        [pmi_in_bits, pmi_of_rows_only, pmi_with_negatives, pmi_that_clamps_a_nan],
    ),
    (
        checks.weighted_halves,
        halves,
        [
            halves_of_length_one,
            halves_joined_first,
            halves_of_the_matrix,
            halves_brought_to_one_again,
            halves_without_a_root,
        ],
    ),
]


@pytest.mark.parametrize(("check", "right", "wrong"), EXERCISES)
def test_the_right_answer_passes(check, right, wrong, capsys):
    assert check(right)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(("check", "right", "wrong"), EXERCISES)
def test_each_wrong_answer_gets_its_own_hint(check, right, wrong, capsys):
    hints = set()
    for answer in wrong:
        assert not check(answer)
        hints.add(capsys.readouterr().out.split("Hint: ")[1])
    assert len(hints) == len(wrong)


@pytest.mark.parametrize(
    "total_or_log",
    [
        lambda counts: pmi(counts, log=torch.log2),
        lambda counts: pmi_of_half_the_total(counts),
        lambda counts: pmi(counts, kept=lambda ratio: ratio < math.inf),
    ],
)
def test_the_first_hint_of_exercise_2_tells_three_mistakes_apart(total_or_log, capsys):
    assert not checks.positive_pmi(total_or_log)
    out = capsys.readouterr().out
    assert "sum of the matrix" in out
    assert "base 2" in out
    assert "-inf" in out


@pytest.mark.parametrize(("check", "right", "wrong"), EXERCISES)
def test_an_unsolved_stub_does_not_pass(check, right, wrong, capsys):
    def stub(*arguments):
        raise NotImplementedError("your turn")

    assert not check(stub)
    assert "Not solved yet" in capsys.readouterr().out
