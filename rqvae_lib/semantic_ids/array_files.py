"""IDs in an array: no item ids, so row i, or column i, is item i of the catalogue.

Some projects write one row for each item, others one row for each level. The shape says which, if
only one side can be the items. A file of records has the ids of the items too.

Used by: the export and the import of IDs.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rqvae_lib.io.atomic import no_room, write_atomically
from rqvae_lib.io.npy_files import read_npy
from rqvae_lib.semantic_ids.numbering import Numbers, WrittenIDs

TENSOR = "semantic_ids"  # the name of the tensor in a .safetensors file
RECORD_LEVELS = 3
RECORD = np.dtype([("item_id", "<i8"), ("codes", "<i4", (RECORD_LEVELS,))])
MANY_LEVELS = 256  # more numbers than any ID has: an array with more is something else


# In


def read_array(
    path: Path, levels_first: bool | None, num_items: int | None
) -> tuple[WrittenIDs, str]:
    """Read a .npy or .safetensors array of IDs.

    Args:
        path: the file.
        levels_first: whether its shape is (levels, items). None: as the shape says.
        num_items: N of the catalogue, if it is known.

    Returns:
        What the file says, and a sentence about its orientation.

    Raises:
        ValueError: if it is no such array, or its shape does not say its orientation.
        OSError: if it cannot be read.
    """
    array = read_npy(path) if path.suffix.lower() == ".npy" else _tensor(path)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
        what = "embeddings have this type" if array.dtype.kind == "f" else "something else"
        raise ValueError(
            f"{path} holds {array.dtype} of shape {array.shape}, expected whole numbers of shape "
            f"(levels, items) or (items, levels): it may be another file ({what})"
        )
    if array.dtype == np.uint64 and int(array.max()) >= 2**63:
        raise ValueError(f"{path} holds {int(array.max())}, expected codes: make it again")
    levels_first, why = _orientation(path, array.shape, levels_first, num_items)
    table = np.ascontiguousarray(array.T if levels_first else array, dtype=np.int64)
    if table.shape[1] > MANY_LEVELS:
        raise ValueError(
            f"{path} has {table.shape[1]:,} numbers for each of {len(table):,} items, expected at "
            f"most {MANY_LEVELS}: pass levels_first (--ids-levels-first or --no-ids-levels-first)"
        )
    lengths = np.full(len(table), table.shape[1], dtype=np.int64)
    return WrittenIDs(str(path), Numbers(table, lengths), None, "item"), why


def _orientation(
    path: Path, shape: tuple[int, ...], levels_first: bool | None, num_items: int | None
) -> tuple[bool, str]:
    """Return whether the levels come first, and how that is known."""
    words = {True: "(levels, items)", False: "(items, levels)"}
    if num_items is not None:
        ways = (True, False) if levels_first is None else (levels_first,)
        fits = [first for first in ways if shape[first] == num_items]
        if not fits:
            taken = "" if levels_first is None else f", taken for {words[levels_first]}"
            raise ValueError(
                f"{path} has the shape {shape}{taken}, but the catalogue has {num_items:,} items: "
                "pass the IDs of this catalogue"
            )
        levels_first = fits[0] if len(fits) == 1 else None
    elif levels_first is None and shape[0] != shape[1]:
        levels_first = shape[0] < shape[1]
    if levels_first is None:
        raise ValueError(
            f"{path} has the shape {shape}, so either side may be the items: pass "
            "levels_first=True or False (--ids-levels-first, --no-ids-levels-first)"
        )
    return levels_first, f"shape {shape} is {words[levels_first]} (levels_first)"


def _tensor(path: Path) -> NDArray[Any]:
    with path.open("rb"):
        pass
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            name = TENSOR if TENSOR in names else names[0] if len(names) == 1 else None
            if name is not None:
                array: NDArray[Any] = file.get_tensor(name)
                return array
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, "a .safetensors file of whole numbers", error) from error
    raise ValueError(
        f"{path} holds {len(names)} tensors, expected one, or one named {TENSOR!r}: write it again"
    )


def _damaged(path: Path, expected: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return ValueError(f"{path} is not {expected} ({reason}): make it again")


def read_records(path: Path) -> WrittenIDs:
    """Read records of an int64 item id and three int32 codes, little-endian.

    Raises:
        ValueError: if the file's size is not a multiple of a record's, or it is empty.
        OSError: if it cannot be read.
    """
    size = path.stat().st_size
    if not size or size % RECORD.itemsize:
        raise ValueError(
            f"{path} has {size:,} bytes, expected a multiple of {RECORD.itemsize}: an int64 item "
            f"id and {RECORD_LEVELS} int32 codes for each item"
        )
    records = np.fromfile(path, dtype=RECORD)
    table = records["codes"].astype(np.int64)
    lengths = np.full(len(table), RECORD_LEVELS, dtype=np.int64)
    keys = records["item_id"].astype(np.int64)
    return WrittenIDs(str(path), Numbers(table, lengths), keys, "row")


# Out


def write_array(path: Path, table: NDArray[np.int64]) -> None:
    """Write an array as it is, as .npy or .safetensors."""
    table = np.ascontiguousarray(table)  # safetensors writes other layouts scrambled
    with write_atomically(path) as temporary:
        if path.suffix.lower() == ".npy":
            with temporary.open("wb") as file:
                np.save(file, table, allow_pickle=False)
            return
        try:
            save_file({TENSOR: table}, temporary)
        except SafetensorError as error:  # such as a full disk
            raise no_room(path, str(error)) from error


def write_records(path: Path, item_ids: NDArray[np.int64], table: NDArray[np.int64]) -> None:
    """Write records of an int64 item id and three int32 codes, little-endian."""
    records = np.empty(len(table), dtype=RECORD)
    records["item_id"], records["codes"] = item_ids, table
    with write_atomically(path) as temporary:
        records.tofile(temporary)


# Pickles

GRID_FILE = "merged_predictions_tensor.pt"


def python_for_grid(path: Path) -> str:
    """Return the commands that turn an exported array into the pickle that GRID reads, and back.

    Args:
        path: the array, .npy or .safetensors.
    """
    if path.suffix.lower() == ".npy":
        there = f"torch.save(torch.from_numpy(numpy.load({str(path)!r})), {GRID_FILE!r})"
        imports = "import numpy, torch"
    else:
        there = f"torch.save(load_file({str(path)!r})['semantic_ids'], {GRID_FILE!r})"
        imports = "import torch; from safetensors.torch import load_file"
    return (
        f'for GRID: python -c "{imports}; {there}"\n'
        f"and back: {python_for_pickle(GRID_FILE, str(Path(GRID_FILE).with_suffix('.npy')))}"
    )


def python_for_pickle(pickle: str, npy: str) -> str:
    """Return the command that turns a pickle of an array into a .npy file."""
    if Path(pickle).suffix.lower() in (".pt", ".pth"):
        read = f"torch.load({pickle!r}, weights_only=True).numpy()"
        return f'python -c "import numpy, torch; numpy.save({npy!r}, {read})"'
    read = f"numpy.asarray(pickle.load(open({pickle!r}, 'rb')))"
    return f'python -c "import numpy, pickle; numpy.save({npy!r}, {read})"'
