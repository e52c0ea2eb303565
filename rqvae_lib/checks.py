"""What an exercise calls to tell the reader whether their function is right.

A check runs the reader's function on cases, prints one helpful sentence, and returns whether all of
them passed. It never raises, so an exercise that is not solved yet stops nothing. The cases of each
chapter's exercises stand in `exercises/`.

Used by: the exercises of every chapter.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Case(NamedTuple):
    arguments: tuple[Any, ...]
    expected: Any
    hint: str  # what to think about if this case is wrong


def passes(function: Callable[..., Any], cases: Iterable[Case]) -> bool:
    """Run the cases in order and describe the first that fails, in one printed sentence.

    An answer is right if it equals the expected one; numbers and tensors that are not whole may
    differ by rounding. A NumPy number or a tensor of one number counts as that number.
    """
    for arguments, expected, hint in cases:
        name = getattr(function, "__name__", "your function")
        call = f"{name}({', '.join(map(_shown, arguments))})"
        try:
            found = function(*(_copied(argument) for argument in arguments))
        except NotImplementedError:
            print("Not solved yet: replace the line that raises NotImplementedError.")
            return False
        except Exception as error:
            print(
                f"✗ {call} raised {type(error).__name__}: {error}. Expected {_shown(expected)}. "
                f"Hint: {hint}."
            )
            return False
        if not same(found, expected):
            print(f"✗ {call} gave {_shown(found)}, expected {_shown(expected)}. Hint: {hint}.")
            return False
    print("✓ Right on every case.")
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
    if isinstance(expected, bool) or not isinstance(expected, int | float):
        return type(found) is type(expected) and bool(found == expected)
    number = found.item() if hasattr(found, "item") and getattr(found, "ndim", 0) == 0 else found
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    if isinstance(expected, int):
        return isinstance(number, int) and number == expected
    return math.isclose(number, expected, rel_tol=1e-4, abs_tol=1e-5)


def _copied(argument: Any) -> Any:
    """Return an argument that a reader's function may change without changing the case."""
    return argument.clone() if isinstance(argument, Tensor) else argument


def _shown(value: Any) -> str:
    """Return a value as a reader would type it, or its shape and type where that is too long."""
    if not isinstance(value, Tensor):
        return repr(value)
    if value.numel() > 12:
        return f"a tensor of shape {tuple(value.shape)} and type {str(value.dtype)[6:]}"
    rounded = value.detach().double().round(decimals=4) if value.is_floating_point() else value
    return f"tensor({rounded.tolist()})"
