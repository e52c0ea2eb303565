"""What counting knows, mixed into what two models have learned: three splits, five seeds.

    OMP_NUM_THREADS=1 python book/studies/mixture_study.py

writes notebooks/results/11_mixtures.csv and 11_mixtures_people.csv beside it, which chapter 11
shows. An RQ-Transformer and a SASRec are trained as in `comparison_study.py`, with the settings
that did best on a split's validation targets; their weights are kept in `runs/mixtures`. Each model
then answers the test targets alone, and mixed with popularity, item-kNN and near pairs, which are
counted with their best settings of 11_counting.csv. The share of a mixture is the best of
`SHARES` on validation targets. Seed `all` is an ensemble: the mean of the five seeds'
probabilities, alone and mixed.

Rows are written as they come, so a run that was interrupted goes on where it stopped. All of it
takes about three hours of one core, most of which are SASRec's trainings.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from comparison_study import (
    ALL_SPLITS,
    LAST_TEN,
    MEASURED,
    PEOPLE_COLUMNS,
    RESULTS,
    SEEDS,
    people_of,
    row_of,
)
from counted_models import ITEM_KNN, NEAR, POPULARITY, counted_model
from counting import best_counted
from rqvae_lib.checkpoints.models import load_model, save_recommender, save_sasrec
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.evaluation.evaluator import Evaluation
from rqvae_lib.evaluation.metrics import top_items
from rqvae_lib.evaluation.validation import tuned_mixture
from rqvae_lib.generation.mixture import Mixture, counted_probabilities, learned_probabilities, mix
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.rows import row_blocks
from studied_models import DATASET, MODELS, RQ, RUNS, SASREC, train_model
from tables import Row, read_rows, replace_rows, rows_of
from tuning import best_settings

LEARNED = (RQ, SASREC)
ALONE = "nothing"
MIXED_WITH = (ALONE, POPULARITY, ITEM_KNN, NEAR)
ALL_SEEDS = "all"
COLUMNS = ("split", "model", "mixed_with", "seed", "share", *MEASURED, "coverage_10")
PEOPLE = ("split", "model", "mixed_with", *PEOPLE_COLUMNS[2:])


class Ensemble:
    """The mean of several models' probabilities."""

    def __init__(self, models: Sequence[Recommender | SASRec]) -> None:
        self.models = models

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the logarithm of the mean probability, (B, N) float32."""
        of_models = [learned_probabilities(model, histories) for model in self.models]
        return torch.stack(of_models).mean(0).log()


class Job(NamedTuple):
    split: SplitName
    model: str
    seed: str  # a number, or `ALL_SEEDS`

    @property
    def key(self) -> Row:
        return {"split": self.split, "model": self.model, "seed": self.seed}

    @property
    def tuned_on(self) -> SplitName:
        """The split whose trials say how the model is trained: last-ten has none of its own."""
        return "leave-one-out" if self.split == LAST_TEN else self.split


def trained(job: Job) -> Recommender | SASRec | Ensemble:
    """Return the model of a job, which is trained if it was not before."""
    if job.seed == ALL_SEEDS:
        return Ensemble([trained(job._replace(seed=str(seed))) for seed in SEEDS])  # type: ignore[misc]
    path = RUNS / "mixtures" / f"{job.split}-{job.model}-{job.seed}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset = load_dataset(DATASET)
        split = split_by_name(dataset, job.split)
        studied = MODELS[job.model]
        settings = best_settings(studied.tuned_as, job.tuned_on)
        ids = studied.make_ids(dataset, split, int(job.seed))
        model = train_model(job.model, settings, ids, split.train, int(job.seed))
        if isinstance(model, SASRec):
            save_sasrec(path, model, dataset, split)
        else:
            save_recommender(path, model, dataset, split)
    return load_model(path)[0]


def evaluate_mixtures(mixtures: dict[str, Mixture], split: Split) -> dict[str, Evaluation]:
    """Answer the test targets with mixtures of one model, which scores each history once."""
    lists: dict[str, list[Tensor]] = {name: [] for name in mixtures}
    model = next(iter(mixtures.values())).model
    for rows in row_blocks(len(split.test), 64):
        histories, _ = split.histories_and_targets(split.test[rows])
        learned = learned_probabilities(model, histories)
        for name, mixture in mixtures.items():
            from_counts = counted_probabilities(mixture.counted, histories)
            mixed = mix(learned, from_counts, mixture.share)
            lists[name].append(top_items(mixed, max(CUTOFFS), histories))
    targets = split.everything.items[split.test]
    users = split.everything.user_of(split.test)
    return {
        name: Evaluation(torch.cat(found), targets, users, split.popularity, None)
        for name, found in lists.items()
    }


def measure(job: Job) -> dict[str, tuple[Row, list[Row]]]:
    """Measure a model alone and mixed: by what it is mixed with, its row and its people's."""
    split = split_by_name(load_dataset(DATASET), job.split)
    model = trained(job)
    mixtures = {}
    for name in MIXED_WITH[1:]:
        counted = counted_model(name, best_counted(name, job.tuned_on), split)
        mixtures[name] = tuned_mixture(model, counted, split)
    any_counted = mixtures[POPULARITY].counted
    mixtures = {ALONE: Mixture(model, any_counted, 0.0)} | mixtures
    found = evaluate_mixtures(mixtures, split)
    return {
        name: (
            row_of(evaluation) | {"share": f"{mixtures[name].share:g}"},
            people_of(evaluation),
        )
        for name, evaluation in found.items()
    }


def place_of(row: Row) -> tuple[int, int, int, float, int]:
    """Return where a row of either table stands: by split, model, mixture, seed and person."""
    return (
        ALL_SPLITS.index(row["split"]),  # type: ignore[arg-type]
        LEARNED.index(row["model"]),
        MIXED_WITH.index(row["mixed_with"]),
        float("inf") if row["seed"] == ALL_SEEDS else int(row["seed"]),
        int(row.get("person", "0")),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--models", nargs="+", choices=LEARNED, default=LEARNED)
    parser.add_argument("--splits", nargs="+", choices=ALL_SPLITS, default=ALL_SPLITS)
    seeds = (*map(str, SEEDS), ALL_SEEDS)
    parser.add_argument("--seeds", nargs="+", choices=seeds, default=seeds)
    options = parser.parse_args()
    table, people = (options.output / f"11_{name}.csv" for name in ("mixtures", "mixtures_people"))
    done = read_rows(table, COLUMNS)
    jobs = [
        Job(split, model, seed)
        for model in options.models
        for split in options.splits
        for seed in options.seeds
    ]
    for job in jobs:
        if len(rows_of(done, job.key)) == len(MIXED_WITH):
            continue
        for name, (row, hits) in measure(job).items():
            key = job.key | {"mixed_with": name}
            # The people first: a mixture counts as done once its row stands in the table.
            replace_rows(people, PEOPLE, key, hits, place_of)
            row = {column: row[column] for column in COLUMNS if column in row}
            replace_rows(table, COLUMNS, key, [row], place_of)
            shown = f"Recall@10 {row['recall_10']}, NDCG@10 {row['ndcg_10']}"
            print(
                f"{', '.join(key.values())}: {row['share']}, {shown}", file=sys.stderr, flush=True
            )


if __name__ == "__main__":
    main()
