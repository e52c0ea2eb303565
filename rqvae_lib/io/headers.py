"""What a safetensors file says of itself, read without its tensors and without torch.

Only to tell files apart, such as one's own from somebody else's. `tensor_files` reads what is used.

Used by: the commands, before they replace a file.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

HEADER_KEY = "rqvae-lib"  # under which a file of ours describes itself
LARGEST_HEADER = 100_000_000  # bytes; the format's own limit


class Header(NamedTuple):
    """The header of a safetensors file."""

    metadata: dict[str, Any]  # text by name
    tensors: tuple[str, ...]  # their names
    size: int  # bytes before the first tensor


def read_header(path: Path) -> Header | None:
    """Return the header of a safetensors file, or None if the file is none.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= LARGEST_HEADER:
            return None
        written = file.read(length)
    if len(written) < length:
        return None
    try:
        header = json.loads(written)
    except (ValueError, RecursionError):
        return None
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        return None
    return Header(metadata, tuple(header), 8 + length)


def kind_of(path: Path) -> str | None:
    """Return what kind of checkpoint a file says that it holds; None if it is no checkpoint."""
    header = read_header(path)
    if header is None:
        return None
    try:
        described = json.loads(header.metadata.get(HEADER_KEY, "{}"))
    except (ValueError, TypeError, RecursionError):
        return None
    kind = described.get("kind") if isinstance(described, dict) else None
    return kind if isinstance(kind, str) else None
