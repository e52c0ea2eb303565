"""Reading a .npy file of numbers from anywhere: nothing in it is executed, and it cannot lie.

NumPy allocates memory for everything that a file promises, both its header and its numbers. So what
the header promises is compared with the size of the file first.

Source: the format, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
Used by: your own embeddings, and arrays of semantic IDs.
"""

import math
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_HEADER_BYTES = 2**16  # of a .npy file of numbers; NumPy's own headers have 128


def read_npy(path: Path) -> NDArray[Any]:
    """Read an array of numbers, of any shape.

    Raises:
        ValueError: if the file is not such a file, or is damaged.
        OSError: if it cannot be read.
    """
    try:
        _check_size(path)
        with path.open("rb") as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    # What NumPy raises for a header that it cannot parse.
    except (ValueError, EOFError, SyntaxError, TokenError, TypeError) as error:
        raise ValueError(
            f"{path} is not a .npy file of numbers ({error}): write it with numpy.save"
        ) from error
    return array


def _check_size(path: Path) -> None:
    """Raise ValueError for a file whose header promises more than the file holds."""
    with path.open("rb") as file:
        start = BytesIO(file.read(MAX_HEADER_BYTES))
    version = np.lib.format.read_magic(start)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"format {version}, expected 1.0 or 2.0")
    shape, _, dtype = read_header(start)
    promised, held = math.prod(shape) * dtype.itemsize, path.stat().st_size - start.tell()
    if promised > held:
        raise ValueError(f"it holds {held:,} bytes, but its header promises {promised:,}")
