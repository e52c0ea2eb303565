"""Measure what the codes of groceries should be made from, and what longer training brings.

    OMP_NUM_THREADS=1 python book/studies/groceries_study.py

writes notebooks/results/13_groceries.csv and 13_groceries_people.csv beside it, which chapter 13
shows. The first has a row for each model, settings, number of training steps, seed and part
(validation or test) of the split leave-one-out; the second has each household's Recall@10 and
NDCG@10 on the test, where they are not zero. Rows are written as they come, so a run that was
interrupted goes on where it stopped. It takes about half an hour of one core.

Every tokenizer has three levels of 64 codewords. "random IDs" are those of the text, dealt out to
the products by chance: the same collisions, no meaning. All models are trained for 300 steps with
the library's settings, on three seeds. Then SASRec and the RQ-Transformer over the text's IDs get
the same trials, on one seed: the library's settings for 300 and 1,000 steps, and for 3,000 steps
those that did best for both on the movies' validation targets in chapter 11. The trial with the
highest NDCG@10 on validation is done on the other seeds, too, and so is the control with random
IDs, with the RQ-Transformer's settings. Item-kNN has four trials.
"""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "makers"))

from prepare_groceries import FOLDER, texts_of
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split, leave_one_out
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.embeddings.text import read_embeddings
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.models.base import Recommender, ScoresItems
from rqvae_lib.models.configs import RQTransformerConfig, SASRecConfig
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING, TrainingConfig
from rqvae_lib.training.recipes import new_rqvae, train_recommender, train_rqvae, train_sasrec
from tables import Row, read_rows, replace_rows, rows_of

RESULTS = FOLDER.parent / "results" / "13_groceries.csv"
LEVELS, CODEWORDS = 3, 64
SHORT = 300  # steps, of everything
SEEDS = (0, 1, 2)
COUNTED, LIBRARY, CHAPTER_11 = "counted", "library", "chapter 11"  # settings
TRAININGS: dict[str, TrainingConfig] = {
    LIBRARY: RECOMMENDER_TRAINING,
    CHAPTER_11: replace(RECOMMENDER_TRAINING, batch_size=16, learning_rate=5e-3, weight_decay=1.0),
}
TRIALS = [(LIBRARY, SHORT), (LIBRARY, 1000), (CHAPTER_11, 3000)]
SASREC = "SASRec"
GENERATIVE, CONTROL = "RQ-Transformer, text, RQ-VAE", "RQ-Transformer, random IDs"
KINDS = ("text", "text, RQ-VAE", "collaborative", "both", "random IDs")
KEY = ("model", "settings", "steps", "seed")
MEASURED = (*KEY, "part", "recall_10", "low", "high", "ndcg_10", "collision_rate")
PEOPLE_COLUMNS = (*KEY, "person", "recall_10", "ndcg_10")
COLUMNS = {"user_id": "household_id", "item_id": "product_id", "timestamp": "bought_at"}


def load() -> tuple[Dataset, Tensor]:
    """Return the data as chapter 13 has it, baskets shuffled, and the vectors of the texts."""
    bought = pd.read_parquet(FOLDER / "interactions.parquet").sample(frac=1, random_state=0)
    tables = {prefix: pd.read_csv(FOLDER / f"{prefix}items.csv") for prefix in ("", "new_")}
    texts = [text for table in tables.values() for text in texts_of(table)]
    of_item, distinct = pd.factorize(pd.Series(texts))
    vectors = read_embeddings(FOLDER / "embeddings.safetensors", distinct.tolist())
    items = tables[""]
    listed = pd.DataFrame({"product_id": items["product_id"], "genres": items["department"]})
    listed["text"] = texts[: len(items)]
    data = Dataset.from_tables(bought, listed, columns=COLUMNS, name="groceries")
    return data, vectors[torch.from_numpy(of_item)][: len(items)]


def residual_kmeans(vectors: Tensor) -> SemanticIDs:
    config = RQVAEConfig.residual_kmeans(
        vectors.shape[1], num_levels=LEVELS, codebook_size=CODEWORDS
    )
    return new_rqvae(vectors, config, seed=0).tokenize(vectors)


def rqvae(vectors: Tensor) -> SemanticIDs:
    config = RQVAEConfig(vectors.shape[1], num_levels=LEVELS, codebook_size=CODEWORDS)
    training = replace(RQVAE_TRAINING, num_steps=1000)
    tokenizer, _ = train_rqvae(vectors, config, training, progress=False)
    return tokenizer.tokenize(vectors)


class Groceries:
    """The data, the split and the IDs, each made when it is first needed."""

    def __init__(self) -> None:
        self.data, self.text = load()
        self.split: Split = leave_one_out(self.data)

    @cache  # noqa: B019, there is one such object
    def ids(self, kind: str) -> SemanticIDs:
        """Return the IDs of one of `KINDS`."""
        if kind == "random IDs":
            dealt = torch.randperm(self.data.num_items, generator=torch.Generator().manual_seed(0))
            return SemanticIDs(self.ids("text").codes[dealt], CODEWORDS)
        if kind == "text, RQ-VAE":
            return rqvae(self.text)
        if kind == "text":
            return residual_kmeans(self.text)
        own = collaborative_vectors(self.split.train, self.data.num_items)
        return residual_kmeans(own if kind == "collaborative" else torch.cat([self.text, own], 1))


class Run(NamedTuple):
    """A model to count or to train; the fields are the key of its rows."""

    model: str
    settings: str = COUNTED
    steps: int = 0
    seed: int = 0

    @property
    def key(self) -> Row:
        return {name: str(value) for name, value in self._asdict().items()}


def counted(groceries: Groceries) -> dict[str, Recommender | ScoresItems]:
    """Return the models that count, by name."""
    split, num_items = groceries.split, groceries.data.num_items
    models: dict[str, Recommender | ScoresItems] = {"popularity": Popularity(split.popularity)}
    for last in (None, 20, 5, 1):
        models[f"item-kNN, last {last or 'all'}"] = ItemKNN(split.train, num_items, last=last)
    return models


def trained(run: Run, groceries: Groceries) -> tuple[Recommender | ScoresItems, str]:
    """Train a model; return it, and the collision rate of its IDs if it has any."""
    training = replace(TRAININGS[run.settings], num_steps=run.steps, seed=run.seed)
    histories = groceries.split.train
    if run.model == SASREC:
        config = SASRecConfig(num_items=groceries.data.num_items)
        return train_sasrec(histories, config, training, progress=False)[0], ""
    ids = groceries.ids(run.model.removeprefix("RQ-Transformer, "))
    model, _ = train_recommender(ids, histories, RQTransformerConfig(), training, progress=False)
    return model, f"{ids.collision_rate:.4f}"


def measured(
    model: Recommender | ScoresItems, split: Split, rate: str
) -> tuple[list[Row], list[Row]]:
    """Return a model's rows: of both parts, and of the households that have a hit in the test."""
    rows, people = [], []
    for part, positions in (("validation", split.validation), ("test", split.test)):
        found = evaluate(model, split, positions)
        recall, ndcg = found.mean("Recall", 10), found.mean("NDCG", 10)
        rows.append(
            {
                "part": part,
                "recall_10": f"{recall.mean:.4f}",
                "low": f"{recall.interval.low:.4f}",
                "high": f"{recall.interval.high:.4f}",
                "ndcg_10": f"{ndcg.mean:.4f}",
                "collision_rate": rate,
            }
        )
    hits, gains = (found.of_people(metric, 10).tolist() for metric in ("Recall", "NDCG"))
    users = sorted(set(found.users.tolist()))
    for person, hit, gain in zip(users, hits, gains, strict=True):
        if hit:
            people.append(
                {"person": str(person), "recall_10": f"{hit:.0f}", "ndcg_10": f"{gain:.5f}"}
            )
    return rows, people


def best_trial(model: str, rows: list[Row]) -> tuple[str, int]:
    """Return the settings and steps with the highest NDCG@10 on validation, of the first seed."""
    tried = [
        row
        for row in rows
        if (row["model"], row["part"], row["seed"]) == (model, "validation", str(SEEDS[0]))
    ]
    best = max(tried, key=lambda row: float(row["ndcg_10"]))
    return best["settings"], int(best["steps"])


def main() -> None:
    """Count or train all models that have no rows yet, and write their rows."""
    groceries = Groceries()
    people_table = RESULTS.with_name("13_groceries_people.csv")
    counts = counted(groceries)
    models = [*counts, SASREC, *(f"RQ-Transformer, {kind}" for kind in KINDS)]

    def place_of(row: Row) -> tuple[int, ...]:
        """Return where a row of either table stands."""
        return (
            models.index(row["model"]),
            [COUNTED, *TRAININGS].index(row["settings"]),
            int(row["steps"]),
            int(row["seed"]),
            row.get("part") == "test",
            int(row.get("person", "0")),
        )

    def do(run: Run) -> None:
        if rows_of(read_rows(RESULTS, MEASURED), run.key):
            return
        model, rate = (counts[run.model], "") if run.model in counts else trained(run, groceries)
        rows, people = measured(model, groceries.split, rate)
        # The households first: a run counts as done once its rows stand in the table.
        replace_rows(people_table, PEOPLE_COLUMNS, run.key, people, place_of)
        replace_rows(RESULTS, MEASURED, run.key, rows, place_of)
        for row in rows:
            print(*run, *row.values(), flush=True)

    for name in counts:
        do(Run(name))
    for seed in SEEDS:
        for name in models[len(counts) :]:
            do(Run(name, LIBRARY, SHORT, seed))
    for settings, steps in TRIALS:
        for name in (SASREC, GENERATIVE):
            do(Run(name, settings, steps))
    done = read_rows(RESULTS, MEASURED)
    for name, tuned_as in ((SASREC, SASREC), (GENERATIVE, GENERATIVE), (CONTROL, GENERATIVE)):
        for seed in SEEDS:
            do(Run(name, *best_trial(tuned_as, done), seed))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"groceries_study: {error}")
