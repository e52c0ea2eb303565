"""Twelve settings, drawn once, tried on every model: with which of them does each learn best?

    OMP_NUM_THREADS=1 python book/studies/tuning.py

writes notebooks/results/11_tuning.csv, which chapter 11 shows. A model that was tuned longer than
the one beside it looks better than it is, so all get the same trials: the same twelve settings.
The first is what the shipped decoder was trained with; the others are drawn. What counts is NDCG@10
on a split's validation targets; nobody looks at a test target here. Rows are written as they come,
so a run that was interrupted goes on where it stopped. A trial takes two to four minutes of one
core, or a few seconds of a GPU (`--device cuda --processes 8`).
"""

import argparse
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import evaluate
from studied_models import (
    DATASET,
    MODELS,
    SPLITS,
    TUNED,
    Settings,
    drawn_settings,
    train_model,
)
from tables import Row, read_rows, replace_rows, rows_of
from workers import in_processes

TABLE = Path(__file__).parents[2] / "notebooks" / "results" / "11_tuning.csv"
TRIALS = 12
COLUMNS = (
    "split",
    "model",
    "trial",
    *(field.name for field in fields(Settings)),
    "device",
    "seconds",
    "recall",
    "ndcg",
)


class Trial(NamedTuple):
    split: SplitName
    model: str
    trial: int
    device: str

    @property
    def key(self) -> Row:
        return {"split": self.split, "model": self.model, "trial": str(self.trial)}


def try_settings(trial: Trial) -> Row:
    """Train a model with drawn settings, and measure it on the validation targets."""
    dataset = load_dataset(DATASET)
    split = split_by_name(dataset, trial.split)
    settings = drawn_settings(TRIALS)[trial.trial]
    ids = MODELS[trial.model].make_ids(dataset, split, 0)
    started = time.perf_counter()
    model = train_model(trial.model, settings, ids, split.train, 0, trial.device)
    seconds = time.perf_counter() - started
    found = evaluate(model.to(trial.device), split, split.validation)
    return {name: str(value) for name, value in asdict(settings).items()} | {
        "device": trial.device,
        "seconds": f"{seconds:.0f}",
        "recall": f"{found.mean('Recall', 10).mean:.4f}",
        "ndcg": f"{found.mean('NDCG', 10).mean:.4f}",
    }


def best_settings(
    model: str, split: str, table: Path = TABLE, *, num_steps: int | None = None
) -> Settings:
    """Return the settings with which a model did best on the validation targets of a split.

    Args:
        model: one of `TUNED`.
        split: one of `SPLITS`.
        table: the trials.
        num_steps: of a training; None: the best of any number.

    Raises:
        ValueError: if the table holds no such trial.
    """
    key = {"model": model, "split": split}
    if num_steps is not None:
        key["num_steps"] = str(num_steps)
    rows = rows_of(read_rows(table, COLUMNS), key)
    if not rows:
        steps = "" if num_steps is None else f" with {num_steps} steps"
        raise ValueError(
            f"{table} holds no trial of {model!r} on {split}{steps}: "
            f"run tuning.py --models {model!r}"
        )
    best = max(rows, key=lambda row: float(row["ndcg"]))
    return Settings(**{field.name: field.type(best[field.name]) for field in fields(Settings)})


def place_of(row: Row) -> tuple[int, int, int]:
    """Return where a row of the table stands: by split, model and trial."""
    return SPLITS.index(row["split"]), TUNED.index(row["model"]), int(row["trial"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=TABLE, help="the table")
    parser.add_argument("--models", nargs="+", choices=TUNED, default=TUNED)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--device", default="cpu", help="where to train and to score")
    parser.add_argument("--processes", type=int, default=1, help="trials at a time")
    options = parser.parse_args()
    done = read_rows(options.output, COLUMNS)
    trials = [
        Trial(split, model, number, options.device)
        for number in range(TRIALS)
        for model in options.models
        for split in options.splits
    ]
    todo = [t for t in trials if not rows_of(done, t.key)]
    for trial, row in in_processes(try_settings, todo, options.processes):
        replace_rows(options.output, COLUMNS, trial.key, [row], place_of)
        print(", ".join((trial.key | row).values()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
