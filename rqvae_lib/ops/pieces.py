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

from rqvae_lib.ops.arrays import as_count
from rqvae_lib.ops.engines import DEFAULT_ENGINE, Engine

Piece = TypeVar("Piece")
Work = Callable[[Piece], Iterable[pa.Table]]
MOST_BLOCKS = 1000
OBJECT_STORE = 2**28  # bytes that Ray keeps between its processes; results are small


def on_pieces(
    make: Callable[[], Work[Piece]],
    pieces: Sequence[Piece],
    engine: Engine = DEFAULT_ENGINE,
    workers: int | None = None,
) -> Generator[pa.Table, None, None]:
    """Do the same work on each piece.

    Args:
        make: called once by each worker; returns the work. On Ray it is pickled.
        pieces: what the work takes, one at a time. It yields tables, all of one schema.
        engine: "process" for this process, "ray" for Ray.
        workers: the number of Ray's actors, one CPU each. By default, and at most, one for each CPU
            that Ray has.

    Yields:
        What the work yields, in no particular order. Tables may be divided or joined.

    Raises:
        ImportError: if Ray is asked for and not installed.
        ValueError: for an unknown engine, if workers is below 1, or for workers in this process.
        Exception: what the work raises, as it raises it.
    """
    if engine not in get_args(Engine):
        raise ValueError(f"engine is {engine!r}; it must be one of {get_args(Engine)}")
    if workers is not None:
        if engine != "ray":
            raise ValueError(f"workers is {workers}; expected None: only Ray has workers")
        workers = as_count(workers, "workers")
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

    def __init__(self, boxed: Sequence[Any]) -> None:
        import ray

        make, self._pieces = ray.get(boxed[0])
        self._work = make()

    def __call__(self, numbers: pa.Table) -> Iterator[pa.Table]:
        try:
            for number in numbers.column("piece").to_pylist():
                yield from self._work(self._pieces[number])
        except Exception as error:
            raise _Raised(error) from error


class _Raised(Exception):
    """What the work raised. Ray Data adds sentences to a message (seen in 2.60), but not to this.

    Args:
        error: what was raised.
        added: by Ray Data.
    """

    def __init__(self, error: Exception, *added: object) -> None:
        super().__init__(error)
        self.error = error


def _on_actors(
    ray: Any, make: Callable[[], Work[Piece]], pieces: Sequence[Piece], workers: int | None
) -> Iterator[pa.Table]:
    cpus = int(ray.cluster_resources().get("CPU", 1))
    size = min(workers or cpus, cpus, len(pieces))
    # Arguments of more than 100 KB may be gone when an actor that died is made again. What is put
    # stays as long as this variable; in a list, it is not looked up before the actor does it.
    shared = ray.put((make, pieces))
    # Made here, since Ray would have its workers look at tables. The blocks are what it shares.
    numbers = [{"piece": number} for number in range(len(pieces))]
    blocks = ray.data.from_items(numbers, override_num_blocks=min(len(pieces), MOST_BLOCKS))
    done = blocks.map_batches(
        _Actor,
        fn_constructor_args=([shared],),
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
    """Return what the work raised, out of what Ray wrapped it in; or else Ray's own error."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, _Raised):
            return inner.error
        inner = getattr(inner, "cause", None) or inner.__cause__
    return error


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
    """Turn off Ray Data's progress bars and reports for what is done inside.

    It would also print the stack of its own functions for an error that is raised anyway.
    """
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    shown, level = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        context.enable_progress_bars = shown
        logger.setLevel(level)


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
