"""Opens a file for reading, packed by gzip or Zstandard or not, and unpacks it piece by piece.

A small packed file may unpack to more than a disk can hold. Beyond a size that honest data reach,
a file that grew more than a hundredfold is refused.

Used by: readers of tables.
"""

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa

PACKED = {".gz": "gzip", ".zst": "Zstandard"}
MAX_UNPACKED = 2**33  # bytes, beyond which a file may not have grown …
MAX_GROWTH = 100  # … by more than this factor


def endings(path: Path) -> tuple[str, str]:
    """Return the ending that tells a file's format and the one that tells its packing.

    "ratings.CSV.gz" → (".csv", ".gz"); "ratings.csv" → (".csv", "").
    """
    *inner, last = ["", *(suffix.lower() for suffix in path.suffixes)]
    if last in PACKED:
        return (inner[-1] if inner else ""), last
    return last, ""


def open_unpacked(path: Path) -> io.BufferedReader:
    """Open a file. Reading it returns what was packed.

    Args:
        path: a file; the ending .gz or .zst tells how it is packed.

    Raises:
        OSError: if the file cannot be opened. Reading raises ValueError if the file is not packed
            as its ending says, is cut off, or grows beyond all measure.
    """
    _, packing = endings(path)
    if packing == ".gz":
        source: Any = gzip.open(path)  # noqa: SIM115 the caller closes it
    elif packing == ".zst":
        source = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
    else:
        return path.open("rb")
    return io.BufferedReader(_Unpacked(path, PACKED[packing], source), 2**20)


class _Unpacked(io.RawIOBase):
    def __init__(self, path: Path, packing: str, source: Any) -> None:
        self._path, self._packing, self._source = path, packing, source
        self._most = max(MAX_UNPACKED, MAX_GROWTH * path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._source.read(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile, pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ValueError(
                f"{self._path} is not a complete {self._packing} file ({str(error)[:100]}), "
                "expected one: get it again, or pack it again"
            ) from error
        self._read += len(piece)
        if self._read > self._most:
            raise ValueError(
                f"{self._path} unpacks to more than {self._most:,} bytes, expected fewer for its "
                "size: unpack it yourself if you trust it"
            )
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._source.close()
        super().close()
