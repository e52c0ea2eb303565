"""The whole pipeline on somebody's own tables, through the commands."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rqvae_lib.checkpoints.models import load_recommender, load_rqvae
from rqvae_lib.cli.main import app
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import read_embeddings
from rqvae_lib.semantic_ids.files import read_ids


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """90 items with ids of text and no words about them, 30 users; times that interleave."""
    monkeypatch.chdir(tmp_path)
    chance = np.random.default_rng(0)
    rows = [
        (f"user{user:02}", f"item{item:02}", 1_000_000 + 60 * place + user)
        for user in range(30)
        for place, item in enumerate(chance.choice(90, size=12, replace=False))
    ]
    names = ["user_id", "item_id", "timestamp"]
    pd.DataFrame(rows, columns=names).to_csv("clicks.csv", index=False)
    items = [f"item{item:02}" for item in range(90)]
    pd.DataFrame({"item_id": items}).to_parquet("shop.parquet")
    np.save("own.npy", chance.standard_normal((90, 8)))
    return ["--interactions", "clicks.csv", "--items", "shop.parquet"]


@pytest.mark.parametrize(
    ("content", "split"),
    [
        (["--embeddings", "own.npy"], "leave-one-out"),
        (["--content", "collaborative"], "timestamp"),
    ],
)
def test_the_pipeline_runs_on_own_tables(content: list[str], split: str, where: list[str]) -> None:
    embeddings = content if "--embeddings" in content else []
    of_split = [] if embeddings else ["--split", split]  # texts are not split
    run("train-rqvae", *where, *content, *of_split, "--steps", 2, "--codebook-size", 8)
    model, card = load_rqvae("runs/rqvae.safetensors")
    assert card["dataset"] == "clicks.csv"
    dataset = Dataset.from_tables("clicks.csv", "shop.parquet")
    if embeddings:
        assert "split" not in card  # it has seen no interaction
        vectors = read_embeddings("own.npy", dataset.texts)
    else:
        assert card["split"] == split
        held_out = split_by_name(dataset, "timestamp")
        vectors = item_vectors(dataset, "collaborative", None, held_out).tensor
    run("inference-rqvae", *where, *embeddings)
    table = pd.read_csv("runs/semantic_ids.csv")
    assert table["item_id"].tolist() == dataset.items["item_id"].tolist()
    codes = table[["code_1", "code_2", "code_3"]].to_numpy()
    assert (codes == model.assign(vectors).numpy()).all()
    back = read_ids(Path("runs/semantic_ids.csv"), [8] * 3, dataset.items["item_id"].to_numpy())
    assert back.item_ids.tolist() == dataset.items["item_id"].tolist()
    assert (back.ids.codes.numpy() == codes).all()
    run("train-recommender", *where, *embeddings, "--split", split, "--steps", 2)
    assert load_recommender("runs/recommender.safetensors")[1]["split"] == split
    run("train-sasrec", *where, "--split", split, "--steps", 2)
    names = [
        "popularity",
        "item-knn",
        "near-pairs",
        "runs/recommender.safetensors",
        "runs/sasrec.safetensors",
    ]
    said = run("evaluate", *names, *where, "--split", split)
    assert all(f"\n{name} " in said for name in names)
    for whom in (["--user", "user07"], ["--history", "item03,item05"]):
        assert "Untitled item" in run("recommend", *where, *whom, "-k", 3).split("Recommended")[1]


def test_a_tokenizer_that_may_know_what_is_held_out_is_refused(where: list[str]) -> None:
    run("train-rqvae", *where, "--content", "collaborative", "--steps", 1, "--codebook-size", 8)
    with pytest.raises(ValueError, match="train one with --split timestamp"):
        run("train-recommender", *where, "--split", "timestamp", "--steps", 1)


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_tokenizers_are_compared_with_codebooks_that_the_items_can_fill(
    levels: int, where: list[str]
) -> None:
    small = ["--content", "collaborative", "--levels", levels, "--codebook-size", 8]
    said = run(
        "compare-tokenizers", *where, *small, "--seeds", 1, "--steps", 2, "--output", "t.csv"
    )
    heads, *rows = said.splitlines()[:-1]
    assert [row.split()[0] for row in rows] == ["RQ-VAE", "R-KMeans"]
    assert len({len(row) for row in (heads, *rows)}) == 1  # columns below their heads
    table = pd.read_csv("t.csv")
    used = [column for column in table if column.startswith("used_")]
    assert used == [f"used_{level}" for level in range(1, levels + 1)]
    assert table["perplexity_1"].between(1, 8).all()


@pytest.mark.parametrize(
    "command", ["train-rqvae", "train-rqvae --residual-kmeans", "compare-tokenizers"]
)
def test_more_codewords_than_items_are_refused_by_the_name_of_the_option(
    command: str, where: list[str]
) -> None:
    own = [*where, "--embeddings", "own.npy"]
    with pytest.raises(ValueError, match=r"--codebook-size is 256, but clicks.csv has 90 items"):
        run(*command.split(), *own)
    with pytest.raises(ValueError, match=r"is 91, .* pass --codebook-size 90 or less"):
        run(*command.split(), *own, "--codebook-size", 91)


def test_a_random_tokenizer_has_no_more_codewords_than_there_are_items(where: list[str]) -> None:
    random = [*where, "--embeddings", "own.npy", "--tokenizer", "random"]
    run("train-recommender", *random, "--steps", 1)
    recommender, _ = load_recommender("runs/recommender.safetensors")
    assert list(recommender.ids.sizes[:3]) == [90, 90, 90]


def test_without_texts_or_embeddings_the_sentence_says_what_to_do(where: list[str]) -> None:
    with pytest.raises(ValueError, match=r"has no texts: .*--embeddings.*--content collaborative"):
        run("train-rqvae", *where, "--steps", 1, "--codebook-size", 8)


def test_items_without_genres_cannot_be_chosen_by_genre(where: list[str]) -> None:
    run(
        "train-recommender",
        *where,
        "--embeddings",
        "own.npy",
        "--tokenizer",
        "random",
        "--steps",
        1,
    )
    with pytest.raises(ValueError, match=r"clicks\.csv does not say its items' genres: leave"):
        run("recommend", *where, "--user", "user07", "--genre", "Tea")


def test_models_outlive_a_new_interaction_where_only_the_items_matter(where: list[str]) -> None:
    own = [*where, "--embeddings", "own.npy"]
    run("train-rqvae", *own, "--steps", 1, "--codebook-size", 8)
    run("train-recommender", *own, "--steps", 1)
    with Path("clicks.csv").open("a") as clicks:
        clicks.write("user07,item05,2000000\n")
    run("inference-rqvae", *own)
    run("train-recommender", *own, "--steps", 1, "--output", "later")
    run("recommend", *where, "--user", "user07", "-k", 3)
    with pytest.raises(ValueError, match="trained on other data"):  # other targets are held out
        run("evaluate", *where, "runs/recommender.safetensors")
    items = pd.read_parquet("shop.parquet")
    items[::-1].to_parquet("shop.parquet")
    with pytest.raises(
        ValueError,
        match=r"recommender\.safetensors\) was trained for other items",
    ):
        run("recommend", *where, "--user", "user07")
    with pytest.raises(ValueError, match=r"rqvae\.safetensors\) was trained for other items"):
        run("inference-rqvae", *own)


def test_a_collaborative_tokenizer_does_not_outlive_a_new_interaction(where: list[str]) -> None:
    small = ["--content", "collaborative", "--codebook-size", 8]
    run("train-rqvae", *where, *small, "--steps", 1)
    with Path("clicks.csv").open("a") as clicks:
        clicks.write("user07,item05,2000000\n")
    with pytest.raises(ValueError, match=r"rqvae\.safetensors\) was trained on other data"):
        run("inference-rqvae", *where)


def test_the_splits_have_names(where: list[str]) -> None:
    dataset = Dataset.from_tables("clicks.csv")
    assert len(split_by_name(dataset, "leave-one-out").test) == 30
    assert len(split_by_name(dataset, "timestamp").test) == 36
    with pytest.raises(ValueError, match="it must be one of"):
        split_by_name(dataset, "random")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((89, 3)), r"shape \(89, 3\), expected numbers with one row for each of 90"),
        (np.full((90, 3), np.nan), "holds a NaN"),
        (np.array([["a"]] * 90), "holds <U1"),
        (np.array([[{}]] * 90, dtype=object), "is not a .npy file of numbers"),
    ],
)
def test_bad_arrays_are_refused(array: np.ndarray, says: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=says):
        read_embeddings(tmp_path / "a.npy", [""] * 90)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: data[:-4], "it holds 2,156 bytes, but its header promises 2,160"),
        (lambda data: data.replace(b"(90, 3)", b"(9000000000000, 3)"), "promises 216,000,000,000,"),
        (lambda data: b"\x93NUMPY\x02\0" + b"\xff" * 4 + data[12:], "is not a .npy file"),
        (lambda data: b"\x93NUMPY\x03\0" + data[8:], r"format \(3, 0\), expected 1.0 or 2.0"),
        (lambda data: data[:5], "is not a .npy file"),
    ],
)
def test_an_array_that_promises_more_than_it_holds_asks_for_no_memory(
    spoil: Callable[[bytes], bytes], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((90, 3)))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=says) as refused:
        read_embeddings(path, [""] * 90)
    assert not isinstance(refused.value.__cause__, MemoryError)
