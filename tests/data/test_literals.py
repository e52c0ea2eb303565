"""Literals against JSON and Python's own `repr`; nothing is executed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.data.literals import MAX_LITERAL, parsed, whole_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_json_and_repr_write_comes_back(value: object) -> None:
    assert parsed(json.dumps(value)) == value
    assert parsed(f" {value!r}\n") == value


@pytest.mark.parametrize("text", ["", "open('x', 'w')", "[1", "[" * 100_000, "{'a': 1 + 'b'}"])
def test_all_else_is_none_and_not_executed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parsed(text) is None
    assert parsed(r"['\d']") == [r"\d"]
    assert not recwarn.list
    assert not list(tmp_path.iterdir())


def test_a_literal_has_a_limit_and_json_has_none() -> None:
    long = "x" * MAX_LITERAL
    assert parsed(f"['{long}']") is None
    assert parsed(f'["{long}"]') == [long]


def test_half_characters_are_replaced() -> None:
    assert whole_text(["a\ud800", ["七"], 5, None]) == ["a?", ["七"], 5, None]
