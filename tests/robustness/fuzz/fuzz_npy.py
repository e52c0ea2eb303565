"""Fuzz `read_embeddings` on a .npy file of somebody's own."""

from pathlib import Path

import numpy as np

from rqvae_lib.embeddings.text import read_embeddings
from tests.robustness.fuzz.harness import Target, main


def write(path: Path) -> None:
    np.save(path, np.ones((2, 3), dtype=np.float32))


if __name__ == "__main__":
    main(Target(write, lambda path: read_embeddings(path, ["", ""]), ".npy", []))
