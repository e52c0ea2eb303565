"""Every model, two splits, five seeds: which recommends best, and how sure are we?

    OMP_NUM_THREADS=1 python book/_tools/comparison_study.py

writes notebooks/results/11_comparison.csv and 11_people.csv beside it, which chapters 10 and 11
show. SASRec and the RQ-Transformer are trained with the settings that did best for each of them in
11_tuning.csv, the other models with the RQ-Transformer's; each on what a split lets it learn from,
and it answers that split's test targets. The controls differ from a model in one thing each: their
IDs are dealt out at random, or come from a tokenizer whose encoder was never trained.

11_comparison.csv has a row for each training: means over people of all metrics. 11_people.csv has
Recall@10 and NDCG@10 of each person who has any, so that intervals and paired differences can be
computed from it. Rows are written as they come, so a run that was interrupted goes on where it
stopped; `--models`, `--splits` and `--seeds` name a part of the work for one process. All of it
takes about four hours of one core.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from rqvae_lib.checkpoints import load_recommender
from rqvae_lib.comparison import CUTOFFS, METRICS, Evaluation, evaluate
from rqvae_lib.datasets import Dataset, load_dataset
from rqvae_lib.item_vectors import item_vectors
from rqvae_lib.recipes import new_rqvae
from rqvae_lib.rqvae import RQVAEConfig
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.splits import Split, split_by_name
from tables import Row, read_rows, replace_rows
from tuning import DATASET, TABLE, best_settings, train_model

RESULTS = TABLE.parent
SEEDS = (0, 1, 2, 3, 4)
STUDIED_SPLITS = ("leave-one-out", "timestamp")


def shipped_ids(dataset: Dataset, seed: int) -> SemanticIDs:
    """Return the IDs of the shipped tokenizer."""
    return load_recommender(DATASET)[0].ids


def random_ids(dataset: Dataset, seed: int) -> SemanticIDs:
    """Return the same IDs, dealt out to the items at random."""
    ids = shipped_ids(dataset, seed)
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    *sizes, _ = ids.sizes
    return SemanticIDs(ids.ids[order, :-1], sizes)


def untrained_ids(dataset: Dataset, seed: int) -> SemanticIDs:
    """Return the IDs of an RQ-VAE with random weights, whose codebooks k-means has fitted."""
    vectors = item_vectors(dataset)
    tokenizer = new_rqvae(vectors, RQVAEConfig(vectors.shape[1]), seed=seed)
    config = tokenizer.config
    return SemanticIDs(tokenizer.assign(vectors), [config.codebook_size] * config.num_levels)


class Studied(NamedTuple):
    trainer: str  # how it is trained, by the name that the tuning gives it
    tuned_as: str  # whose best settings it takes
    make_ids: Callable[[Dataset, int], SemanticIDs]


MODELS = {
    "SASRec": Studied("SASRec", "SASRec", shipped_ids),  # it reads no IDs
    "RQ-Transformer": Studied("RQ-Transformer", "RQ-Transformer", shipped_ids),
    "RQ-Transformer, codes only": Studied(
        "RQ-Transformer, codes only", "RQ-Transformer", shipped_ids
    ),
    "decoder-only": Studied("decoder-only", "RQ-Transformer", shipped_ids),
    "encoder-decoder": Studied("encoder-decoder", "RQ-Transformer", shipped_ids),
    "RQ-Transformer, random IDs": Studied("RQ-Transformer", "RQ-Transformer", random_ids),
    "RQ-Transformer, codes only, random IDs": Studied(
        "RQ-Transformer, codes only", "RQ-Transformer", random_ids
    ),
    "decoder-only, random IDs": Studied("decoder-only", "RQ-Transformer", random_ids),
    "decoder-only, untrained RQ-VAE": Studied("decoder-only", "RQ-Transformer", untrained_ids),
}
MEASURED = tuple(f"{metric.lower()}_{k}" for metric in METRICS for k in CUTOFFS)
COLUMNS = (
    "split",
    "model",
    "seed",
    "parameters",
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


def train_and_evaluate(
    name: str, dataset: Dataset, split: Split, seed: int, tuning: Path
) -> tuple[Row, list[Row]]:
    """Train a model on a split and answer its test targets."""
    trainer, tuned_as, make_ids = MODELS[name]
    ids = make_ids(dataset, seed)
    started = time.perf_counter()
    model = train_model(trainer, best_settings(tuned_as, tuning), ids, split.train, seed)
    seconds = time.perf_counter() - started
    evaluation = evaluate(model, split, split.test, dataset.num_items)
    assert isinstance(model, torch.nn.Module)
    row = row_of(evaluation) | {
        "parameters": str(sum(parameter.numel() for parameter in model.parameters())),
        "seconds": f"{seconds:.0f}",
    }
    return row, people_of(evaluation)


def place_of(row: Row) -> tuple[int, int, int, int]:
    """Return where a row of either table stands: by split, model, seed and person."""
    return (
        STUDIED_SPLITS.index(row["split"]),
        list(MODELS).index(row["model"]),
        int(row["seed"]),
        int(row.get("person", "0")),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--tuning", type=Path, default=TABLE, help="the table of the tuning")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--splits", nargs="+", choices=STUDIED_SPLITS, default=STUDIED_SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    options = parser.parse_args()
    table, people = (options.output / name for name in ("11_comparison.csv", "11_people.csv"))
    dataset = load_dataset(DATASET)
    for split_name in options.splits:
        split = split_by_name(dataset, split_name)
        for name in options.models:
            for seed in options.seeds:
                key = {"split": split_name, "model": name, "seed": str(seed)}
                if any(key.items() <= row.items() for row in read_rows(table, COLUMNS)):
                    continue
                row, hits = train_and_evaluate(name, dataset, split, seed, options.tuning)
                # The people first: a training counts as done once its row stands in the table.
                replace_rows(people, PEOPLE_COLUMNS, key, hits, place_of)
                replace_rows(table, COLUMNS, key, [row], place_of)
                shown = f"Recall@10 {row['recall_10']}, NDCG@10 {row['ndcg_10']}"
                print(f"{split_name}, {name}, {seed}: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
