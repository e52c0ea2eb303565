"""Six settings, drawn once, tried on every model: with which of them does each learn best?

    OMP_NUM_THREADS=1 python book/_tools/tuning.py

writes notebooks/results/11_tuning.csv, which chapter 11 shows. A model that was tuned longer than
the one beside it looks better than it is, so all get the same trials: the same six settings, the
same number of steps. The first is what the shipped decoder was trained with; the others are drawn.
What counts is NDCG@10 on the validation targets of the leave-one-out split; nobody looks at a test
target here. Rows are written as they come, so a run that was interrupted goes on where it stopped;
`--models` names some of them, so that two processes can share the work. A trial takes two to four
minutes of one core.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rqvae_lib.checkpoints import load_recommender
from rqvae_lib.comparison import ScoresItems, evaluate
from rqvae_lib.datasets import load_dataset
from rqvae_lib.decoder_only import DecoderOnlyConfig
from rqvae_lib.encoder_decoder import EncoderDecoderConfig
from rqvae_lib.history_models import HistoryModelConfig
from rqvae_lib.recipes import train_decoder, train_sasrec
from rqvae_lib.recommenders import Recommender
from rqvae_lib.rq_transformer import RQTransformerConfig
from rqvae_lib.sasrec import SASRecConfig
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.splits import Histories, leave_one_out
from rqvae_lib.training import TrainingConfig
from rqvae_lib.transformer import TransformerConfig
from tables import Row, read_rows, replace_rows

DATASET = "movielens-small-2016"
TABLE = Path(__file__).parents[2] / "notebooks" / "results" / "11_tuning.csv"
STEPS = 3000
CHOICES = {
    "learning_rate": (1e-3, 2e-3, 3e-3, 5e-3),
    "weight_decay": (0.03, 0.1, 0.3, 1.0),
    "block_dropout": (0.0, 0.1, 0.2),
    "embedding_dropout": (0.1, 0.2, 0.4),
}


class Settings(NamedTuple):
    learning_rate: float
    weight_decay: float
    block_dropout: float
    embedding_dropout: float

    def training(self, *, batch_size: int, seed: int, num_steps: int = STEPS) -> TrainingConfig:
        return TrainingConfig(
            num_steps=num_steps,
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=50,
            seed=seed,
        )

    @property
    def transformer(self) -> TransformerConfig:
        return TransformerConfig(dropout=self.block_dropout)


def drawn(num: int = 6) -> list[Settings]:
    """Return the settings of the shipped decoder, and others that are drawn, all different."""
    chance = random.Random(0)
    found = [Settings(3e-3, 0.1, 0.0, 0.2)]
    while len(found) < num:
        settings = Settings(*(chance.choice(values) for values in CHOICES.values()))
        if settings not in found:
            found.append(settings)
    return found


Model = Recommender | ScoresItems
SASREC = "SASRec"
# What each of the others is made of, besides the settings. An encoder-decoder has one target a
# window: so its windows are short, and eight times as many.
RECOMMENDERS: dict[str, Callable[..., HistoryModelConfig]] = {
    "RQ-Transformer": RQTransformerConfig,
    "RQ-Transformer, codes only": partial(RQTransformerConfig, prefix_embeddings=False),
    "decoder-only": partial(DecoderOnlyConfig, valid_only=True),
    "encoder-decoder": partial(EncoderDecoderConfig, valid_only=True, max_items=11),
}
BATCH_SIZE = {"encoder-decoder": 128}  # windows a step; 16 of the others
TRAINED = (SASREC, *RECOMMENDERS)


def train_model(
    name: str, settings: Settings, ids: SemanticIDs, histories: Histories, seed: int
) -> Model:
    """Train one of `TRAINED` on histories."""
    training = settings.training(batch_size=BATCH_SIZE.get(name, 16), seed=seed)
    given: dict[str, Any] = {
        "transformer": settings.transformer,
        "embedding_dropout": settings.embedding_dropout,
    }
    if name == SASREC:
        config = SASRecConfig(num_items=len(ids), **given)
        return train_sasrec(histories, config, training, progress=False)[0]
    return train_decoder(ids, histories, RECOMMENDERS[name](**given), training, progress=False)[0]


COLUMNS = ("model", "trial", *Settings._fields, "seconds", "recall", "ndcg")


def best_settings(model: str, table: Path = TABLE) -> Settings:
    """Return the settings with which a model did best on the validation targets."""
    rows = [row for row in read_rows(table, COLUMNS) if row["model"] == model]
    if not rows:
        raise ValueError(f"{table} holds no trial of {model!r}: run tuning.py --models {model!r}")
    best = max(rows, key=lambda row: float(row["ndcg"]))
    return Settings(*(float(best[name]) for name in Settings._fields))


def place_of(row: Row) -> tuple[int, int]:
    """Return where a row of the table stands: by model and trial."""
    return TRAINED.index(row["model"]), int(row["trial"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=TABLE, help="the table")
    parser.add_argument("--models", nargs="+", choices=TRAINED, default=TRAINED)
    options = parser.parse_args()
    dataset = load_dataset(DATASET)
    ids = load_recommender(DATASET)[0].ids
    split = leave_one_out(dataset)
    for name in options.models:
        for trial, settings in enumerate(drawn()):
            rows = read_rows(options.output, COLUMNS)
            if any((row["model"], row["trial"]) == (name, str(trial)) for row in rows):
                continue
            started = time.perf_counter()
            model = train_model(name, settings, ids, split.train, 0)
            seconds = time.perf_counter() - started
            found = evaluate(model, split, split.validation, dataset.num_items)
            key = {"model": name, "trial": str(trial)}
            row = dict(zip(Settings._fields, map(str, settings), strict=True)) | {
                "seconds": f"{seconds:.0f}",
                "recall": f"{found.mean('Recall', 10).mean:.4f}",
                "ndcg": f"{found.mean('NDCG', 10).mean:.4f}",
            }
            replace_rows(options.output, COLUMNS, key, [row], place_of)
            print(", ".join((key | row).values()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
