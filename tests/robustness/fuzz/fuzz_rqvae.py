"""Fuzz `load_rqvae`."""

from pathlib import Path

import torch

from rqvae_lib.checkpoints.models import load_rqvae, save_rqvae
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from tests.robustness.fuzz import safetensors_files
from tests.robustness.fuzz.harness import Target, main

VECTORS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


def write(path: Path) -> None:
    torch.manual_seed(0)
    model = RQVAE(RQVAEConfig(6, (8, 7), 4, num_levels=2, codebook_size=5))
    model.fit_to_data(VECTORS, generator=torch.Generator().manual_seed(0))
    save_rqvae(path, model, seed=0, metrics={"loss": 0.5})


def read(path: Path) -> None:
    model, _ = load_rqvae(path)
    config = model.config
    if config.input_dim == 6 and model.quantizer.initialized:
        model.tokenize(VECTORS)


if __name__ == "__main__":
    main(Target(write, read, ".safetensors", safetensors_files.MUTATIONS))
