"""Chapter 07's exercises turn down the usual wrong answers, each with its own hint."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rqvae_lib.exercises import chapter_07 as checks


def agreement(neighbours, labels):
    return (labels[neighbours] == labels[:, None]).float().mean()


def union(weights):
    return 1 - (1 - weights) * (1 - weights.T)


def search(distances, perplexity, low, high, *, shift=True, power=2, log=torch.log, middle=None):
    """The bisection of exercise 3, right unless an argument says otherwise; bounds are on σ."""
    d = distances**power
    d = d - d.min(1, keepdim=True).values if shift else d
    low, high = (torch.full((len(d), 1), end, dtype=d.dtype) for end in (low, high))
    for _ in range(120):
        sigma = (low * high).sqrt() if middle is None else (low + high) / 2
        p = torch.exp(-d / (2 * sigma**2))
        p = p / p.sum(1, keepdim=True)
        entropy = -(p * log(p.clamp(min=1e-300))).sum(1, keepdim=True)
        wide = entropy > math.log(perplexity)
        high, low = torch.where(wide, sigma, high), torch.where(wide, low, sigma)
    return p


def tsne_probabilities(distances, perplexity):
    return search(distances, perplexity, 1e-6, 1e6)


@pytest.mark.parametrize("solution", [agreement, union, tsne_probabilities])
def test_right_answers_pass(solution: Callable[..., Any]) -> None:
    assert getattr(checks, solution.__name__)(solution)


@pytest.mark.parametrize(
    ("exercise", "wrong", "hint"),
    [
        (
            "agreement",
            lambda n, labels: (labels[:, None] == labels).float().mean(),
            "no two items have the same label here",
        ),
        (
            "agreement",
            lambda n, labels: (n == labels[:, None]).float().mean(),
            "one label agrees always",
        ),
        (
            "agreement",
            lambda n, labels: (labels[n] == labels[:, None]).float().sum() / len(labels),
            "one label agrees always",
        ),
        (
            "agreement",
            lambda n, labels: ((labels[n] == labels[:, None]).float().mean(1) > 0.5).float().mean(),
            "count pairs of an item",
        ),
        (
            "agreement",
            lambda n, labels: (
                ((labels[n] == labels[:, None]).float().mean(1) >= 0.5).float().mean() / 2
                if len(labels.unique()) == 2 and n.shape[1] == 2
                else ((labels[n] == labels[:, None]).float().mean(1) > 0.5).float().mean()
            ),
            "every pair counts alike",
        ),
        ("union", lambda w: w, "both ways"),
        ("union", lambda w: (w + w.T) / 2, "its weight holds in full"),
        ("union", lambda w: w * w.T, "its weight holds in full"),
        ("union", lambda w: w.maximum(w.T), "make 1 − 0.5 · 0.5"),
        ("union", lambda w: (w + w.T).clamp(max=1), "make 1 − 0.5 · 0.5"),
        (
            "tsne_probabilities",
            lambda d, p: search(d, p, 1e-6, 1e6, power=1),
            "proportional to exp(−d² / 2σ²)",
        ),
        (
            "tsne_probabilities",
            lambda d, p: search(d, p, 1e-6, 1e6, log=torch.log2),
            "with the natural logarithm",
        ),
        (
            "tsne_probabilities",
            lambda d, p: search(d, p, 0.05, 100.0),
            "each row has its own σ",
        ),
        (
            "tsne_probabilities",
            lambda d, p: search(d, p, 1e-6, 1e6, shift=False),
            "subtracted first",
        ),
    ],
)
def test_wrong_answers_get_a_hint(
    exercise: str, wrong: Callable[..., Any], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not getattr(checks, exercise)(wrong)
    assert hint in capsys.readouterr().out
