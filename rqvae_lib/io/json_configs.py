"""Configurations are dataclasses of plain settings: when they are made, and when JSON is read.

A configuration is saved as JSON, with the model that was made from it. JSON has no NumPy numbers,
so one such setting would make a training fail when it is saved, at its end. Therefore
`check_settings` turns them into plain ones when the configuration is made, and refuses what a file
could not hold.

The other way, JSON has neither tuples nor dataclasses, and a file may contain anything. Each
setting must be a field of the dataclass and have the type of its annotation. The dataclass itself
checks the ranges of the numbers, at the end. An error names the setting that is wrong.

Used by: the settings of models and trainings, checkpoints.
"""

import math
import reprlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
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


def check_settings(config: object) -> None:
    """Make every setting of a configuration plain, in place, or refuse it.

    Call it first in `__post_init__`. NumPy's and torch's single numbers become Python's, lists and
    one-dimensional arrays become tuples. Ranges, and the choices of a `Literal`, are left to the
    dataclass itself.

    Args:
        config: a dataclass, which may be frozen, with fields as `config_from_json` has them.

    Raises:
        ValueError: if a setting has another type than its annotation says.
    """
    kind: Any = type(config)
    for name, expected in _types_of(kind).items():
        object.__setattr__(config, name, _settled(name, getattr(config, name), expected))


@lru_cache
def _types_of(kind: Any) -> dict[str, Any]:
    """Return the types of a dataclass's fields."""
    types = get_type_hints(kind)
    return {field.name: types[field.name] for field in fields(kind)}


def _settled(name: str, value: Any, expected: Any) -> object:
    """Return a value as a plain one of its expected type, or raise ValueError if it has another."""
    found = unwrapped(value)
    choices = get_args(expected) if get_origin(expected) is UnionType else (expected,)
    for choice in choices:
        if get_origin(choice) is tuple and isinstance(found, list | tuple | range):
            return tuple(_settled(name, part, get_args(choice)[0]) for part in found)
        if isinstance(found, str) and (choice is str or get_origin(choice) is Literal):
            return _encodable(name, str(found))
        if choice is bool or isinstance(found, bool):  # True is no number
            fits = choice is bool and isinstance(found, bool)
        elif choice is int:
            found = int(found) if isinstance(found, int) else found
            fits = isinstance(found, int)
        elif choice is float:  # a whole number stays one; the dataclass asks if it is finite
            found = float(found) if isinstance(found, float) else found
            fits = isinstance(found, int | float)
        else:
            fits = isinstance(choice, type) and isinstance(found, choice)
        if fits:
            return found
    words = " or ".join(_in_words(choice) for choice in choices)
    raise ValueError(f"{name} is {reprlib.repr(value)}; expected {words}")


def unwrapped(value: Any) -> Any:
    """Return a number, or list of numbers, of NumPy or torch as a plain one; all else as it is."""
    if hasattr(value, "tolist") and len(getattr(value, "shape", (0, 0))) <= 1:
        return value.tolist()
    return value


def _encodable(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} is {reprlib.repr(text)}; expected text that a file can hold, and half of a "
            "character is none"
        ) from error
    return text


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
