"""Every model, two splits, and for two models a third: which recommends best, and how sure are we?

    OMP_NUM_THREADS=1 python book/studies/comparison_study.py

writes notebooks/results/11_comparison.csv and 11_people.csv beside it, which chapters 10 and 11
show. Each model is trained on what a split lets it learn from, with the settings that did best on
that split's validation targets in 11_tuning.csv (for the models that have trials of their own; the
others take the RQ-Transformer's), and answers its test targets. Two models also answer each
person's last ten items, with the settings of leave-one-out: that split has no trials of its own.
The models that count (`counted_models.py`: popularity, item-kNN, near pairs) answer the targets of
all three splits, with the best settings of 11_counting.csv. Nothing is drawn there, so they have
one seed, and `--models popularity item-kNN "near pairs" "near pairs, forward"` takes a minute.

11_comparison.csv has a row for each training: means over people of all metrics. 11_people.csv has
Recall@10 and NDCG@10 of each person who has any, so that intervals and paired differences can be
computed from it. Rows are written as they come, so a run that was interrupted goes on where it
stopped; `--models`, `--splits` and `--seeds` name a part of the work. All of it takes about five
hours of one core, or some minutes of a GPU (`--device cuda --processes 8`).
"""

import argparse
import sys
import time
from pathlib import Path
from typing import NamedTuple

from counted_models import COUNTED, counted_model
from counting import TABLE as COUNTING_TABLE
from counting import best_counted
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.evaluation.evaluator import METRICS, Evaluation, evaluate
from studied_models import DATASET, MODELS, RQ, SASREC, SPLITS, train_model
from tables import Row, read_rows, replace_rows, rows_of
from tuning import TABLE, best_settings
from workers import in_processes

RESULTS = TABLE.parent
LAST_TEN: SplitName = "last-ten"
ALL_SPLITS = (*SPLITS, LAST_TEN)
ALL_MODELS = (*COUNTED, *MODELS)
OF_LAST_TEN = (*COUNTED, SASREC, RQ)  # the others are not trained on last-ten
SEEDS = (0, 1, 2, 3, 4)
MEASURED = tuple(f"{metric.lower()}_{k}" for metric in METRICS for k in CUTOFFS)
COLUMNS = (
    "split",
    "model",
    "seed",
    "parameters",
    "device",
    "seconds",  # of training; the shipped table's machine was busy otherwise
    *MEASURED,
    "coverage_10",
    "popularity_10",
    "unseen_10",  # Recall for targets that nobody had in training
)
PEOPLE_COLUMNS = ("split", "model", "seed", "person", "recall_10", "ndcg_10")


def row_of(evaluation: Evaluation) -> Row:
    """Return what is measured of a model, by column."""
    row = {
        f"{metric.lower()}_{k}": f"{float(evaluation.of_people(metric, k).mean()):.5f}"
        for metric in METRICS
        for k in CUTOFFS
    }
    unseen = evaluation.unseen(10)
    return row | {
        "coverage_10": f"{evaluation.coverage(10):.5f}",
        "popularity_10": f"{evaluation.mean_popularity(10):.2f}",
        "unseen_10": "" if unseen is None else f"{unseen.mean:.5f}",
    }


def people_of(evaluation: Evaluation) -> list[Row]:
    """Return a row for each person with a hit; persons are numbered as the split numbers users."""
    people = evaluation.users.unique().tolist()
    recalls = evaluation.of_people("Recall", 10).tolist()
    ndcgs = evaluation.of_people("NDCG", 10).tolist()
    return [
        {"person": str(person), "recall_10": f"{recall:.5f}", "ndcg_10": f"{ndcg:.5f}"}
        for person, recall, ndcg in zip(people, recalls, ndcgs, strict=True)
        if recall > 0
    ]


class Training(NamedTuple):
    split: SplitName
    model: str
    seed: int
    device: str
    tuning: Path
    counting: Path

    @property
    def key(self) -> Row:
        return {"split": self.split, "model": self.model, "seed": str(self.seed)}


def count_and_evaluate(training: Training, tuned_on: str) -> tuple[Row, list[Row]]:
    """Count in a split's training part and answer its test targets."""
    split = split_by_name(load_dataset(DATASET), training.split)
    settings = best_counted(training.model, tuned_on, training.counting)
    started = time.perf_counter()
    model = counted_model(training.model, settings, split)
    seconds = time.perf_counter() - started
    evaluation = evaluate(model, split, split.test)
    about = {"parameters": "0", "device": "cpu", "seconds": f"{seconds:.0f}"}
    return row_of(evaluation) | about, people_of(evaluation)


def train_and_evaluate(training: Training) -> tuple[Row, list[Row]]:
    """Train a model on a split, or count in it, and answer its test targets."""
    tuned_on = "leave-one-out" if training.split == LAST_TEN else training.split
    if training.model in COUNTED:
        return count_and_evaluate(training, tuned_on)
    dataset = load_dataset(DATASET)
    split = split_by_name(dataset, training.split)
    studied = MODELS[training.model]
    settings = best_settings(studied.tuned_as, tuned_on, training.tuning)
    ids = studied.make_ids(dataset, split, training.seed)
    started = time.perf_counter()
    model = train_model(training.model, settings, ids, split.train, training.seed, training.device)
    seconds = time.perf_counter() - started
    evaluation = evaluate(model.to(training.device), split, split.test)
    row = row_of(evaluation) | {
        "parameters": str(sum(parameter.numel() for parameter in model.parameters())),
        "device": training.device,
        "seconds": f"{seconds:.0f}",
    }
    return row, people_of(evaluation)


def place_of(row: Row) -> tuple[int, int, int, int]:
    """Return where a row of either table stands: by split, model, seed and person."""
    return (
        ALL_SPLITS.index(row["split"]),
        ALL_MODELS.index(row["model"]),
        int(row["seed"]),
        int(row.get("person", "0")),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--tuning", type=Path, default=TABLE, help="the table of the tuning")
    parser.add_argument(
        "--counting", type=Path, default=COUNTING_TABLE, help="the trials of the models that count"
    )
    parser.add_argument("--models", nargs="+", choices=ALL_MODELS, default=list(ALL_MODELS))
    parser.add_argument("--splits", nargs="+", choices=ALL_SPLITS, default=ALL_SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--device", default="cpu", help="where to train and to score")
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    options = parser.parse_args()
    table, people = (options.output / name for name in ("11_comparison.csv", "11_people.csv"))
    done = read_rows(table, COLUMNS)
    trainings = [
        Training(split, model, seed, options.device, options.tuning, options.counting)
        for model in options.models
        for seed in options.seeds
        for split in options.splits
        if split != LAST_TEN or model in OF_LAST_TEN
        if model not in COUNTED or seed == SEEDS[0]  # no chance in what is counted
    ]
    todo = [t for t in trainings if not rows_of(done, t.key)]
    for training, (row, hits) in in_processes(train_and_evaluate, todo, options.processes):
        # The people first: a training counts as done once its row stands in the table.
        replace_rows(people, PEOPLE_COLUMNS, training.key, hits, place_of)
        replace_rows(table, COLUMNS, training.key, [row], place_of)
        shown = f"Recall@10 {row['recall_10']}, NDCG@10 {row['ndcg_10']}"
        print(f"{', '.join(training.key.values())}: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
