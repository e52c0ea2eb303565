"""Which model a command takes when none is named: said in a line, and named on the card."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from rqvae_lib.checkpoints.models import load_model, load_recommender, load_rqvae
from tests.cli.running import fails, run, succeeds

pytestmark = pytest.mark.usefixtures("quick", "no_validation")

SHAPE = ("--codebook-size", 8, "--levels", 2)
BRIEFLY = ("--steps", 2)


@pytest.fixture
def data(shop: Path) -> tuple[object, ...]:
    return ("--dataset", shop, "--embeddings", shop / "vectors.safetensors")


@pytest.fixture(scope="module")
def trained(quick: None, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `exp1` with a tokenizer, made of the shop's texts."""
    folder = tmp_path_factory.mktemp("found")
    data = ("--dataset", shop, "--embeddings", shop / "vectors.safetensors")
    succeeds("train-rqvae", *data, *SHAPE, *BRIEFLY, "--output", "exp1", folder=folder)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "exp1", tmp_path / "exp1")
    return tmp_path


def said_by(*arguments: object, folder: Path) -> str:
    done = run(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def card(path: Path) -> dict[str, Any]:
    return load_recommender(path)[1]


WRITERS = {  # what a command writes into exp1, by which a tokenizer in that folder is found
    "train-recommender": ("--output", "exp1", *BRIEFLY),
    "inference-rqvae": ("--output", "exp1/ids.csv"),
    "export": ("--output", "exp1/ids.json", "--format", "index-json"),
}


@pytest.mark.parametrize("command", WRITERS)
def test_a_tokenizer_in_the_output_folder_comes_first(
    command: str, folder: Path, data: tuple[object, ...]
) -> None:
    call = (command, *data, *WRITERS[command])
    said = said_by(*call, folder=folder)
    assert "Using exp1/rqvae.safetensors." in said
    assert "Taking" not in said
    assert "No rqvae" not in said
    shutil.copytree(folder / "exp1", folder / "runs")  # another one, where a default is looked for
    said = said_by(*call, "--force", folder=folder)
    assert "Taking exp1/rqvae.safetensors, and not runs/rqvae.safetensors (--tokenizer)." in said
    (folder / "exp1/rqvae.safetensors").unlink()
    said = said_by(*call, "--force", folder=folder)
    assert "No rqvae.safetensors in exp1: taking runs/rqvae.safetensors (--tokenizer)." in said
    shutil.rmtree(folder / "runs")
    done = run(*call, "--force", folder=folder)
    wanted = "No rqvae.safetensors in exp1 or runs: taking the shipped one (--tokenizer)."
    assert wanted in done.stderr
    assert done.returncode == 2  # it is of other items
    assert "the tokenizer (pretrained) was trained" in done.stderr


def test_a_tokenizer_that_is_named_is_not_said_twice(
    folder: Path, data: tuple[object, ...]
) -> None:
    given = ("--tokenizer", "exp1/rqvae.safetensors")
    said = said_by("inference-rqvae", *data, *given, "--output", "ids.csv", folder=folder)
    assert said.count("rqvae.safetensors") == 1


def test_a_recommender_in_the_output_folder_comes_first(
    folder: Path, shop: Path, data: tuple[object, ...]
) -> None:
    succeeds("train-recommender", *data, *WRITERS["train-recommender"], folder=folder)
    for_all = ("recommend", "--all", "--dataset", shop, "--output", "exp1/all.csv")
    assert "Using exp1/recommender.safetensors." in said_by(*for_all, folder=folder)
    for_one = ("recommend", "--user", "user01", "--dataset", shop)
    done = run(*for_one, folder=folder)
    assert "No recommender.safetensors in runs: taking the shipped one (--model)." in done.stderr
    assert done.returncode == 2
    done = run("bundle", "catalogue", *data, folder=folder)
    for file in ("rqvae", "recommender"):
        assert f"No {file}.safetensors in runs: taking the shipped one" in done.stderr or (
            file == "recommender"
        )
    assert done.returncode == 2
    assert not (folder / "catalogue").exists()


def test_shipped_embeddings_are_said(folder: Path) -> None:
    wanted = "Using the shipped embeddings of movielens-small-2016 (--embeddings)."
    for call in (
        ("train-rqvae", "--steps", 1, *SHAPE),
        ("inference-rqvae", "--tokenizer", "pretrained"),
    ):
        assert wanted in said_by(*call, folder=folder)


# Cards


def test_every_model_names_what_it_was_made_from(
    folder: Path, shop: Path, data: tuple[object, ...]
) -> None:
    vectors = shop / "vectors.safetensors"
    tokenizer = folder / "exp1/rqvae.safetensors"
    own = load_rqvae(tokenizer)[1]
    assert own["embeddings"] == {"file": str(vectors), "sha256": sha256(vectors)}
    assert own.keys() >= {"dataset", "data", "items", "content", "text_embeddings", "command"}

    succeeds("train-recommender", *data, *WRITERS["train-recommender"], folder=folder)
    found = card(folder / "exp1/recommender.safetensors")
    named = {"file": "exp1/rqvae.safetensors", "sha256": sha256(tokenizer)}
    assert found["tokenizer"] == named
    assert (found["split"], found["data"]) == ("leave-one-out", own["data"])

    random = ("--tokenizer", "random", "--seed", 3, "--output", "exp2")
    succeeds("train-recommender", *data, *random, *BRIEFLY, folder=folder)
    found = card(folder / "exp2/recommender.safetensors")
    assert found["tokenizer"] == {"file": "random", "seed": 3}

    succeeds("inference-rqvae", *data, "--output", "exp1/ids.csv", folder=folder)
    ids = ("--ids", "exp1/ids.csv", "--output", "exp3")
    succeeds("train-recommender", "--dataset", shop, *ids, *BRIEFLY, folder=folder)
    found = card(folder / "exp3/recommender.safetensors")
    assert found["ids"] == {"file": "exp1/ids.csv", "sha256": sha256(folder / "exp1/ids.csv")}
    assert "tokenizer" not in found

    succeeds("train-sasrec", "--dataset", shop, *BRIEFLY, "--output", "exp1", folder=folder)
    found = load_model(folder / "exp1/sasrec.safetensors")[1]
    assert (found["split"], found["data"]) == ("leave-one-out", own["data"])

    start = ("--start-from", "exp1/rqvae.safetensors", "--output", "exp4", *BRIEFLY)
    succeeds("train-rqvae", *data, *start, folder=folder)
    found = load_rqvae(folder / "exp4/rqvae.safetensors")[1]
    assert found["start_from"] == named


def test_a_start_is_not_written_over(folder: Path, data: tuple[object, ...]) -> None:
    before = (folder / "exp1/rqvae.safetensors").read_bytes()
    start = ("--start-from", "exp1/rqvae.safetensors", "--output", "exp1")
    said = fails("train-rqvae", *data, *start, *BRIEFLY, "--force", folder=folder)
    assert "exp1/rqvae.safetensors would be written, but the command reads it" in said
    assert (folder / "exp1/rqvae.safetensors").read_bytes() == before


def test_a_shipped_tokenizer_is_named_by_its_hash(tmp_path: Path) -> None:
    succeeds("train-recommender", "--tokenizer", "pretrained", *BRIEFLY, folder=tmp_path)
    found = card(tmp_path / "runs/recommender.safetensors")
    assert found["tokenizer"]["file"] == "pretrained"
    assert len(found["tokenizer"]["sha256"]) == 64


# Beside the commands


def test_the_version_is_said(tmp_path: Path) -> None:
    from rqvae_lib import __version__

    assert succeeds("--version", folder=tmp_path) == f"rqvae-lib {__version__}\n"
