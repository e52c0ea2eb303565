"""Fuzz `load_sasrec`, and the scores of what it accepts."""

from pathlib import Path

import torch

from rqvae_lib.checkpoints.models import load_sasrec, save_sasrec
from rqvae_lib.models.configs import SASRecConfig, TransformerConfig
from rqvae_lib.models.sasrec import SASRec
from tests.robustness.fuzz import safetensors_files
from tests.robustness.fuzz.harness import Target, main


def write(path: Path) -> None:
    torch.manual_seed(0)
    transformer = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
    save_sasrec(path, SASRec(SASRecConfig(transformer, max_items=5, num_items=20)).eval(), seed=0)


def read(path: Path) -> None:
    model, _ = load_sasrec(path)
    if model.config.num_items == 20:
        assert model.scores([torch.tensor([1, 2])]).shape == (1, 20)


if __name__ == "__main__":
    main(Target(write, read, ".safetensors", safetensors_files.MUTATIONS))
