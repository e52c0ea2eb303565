"""Turns HTML, as shops write their titles, into plain text.

Used by: the readers of published datasets.
"""

import html
import re

_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)


def plain_text(text: str) -> str:
    """Return a text for display, without tags, entities or lone surrogates."""
    text = html.unescape(_TAG.sub(" ", text))
    return " ".join(text.encode("utf-8", "replace").decode().split())
