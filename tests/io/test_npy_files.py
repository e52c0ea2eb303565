"""Arrays of numbers from anywhere: what NumPy writes comes back, what lies is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rqvae_lib.io.npy_files import read_npy

ARRAYS = [
    np.arange(6, dtype=np.int64).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.array(3, dtype=np.uint8),
    np.zeros((0, 4)),
    np.arange(5, dtype=">i4"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype} {array.shape}")
def test_an_array_comes_back(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_npy(tmp_path / "a.npy")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[:-4], "it holds 44 bytes, but its header promises 48"),
        (
            lambda data: data.replace(b"(2, 3)", b"(2, 3000000000000)"),
            "promises 48,000,000,000,000",
        ),
        (lambda data: b"\x93NUMPY\x03\0" + data[8:], r"format \(3, 0\), expected 1\.0 or 2\.0"),
        (lambda data: b"\x93NUMPY\x02\0" + b"\xff" * 4 + data[12:], r"is not a \.npy file"),
        (lambda data: data[:5], r"is not a \.npy file"),
        (lambda data: b"", r"is not a \.npy file"),
    ],
)
def test_a_file_that_promises_more_than_it_holds_is_refused(
    spoil: Callable[[bytes], bytes], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, ARRAYS[0])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=says) as refused:
        read_npy(path)
    assert str(refused.value).startswith(str(path))


def test_python_objects_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"is not a \.npy file of numbers"):
        read_npy(tmp_path / "a.npy")


def test_no_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        read_npy(tmp_path / "nowhere.npy")
