"""`rqvae-lib evaluate` on a catalogue of MovieLens 32M's format and size: time and memory.

    python -m tests.robustness.movielens_32m
    python -m tests.robustness.movielens_32m --ratings 1000000

This makes files of MovieLens 32M's format with its numbers of ratings, users and movies. How often
movies are rated has a long tail, and so has how many movies a user rates; users have a taste in a
few of twenty groups of movies. What a model finds in them says nothing about MovieLens; that the
command runs, and what it costs, is what is shown: for each command the minutes by the clock, the
minutes of processor time, and the most memory that it held.

With fewer ratings there are fewer users and movies: users in proportion, movies by its square root.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch
from numpy.typing import NDArray

from rqvae_lib.checkpoints.models import save_recommender, save_sasrec
from rqvae_lib.data.names import DEFAULT_SPLIT, SplitName
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.robustness.million import measured

RATINGS, USERS, MOVIES = 32_000_204, 200_948, 84_432
GROUPS, FAVORITES = 20, 3  # groups of movies, and how many of them a user likes
DEPTH, CODEWORDS = 3, 256
BASELINES = ("popularity", "item-knn", "near-pairs")
MODELS = (*BASELINES, "sasrec", "rq-transformer")
USERS_AT_A_TIME = 2_000


class Size(NamedTuple):
    """The numbers of a dataset."""

    ratings: int
    users: int
    movies: int

    @classmethod
    def of(cls, ratings: int) -> "Size":
        share = ratings / RATINGS
        return cls(ratings, round(USERS * share), round(MOVIES * share**0.5))


def write_files(folder: Path, size: Size, seed: int = 0) -> None:
    """Write ratings.csv and movies.csv as GroupLens formats them."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(seed)
    names = [
        f'{movie + 1},"Movie {movie} ({1950 + movie % 70})",Drama' for movie in range(size.movies)
    ]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *names]) + "\n")

    # Half of the movies are rated about five times, a few by half of all users.
    often = 5 * np.exp(2.94 * chance.standard_normal(size.movies))
    often = 1 / (1 / often + 1 / (0.5 * size.users))
    group = np.sort(chance.integers(GROUPS, size=size.movies))
    ends = np.concatenate([[0], np.cumsum(often)])
    of_group = ends[np.searchsorted(group, np.arange(GROUPS + 1))]  # (GROUPS + 1,)

    lengths = 20 + chance.lognormal(4.16, 1.245, size.users)
    lengths = np.minimum(lengths * size.ratings / lengths.sum(), size.movies / 4)
    lengths = np.maximum(lengths, 20).astype(np.int64)  # (U,)
    never = chance.permutation(size.movies)  # each is given to a user once, so that all are rated
    schema = pa.schema(
        {
            "userId": pa.int32(),
            "movieId": pa.int32(),
            "rating": pa.float32(),
            "timestamp": pa.int64(),
        }
    )
    options = pyarrow.csv.WriteOptions(quoting_header="none")
    with pyarrow.csv.CSVWriter(folder / "ratings.csv", schema, write_options=options) as writer:
        for first in range(0, size.users, USERS_AT_A_TIME):
            users = np.arange(first, min(first + USERS_AT_A_TIME, size.users))
            own = never[
                users[0] * size.movies // size.users : (users[-1] + 1) * size.movies // size.users
            ]
            writer.write_table(
                _ratings_of(users, lengths[users], own, of_group, ends, chance).cast(schema)
            )


def _ratings_of(
    users: NDArray[np.int64],
    lengths: NDArray[np.int64],
    own: NDArray[np.int64],
    of_group: NDArray[np.float64],
    ends: NDArray[np.float64],
    chance: np.random.Generator,
) -> pa.Table:
    """Draw the movies of some users, each once per user, and order them as GroupLens does."""
    draws = lengths * 2 + 20
    user = np.repeat(np.arange(len(users)), draws)  # (D,)
    likes = chance.integers(GROUPS, size=(len(users), FAVORITES))
    group = likes[user, chance.integers(FAVORITES, size=len(user))]
    low, high = of_group[group], of_group[group + 1]
    anything = chance.random(len(user)) < 0.3
    low[anything], high[anything] = 0, ends[-1]
    movie = np.searchsorted(ends, chance.uniform(low, high), side="right") - 1
    movie = np.minimum(movie, len(ends) - 2)
    user = np.concatenate([chance.integers(len(users), size=len(own)), user])
    movie = np.concatenate([own, movie])
    _, first = np.unique(user * len(ends) + movie, return_index=True)
    first.sort()
    first = first[np.argsort(user[first], kind="stable")]
    user, movie = user[first], movie[first]
    starts = np.searchsorted(user, np.arange(len(users)))
    place = np.arange(len(user)) - starts[user]
    kept = place < lengths[user]
    user, movie, place = user[kept], movie[kept], place[kept]
    begin = 900_000_000 + chance.integers(800_000_000, size=len(users))
    time = begin[user] + 60 * place + chance.integers(60, size=len(user))
    order = np.lexsort((movie, user))
    rating = chance.integers(1, 11, size=len(user)) / 2
    columns = (users[user] + 1, movie + 1, rating, time)
    names = ("userId", "movieId", "rating", "timestamp")
    return pa.table({n: c[order] for n, c in zip(names, columns, strict=True)})


def write_models(folder: Path, split_name: SplitName) -> None:
    """Write a checkpoint of each kind of network, with weights and IDs that were only drawn."""
    dataset = load_dataset(str(folder / "ml-32m"))
    split = split_by_name(dataset, split_name)
    torch.manual_seed(0)
    ids = SemanticIDs(torch.randint(CODEWORDS, (dataset.num_items, DEPTH)), CODEWORDS)
    transformer = TransformerConfig()
    sasrec = SASRec(SASRecConfig(transformer, num_items=dataset.num_items))
    save_sasrec(folder / "sasrec.safetensors", sasrec.eval(), dataset, split)
    for name, config in (
        ("rq-transformer", RQTransformerConfig),
        ("decoder-only", DecoderOnlyConfig),
    ):
        model = new_recommender(config(transformer), ids)
        save_recommender(folder / f"{name}.safetensors", model.eval(), dataset, split)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratings", type=int, default=RATINGS)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--split", default=DEFAULT_SPLIT)
    parser.add_argument("--folder", type=Path, help="work there, and leave everything")
    parser.add_argument("--prepare", action="store_true", help="write the files only")
    options = parser.parse_args()
    if options.prepare:
        write_files(options.folder / "ml-32m", Size.of(options.ratings))
        write_models(options.folder, options.split)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "decoder-only.safetensors").is_file():
            sizes = ["--ratings", str(options.ratings), "--split", options.split]
            this = [sys.executable, "-m", "tests.robustness.movielens_32m"]
            measured([*this, "--prepare", *sizes, "--folder", "."], folder)
        program = str(Path(sys.executable).with_name("rqvae-lib"))
        models = [name if name in BASELINES else f"{name}.safetensors" for name in options.models]
        data = ["--dataset", "ml-32m", "--split", options.split]
        measured([program, "evaluate", *models, *data, "--output", "table.csv"], folder)
        print((folder / "said.txt").read_text()[-6000:])


if __name__ == "__main__":
    main()
