"""A check accepts right answers, turns wrong ones down with different hints, and never raises."""

import numpy as np
import pytest
import torch

from rqvae_lib.checks import Case, passes, same
from rqvae_lib.exercises import chapter_00 as checks


def right(first, second):
    length = 0
    while length < len(first) and first[length] == second[length]:
        length += 1
    return length


def counts_all_equal_codes(first, second):
    return sum(one == other for one, other in zip(first, second, strict=True))


def stops_too_early(first, second):
    return max(0, right(first, second) - 1)


def never_full(first, second):
    return min(3, right(first, second))


def test_the_right_answer_passes(capsys):
    assert checks.shared_prefix_length(right)
    assert "Right" in capsys.readouterr().out


def test_wrong_answers_get_different_sentences(capsys):
    sentences = set()
    for wrong in (counts_all_equal_codes, stops_too_early, never_full):
        assert not checks.shared_prefix_length(wrong)
        sentences.add(capsys.readouterr().out.split("Hint: ")[1])
    assert len(sentences) == 3


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda first, second: 1 / 0, "ZeroDivisionError"),
        (lambda first, second: None, "gave None"),
        (lambda: 0, "TypeError"),
        (None, "TypeError"),
    ],
)
def test_a_broken_answer_is_described_and_not_raised(broken, says, capsys):
    assert not checks.shared_prefix_length(broken)
    assert says in capsys.readouterr().out


def test_an_unsolved_stub_is_told_so(capsys):
    def stub(first, second):
        raise NotImplementedError("your turn")

    assert not checks.shared_prefix_length(stub)
    assert "Not solved yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("found", "expected", "right"),
    [
        (2, 2, True),
        (np.int64(2), 2, True),
        (torch.tensor(2), 2, True),
        (2.0, 2, False),
        (True, 1, False),
        (torch.tensor([2]), 2, False),
        (0.1 + 0.2, 0.3, True),
        (torch.tensor(0.3), 0.3, True),
        (1, 1.0, True),
        (0.31, 0.3, False),
        (None, 0.3, False),
        (True, True, True),
        (1, True, False),
        ("a", "a", True),
        ((1, 0.3), (1, 0.3), True),
        ([1, 0.3], (1, 0.3), True),
        ((1,), (1, 0.3), False),
        (torch.tensor([0.3000001, 1]), torch.tensor([0.3, 1]), True),
        (torch.tensor([0.3, 1]).double(), torch.tensor([0.3, 1]), True),
        (torch.tensor([[0.3, 1]]), torch.tensor([0.3, 1]), False),
        (torch.tensor([0.3, float("nan")]), torch.tensor([0.3, 1]), False),
        (torch.tensor([3, 1]), torch.tensor([3, 1]), True),
        (torch.tensor([3, 2]), torch.tensor([3, 1]), False),
        (torch.tensor([3.0, 1.0]), torch.tensor([3, 1]), False),
        ([3, 1], torch.tensor([3, 1]), False),
    ],
)
def test_an_answer_may_differ_by_rounding_only(found, expected, right):
    assert same(found, expected) is right


def test_a_case_survives_what_the_answer_does_to_it(capsys):
    vector = torch.tensor([1.0, 2.0])
    cases = [Case((vector,), torch.tensor([2.0, 4.0]), "double it")]
    assert passes(lambda x: x.mul_(2), cases)
    assert vector.tolist() == [1.0, 2.0]


def test_tensors_are_shown_as_one_would_type_them(capsys):
    cases = [Case((torch.tensor([0.123456, 2]),), torch.zeros(4, 5), "think")]
    assert not passes(lambda x: x, cases)
    assert capsys.readouterr().out == (
        "✗ <lambda>(tensor([0.1235, 2.0])) gave tensor([0.1235, 2.0]), expected a tensor of shape "
        "(4, 5) and type float32. Hint: think.\n"
    )
