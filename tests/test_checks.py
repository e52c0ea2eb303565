"""A check accepts right answers, turns wrong ones down with different hints, and never raises."""

import pytest

from rqvae_lib import checks


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
