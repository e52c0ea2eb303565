"""Chapter 01's exercises turn typical wrong answers down, each with its own hint."""

from collections.abc import Callable

import pytest
import torch

from rqvae_lib.exercises import chapter_01 as checks


def right_positions(offsets):
    return offsets[1:][offsets.diff() >= 3] - 1


def right_unheard_of(movies, times, targets):
    earlier = (movies == movies[targets, None]) & (times < times[targets, None])
    return int((~earlier.any(1)).sum())


def core(users, movies, k, passes=99, sides=(0, 1), least=0):
    keep = torch.ones(len(users), dtype=torch.bool)
    for _ in range(passes):
        counts = [torch.bincount(side[keep], minlength=9)[side] for side in (users, movies)]
        for side in sides:
            keep = keep & (counts[side] >= k + least)
    return keep


def first_rating_in_array(movies, times, targets):
    return sum(int(movies[t] not in movies[:t]) for t in targets.tolist())


def never_elsewhere(movies, times, targets):
    return sum(int((movies == movies[t]).sum() == 1) for t in targets.tolist())


def at_most_as_late(movies, times, targets):
    earlier = (movies == movies[targets, None]) & (times <= times[targets, None])
    return int((~earlier.any(1)).sum())


def same_second_is_earlier(movies, times, targets):
    earlier = (movies == movies[targets, None]) & (times <= times[targets, None])
    return int((earlier.sum(1) == 1).sum())


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (
            checks.test_positions,
            right_positions,
            [
                lambda offsets: offsets[1:],
                lambda offsets: offsets[1:] - 1,
                lambda offsets: offsets[1:][offsets.diff() > 3] - 1,
            ],
        ),
        (
            checks.unheard_of,
            right_unheard_of,
            [at_most_as_late, never_elsewhere, first_rating_in_array, same_second_is_earlier],
        ),
        (
            checks.core_mask,
            core,
            [
                lambda users, movies, k: core(users, movies, k, least=1),
                lambda users, movies, k: core(users, movies, k, sides=(0,)),
                lambda users, movies, k: core(users, movies, k, passes=1),
            ],
        ),
    ],
)
def test_wrong_answers_get_different_hints(
    check: Callable, right: Callable, wrong: list[Callable], capsys: pytest.CaptureFixture
) -> None:
    assert check(right)
    hints = set()
    for answer in wrong:
        capsys.readouterr()
        assert not check(answer)
        hints.add(capsys.readouterr().out.split("Hint: ")[1])
    assert len(hints) == len(wrong)


@pytest.mark.parametrize("check", [checks.test_positions, checks.unheard_of, checks.core_mask])
def test_a_stub_does_not_pass(check: Callable, capsys: pytest.CaptureFixture) -> None:
    def stub(*arguments):
        raise NotImplementedError("your turn")

    assert not check(stub)
    assert "Not solved yet" in capsys.readouterr().out
