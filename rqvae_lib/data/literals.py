"""JSON, or a Python literal, parsed as data and never executed.

Old data sets write lines and lists with Python's `repr`, such as {u'id': u'10', 'tags': None}.

Used by: the readers of lists in cells, of JSON files, and of Amazon's and Steam's reviews.
"""

import ast
import json
import warnings
from contextlib import suppress
from typing import Any

MAX_LITERAL = 2**20  # characters: Python's parser takes a hundred times the memory


def parsed(text: str) -> Any:
    """Return the value of a text in JSON or Python's notation, or None if it is neither.

    Args:
        text: a list, a dictionary, a number or a quoted text.
    """
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    if len(text) > MAX_LITERAL:
        return None
    with (
        warnings.catch_warnings(),
        suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError),
    ):
        warnings.simplefilter("ignore")  # about invalid escapes such as "\d"
        return ast.literal_eval(text.strip())
    return None


def whole_text(value: Any) -> Any:
    """Return a text, or a list of texts, without half characters such as "\\ud800".

    JSON may contain them, and no text file can hold them. Other values stay as they are.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [whole_text(inner) for inner in value]
    return value
