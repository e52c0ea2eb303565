"""Fuzz what `recommend_to_all` finds of an interrupted run: its description and its parts."""

import json
import random
from pathlib import Path

import torch

from rqvae_lib.generation import everybody
from rqvae_lib.generation.everybody import recommend_to_all
from rqvae_lib.models.configs import DecoderOnlyConfig, TransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.helpers import small_dataset
from tests.robustness.fuzz.fuzz_bundle import change_value
from tests.robustness.fuzz.harness import Mutation, Target, main

DATASET = small_dataset()
CODES = torch.randint(4, (90, 2), generator=torch.Generator().manual_seed(0))
SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
SETTINGS = {"k": 2, "beams": 2, "users_per_part": 20, "progress": False}


def recommend(path: Path, resume: bool) -> int:
    torch.manual_seed(0)
    model = new_recommender(DecoderOnlyConfig(SMALL, max_items=5), SemanticIDs(CODES, [4, 4]))
    return recommend_to_all(path, model.eval(), DATASET, resume=resume, **SETTINGS).rows  # type: ignore[arg-type]


def write(path: Path) -> None:
    """Leave the folder of parts as a run does that is killed before it joins them."""
    output = path.with_suffix("")

    class Killed(BaseException):
        pass

    def kill(*_: object) -> int:
        raise Killed

    join, everybody._Parts.join = everybody._Parts.join, kill  # type: ignore[method-assign]
    try:
        recommend(output, resume=False)
    except Killed:
        pass
    finally:
        everybody._Parts.join = join  # type: ignore[method-assign]
    assert path.is_dir()


def read(path: Path) -> None:
    kept = {file: file.read_bytes() for file in path.iterdir()}
    try:
        assert recommend(path.with_suffix(""), resume=True) > 0
    finally:
        path.mkdir(exist_ok=True)
        for file, content in kept.items():  # as they were, also after a run that went through
            file.write_bytes(content)


def change_json(chance: random.Random, data: bytes) -> bytes:
    try:
        json.loads(data)
    except ValueError:
        return data
    return change_value(chance, data)


MUTATIONS: list[Mutation] = [change_json]


if __name__ == "__main__":
    main(Target(write, read, ".csv.parts", MUTATIONS))
