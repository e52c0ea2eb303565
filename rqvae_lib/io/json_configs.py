"""Turns a configuration read from JSON into its dataclass, and checks every setting.

JSON has neither tuples nor dataclasses, and a file may contain anything. Each setting must be a
field of the dataclass and have the type of its annotation. The dataclass itself checks the ranges
of the numbers, at the end. An error names the setting that is wrong.

Used by: checkpoints.
"""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def config_from_json(kind: type[T], settings: object) -> T:
    """Build a configuration from parsed JSON.

    Args:
        kind: a dataclass. Its fields are numbers, strings, tuples of these, or other such
            dataclasses.
        settings: a mapping from field name to value. A missing field keeps its default.

    Raises:
        ValueError: if `settings` is not a mapping, or a setting is unknown, has the wrong type, or
            is out of range.
        TypeError: if a field without a default is missing.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"{kind.__name__} is {reprlib.repr(settings)}; expected a mapping of settings"
        )
    types = get_type_hints(kind)
    for name in settings:
        if name not in types:
            raise ValueError(
                f"it has a setting {reprlib.repr(name)}; {kind.__name__} has {', '.join(types)}"
            )
    return kind(**{name: _read(name, value, types[name]) for name, value in settings.items()})


def _read(name: str, value: object, expected: Any) -> object:
    """Return a value converted to its expected type, or raise ValueError if it has another."""
    if is_dataclass(expected) and isinstance(expected, type):
        return config_from_json(expected, value)
    choices = get_args(expected) if get_origin(expected) is UnionType else (expected,)
    for choice in choices:
        if is_dataclass(choice) and isinstance(choice, type) and isinstance(value, Mapping):
            return config_from_json(choice, value)
        if get_origin(choice) is tuple and isinstance(value, list | tuple):
            return tuple(_read(name, part, get_args(choice)[0]) for part in value)
        if _fits(value, choice):
            return value
    words = " or ".join(_in_words(choice) for choice in choices)
    raise ValueError(f"{name} is {reprlib.repr(value)}; expected {words}")


def _fits(value: object, expected: Any) -> bool:
    if get_origin(expected) is Literal:
        return any(value == word and type(value) is type(word) for word in get_args(expected))
    if expected is float:  # JSON may write 1.0 as 1; true and false are no numbers
        return type(value) is int or (isinstance(value, float) and math.isfinite(value))
    return type(value) is expected


def _in_words(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return " or ".join(map(repr, get_args(expected)))
    if get_origin(expected) is tuple:
        return f"a list in which each value is {_in_words(get_args(expected)[0])}"
    names = {int: "a whole number", float: "a finite number", bool: "true or false"}
    return names.get(expected, "null" if expected is NoneType else f"a {expected.__name__}")
