"""Fuzz `load_recommender`."""

from pathlib import Path

import torch

from rqvae_lib.checkpoints.models import load_recommender, save_recommender
from rqvae_lib.models.configs import DecoderOnlyConfig, TransformerConfig
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.robustness.fuzz import safetensors_files
from tests.robustness.fuzz.harness import Target, main


def write(path: Path) -> None:
    torch.manual_seed(0)
    ids = SemanticIDs(torch.randint(4, (30, 2)), [4, 4])
    transformer = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
    config = DecoderOnlyConfig(transformer, max_items=5, valid_only=True)
    save_recommender(path, DecoderOnly(config, ids), seed=0)


@torch.no_grad()
def read(path: Path) -> None:
    model, _ = load_recommender(path)
    state = model.encode_history([torch.tensor([0, 1]), torch.tensor([], dtype=torch.int64)])
    assert model.next_code_logits(state).shape == (2, 1, model.sizes[0])


if __name__ == "__main__":
    main(Target(write, read, ".safetensors", safetensors_files.MUTATIONS))
