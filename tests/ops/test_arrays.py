"""Arrays of any library become tensors, and what could be misread is refused."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse import csr_array

from rqvae_lib.ops.arrays import as_row, as_rows, as_vectors

# Vectors

NUMBERS = np.arange(12).reshape(3, 4) - 5

MATRICES: dict[str, Callable[[], Any]] = {
    "float32": lambda: NUMBERS.astype(np.float32),
    "float16": lambda: NUMBERS.astype(np.float16),
    "longdouble": lambda: NUMBERS.astype(np.longdouble),
    "int8": lambda: NUMBERS.astype(np.int8),
    "big-endian": lambda: NUMBERS.astype(">f4"),
    "objects": lambda: NUMBERS.astype(object),
    "not contiguous": lambda: np.repeat(NUMBERS, 2, axis=1)[:, ::2],
    "columns first": lambda: np.asfortranarray(NUMBERS),
    "backwards": lambda: NUMBERS[::-1, ::-1].copy()[::-1, ::-1],
    "lists": lambda: NUMBERS.tolist(),
    "tuples": lambda: tuple(map(tuple, NUMBERS.tolist())),
    "list of arrays": lambda: list(NUMBERS),
    "list of tensors": lambda: list(torch.tensor(NUMBERS)),
    "generator": lambda: (row for row in NUMBERS),
    "tensor": lambda: torch.tensor(NUMBERS),
    "bfloat16": lambda: torch.tensor(NUMBERS).bfloat16(),
    "DataFrame": lambda: pd.DataFrame(NUMBERS),
    "nullable": lambda: pd.DataFrame(NUMBERS).astype("Int64"),
    "Series of lists": lambda: pd.Series(NUMBERS.tolist()),
    "Series of arrays": lambda: pd.Series(list(NUMBERS)),
    "polars": lambda: pl.DataFrame(NUMBERS),
    "polars lists": lambda: pl.Series(NUMBERS.tolist()),
}


@pytest.mark.parametrize("make", MATRICES.values(), ids=MATRICES)
def test_the_same_vectors_from_everywhere(make: Callable[[], Any]) -> None:
    expected = torch.tensor(NUMBERS, dtype=torch.float32)
    assert torch.equal(as_vectors(make(), "x").float(), expected)
    assert torch.equal(as_vectors(make(), "x", dtype=torch.float32, width=4), expected)


def test_read_only_arrays_are_copied_and_others_are_not() -> None:
    array = NUMBERS.astype(np.float32)
    assert as_vectors(array, "x").data_ptr() == array.ctypes.data
    array.flags.writeable = False
    as_vectors(array, "x").zero_()
    assert (array == NUMBERS).all()


def test_float64_stays_and_a_right_tensor_is_returned_itself() -> None:
    x = torch.zeros(2, 3)
    assert as_vectors(x, "x") is x
    assert as_vectors(np.zeros((2, 3)), "x").dtype == torch.float64
    assert as_vectors([[0.5, 1], [2, 3]], "x").dtype == torch.float32
    assert as_vectors(np.float16([[0.5]]), "x").dtype == torch.float32
    assert as_vectors(np.int64([[5]]), "x").dtype == torch.float32
    assert as_vectors(torch.zeros(0, 3), "x").shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(4), r"x is one vector, of shape \(4,\); .* pass x\[None\]"),
        ([1.0, 2.0], r"x is one vector, of shape \(2,\)"),
        (torch.zeros(2, 3, 4), r"x have shape \(2, 3, 4\)"),
        (np.ones((2, 3), bool), "torch.bool; expected a matrix of real numbers"),
        (np.ones((2, 3), complex), "complex128; expected a matrix of real numbers"),
        ([["a", "b"]], "expected a matrix of numbers"),
        ("ab", "x are of type str"),
        ({"a": 1}, "x are of type dict"),
        (None, "x are of type NoneType"),
        ([[1.0], [1.0, 2.0]], "rows of different lengths"),
        (np.ma.masked_less(np.ones((2, 2)), 5), "masked array"),
    ],
)
def test_what_is_no_matrix_is_refused(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_vectors(x, "x")


def test_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="expected rows of 4 numbers"):
        as_vectors(np.zeros((2, 3)), "x", width=4)


@pytest.mark.parametrize("size", [1e39, 1e300, 1e-46, 1e-300])
def test_what_float32_cannot_hold_is_refused(size: float) -> None:
    x = np.full((2, 3), size)
    with pytest.raises(ValueError, match=r"float32 cannot hold; .* use another unit"):
        as_vectors(x, "x", dtype=torch.float32)
    assert torch.equal(as_vectors(x, "x"), torch.from_numpy(x))
    x[0, 0] = np.inf  # what is infinite already is another matter
    assert not as_vectors(x[:1, :1], "x", dtype=torch.float32).isfinite().any()


# Rows

WHOLE = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@given(
    st.sampled_from(WHOLE).flatmap(
        lambda kind: hnp.arrays(
            kind, st.integers(0, 5), elements=st.integers(0, np.iinfo(kind).max // 2)
        )
    )
)
def test_whole_numbers_of_every_type_keep_their_value(array: Any) -> None:
    expected = [int(one) for one in array]
    for same in (array, array.tolist(), tuple(array.tolist()), list(array), pd.Series(array)):
        found = as_rows(same, "rows")
        assert found.dtype == torch.int64
        assert found.tolist() == expected


@pytest.mark.parametrize(
    "x",
    [
        range(3),
        {0: "a", 1: "b", 2: "c"}.keys(),
        pd.Index([0, 1, 2]),
        pd.Series([0, 1, 2], dtype="Int64"),
        pd.Series([0, 1, 2], dtype="int64[pyarrow]"),
        pl.Series([0, 1, 2]),
        np.array([0, 1, 2], dtype=object),
        np.array([0, 1, 2], dtype=">i4"),
        [torch.tensor(0), torch.tensor(1), np.int32(2)],
        torch.tensor([0, 1, 2], dtype=torch.uint8),
    ],
)
def test_rows_from_everywhere(x: Any) -> None:
    assert torch.equal(as_rows(x, "rows"), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    "x", [[], (), np.array([]), torch.empty(0), torch.empty(0, dtype=torch.bool), pd.Series([])]
)
def test_nothing_is_always_right(x: Any) -> None:
    assert torch.equal(as_rows(x, "rows"), torch.empty(0, dtype=torch.int64))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([True, False], "rows is a mask"),
        (np.ones(3, bool), "rows is a mask"),
        (torch.ones(3, dtype=torch.bool), "rows is a mask"),
        (pd.Series([True]), "rows is a mask"),
        ([1.0, 2.0], "rows holds numbers of type torch.float64"),
        (torch.tensor([1.5]), "rows holds numbers of type torch.float32"),
        (np.array([1 + 1j]), "rows holds numbers of type torch.complex128"),
        (["1", "2"], "rows holds '1'; expected row numbers"),
        ([Decimal(1)], r"rows holds Decimal\('1'\)"),
        ([None], "rows holds None"),
        ([1, True], "rows holds"),
        (pd.Series([1, None], dtype="Int64"), "rows holds"),
        (np.array([2**63], np.uint64), "rows holds 9223372036854775808"),
        ([2**70], "rows holds 1180591620717411303424"),
        (pd.to_datetime(["2020-01-01"]), "rows holds"),
        ("12", "rows is '12'"),
        ({1: 2}, "rows is {1: 2}"),
        (5, "rows is 5; expected a list"),
        (None, "rows is None"),
        ([[1, 2]], r"rows has shape \(1, 2\)"),
        ([[1], [1, 2]], "rows of different lengths"),
        (torch.tensor(5, dtype=torch.int32), r"rows has shape \(\)"),
        (np.ma.masked_less(np.arange(3), 1), "masked array"),
    ],
)
def test_what_could_be_misread_is_refused(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_rows(x, "rows")


def test_one_row() -> None:
    for three in (3, np.uint8(3), torch.tensor(3), np.array(3)):
        assert as_row(three, "item") == 3
    for bad in (True, np.True_, torch.tensor(True), 3.0, "3", None, [3], torch.tensor(3.0)):
        with pytest.raises(ValueError, match=r"item is .*; expected one whole number"):
            as_row(bad, "item")


def test_a_list_of_tensors_that_numpy_has_no_type_for() -> None:
    found = as_vectors([torch.tensor([1.5, -2.0], dtype=torch.bfloat16)], "x")
    assert found.dtype == torch.float32
    assert found.tolist() == [[1.5, -2.0]]


SPARSE: list[tuple[Any, str]] = [
    (torch.eye(2).to_sparse(), r"type Tensor; .* pass x\.to_dense\(\)"),
    (csr_array(np.eye(2)), r"type csr_array; .* pass x\.toarray\(\)"),
]


@pytest.mark.parametrize(("x", "message"), SPARSE)
def test_sparse_numbers_are_refused(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_vectors(x, "x")
    with pytest.raises(ValueError, match=message):
        as_rows(x, "x")


@pytest.mark.parametrize(
    "x",
    [pl.Series([1, None]), pd.Series([1, None], dtype="Int64"), pa.array([1, None])],
    ids=["polars", "pandas", "arrow"],
)
def test_a_missing_row_number_is_called_so(x: Any) -> None:
    with pytest.raises(ValueError, match="holds a missing value"):
        as_rows(x, "x")


@pytest.mark.parametrize(
    ("x", "found"), [([3, 2**70], 2**70), ([1, -(2**64)], -(2**64)), ([1, None], None)]
)
def test_the_number_that_is_wrong_is_shown(x: list[Any], found: int | None) -> None:
    with pytest.raises(ValueError, match=f"x holds {found}; expected row numbers"):
        as_rows(x, "x")
