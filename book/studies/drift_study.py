"""Measure how drift shows, to choose the limits in `rqvae_lib.tokenizer.health`.

    OMP_NUM_THREADS=1 python book/studies/drift_study.py

writes notebooks/results/13_drift.csv: a row for each tokenizer and each part of the movies that is
held out of its training and added afterwards. A part is either drawn at random, so that nothing has
drifted, or all of a genre or of some years; and, as the extreme, groceries are added to movies.
It takes about twenty minutes of one core.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "makers"))

from prepare_groceries import FOLDER
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.health import catalogue_health, quantization_errors
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RQVAE_TRAINING
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tables import Row, write_rows

RESULTS = FOLDER.parent / "results" / "13_drift.csv"
COLUMNS = (
    *("tokenizer", "added", "items", "error_ratio", "beyond_95", "beyond_99"),
    *("collision_rate", "retrain"),
)
STEPS = (0, 1000, 10_000)  # 0: residual k-means


def parts() -> Iterator[tuple[str, np.ndarray]]:
    """Yield the parts of the movies, each a mask (N,)."""
    items = load_dataset().items
    year = items["year"].fillna(2000).to_numpy(int)
    yield "a tenth, at random", np.random.default_rng(0).random(len(items)) < 0.1
    for genre in ("Documentary", "Animation", "Horror"):
        yield genre, items["genres"].str.contains(genre).to_numpy(bool)
    yield "from 2010 on", year >= 2010
    yield "before 1950", year < 1950


def tokenizer_of(vectors: Tensor, steps: int) -> RQVAE:
    """Return a tokenizer after so many steps; residual k-means, which needs none, for 0."""
    width = vectors.shape[1]
    if steps == 0:
        return new_rqvae(vectors, RQVAEConfig.residual_kmeans(width), seed=0).eval()
    training = replace(RQVAE_TRAINING, num_steps=steps)
    return train_rqvae(vectors, RQVAEConfig(width), training, progress=False)[0]


def measure(model: RQVAE, name: str, part: str, old: Tensor, new: Tensor) -> Row:
    """Return the row of one tokenizer and what is added to its catalogue."""
    vectors = torch.cat([old, new])
    codes = model.assign(vectors)
    errors = quantization_errors(model, vectors, codes)
    health = catalogue_health(SemanticIDs(codes, model.sizes), errors, len(old))
    drift = health.drift
    assert drift is not None
    numbers = (drift.error_ratio, drift.beyond_95, drift.beyond_99, drift.collision_rate)
    shown = [f"{number:.3f}" for number in numbers]
    values = [name, part, f"{len(new)}", *shown, "yes" if health.retrain else "no"]
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    """Train all tokenizers, print their rows, and write them."""
    movies = load_embeddings()
    with safe_open(FOLDER / "embeddings.safetensors", framework="pt") as file:
        groceries = file.get_tensor("embeddings").float()
    rows = []
    for steps in STEPS:
        name = f"RQ-VAE, {steps:,} steps" if steps else "residual k-means"
        for part, mask in parts():
            held_out = torch.from_numpy(mask)
            old, new = movies[~held_out], movies[held_out]
            model = tokenizer_of(old, steps)
            rows.append(measure(model, name, part, old, new))
            print(*rows[-1].values(), sep=" | ", flush=True)
            if "random" in part:
                rows.append(measure(model, name, "groceries", old, groceries))
                print(*rows[-1].values(), sep=" | ", flush=True)
    write_rows(RESULTS, COLUMNS, rows)


if __name__ == "__main__":
    main()
