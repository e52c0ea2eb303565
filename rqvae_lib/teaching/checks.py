"""What an exercise calls to tell the reader whether their function is right.

A check runs the reader's function on cases, prints one helpful sentence, and returns whether all of
them passed: what was called, what came out, what was expected, what is different about it, and a
hint. It never raises, so an exercise that is not solved yet stops nothing; only an interruption of
the kernel passes through. The cases of each chapter's exercises stand in `exercises/`.

Used by: the exercises of every chapter.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

UNSOLVED = "Not solved yet: replace the line that raises NotImplementedError."


class _Refused:
    """Stands as `expected` where the function must raise a ValueError, whatever it says."""

    def __repr__(self) -> str:
        return "a ValueError"


REFUSED = _Refused()


class Case(NamedTuple):
    arguments: tuple[Any, ...]
    expected: Any  # an answer, or REFUSED
    hint: str  # what to think about if this case is wrong


def passes(function: Callable[..., Any], cases: Iterable[Case]) -> bool:
    """Run the cases in order and describe the first that fails, in one printed sentence.

    An answer is right if it equals the expected one; numbers and tensors that are not whole may
    differ by rounding. A NumPy number or a tensor of one number counts as that number. Where
    `REFUSED` is expected, a ValueError is right.
    """
    for arguments, expected, hint in cases:
        problem = _problem(function, arguments, expected)
        if problem == UNSOLVED:
            print(problem)
            return False
        if problem:
            print(f"✗ {problem}. Hint: {hint}.")
            return False
    print("✓ Right on every case.")
    return True


def _problem(function: Callable[..., Any], arguments: tuple[Any, ...], expected: Any) -> str:
    """What is wrong with the answer to one case, in words; empty if it is right."""
    name = getattr(function, "__name__", "your function")
    call = f"{name}({', '.join(map(_shown, arguments))})"
    if not _can_be_called(function, arguments):
        count = "one argument" if len(arguments) == 1 else f"{len(arguments)} arguments"
        return f"{name} cannot be called with {count}, as in {call}; expected {_shown(expected)}"
    try:
        found = function(*deepcopy(arguments))  # whatever it does to them, the case stays the same
    except (Exception, SystemExit) as error:
        message = _one_line(str, error)
        if isinstance(error, NotImplementedError) and message in ("", "your turn"):
            return UNSOLVED  # torch raises them too: "softmax…" not implemented for 'Long'
        if expected is REFUSED and isinstance(error, ValueError):
            return ""
        return f"{call} raised {type(error).__name__}: {message}; expected {_shown(expected)}"
    if _is_right(found, expected):
        return ""
    return f"{call} gave {_shown(found)}, expected {_shown(expected)}{_difference(found, expected)}"


def _is_right(found: Any, expected: Any) -> bool:
    try:
        return same(found, expected)
    except Exception:  # something that cannot even be compared, such as a sparse tensor
        return False


def _can_be_called(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    if not callable(inspect.unwrap(function)):
        return False
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # some built-in functions do not say what they take
        return True
    except TypeError:
        return False
    return True


def same(found: Any, expected: Any) -> bool:
    """Say whether an answer is the expected one, up to rounding where numbers are not whole."""
    if isinstance(expected, Tensor):
        if not isinstance(found, Tensor) or found.shape != expected.shape:
            return False
        if expected.is_floating_point():
            return torch.allclose(found.to(expected), expected, rtol=1e-4, atol=1e-5)
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, tuple | list):
        return (
            isinstance(found, tuple | list)
            and len(found) == len(expected)
            and all(map(same, found, expected))
        )
    if not _is_number(expected):
        return type(found) is type(expected) and bool(found == expected)
    number = _number(found)
    if not _is_number(number):
        return False
    if isinstance(expected, int):
        return isinstance(number, int) and number == expected
    return abs(number) < 1e300 and math.isclose(number, expected, rel_tol=1e-4, abs_tol=1e-5)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    """A NumPy number, or a tensor of one number without a dimension, as that number."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def _difference(found: Any, expected: Any) -> str:
    """What two values that may look alike differ in; empty where it is the numbers themselves."""
    if found is None:
        return " (a function without a return gives None)"
    if isinstance(expected, Tensor):
        if not isinstance(found, Tensor):
            return f" (a tensor, not {_a(type(found).__name__)})"
        if found.shape != expected.shape:
            return f" (its shape is {tuple(found.shape)} and should be {tuple(expected.shape)})"
        if not expected.is_floating_point() and found.dtype != expected.dtype:
            return f" (its type is {_type(found)} and should be {_type(expected)})"
    elif isinstance(found, Tensor) and found.ndim:
        return f" (not a tensor of shape {tuple(found.shape)})"
    elif _is_number(expected):
        number = _number(found)
        wanted = int if isinstance(expected, int) else int | float
        if not isinstance(number, wanted) or isinstance(number, bool):
            return f" ({_a(type(expected).__name__)}, not {_a(type(number).__name__)})"
    return ""


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}"


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _shown(value: Any) -> str:
    """Return a value as a reader would type it, or its shape and type where that is too long."""
    if isinstance(value, Tensor):
        if value.numel() > 12:
            return f"a tensor of shape {tuple(value.shape)} and type {_type(value)}"
        return _one_line(lambda tensor: f"tensor({_rounded(tensor).tolist()})", value)
    if type(value) is float:
        return repr(float(f"{value:.6g}"))  # closer than `same` looks, and short
    if type(value) is list:
        return _one_line(lambda items: f"[{', '.join(map(_shown, items))}]", value)
    if type(value) is tuple and len(value) > 1:
        return _one_line(lambda items: f"({', '.join(map(_shown, items))})", value)
    if type(value) is dict:
        pairs = ", ".join(f"{_shown(key)}: {_shown(below)}" for key, below in value.items())
        return _one_line(str, f"{{{pairs}}}")
    return _one_line(repr, value)


def _rounded(value: Tensor) -> Tensor:
    return value.detach().double().round(decimals=4) if value.is_floating_point() else value


def _one_line(words: Callable[[Any], str], value: Any, length: int = 240) -> str:
    """What `words` says of a value, on one line and not too long, whatever the value is."""
    try:
        text = " ".join(words(value).split())
    except Exception:  # a value of a reader's own class may even refuse to be shown
        text = f"something of the type {type(value).__name__}"
    return text if len(text) <= length else f"{text[: length - 1]}…"
