"""The whole pipeline, command by command, as a user meets it in an empty folder."""

import csv
import os
import shutil
import subprocess
import sys
import time
import zipfile
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from torch import nn

from rqvae_lib.checkpoints.models import load_recommender, load_rqvae
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.semantic_ids.files import read_ids
from tests.cli.running import process_of, run, succeeds

validation = import_module("rqvae_lib.evaluation.validation")

pytestmark = pytest.mark.usefixtures("quick")


def test_the_commands_work_one_after_another(pipeline: Path) -> None:
    shown = succeeds("recommend", "--user", 1, folder=pipeline)
    places = [line.split() for line in shown.split("Recommended:\n")[1].splitlines()]
    assert [int(place[0]) for place in places] == list(range(1, 11))
    assert all("(" in " ".join(place[3:]) for place in places)  # titles with their years
    assert len({place[2] for place in places}) == 10  # ten different IDs


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
    expected = model.tokenize(item_vectors(dataset).tensor)
    own = dataset.items["item_id"].to_numpy()
    back = read_ids(pipeline / "runs/semantic_ids.csv", model.sizes, own)
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
    names = ("rqvae-state", "recommender-state", "rqvae", "recommender")
    paths = {name: copied / f"runs/{name}.safetensors" for name in names}
    before = {name: path.read_bytes() for name, path in paths.items()}
    paths["rqvae"].unlink()
    paths["recommender"].unlink()
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


def test_fewer_items_than_were_asked_for_are_said_to_be_fewer(tmp_path: Path) -> None:
    asked = ("recommend", "--user", 1, "--genre", "IMAX", "--top")
    done = run(*asked, 200, folder=tmp_path)
    found = done.stdout.split("Recommended:\n")[1].splitlines()
    assert len(found) < 200
    assert f"Only {len(found)} of 200: no others are left." in done.stderr
    done = run(*asked, 12, "--max-per-prefix", 1, "--beams", 13, folder=tmp_path)
    found = done.stdout.split("Recommended:\n")[1].splitlines()
    assert len(found) < 12
    assert f"Only {len(found)} of 12: more --beams may find others." in done.stderr
    assert "Only" not in run(*asked, 10, folder=tmp_path).stderr


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
    monkeypatch.setattr(validation, "validate", lambda *given: validated.append(given[2]) or {})
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
