"""Plain text from HTML, and from lists in cells."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.data.own_tables import read_items
from rqvae_lib.data.plain_texts import joined_genres, listed, plain_column, plain_text

HTML = [
    ("Rock &amp; Roll", "Rock & Roll"),
    ("L&#39;Or&eacute;al &#x2122;", "L'Oréal ™"),
    ("<b>Bold</b> claim", "Bold claim"),
    ("H<sub>2</sub>O", "H2O"),
    ("one<br>two<br />three", "one two three"),
    ("<p>First.</p><p>Second.</p>", "First. Second."),
    ('<a href="x>y" target=_blank>Link</a>', "Link"),
    ('<span class="a-size-medium a-color-secondary">Size: L</span>', "Size: L"),
    ("<UL><LI>One<LI>Two</UL>", "One Two"),
    ("<script>var a = 1 < 2;</script>Name", "Name"),
    ("Name <!-- a\nnote --> here", "Name here"),
    ("<style type='text/css'>.a{b:c}</style>Name", "Name"),
    ("&lt;b&gt; in HTML", "<b> in HTML"),  # its writer wanted the letters
]
NOT_HTML = [
    *("a < b", "a<b", "x <b", "1 < 2 > 0", "I <3 you", "List<String>", "<Title>", "<", "<>", "</>"),
    *("AT&T", "Q&A", "&", "& co;", "copy&paste", "R&D &more", "&nosuchname;", "Vitamin B, C, A"),
    *("  two  spaces ", "[REC]", "<b", "a<i and b>c", "<b'>x", "&#999999999;"),
]


@pytest.mark.parametrize(("text", "plain"), HTML)
def test_html_becomes_plain_text(text: str, plain: str) -> None:
    assert plain_text(text) == plain


@pytest.mark.parametrize("text", NOT_HTML)
def test_what_is_no_html_stays(text: str) -> None:
    assert plain_text(text) == text


@given(st.text(st.characters(codec="utf-8", exclude_characters="<&")))
def test_text_without_marks_stays(text: str) -> None:
    assert plain_text(text) == text


@given(st.text("<>&;/!-abip =\"'#x3", max_size=40))
def test_a_tag_never_takes_what_stands_outside_it(text: str) -> None:
    """What is left is a subsequence of what was there, but for entities and spaces."""
    left = iter(text)
    plain = plain_text(text.replace("&", "+"))
    assert all(letter == " " or letter in left for letter in plain.replace("+", "&"))


def test_long_texts_take_no_long_time() -> None:
    for piece in (
        "<a b='",
        "<a b=\"' c='",
        "<a b='< c=' ",
        "<a ",
        "<a b='",
        "<!--",
        "<script>",
        "&amp",
        "<b c=d ",
        "<br" + " " * 50,
    ):
        plain_text(piece * 20_000)  # would not end if a pattern went back over it again and again


def test_a_column_is_treated_like_its_cells() -> None:
    cells = [*(text for text, _ in HTML), *NOT_HTML, None]
    found = plain_column(pd.Series(cells, dtype="string"))
    assert found.tolist() == [*(plain for _, plain in HTML), *NOT_HTML, pd.NA]


LISTS = [
    (["a", "b"], ["a", "b"]),
    (("a",), ["a"]),
    (np.array(["a", "b"], dtype=object), ["a", "b"]),
    ([["a", "b"], ["a", "c"]], ["a", "b", "a", "c"]),
    (np.array([np.array(["a"], dtype=object), None], dtype=object), ["a"]),
    ('["a", "b"]', ["a", "b"]),
    ("['a', u'b', \"c\"]", ["a", "b", "c"]),
    (" [['a'], ['b']] ", ["a", "b"]),
    ([1995, 2.5, None, float("nan"), ""], ["1995", "2.5"]),
    ([], []),
    ("[]", []),
]
NO_LISTS = [
    *(
        "a|b",
        "[REC]",
        "[a] b",
        "[open('x')]",
        "['a'",
        "[1j]",
        "[" * 20_000 + "]" * 20_000,
        "",
        None,
        5,
    ),
    *({"a": 1}, [{"a": 1}], [True], "[" + "'a'," * 50_000 + "]", b"['a']"),
]


@pytest.mark.parametrize(("cell", "texts"), LISTS)
def test_lists_in_cells(cell: object, texts: list[str]) -> None:
    assert listed(cell) == texts


@pytest.mark.parametrize("cell", NO_LISTS, ids=lambda cell: str(cell)[:9])
def test_what_is_no_list_of_texts(cell: object) -> None:
    assert listed(cell) is None


@given(st.lists(st.text(max_size=5), max_size=4))
def test_a_list_is_the_same_in_every_notation(texts: list[str]) -> None:
    expected = [text for text in texts if text]
    for cell in (texts, json.dumps(texts), repr(texts), tuple(texts), np.array(texts, object)):
        assert listed(cell) == expected


def test_genres_are_joined_once_each() -> None:
    assert joined_genres(["a", " b&amp;c ", "a", "x|y", "<b></b>"]) == "a|b&c|x/y"


@pytest.mark.parametrize(
    "cells",
    [
        [["x", "y"], None, []],
        [np.array(["x", "y"]), None, np.array([])],
        ['["x", "y"]', None, "[]"],
        ["['x', 'y']", None, ""],
        ["x|y", None, " "],
        [[["x"], ["x", "y"]], None, [[]]],
    ],
)
def test_genres_may_be_written_in_any_way(cells: list[object]) -> None:
    items = pd.DataFrame({"item_id": [1, 2, 3], "genres": pd.Series(cells, dtype=object)})
    assert read_items(items)[0]["genres"].tolist() == ["x|y", "", ""]


def test_a_cell_that_holds_something_else_is_refused() -> None:
    items = pd.DataFrame({"item_id": [1, 2], "category": [["x"], {"y": 1}]})
    with pytest.raises(ValueError, match=r"row 1, column 'category': found .*, expected text"):
        read_items(items)
