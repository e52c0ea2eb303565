"""Commands that several processes run together, and which of the processes says what.

    torchrun --standalone --nproc-per-node=2 -m rqvae_lib train-recommender

The first process does what the command does: it checks options and outputs, takes the lock, reads
the data, measures and writes. The others get from it what they need to train along, and say
nothing. If something cannot work, the first process says so, and all end with the same exit code.
Only what goes wrong in one of the others alone is said by that one.

As soon as one process ends with an error, `torchrun` ends the others (SIGTERM). So each of them
then says that it was ended, and those with nothing to say wait for it, so that the first process
has the time to say what is wrong.

A command that has nothing to share between processes is refused under `torchrun`.

Derived in: chapter 12.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from types import FrameType
from typing import Any, NoReturn

from rqvae_lib.ops.torchrun import number_of_processes, own_number

HERE_ALONE = "(It was raised in this process alone.)"
PATIENCE = 10.0  # seconds in which the first process says what is wrong


def shared_by_processes(command: Callable[..., None]) -> Callable[..., None]:
    """Declare that several processes can run a command together.

    Inside of it, `ops.world.current_world` is all of them.
    """
    command.shared_by_processes = True  # type: ignore[attr-defined]
    return command


@contextmanager
def joined_for(
    name: str, command: Callable[..., None] | None, given: Mapping[str, Any]
) -> Iterator[None]:
    """Join the processes that run a command, for a `with` block.

    Args:
        name: of the command, as it is typed.
        command: what `shared_by_processes` declared.
        given: the values of its options, by name.

    Raises:
        ValueError: if there are several processes, and the command is for one.
        WorldError: if another process cannot be reached, or has ended.
    """
    count = number_of_processes()
    if count == 1:  # torch takes seconds to import, and a command may never need it
        yield
        return
    if not getattr(command, "shared_by_processes", False):
        raise ValueError(
            f"{name} works in one process, but torchrun has started {count}: start it without "
            f"torchrun, as rqvae-lib {name}"
        )
    from rqvae_lib.ops.world import WorldError, first_reports, joined

    def end(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise WorldError(
            f"process {own_number()} was told to end (SIGTERM), as torchrun does when another one "
            f"of the {count} has ended: look above for its error, then start all of them again"
        )

    before, inside = signal.signal(signal.SIGTERM, end), False
    try:
        with joined(device=given.get("device", "cpu")):
            inside = True
            yield
    except Exception as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it says what is wrong, and nothing more
        # What `joined` refuses, it refuses in all processes, and the first one says it.
        alone = inside and own_number() > 0 and not first_reports(error)
        if alone or isinstance(error, WorldError):
            error.add_note(HERE_ALONE)
        raise
    signal.signal(signal.SIGTERM, before)


@contextmanager
def only_the_first_talks() -> Iterator[None]:
    """Keep processes other than the first from writing to stdout and stderr in a `with` block."""
    if not own_number():
        yield
        return
    with ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))
        try:
            yield
        except SystemExit as stopped:
            if isinstance(stopped.code, int) and stopped.code:  # such as a wrong option
                end_after_the_first(stopped.code)
            raise


def reports(error: BaseException) -> bool:
    """Return whether this process is the one to say what went wrong."""
    return not own_number() or HERE_ALONE in getattr(error, "__notes__", ())


def end_after_the_first(code: int) -> NoReturn:
    """End this process when the first one, which says what is wrong, has ended.

    Args:
        code: the exit code.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    time.sleep(PATIENCE)
    sys.exit(code)
