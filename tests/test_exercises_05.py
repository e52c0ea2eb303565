"""Chapter 05's exercises turn down the usual wrong answers, each with its own hint."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rqvae_lib.exercises import chapter_05 as checks


def batch_loss(x, rebuilt, left, beta):
    return ((rebuilt - x).square().sum(1) + beta * left.square().sum((0, 2))).mean()


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


@pytest.mark.parametrize("solution", [batch_loss, collapsed_levels, stop_early])
def test_right_answers_pass(solution: Callable[..., Any]) -> None:
    assert getattr(checks, solution.__name__)(solution)


@pytest.mark.parametrize(
    ("exercise", "wrong", "hint"),
    [
        ("batch_loss", lambda x, r, q, b: (r - x).square().mean(), "over the features of a row"),
        ("batch_loss", lambda x, r, q, b: (r - x).square().sum(), "then average over the rows"),
        (
            "batch_loss",
            lambda x, r, q, b: (r - x).square().sum(1).mean() + b * q.square().sum(2).mean(),
            "over the levels and features",
        ),
        (
            "batch_loss",
            lambda x, r, q, b: (r - x).square().sum(1).mean() + q.square().sum((0, 2)).mean(),
            "β weighs",
        ),
        ("batch_loss", lambda x, r, q, b: batch_loss(x, r, q, 2 * b), "counts once"),
        ("batch_loss", lambda x, r, q, b: batch_loss(x, r, q, 1 + b), "no codebook loss"),
        ("collapsed_levels", used_levels, "count real use"),
        ("collapsed_levels", from_zero, "counted from 1"),
        ("collapsed_levels", zero_times_log_of_zero, "0 · log 0"),
        ("collapsed_levels", entropy_itself, "equal use has"),
        ("collapsed_levels", of_the_codes_seen, "K is the size"),
        ("stop_early", patience_never_renewed, "starts the patience anew"),
        ("stop_early", best_of_all, "before the 1.0"),
        ("stop_early", equal_is_better, "as good as the best"),
        ("stop_early", starts_from_the_first, "start from infinity"),
        ("stop_early", better_than_before, "is not better than the best"),
    ],
)
def test_wrong_answers_get_a_hint(
    exercise: str, wrong: Callable[..., Any], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not getattr(checks, exercise)(wrong)
    assert hint in capsys.readouterr().out
