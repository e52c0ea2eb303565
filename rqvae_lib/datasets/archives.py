"""Unpacks a downloaded zip file, after checking every member of it.

A hostile or broken archive may contain a path outside the target folder, a link, or more bytes than
the disk has. Such an archive is refused, and nothing of it stays on the disk. A valid archive is
unpacked to a temporary folder, which is then renamed. A folder that exists is therefore complete.

Used by: the downloaded datasets.
"""

import errno
import lzma
import re
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

MAX_MEMBERS = 1000  # the largest archive that the library reads has about thirty
CHUNK_BYTES = 2**20
# What zipfile raises for a file that it cannot read. RuntimeError includes NotImplementedError, and
# UnicodeDecodeError is for names. It also raises OSError without an errno.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, RuntimeError, UnicodeDecodeError),
)


def unpack_zip(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """Unpack the folder of an archive that has the name of `folder` to `folder`.

    Args:
        archive: the .zip file.
        folder: the folder to make, such as cache/ml-1m from an archive with ml-1m/ratings.dat.
            Nothing happens if it exists already.
        max_bytes: the limit for the total size of the members, both declared and actual.

    Raises:
        ValueError: if the file is not a complete zip file, or a member has a path outside the
            folder, is a link or encrypted, or is listed twice, or if the members are too large in
            total. Nothing is left behind.
        OSError: if the archive cannot be read or the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir():
        return
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        try:
            with zipfile.ZipFile(archive) as opened:
                _check_members(archive, opened.infolist(), max_bytes)
                _write_members(archive, opened, Path(temporary), max_bytes)
        except (*DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            raise ValueError(
                f"{archive} is not a complete zip file ({str(error)[:200]}): delete it and get it "
                "again"
            ) from error
        unpacked = Path(temporary) / folder.name
        if not unpacked.is_dir():
            raise ValueError(
                f"{archive} holds no folder {folder.name}/, expected the archive as published: "
                "get it again"
            )
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same files
                raise


def _check_members(archive: Path, members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    """Raise ValueError for the first member that is not a plain file or folder inside."""
    if len(members) > MAX_MEMBERS:
        raise ValueError(
            f"{archive} has {len(members):,} members, expected at most {MAX_MEMBERS:,}: this is "
            "not the expected archive; get it from its publisher"
        )
    seen: set[PurePosixPath] = set()
    for member in members:
        path = PurePosixPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if path.is_absolute() or "\\" in member.filename or re.match("[A-Za-z]:", str(path)):
            what = "has a path that is not relative"
        elif not path.parts:
            what = "has no name"
        elif ".." in path.parts:
            what = "leads out of the folder"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "is a link or a device"
        elif member.flag_bits & 1:
            what = "is encrypted"
        elif path in seen:
            what = "is listed twice"
        else:
            seen.add(path)
            continue
        raise ValueError(
            f"{archive}, member {member.filename!r}: {what}, expected plain files only: do not "
            "unpack this archive, get it from its publisher"
        )
    declared = sum(member.file_size for member in members)
    if declared > max_bytes:
        raise _too_large(archive, f"{declared:,}", max_bytes)


def _write_members(archive: Path, opened: zipfile.ZipFile, to: Path, max_bytes: int) -> None:
    """Write all members and count their bytes, because the declared sizes may be wrong."""
    written = 0
    for member in opened.infolist():
        path = to.joinpath(*PurePosixPath(member.filename).parts)
        if member.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, path.open("xb") as target:
            while chunk := source.read(CHUNK_BYTES):
                written += len(chunk)
                if written > max_bytes:
                    raise _too_large(archive, f"more than {max_bytes:,}", max_bytes)
                target.write(chunk)


def _too_large(archive: Path, found: str, max_bytes: int) -> ValueError:
    return ValueError(
        f"{archive} unpacks to {found} bytes, expected at most {max_bytes:,}: do not unpack this "
        "archive, get it from its publisher"
    )
