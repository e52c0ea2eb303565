"""What the README shows works as it stands there: the example, and every command."""

import ast
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from torch import Tensor
from typer.testing import CliRunner

from rqvae_lib import (
    RECOMMENDER_TRAINING,
    RQVAE_TRAINING,
    Dataset,
    Split,
    load_dataset,
    load_embeddings,
    load_recommender,
    load_rqvae,
)
from rqvae_lib.cli import common
from rqvae_lib.cli.main import app
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.embeddings import text
from rqvae_lib.evaluation import validation
from rqvae_lib.training import recipes
from rqvae_lib.training.loop import LogEntry, train
from tests.helpers import ROOT, write_vectors

README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("one_thread")

# What makes a command short where it has no training to shorten.
SMALLER = {"compare-tokenizers": ["--seeds", "1", "--levels", "1", "--codebook-size", "16"]}


def commands_in(page: str) -> list[str]:
    """The commands that a page shows, each on an indented line, perhaps with a comment."""
    return re.findall(r"^    (rqvae-lib .*?)(?:  +#.*)?$", page, re.MULTILINE)


def readme_code() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return code


@pytest.fixture
def two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is trained takes two steps, so that the README's lines can run as they are."""

    def short(*arguments: Any, **more: Any) -> list[LogEntry]:
        *first, training = arguments
        return train(*first, replace(training, num_steps=2), **more)

    monkeypatch.setattr(recipes, "train", short)


@pytest.fixture
def few_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands hold out the items of twenty people, and item-kNN has half of its settings."""

    def few(dataset: Dataset, name: str) -> Split:
        split = split_by_name(dataset, name)
        return replace(split, validation=split.validation[:20], test=split.test[:20])

    monkeypatch.setattr(common, "split_by_name", few)
    monkeypatch.setattr(validation, "SHRINKAGES", validation.SHRINKAGES[1:])


@pytest.fixture
def ready_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder is another test's; here it has read the movies' texts already."""
    rows = {own: row for row, own in enumerate(load_dataset().texts)}

    def encode(texts: Sequence[str], *_: object, **__: object) -> Tensor:
        return load_embeddings()[[rows.get(own, 0) for own in texts]]  # a new movie: as the first

    monkeypatch.setattr(text, "encode_texts", encode)


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_example_runs_and_the_commands_take_what_it_saves(
    two_steps: None, in_tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    exec(compile(readme_code(), "README.md", "exec"), names)
    movies, found, embeddings = names["movies"], names["found"], names["embeddings"]
    assert embeddings.shape == (movies.num_items, 384)
    assert f"# {movies.num_items:,} movies\n" in readme_code()
    assert f"# {tuple(embeddings.shape)}\n" in readme_code()
    history = set(movies.user_history(movies.user_ids[0])[:-2].tolist())
    recommended = set(found.items[0].tolist())
    assert len(recommended) == 10
    assert not recommended & history
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("Toy Story (1995) (")
    assert ast.literal_eval(last) == [movies.titles[item] for item in found.items[0]]

    rqvae, _ = load_rqvae("runs/rqvae.safetensors")
    recommender, _ = load_recommender("runs/recommender.safetensors")
    ids = names["ids"]
    assert rqvae.tokenize(embeddings).sha256 == recommender.ids.sha256 == ids.sha256
    assert "Using runs/rqvae.safetensors." in run("inference-rqvae")
    assert "Using runs/recommender.safetensors." in run("recommend", "--user", "1")


def test_the_example_imports_the_public_face_only() -> None:
    tree = ast.parse(readme_code())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) for node in imports} == {"rqvae_lib"}


def test_the_example_trains_with_the_defaults() -> None:
    """What it prints and how long it takes is then that of the commands."""
    calls = [node for node in ast.walk(ast.parse(readme_code())) if isinstance(node, ast.Call)]
    trainings = [call for call in calls if ast.unparse(call.func).startswith("train_")]
    assert len(trainings) == 2
    for call in trainings:
        assert not {"config", "training"} & {keyword.arg for keyword in call.keywords}


def test_the_example_is_about_ten_lines() -> None:
    lines = [line for line in readme_code().splitlines() if line]
    assert len([line for line in lines if not line.startswith("from ")]) <= 11


def test_the_steps_are_the_defaults() -> None:
    text = " ".join(README.split())
    assert (
        f"{RQVAE_TRAINING.num_steps:,} steps of the tokenizer and "
        f"{RECOMMENDER_TRAINING.num_steps:,} of the recommender"
    ) in text


def write_folders(folder: Path) -> None:
    """Write the movies' vectors and interactions as Parquet, as a larger catalogue has them."""
    movies = load_dataset("movielens-small-2016")
    item_ids = movies.items["item_id"].to_numpy()
    log = movies.interactions[["user_id", "timestamp"]].assign(
        item_id=item_ids[movies.interactions["item"]]
    )
    write_vectors(folder / "vectors/0.parquet", item_ids, load_embeddings(texts=movies.texts))
    (folder / "log").mkdir()
    log.to_parquet(folder / "log/0.parquet", index=False)


def test_every_command_runs_as_it_is_shown(
    two_steps: None, few_targets: None, ready_vectors: None, in_tmp_path: Path
) -> None:
    """One after another in one folder, so that each finds what those before it left."""
    (in_tmp_path / "new.csv").write_text("item_id,title,genres\n900001,A New Movie,Drama\n")
    write_folders(in_tmp_path)
    for command in commands_in(README):
        _, name, *arguments = shlex.split(command)
        output = run(name, *arguments, *SMALLER.get(name, []))
        if (
            name in ("inference-rqvae", "train-recommender", "recommend")
            and "--ids" not in arguments
        ):
            assert "Using runs/" in output, output
    assert {file.name for file in (in_tmp_path / "runs").glob("*.*")} >= {
        "embeddings.safetensors",
        "rqvae.safetensors",
        "semantic_ids.csv",
        "recommender.safetensors",
        "sasrec.safetensors",
    }
    (own,) = re.findall(r"`rqvae-lib (evaluate .*?)`", " ".join(README.split()))[:1]
    assert "runs/recommender.safetensors" in run(*shlex.split(own))


def test_every_command_is_shown() -> None:
    named = {shlex.split(command)[1] for command in commands_in(README)}
    commands = typer.main.get_command(app).commands
    assert named == {name for name, command in commands.items() if not command.hidden}


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = r"\bmake (book|check|test|lab|\w+(?=[ `]*TORCH_INDEX))"
    assert {"book", "check", "test"} <= set(re.findall(named, README)) <= targets
    assert "TORCH_INDEX" in makefile


def test_links_and_pictures_are_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    links += re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert len(links) >= 6
    for link in links:
        assert (ROOT / link).exists(), link
