"""The same work on many pieces: in this process, one after another, or on Ray, by many actors.

Each worker makes what it works with once, such as a model, and then takes piece after piece. What
it returns for them comes back in whatever order they are done, so each row has to carry its id. If
an actor dies, its piece is done again by another one, and what it had returned for it is dropped.

Ray is used where it runs already, or where `RAY_ADDRESS` says; it is then left as it was found.
Otherwise it is started inside this process, without a dashboard and on this machine only, keeps its
files in a temporary folder, and is gone at the end.

Source: Ray Data, https://docs.ray.io/en/latest/data/data.html.
Derived in: chapter 12.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

import pyarrow as pa

from rqvae_lib.ops.engines import Engine

Piece = TypeVar("Piece")
Work = Callable[[Piece], Iterable[pa.Table]]
OBJECT_STORE = 2**28  # bytes that Ray keeps between its processes; results are small


def on_pieces(
    make: Callable[[], Work[Piece]],
    pieces: Sequence[Piece],
    engine: Engine = "process",
    workers: int | None = None,
) -> Generator[pa.Table, None, None]:
    """Do the same work on each piece.

    Args:
        make: called once by each worker; returns the work. On Ray it is pickled.
        pieces: what the work takes, one at a time. It yields tables, all of one schema.
        engine: "process" for this process, "ray" for Ray.
        workers: the number of Ray's actors, one CPU each. By default one for each CPU.

    Yields:
        What the work yields, in no particular order. Tables may be divided or joined.

    Raises:
        ImportError: if Ray is asked for and not installed.
        ValueError: for an unknown engine, if workers is below 1, or for workers in this process.
        Exception: what the work raises, as it raises it.
    """
    if engine not in get_args(Engine):
        raise ValueError(f"engine is {engine!r}; it must be one of {get_args(Engine)}")
    if workers is not None and (engine != "ray" or workers < 1):
        expected = "at least 1" if engine == "ray" else "None: only Ray has workers"
        raise ValueError(f"workers is {workers}; expected {expected}")
    if not pieces:
        return
    if engine == "process":
        work = make()
        for piece in pieces:
            yield from work(piece)
        return
    with _ray(workers) as ray:
        yield from _on_actors(ray, make, pieces, workers)


class _Actor:
    """A worker: it makes the work once, and does it on the pieces whose numbers it is given."""

    def __init__(self, make: Callable[[], Work[Any]], pieces: Sequence[Any]) -> None:
        self._work, self._pieces = make(), pieces

    def __call__(self, numbers: pa.Table) -> Iterator[pa.Table]:
        for number in numbers.column("piece").to_pylist():
            yield from self._work(self._pieces[number])


def _on_actors(
    ray: Any, make: Callable[[], Work[Piece]], pieces: Sequence[Piece], workers: int | None
) -> Iterator[pa.Table]:
    cpus = int(ray.cluster_resources().get("CPU", 1))
    size = min(workers or cpus, len(pieces))
    numbers = [pa.table({"piece": [number]}) for number in range(len(pieces))]
    done = ray.data.from_arrow(numbers).map_batches(
        _Actor,
        fn_constructor_args=(make, pieces),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=1,
    )
    try:
        yield from done.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except Exception as error:
        raise _own(error) from None


def _own(error: BaseException) -> BaseException:
    """Return the exception that the work raised, out of those that Ray wrapped it in."""
    found, inner = error, error
    while inner is not None:
        if not type(inner).__module__.startswith("ray.") and not hasattr(inner, "cause"):
            found = inner
        inner = getattr(inner, "cause", None) or inner.__cause__  # type: ignore[assignment]
    return found


@contextmanager
def _ray(workers: int | None) -> Iterator[Any]:
    """Yield the module `ray`, running, and leave it as it was found."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            "the engine 'ray' needs Ray: pip install 'rqvae-lib[scale]', or take 'process'"
        ) from error
    if ray.is_initialized():
        with _quiet(ray):
            yield ray
        return
    with (
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        _environment(RAY_USAGE_STATS_ENABLED="0"),
    ):
        try:
            if "RAY_ADDRESS" in os.environ:
                ray.init(log_to_driver=False, logging_level=logging.ERROR)
            else:
                ray.init(
                    address="local",
                    num_cpus=workers or os.cpu_count(),
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=folder,
                )
            with _quiet(ray):
                yield ray
        finally:
            ray.shutdown()  # of another's cluster, it only takes leave


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Turn off Ray Data's progress bars for what is done inside."""
    context = ray.data.DataContext.get_current()
    shown = context.enable_progress_bars
    context.enable_progress_bars = False
    try:
        yield
    finally:
        context.enable_progress_bars = shown


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for what is done inside, which new processes inherit."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
