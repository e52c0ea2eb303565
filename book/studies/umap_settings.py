"""Draw the maps of chapter 07 whose settings the reader can change.

    OMP_NUM_THREADS=1 python book/studies/umap_settings.py

writes notebooks/results/07_settings.parquet: one row per movie of a sample of 500, and for each map
the columns NAME_x and NAME_y, whole numbers from 0 to 4095. It takes about 20 seconds of one
core.

`rqvae_lib.teaching.umap_settings` says which movies and settings. As with umap_coordinates.py, the
same machine gives the same maps again, and another may give others.
"""

import argparse
import sys
from pathlib import Path

import torch

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.teaching.umap_settings import FITS, sample, table_of, vectors_of
from umap_coordinates import RESULTS as OTHER_MAPS
from umap_coordinates import draw

RESULTS = OTHER_MAPS.with_name("07_settings.parquet")


def ratings_of(dataset: Dataset) -> torch.Tensor:
    """Return how often each item was rated, (N,) int64."""
    items = torch.tensor(dataset.interactions["item"].to_numpy())
    return torch.bincount(items, minlength=dataset.num_items)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the .parquet file to write")
    output = parser.parse_args().output
    model, _ = load_rqvae("movielens-small-2016")
    embeddings = load_embeddings()
    rows = sample(model.assign(embeddings)[:, 0], ratings_of(load_dataset("movielens-small-2016")))
    vectors = vectors_of(model.encode(embeddings)[rows])
    maps = {}
    for fit in FITS:
        maps[fit.name] = draw(vectors[fit.vectors], fit.n_neighbors, fit.seed, fit.min_dist)
        print(fit.name, flush=True)
    with write_atomically(output) as temporary:
        table_of(rows, maps).to_parquet(temporary, index=False, compression="zstd")
    return 0


if __name__ == "__main__":
    sys.exit(main())
