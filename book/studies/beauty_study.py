"""The comparison of chapter 11 once more, on a larger catalogue: Amazon Beauty.

    OMP_NUM_THREADS=1 python book/studies/beauty_study.py --dataset amazon-beauty

downloads the reviews (22,363 people, 12,101 products) and writes three tables into
notebooks/results: 11_beauty_tuning.csv has the trials, 11_beauty.csv a row for each training, and
11_beauty_people.parquet Recall@10 and NDCG@10 of each person who has any. The shipped tables come
from the same reviews as sequences, `--sequences FILE`: a line per person, the person's number and
then item numbers, oldest first. Many reviews are of one day, and the two sources may order them
differently, so a few targets may differ.

Item vectors are collaborative, from the training part of each split; each seed trains a tokenizer
of its own and, with its IDs, the generative models. All trained models get the same four draws of
settings, the models that count eight settings each; what did best in NDCG@10 on the validation
targets of leave-one-out is then trained with five seeds, and answers the test targets of
leave-one-out and of last-ten. Rows are written as they come, so a run that was interrupted goes on
where it stopped. All of it takes about six hours of one core.
"""

import argparse
import random
import sys
import time
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from comparison_study import MEASURED, people_of, row_of
from counted_models import COUNTED, COUNTED_TUNED, CountedSettings, counted_model, counted_settings
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import SASRecConfig, TransformerConfig
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import train_recommender, train_rqvae, train_sasrec
from studied_models import (
    DECODER,
    ENCODER_DECODER,
    RECOMMENDERS,
    RQ,
    SASREC,
    Settings,
)
from tables import Row, note_origin, read_rows, replace_rows
from workers import in_processes

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
TUNING, TABLE, PEOPLE = "11_beauty_tuning.csv", "11_beauty.csv", "11_beauty_people.parquet"
TUNED_ON: SplitName = "leave-one-out"
SPLITS: tuple[SplitName, ...] = (TUNED_ON, "last-ten")  # sequences have no times to cut at
SEEDS = (0, 1, 2, 3, 4)
TRIALS = 4
MAX_ITEMS = {ENCODER_DECODER: 11}  # of the others 20: half of all histories have at most six
BATCH_SIZE = {ENCODER_DECODER: 128}  # windows per step, each with one target; 32 of the others

RANDOM = f"{RQ}, random IDs"
TRAINED = (SASREC, RQ, DECODER, ENCODER_DECODER)
MODELS = (*COUNTED, *TRAINED, RANDOM)

CHOICES = {
    "learning_rate": (1e-3, 2e-3, 3e-3, 5e-3),
    "weight_decay": (0.03, 0.1, 0.3, 1.0),
    "block_dropout": (0.1, 0.2, 0.4),
    "embedding_dropout": (0.1, 0.2, 0.4),
    "num_steps": (8000,),
}
TUNING_COLUMNS = (
    "model",
    "trial",
    *(field.name for field in fields(Settings)),
    *CountedSettings._fields,
    "seconds",
    "recall",
    "ndcg",
)
COLUMNS = ("split", "model", "seed", "parameters", "seconds", *MEASURED, "coverage_10")


def drawn_settings() -> list[Settings]:
    """Return the settings that every trained model is tried with: one by hand, others drawn."""
    chance = random.Random(0)
    found = [Settings(3e-3, 0.1, 0.2, 0.2, 8000)]
    while len(found) < TRIALS:
        drawn = {name: chance.choice(values) for name, values in CHOICES.items()}
        settings = Settings(**drawn)  # type: ignore[arg-type]
        if settings not in found:
            found.append(settings)
    return found


def read_sequences(path: Path) -> Dataset:
    """Read a line per person: the person's number, and item numbers, oldest first."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    met = [(int(user), int(item)) for user, *items in lines for item in items]
    return Dataset.from_tables(pd.DataFrame(met, columns=["user_id", "item_id"]), name=path.stem)


class Job(NamedTuple):
    source: str  # a dataset's name, or a file of sequences
    split: SplitName
    model: str
    number: int  # of the trial, or the seed
    device: str
    results: Path

    @property
    def key(self) -> Row:
        return {"split": self.split, "model": self.model, "seed": str(self.number)}

    @property
    def key_of_trial(self) -> Row:
        return {"model": self.model, "trial": str(self.number)}


@cache
def split_of(source: str, name: SplitName) -> Split:
    path = Path(source)
    return split_by_name(read_sequences(path) if path.is_file() else load_dataset(source), name)


@cache
def ids_of(source: str, name: SplitName, seed: int) -> SemanticIDs:
    """Train a tokenizer on who chose what in the training part, and return its IDs."""
    split = split_of(source, name)
    vectors = collaborative_vectors(split.train, split.num_items)
    training = TrainingConfig(num_steps=2000, batch_size=256, seed=seed)
    return train_rqvae(vectors, training=training, progress=False)[0].tokenize(vectors)


def dealt_out(ids: SemanticIDs, seed: int) -> SemanticIDs:
    """Return the same IDs, dealt out to the items at random."""
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    return SemanticIDs(ids.codes[order], ids.sizes[:-1])


def train(job: Job, settings: Settings, seed: int) -> Recommender | SASRec:
    """Train the model of a job; return it in evaluation mode, on its device."""
    name = RQ if job.model == RANDOM else job.model
    training = TrainingConfig(
        num_steps=settings.num_steps,
        batch_size=BATCH_SIZE.get(name, 32),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=50,
        seed=seed,
    )
    how: dict[str, Any] = {
        "transformer": TransformerConfig(dropout=settings.block_dropout),
        "embedding_dropout": settings.embedding_dropout,
        "max_items": MAX_ITEMS.get(name, 20),
    }
    split = split_of(job.source, job.split)
    if name == SASREC:
        config = SASRecConfig(num_items=split.num_items, **how)
        model, _ = train_sasrec(split.train, config, training, device=job.device, progress=False)
        return model.to(job.device)
    ids = ids_of(job.source, job.split, seed)
    if job.model == RANDOM:
        ids = dealt_out(ids, seed)
    recommender, _ = train_recommender(
        ids, split.train, RECOMMENDERS[name](**how), training, device=job.device, progress=False
    )
    return recommender.to(job.device)


def try_settings(job: Job) -> Row:
    """Train or count with one of the settings, and measure it on the validation targets."""
    split = split_of(job.source, TUNED_ON)
    started = time.perf_counter()
    if job.model in COUNTED_TUNED:
        counted = counted_settings(job.model)[job.number]
        found = evaluate(counted_model(job.model, counted, split), split, split.validation)
        tried = counted._asdict() | {"last": counted.last or "all"}
    else:
        settings = drawn_settings()[job.number]
        found = evaluate(train(job, settings, seed=0), split, split.validation)
        tried = asdict(settings)
    return {name: str(value) for name, value in tried.items()} | {
        "seconds": f"{time.perf_counter() - started:.0f}",
        "recall": f"{found.mean('Recall', 10).mean:.4f}",
        "ndcg": f"{found.mean('NDCG', 10).mean:.4f}",
    }


def best_trial(model: str, table: Path) -> int:
    """Return the number of the settings that did best on the validation targets."""
    rows = [row for row in read_rows(table, TUNING_COLUMNS) if row["model"] == model]
    if not rows:
        raise ValueError(f"{table} holds no trial of {model!r}: run the study without --only-test")
    return int(max(rows, key=lambda row: float(row["ndcg"]))["trial"])


def measure(job: Job) -> tuple[Row, list[Row]]:
    """Train a model with its best settings, or count, and answer the test targets."""
    split = split_of(job.source, job.split)
    started = time.perf_counter()
    if job.model in COUNTED:
        trial = best_trial(job.model, job.results / TUNING) if job.model in COUNTED_TUNED else 0
        model = counted_model(job.model, counted_settings(job.model)[trial], split)
        parameters = 0
    else:
        trial = best_trial(RQ if job.model == RANDOM else job.model, job.results / TUNING)
        model = train(job, drawn_settings()[trial], seed=job.number)
        parameters = sum(parameter.numel() for parameter in model.parameters())
    seconds = time.perf_counter() - started
    found = evaluate(model, split, split.test)
    row = row_of(found) | {"parameters": str(parameters), "seconds": f"{seconds:.0f}"}
    return {name: row[name] for name in COLUMNS if name in row}, people_of(found)


def keep_people(path: Path, key: Row, rows: list[Row]) -> None:
    """Put the people of one training in the place of older ones of it."""
    new = pd.DataFrame(rows, columns=["person", "recall_10", "ndcg_10"])
    new = new.astype({"person": "int32", "recall_10": "float32", "ndcg_10": "float32"})
    for name, value in reversed(key.items()):
        new.insert(0, name, int(value) if name == "seed" else value)
    new["seed"] = new["seed"].astype("int8")
    if path.exists():
        old = pd.read_parquet(path)
        same = pd.concat([old[name].astype(str) == value for name, value in key.items()], axis=1)
        new = pd.concat([old[~same.all(axis=1)], new])
    new = new.sort_values(["split", "model", "seed", "person"], ignore_index=True)
    with write_atomically(path) as temporary:
        new.to_parquet(temporary, compression="zstd")
    note_origin(path)


def place_of(row: Row) -> tuple[int, int, int]:
    """Return where a row of either table stands: by split, model and seed or trial."""
    split = SPLITS.index(row["split"]) if "split" in row else 0  # type: ignore[arg-type]
    return split, MODELS.index(row["model"]), int(row.get("seed", row.get("trial", "0")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="amazon-beauty, or another name or folder of a dataset")
    source.add_argument("--sequences", help="a file with a line per person")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--only-test", action="store_true", help="with the trials that are there")
    parser.add_argument("--device", default="cpu", help="where to train and to score")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    options = parser.parse_args()
    how = (options.device, options.output)
    name = options.dataset or options.sequences
    tuning, table, people = (options.output / file for file in (TUNING, TABLE, PEOPLE))
    tuned = [m for m in options.models if m in (*COUNTED_TUNED, *TRAINED)]
    if not options.only_test:
        done = [(row["model"], row["trial"]) for row in read_rows(tuning, TUNING_COLUMNS)]
        trials = [
            Job(name, TUNED_ON, model, number, *how)
            for model in tuned
            for number in range(8 if model in COUNTED_TUNED else TRIALS)
        ]
        todo = [job for job in trials if (job.model, str(job.number)) not in done]
        for job, row in in_processes(try_settings, todo, options.processes):
            replace_rows(tuning, TUNING_COLUMNS, job.key_of_trial, [row], place_of)
            print(", ".join((job.key_of_trial | row).values()), file=sys.stderr, flush=True)
    rows = read_rows(table, COLUMNS)
    jobs = [
        Job(name, split, model, seed, *how)
        for seed in options.seeds
        for model in options.models
        for split in options.splits
        if model not in COUNTED or seed == SEEDS[0]  # no chance in what is counted
    ]
    todo = [job for job in jobs if not any(job.key.items() <= row.items() for row in rows)]
    for job, (row, hits) in in_processes(measure, todo, options.processes):
        # The people first: a training counts as done once its row stands in the table.
        keep_people(people, job.key, hits)
        replace_rows(table, COLUMNS, job.key, [row], place_of)
        shown = f"Recall@10 {row['recall_10']}, NDCG@10 {row['ndcg_10']}"
        print(f"{', '.join(job.key.values())}: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
