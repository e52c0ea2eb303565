"""Fuzz `archives.unpack_zip`."""

import shutil
from pathlib import Path

from harness import Target, main

from published import ml_1m, zipped
from rqvae_lib.archives import unpack_zip


def write(path: Path) -> None:
    path.write_bytes(zipped(ml_1m()))


def read(path: Path) -> None:
    folder = path.with_name("ml-1m")
    try:
        unpack_zip(path, folder, max_bytes=10_000)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Target(write, read, ".zip", []))
