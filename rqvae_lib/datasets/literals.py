"""Lines of a published file that are Python literals, parsed as data and never executed.

Used by: Amazon reviews of 2014 and Steam.
"""

from pathlib import Path
from typing import Any

from rqvae_lib.data.literals import parsed
from rqvae_lib.datasets.json_lines import line_wrong


def literal_of(path: Path, number: int, line: str, expected: str) -> dict[str, Any]:
    """Return the dictionary that a line holds, as a Python literal or as JSON.

    Args:
        path, number, line: as `text_files.lines` yields them.
        expected: what the message says was expected, such as "a product".

    Raises:
        ValueError: if the line is something else, such as a call.
    """
    found = parsed(line)
    if not isinstance(found, dict):
        raise line_wrong(path, number, line, f"{expected} as a Python literal or JSON")
    return found
