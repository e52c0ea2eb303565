"""The number of processes changes nothing but rounding: losses, weights, and where one goes on."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.splits import Histories, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.ops.world import current_world
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import train_recommender, train_sasrec
from tests.worlds import in_world

NAME = "movielens-small-2016"
SMALL: dict[str, Any] = {
    "transformer": TransformerConfig(dim=16, num_layers=2, num_heads=2, mlp_dim=16, dropout=0.2),
    "max_items": 8,
    "embedding_dropout": 0.2,
}
CONFIGS: dict[str, HistoryModelConfig] = {
    "decoder-only": DecoderOnlyConfig(**SMALL),
    "decoder-only, valid": DecoderOnlyConfig(**SMALL, valid_only=True),
    "encoder-decoder": EncoderDecoderConfig(**SMALL),
    "rq-transformer": RQTransformerConfig(**SMALL),
    "rq-transformer, network": RQTransformerConfig(**SMALL, prefix_embeddings=False),
    "sasrec": SASRecConfig(num_items=9066, **SMALL),
}
# 10 windows a step: the shares of 4 processes differ in size.
TRAINING = TrainingConfig(
    num_steps=50, batch_size=10, learning_rate=1e-3, warmup_steps=5, log_every=1, save_every=10
)
# Added to the vector of every choice, it changes no softmax. Its gradient is nothing but rounding,
# which AdamW makes as large as other gradients.
NOISE = "prefix_network.2.bias"


@pytest.fixture(scope="module")
def data(one_thread: None) -> tuple[Tensor, Histories]:
    ids = load_recommender(NAME)[0].ids
    return ids.ids, leave_one_out(load_dataset()).train


def trained(
    name: str, codes: Tensor, histories: Histories, training: TrainingConfig, **how: Any
) -> dict[str, Any]:
    """Train, and return the losses and the weights as `torch.load` may read them."""
    config = CONFIGS[name]
    how |= {"progress": current_world().is_first}
    if isinstance(config, SASRecConfig):
        model, log = train_sasrec(histories, config, training, **how)
    else:
        ids = SemanticIDs(codes[:, :-1], [int(c) for c in codes.amax(0)[:-1] + 1])
        model, log = train_recommender(ids, histories, config, training, **how)
    assert not model.training
    return {"losses": [entry.loss for entry in log], "weights": dict(model.state_dict())}


def all_trained(
    names: list[str], codes: Tensor, histories: Histories, training: TrainingConfig
) -> dict[str, Any]:
    return {name: trained(name, codes, histories, training) for name in names}


@pytest.fixture(scope="module")
def alone(data: tuple[Tensor, Histories]) -> dict[str, Any]:
    return all_trained([*CONFIGS], *data, TRAINING)


@pytest.mark.parametrize(("size", "names"), [(2, [*CONFIGS]), (4, ["rq-transformer"])])
def test_any_number_of_processes_train_the_same(
    size: int, names: list[str], data: tuple[Tensor, Histories], alone: dict[str, Any]
) -> None:
    found = in_world(size, all_trained, names, *data, TRAINING)
    for name in names:
        expected = alone[name]
        for rank, each in enumerate(found):
            assert each[name]["losses"] == pytest.approx(expected["losses"], abs=1e-5), name
            for key, weight in each[name]["weights"].items():
                if key == NOISE:
                    continue
                assert weight.equal(found[0][name]["weights"][key]), (rank, name, key)
                torch.testing.assert_close(
                    weight, expected["weights"][key], atol=1e-4, rtol=1e-3, msg=f"{name} {key}"
                )
