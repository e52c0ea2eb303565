"""How much do results depend on the order of ratings that share a second?

    OMP_NUM_THREADS=1 python book/studies/ties_study.py

writes notebooks/results/11_ties.csv and 11_ties_people.csv beside it, which chapter 11 shows. In
the embedded data a third of the ratings share their second with another one of the same person. The
file has these ties in the order of the movies' ids, which a model can learn. So the models of the
chapter are asked again with ties shuffled, those that count also with ties reversed. The order
decides which movie of a tie is the target, what stands last in a history, and what is learned.
Nothing else differs: a model has the settings that did best with ties as in the file
(11_counting.csv, 11_tuning.csv).

A seed stands for a shuffle and, where a model is trained, for the training. The models that count
answer the targets of both splits, the trained ones those of leave-one-out; with ties as in the file
comparison_study.py has trained them. 11_ties.csv has a row for each answer, with means over people;
"tied" are the targets that share their second with the item before them. 11_ties_people.csv has
each person who has any Recall@10. Rows are written as they come, so a run that was interrupted goes
on where it stopped. It takes about ten minutes of one core.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from comparison_study import people_of
from counted_models import COUNTED, counted_model
from counting import TABLE as COUNTING_TABLE
from counting import best_counted
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import Evaluation, evaluate
from rqvae_lib.evaluation.metrics import mean_of_each_user, recall_at
from studied_models import DATASET, MODELS, RQ, SASREC, SPLITS, train_model
from tables import Row, read_rows, replace_rows, rows_of
from tuning import TABLE as TUNING_TABLE
from tuning import best_settings

RESULTS = TUNING_TABLE.parent
AS_FILED, SHUFFLED, REVERSED = "as filed", "shuffled", "reversed"
ORDERS = (AS_FILED, SHUFFLED, REVERSED)
TRAINED = (SASREC, RQ)
ALL_MODELS = (*COUNTED, *TRAINED)
SEEDS = (0, 1)  # of the models that are trained
SHUFFLES = (0, 1, 2, 3, 4)  # of those that count
COLUMNS = ("split", "model", "order", "seed", "recall_10", "ndcg_10", "tied", "untied")
PEOPLE_COLUMNS = ("split", "model", "order", "seed", "person", "recall_10", "ndcg_10")


def reordered(dataset: Dataset, order: str, seed: int) -> Dataset:
    """Return a dataset whose ties in time stand in another order.

    Args:
        dataset: its interactions are sorted by user, then time.
        order: one of `ORDERS`.
        seed: of the shuffle.
    """
    table = dataset.interactions
    place = np.arange(len(table))
    if order == SHUFFLED:
        place = np.random.default_rng(seed).permutation(len(table))
    elif order == REVERSED:
        place = -place
    user = table["user_id"].factorize()[0]  # users stand in their order
    rows = np.lexsort((place, table["timestamp"].to_numpy(), user))
    return replace(dataset, interactions=table.iloc[rows].reset_index(drop=True))


def tied_with_the_one_before(dataset: Dataset, split: Split, positions: Tensor) -> Tensor:
    """Return whether each target shares its time with the item before it: (M,) bool."""
    times = torch.tensor(dataset.interactions["timestamp"].to_numpy())  # (E,)
    first = torch.isin(positions, split.everything.begins)
    return ~first & (times[positions] == times[(positions - 1).clamp(min=0)])


def row_of(found: Evaluation, tied: Tensor) -> Row:
    """Return means over people, of all targets and of those that are tied or not."""
    row = {
        "recall_10": f"{float(found.of_people('Recall', 10).mean()):.5f}",
        "ndcg_10": f"{float(found.of_people('NDCG', 10).mean()):.5f}",
    }
    for name, part in (("tied", tied), ("untied", ~tied)):
        hits = mean_of_each_user(recall_at(found.ranks[part], 10), found.users[part])
        row[name] = f"{float(hits.mean()):.5f}"
    return row


class Answer(NamedTuple):
    split: SplitName
    model: str
    order: str
    seed: int

    @property
    def key(self) -> Row:
        return self._asdict() | {"seed": str(self.seed)}

    def place(self) -> tuple[int, int, int, int]:
        """Return where the rows of an answer stand."""
        return (
            SPLITS.index(self.split),
            ALL_MODELS.index(self.model),
            ORDERS.index(self.order),
            self.seed,
        )


def answer(asked: Answer, dataset: Dataset) -> tuple[Row, list[Row]]:
    """Count or train a model on a dataset with ties in its order; return both tables' rows."""
    dataset = reordered(dataset, asked.order, asked.seed)
    split = split_by_name(dataset, asked.split)
    if asked.model in COUNTED:
        settings = best_counted(asked.model, asked.split, COUNTING_TABLE)
        found = evaluate(counted_model(asked.model, settings, split), split, split.test)
    else:
        ids = MODELS[asked.model].make_ids(dataset, split, asked.seed)
        best = best_settings(asked.model, asked.split, TUNING_TABLE)
        model = train_model(asked.model, best, ids, split.train, asked.seed)
        found = evaluate(model, split, split.test)
    return row_of(found, tied_with_the_one_before(dataset, split, split.test)), people_of(found)


def seeds_of(split: str, model: str, order: str) -> tuple[int, ...]:
    """Return the seeds with which a model answers; none if `comparison_study.py` does it."""
    if model in COUNTED:
        return SHUFFLES if order == SHUFFLED else SHUFFLES[:1]
    return SEEDS if split == SPLITS[0] and order == SHUFFLED else ()


def place_of(row: Row) -> tuple[tuple[int, int, int, int], int]:
    """Return where a row of either table stands: by answer and person."""
    of = Answer(row["split"], row["model"], row["order"], int(row["seed"]))  # type: ignore[arg-type]
    return of.place(), int(row.get("person", "0"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--models", nargs="+", choices=ALL_MODELS, default=list(ALL_MODELS))
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=ORDERS)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SHUFFLES, default=SHUFFLES)
    options = parser.parse_args()
    table, people = (options.output / name for name in ("11_ties.csv", "11_ties_people.csv"))
    asked = [
        Answer(split, model, order, seed)
        for split in options.splits
        for seed in options.seeds
        for order in options.orders
        for model in options.models
        if seed in seeds_of(split, model, order)
    ]
    done = read_rows(table, COLUMNS)
    dataset = load_dataset(DATASET)
    for one in asked:
        if rows_of(done, one.key):
            continue
        row, hits = answer(one, dataset)
        # The people first: an answer counts as done once its row stands in the table.
        replace_rows(people, PEOPLE_COLUMNS, one.key, hits, place_of)
        replace_rows(table, COLUMNS, one.key, [row], place_of)
        print(", ".join((one.key | row).values()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
