"""One process at a time in an output folder: a second one is refused, and told who is at work.

The lock is the operating system's own, on a file in the folder. It ends with the process that holds
it, in whatever way that ends, so a killed process never stands in the way of the next. The file
says who holds it; it disappears with the lock, and where one was left behind, it means nothing.

Used by: the commands that write.
"""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rqvae_lib.io.atomic import remove_unfinished

LOCK_FILE = ".rqvae-lib.lock"


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Hold a folder, made if needed, against all other processes that ask in the same way.

    What killed processes left unfinished in it is removed. A folder that was made and in which
    nothing was written is removed in the end.

    Raises:
        BlockingIOError: if another process holds the folder; the message says which.
        OSError: if the folder cannot be made or written to.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    lock = FileLock(path, timeout=0.1)  # long enough to see that the last holder has just gone
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"{folder} is in use by {_holder(path)}: wait until it has ended, or choose another "
            "folder with --output"
        ) from None
    try:
        with suppress(OSError):  # on Windows a locked file cannot be written; nor on a full disk
            command = " ".join(["rqvae-lib", *sys.argv[1:]])
            holder = f"process {os.getpid()} on {platform.node()} ({command})"
            path.write_text(holder, "utf-8", "replace")  # an argument need not be UTF-8
        remove_unfinished(folder)
        yield
    finally:
        # Removed while it is held: who waits for the lock of a file that is gone asks again.
        with suppress(OSError):
            path.unlink()
        lock.release()
        with suppress(OSError):  # not empty: something was written
            for part in made:
                part.rmdir()


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("utf-8", "replace")[:500] or "another process"
    return "another process"
