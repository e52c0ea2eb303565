"""Measure what the codes of groceries should be made from, and what longer training brings.

    OMP_NUM_THREADS=1 python book/studies/groceries_study.py

writes notebooks/results/13_groceries.csv, which chapter 13 shows: one row for each model, number
of training steps and part (validation or test) of the split leave-one-out, one seed each. It takes
about five minutes of one core.

Every tokenizer has three levels of 64 codewords. "random IDs" are those of the text, dealt out to
the products by chance: the same collisions, no meaning.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "makers"))

from prepare_groceries import FOLDER, texts_of
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.embeddings.text import read_embeddings
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.models.base import Recommender, ScoresItems
from rqvae_lib.models.configs import RQTransformerConfig, SASRecConfig
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING
from rqvae_lib.training.recipes import new_rqvae, train_recommender, train_rqvae, train_sasrec
from tables import Row, write_rows

RESULTS = FOLDER.parent / "results" / "13_groceries.csv"
LEVELS, CODEWORDS = 3, 64
SHORT, LONG = 300, 1000  # steps: of everything, and of the two that are worth it
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


def main() -> None:
    """Train all models, print their rows, and write them."""
    data, text = load()
    split = leave_one_out(data)
    own = collaborative_vectors(split.train, data.num_items)
    ids = {
        "text": residual_kmeans(text),
        "text, RQ-VAE": rqvae(text),
        "collaborative": residual_kmeans(own),
        "both": residual_kmeans(torch.cat([text, own], 1)),
    }
    dealt = torch.randperm(data.num_items, generator=torch.Generator().manual_seed(0))
    ids["random IDs"] = SemanticIDs(ids["text"].codes[dealt], CODEWORDS)

    rows: list[Row] = []

    def measure(
        model: Recommender | ScoresItems, name: str, steps: int, rate: float | None
    ) -> None:
        for part, positions in (("validation", split.validation), ("test", split.test)):
            found = evaluate(model, split, positions)
            recall, ndcg = found.mean("Recall", 10), found.mean("NDCG", 10)
            rows.append(
                {
                    "model": name,
                    "steps": str(steps),
                    "part": part,
                    "recall_10": f"{recall.mean:.4f}",
                    "low": f"{recall.interval.low:.4f}",
                    "high": f"{recall.interval.high:.4f}",
                    "ndcg_10": f"{ndcg.mean:.4f}",
                    "collision_rate": "" if rate is None else f"{rate:.4f}",
                }
            )
            print(*rows[-1].values(), flush=True)

    measure(Popularity(split.popularity), "popularity", 0, None)
    for last in (None, 20, 5, 1):
        knn = ItemKNN(split.train, data.num_items, last=last)
        measure(knn, f"item-kNN, last {last or 'all'}", 0, None)
    for steps, chosen in ((SHORT, list(ids)), (LONG, ["text, RQ-VAE"])):
        training = replace(RECOMMENDER_TRAINING, num_steps=steps)
        config = SASRecConfig(num_items=data.num_items)
        sasrec, _ = train_sasrec(split.train, config, training, progress=False)
        measure(sasrec, "SASRec", steps, None)
        for name in chosen:
            catalogue = ids[name]
            model, _ = train_recommender(
                catalogue, split.train, RQTransformerConfig(), training, progress=False
            )
            measure(model, f"RQ-Transformer, {name}", steps, catalogue.collision_rate)
    write_rows(RESULTS, rows[0], rows)
    print(f"Wrote {RESULTS}.")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"groceries_study: {error}")
