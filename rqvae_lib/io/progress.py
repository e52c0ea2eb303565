"""Progress on stderr: a bar in a terminal, and a line now and then in a log.

A bar is drawn again and again over itself. In a file that makes thousands of lines, so where stderr
is no terminal there is a line at most every half minute, at most a hundred of them, and one at the
end.

Used by: trainings, downloads, recommendations for all users.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO, cast

from tqdm import tqdm

SECONDS = 30.0  # between two lines, at least
SHARE = 0.01  # of the work, between two lines, at least


def progress_of(
    steps: Iterable[int] | None = None,
    *,
    total: int,
    done: int = 0,
    unit: str = "step",
    show: bool = True,
) -> "tqdm[int] | Lines":
    """Return what shows progress on stderr, as a bar or in lines.

    Args:
        steps: to iterate over; without them, call `update` and `close`.
        total: the whole amount of work.
        done: how much of it was done before.
        unit: what is counted, in the singular.
        show: False for no output at all.
    """
    stream = sys.stderr
    if not show or is_live(stream):
        bar = tqdm(steps, total=total, initial=done, disable=not show, unit=unit)
        return cast("tqdm[int]", bar)
    return Lines(steps, total=total, done=done, unit=unit, stream=stream)


def is_live(stream: TextIO) -> bool:
    """Return whether a bar may be drawn over itself: in a terminal, and in a notebook."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")


class Lines:
    """Progress in lines, for a log, with the part of tqdm's interface that is used here.

    The arguments are those of `progress_of`.

    Args:
        stream: where to write.
        clock: returns seconds.
    """

    def __init__(
        self,
        steps: Iterable[int] | None = None,
        *,
        total: int,
        stream: TextIO,
        done: int = 0,
        unit: str = "step",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total: float | None = total
        self._steps = steps
        self._units = unit if unit == "B" else f"{unit}s"
        self._stream = stream
        self._clock = clock
        self._before = self._done = self._said = float(done)
        self._began = self._last = clock()
        self._shown: Mapping[str, str] = {}

    def __iter__(self) -> Iterator[int]:
        """Yield the steps; the line at the end comes even if they are left early."""
        try:
            for step in self._steps or ():
                yield step
                self.update()
        finally:
            self.close()

    def update(self, n: float = 1) -> None:
        """Count `n` more as done, and write a line if it is time."""
        self._done += n
        enough = self._done - self._said >= SHARE * (self.total or 0)
        if enough and self._clock() - self._last >= SECONDS:
            self._say()

    def set_postfix(self, shown: Mapping[str, str]) -> None:
        """Add these numbers to the next lines."""
        self._shown = shown

    def reset(self) -> None:
        """Count from nothing again; the clock goes on."""
        self._before = self._done = self._said = 0.0

    def close(self) -> None:
        """Write the last line, unless it would say nothing new."""
        if self._done > self._said:
            self._say()

    def _say(self) -> None:
        self._last, self._said = self._clock(), self._done
        seconds = self._last - self._began
        parts = [f"{self._done:,.0f} {self._units}"]
        if self.total:
            parts = [f"{self._done:,.0f} of {self.total:,.0f} {self._units}"]
            parts[0] += f" ({self._done / self.total:.0%})"
        parts.append(_duration(seconds))
        if seconds > 0:
            parts.append(f"{(self._done - self._before) / seconds:,.3g} {self._units}/s")
        parts += [f"{name} {value}" for name, value in self._shown.items()]
        self._stream.write(", ".join(parts) + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
