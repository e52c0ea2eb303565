"""Random numbers of a seed, or of a seed and a step, and nothing of them left behind."""

import threading
from contextlib import AbstractContextManager

import pytest
import torch

from rqvae_lib.ops.seeding import seeded, seeded_step

CPU = torch.device("cpu")


def drawn() -> list[float]:
    return torch.rand(3).tolist()


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_a_seeded_block_draws_what_that_seed_draws_anywhere(seed: int) -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
    for before in (1, 2):
        torch.manual_seed(before)
        with seeded(seed):
            assert drawn() == expected
            assert drawn() != expected  # it goes on from there


def test_the_callers_random_numbers_go_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(5)
    expected = [*drawn(), *drawn()]
    for block in (seeded(3), seeded_step(3, 8, CPU)):
        torch.manual_seed(5)
        first = drawn()
        with block:
            drawn()
        assert [*first, *drawn()] == expected


def test_they_go_on_after_an_error_too() -> None:
    torch.manual_seed(5)
    expected = drawn()
    for block in (seeded(3), seeded_step(3, 8, CPU)):
        torch.manual_seed(5)
        with pytest.raises(ZeroDivisionError), block:
            _ = sum(drawn()) / 0
        assert drawn() == expected


def test_every_step_of_every_seed_has_numbers_of_its_own() -> None:
    found = {}
    for seed in (0, 1, 2, 12345):
        for step in (0, 1, 2, 1000):
            with seeded_step(seed, step, CPU):
                found[seed, step] = tuple(drawn())
            with seeded_step(seed, step, CPU):
                assert tuple(drawn()) == found[seed, step]
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize("other", [seeded(4), seeded_step(4, 8, CPU)], ids=["seed", "step"])
def test_another_thread_does_not_draw_from_the_same_block(
    other: AbstractContextManager[None],
) -> None:
    inside, drawn_here = threading.Event(), threading.Event()

    def draw() -> None:
        with other:
            inside.set()
            drawn_here.wait(60)

    with seeded(3):
        expected = drawn()
    thread = threading.Thread(target=draw)
    with seeded(3):
        thread.start()
        inside.wait(0.5)  # it never comes: the thread waits for the end of this block
        found = drawn()
        drawn_here.set()
    thread.join()
    assert found == expected
