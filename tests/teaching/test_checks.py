"""A check accepts right answers, turns wrong ones down with different hints, and never raises."""

import numpy as np
import pytest
import torch

from rqvae_lib.teaching.checks import REFUSED, Case, passes, same
from rqvae_lib.teaching.exercises import chapter_00 as checks


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda first, second: 1 / 0, "ZeroDivisionError"),
        (lambda first, second: None, "gave None"),
        (lambda: 0, "cannot be called with 2 arguments"),
        (None, "cannot be called with 2 arguments"),
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
        "(4, 5) and type float32 (its shape is (2,) and should be (4, 5)). Hint: think.\n"
    )


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        (torch.tensor([3], dtype=torch.int32), torch.tensor([3]), "int32 and should be int64"),
        (torch.empty(0), torch.empty(0, dtype=torch.int64), "float32 and should be int64"),
        (torch.zeros(2, 1), torch.zeros(2), "(2, 1) and should be (2,)"),
        ([3.0], torch.tensor([3.0]), "(a tensor, not a list)"),
        (torch.tensor([3]), 3, "(not a tensor of shape (1,))"),
        (2.0, 2, "(an int, not a float)"),
        (True, 1, "(an int, not a bool)"),
        ("0.3", 0.3, "(a float, not a str)"),
        (None, 2, "(a function without a return gives None)"),
    ],
)
def test_what_looks_alike_is_told_apart(found, expected, difference, capsys):
    assert not passes(lambda: found, [Case((), expected, "think")])
    assert difference in capsys.readouterr().out


@pytest.mark.parametrize(("found", "expected"), [(3, 2), (np.float64(0.31), 0.3), (0.31, 0.3)])
def test_where_only_the_number_is_wrong_nothing_is_said_of_its_type(found, expected, capsys):
    assert not passes(lambda: found, [Case((), expected, "think")])
    assert f"expected {expected}. Hint: think." in capsys.readouterr().out


def test_torchs_own_error_is_not_taken_for_a_stub(capsys):
    assert not passes(lambda: torch.tensor([1]).softmax(0), [Case((), 1, "think")])
    assert "raised NotImplementedError" in capsys.readouterr().out


def test_an_interruption_passes_through():
    def endless():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        passes(endless, [Case((), 1, "think")])


def raising(error):
    def answer(number):
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (raising(ValueError("no such number")), "Right on every case"),
        (lambda number: number, "gave 3, expected a ValueError"),
        (raising(TypeError("no")), "raised TypeError: no; expected a ValueError"),
        (raising(NotImplementedError("your turn")), "Not solved yet"),
    ],
)
def test_a_case_may_ask_for_a_refusal(answer, says, capsys):
    assert passes(answer, [Case((3,), REFUSED, "raise")]) == says.startswith("Right")
    assert says in capsys.readouterr().out


def test_a_refusal_is_no_answer_to_another_case(capsys):
    assert not passes(raising(ValueError("too large")), [Case((3,), 4, "add 1")])
    assert "raised ValueError: too large; expected 4" in capsys.readouterr().out
