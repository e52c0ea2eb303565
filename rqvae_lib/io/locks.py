"""One process at a time in an output folder: a second one is refused, and told who holds the lock.

This is an operating system lock on a file in the folder. The system releases it when the process
ends, however it ends, so a killed process never blocks the next one. The file says who holds the
lock and is deleted with it. A lock file that was left behind means nothing.

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
HOLDER = "process "  # how the lock's text begins


@contextmanager
def only_process_in(folder: Path) -> Iterator[None]:
    """Lock a folder against every other process that calls this function, and create it if needed.

    Unfinished files that killed processes left in it are deleted. If this call created the folder
    and nothing was written to it, the folder is removed at the end.

    Args:
        folder: the folder to lock.

    Raises:
        BlockingIOError: if another process holds the lock; the message says which one.
        OSError: if the folder cannot be created or written to, or a file that is no lock has the
            name of one.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    _check_own(path)
    lock = FileLock(path, timeout=0.1)  # long enough for a holder that is just ending
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"{folder} is in use by {_holder(path)}: wait until it has ended, or choose another "
            "folder"
        ) from None
    try:
        with suppress(OSError):  # Windows refuses to write a locked file, and the disk may be full
            command = " ".join(["rqvae-lib", *sys.argv[1:]])
            holder = f"{HOLDER}{os.getpid()} on {platform.node()} ({command})"
            path.write_text(holder, "utf-8", "replace")  # an argument may not be valid UTF-8
        remove_unfinished(folder)
        yield
    finally:
        # Delete the file while we hold the lock: a process waiting for it then opens a new one.
        with suppress(OSError):
            path.unlink()
        lock.release()
        with suppress(OSError):  # not empty: something was written
            for part in made:
                part.rmdir()


def _check_own(path: Path) -> None:
    """Refuse a file that has the lock's name and is not one, because the lock is deleted later."""
    if not path.is_symlink() and not path.exists():
        return
    beginning = b""
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            beginning = file.read(len(HOLDER))
        if not beginning or beginning == HOLDER.encode():
            return
    raise FileExistsError(
        f"{path} is not a lock of this library, but has the name of one: move it, or choose "
        "another folder"
    )


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text("utf-8", "replace")[:500] or "another process"
    return "another process"
