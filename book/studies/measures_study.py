"""Do the measures of a tokenizer say how well its IDs will recommend?

    OMP_NUM_THREADS=1 python book/studies/measures_study.py

writes notebooks/results/06_measures.csv and 06_measures_people.csv beside it. Tokenizers of very
different quality, three seeds each: residual k-means and RQ-VAE, from a sixteenth of the usual
codebook to one level more than usual, hardly trained at all or trained for long, on texts, on who
chose what or on both, and one whose codes are dealt out to the movies at random. Of each, the three
measures that a tokenizer is judged by before anything recommends (variance lost, collision rate,
perplexity), and then Recall@10 and NDCG@10 of a small recommender that was trained on its IDs, on
each person's last ten movies (`last-ten`, which has ten times the targets of leave-one-out).

The recommender is an RQ-Transformer without vectors for prefixes: of a movie it knows nothing but
its codes, so the IDs matter as much as they can. All get the same budget: 1,000 steps, with the
settings that did best of those with as many steps in 11_tuning.csv. What 3,000 steps make of some
of these IDs, with five seeds, is in 11_comparison.csv, and chapter 06 shows that.

Rows are written as they come, so a run that was interrupted goes on where it stopped; `--seeds`
names a part of the work. All of it takes half an hour of one idle core.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from collision_study import held_out_movies, tokenizer
from comparison_study import people_of
from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.data.names import Content
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.evaluation.metrics import recall_at
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.collisions import balance_last_level, keep_codes, take_nearest_free
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import code_usage
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.recipes import new_rqvae
from studied_models import DATASET, RQ, Settings, train_model
from tables import Row, read_rows, replace_rows, rows_of
from tuning import TABLE as TUNING
from tuning import best_settings

RESULTS = TUNING.parent
SPLIT = "last-ten"
CODES_ONLY = "RQ-Transformer, codes only"
SEEDS = (0, 1, 2)
STEPS = 1000  # of a recommender's training

Change = Callable[[Tensor, Tensor, Tensor], Tensor]  # a remedy: latents, codes, codebooks → codes


@dataclass(frozen=True)
class Tokenizer:
    """How a tokenizer of the table is made."""

    kind: str  # "R-KMeans" or "RQ-VAE"
    content: Content = "text"  # what it reads
    levels: int = 3
    size: int = 256  # codewords a level
    steps: int = 0  # of training, after the autoencoder's own 300; 0: none of either
    shipped: str = ""  # the name of a shipped one, which is not trained here
    unseen: bool = False  # it is fitted without the newest tenth of the movies
    dealt_out: bool = False  # its codes then go to the movies at random
    remedy: Change = keep_codes


TOKENIZERS = {
    "dealt out": Tokenizer("RQ-VAE", shipped=DATASET, dealt_out=True),
    "RQ-VAE, untrained": Tokenizer("RQ-VAE"),
    "RQ-VAE, 250 steps": Tokenizer("RQ-VAE", steps=250),
    "RQ-VAE, 10,000 steps": Tokenizer("RQ-VAE", shipped=f"{DATASET}-10k"),
    "RQ-VAE, 500,000 steps": Tokenizer("RQ-VAE", shipped=DATASET),
    "R-KMeans, 3 × 16": Tokenizer("R-KMeans", size=16),
    "R-KMeans, 3 × 64": Tokenizer("R-KMeans", size=64),
    "R-KMeans, 3 × 256": Tokenizer("R-KMeans"),
    "R-KMeans, 4 × 256": Tokenizer("R-KMeans", levels=4),
    "R-KMeans, collaborative": Tokenizer("R-KMeans", "collaborative"),
    "R-KMeans, both": Tokenizer("R-KMeans", "both"),
    "R-KMeans, 3 × 64, balanced": Tokenizer("R-KMeans", size=64, remedy=balance_last_level),
    "R-KMeans, 3 × 64, nearest-free": Tokenizer("R-KMeans", size=64, remedy=take_nearest_free),
    "R-KMeans, newest unseen": Tokenizer("R-KMeans", unseen=True),
}
COLUMNS = (
    "tokenizer",
    "seed",
    "content",
    "variance_lost",  # of the vectors that the tokenizer reads
    "collision_rate",
    "perplexity",  # of the level where it is lowest
    "seconds",  # of training the recommender; the shipped table's machine was busy otherwise
    "recall_10",
    "ndcg_10",
    "new_targets",  # targets that are one of the newest tenth of the movies
    "new_found",  # of these, how many are among ten recommendations
)
PEOPLE_COLUMNS = ("tokenizer", "seed", "person", "recall_10", "ndcg_10")


@cache
def the_split() -> Split:
    return split_by_name(load_dataset(DATASET), SPLIT)


@cache
def vectors_of(content: Content) -> Tensor:
    """Return what a tokenizer reads of each movie, (N, D): of choices, only those of training."""
    return item_vectors(load_dataset(DATASET), content, split=the_split()).tensor


@cache
def fitted(how: Tokenizer, seed: int) -> RQVAE:
    """Return the tokenizer; `dealt_out` and `remedy` come afterwards."""
    vectors = vectors_of(how.content)
    if how.unseen:
        vectors = vectors[held_out_movies("newest", seed)[0]]
    if how.shipped:
        return load_rqvae(how.shipped)[0]
    if how.kind == "RQ-VAE" and not how.steps:
        config = RQVAEConfig(vectors.shape[1], num_levels=how.levels, codebook_size=how.size)
        return new_rqvae(vectors, config, seed=seed)
    return tokenizer(how.kind, vectors, seed, how.steps, levels=how.levels, size=how.size)


def codes_of(how: Tokenizer, seed: int) -> tuple[RQVAE, Tensor]:
    """Return the tokenizer and its codes (N, L), after a remedy if there is one."""
    model = fitted(replace(how, dealt_out=False, remedy=keep_codes), seed)
    vectors = vectors_of(how.content)
    codes = model.assign(vectors)
    codes = how.remedy(model.encode(vectors), codes, model.quantizer.codebooks.detach())
    if how.dealt_out:
        codes = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))]
    return model, codes


def measures_of(model: RQVAE, vectors: Tensor, codes: Tensor) -> Row:
    """Return what a tokenizer is judged by before anything recommends."""
    size = model.config.codebook_size
    found = {
        "variance_lost": model.variance_lost(vectors, codes),
        "collision_rate": SemanticIDs(codes, size).collision_rate,
        "perplexity": float(code_usage(codes, size).perplexity.min()),
    }
    return {name: f"{value:.5g}" for name, value in found.items()}


@cache
def settings() -> Settings:
    """Return the best settings of the trials with as many steps, on leave-one-out."""
    return best_settings(RQ, "leave-one-out", num_steps=STEPS)


def train_and_evaluate(name: str, seed: int) -> tuple[Row, list[Row]]:
    """Make a tokenizer, train a recommender on its IDs, and answer the test targets."""
    how, split = TOKENIZERS[name], the_split()
    model, codes = codes_of(how, seed)
    row = {"content": how.content} | measures_of(model, vectors_of(how.content), codes)
    ids = SemanticIDs(codes, model.config.codebook_size)
    started = time.perf_counter()
    recommender = train_model(CODES_ONLY, settings(), ids, split.train, seed)
    row["seconds"] = f"{time.perf_counter() - started:.0f}"
    evaluation = evaluate(recommender, split, split.test)
    for metric in ("Recall", "NDCG"):
        row[f"{metric.lower()}_10"] = f"{float(evaluation.of_people(metric, 10).mean()):.5f}"
    new = torch.isin(evaluation.targets, held_out_movies("newest", seed)[1])
    found = recall_at(evaluation.ranks, 10)
    row |= {"new_targets": str(int(new.sum())), "new_found": str(int(found[new].sum()))}
    return row, people_of(evaluation)


def place_of(row: Row) -> tuple[int, int, int]:
    """Return where a row of either table stands."""
    return (
        list(TOKENIZERS).index(row["tokenizer"]),
        int(row["seed"]),
        int(row.get("person", "0")),
    )


def run(folder: Path, seeds: Sequence[int] = SEEDS) -> None:
    """Measure what the tables lack, and write each training as it ends."""
    table, people = (folder / name for name in ("06_measures.csv", "06_measures_people.csv"))
    done = read_rows(table, COLUMNS)
    for seed, name in product(seeds, TOKENIZERS):
        key = {"tokenizer": name, "seed": str(seed)}
        if rows_of(done, key):
            continue
        row, hits = train_and_evaluate(name, seed)
        # The people first: a training counts as done once its row stands in the table.
        replace_rows(people, PEOPLE_COLUMNS, key, hits, place_of)
        replace_rows(table, COLUMNS, key, [row], place_of)
        print(", ".join((key | row).values()), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    options = parser.parse_args()
    run(options.output, options.seeds)


if __name__ == "__main__":
    main()
