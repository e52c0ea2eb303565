"""How often do codes collide, and what do they know? The long measurements of chapter 06.

    OMP_NUM_THREADS=1 python book/studies/collision_study.py            # all of them
    OMP_NUM_THREADS=1 python book/studies/collision_study.py growth     # one of them

writes notebooks/results/06_*.csv, which chapter 06 shows:

    grid        collisions by the size of the codebooks and the number of levels
    knowledge   what codes say of a movie's decade and genre, by what they were made from
    growth      codes of movies that the tokenizer was not trained on
    methods     RQ-VAE, residual k-means and shuffled codes on five seeds
    remedies    what each remedy does to the collisions of these, and what it costs

Rows are written as they come, so a run that was interrupted goes on where it stopped; no row
depends on another. All of it takes about half an hour of one core, most of it short trainings.
"text without year" has to be encoded first, which needs the extra `encode` and four minutes; the
vectors are kept in _build.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.item_texts import item_text
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import (
    encode_texts,
    read_embeddings,
    save_embeddings,
)
from rqvae_lib.semantic_ids.catalogue import SemanticIDs, disambiguate
from rqvae_lib.tokenizer.analysis import (
    conditional_entropies,
    expected_collision_rate,
    normalized_mutual_information,
    pair_precision,
    prefix_groups,
    purity,
)
from rqvae_lib.tokenizer.collisions import REMEDIES, resolve
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RQVAE_TRAINING
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tables import Row, read_rows, rows_of, write_rows

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "notebooks" / "results"
SHORT = 500  # steps of a training, where many are needed; the autoencoder's own 300 come before
CONTENTS = ("text", "text without year", "collaborative", "both")
MEASURES = {
    "purity": purity,
    "pairs": pair_precision,
    "nmi": normalized_mutual_information,
}
TOKENIZERS = ("R-KMeans", "RQ-VAE")
NEW_SHARE = 0.1  # of the movies, held out and added later
SHUFFLES = 5  # times that the labels of the control are shuffled

Key = tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """A table: its keys, and how the rows that belong to one cell are measured."""

    keys: tuple[str, ...]  # the columns that say which row it is
    cells: tuple[Key, ...]  # what is measured at once; the values of the first keys
    measure: Callable[..., Iterator[Row]]  # of a cell's values


# Data -------------------------------------------------------------------------------------------


@cache
def vectors_of(content: str) -> Tensor:
    """Return what the tokenizer reads of each movie, (N, D)."""
    dataset = load_dataset()
    if content == "text without year":
        return without_year(dataset, ROOT / "_build" / "without_year.safetensors")
    return item_vectors(dataset, content).tensor  # type: ignore[arg-type]


def texts_without_year(dataset: Dataset) -> list[str]:
    """Return the texts of the embeddings, but for the year in parentheses after the title."""
    columns = (dataset.items[name] for name in ("title", "genres"))
    return [
        item_text(None if pd.isna(title) else title, None, genres, articles_last=True)
        for title, genres in zip(*columns, strict=True)
    ]


def without_year(dataset: Dataset, path: Path) -> Tensor:
    """Return the embeddings (N, D) of texts without the year, encoded once and kept in a file."""
    texts = texts_without_year(dataset)
    if not path.exists():
        model = "all-MiniLM-L6-v2"
        save_embeddings(path, encode_texts(texts, model), texts, model)
    return read_embeddings(path, texts)


@cache
def whole_catalogue(
    name: str, seed: int, content: str = "text", *, levels: int = 3, size: int = 256
) -> RQVAE:
    """Return a tokenizer after a short training on all movies; several studies look at the same."""
    return tokenizer(name, vectors_of(content), seed, SHORT, levels=levels, size=size)


def tokenizer(
    name: str, vectors: Tensor, seed: int, steps: int, *, levels: int = 3, size: int = 256
) -> RQVAE:
    """Return a tokenizer that was fitted to vectors (N, D)."""
    width = vectors.shape[1]
    if name == "R-KMeans":
        config = RQVAEConfig.residual_kmeans(width, num_levels=levels, codebook_size=size)
        return new_rqvae(vectors, config, seed=seed)
    training = replace(RQVAE_TRAINING, num_steps=steps, seed=seed)
    config = RQVAEConfig(width, num_levels=levels, codebook_size=size)
    return train_rqvae(vectors, config, training, progress=False)[0]


def steps_of(name: str, steps: int) -> str:
    return "0" if name == "R-KMeans" else str(steps)


def collision_rate(codes: Tensor) -> float:
    return SemanticIDs(codes, 256).collision_rate


def numbers(**values: float) -> Row:
    return {name: f"{value:.5g}" for name, value in values.items()}


# The studies -------------------------------------------------------------------------------------


def grid(name: str, size: str, levels: str, seed: str) -> Iterator[Row]:
    """Residual k-means is greedy: the first levels of a longer one are those of a shorter one."""
    vectors = vectors_of("text")
    model = whole_catalogue(name, int(seed), levels=int(levels), size=int(size))
    codes = model.assign(vectors)
    for length in range(1, int(levels) + 1) if name == "R-KMeans" else [int(levels)]:
        prefix = codes[:, :length]
        yield {
            "tokenizer": name,
            "codebook_size": size,
            "levels": str(length),
            "seed": seed,
            "steps": steps_of(name, SHORT),
        } | numbers(
            collision_rate=collision_rate(prefix),
            random_rate=expected_collision_rate(prefix),
            variance_lost=model.variance_lost(vectors, prefix),
        )


def methods(seed: str) -> Iterator[Row]:
    vectors = vectors_of("text")
    for name in TOKENIZERS:
        model = whole_catalogue(name, int(seed))
        codes = model.assign(vectors)
        lost = model.variance_lost(vectors, codes)
        yield method_row(name, seed, steps_of(name, SHORT), codes, lost)
        mixed = shuffled(codes, int(seed))
        yield method_row(f"{name} shuffled", seed, steps_of(name, SHORT), mixed, None)


def method_row(name: str, seed: str, steps: str, codes: Tensor, lost: float | None) -> Row:
    """Measure how codes collide. Shuffled codes rebuild nothing, so they have no loss."""
    _, sizes = prefix_groups(codes, codes.shape[1]).unique(return_counts=True)
    entropies = conditional_entropies(codes).tolist()
    return (
        {"tokenizer": name, "seed": seed, "steps": steps}
        | numbers(
            collision_rate=collision_rate(codes),
            expected_rate=expected_collision_rate(codes),
            items_colliding=int(sizes[sizes > 1].sum()),
            largest_group=int(sizes.max()),
            **{f"entropy_{level}": value for level, value in enumerate(entropies, 1)},
        )
        | {"variance_lost": "" if lost is None else f"{lost:.5g}"}
    )


def shuffled(codes: Tensor, seed: int) -> Tensor:
    """Shuffle each column of codes (N, L) by itself: the same use of each codebook, by chance."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [level[torch.randperm(len(codes), generator=generator)] for level in codes.T], 1
    )


def remedies(seed: str) -> Iterator[Row]:
    vectors = vectors_of("text")
    for name, (remedy, change) in product(TOKENIZERS, REMEDIES.items()):
        model = whole_catalogue(name, int(seed))
        latents, codes = model.encode(vectors), model.assign(vectors)
        resolved = resolve(latents, codes, model.quantizer.codebooks, change)
        before = (latents - model.quantizer.decode(codes)).square().sum(1)  # (N,)
        moved = resolved.moved
        added = resolved.added_error[moved].sum() / before[moved].sum() if moved.any() else 0.0
        yield {
            "tokenizer": name,
            "remedy": remedy,
            "seed": seed,
            "steps": steps_of(name, SHORT),
            "items_moved": str(int(moved.sum())),
        } | numbers(
            collision_rate=resolved.ids.collision_rate,
            added_error=float(added),  # of the moved items, as a share of their own error before
            variance_lost=model.variance_lost(vectors, resolved.ids.codes),
        )


def knowledge(content: str, name: str, seed: str) -> Iterator[Row]:
    dataset = load_dataset()
    codes = whole_catalogue(name, int(seed), content).assign(vectors_of(content))
    known = torch.tensor((dataset.items["year"].notna() & (dataset.items["genres"] != "")).tolist())
    items, codes = dataset.items[known.numpy()], codes[known]
    years = torch.tensor(items["year"].astype("int64").tolist())
    genre = torch.tensor(pd.factorize(items["genres"].str.split("|").str[0])[0])
    generator = torch.Generator().manual_seed(0)
    shuffles = [torch.randperm(len(codes), generator=generator) for _ in range(SHUFFLES)]
    for length in range(1, codes.shape[1] + 1):
        groups = prefix_groups(codes, length)
        found: dict[str, float] = {"year_spread": spread_within(groups, years)}
        for attribute, labels in (("decade", years // 10), ("genre", genre)):
            for short, measure in MEASURES.items():
                found[f"{short}_{attribute}"] = measure(groups, labels)
                by_chance = [measure(groups, labels[order]) for order in shuffles]
                found[f"{short}_{attribute}_shuffled"] = sum(by_chance) / SHUFFLES
        yield {
            "content": content,
            "tokenizer": name,
            "seed": seed,
            "length": str(length),
            "steps": steps_of(name, SHORT),
        } | numbers(groups=int(groups.max()) + 1, **found)


def spread_within(groups: Tensor, values: Tensor) -> float:
    """Return the standard deviation of values (N,) within their groups, pooled over groups.

    Divided by the N - G degrees of freedom, it does not get smaller because groups do.
    """
    counts = torch.bincount(groups).double()
    x = values.double()
    means = torch.zeros_like(counts).index_add_(0, groups, x) / counts
    freedom = len(x) - int((counts > 0).sum())
    return float(((x - means[groups]).square().sum() / freedom).sqrt())


def growth(name: str, held_out: str, seed: str) -> Iterator[Row]:
    """Fit a tokenizer without some movies, then add them; beside it, one that was fitted to all."""
    vectors = vectors_of("text")
    old, new = held_out_movies(held_out, int(seed))
    order = torch.cat([old, new])
    partial = tokenizer(name, vectors[old], int(seed), SHORT)
    whole = whole_catalogue(name, int(seed))
    found = {}
    for label, model in (("", partial), ("_if_trained_on", whole)):
        codes = model.assign(vectors)
        taken = disambiguate(codes[order])[len(old) :] > 0  # new movies whose codes are not free
        found[f"collide_new{label}"] = float(taken.float().mean())
        found[f"lost_old{label}"] = variance_lost(model, vectors, codes, old)
        found[f"lost_new{label}"] = variance_lost(model, vectors, codes, new)
    yield {
        "tokenizer": name,
        "held_out": held_out,
        "seed": seed,
        "steps": steps_of(name, SHORT),
        "new_items": str(len(new)),
    } | numbers(**found)


def held_out_movies(which: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return the movies to start with and those to add: "random" ones or the "newest"."""
    years = load_dataset().items["year"]
    num_new = int(NEW_SHARE * len(years))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(years), generator=generator)
    if which == "newest":  # ties by chance, unknown years first
        by_year = torch.tensor(years.fillna(0).astype("int64").tolist())[order]
        order = order[by_year.argsort(stable=True)]
    return order[:-num_new].sort()[0], order[-num_new:].sort()[0]


@torch.no_grad()
def variance_lost(model: RQVAE, vectors: Tensor, codes: Tensor, which: Tensor) -> float:
    """Return the share of variance lost of some items, about the mean of all, standardised by all.

    `RQVAE.variance_lost` measures in the units of the model's own training, which differ between
    one that was trained on all items and one that was not.
    """
    scale = vectors.std(0, correction=0)
    scale = torch.where(scale > 1e-6, scale, torch.inf)  # a feature that never varies: no part
    codes, wanted = codes[which], vectors[which]
    rebuilt = model.decoder(model.quantizer.decode(codes)) * model.std + model.mean
    total = ((wanted - vectors.mean(0)) / scale).square().sum()
    return float(((rebuilt - wanted) / scale).square().sum() / total)


def all_of(*values: tuple[str, ...]) -> tuple[Key, ...]:
    return tuple(product(*values))


THREE, FIVE = ("0", "1", "2"), ("0", "1", "2", "3", "4")
STUDIES = {
    "grid": Study(
        ("tokenizer", "codebook_size", "levels", "seed"),
        (
            *all_of(("R-KMeans",), ("16", "32", "64", "128", "256"), ("4",), THREE),
            *all_of(("RQ-VAE",), ("256",), ("2", "3", "4"), THREE),
            *all_of(("RQ-VAE",), ("64",), ("3",), THREE),
        ),
        grid,
    ),
    "knowledge": Study(
        ("content", "tokenizer", "seed", "length"),
        all_of(CONTENTS, TOKENIZERS, THREE),
        knowledge,
    ),
    "growth": Study(
        ("tokenizer", "held_out", "seed"),
        all_of(TOKENIZERS, ("random", "newest"), THREE),
        growth,
    ),
    "methods": Study(("seed", "tokenizer"), all_of(FIVE), methods),
    "remedies": Study(("seed", "tokenizer", "remedy"), all_of(FIVE), remedies),
}


def path_of(name: str, folder: Path = RESULTS) -> Path:
    return folder / f"06_{name}.csv"


def run(name: str, folder: Path = RESULTS) -> None:
    """Measure what a table lacks, and write it after each cell; an older table stays whole."""
    study, path = STUDIES[name], path_of(name, folder)
    rows = read_rows(path)
    for cell in study.cells:
        known = dict(zip(study.keys, cell, strict=False))
        if rows_of(rows, known):
            continue
        rows.extend(study.measure(*cell))
        write_rows(path, rows[0], rows)
        print(f"{name}: {', '.join(cell)}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="*", default=list(STUDIES), help=", ".join(STUDIES))
    options = parser.parse_args()
    for name in options.study:
        if name not in STUDIES:
            parser.error(f"there is no study {name!r}; choose from {', '.join(STUDIES)}")
        run(name)


if __name__ == "__main__":
    main()
