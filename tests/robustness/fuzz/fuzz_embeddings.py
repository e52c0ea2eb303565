"""Fuzz `read_embeddings`, which reads what `--embeddings` names."""

from pathlib import Path

import torch

from rqvae_lib.embeddings.text import read_embeddings, save_embeddings
from tests.robustness.fuzz import safetensors_files
from tests.robustness.fuzz.harness import Target, main

TEXTS = [f"text {number}" for number in range(20)]


def write(path: Path) -> None:
    vectors = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    save_embeddings(path, vectors, TEXTS, "an encoder", "a data set")


def read(path: Path) -> None:
    vectors = read_embeddings(path, TEXTS)
    assert len(vectors) == 20
    assert vectors.dtype == torch.float32
    assert vectors.isfinite().all()


if __name__ == "__main__":
    main(Target(write, read, ".safetensors", safetensors_files.MUTATIONS))
