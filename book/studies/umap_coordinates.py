"""Draw the maps of chapter 07 that are too slow to draw on its page.

    OMP_NUM_THREADS=1 python book/studies/umap_coordinates.py

writes notebooks/results/07_maps.parquet: one row per movie, in the order of the catalogue, and for
each map the columns NAME_x and NAME_y. It takes about two minutes of one core.

Every map is made by `draw`: umap-learn with exact neighbours, 200 epochs and the seed that `MAPS`
names. The same machine gives the same map again; another may give another, since the smallest
difference in rounding grows from epoch to epoch.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.ops.neighbors import nearest_neighbors
from rqvae_lib.tokenizer.rqvae import RQVAE

RESULTS = Path(__file__).parents[2] / "notebooks" / "results" / "07_maps.parquet"
EPOCHS = 200
MIN_DIST = 0.1  # umap-learn's default: how close two points of a map may come


class Map(NamedTuple):
    """One picture: what is drawn, and with which settings."""

    vectors: Callable[[RQVAE, Tensor], Tensor]  # model, embeddings (N, 384) → (N, D)
    n_neighbors: int = 15  # the item itself included, as umap-learn counts
    seed: int = 0


def embeddings_of(model: RQVAE, embeddings: Tensor) -> Tensor:
    """Return the standardised embeddings (N, 384): what the encoder reads."""
    return model.standardize(embeddings)


def latents_of(model: RQVAE, embeddings: Tensor) -> Tensor:
    """Return the latents (N, 32)."""
    return model.encode(embeddings)


def residual_after(level: int) -> Callable[[RQVAE, Tensor], Tensor]:
    """Return a function that gives what is left of the latents after some levels, (N, 32)."""

    def residual(model: RQVAE, embeddings: Tensor) -> Tensor:
        latents = model.encode(embeddings)
        codes = model.quantizer.encode(latents)
        return latents - model.quantizer.decode(codes[:, :level])

    return residual


def shuffled_latents(model: RQVAE, embeddings: Tensor) -> Tensor:
    """Return latents (N, 32) whose features are shuffled, each on its own: no structure is left."""
    generator = torch.Generator().manual_seed(0)
    columns = model.encode(embeddings).T
    return torch.stack([c[torch.randperm(len(c), generator=generator)] for c in columns], 1)


MAPS = {
    "embeddings": Map(embeddings_of),
    "latents": Map(latents_of),
    "seed_1": Map(latents_of, seed=1),
    "neighbours_5": Map(latents_of, n_neighbors=5),
    "neighbours_100": Map(latents_of, n_neighbors=100),
    "residual_1": Map(residual_after(1)),
    "residual_2": Map(residual_after(2)),
    "residual_3": Map(residual_after(3)),
    "shuffled": Map(shuffled_latents),
}
STAGES = ("level_1", "level_2", "level_3", "whole")  # drawn together, on one map


def draw(
    vectors: Tensor, n_neighbors: int = 15, seed: int = 0, min_dist: float = MIN_DIST
) -> np.ndarray:
    """Draw one map.

    Args:
        vectors: shape (N, D), float32.
        n_neighbors: of each vector, itself included.
        seed: of the layout.
        min_dist: how close two points of the map may come.

    Returns:
        shape (N, 2), float32.
    """
    from umap import UMAP  # numba: some seconds

    near = nearest_neighbors(vectors, n_neighbors - 1)
    itself = torch.arange(len(vectors))[:, None]
    knn = (
        torch.cat([itself, near.indices], 1).numpy(),  # (N, n_neighbors)
        torch.cat([torch.zeros(len(vectors), 1), near.distances], 1).numpy(),
    )
    with warnings.catch_warnings():
        # It warns that points cannot be added later, which needs an index that nobody asks for.
        warnings.filterwarnings("ignore", message=".*knn_search_index")
        model = UMAP(
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            n_epochs=EPOCHS,
            random_state=seed,
            n_jobs=1,
            precomputed_knn=knn,
        )
        points: np.ndarray = model.fit_transform(vectors.numpy())
    return points


def draw_stages(model: RQVAE, embeddings: Tensor) -> dict[str, np.ndarray]:
    """Draw the latents and the sums of one, two and three codewords on one map.

    Equal sums are drawn once: many movies share a codeword, and a crowd of equal points would be
    each other's only neighbours.

    Returns:
        for each of `STAGES` a point for each movie, (N, 2).
    """
    latents = model.encode(embeddings)
    codes = model.quantizer.encode(latents)
    with torch.no_grad():
        sums = [model.quantizer.decode(codes[:, :level]) for level in (1, 2, 3)]
    distinct = [torch.unique(x, dim=0, return_inverse=True) for x in sums]
    stacked = torch.cat([*(rows for rows, _ in distinct), latents])
    points = draw(stacked)
    found, start = {}, 0
    for stage, (rows, inverse) in zip(STAGES, distinct, strict=False):
        found[stage] = points[start : start + len(rows)][inverse.numpy()]
        start += len(rows)
    found[STAGES[-1]] = points[start:]
    return found


def table_of(maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return maps (N, 2) as one table, rounded to a thousandth."""
    return pd.DataFrame(
        {
            f"{name}_{axis}": points[:, column].round(3).astype("float32")
            for name, points in maps.items()
            for column, axis in enumerate("xy")
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .parquet file to write")
    output = parser.parse_args().output
    embeddings = load_embeddings()
    model, _ = load_rqvae("movielens-small-2016")
    maps = {}
    for name, (vectors, n_neighbors, seed) in MAPS.items():
        start = time.process_time()
        maps[name] = draw(vectors(model, embeddings), n_neighbors, seed)
        print(f"{name}: {time.process_time() - start:.1f} s of one core", flush=True)
    start = time.process_time()
    maps |= draw_stages(model, embeddings)
    print(f"stages: {time.process_time() - start:.1f} s of one core")
    with write_atomically(output) as temporary:
        table_of(maps).to_parquet(temporary, index=False, compression="zstd")
    return 0


if __name__ == "__main__":
    sys.exit(main())
