"""The command line as a user meets it: an empty folder, a command, what is said and written.

Most commands run inside the test's process, in a folder of their own, because a process of their
own would first import torch for seconds. The few that must be processes are.
"""

import csv
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from functools import cache, partial
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pandas as pd
import pytest
import torch
from torch import nn

from rqvae_lib.checkpoints.models import load_recommender, load_rqvae, save_rqvae
from rqvae_lib.cli import (
    common as cli_common,
)
from rqvae_lib.cli import (
    evaluate as cli_evaluate,
)
from rqvae_lib.cli import (
    inference_rqvae as cli_inference,
)
from rqvae_lib.cli import (
    recommend as cli_recommend,
)
from rqvae_lib.cli import (
    train_recommender as cli_training,
)
from rqvae_lib.cli import (
    train_rqvae as cli_tokenizer,
)
from rqvae_lib.cli.main import main
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import load_embeddings, save_embeddings
from rqvae_lib.io.locks import only_process_in
from rqvae_lib.io.tensor_files import load_checkpoint, save_checkpoint
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import read_ids
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RQVAE_TRAINING, EarlyStop
from rqvae_lib.training.recipes import new_rqvae, train_rqvae

pytestmark = pytest.mark.usefixtures("one_thread", "quick")

COMMAND = "from rqvae_lib.cli.main import main; main()"
DATASET = "movielens-small-2016"

open_once, vectors_once = cache(load_dataset), cache(item_vectors)


def opened(name: str | None, interactions: Path | None = None, items: Path | None = None) -> Any:
    return open_once(name if name or interactions or items else DATASET, interactions, items)


def vectors_of(
    dataset: Any,
    content: Any = "text",
    embeddings: Path | None = None,
    split: Any = "leave-one-out",
) -> torch.Tensor:
    return vectors_once(dataset, content, embeddings, split)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Read data once, and train the autoencoder alone for 3 steps: 300 take most of the time."""
    short = partial(train_rqvae, autoencoder_steps=3)
    with (
        patch.object(cli_tokenizer, "train_rqvae", short),
        patch.object(cli_tokenizer, "load_dataset", opened),
        patch.object(cli_inference, "load_dataset", opened),
        patch.object(cli_training, "load_dataset", opened),
        patch.object(cli_recommend, "load_dataset", opened),
        patch.object(cli_tokenizer, "item_vectors", vectors_of),
        patch.object(cli_common, "item_vectors", vectors_of),
    ):
        yield


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, folder: Path) -> Done:
    """Run a command in a folder, in this process."""
    out, err = StringIO(), StringIO()
    words = [str(argument) for argument in arguments]
    with (
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "argv", ["rqvae-lib", *words]),  # a card quotes it
        pytest.raises(SystemExit) as stopped,
    ):
        main(words)
    return Done(int(stopped.value.code or 0), out.getvalue(), err.getvalue())


def succeeds(*arguments: object, folder: Path) -> str:
    done = run(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments: object, folder: Path) -> str:
    """Assert exit code 2 and one sentence; return the sentence."""
    done = run(*arguments, folder=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("rqvae-lib: ")]
    assert len(said) == 1, done.stderr
    return said[0]


def process_of(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_same(first: RQVAE, second: RQVAE) -> None:
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def plain(metrics: object) -> Any:
    """Return metrics as a card has them."""
    return json.loads(json.dumps(asdict(metrics)))  # type: ignore[call-overload]


def text() -> torch.Tensor:
    return vectors_of(opened(DATASET), "text", None)


def both() -> torch.Tensor:
    return vectors_of(opened(DATASET), "both", None)


# The whole pipeline


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands ran one after another, with a few steps a training."""
    folder = tmp_path_factory.mktemp("pipeline")
    succeeds("train-rqvae", "--steps", 3, folder=folder)
    succeeds("inference-rqvae", folder=folder)
    said = succeeds("train-recommender", "--steps", 5, folder=folder)
    for name in ("Recall@10", "NDCG@10", "Recall@10 of popularity", "NDCG@10 of popularity"):
        assert f"Validation {name}: 0." in said
    return folder


@pytest.fixture
def copied(pipeline: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to change."""
    shutil.copytree(pipeline / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation takes seconds, and says nothing where it is not the matter."""
    monkeypatch.setattr(cli_training, "validate", lambda *_: {})


def test_the_commands_work_one_after_another(pipeline: Path) -> None:
    shown = succeeds("recommend", "--user", 1, folder=pipeline)
    places = [line.split() for line in shown.split("Recommended:\n")[1].splitlines()]
    assert [int(place[0]) for place in places] == list(range(1, 11))
    assert all("(" in " ".join(place[3:]) for place in places)  # titles with their years
    assert len({place[2] for place in places}) == 10  # ten different IDs


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = succeeds("--help", folder=tmp_path)
    for command in (
        *("train-rqvae", "compare-tokenizers", "inference-rqvae", "train-recommender", "recommend"),
    ):
        assert command in shown


def test_the_table_has_one_unique_id_an_item(pipeline: Path) -> None:
    with (pipeline / "runs/semantic_ids.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("item_id", "title", "code_1", "code_2", "code_3", "disambiguation", "semantic_id")
    ]
    assert len(rows) == len({row["semantic_id"] for row in rows}) == 9066
    assert rows[0]["item_id"] == "1"
    assert rows[0]["title"] == "Toy Story (1995)"
    for row in rows[:50]:
        codes = [row["code_1"], row["code_2"], row["code_3"], row["disambiguation"]]
        assert row["semantic_id"] == "-".join(codes)


def test_a_written_table_is_read_back_as_the_catalogue(pipeline: Path) -> None:
    dataset = load_dataset()
    model, _ = load_rqvae(pipeline / "runs/rqvae.safetensors")
    expected = SemanticIDs(model.assign(item_vectors(dataset)), [256] * 3)
    own = dataset.items["item_id"].to_numpy()
    back = read_ids(pipeline / "runs/semantic_ids.csv", [256] * 3, own)
    assert back.ids.sha256 == expected.sha256
    assert back.titles == dataset.titles


def test_parquet_holds_what_csv_holds(pipeline: Path) -> None:
    succeeds("inference-rqvae", "--output", "ids.parquet", folder=pipeline)
    table = pd.read_csv(pipeline / "runs/semantic_ids.csv")
    pd.testing.assert_frame_equal(
        pd.read_parquet(pipeline / "ids.parquet"), table, check_dtype=False
    )


def test_one_seed_gives_the_same_files_byte_for_byte(pipeline: Path, tmp_path: Path) -> None:
    succeeds("train-rqvae", "--steps", 3, folder=tmp_path)
    succeeds("inference-rqvae", folder=tmp_path)
    for name in ("rqvae.safetensors", "semantic_ids.csv"):
        assert (tmp_path / "runs" / name).read_bytes() == (pipeline / "runs" / name).read_bytes()
    succeeds("train-rqvae", "--steps", 3, "--seed", 1, folder=tmp_path)
    succeeds("inference-rqvae", folder=tmp_path)
    name = "semantic_ids.csv"
    assert (tmp_path / "runs" / name).read_bytes() != (pipeline / "runs" / name).read_bytes()


@pytest.mark.usefixtures("no_validation")
def test_a_finished_training_resumes_to_itself(copied: Path) -> None:
    names = ("rqvae-state", "decoder-state", "rqvae", "decoder")
    paths = {name: copied / f"runs/{name}.safetensors" for name in names}
    before = {name: path.read_bytes() for name, path in paths.items()}
    paths["rqvae"].unlink()
    paths["decoder"].unlink()
    succeeds("train-rqvae", "--steps", 3, "--resume", folder=copied)
    succeeds("train-recommender", "--steps", 5, "--resume", folder=copied)
    for name, path in paths.items():
        after = path.read_bytes()
        header = int.from_bytes(before[name][:8], "little")  # a card, which names the command,
        tail = -(len(before[name]) - 8 - header)  # differs
        assert after[tail:] == before[name][tail:]


@pytest.mark.usefixtures("no_validation")
def test_a_training_that_is_killed_ends_at_the_same_weights(pipeline: Path, tmp_path: Path) -> None:
    """Killed somewhere after a state was saved, resumed, and compared with one never killed."""
    tokenizer = pipeline / "runs/rqvae.safetensors"
    arguments = [
        *("train-recommender", "--tokenizer", tokenizer, "--steps", 130, "--batch-size", 2)
    ]  # fmt: skip
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    process = process_of(*arguments, folder=killed)
    state = killed / "runs/recommender-state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    assert not (killed / "runs/recommender.safetensors").exists()  # it was still at work
    succeeds(*arguments, folder=straight)
    succeeds(*arguments, "--resume", folder=killed)
    name = "runs/recommender-state.safetensors"
    assert (killed / name).read_bytes() == (straight / name).read_bytes()


@pytest.mark.usefixtures("no_validation")
@pytest.mark.parametrize("tokenizer", ["random", "pretrained"])
def test_a_decoder_can_be_trained_on_any_tokenizer(tokenizer: str, tmp_path: Path) -> None:
    succeeds("train-recommender", "--steps", 2, "--tokenizer", tokenizer, folder=tmp_path)
    succeeds("recommend", "--history", "1,3114", folder=tmp_path)


@pytest.mark.usefixtures("no_validation")
def test_an_encoder_decoder_can_be_trained_and_recommends(tmp_path: Path) -> None:
    arguments = ["--architecture", "encoder-decoder", "--steps", 2]
    succeeds("train-recommender", *arguments, folder=tmp_path)
    model, _ = load_recommender(tmp_path / "runs/recommender.safetensors")
    assert isinstance(model, EncoderDecoder)
    assert "10  " in succeeds("recommend", "--user", 1, folder=tmp_path)


def test_a_history_of_one_and_an_empty_one_are_served_by_the_shipped_model(tmp_path: Path) -> None:
    assert "Toy Story (1995)" in succeeds("recommend", "--history", "1", folder=tmp_path)
    assert "10  " in succeeds("recommend", "--history", "", folder=tmp_path)


@pytest.mark.usefixtures("no_validation")
def test_a_decoder_can_learn_to_choose_among_valid_codes_only(tmp_path: Path) -> None:
    succeeds("train-recommender", "--valid-only", "--steps", 2, folder=tmp_path)
    model, _ = load_recommender(tmp_path / "runs/recommender.safetensors")
    assert model.config.valid_only


def recommended(*options: object, folder: Path) -> list[tuple[str, str]]:
    """Return the semantic ID and the title of each movie that `recommend` prints."""
    shown = succeeds("recommend", "--user", 1, *options, folder=folder)
    rows = [line.split(maxsplit=3) for line in shown.split("Recommended:")[1].strip().splitlines()]
    return [(row[2], row[3]) for row in rows]


def test_recommend_keeps_to_the_genres_that_are_asked_for(tmp_path: Path) -> None:
    dataset = load_dataset("movielens-small-2016")
    genres = dict(zip(dataset.titles, dataset.items["genres"], strict=True))
    titles = [title for _, title in recommended("--genre", "Western", folder=tmp_path)]
    assert len(titles) == 10
    assert all("Western" in genres[title] for title in titles)
    either = recommended("--genre", "Western", "--genre", "War", "--top", 50, folder=tmp_path)
    kinds = [genres[title].split("|") for _, title in either]
    assert all({"Western", "War"} & set(own) for own in kinds)
    assert any("Western" in own for own in kinds)
    assert any("War" in own for own in kinds)


def test_recommend_can_be_made_to_vary(tmp_path: Path) -> None:
    usual = recommended(folder=tmp_path)
    first_codes = [code.split("-")[0] for code, _ in usual]
    assert len(set(first_codes)) < 10  # else there is nothing to see
    varied = recommended("--max-per-prefix", 1, "--beams", 200, folder=tmp_path)
    assert len({code.split("-")[0] for code, _ in varied}) == len(varied) == 10
    assert recommended("--temperature", 5, folder=tmp_path) != usual


# train-rqvae: each option


class Asked(Exception):
    """Carries what the command asked of `train_rqvae`."""


def asked_of_training(
    *arguments: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, RQVAEConfig, Any, dict[str, Any]]:
    def stop(vectors: torch.Tensor, config: RQVAEConfig, training: Any, **kwargs: Any) -> None:
        raise Asked(vectors, config, training, kwargs)

    monkeypatch.setattr(cli_tokenizer, "train_rqvae", stop)
    with chdir(folder), pytest.raises(Asked) as asked:
        main(["train-rqvae", *map(str, arguments)])
    return asked.value.args


TIGER = RQVAEConfig(384)


@pytest.mark.parametrize(
    ("arguments", "config", "training"),
    [
        ("", {}, {}),
        ("--steps 7", {}, {"num_steps": 7}),
        ("--epochs 0.5", {}, {"num_steps": None, "num_epochs": 0.5}),
        ("--batch-size 9 --learning-rate 0.5", {}, {"batch_size": 9, "learning_rate": 0.5}),
        ("--schedule inverse-sqrt --seed 4", {}, {"schedule": "inverse-sqrt", "seed": 4}),
        ("--levels 2 --codebook-size 16", {"num_levels": 2, "codebook_size": 16}, {}),
        ("--estimator rotation", {"estimator": "rotation"}, {}),
        ("--learning gradient", {"learning": "gradient"}, {}),
        (
            "--estimator gumbel --learning gradient",
            {"estimator": "gumbel", "learning": "gradient"},
            {},
        ),
        ("--patience 3", {}, {"early_stop": EarlyStop("variance_lost", 3, higher_is_better=False)}),
        ("--snapshots 5,1000", {}, {"snapshot_steps": (5, 1000)}),
        (
            "--epochs 1 --snapshots 35",
            {},
            {"num_steps": None, "num_epochs": 1.0, "snapshot_steps": (35,)},
        ),
        ("--precision bfloat16 --compile", {}, {"precision": "bfloat16", "compile": True}),
    ],
)
def test_options_reach_the_training(
    arguments: str,
    config: dict[str, Any],
    training: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, given, settings, others = asked_of_training(
        *arguments.split(), folder=tmp_path, monkeypatch=monkeypatch
    )
    assert torch.equal(vectors, text())
    assert given == replace(TIGER, **config)
    assert settings == replace(RQVAE_TRAINING, **training)
    assert others["start_from"] is None
    assert others["device"] == "cpu"
    assert others["resume"] is False
    assert others["state_path"] == Path("runs/rqvae-state.safetensors")


MANY = shlex.split(
    "--content both --steps 4 --batch-size 64 --levels 2 --codebook-size 32 --estimator gumbel "
    "--learning gradient --schedule linear --precision bfloat16 --snapshots 2,4 --seed 3"
)


@pytest.fixture(scope="module")
def on_both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of texts and histories, trained with many options."""
    folder = tmp_path_factory.mktemp("both")
    said = succeeds("train-rqvae", *MANY, folder=folder)
    _, card = load_rqvae(folder / "runs/rqvae.safetensors")
    metrics = card["metrics"]
    for level in (0, 1):
        used, perplexity = metrics["utilization"][level], metrics["perplexity"][level]
        assert (
            f"Level {level + 1}: {used:.1%} of codewords used, perplexity {perplexity:.0f}" in said
        )
    assert f"{metrics['collision_rate']:.2%} of items share their codes" in said
    assert f"{metrics['variance_lost']:.1%} of the vectors' variance is lost" in said
    return folder


def test_the_command_does_what_the_recipe_does(on_both: Path) -> None:
    snapshots = {}
    model, _ = train_rqvae(
        both(),
        RQVAEConfig(448, num_levels=2, codebook_size=32, estimator="gumbel", learning="gradient"),
        replace(
            RQVAE_TRAINING, num_steps=4, batch_size=64, schedule="linear", precision="bfloat16",
            snapshot_steps=(2, 4), seed=3,
        ),
        autoencoder_steps=3,
        snapshot=lambda step, model: snapshots.update({step: model}),
        progress=False,
    )  # fmt: skip
    names = {path.name for path in (on_both / "runs").iterdir()}
    assert names == {
        *("rqvae.safetensors", "rqvae-state.safetensors"),
        *("rqvae-2.safetensors", "rqvae-4.safetensors"),
    }
    for name, expected, steps in (
        *(("rqvae", model, 4), ("rqvae-2", snapshots[2], 2), ("rqvae-4", model, 4)),
    ):
        written, card = load_rqvae(on_both / f"runs/{name}.safetensors")
        assert_same(written, expected)
        assert written.config == expected.config
        assert card["content"] == "both"
        assert (card["seed"], card["steps"]) == (3, steps)
        assert card["dataset"] == DATASET
        assert card["data"] == opened(DATASET).checksum
        assert card["command"] == " ".join(["rqvae-lib train-rqvae", *MANY])
        assert card["metrics"] == plain(tokenizer_metrics(expected, both()))


def test_ids_are_made_from_the_content_that_the_tokenizer_was_trained_on(on_both: Path) -> None:
    succeeds("inference-rqvae", folder=on_both)
    table = pd.read_csv(on_both / "runs/semantic_ids.csv")
    model, _ = load_rqvae(on_both / "runs/rqvae.safetensors")
    expected = SemanticIDs(model.assign(both()), [32, 32]).ids
    written = table[["code_1", "code_2", "disambiguation"]].to_numpy()
    assert torch.equal(torch.from_numpy(written), expected)


@pytest.fixture(scope="module")
def kmeans_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kmeans")
    succeeds("train-rqvae", "--residual-kmeans", folder=folder)
    assert [path.name for path in (folder / "runs").iterdir()] == ["rqvae.safetensors"]
    return folder / "runs/rqvae.safetensors"


def test_residual_kmeans_is_fitted_and_not_trained(tmp_path: Path) -> None:
    options = ["--residual-kmeans", "--levels", 2, "--codebook-size", 16, "--seed", 2]
    succeeds("train-rqvae", *options, folder=tmp_path)
    model, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    config = RQVAEConfig.residual_kmeans(384, num_levels=2, codebook_size=16)
    assert model.config == config
    assert_same(model, new_rqvae(text(), config, seed=2))
    assert (card["content"], card["seed"], card["steps"]) == ("text", 2, 0)
    assert card["metrics"] == plain(tokenizer_metrics(model, text()))


def test_a_training_starts_from_another_ones_weights(pipeline: Path, tmp_path: Path) -> None:
    start = pipeline / "runs/rqvae.safetensors"
    before = start.read_bytes()
    # 0.06 of an epoch of 35 batches are 2 steps.
    succeeds("train-rqvae", "--start-from", start, "--epochs", 0.06, folder=tmp_path)
    expected, _ = train_rqvae(
        text(),
        training=replace(RQVAE_TRAINING, num_steps=None, num_epochs=0.06),
        start_from=load_rqvae(start)[0],
        progress=False,
    )
    written, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    assert_same(written, expected)
    assert card["steps"] == 2
    assert start.read_bytes() == before


def test_a_training_that_stops_early_says_how_many_steps_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = replace(RQVAE_TRAINING, measure_every=1)
    monkeypatch.setattr(cli_tokenizer, "RQVAE_TRAINING", often)
    arguments = ["--steps", 30, "--patience", 1, "--learning-rate", 0.1, "--codebook-size", 32]
    succeeds("train-rqvae", *arguments, folder=tmp_path)
    state = load_checkpoint(tmp_path / "runs/rqvae-state.safetensors", "training-state")[2]
    assert state["step"] == state["best_step"] + 1 < 30
    _, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    assert card["metrics"]["variance_lost"] == pytest.approx(state["best_value"])
    assert card["steps"] == state["best_step"]


def test_a_tokenizer_of_other_text_embeddings_is_refused(pipeline: Path, tmp_path: Path) -> None:
    dataset = opened(DATASET)
    other, shipped = tmp_path / "other.safetensors", load_embeddings(DATASET)
    save_embeddings(other, shipped.flip(1), dataset.texts, "another encoder")  # of the same width
    tokenizer = pipeline / "runs/rqvae.safetensors"
    for command in ("inference-rqvae --tokenizer", "train-rqvae --start-from"):
        arguments = [*command.split(), tokenizer, "--embeddings", other]
        assert "trained on other text embeddings" in fails(*arguments, folder=tmp_path)
    succeeds("inference-rqvae", "--tokenizer", tokenizer, folder=tmp_path)


def test_compiling_needs_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "--compile needs a C++ compiler" in fails("train-rqvae", "--compile", folder=tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("shutil.which", lambda name: name if name == "mine" else None)
    monkeypatch.setenv("CXX", "mine")
    cli_common.check_compiler()


def test_a_start_from_another_data_set_is_said(pipeline: Path, tmp_path: Path) -> None:
    model, card = load_rqvae(pipeline / "runs/rqvae.safetensors")
    arguments = ["train-rqvae", "--steps", 1, "--start-from", "start.safetensors"]
    for name in (DATASET, "movies of somebody else"):
        save_rqvae(tmp_path / "start.safetensors", model, card | {"dataset": name})
        done = run(*arguments, folder=tmp_path)
        assert done.returncode == 0
        assert ("movies of somebody else" in done.stderr) == (name != DATASET)


def test_a_training_starts_from_the_shipped_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config, _, others = asked_of_training(
        "--start-from", "pretrained", folder=tmp_path, monkeypatch=monkeypatch
    )
    assert config is None
    assert_same(others["start_from"], load_rqvae(DATASET)[0])


def test_a_start_on_other_content_is_refused(on_both: Path, tmp_path: Path) -> None:
    arguments = ["train-rqvae", "--start-from", on_both / "runs/rqvae.safetensors"]
    said = fails(*arguments, folder=tmp_path)
    assert "trained on 'both' vectors, not 'text': pass --content both" in said
    assert not list(tmp_path.iterdir())


def test_a_start_with_another_architecture_is_refused(on_both: Path, tmp_path: Path) -> None:
    """It has 2 levels of 32 codewords: asking for nothing or for just that is right."""
    start = ["--content", "both", "--start-from", on_both / "runs/rqvae.safetensors"]
    same = shlex.split("--levels 2 --codebook-size 32 --estimator gumbel --learning gradient")
    for asked in ([], same, ["--levels", 2]):
        succeeds("train-rqvae", *start, "--steps", 1, *asked, folder=tmp_path)
        assert load_rqvae(tmp_path / "runs/rqvae.safetensors")[0].config.codebook_size == 32
    shutil.rmtree(tmp_path / "runs")
    for option, default, own in (
        *(("levels", 3, 2), ("codebook-size", 256, 32)),
        *(("estimator", "straight-through", "gumbel"), ("learning", "average", "gradient")),
    ):
        said = fails("train-rqvae", *start, f"--{option}", default, folder=tmp_path)
        assert f"--{option} is {default}, but the RQ-VAE to start from, " in said
        assert f"has {own}: leave the option out" in said
        assert not list(tmp_path.iterdir())


def test_a_start_from_residual_kmeans_is_refused(kmeans_file: Path, tmp_path: Path) -> None:
    arguments = ["train-rqvae", "--start-from", kmeans_file, "--steps", 1]
    assert "no weights to train" in fails(*arguments, folder=tmp_path)


# compare-tokenizers


def test_a_comparison_prints_and_writes_the_same_table(
    pipeline: Path, kmeans_file: Path, tmp_path: Path
) -> None:
    said = succeeds(
        "compare-tokenizers", "--seeds", 1, "--steps", 3, "--output", "new/table.csv",
        folder=tmp_path,
    )  # fmt: skip
    with (tmp_path / "new/table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    printed = [line for line in said.splitlines() if line.startswith(("RQ-VAE", "R-KMeans"))]
    files_of = {"RQ-VAE": pipeline / "runs/rqvae.safetensors", "R-KMeans": kmeans_file}
    assert [row["tokenizer"] for row in rows] == list(files_of)
    for row, line in zip(rows, printed, strict=True):
        name, seed, *numbers = line.replace("%", "").split()
        assert (name, seed) == (row["tokenizer"], row["seed"])
        assert seed == "0"
        metrics = load_rqvae(files_of[name])[1]["metrics"]  # of the same seed and steps
        numbered = {
            **{column: metrics[column] for column in ("collision_rate", "variance_lost")},
            **{f"used_{i}": share for i, share in enumerate(metrics["utilization"], 1)},
            **{f"perplexity_{i}": value for i, value in enumerate(metrics["perplexity"], 1)},
        }
        assert list(row) == ["tokenizer", "seed", *numbered]
        for column, expected in numbered.items():
            assert float(row[column]) == pytest.approx(expected, rel=1e-3)
        expected = [
            *(f"{100 * share:.1f}" for share in metrics["utilization"]),
            *(f"{number:.0f}" for number in metrics["perplexity"]),
            f"{100 * metrics['collision_rate']:.2f}",
            f"{100 * metrics['variance_lost']:.1f}",
        ]
        assert numbers == expected


def test_a_comparison_trains_each_seed_on_the_content_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = torch.randn(800, 16, generator=torch.Generator().manual_seed(0))
    asked = []
    monkeypatch.setattr(
        cli_tokenizer, "item_vectors", lambda _, content, *__: asked.append(content) or vectors
    )
    said = succeeds(
        "compare-tokenizers", "--seeds", 3, "--steps", 2, "--content", "both", folder=tmp_path
    )
    assert asked == ["both"]
    rows = [line.split() for line in said.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        [name, str(seed)] for seed in range(3) for name in ("RQ-VAE", "R-KMeans")
    ]
    for row in rows:
        if row[0] == "RQ-VAE":
            training = replace(RQVAE_TRAINING, num_steps=2, seed=int(row[1]))
            model, _ = train_rqvae(vectors, None, training, autoencoder_steps=3, progress=False)
        else:
            model = new_rqvae(vectors, RQVAEConfig.residual_kmeans(16), seed=int(row[1]))
        metrics = tokenizer_metrics(model, vectors)
        assert row[5:8] == [f"{number:.0f}" for number in metrics.perplexity]
        assert row[8:] == [f"{metrics.collision_rate:.2%}", f"{metrics.variance_lost:.1%}"]
    for name in ("RQ-VAE", "R-KMeans"):
        assert len({tuple(row[2:]) for row in rows if row[0] == name}) == 3
    assert not list(tmp_path.iterdir())


# What is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recommend"], "--user"),
        (["recommend", "--user", 1, "--history", "1"], "not both"),
        (["recommend", "--user", 1, "--dataset", "nowhere", "--interactions", "file"], "not both"),
        (["train-rqvae", "--dataset", DATASET, "--interactions", "file"], "not both"),
        (["recommend", "--user", 672], "user 672"),
        (["recommend", "--history", "1,999999999"], "999999999"),
        (["recommend", "--history", "Toy Story"], "Toy Story"),
        (["recommend", "--history", "9" * 20], "9" * 20),
        (["recommend", "--user", 1, "--device", "meta"], "meta"),
        (["recommend", "--user", 1, "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["recommend", "--user", 1, "--model", "."], "."),
        (["recommend", "--user", 1, "--device", "abacus"], "abacus"),
        (["recommend", "--user", 1, "--genre", "Westerns"], "Western"),
        (["recommend", "--user", 1, "--temperature", 0], "temperature is 0"),
        (["train-recommender", "--tokenizer", "nowhere"], "nowhere"),
        (["train-rqvae", "--codebook-size", 10000], "10000"),
        (["train-rqvae", "--residual-kmeans", "--codebook-size", 10000], "10000"),
        (["train-rqvae", "--residual-kmeans", "--resume"], "nothing to start from, resume"),
        (["train-rqvae", "--residual-kmeans", "--start-from", "file"], "nothing to start from"),
        (["train-rqvae", "--residual-kmeans", "--snapshots", 5], "nothing to start from"),
        (["train-rqvae", "--resume"], "rqvae-state.safetensors"),
        (["train-rqvae", "--learning-rate", 1e30, "--steps", 60], "loss"),
        (["train-rqvae", "--steps", 3, "--epochs", 2], "--steps or --epochs (not both)"),
        (["train-rqvae", "--epochs", 0], "num_epochs is 0"),
        (["train-rqvae", "--epochs", "inf"], "num_epochs is inf"),
        (["train-rqvae", "--snapshots", "5,ten"], "--snapshots is '5,ten'"),
        (["train-rqvae", "--snapshots", "0.5"], "--snapshots is '0.5'"),
        (["train-rqvae", "--snapshots", 0], "each must be at least 1"),
        (["train-rqvae", "--snapshots", 5, "--steps", 4], "but the training has 4 steps"),
        (["train-rqvae", "--snapshots", 36, "--epochs", 1], "but the training has 35 steps"),
        (["train-rqvae", "--steps", 3, "--epochs", 0], "--steps or --epochs (not both)"),
        (["compare-tokenizers", "--output", "table.parquet"], "name a .csv file"),
        (["train-rqvae", "--estimator", "gumbel"], "choose learning='gradient'"),
        (["train-rqvae", "--start-from", "nowhere"], "nowhere"),
        (["train-rqvae", "--start-from", "file"], "file is not a checkpoint"),
        (["train-rqvae", "--device", "abacus"], "abacus"),
        (["train-rqvae", "--output", "file/folder"], "file"),
        (["compare-tokenizers", "--output", "folder.csv"], "folder.csv"),
        (["compare-tokenizers", "--output", "file/table.csv"], "file"),
        (["compare-tokenizers", "--device", "abacus"], "abacus"),
        (["train-recommender", "--device", "abacus"], "abacus"),
        (["inference-rqvae", "--device", "abacus"], "abacus"),
        (["inference-rqvae", "--output", "new/ids.xlsx"], ".xlsx"),
        (["inference-rqvae", "--output", "ids.xlsx"], ".xlsx"),
        (["inference-rqvae", "--output", "file/ids.csv"], "file"),
        (["inference-rqvae", "--output", "folder.csv"], "folder"),
    ],
)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(
    arguments: list[object], says: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.csv").mkdir()
    assert says in fails(*arguments, folder=tmp_path)
    left = {path.name for path in tmp_path.rglob("*")}
    assert left == {"file", "folder.csv"}  # not even an empty folder


@pytest.mark.parametrize("command", ["train-recommender --tokenizer pretrained", "train-sasrec"])
def test_more_memory_than_there_is_gets_one_sentence(command: str, tmp_path: Path) -> None:
    asked = (*command.split(), "--max-items", 9_000_000_000_000)
    assert "not enough memory" in fails(*asked, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_at_work_gets_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli_inference, "load_dataset", run_out)
    assert "not enough memory" in fails("inference-rqvae", folder=tmp_path)


def test_a_fault_of_the_library_is_not_passed_off_as_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(cli_inference, "load_dataset", break_down)
    with chdir(tmp_path), pytest.raises(RuntimeError, match="shapes do not fit"):
        main(["inference-rqvae"])


@pytest.mark.parametrize(
    "arguments",
    [
        "train-rqvae --output file/folder",
        "train-rqvae --residual-kmeans --output file/folder",
        "train-recommender --output file/folder",
        "compare-tokenizers --output file/table.csv",
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    for module in (cli_tokenizer, cli_inference, cli_training):  # nothing is even read
        monkeypatch.setattr(module, "load_dataset", lambda *_: pytest.fail("it went to work"))
    said = fails(*arguments.split(), folder=tmp_path)
    assert "cannot write file/" in said


@pytest.mark.parametrize(
    "arguments",
    [
        "train-rqvae --steps 0",
        "train-rqvae --epochs -1",
        "train-rqvae --epochs nan",
        "train-rqvae --learning-rate nan",
        "train-rqvae --seed 100000000000000000000",
        "train-rqvae --content images",
        "train-rqvae --schedule fast",
        "train-rqvae --estimator magic",
        "train-rqvae --learning slowly",
        "train-rqvae --precision float16",
        "train-rqvae --patience 0",
        "compare-tokenizers --seeds 0",
        "recommend --user me",
        "recommend --user 1 --max-per-prefix 0",
        "fly",
    ],
)
def test_wrong_options_end_in_exit_code_2(arguments: str, tmp_path: Path) -> None:
    done = run(*arguments.split(), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr
    assert not list(tmp_path.iterdir())


def test_a_mistake_in_a_process_of_its_own_is_one_line(tmp_path: Path) -> None:
    process = process_of("recommend", "--user", 672, folder=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 2
    assert out == ""
    assert err.startswith("rqvae-lib: ")
    assert err.count("\n") == 1


def test_a_checkpoint_of_another_kind_or_shape_is_refused(pipeline: Path, tmp_path: Path) -> None:
    rqvae = pipeline / "runs/rqvae.safetensors"
    assert "decoder-only" in fails("recommend", "--user", 1, "--model", rqvae, folder=tmp_path)
    bent = tmp_path / "bent.safetensors"
    save_checkpoint(bent, "rqvae", {"mean": torch.zeros(3)}, {"input_dim": 384}, {})
    assert "bent.safetensors" in fails("inference-rqvae", "--tokenizer", bent, folder=tmp_path)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(rqvae.read_bytes()[:-100])
    assert "cut.safetensors" in fails("inference-rqvae", "--tokenizer", cut, folder=tmp_path)


def test_a_model_of_other_data_is_refused(pipeline: Path, tmp_path: Path) -> None:
    model, card = load_rqvae(pipeline / "runs/rqvae.safetensors")
    arguments = ["inference-rqvae", "--tokenizer", "other.safetensors"]
    for other, says in (
        (card | {"items": "of somebody else"}, "for other items (of somebody else)"),
        (card | {"data": "of somebody else", "content": "both"}, "other data (of somebody else)"),
        ({"content": "text", "data": "of somebody else"}, "other data (of somebody else)"),
    ):
        save_rqvae(tmp_path / "other.safetensors", model, other)
        assert says in fails(*arguments, folder=tmp_path)


@pytest.mark.parametrize(
    ("option", "missing"),
    [
        ("inference-rqvae --tokenizer", "content"),
        ("train-rqvae --start-from", "content"),
        ("train-rqvae --start-from", "dataset"),
    ],
)
def test_a_tokenizer_that_does_not_name_what_it_was_trained_on_is_refused(
    pipeline: Path, tmp_path: Path, option: str, missing: str
) -> None:
    model, card = load_rqvae(pipeline / "runs/rqvae.safetensors")
    del card[missing]
    save_rqvae(tmp_path / "mute.safetensors", model, card)
    said = fails(*option.split(), "mute.safetensors", folder=tmp_path)
    assert f"mute.safetensors does not say its '{missing}'" in said


def test_a_training_on_another_catalogue_is_not_resumed(copied: Path) -> None:
    arguments = ["train-recommender", "--steps", 5, "--resume", "--tokenizer", "random"]
    assert "ids was" in fails(*arguments, folder=copied)


def test_a_training_with_other_options_is_not_resumed(copied: Path) -> None:
    for arguments, says in (
        (["--steps", 4], "num_steps was 3; now num_steps=4"),
        (["--steps", 3, "--schedule", "linear"], "schedule was cosine; now schedule=linear"),
        (["--steps", 3, "--estimator", "rotation"], "model was"),
    ):
        assert says in fails("train-rqvae", "--resume", *arguments, folder=copied)


@contextmanager
def files_limited_to(limit: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "arguments",
    [
        "inference-rqvae",
        "inference-rqvae --output runs/semantic_ids.parquet",
        "train-recommender --steps 5 --seed 3",
        "train-rqvae --residual-kmeans --codebook-size 64",
        "train-rqvae --steps 1",
    ],
)
def test_a_full_disk_leaves_the_old_files_whole(arguments: str, copied: Path) -> None:
    (copied / "runs/semantic_ids.parquet").write_bytes(b"an old table")
    before = {path.name: path.read_bytes() for path in (copied / "runs").iterdir()}
    with files_limited_to(100_000):
        said = fails(*arguments.split(), folder=copied)
    assert re.match(r"rqvae-lib: runs/[a-z_-]+\.\w+ could not be written \(.+\): make room", said)
    assert {path.name: path.read_bytes() for path in (copied / "runs").iterdir()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        *("train-rqvae", "train-rqvae --residual-kmeans", "train-recommender", "inference-rqvae"),
        "compare-tokenizers --output runs/table.csv",
        "evaluate --output runs/table.csv",
    ],
)
def test_a_folder_in_use_is_refused_before_the_work(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (cli_tokenizer, cli_inference, cli_training, cli_evaluate):
        monkeypatch.setattr(module, "load_dataset", lambda *_: pytest.fail("it went to work"))
    with only_process_in(tmp_path / "runs"):
        said = fails(*arguments.split(), folder=tmp_path)
    assert f"runs is in use by process {os.getpid()} on " in said
    assert "wait until it has ended, or choose another folder" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        "inference-rqvae --tokenizer pretrained",
        "inference-rqvae --tokenizer random",
        "train-recommender --steps 1 --tokenizer pretrained",
        "train-rqvae --steps 1 --codebook-size 16",
        "compare-tokenizers --steps 1 --seeds 1",
        "recommend --user 1 --model pretrained",
    ],
)
def test_every_command_computes_on_the_device_asked_for(
    arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here "cpu:0" stands for a device of another name: what is moved is moved there."""
    moved, validated = [], []
    to = nn.Module.to
    monkeypatch.setattr(
        nn.Module, "to", lambda model, device: moved.append(device) or to(model, device)
    )
    monkeypatch.setattr(cli_training, "validate", lambda *given: validated.append(given[3]) or {})
    succeeds(*arguments.split(), "--device", "cpu:0", folder=tmp_path)
    assert "cpu:0" in moved
    assert set(validated) <= {"cpu:0"}
    assert bool(validated) == ("train-recommender" in arguments)


def test_the_wheel_carries_its_data(tmp_path: Path) -> None:
    """Built, unpacked elsewhere, and run from a folder that holds nothing."""
    project = files("rqvae_lib").parent
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project / name, source)
    shutil.copytree(project / "rqvae_lib", source / "rqvae_lib")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, source]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".pyc")]
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    unpacked = str(tmp_path / "unpacked")
    process = process_of("recommend", "--user", 1, folder=elsewhere, PYTHONPATH=unpacked)
    shown, err = process.communicate()
    assert "Recommended:" in shown, err
    where = subprocess.run(
        [sys.executable, "-c", "import rqvae_lib; print(rqvae_lib.__file__)"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": unpacked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert unpacked in where.stdout
