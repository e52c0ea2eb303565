"""A file of vectors that are larger than memory: written piece by piece, and read through a map.

It is a safetensors file, which `tensor_files` writes from tensors in memory. Here each vector grows
in a file of its own until its length is known, and then all of them are put into one. To read it,
the file is mapped: a number is read from disk when it is used, and the system may drop it again.
Pages that a process has touched count as its memory until it lets go of them, so `MappedTensors`
lets go of them regularly. They stay in the system's cache, where the next use finds them.

Source: the safetensors format, https://huggingface.co/docs/safetensors.
Derived in: chapter 12.
"""

import hashlib
import json
import mmap
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rqvae_lib.io.atomic import scratch_folder, write_atomically
from rqvae_lib.io.headers import HEADER_KEY, LARGEST_HEADER
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import FORMAT, Card, CheckpointError, short

# What a vector may hold: the format's name, NumPy's and torch's. Wide numbers come first in a file,
# so that each vector begins at a multiple of its own width.
KINDS: dict[str, tuple[str, torch.dtype]] = {
    "I64": ("<i8", torch.int64),
    "I32": ("<i4", torch.int32),
    "U8": ("|u1", torch.uint8),
}
WORDS = {torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}
_COPIED = 2**22  # bytes that are copied at a time
# Places that are looked up before pages are let go. With each, the system maps what it has in one
# piece around it: 64 KiB on older Linux, 1 MiB on ext4 in Linux 6.18, and nowhere more than 2 MiB.
_LOOKED_UP = 128


class TensorWriter:
    """Vectors that grow by pieces, in a folder of their own.

    Args:
        folder: an empty folder for the files of the vectors.
        kinds: by name, the dtype of each vector: int64, int32 or uint8.
    """

    def __init__(self, folder: Path, kinds: Mapping[str, torch.dtype]) -> None:
        words = [*KINDS]
        self.kinds = {
            name: WORDS[kind]
            for name, kind in sorted(kinds.items(), key=lambda pair: words.index(WORDS[pair[1]]))
        }
        self.lengths = dict.fromkeys(self.kinds, 0)
        self._paths = {name: folder / f"vector-{n}" for n, name in enumerate(self.kinds)}
        self._files = {name: path.open("wb") for name, path in self._paths.items()}
        self._hashes = {name: hashlib.sha256() for name in self.kinds}

    def append(self, name: str, piece: NDArray[Any]) -> None:
        """Append numbers to a vector.

        Args:
            name: the vector's.
            piece: (n,) whole numbers that its dtype can hold.
        """
        plain = np.ascontiguousarray(piece, dtype=KINDS[self.kinds[name]][0])
        self._files[name].write(plain.data)
        self._hashes[name].update(plain.data)
        self.lengths[name] += len(plain)

    @property
    def sha256(self) -> str:
        """The sha256 (hex) of the names and contents of all vectors so far."""
        parts = [f"{name} {self._hashes[name].hexdigest()}\n" for name in sorted(self.kinds)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def finish(self, path: Path, kind: str, config: Mapping[str, Any], card: Card) -> None:
        """Write all vectors into one file, atomically. Nothing can be appended after it.

        Args:
            path: the file to write.
            kind: what the content is.
            config, card: as `save_checkpoint`.
        """
        self.close()
        header = {"format": FORMAT, "kind": kind, "config": config, "card": card}
        text = json.dumps(plain_json(header, "the header"), ensure_ascii=False, sort_keys=True)
        described: dict[str, Any] = {"__metadata__": {HEADER_KEY: text}}
        end = 0
        for name, word in self.kinds.items():
            start, end = end, end + self._paths[name].stat().st_size
            described[name] = {
                "dtype": word,
                "shape": [self.lengths[name]],
                "data_offsets": [start, end],
            }
        written = json.dumps(described, ensure_ascii=False).encode()
        written += b" " * (-len(written) % 8)
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            file.write(len(written).to_bytes(8, "little") + written)
            for part in self._paths.values():
                with part.open("rb") as vector:
                    shutil.copyfileobj(vector, file, _COPIED)
                part.unlink()

    def close(self) -> None:
        """Close the files of the vectors."""
        for file in self._files.values():
            file.close()


@contextmanager
def write_in_pieces(path: Path, kinds: Mapping[str, torch.dtype]) -> Iterator[TensorWriter]:
    """Yield vectors to append to; their files are removed at the end, whatever happens.

    Args:
        path: the file that `TensorWriter.finish` will write; the pieces lie in its folder.
        kinds: as `TensorWriter`.
    """
    with scratch_folder(path) as folder:
        writer = TensorWriter(folder, kinds)
        try:
            yield writer
        finally:
            writer.close()


class Described(NamedTuple):
    """What a file says of itself."""

    config: dict[str, Any]
    card: Card


class MappedTensors:
    """The vectors of a file, of which only what is used is read.

    Args:
        path: a file that `TensorWriter.finish` wrote.
        kind: what its content must be.

    Attributes:
        described: its configuration and its card.

    Raises:
        CheckpointError: if it is no such file, or was cut off.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self._kind = kind
        with path.open("rb") as file:
            header, self.described = self._read_header(file, kind)
            # Read-only: for pages that could be written, the system would have to promise memory.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._tensors = {
            name: self._mapped(place["dtype"], place["shape"][0], place["data_offsets"][0])
            for name, place in header.items()
        }
        self._looked_up = 0
        self._expect("RANDOM")  # or the system would read on from each place that is looked up

    def _read_header(self, file: Any, kind: str) -> tuple[dict[str, Any], Described]:
        try:
            with safe_open(self.path, framework="numpy"):  # checks sizes and places
                pass
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, LARGEST_HEADER)))
            own = json.loads(header.pop("__metadata__", {}).get(HEADER_KEY, "{}"))
            if own.get("format") != FORMAT or own.get("kind") != kind:
                raise ValueError(f"it is one of {own.get('kind', 'another program')!r}")
            for name, place in header.items():
                if place["dtype"] not in KINDS or len(place["shape"]) != 1:
                    raise ValueError(f"{name!r} is {place['dtype']} of shape {place['shape']}")
            self._data = 8 + size
            return header, Described(dict(own["config"]), dict(own["card"]))
        except (SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{self.path} is not a file of {kind}, or is damaged ({short(error)}): make it "
                "again, or pass another file"
            ) from error

    def _mapped(self, word: str, length: int, start: int) -> Tensor:
        kind, dtype = KINDS[word]
        if not length:
            return torch.empty(0, dtype=dtype)
        array = np.frombuffer(self._map, kind, length, self._data + start)
        with warnings.catch_warnings():  # torch has no tensor that cannot be written
            warnings.filterwarnings("ignore", message=".*not writable.*")
            return torch.from_numpy(array)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process that is sent the vectors opens the file itself."""
        return MappedTensors, (self.path.absolute(), self._kind)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Tensor:
        """Return a vector over the map, (n,). Writing to it ends the process."""
        return self._tensors[name]

    def look_up(self, name: str, places: Tensor) -> Tensor:
        """Return the numbers at some places of a vector.

        Args:
            name: the vector's.
            places: (B, …) int64; each row is of neighbors.

        Returns:
            int64, the shape of `places`.
        """
        found = self._tensors[name][places].long()
        self._looked_up += len(places)
        if self._looked_up >= _LOOKED_UP:
            self.let_go()
        return found

    def blocks(self, name: str, size: int = 2**22) -> Iterator[Tensor]:
        """Yield a vector in blocks of at most so many numbers, and let go of each after its use."""
        vector = self._tensors[name]
        with self.in_order():
            for start in range(0, len(vector), size):
                yield vector[start : start + size]
                self.let_go()

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """Tell the system that vectors are read from their beginning to their end, inside."""
        self._expect("SEQUENTIAL")
        try:
            yield
        finally:
            self._expect("RANDOM")

    def let_go(self) -> None:
        """Let go of the pages that were read; they no longer count as this process's memory."""
        self._looked_up = 0
        self._expect("DONTNEED")

    def _expect(self, how: str) -> None:
        """Tell the system how the map will be read, if it is one that listens (not Windows)."""
        advice = getattr(mmap, f"MADV_{how}", None)
        if advice is not None:
            self._map.madvise(advice)
