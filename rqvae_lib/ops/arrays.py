"""Arrays of any kind, as the tensors that the library computes with.

Vectors and row numbers come as tensors, NumPy arrays, lists, or columns of pandas and polars. Each
is turned into a tensor in one place, here. What could be misread without an error is refused: a
mask is not a list of rows, 2.7 is not row 2, and −1 is not the last row.

Used by: all public functions that take arrays.
"""

from collections.abc import Iterable
from contextlib import suppress
from operator import index
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Array = Tensor | ArrayLike  # and columns of pandas and polars, which are array-like too


def as_vectors(
    x: Array, name: str, *, dtype: torch.dtype | None = None, width: int | None = None
) -> Tensor:
    """Return a matrix of vectors as a tensor.

    Args:
        x: shape (N, D), numbers of any type: a tensor, an array, a list of rows, or a column whose
            cells are rows.
        name: what messages call it.
        dtype: of the result. None: arrays of float64 stay such, and everything else becomes
            float32, also numbers of Python.
        width: the D that is expected, if any.

    Returns:
        shape (N, D). A tensor that is right already is returned itself, on its device.

    Raises:
        ValueError: if it is not a matrix of real numbers, has another width, or its numbers are too
            large or too small for the dtype.
    """
    _check_dense(x, name)
    tensor = x if isinstance(x, Tensor) else _from_numpy(_matrix(x, name))
    if tensor.ndim == 1 and len(tensor):
        raise ValueError(
            f"{name} is one vector, of shape {tuple(tensor.shape)}; expected a matrix with one row "
            f"per item: pass {name}[None]"
        )
    if tensor.ndim != 2 or tensor.dtype == torch.bool or tensor.is_complex():
        raise ValueError(
            f"{name} have shape {tuple(tensor.shape)} and type {tensor.dtype}; expected a matrix "
            "of real numbers, one row per item"
        )
    if width is not None and tensor.shape[1] != width:
        raise ValueError(
            f"{name} have shape {tuple(tensor.shape)}; expected rows of {width} numbers: pass the "
            "same kind of vectors as before"
        )
    double = tensor.dtype == torch.float64 and not _is_python(x)
    wanted = dtype or (torch.float64 if double else torch.float32)
    found = tensor.to(wanted)
    if tensor.dtype == torch.float64 and wanted != torch.float64 and tensor.numel():
        _check_range(tensor, found, name)
    return found


def as_rows(x: Any, name: str, *, ndim: int | None = 1) -> Tensor:
    """Return row numbers, or other whole numbers from 0 on, as a tensor.

    Whether they are rows of a catalogue is not checked here.

    Args:
        x: whole numbers of any integer type: a tensor, an array, a list, a range, a column. Empty
            is always right.
        name: what messages call it.
        ndim: how many dimensions it must have; None: any.

    Returns:
        int64, the shape of x, on its device.

    Raises:
        ValueError: if x is a mask, holds numbers with a fraction or other values, has other
            dimensions, or a number does not fit in 64 bits.
    """
    _check_dense(x, name)
    if isinstance(x, Tensor) and x.dtype == torch.int64 and ndim in (None, x.ndim):
        return x
    tensor = x if isinstance(x, Tensor) else _from_numpy(_whole(x, name))
    if not tensor.numel() and ndim in (None, tensor.ndim):
        return tensor.to(torch.int64)
    if tensor.dtype == torch.bool:
        raise ValueError(
            f"{name} is a mask of True and False; expected row numbers: pass the rows where it is "
            "true, such as mask.nonzero()[:, 0] of a tensor or np.flatnonzero(mask)"
        )
    if tensor.is_floating_point() and tensor.isnan().any():
        raise ValueError(
            f"{name} holds a missing value, or a NaN; expected row numbers only: drop these rows"
        )
    if tensor.is_floating_point() or tensor.is_complex():
        raise ValueError(
            f"{name} holds numbers of type {tensor.dtype}; expected row numbers, which are whole: "
            "convert them with .astype(int), or .long() of a tensor, if no fraction is lost"
        )
    if ndim is not None and tensor.ndim != ndim:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}; expected {_SHAPES.get(ndim, ndim)}"
        )
    return tensor.to(torch.int64)


def as_row(x: Any, name: str) -> int:
    """Return one whole number as an int.

    Raises:
        ValueError: if it is a boolean, has a fraction, or is no number.
    """
    try:
        if not isinstance(x, bool | np.bool_) and getattr(x, "dtype", None) != torch.bool:
            return index(x)
    except TypeError:
        pass
    raise ValueError(f"{name} is {_shown(x)}; expected one whole number, such as 3")


def as_count(x: Any, name: str, *, least: int = 1) -> int:
    """Return a count, such as how many neighbors or rows at a time, as an int.

    Raises:
        ValueError: if it is a boolean, has a fraction, is no number, or is below `least`.
    """
    count = as_row(x, name)
    if count < least:
        raise ValueError(f"{name} is {count}; it must be at least {least}")
    return count


_FLOATS = (torch.float16, torch.float32, torch.float64)  # that NumPy has, too
_SHAPES = {1: "a list of row numbers, such as [3, 5]", 2: "a matrix of whole numbers"}


def _matrix(x: Any, name: str) -> NDArray[Any]:
    """Return a matrix of numbers as an array of floats or integers that torch knows."""
    kind = type(x).__name__
    if not isinstance(x, np.ndarray | list | tuple) and not hasattr(x, "__array__"):
        x = list(x) if isinstance(x, Iterable) and not isinstance(x, str | bytes | dict) else x
    array = _array(x, name)
    if array.dtype == object and array.ndim == 1 and len(array):  # a column whose cells are rows
        array = _array([np.asarray(row) for row in array], name)
    if array.dtype == object and array.ndim == 2:  # such as a table with columns of several types
        with suppress(TypeError, ValueError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "fiubc":
        raise ValueError(
            f"{name} are of type {kind} and hold {array.dtype}; expected a matrix of "
            "numbers, one row per item, such as a NumPy array or a tensor (N, D)"
        )
    if array.dtype.kind in "iu":
        return array.astype(np.float32)
    return array.astype(np.float64) if array.dtype == np.longdouble else array


def _whole(x: Any, name: str) -> NDArray[Any]:
    """Return whole numbers as an array that torch knows. Others are left for the caller."""
    if isinstance(x, str | bytes | dict) or not (hasattr(x, "__array__") or _is_iterable(x)):
        raise ValueError(f"{name} is {_shown(x)}; expected a list of row numbers, such as [3, 5]")
    if not hasattr(x, "__array__"):
        x = [one.item() if isinstance(one, Tensor) and not one.ndim else one for one in x]
    array = _array(x, name)
    if not array.size:
        return np.empty(array.shape, np.int64)
    if array.dtype.kind in "iu" and isinstance(x, list) and bool in set(map(type, x)):
        array = array.astype(object)  # [1, True], which NumPy takes for [1, 1]
        array[0] = True
    if array.dtype == object and all(_is_whole(one) for one in array.flat):
        with suppress(OverflowError):  # such an array is left as it is, and refused below
            array = array.astype(np.int64)
    too_large = array.dtype.kind == "u" and int(array.max()) >= 2**63
    if array.dtype.kind not in "iufbc" or too_large:
        objects = array.flat if array.dtype == object else ()
        wrong = (one for one in objects if not (_is_whole(one) and -(2**63) <= one < 2**63))
        found = f"{int(array.max())}" if too_large else _shown(next(wrong, array.flat[0]))
        raise ValueError(
            f"{name} holds {found}; expected row numbers, which are whole and from 0 on "
            "(Dataset.item_index turns a dataset's own ids into rows)"
        )
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _array(x: Any, name: str) -> NDArray[Any]:
    if isinstance(x, list | tuple) and x and all(isinstance(one, Tensor) for one in x):
        x = [_numpy_of(one) for one in x]
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} is a masked array, some of whose numbers are missing; expected all of them: "
            "fill them in, or drop these rows"
        )
    try:
        return np.asarray(x)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"{name} has rows of different lengths; expected the same number in each: look for a "
            "row that is cut off"
        ) from error


def _numpy_of(tensor: Tensor) -> NDArray[Any]:
    """Return a tensor's numbers as an array, in float32 if NumPy lacks their type, as bfloat16."""
    tensor = tensor.detach().cpu()
    known = not tensor.is_floating_point() or tensor.dtype in _FLOATS
    found: NDArray[Any] = (tensor if known else tensor.float()).numpy()
    return found


def _check_dense(x: Any, name: str) -> None:
    """Refuse sparse tensors, and the sparse tables of SciPy."""
    if x.layout != torch.strided if isinstance(x, Tensor) else hasattr(x, "toarray"):
        method = "to_dense" if isinstance(x, Tensor) else "toarray"
        raise ValueError(
            f"{name} is sparse, of type {type(x).__name__}; expected all numbers: pass "
            f"{name}.{method}()"
        )


def _from_numpy(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor, with the same memory where torch can use it."""
    if not (array.flags.writeable and array.flags.c_contiguous and array.dtype.isnative):
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array)


def _check_range(before: Tensor, after: Tensor, name: str) -> None:
    """Refuse float64 numbers that became infinite, or all of which became 0."""
    lost = after.isinf() & before.isfinite()
    if lost.any() or (before.any() and not after.any()):
        raise ValueError(
            f"{name} holds numbers up to {float(before.abs().max()):.3g}, which "
            f"{str(after.dtype).removeprefix('torch.')} cannot hold; expected numbers from about "
            "1e-30 to 1e30: use another unit"
        )


def _is_python(x: Any) -> bool:
    """Return whether numbers are in lists of lists, or in tuples."""
    return isinstance(x, list | tuple) and len(x) > 0 and isinstance(x[0], list | tuple)


def _is_iterable(x: Any) -> bool:
    return isinstance(x, Iterable)


def _is_whole(x: Any) -> bool:
    return isinstance(x, int | np.integer) and not isinstance(x, bool)


def _shown(x: Any) -> str:
    text = " ".join(repr(x.item() if isinstance(x, np.generic) else x).split())
    return text if len(text) <= 60 else f"{text[:60]}…"
