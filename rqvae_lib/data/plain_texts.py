"""Turns cells as shops publish them into plain text: HTML, and lists of categories or sentences.

A title such as "Rock &amp; Roll <b>Hits</b>" becomes "Rock & Roll Hits". Only what is a tag or an
entity of HTML is touched: "a < b", "<3" and "List<String>" stay. Tags go first, so that an escaped
"&lt;b&gt;" is text that its writer meant.

Used by: own tables, loaders of published data.
"""

import html
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rqvae_lib.data.literals import parsed

MAX_LIST_TEXT = 2**16  # characters of a list that is written in a cell

# Tags that stand in running text leave nothing behind; others, such as <br>, leave a space. An
# attribute needs a value, so that "a<i and b>c" is none of them.
_INLINE = "a|abbr|b|big|cite|code|em|font|i|s|small|span|strike|strong|sub|sup|tt|u"
_BLOCK = "blockquote|br|center|dd|div|dl|dt|h[1-6]|hr|img|li|ol|p|pre|table|tbody|td|th|thead|tr|ul"
_ATTRIBUTES = r"""(?:\s+[a-z][\w:.\-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>]+))*\s*/?"""
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCK}){_ATTRIBUTES}>", re.IGNORECASE)
# What begins and ends what is no text at all.
_HIDDEN = [
    (re.compile("<!--"), re.compile("-->")),
    *(
        (re.compile(rf"<{tag}\b[^<>]*>", re.IGNORECASE), re.compile(f"</{tag}>", re.IGNORECASE))
        for tag in ("script", "style")
    ),
]
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def plain_text(text: str) -> str:
    """Return a text without the tags of HTML, and with characters in place of its entities.

    Runs of white space are joined only if a tag was removed. An entity needs its semicolon.
    """
    found = text
    if "<" in text:
        for begins, ends in _HIDDEN:
            found = _without(found, begins, ends)
        found = _BLOCK_TAG.sub(" ", _INLINE_TAG.sub("", found))
        if found != text:
            found = " ".join(found.split())
    return _ENTITY.sub(lambda match: html.unescape(match[0]), found) if "&" in found else found


def plain_column(texts: pd.Series) -> pd.Series:
    """Apply `plain_text` to a column of strings. <NA> stays."""
    marked = texts.str.contains("[<&]", regex=True).fillna(False).to_numpy(bool)
    if not marked.any():
        return texts
    found = texts.copy()
    found[marked] = np.array([plain_text(text) for text in texts[marked]], dtype=object)
    return found


def listed(cell: Any) -> list[str] | None:
    """Return the texts of a cell that holds a list, in order.

    Args:
        cell: a list, a tuple or an array, nested or not, or text that is a list in JSON or in
            Python's notation. Missing values inside are left out, and numbers become text.

    Returns:
        The texts, or None if the cell is no list of texts.
    """
    if isinstance(cell, str):
        cell = _parsed(cell)
    if not isinstance(cell, list | tuple | np.ndarray):
        return None
    texts = list(_flat(cell))
    return None if any(text is None for text in texts) else [text for text in texts if text]


def joined_genres(texts: list[str]) -> str:
    """Join categories by "|": each once, as plain text. A "|" within one becomes "/"."""
    plain = (plain_text(text).replace("|", "/").strip() for text in texts)
    return "|".join(dict.fromkeys(text for text in plain if text))


def _without(text: str, begins: re.Pattern[str], ends: re.Pattern[str]) -> str:
    """Return a text with a space in place of what stands between two marks."""
    pieces, place = [], 0
    while (begin := begins.search(text, place)) and (end := ends.search(text, begin.end())):
        pieces += [text[place : begin.start()], " "]
        place = end.end()
    return "".join([*pieces, text[place:]])


def _parsed(text: str) -> Any:
    text = text.strip()
    is_list = text.startswith("[") and text.endswith("]") and len(text) <= MAX_LIST_TEXT
    return parsed(text) if is_list else None


def _flat(cells: Any) -> Iterator[str | None]:
    """Yield the texts of nested lists, "" for what is missing and None for what is no text."""
    for cell in cells:
        if isinstance(cell, list | tuple | np.ndarray):
            yield from _flat(cell)
        elif isinstance(cell, str):
            yield cell
        elif isinstance(cell, int | float | np.number) and not isinstance(cell, bool):
            yield "" if cell != cell else str(cell)
        else:
            yield "" if cell is None or cell is pd.NA else None
