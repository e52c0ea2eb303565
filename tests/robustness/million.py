"""The whole pipeline on a catalogue of MovieLens 1M's format and size, command by command.

    python -m tests.robustness.million --splits leave-one-out timestamp

MovieLens 1M may not be passed on, so this makes files of its format with its numbers of ratings,
users and movies: movies have one of 18 genres and a popularity, people have a taste in genres that
drifts. What a model finds in them says nothing about MovieLens; that everything runs, and what it
costs, is what is shown: for each command the minutes by the clock, the minutes of processor time,
and the most memory that it held.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATINGS, PEOPLE, RATED, MOVIES = 1_000_209, 6_040, 3_706, 3_883
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
WORDS = ("River", "Night", "Stone", "Winter", "Garden", "Letter", "Shadow", "Summer", "Island")


def write_files(folder: Path, seed: int = 0) -> None:
    """Write ratings.dat and movies.dat as GroupLens formats them."""
    chance = np.random.default_rng(seed)
    genre = chance.integers(len(GENRES), size=MOVIES)
    words = chance.integers(len(WORDS), size=(MOVIES, 2))
    years = chance.integers(1930, 2001, size=MOVIES)
    lines = [
        f"{movie + 1}::{WORDS[a]} {WORDS[b]} {movie} ({year})::{GENRES[g]}\n"
        for movie, ((a, b), year, g) in enumerate(zip(words, years, genre, strict=True))
    ]
    (folder / "movies.dat").write_text("".join(lines), encoding="latin-1")

    rated = chance.choice(MOVIES, RATED, replace=False)
    popularity = 1 / (10 + chance.permutation(RATED)) ** 0.8
    counts = 20 + chance.lognormal(4.2, 1.0, PEOPLE)
    counts = np.minimum(20 + (counts - 20) * 1.4, 2000).astype(int)
    seen: list[tuple[int, int, int]] = []
    for person in range(PEOPLE):
        taste = 1 + 20 * (chance.random(len(GENRES)) < 0.2)[genre[rated]]
        chosen = np.log(popularity * taste) + chance.gumbel(size=RATED)  # without replacement
        order = np.argsort(-chosen)[: counts[person]]
        # Movies of a genre tend to follow each other.
        order = order[np.argsort(genre[rated[order]] // 6 + 2 * chance.random(len(order)))]
        begin = 956_703_932 + int(chance.integers(80_000_000))
        times = begin + np.cumsum(chance.integers(0, 90, len(order)))
        rows = zip(rated[order].tolist(), times.tolist(), strict=True)
        seen.extend((person, movie, moment) for movie, moment in rows)
    # To the rating: the first of each movie stay, others are left out or given again.
    first: dict[int, int] = {}
    for row, (_, movie, _) in enumerate(seen):
        first.setdefault(movie, row)
    assert len(first) == RATED, len(first)
    assert len(seen) >= RATINGS, len(seen)
    spare = np.setdiff1d(np.arange(len(seen)), np.fromiter(first.values(), int))
    left_out = set(chance.choice(spare, len(seen) - RATINGS, replace=False).tolist())
    stars = chance.integers(1, 6, len(seen))
    with (folder / "ratings.dat").open("w", encoding="latin-1") as file:
        for row, (person, movie, moment) in enumerate(seen):
            if row not in left_out:
                file.write(f"{person + 1}::{movie + 1}::{stars[row]}::{moment}\n")


def measured(command: list[str], folder: Path) -> None:
    """Run a command and print what it cost; stop if it fails."""
    began = time.monotonic()
    log = folder / "said.txt"
    with log.open("a") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    minutes = (time.monotonic() - began) / 60
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text()[-3000:]}")
    print(
        f"{minutes:6.1f} min {(used.ru_utime + used.ru_stime) / 60:6.1f} min of processor "
        f"{used.ru_maxrss / 2**20:5.2f} GiB  {' '.join(command[1:])}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", nargs="+", default=["leave-one-out", "timestamp"])
    parser.add_argument("--steps", type=int, default=1000, help="of each recommender")
    parser.add_argument("--folder", type=Path, help="work there, and leave everything")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        (folder / "ml-1m").mkdir(parents=True, exist_ok=True)
        write_files(folder / "ml-1m")
        data = ["--dataset", "ml-1m"]
        program = str(Path(sys.executable).with_name("rqvae-lib"))
        measured([program, "embed", *data, "--output", "vectors.safetensors"], folder)
        texts = ["--embeddings", "vectors.safetensors"]
        for split in options.splits:
            out = f"runs-{split}"
            on = [*data, "--split", split, "--output", out]
            steps = ["--steps", str(options.steps)]
            architecture = ["--architecture", "rq-transformer"]
            tokenizer = ["--tokenizer", f"{out}/rqvae.safetensors"]
            model, rival = f"{out}/recommender.safetensors", f"{out}/sasrec.safetensors"
            for words in (
                ["train-rqvae", *on, *texts, "--content", "both"],
                ["inference-rqvae", *data, *texts, *tokenizer, "--output", f"{out}/ids.parquet"],
                ["train-recommender", *on, *texts, *tokenizer, *architecture, *steps],
                ["train-sasrec", *on, *steps],
                ["evaluate", model, rival, "--mix", "near-pairs", *data, "--split", split],
                ["recommend", *data, "--model", model, "--user", "1"],
            ):
                measured([program, *words], folder)
        print((folder / "said.txt").read_text()[-6000:])


if __name__ == "__main__":
    main()
