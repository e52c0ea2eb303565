"""What is said of a file comes back as it was said, or is refused before the file is written."""

import json
import math
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.io.plain_json import plain_json

SINGLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=[])),  # halves of characters too
)
KEYS = st.one_of(st.text(st.characters(exclude_categories=[])), st.integers())
NESTED = st.recursive(
    SINGLE,
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner, inner), st.dictionaries(KEYS, inner)),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(NESTED)
def test_what_is_accepted_comes_back_and_is_plain_already(value: Any) -> None:
    try:
        plain = plain_json(value, "it")
    except ValueError:
        return  # a key twice; tests below say what else is refused
    text = json.dumps(plain, ensure_ascii=False)
    assert json.loads(text.encode()) == plain  # UTF-8 holds it
    assert plain_json(plain, "it") == plain


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1.5], [2.5]]), [[1.5], [2.5]]),
        (torch.tensor(0.5), 0.5),
        (torch.tensor([True, False]), [True, False]),
        (torch.zeros(2, 2, dtype=torch.bfloat16), [[0.0, 0.0], [0.0, 0.0]]),
        (Level.HIGH, 3),
        ((1, (2, 3)), [1, [2, 3]]),
        ({10: 0.25, np.int64(5): 0.5}, {"10": 0.25, "5": 0.5}),
        ("caf\udce9", "caf\\udce9"),  # a file name that is not UTF-8
    ],
    ids=repr,
)
def test_other_libraries_values_become_pythons(value: object, plain: object) -> None:
    found = plain_json({"x": value}, "the card")["x"]
    assert found == plain
    assert type(found) is type(plain)


def test_numbers_that_are_not_finite_stay() -> None:
    found = plain_json([math.inf, float("nan")], "it")
    assert found[0] == math.inf
    assert math.isnan(json.loads(json.dumps(found))[1])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"when": object()}, r"^the card\['when'\] is <object .*, of type object; expected text,"),
        ({"a": [1, {"b": {1, 2}}]}, r"^the card\['a'\]\[1\]\['b'\] is \{1, 2\}, of type set"),
        ({"path": Path("x")}, r"^the card\['path'\] is .*Path"),
        ({"data": b"x"}, r"of type bytes"),
        ({("a", "b"): 1}, r"^the card has the key \('a', 'b'\); expected text"),
        ({None: 1}, r"^the card has the key None; expected text"),
        ({"1": 1, 1: 2}, r"^the card has the key '1' twice"),
        (np.datetime64("2020-01-01"), "of type date"),
        (1 + 2j, "of type complex"),
    ],
)
def test_what_json_does_not_have_is_refused_by_its_place(value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        plain_json(value, "the card")
    assert len(str(refused.value)) < 400


def test_what_holds_itself_is_refused() -> None:
    circle: list[object] = []
    circle.append([circle])
    with pytest.raises(ValueError, match="nested too deep"):
        plain_json(circle, "the card")
    twice = [1, 2]
    assert plain_json([twice, twice], "the card") == [[1, 2], [1, 2]]
