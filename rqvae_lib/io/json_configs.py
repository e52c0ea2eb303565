"""A configuration that a file brings, made into its dataclass or refused, the setting named.

JSON knows neither tuples nor dataclasses, and whoever wrote the file may have written anything.
Each setting must be one that the dataclass has, and of the type that its annotation says. Whether a
number is in its range, the dataclass itself knows best: it is asked last.

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
    """Make a configuration of what JSON said.

    Args:
        kind: a dataclass of numbers, words, tuples of these, and other such dataclasses.
        settings: by name; what is left out keeps its default.

    Raises:
        ValueError: for a setting that the dataclass does not have, of another type, or outside its
            range.
        TypeError: if a setting without a default is left out.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{kind.__name__} is {reprlib.repr(settings)}; expected settings by name")
    types = get_type_hints(kind)
    for name in settings:
        if name not in types:
            raise ValueError(
                f"it has a setting {reprlib.repr(name)}; {kind.__name__} has {', '.join(types)}"
            )
    return kind(**{name: _read(name, value, types[name]) for name, value in settings.items()})


def _read(name: str, value: object, expected: Any) -> object:
    """Return a value in the type that is expected of it."""
    if is_dataclass(expected) and isinstance(expected, type):
        return config_from_json(expected, value)
    choices = get_args(expected) if get_origin(expected) is UnionType else (expected,)
    for choice in choices:
        if get_origin(choice) is tuple and isinstance(value, list | tuple):
            return tuple(_read(name, part, get_args(choice)[0]) for part in value)
        if _fits(value, choice):
            return value
    words = " or ".join(_in_words(choice) for choice in choices)
    raise ValueError(f"{name} is {reprlib.repr(value)}; expected {words}")


def _fits(value: object, expected: Any) -> bool:
    if get_origin(expected) is Literal:
        return any(value == word and type(value) is type(word) for word in get_args(expected))
    if expected is float:  # JSON's 1 may be meant as 1.0; true and false are not meant so
        return type(value) is int or (isinstance(value, float) and math.isfinite(value))
    return type(value) is expected


def _in_words(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return " or ".join(map(repr, get_args(expected)))
    if get_origin(expected) is tuple:
        return f"a list, each {_in_words(get_args(expected)[0])}"
    names = {int: "a whole number", float: "a finite number", bool: "true or false"}
    return names.get(expected, "null" if expected is NoneType else f"a {expected.__name__}")
