"""How well does a tokenizer code movies that it was not fitted to?

    OMP_NUM_THREADS=1 python book/studies/unseen_study.py

holds out a part of the movies, fits tokenizers to the others, and writes three tables into
notebooks/results. Rows are written as they come, and those that are there are kept, so a run that
was interrupted goes on where it stopped. All take about a quarter of an hour on one free core.

05_unseen.csv, of chapter 05: the variance lost on movies that were fitted and on those held out, a
tenth or half of the catalogue. `steps` is the length of a training and `at` the step at which it
was looked at, so its last row has them equal: a look before that sees a learning rate that has not
fallen yet. Residual k-means has 0 for both. What is held out is cut in two, so that a number of
steps can be chosen on the one (`lost_a`) and judged on the other (`lost_b`).

04_decoders.csv, of chapter 04: what is lost when the decoder reads latents or codes, as it was
trained and refitted to just these, for the shipped tokenizer and for one that
was fitted to nine tenths of the movies.

05_rise.csv, of chapter 05: the quantization loss during a training on all movies, with the
training's codebooks and with fresh ones, which k-means places in the same latents.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.data.batches import RowBatches
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RQVAE_TRAINING
from rqvae_lib.training.loop import train
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tables import Row, read_rows, replace_rows, rows_of

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
SEEDS = (0, 1, 2)  # of what is held out, and of the training
LOOK_EVERY = 250  # steps; and at 100
TRAININGS = {0.1: (500, 1000, 2000, 6000), 0.5: (2000, 6000)}  # steps, by the share held out
SEEDS_OF_HALF = (0,)  # half of the movies held out: one seed, too little for a claim

UNSEEN_COLUMNS = (
    *("tokenizer", "held_out", "seed", "steps", "at"),
    *("lost_fitted", "lost_unseen", "lost_a", "lost_b"),
    *("shared_fitted", "shared_unseen"),  # in the end: share whose codes another movie has
)
DECODER_COLUMNS = ("tokenizer", "seed", "reads", "decoder", "lost_fitted", "lost_unseen")
RISE_COLUMNS = (
    *("seed", "steps", "at", "reconstruction", "spread"),
    *("quantization", "fresh"),  # the commitment loss of all movies, times its weight
)
SHIPPED = "shipped"  # the name of the shipped tokenizer in 04_decoders.csv
REFITTED_ON = 2000  # the training whose decoder is refitted
REFIT_STEPS = 4000
RISES = {(120, 300): (0, 50, 100, 150, 200, 250, 300), (300, 2000): (0, 100, 300, 1000, 1500, 2000)}
FRESH = 2  # times that k-means is started anew at each look


def cut(num_movies: int, held_out: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows that are fitted and those held out, both int64, in an order drawn at random.

    Args:
        num_movies: N.
        held_out: the share of them that is held out.
        seed: of the draw.
    """
    order = torch.randperm(num_movies, generator=torch.Generator().manual_seed(seed))
    num_held_out = round(held_out * num_movies)
    return order[num_held_out:], order[:num_held_out]


def losses(model: RQVAE, fitted: Tensor, unseen: Tensor) -> list[float]:
    """Return the last six columns of `UNSEEN_COLUMNS`.

    Args:
        model: a tokenizer that was fitted to `fitted`.
        fitted: shape (N, D), float32.
        unseen: shape (M, D), float32.
    """
    half = len(unseen) // 2
    codes = model.assign(torch.cat([fitted, unseen]))
    lost = [
        model.variance_lost(vectors, model.assign(vectors))
        for vectors in (fitted, unseen, unseen[:half], unseen[half:])
    ]
    _, which, sizes = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
    shared = (sizes[which] > 1).double()
    rates = [float(part.mean()) for part in shared.split([len(fitted), len(unseen)])]
    return lost + rates


def unseen_rows(
    vectors: Tensor, held_out: float, seed: int, steps: int
) -> tuple[list[Row], RQVAE, tuple[Tensor, Tensor]]:
    """Fit a tokenizer to a part of the movies.

    Args:
        vectors: all embeddings, shape (N, D), float32.
        held_out: the share that is left out.
        seed: of the draw and of the training.
        steps: its length, or 0 for residual k-means.

    Returns:
        The rows, the tokenizer, and the vectors that were fitted and held out.
    """
    seen, others = cut(len(vectors), held_out, seed)
    fitted, unseen = vectors[seen], vectors[others]
    rows: list[Row] = []

    def look(step: int, model: RQVAE) -> None:
        name = "RQ-VAE" if steps else "residual k-means"
        numbers = [f"{number:.4f}" for number in losses(model, fitted, unseen)]
        if step < steps:
            numbers[4:] = "", ""
        values = [name, f"{held_out:g}", str(seed), str(steps), str(step), *numbers]
        rows.append(dict(zip(UNSEEN_COLUMNS, values, strict=True)))

    if steps == 0:
        model = new_rqvae(fitted, RQVAEConfig.residual_kmeans(vectors.shape[1]), seed=seed)
        look(0, model)
    else:
        longest = steps == max(TRAININGS[held_out])
        looks = (100, *range(LOOK_EVERY, steps, LOOK_EVERY), steps) if longest else (steps,)
        looks = tuple(at for at in looks if at <= steps)
        training = replace(RQVAE_TRAINING, num_steps=steps, seed=seed, snapshot_steps=looks)
        model, _ = train_rqvae(fitted, training=training, snapshot=look, progress=False)
    return rows, model, (fitted, unseen)


@torch.no_grad()
def what_the_decoder_reads(model: RQVAE, vectors: Tensor) -> dict[str, Tensor]:
    """Return latents (N, d) of embeddings (N, D), and the sums of codewords that replace them."""
    latents = model.encode(vectors)
    return {"latents": latents, "codes": model.quantizer.decode(model.quantizer.encode(latents))}


@torch.no_grad()
def share_lost(model: RQVAE, read: Tensor, vectors: Tensor) -> float:
    """Return the share of variance lost of embeddings (N, D) if the decoder reads `read` (N, d)."""
    x = model.standardize(vectors)
    return float((model.decoder(read) - x).square().sum() / x.square().sum())


def refit_decoder(model: RQVAE, read: Tensor, vectors: Tensor, *, steps: int, seed: int) -> RQVAE:
    """Return a copy whose decoder was trained further, to rebuild (N, D) from `read` (N, d)."""
    model = copy.deepcopy(model)
    width = read.shape[1]

    def loss(rows: Tensor) -> Tensor:
        return F.mse_loss(model.decoder(rows[:, :width]), rows[:, width:], reduction="sum") / len(
            rows
        )

    rows = torch.cat([read, model.standardize(vectors)], 1)
    batches = RowBatches(rows, batch_size=RQVAE_TRAINING.batch_size, seed=seed)
    training = replace(RQVAE_TRAINING, num_steps=steps, seed=seed)
    train(model.decoder, loss, batches, training, progress=False)
    return model


def decoder_rows(
    name: str,
    model: RQVAE,
    fitted: Tensor,
    unseen: Tensor,
    *,
    seed: int,
    steps: int,
) -> list[Row]:
    """Return the rows of one tokenizer: its decoder as it was trained, and refitted.

    Args:
        name: of the tokenizer.
        model: it.
        fitted: the embeddings that it was trained on, shape (N, D).
        unseen: others, shape (M, D), or none.
        seed: of the batches.
        steps: of the training of the decoder alone.
    """
    rows: list[Row] = []
    seen, others = what_the_decoder_reads(model, fitted), {}
    if len(unseen):
        others = what_the_decoder_reads(model, unseen)
    for reads, read in seen.items():
        refitted = refit_decoder(model, read, fitted, steps=steps, seed=seed)
        for decoder, one in (("as trained", model), ("refitted", refitted)):
            lost = [f"{share_lost(one, read, fitted):.4f}", ""]
            if others:
                lost[1] = f"{share_lost(one, others[reads], unseen):.4f}"
            values = [name, str(seed), reads, decoder, *lost]
            rows.append(dict(zip(DECODER_COLUMNS, values, strict=True)))
    return rows


@torch.no_grad()
def quantization_loss(quantizer: ResidualQuantizer, latents: Tensor) -> float:
    """Return the commitment loss of latents (N, d), times its weight, mean over rows."""
    return float(quantizer(latents).loss.mean())


@torch.no_grad()
def fresh_loss(model: RQVAE, latents: Tensor) -> float:
    """Return the same with codebooks that k-means places in these latents, mean of `FRESH`."""
    quantizer, found = copy.deepcopy(model.quantizer).eval(), []
    for seed in range(FRESH):
        quantizer.init_codebooks(latents, generator=torch.Generator().manual_seed(100 + seed))
        found.append(quantization_loss(quantizer, latents))
    return sum(found) / len(found)


def rise_rows(
    vectors: Tensor, lengths: tuple[int, int], looks: tuple[int, ...], seed: int
) -> list[Row]:
    """Train as `train_rqvae` does, and look at the loss with own and with fresh codebooks.

    Args:
        vectors: shape (N, D), float32.
        lengths: steps of the autoencoder alone, and of all together.
        looks: the steps of the second part at which to look; 0 is before its first.
        seed: of the training.
    """
    rows: list[Row] = []
    alone, together = lengths
    settings = replace(RQVAE_TRAINING, num_steps=together, seed=seed, snapshot_steps=looks[1:])

    def look(step: int, model: RQVAE) -> None:
        model.eval()
        latents = model.encode(vectors)
        with torch.no_grad():
            reconstruction = float(model(vectors).reconstruction_loss)
        spread = float((latents - latents.mean(0)).square().sum(1).mean().sqrt())
        own = quantization_loss(model.quantizer, latents)
        numbers = (reconstruction, spread, own, fresh_loss(model, latents))
        values = [str(seed), str(together), str(step), *(f"{number:.4f}" for number in numbers)]
        rows.append(dict(zip(RISE_COLUMNS, values, strict=True)))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RQVAE(RQVAEConfig(vectors.shape[1]))
    model.fit_standardization(vectors)
    batches = RowBatches(vectors, batch_size=settings.batch_size, seed=seed)
    first = replace(settings, num_steps=alone, schedule="constant", snapshot_steps=())
    train(model, model.autoencoder_loss, batches, first, progress=False)
    model.init_codebooks(vectors, generator=torch.Generator().manual_seed(seed))
    look(0, model)
    train(
        model,
        lambda batch: model(batch).loss,
        batches,
        settings,
        snapshot=lambda step: look(step, copy.deepcopy(model)),
        progress=False,
    )
    return rows


def jobs(seeds: tuple[int, ...]) -> Iterator[tuple[str, int, float, int]]:
    """Yield what is to be done: a name, a seed, the share held out and the number of steps."""
    for seed in seeds:
        yield "unseen", seed, 0.1, 0
        for steps in TRAININGS[0.1]:
            yield "unseen", seed, 0.1, steps
        yield "rise", seed, 0.0, 0
        yield "shipped", seed, 0.0, 0
    for seed in sorted({*seeds} & {*SEEDS_OF_HALF}):
        for steps in (0, *TRAININGS[0.5]):
            yield "unseen", seed, 0.5, steps


def place_of_unseen(row: Row) -> tuple[float, int, int, int]:
    """Return where a row of 05_unseen.csv stands."""
    return float(row["held_out"]), int(row["seed"]), int(row["steps"]), int(row["at"])


def place_of_decoder(row: Row) -> tuple[int, bool]:
    """Return where a row of 04_decoders.csv stands; those of one tokenizer stay in their order."""
    return int(row["seed"]), row["tokenizer"] == SHIPPED


def place_of_rise(row: Row) -> tuple[int, int, int]:
    """Return where a row of 05_rise.csv stands."""
    return int(row["seed"]), int(row["steps"]), int(row["at"])


class Table(NamedTuple):
    """One of the three tables."""

    path: Path
    columns: tuple[str, ...]
    place_of: Callable[[Row], Any]

    def has(self, key: Row) -> bool:
        return bool(rows_of(read_rows(self.path, self.columns), key))

    def put(self, key: Row, rows: list[Row]) -> None:
        """Write the rows that a key names in the place of older ones."""
        replace_rows(self.path, self.columns, key, rows, self.place_of)
        for row in rows:
            print(*row.values(), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options = parser.parse_args()
    vectors = load_embeddings()
    unseen_table = Table(options.output / "05_unseen.csv", UNSEEN_COLUMNS, place_of_unseen)
    decoders = Table(options.output / "04_decoders.csv", DECODER_COLUMNS, place_of_decoder)
    rises = Table(options.output / "05_rise.csv", RISE_COLUMNS, place_of_rise)
    for kind, seed, held_out, steps in jobs(tuple(options.seeds)):
        if kind == "unseen":
            key = {"held_out": f"{held_out:g}", "seed": str(seed), "steps": str(steps)}
            if unseen_table.has(key):
                continue
            rows, model, (fitted, unseen) = unseen_rows(vectors, held_out, seed, steps)
            if (held_out, steps) == (0.1, REFITTED_ON):
                name = f"nine tenths, {steps:,} steps"
                new = decoder_rows(name, model, fitted, unseen, seed=seed, steps=REFIT_STEPS)
                # The decoders first: a training counts as done once its rows stand in 05_unseen.
                decoders.put({"tokenizer": name, "seed": str(seed)}, new)
            unseen_table.put(key, rows)
        elif kind == "shipped":
            key = {"tokenizer": SHIPPED, "seed": str(seed)}
            if decoders.has(key):
                continue
            model, _ = load_rqvae("movielens-small-2016")
            new = decoder_rows(SHIPPED, model, vectors, vectors[:0], seed=seed, steps=REFIT_STEPS)
            decoders.put(key, new)
        else:
            for lengths, looks in RISES.items():
                key = {"seed": str(seed), "steps": str(lengths[1])}
                if not rises.has(key):
                    rises.put(key, rise_rows(vectors, lengths, looks, seed))


if __name__ == "__main__":
    main()
