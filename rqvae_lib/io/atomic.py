"""Atomic writes: a file on disk is always the complete old version or the complete new one.

The new content is written to a temporary file in the same folder, flushed to disk, and renamed over
the old file in one step. If the program stops at any point before that, the old file is untouched.

Used by: checkpoints, tables of IDs, stored embeddings.
"""

import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = "unfinished"  # part of the name of a temporary file
LONGEST_NAME = 255  # bytes of a file's name, where the system does not say
RANDOM = 8  # characters that tempfile adds to a name
_asking = threading.Lock()
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the errors that mean "no space left"


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it replaces `path`, on error it is removed.

    Args:
        path: the file to write. Its folder is created if needed.

    Raises:
        ValueError: as `check_name`.
        OSError: if the folder cannot be created or written to, if the disk is full, or if the path
            is a folder or a device.
    """
    check_name(path)
    _check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _new_temporary(path)
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


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path` for what is needed on the way to it; it is removed after.

    Args:
        path: the file that will be written. Its folder is created if needed.

    Raises:
        ValueError: as `check_name`.
        OSError: if the folder cannot be created or written to, or if the disk is full.
    """
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = _prefix(path, "")
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    try:
        yield folder
    except OSError as error:
        if error.errno in FULL:
            raise no_room(path, error.strerror or str(error)) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def no_room(path: Path, reason: str) -> OSError:
    """Return the exception to raise when a file does not fit on the disk."""
    return OSError(
        f"{path} could not be written ({reason}): make room on the disk, or choose another "
        "location. An older version of the file is unchanged"
    )


def remove_unfinished(folder: Path, older_than: float = 600.0) -> None:
    """Delete the temporary files and folders that killed processes left in a folder.

    Args:
        folder: a folder that `write_atomically` or `scratch_folder` wrote to.
        older_than: seconds since the last change. A process may still be writing a newer file, so
            newer files stay.
    """
    for path in folder.glob(f".*.{UNFINISHED}-*"):
        with suppress(OSError):  # another process may be deleting it too
            if not _TEMPORARY.fullmatch(path.name) or path.is_symlink():
                continue
            parts = [path, *path.iterdir()] if path.is_dir() else [path]
            changed = max(part.stat().st_mtime for part in parts)
            if time.time() - changed <= older_than:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()


_TEMPORARY = re.compile(rf"\..*\.{UNFINISHED}-[a-z0-9_]{{{RANDOM},}}(\.[^.]*)?", re.DOTALL)


def _new_temporary(path: Path) -> Path:
    """Create an empty file beside `path`, with a name of its own and, if it is short, its ending.

    The name is no longer than the system allows, however long that of `path` is.
    """
    ending = path.suffix if len(os.fsencode(path.suffix)) <= 32 else ""
    prefix = _prefix(path, ending)
    handle, temporary = tempfile.mkstemp(prefix=prefix, suffix=ending, dir=path.parent)
    os.close(handle)
    return Path(temporary)


def _prefix(path: Path, ending: str) -> str:
    """Return how the name of something temporary beside `path` begins."""
    after = len(f".{UNFINISHED}-") + RANDOM + len(os.fsencode(ending))
    room = _longest_name(path.parent) - after - 1
    name = os.fsencode(path.name)[: max(0, room)].decode("utf-8", "ignore")
    return f".{name}.{UNFINISHED}-"


def _longest_name(folder: Path) -> int:
    with suppress(OSError, ValueError, AttributeError):  # Windows has no pathconf
        return os.pathconf(folder, "PC_NAME_MAX")
    return LONGEST_NAME


def _umask() -> int:
    with _asking:  # a second thread would find the 0 of the first, and leave it so
        mask = os.umask(0)
        os.umask(mask)
    return mask


def check_name(path: Path) -> None:
    """Refuse a name that no file can have, or that the formats written here cannot pass on.

    Raises:
        ValueError: if the path holds a NUL, or is not text: bytes that are not UTF-8 come as lone
            surrogates from the command line.
    """
    text = str(path)
    if "\0" in text:
        raise ValueError(
            f"the path {text!r} holds a NUL character, which no name can: leave it out"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"the path {text!r} is not UTF-8 text: choose a name that is, since Parquet and "
            "safetensors files cannot be written under another one"
        ) from None


def _check_replaceable(path: Path) -> None:
    """Refuse what a rename would fail on, or destroy: a folder, a device, a pipe."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file: name a file in it")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device, a pipe or a socket; expected a file: name another one")


def check_writable(path: Path) -> None:
    """Check now that `path` can be written later, for example before an hour of training.

    It tries: it makes what folders are missing and a temporary file, and removes them again, so
    nothing is left behind. `write_atomically` makes them once there is something to write.

    Raises:
        ValueError: as `check_name`.
        OSError: if the path is a folder or a device, its name is too long, or its folder cannot be
            created or written to.
    """
    check_name(path)
    made: list[Path] = []
    folder = path.parent
    try:
        _check_replaceable(path)
        made = [part for part in (folder, *folder.parents) if not part.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # any other error says why no file can have this name
            path.lstat()
        _new_temporary(path).unlink()
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(
            f"cannot write {path}: the folder {_nearest(folder)} does not take such a file "
            f"({error.strerror}); choose another location with --output"
        ) from error
    finally:
        for part in made:
            with suppress(OSError):  # somebody else has put a file there
                part.rmdir()


def _nearest(folder: Path) -> Path:
    """Return the innermost part of a path that exists."""
    for part in (folder, *folder.parents):
        with suppress(OSError):
            if part.exists():
                return part
    return folder
