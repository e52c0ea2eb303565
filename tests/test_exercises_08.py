"""Chapter 08's exercises turn down the usual wrong answers, each with its own hint."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
import torch

from rqvae_lib.exercises import chapter_08 as checks


def starts(sizes):
    return torch.tensor([0, *accumulate(sizes)][:-1])


def letters_of(ids, sizes):
    return (ids + starts(sizes)).flatten()


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


@pytest.mark.parametrize("solution", [letters_of, nats_an_item, gradient_at_logits])
def test_right_answers_pass(solution: Callable[..., Any]) -> None:
    assert getattr(checks, solution.__name__)(solution)


def test_the_gradient_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 6, generator=generator, requires_grad=True)
    exists = torch.rand(5, 6, generator=generator) < 0.5
    codes = torch.randint(6, (5,), generator=generator)
    exists[torch.arange(5), codes] = True
    kept = logits.masked_fill(~exists, -torch.inf)
    torch.nn.functional.cross_entropy(kept, codes).backward()
    torch.testing.assert_close(gradient_at_logits(logits.detach(), codes, exists), logits.grad)


@pytest.mark.parametrize(
    ("exercise", "wrong", "hint"),
    [
        ("letters_of", lambda ids, sizes: ids.flatten(), "start at 0"),
        ("letters_of", lambda ids, sizes: ids + starts(sizes), "not a table"),
        ("letters_of", lambda ids, sizes: (ids + starts(sizes)).T.flatten(), "movie by movie"),
        (
            "letters_of",
            lambda ids, sizes: (ids + sizes[0] * torch.arange(len(sizes))).flatten(),
            "may differ in size",
        ),
        ("nats_an_item", lambda nats, items: nats.mean(), "sum over the levels"),
        ("nats_an_item", lambda nats, items: nats.sum(-1).mean(), "padding is no movie"),
        ("nats_an_item", mean_of_histories, "not over histories"),
        ("nats_an_item", lambda nats, items: nats[items > 0].sum(-1).mean(), "first movie"),
        ("nats_an_item", masked_sum, "NaN times 0"),
        (
            "gradient_at_logits",
            lambda x, codes, exists: -gradient_at_logits(x, codes, exists),
            "probability minus 1",
        ),
        ("gradient_at_logits", over_all_codes, "have no share"),
        ("gradient_at_logits", zeroed_after_the_softmax, "have no share"),
        (
            "gradient_at_logits",
            lambda x, codes, exists: len(x) * gradient_at_logits(x, codes, exists),
            "divided by M",
        ),
    ],
)
def test_wrong_answers_get_a_hint(
    exercise: str, wrong: Callable[..., Any], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not getattr(checks, exercise)(wrong)
    assert hint in capsys.readouterr().out
