"""What the studies of chapters 10 and 11 train: architectures, the IDs they speak, their settings.

`tuning.py` tries settings and `comparison_study.py` trains with the best of them; both take a model
from here, by its name.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from rqvae_lib.checkpoints.models import load_recommender, load_rqvae, save_rqvae
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import (
    new_rqvae,
    train_recommender,
    train_rqvae,
    train_sasrec,
)

DATASET = "movielens-small-2016"
SPLITS: tuple[SplitName, ...] = ("leave-one-out", "timestamp")
RUNS = Path(__file__).parents[2] / "runs"  # what can be made again, and is not committed

SASREC = "SASRec"
RQ = "RQ-Transformer"
TASTE = "RQ-Transformer, text and taste"
DECODER = "decoder-only"
ENCODER_DECODER = "encoder-decoder"
BORROWED = "decoder-only, borrowed"

# What each recommender is made of, besides the settings. An encoder-decoder has one target a
# window: so its windows are short, and eight times as many.
RECOMMENDERS: dict[str, Callable[..., HistoryModelConfig]] = {
    RQ: RQTransformerConfig,
    "codes only": partial(RQTransformerConfig, prefix_embeddings=False),
    DECODER: partial(DecoderOnlyConfig, valid_only=True),
    ENCODER_DECODER: partial(EncoderDecoderConfig, valid_only=True, max_items=11),
}
BATCH_SIZE = {ENCODER_DECODER: 128}  # windows per step; 16 of the others


@dataclass(frozen=True)
class Settings:
    """What is tried: the same draws for every model."""

    learning_rate: float
    weight_decay: float
    block_dropout: float
    embedding_dropout: float
    num_steps: int


CHOICES = {
    "learning_rate": (1e-3, 2e-3, 3e-3, 5e-3),
    "weight_decay": (0.03, 0.1, 0.3, 1.0),
    "block_dropout": (0.0, 0.1, 0.2),
    "embedding_dropout": (0.1, 0.2, 0.4),
    "num_steps": (1000, 2000, 3000),
}


def drawn_settings(num: int) -> list[Settings]:
    """Return the settings of the shipped decoder, and others that are drawn, all different."""
    chance = random.Random(0)
    found = [Settings(3e-3, 0.1, 0.0, 0.2, 3000)]
    while len(found) < num:
        drawn = {name: chance.choice(values) for name, values in CHOICES.items()}
        settings = Settings(**drawn)  # type: ignore[arg-type]
        if settings not in found:
            found.append(settings)
    return found


def shipped_ids(dataset: Dataset, split: Split, seed: int) -> SemanticIDs:
    """Return the IDs of the shipped tokenizer, which has read texts only."""
    return load_recommender(DATASET)[0].ids


def random_ids(dataset: Dataset, split: Split, seed: int) -> SemanticIDs:
    """Return the same IDs, dealt out to the items at random."""
    ids = shipped_ids(dataset, split, seed)
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    *sizes, _ = ids.sizes
    return SemanticIDs(ids.ids[order, :-1], sizes)


def untrained_ids(dataset: Dataset, split: Split, seed: int) -> SemanticIDs:
    """Return the IDs of an RQ-VAE with random weights, whose codebooks k-means has fitted."""
    vectors = item_vectors(dataset).tensor
    return new_rqvae(vectors, RQVAEConfig(vectors.shape[1]), seed=seed).tokenize(vectors)


def text_and_taste_ids(dataset: Dataset, split: Split, seed: int) -> SemanticIDs:
    """Return the IDs of an RQ-VAE of texts and of who chose what in the split's training part.

    It is trained once for each split, on the CPU, and kept in `runs`.
    """
    path = RUNS / f"text-and-taste-{split.name}-rqvae.safetensors"
    vectors = item_vectors(dataset, "both", split=split)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        save_rqvae(path, train_rqvae(vectors.tensor, progress=False)[0], dataset, vectors)
    return load_rqvae(path)[0].tokenize(vectors.tensor)


class Studied(NamedTuple):
    recommender: str  # one of `RECOMMENDERS`, or SASRec
    tuned_as: str  # whose best settings it takes
    make_ids: Callable[[Dataset, Split, int], SemanticIDs]


# The controls differ from a model in one thing each: their IDs.
MODELS = {
    SASREC: Studied(SASREC, SASREC, shipped_ids),  # it reads no IDs
    RQ: Studied(RQ, RQ, shipped_ids),
    TASTE: Studied(RQ, TASTE, text_and_taste_ids),
    "RQ-Transformer, codes only": Studied("codes only", RQ, shipped_ids),
    DECODER: Studied(DECODER, DECODER, shipped_ids),
    ENCODER_DECODER: Studied(ENCODER_DECODER, ENCODER_DECODER, shipped_ids),
    BORROWED: Studied(DECODER, RQ, shipped_ids),  # what its two controls are compared with
    "RQ-Transformer, random IDs": Studied(RQ, RQ, random_ids),
    "RQ-Transformer, codes only, random IDs": Studied("codes only", RQ, random_ids),
    "decoder-only, borrowed, random IDs": Studied(DECODER, RQ, random_ids),
    "decoder-only, borrowed, untrained RQ-VAE": Studied(DECODER, RQ, untrained_ids),
}
TUNED = tuple(dict.fromkeys(model.tuned_as for model in MODELS.values()))


def train_model(
    name: str,
    settings: Settings,
    ids: SemanticIDs,
    histories: Histories,
    seed: int,
    device: str = "cpu",
) -> Recommender | SASRec:
    """Train one of `MODELS` on histories; return it in evaluation mode, on the CPU."""
    recommender = MODELS[name].recommender
    training = TrainingConfig(
        num_steps=settings.num_steps,
        batch_size=BATCH_SIZE.get(recommender, 16),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=50,
        seed=seed,
    )
    transformer = TransformerConfig(dropout=settings.block_dropout)
    dropout = settings.embedding_dropout
    if recommender == SASREC:
        of_items = SASRecConfig(
            num_items=len(ids), transformer=transformer, embedding_dropout=dropout
        )
        return train_sasrec(histories, of_items, training, device=device, progress=False)[0]
    config = RECOMMENDERS[recommender](transformer=transformer, embedding_dropout=dropout)
    return train_recommender(ids, histories, config, training, device=device, progress=False)[0]
