"""On Ray the same IDs come out, also if a worker dies on the way."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray

from rqvae_lib.data.item_folders import Piece
from rqvae_lib.tokenizer import assignment
from rqvae_lib.tokenizer.assignment import assign_folder
from rqvae_lib.tokenizer.rqvae import RQVAE
from tests.helpers import within
from tests.tokenizer.test_assignment import IDS, ROWS, assert_as_in_memory, model, write

__all__ = ["model"]  # a fixture


class DyingOnce(assignment._Assigner):
    """A worker whose process ends in the middle of its third piece, but only once."""

    def __init__(self, flag: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._flag, self._pieces = flag, 0

    def __call__(self, piece: Piece) -> Iterator[pa.Table]:
        self._pieces += 1
        for table in super().__call__(piece):
            yield table
            if self._pieces == 3 and not self._flag.exists():
                self._flag.touch()
                os._exit(1)


def test_a_worker_that_dies_costs_no_row_and_no_repeat(
    model: RQVAE,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = np.random.default_rng(1).permutation(ROWS)
    folder = write(tmp_path / "vectors", IDS, order, [10, 700, 701], 150)
    flag, path = tmp_path / "died", tmp_path / "ids.parquet"
    monkeypatch.setattr(assignment, "_Assigner", partial(DyingOnce, flag))
    with within(240):
        done = assign_folder(model, folder, path, engine="ray", workers=2, progress=False)
    assert flag.exists()
    assert_as_in_memory(model, folder, path, done)
    assert not ray.is_initialized()
