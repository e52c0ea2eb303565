"""Progress: a bar where it can be drawn over itself, and a line now and then elsewhere."""

import io
import sys

import pytest
from tqdm import tqdm

from rqvae_lib.io.progress import SECONDS, Lines, is_live, progress_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def followed(total: int, seconds_each: float, **options: object) -> list[str]:
    """The lines of so many steps of so many seconds."""
    stream, clock = io.StringIO(), Clock()
    lines = Lines(range(total), total=total, stream=stream, clock=clock, **options)  # type: ignore[arg-type]
    assert [step for step in lines if not clock.__setattr__("now", clock.now + seconds_each)] == [
        *range(total)
    ]
    return stream.getvalue().splitlines()


def test_a_short_work_is_one_line() -> None:
    assert followed(500, 0.01) == ["500 of 500 steps (100%), 0:05, 100 steps/s"]


def test_a_long_work_is_a_line_every_half_minute() -> None:
    lines = followed(300, 1.0)
    assert len(lines) == 10
    assert lines[0] == "30 of 300 steps (10%), 0:30, 1 steps/s"
    assert lines[-1] == "300 of 300 steps (100%), 5:00, 1 steps/s"


def test_a_very_long_work_is_a_hundred_lines() -> None:
    lines = followed(20_000, 2.0)
    assert len(lines) == 100
    assert lines[0] == "200 of 20,000 steps (1%), 6:40, 0.5 steps/s"
    assert lines[-1].startswith("20,000 of 20,000 steps (100%), 11:06:40")


def test_what_was_done_before_does_not_make_it_faster() -> None:
    stream, clock = io.StringIO(), Clock()
    lines = Lines(range(900, 1000), total=1000, done=900, stream=stream, clock=clock)
    for _ in lines:
        clock.now += 0.1
        lines.set_postfix({"loss": "1.234", "utilization": "0.5"})
    expected = "1,000 of 1,000 steps (100%), 0:10, 10 steps/s, loss 1.234, utilization 0.5\n"
    assert stream.getvalue() == expected


def test_a_loop_that_is_left_early_says_how_far_it_came() -> None:
    stream = io.StringIO()
    for step in Lines(range(100), total=100, stream=stream):
        if step == 40:
            break
    assert stream.getvalue().startswith("40 of 100 steps (40%)")
    stream = io.StringIO()
    for _ in Lines(range(0), total=0, stream=stream):
        pass
    assert stream.getvalue() == ""


def test_without_steps_what_is_done_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pooch does: the total comes later, and at the end everything is told again."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    lines = progress_of(total=0, unit="B")
    lines.total = 5000
    lines.update(2500)
    lines.update(2500)
    lines.reset()
    lines.update(5000)
    lines.close()
    assert stream.getvalue().startswith("5,000 of 5,000 B (100%), 0:00")
    assert stream.getvalue().count("\n") == 1


def test_a_terminal_and_a_notebook_get_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_live(Terminal())
    assert not is_live(io.StringIO())
    notebook = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    assert is_live(notebook())
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    bar = progress_of(range(3), total=3)
    assert isinstance(bar, tqdm)
    assert list(bar) == [0, 1, 2]
    assert "100%" in stream.getvalue()
    assert "\r" in stream.getvalue()


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_silence_is_silence(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = kind()
    monkeypatch.setattr(sys, "stderr", stream)
    steps = progress_of(range(3), total=3, show=False)
    assert list(steps) == [0, 1, 2]
    steps.set_postfix({"loss": "1"})
    assert stream.getvalue() == ""


def test_half_a_minute() -> None:
    assert SECONDS == 30
