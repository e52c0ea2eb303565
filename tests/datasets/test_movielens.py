"""MovieLens 1M's files, made in its format: what is read, refused, and the pipeline on them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.cli.main import app
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.times import MICROSECONDS
from rqvae_lib.datasets.movielens import read_movielens
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import save_embeddings

MOVIES = [
    "3::Léon: The Professional (1994)::Action|Crime",
    "1::Toy Story (1995)::Animation|Children's|Comedy",
    "2::Never Rated (1999)::Drama",
    "10::Bear, The (1988)::Adventure",
]
RATINGS = ["2::10::5::978300019", "1::3::4::978302268", "1::1::3::978302268", "1::10::1::978300760"]


def write(folder: Path, movies: list[str] = MOVIES, ratings: list[str] = RATINGS) -> Path:
    folder.mkdir(exist_ok=True)
    for name, lines in (("movies.dat", movies), ("ratings.dat", ratings)):
        text = "".join(f"{line}\n" for line in lines)
        (folder / name).write_text(text, encoding="latin-1")
    return folder


def test_the_files_as_published_become_a_dataset(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path))
    assert data.name == "movielens-1m"
    assert data.items["item_id"].tolist() == [1, 3, 10]  # rated ones, by id
    assert data.titles == [
        "Toy Story (1995)",
        "Léon: The Professional (1994)",
        "The Bear (1988)",
    ]
    assert data.texts[0] == "Toy Story (1995). Genres: Animation, Children's, Comedy."
    table = data.interactions
    # By user, then time; the two of one second keep the order of the file.
    assert table["user_id"].tolist() == [1, 1, 1, 2]
    assert table["item"].tolist() == [2, 1, 0, 2]
    assert table["rating"].tolist() == [1, 4, 3, 5]
    seconds = [978300760, 978302268, 978302268, 978300019]
    assert table["timestamp"].tolist() == [second * MICROSECONDS for second in seconds]


def test_a_title_without_a_year_is_kept_whole(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path, ["1::Untimely::Drama"], ["7::1::5::9"]))
    assert data.titles == ["Untimely"]
    assert data.items["year"].isna().all()


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("movies", "4::Half a line", "movies.dat, line 5: found 2 fields, expected 3"),
        ("movies", "x::Name (1990)::Drama", "movies.dat, line 5: movie is 'x', expected a whole"),
        ("ratings", "1,3,4,5", "ratings.dat, line 5: found 1 fields, expected 4"),
        ("ratings", "1::3::4::now", "ratings.dat, line 5: timestamp is 'now'"),
        ("ratings", "1::3::4.5::9", "ratings.dat, line 5: rating is '4.5', expected a whole"),
        ("ratings", "1::99::4::9", "ratings.dat, line 5: movie 99 is not in movies.dat"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, file: str, line: str, found: str) -> None:
    lines = {"movies": MOVIES, "ratings": RATINGS}
    folder = write(tmp_path, **(lines | {file: [*lines[file], line]}))
    with pytest.raises(ValueError, match=found.replace("(", r"\(")):
        read_movielens(folder)


def test_an_empty_file_a_missing_one_and_a_repeated_movie_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ratings.dat is empty"):
        read_movielens(write(tmp_path / "a", ratings=[]))
    with pytest.raises(FileNotFoundError, match=r"movies.dat does not exist"):
        read_movielens(tmp_path)
    with pytest.raises(ValueError, match="movie 10 was seen before"):
        read_movielens(write(tmp_path / "b", [*MOVIES, MOVIES[-1]]))


def test_a_name_or_a_folder_opens_a_dataset(tmp_path: Path) -> None:
    assert load_dataset(str(write(tmp_path / "ml-1m"))).name == "movielens-1m"
    assert load_dataset("movielens-small-2016").checksum == load_dataset().checksum
    with pytest.raises(ValueError, match="no dataset named 'nowhere'"):
        load_dataset("nowhere")


# The pipeline on data of that shape: the command that makes ML-1M's checkpoint


def of_that_shape(folder: Path, num_users: int = 40, num_movies: int = 300) -> Dataset:
    random = np.random.default_rng(0)
    movies = [f"{i}::Movie {i} ({1950 + i % 50})::Drama|Comedy" for i in range(1, num_movies + 1)]
    ratings = [
        f"{user}::{movie}::{random.integers(1, 6)}::{978300000 + 60 * place}"
        for user in range(1, num_users + 1)
        for place, movie in enumerate(random.permutation(num_movies)[:30] + 1)
    ]
    return read_movielens(write(folder, movies, ratings))


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_commands_run_on_data_of_that_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = of_that_shape(tmp_path / "ml-1m")
    vectors = torch.randn(data.num_items, 12, generator=torch.Generator().manual_seed(0))
    save_embeddings("ml-1m/embeddings.safetensors", vectors, data.texts, "random", data.name)
    where = ("--dataset", "ml-1m", "--embeddings", "ml-1m/embeddings.safetensors")
    # As in the documentation, but for the steps and the size of the codebooks.
    run("train-rqvae", *where, "--steps", "4", "--codebook-size", "8", "--snapshots", "2")
    model, card = load_rqvae("runs/rqvae.safetensors")
    assert model.config.input_dim == 12
    assert (card["dataset"], card["data"]) == ("movielens-1m", data.checksum)
    assert load_rqvae("runs/rqvae-2.safetensors")[1]["data"] == data.checksum
    run("inference-rqvae", *where)
    table = pd.read_csv("runs/semantic_ids.csv")
    assert table["item_id"].tolist() == data.items["item_id"].tolist()
    codes = table[["code_1", "code_2", "code_3"]].to_numpy()
    assert (codes == model.assign(vectors.half().float()).numpy()).all()
    run("train-recommender", *where, "--steps", "2")
    assert "Movie" in run("recommend", "--dataset", "ml-1m", "--user", "1", "-k", "3")


def test_without_embeddings_the_sentence_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_that_shape(tmp_path / "ml-1m")
    with pytest.raises(ValueError, match=r"`rqvae-lib embed`.*--dataset.*--embeddings"):
        run("train-rqvae", "--dataset", "ml-1m", "--steps", "1", "--codebook-size", "8")


def test_a_tokenizer_of_other_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    of_that_shape(tmp_path / "ml-1m")
    with pytest.raises(ValueError, match=r"tokenizer \(pretrained\) was trained on other data"):
        run("train-recommender", "--dataset", "ml-1m", "--tokenizer", "pretrained", "--steps", "1")


def test_unrated_movies_and_an_order_within_ties_are_said(tmp_path: Path) -> None:
    rows = [(user, movie, 4.0, 1147880044) for user in (1, 2) for movie in range(1, 31)]
    table = pd.DataFrame(rows, columns=["userId", "movieId", "rating", "timestamp"])
    table.to_csv(tmp_path / "ratings.csv", index=False)  # sorted by user and movie, as published
    titles = "".join(f"{movie},M (2000),Drama\n" for movie in range(1, 33))
    (tmp_path / "movies.csv").write_text(f"movieId,title,genres\n{titles}")
    unrated, order = load_dataset(tmp_path).notes
    assert unrated == "2 movies of movies.csv that nobody rated: left out"
    assert "in the order of item_id: it rises in 100.00% of 58 pairs" in order
