"""Work on pieces: what it returns and raises is the same in this process and on Ray."""

import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import get_args

import pyarrow as pa
import pytest
import ray

from rqvae_lib.ops.engines import Engine
from rqvae_lib.ops.pieces import on_pieces
from tests.helpers import within

PIECES = list(range(12))


class Squares:
    """Work that returns a table for each number below its piece, or none."""

    def __call__(self, piece: int) -> Iterator[pa.Table]:
        if piece < 0:
            raise ValueError(f"piece {piece} is below 0: leave it out")
        for number in range(piece):
            yield pa.table({"piece": [piece], "square": [number**2]})


EXPECTED = sorted((piece, number**2) for piece in PIECES for number in range(piece))


def rows_of(tables: list[pa.Table]) -> list[tuple[int, int]]:
    table = pa.concat_tables(tables)
    return sorted(
        zip(*(table.column(name).to_pylist() for name in ("piece", "square")), strict=True)
    )


def test_in_this_process_pieces_come_one_after_another() -> None:
    assert rows_of(list(on_pieces(Squares, PIECES))) == EXPECTED
    found = on_pieces(Squares, [3, -1])
    assert [table.column("square").to_pylist() for table in (next(found), next(found))] == [
        [0],
        [1],
    ]
    with pytest.raises(ValueError, match="piece -1 is below 0: leave it out"):
        list(found)
    assert list(on_pieces(Squares, [])) == []


def test_ray_that_runs_already_goes_on_running_also_after_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What it returns, and that it is gone where it was started, is in tests/tokenizer."""
    # Not in tmp_path, whose name is too long for Ray's sockets.
    with TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as temporary, within(240):
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=2**27,
            _node_ip_address="127.0.0.1",
            _temp_dir=temporary,
        )
        try:
            with pytest.raises(ValueError, match="below 0") as error:
                list(on_pieces(Squares, [3, -1], "ray", 1))
            assert str(error.value) == "piece -1 is below 0: leave it out"
            assert "Traceback" not in "".join(capfd.readouterr())  # the error alone says it all
            assert ray.is_initialized()
        finally:
            ray.shutdown()


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'rqvae-lib\[scale\]'"):
        list(on_pieces(Squares, PIECES, "ray"))


@pytest.mark.parametrize(
    ("engine", "workers", "says"),
    [
        ("dask", None, "engine is 'dask'; it must be one of"),
        ("process", 2, "workers is 2; expected None: only Ray has workers"),
        ("ray", 0, "workers is 0; it must be at least 1"),
        ("ray", True, "workers is True; expected one whole number"),
    ],
)
def test_what_cannot_be_is_refused(engine: Engine, workers: int | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        list(on_pieces(Squares, PIECES, engine, workers))
    assert set(get_args(Engine)) == {"process", "ray"}
