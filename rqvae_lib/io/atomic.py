"""Writing a file so that it is always the old one or the new one, never half of either.

The new content goes to a temporary name in the same folder, reaches the disk, and takes the place
of the old file in one step. Whatever stops the program in between leaves the old file whole.

Used by: checkpoints, tables of IDs, stored embeddings.
"""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = "unfinished"  # in the name of a file that is being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, in three ways of saying it


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it replaces `path`, on error it is removed.

    Args:
        path: the file to write. Its folder is made if needed.

    Raises:
        OSError: if the folder cannot be made or written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.{UNFINISHED}-"
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno in FULL:
            raise no_room(path, error.strerror or str(error)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def no_room(path: Path, reason: str) -> OSError:
    """Return what to raise if a file cannot be written for want of room."""
    return OSError(
        f"{path} could not be written ({reason}): make room, or choose another place. What was "
        "there before is unchanged"
    )


def remove_unfinished(folder: Path, older_than: float = 600.0) -> None:
    """Remove what processes that were killed left unfinished in a folder.

    Args:
        folder: where `write_atomically` wrote.
        older_than: seconds without a change after which nobody is taken to be still writing.
    """
    for path in folder.glob(f".*.{UNFINISHED}-*"):
        with suppress(OSError):  # another process may be at it too
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(path: Path) -> None:
    """Find out now whether `path` could be written later: before an hour of training, say.

    Nothing is left behind, not even the folder: that is made when there is something to write.

    Raises:
        OSError: if the path is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write {path}, since {folder} takes no files ({error.strerror}): choose "
            "another place with --output"
        ) from error
