"""Writing a file so that it is always the old one or the new one, never half of either.

The new content goes to a temporary name in the same folder, reaches the disk, and takes the place
of the old file in one step. Whatever stops the program in between leaves the old file whole.

Used by: checkpoints, tables of IDs, stored embeddings.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; on success it replaces `path`, on error it is removed.

    Args:
        path: the file to write. Its folder is made if needed.

    Raises:
        OSError: if the folder cannot be made or written to, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
