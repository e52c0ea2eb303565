"""Fuzz `unpack_zip`."""

import shutil
from pathlib import Path

from rqvae_lib.datasets.archives import unpack_zip
from tests.datasets.published import ml_1m, zipped
from tests.robustness.fuzz.harness import Target, main


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
