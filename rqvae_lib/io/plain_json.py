"""What is said of a file is JSON: it comes back as it was written, or is refused before that.

Python's own encoder fails at a NumPy number, and only once the file is being written. It also turns
keys into text and tuples into lists without a word, so what is read is not what was written. Here,
a value is made what it will be when it is read.

Used by: cards of checkpoints, and the settings beside them.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from rqvae_lib.io.json_configs import unwrapped


def plain_json(value: Any, what: str) -> Any:
    """Return a value as JSON gives it back: of dicts, lists, text, numbers, true, false and None.

    NumPy's and torch's numbers and arrays become Python's, tuples become lists, numbers that are
    keys become text, and half characters, as in file names that are not UTF-8, are spelled out.

    Args:
        value: a dict, list or single value.
        what: how to name it in a message, such as "the card".

    Raises:
        ValueError: if it holds something that JSON does not have, holds itself, or has two keys
            that are the same text.
    """
    return _plain(value, what, ())


def _plain(value: Any, what: str, around: tuple[int, ...]) -> Any:
    """Return a plain value.

    Args:
        value, what: as `plain_json`.
        around: the ids of the values that hold it.
    """
    value = unwrapped(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    for kind in (int, float):  # of a subclass too, such as an enumeration
        if isinstance(value, kind):
            return kind(value)
    if id(value) in around or len(around) > 100:
        raise ValueError(f"{what} is nested too deep: leave it out, or make it flat")
    around = (*around, id(value))
    if isinstance(value, Mapping):
        plain = {}
        for key, part in value.items():
            key = unwrapped(key)
            if not isinstance(key, str | int | float) or isinstance(key, bool):
                raise ValueError(f"{what} has the key {reprlib.repr(key)}; expected text")
            name = _text(str(key))
            if name in plain:
                raise ValueError(f"{what} has the key {name!r} twice, as text and as a number")
            plain[name] = _plain(part, f"{what}[{reprlib.repr(key)}]", around)
        return plain
    if isinstance(value, list | tuple):
        return [_plain(part, f"{what}[{place}]", around) for place, part in enumerate(value)]
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), what, around)
    raise ValueError(
        f"{what} is {reprlib.repr(value)}, of type {type(value).__name__}; expected text, a "
        "number, true or false, None, or lists and dicts of these: write it as one of them, or "
        "leave it out"
    )


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
