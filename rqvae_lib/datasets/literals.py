"""Lines that are Python literals, parsed as data and never executed.

Some of McAuley's datasets were written with Python's `repr`, such as {u'id': u'10', 'tags': None}.

Used by: Amazon reviews of 2014 and Steam.
"""

import ast
import json
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rqvae_lib.datasets.json_lines import line_wrong
from rqvae_lib.datasets.text_files import lines


def lines_quietly(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines as `lines` does, without warnings about escapes such as "\\d" in a literal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from lines(path)


def literal_of(path: Path, number: int, line: str, expected: str) -> dict[str, Any]:
    """Return the dictionary that a line holds, as a Python literal or as JSON.

    Args:
        path, number, line: as `lines` yields them.
        expected: what the message says was expected, such as "a product".

    Raises:
        ValueError: if the line is something else, such as a call.
    """
    found: Any = None
    try:
        found = ast.literal_eval(line)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
    if not isinstance(found, dict):
        raise line_wrong(path, number, line, f"{expected} as a Python literal or JSON")
    return found
