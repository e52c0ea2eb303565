"""What it costs to fit k-means and the standardization to a sample of a catalogue.

    python -m tests.benchmarks.scale_sample

For each number of rows and several seeds, k-means with 256 codewords is fitted to a sample, and its
inertia is measured on all rows, relative to that of the fit to all rows with the same seed. Also,
of the movies, the share of the variance that residual k-means of three levels loses on all rows,
and how far the sample's means are from those of all rows, in standard deviations (the worst of all
features). The
vectors are those of the 9,066 embedded movies, and 200,000 of them with noise. One thread,
minutes.
"""

import argparse
import time
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.kmeans import kmeans
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.recipes import new_rqvae

K = 256


def synthetic(rows: int, seed: int = 0) -> Tensor:
    """Embedded movies with noise on them, as `scale_catalogue` has them."""
    movies, chance = load_embeddings(), torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(movies), (rows,), generator=chance)
    return movies[chosen] + 0.03 * torch.randn(rows, movies.shape[1], generator=chance)


def sampled(x: Tensor, rows: int, seed: int) -> Tensor:
    if rows >= len(x):
        return x
    chosen = np.random.default_rng(seed).choice(len(x), rows, replace=False)
    return x[torch.from_numpy(np.sort(chosen))]


def inertia(x: Tensor, rows: int, seed: int) -> float:
    """Return the inertia on all rows of centroids that are fitted to some of them."""
    generator = torch.Generator().manual_seed(seed)
    fitted = kmeans(sampled(x, rows, seed), K, generator=generator)
    return kmeans(x, K, initial_centroids=fitted.centroids, num_iterations=0).inertia


def lost(x: Tensor, rows: int, seed: int) -> float:
    config = RQVAEConfig.residual_kmeans(x.shape[1], num_levels=3, codebook_size=K)
    model = new_rqvae(sampled(x, rows, seed), config, seed=seed)
    return model.variance_lost(x, model.assign(x))


def off(x: Tensor, rows: int, seed: int) -> float:
    spread = x.std(0)
    far = (sampled(x, rows, seed).mean(0) - x.mean(0)).abs() / spread
    return float(far[spread > 0].max())  # two features of the shipped vectors are constant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, x, seeds in (
        ("movies", load_embeddings(), given.seeds),
        ("synthetic", synthetic(given.rows), min(3, given.seeds)),
    ):
        sizes = [size for size in (512, 1024, 2560, 8192, 25_600, 65_536) if size < len(x)]
        whole = [inertia(x, len(x), seed) for seed in range(seeds)]
        spread = max(whole) / min(whole) - 1
        print(f"{name}, {len(x):,} rows: all of them, {seeds} seeds: spread {spread:.2%}")
        for size in sizes:
            began = time.process_time()
            ratios = [inertia(x, size, seed) / whole[seed] for seed in range(seeds)]
            line = f"  {size:>7,} rows ({size // K:>3} a codeword): inertia x {mean(ratios):.4f} "
            line += f"({min(ratios):.4f} to {max(ratios):.4f}), "
            line += f"means off by {mean(off(x, size, seed) for seed in range(seeds)):.3f}"
            print(f"{line}, {time.process_time() - began:.0f} s", flush=True)
        if name == "movies":
            for size in (*sizes[1:], len(x)):
                shares = [lost(x, size, seed) for seed in range(min(3, seeds))]
                print(f"  {size:>7,} rows: three levels lose {mean(shares):.4f}", flush=True)


if __name__ == "__main__":
    main()
