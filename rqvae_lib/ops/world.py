"""The processes that do one piece of work together.

`torchrun` starts the same program several times and tells each process its rank. Inside of
`joined()` these processes are one world: each takes its share of the rows of a batch, and sums,
gathered rows and what the first process says are the same in all of them. Outside of it, and
without `torchrun`, the world is this process alone, and every method returns what it is given.

All processes must call the same methods in the same order. When one of them ends, the others raise
at their next call, with one sentence.

Source: the collectives are those of torch.distributed, over gloo on CPUs and NCCL on GPUs.
Derived in: chapter 12.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from rqvae_lib.ops.torchrun import number_of_processes, own_number

T = TypeVar("T")

# The first process may read data or fit k-means for hours. One that was killed is noticed at once.
WAIT = timedelta(hours=6)
REPORTED = "(Process 0 raises it, too, and reports it.)"


@dataclass(frozen=True)
class World:
    """Some processes, seen from one of them.

    Attributes:
        rank: this process's number, from 0.
        size: the number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def rows(self, num_rows: int) -> slice:
        """Return which of `num_rows` rows are this process's share.

        The shares follow each other in the order of ranks, and differ by one row at most.
        """
        return slice(
            num_rows * self.rank // self.size,
            num_rows * (self.rank + 1) // self.size,
        )

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the processes' tensors, which have one shape and dtype.

        Raises:
            WorldError: if another process has ended.
        """
        if self.size == 1:
            return values
        total = values.detach().clone(memory_format=torch.contiguous_format)
        self.add_up(total)
        return total

    def add_up(self, *values: Tensor) -> None:
        """Replace each tensor by its sum over the processes, in place, all at the same time.

        Args:
            values: each contiguous, and of one shape and dtype in all processes.

        Raises:
            WorldError: if another process has ended.
        """
        if self.size > 1:
            with _one_sentence():
                works = [torch.distributed.all_reduce(each, async_op=True) for each in values]
                for work in works:
                    assert work is not None
                    work.wait()

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first process's tensors into those of the others, in place.

        Args:
            tensors: in the same order, and of the same shapes and dtypes, in all processes.

        Raises:
            WorldError: if another process has ended.
        """
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().contiguous()
            with _one_sentence():
                torch.distributed.broadcast(sent, src=0)
            if not self.is_first:
                tensor.detach().copy_(sent)

    def all_rows(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, in the order of ranks.

        Args:
            rows: shape (n, ...): n may differ from process to process, and be 0.

        Returns:
            shape (sum of the n, ...).

        Raises:
            WorldError: if another process has ended.
        """
        if self.size == 1:
            return rows
        rows = rows.detach().contiguous()
        counts = torch.zeros(self.size, dtype=torch.int64, device=rows.device)
        counts[self.rank] = len(rows)
        longest = self.sum(counts)
        most = int(longest.max())
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        with _one_sentence():
            torch.distributed.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, longest.tolist(), strict=True)])

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what `make` returns in the first process; the others do not call it.

        The first process is alone in it, and may use everything that uses a world. If it raises,
        all processes raise an error of that type and text, so that none waits for the others.

        Args:
            make: returns something that can be pickled between processes of one program.

        Raises:
            WorldError: if another process has ended.
        """
        if self.size == 1:
            return make()
        said: list[tuple[bool, T | Exception] | None] = [None]
        if self.is_first:
            try:
                with alone():
                    said = [(True, make())]
            except Exception as error:
                with _one_sentence():
                    torch.distributed.broadcast_object_list([(False, _as_text(error))], src=0)
                raise
        with _one_sentence():
            torch.distributed.broadcast_object_list(said, src=0)
        assert said[0] is not None
        worked, result = said[0]
        if isinstance(result, Exception) and not worked:
            result.add_note(REPORTED)
            raise result
        return result  # type: ignore[return-value]

    def in_first(self, make: Callable[[], T]) -> T | None:
        """Call `make` in the first process: return its result there, and None in the others.

        Like `from_first`, but the result, which may be large, stays where it is.

        Raises:
            WorldError: if another process has ended.
        """
        made: list[T] = []
        self.from_first(lambda: made.append(make()))
        return made[0] if made else None

    def first_then_others(self, make: Callable[[], T]) -> T:
        """Return what `make` returns: the first process calls it, and then each of the others.

        What the first refuses, it refuses for all. Each is alone in it.

        Raises:
            WorldError: if another process has ended.
        """
        made = self.in_first(make)
        if self.is_first:
            return made  # type: ignore[return-value]
        with alone():
            return make()

    def from_all(self, make: Callable[[], T]) -> list[T]:
        """Return what `make` returns in each process, by rank.

        Each process is alone in it. If it raises in some, all processes raise the error of the
        first of these, so that none waits for the others.

        Args, Raises: as `from_first`.
        """
        if self.size == 1:
            return [make()]
        own: tuple[T | None, Exception | None]
        try:
            with alone():
                own = (make(), None)
        except Exception as error:
            own = (None, _as_text(error))
        said = [own] * self.size
        with _one_sentence():
            torch.distributed.all_gather_object(said, own)
        for _, failed in said:
            if failed is not None:
                if not self.is_first:
                    failed.add_note(REPORTED)
                raise failed
        return [made for made, _ in said]  # type: ignore[misc]


class WorldError(RuntimeError):
    """Another process of the world has ended or cannot be reached, so this one cannot go on."""


def first_reports(error: BaseException) -> bool:
    """Return whether the first process raises the same error, and reports it for all."""
    return REPORTED in getattr(error, "__notes__", ())


_ALONE = World()
_current = _ALONE  # no ContextVar, at which torch.compile would cut a training step into pieces


def current_world() -> World:
    """Return the world that this code runs in: inside of `joined()`, all processes of the run."""
    return _current


@contextmanager
def alone() -> Iterator[World]:
    """Work in this process alone inside of a `with` block, as if there were no others."""
    with _inside_of(_ALONE):
        yield _ALONE


@contextmanager
def _inside_of(world: World) -> Iterator[None]:
    global _current
    before, _current = _current, world
    try:
        yield
    finally:
        _current = before


@contextmanager
def joined(*, device: str = "cpu", wait: timedelta = WAIT) -> Iterator[World]:
    """Join the processes that `torchrun` started, for a `with` block.

    Without `torchrun`, or with one process, the world is this process alone.

    Args:
        device: where to compute: "cpu", or "cuda", where each process takes the GPU of its number
            on this machine.
        wait: how long a process that still runs may keep the others waiting.

    Raises:
        ValueError: if the device is another, if there are fewer GPUs than processes, or if this
            process has joined the others already.
        WorldError: if the others cannot be reached.
    """
    size = number_of_processes()
    if size == 1:
        yield _ALONE
        return
    if torch.distributed.is_initialized():
        raise ValueError(
            "this process has joined the others already: call joined() once, around everything, "
            "and in place of torch.distributed.init_process_group"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", size))  # processes on this machine
    if here == size and sys.platform == "linux":  # then nothing needs to reach the network
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if device == "cuda":
        if here > torch.cuda.device_count():
            raise ValueError(
                f"there are {here} processes and {torch.cuda.device_count()} GPUs on this machine, "
                "and each process needs one: start fewer (--nproc-per-node), or compute on the CPU"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    elif device != "cpu":
        raise ValueError(
            f"the device is {device}, but several processes compute on 'cpu', or each on a GPU of "
            "its own ('cuda'): name one of these"
        )
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    with _one_sentence():
        torch.distributed.init_process_group(backend, timeout=wait)
    world = World(torch.distributed.get_rank(), torch.distributed.get_world_size())
    try:
        with _inside_of(world):
            yield world
    finally:
        torch.distributed.destroy_process_group()


def _as_text(error: Exception) -> Exception:
    """Return an error of the same type that holds its text alone, so that it can be sent.

    One that cannot be made of its text is described.
    """
    kind = type(error)
    try:
        found = kind(str(error))
    except Exception:
        found = None
    importable = getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind
    if found is not None and importable and str(found) == str(error):
        return found
    return RuntimeError(f"{kind.__name__}: {error}")


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Say in one sentence that another process has ended, or does not come."""
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        # gloo's errors have no class of their own, but name a file of its sources.
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in said:
            raise
        late = "timed out" in said.lower() or "timeout" in said.lower()
        what = "kept it waiting for too long" if late else "has ended or cannot be reached"
        raise WorldError(
            f"process {own_number()} cannot go on, because another one of the "
            f"{number_of_processes()} {what}: look above for its error, then start all of them "
            "again"
        ) from error
