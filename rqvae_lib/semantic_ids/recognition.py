"""Whether a file has the shape of an export, told from its beginning.

Before an export replaces a file, it has to be known for an earlier one. A file that only looks like
one by its name is somebody else's.

Used by: `rqvae-lib export`.
"""

import re
from pathlib import Path

import numpy as np

from rqvae_lib.io.headers import read_header
from rqvae_lib.semantic_ids.array_files import TENSOR
from rqvae_lib.semantic_ids.column_files import columns_of
from rqvae_lib.semantic_ids.config import Format

BEGINNING = 2**16  # bytes that are looked at
MOST_LEVELS = 16  # of an ID in an array that is taken for one of ours
_KEY = r'\{"(?:[^"\\]|\\.)*": '
_TOKEN = r"(?:<(?:s_)?[a-z]+_\d+>|<L\d+_\d+>|C\d+|<\|sid_(?:\d+|begin)\|>)"
# How the text of a format begins. JSON may be as Python writes it, or in lines.
_BEGINNINGS: dict[str, str] = {
    "index-json": rf'{_KEY}\["{_TOKEN}"',
    "sem-ids": rf"{_KEY}\[\d",
    "text-json": rf'{_KEY}"{_TOKEN}',
    "catalogue-jsonl": r'\{"item_id": (?:"(?:[^"\\]|\\.)*"|-?\d+), "token_ids": \[\d',
}
_TABLES: dict[str, str] = {
    "parquet": "pid,codes",
    "csv": r"item_id(,codebook_lv\d+)+",
    "item-to-sid": "item_id,origin_codebook,codebook,offset_codebook,index",
}


def looks_exported(path: Path, format: Format) -> bool:
    """Tell whether a file looks as if `export_ids` had written it in a format.

    Records of xLLM say nothing of themselves, so they are never known.

    Raises:
        OSError: if the file cannot be read.
    """
    if format in _TABLES:
        try:
            return re.fullmatch(_TABLES[format], ",".join(columns_of(path))) is not None
        except ValueError:
            return False
    if format == "grid":
        return _is_array(path)
    with path.open("rb") as file:
        beginning = file.read(BEGINNING).decode("utf-8", "replace")
    if format in _BEGINNINGS:
        return re.match(_BEGINNINGS[format], beginning) is not None
    if format == "tokens" and path.suffix.lower() == ".txt":
        *lines, _ = beginning.split("\n")
        return bool(lines) and all(
            re.fullmatch(_TOKEN.replace("begin", "begin|end"), one) for one in lines
        )
    if format == "tokens":
        return re.match(r'\{\s*"version": "1\.0",\s*"truncation": ', beginning) is not None
    return False


def _is_array(path: Path) -> bool:
    """Tell whether a file holds nothing but whole numbers, a row for each of a few levels."""
    if path.suffix.lower() == ".safetensors":
        header = read_header(path)
        return header is not None and header.tensors == (TENSOR,)
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                return False
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return False
    # A list of pairs, such as users and items, has as few columns, and not as few rows.
    return len(shape) == 2 and shape[0] <= MOST_LEVELS and dtype == np.int64
