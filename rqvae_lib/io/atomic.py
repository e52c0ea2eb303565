"""Atomic writes: a file on disk is always the complete old version or the complete new one.

The new content is written to a temporary file in the same folder, flushed to disk, and renamed over
the old file in one step. If the program stops at any point before that, the old file is untouched.

Used by: checkpoints, tables of IDs, stored embeddings.
"""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = "unfinished"  # part of the name of a temporary file
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the errors that mean "no space left"


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it replaces `path`, on error it is removed.

    Args:
        path: the file to write. Its folder is created if needed.

    Raises:
        OSError: if the folder cannot be created or written to, or the disk is full.
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
    """Return the exception to raise when a file does not fit on the disk."""
    return OSError(
        f"{path} could not be written ({reason}): make room on the disk, or choose another "
        "location. An older version of the file is unchanged"
    )


def remove_unfinished(folder: Path, older_than: float = 600.0) -> None:
    """Delete the temporary files that killed processes left in a folder.

    Args:
        folder: a folder that `write_atomically` wrote to.
        older_than: seconds since the last change. A process may still be writing a newer file, so
            newer files stay.
    """
    for path in folder.glob(f".*.{UNFINISHED}-*"):
        with suppress(OSError):  # another process may be deleting it too
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(path: Path) -> None:
    """Check now that `path` can be written later, for example before an hour of training.

    The check leaves nothing behind. It does not create the folder either: `write_atomically` does
    that once there is something to write.

    Raises:
        OSError: if the path is a folder, or its folder cannot be created or written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file: name a file in it")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write {path}: the folder {folder} is not writable ({error.strerror}); choose "
            "another location with --output"
        ) from error
