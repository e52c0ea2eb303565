"""What an exercise calls to tell the reader whether their function is right.

A check runs the reader's function on cases, prints one helpful sentence, and returns whether all of
them passed. It never raises, so an exercise that is not solved yet stops nothing.

Used by: the exercises of every chapter.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Case(NamedTuple):
    arguments: tuple[Any, ...]
    expected: Any
    hint: str  # what to think about if this case is wrong


def shared_prefix_length(function: Callable[[tuple[int, ...], tuple[int, ...]], int]) -> bool:
    """Check a function that counts the leading codes two semantic IDs share (chapter 00)."""
    return _passes(
        function,
        [
            Case(((1, 9, 2, 0), (5, 9, 2, 0)), 0, "codes after a difference no longer count"),
            Case(((5, 9, 2, 0), (5, 9, 7, 1)), 2, "count every code before the first difference"),
            Case(((5, 9, 2, 0), (5, 9, 2, 0)), 4, "equal IDs share all of their codes"),
            Case(((5, 9, 2, 0), (5, 1, 2, 0)), 1, "stop at the first difference, for good"),
        ],
    )


def _passes(function: Callable[..., Any], cases: Iterable[Case]) -> bool:
    """Run the cases in order and describe the first that fails."""
    for arguments, expected, hint in cases:
        call = f"{getattr(function, '__name__', 'your function')}{arguments!r}"
        try:
            found = function(*arguments)
        except NotImplementedError:
            print("Not solved yet: replace the line that raises NotImplementedError.")
            return False
        except Exception as error:
            print(f"✗ {call} raised {type(error).__name__}: {error}. Expected {expected!r}.")
            return False
        if type(found) is not type(expected) or found != expected:
            print(f"✗ {call} gave {found!r}, expected {expected!r}. Hint: {hint}.")
            return False
    print("✓ Right on every case.")
    return True
