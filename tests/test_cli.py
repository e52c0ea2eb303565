"""The command line, as a user meets it: in a process of its own, in an empty folder."""

import csv
import os
import resource
import shutil
import subprocess
import sys
import time
import zipfile
from importlib.resources import files

import pytest
import torch

from rqvae_lib.checkpoints import load_rqvae, save_checkpoint, save_rqvae

COMMAND = "from rqvae_lib.cli import main; main()"


def run(*arguments, folder, limit_bytes=None, python_path=None):
    environment = os.environ | ({"PYTHONPATH": str(python_path)} if python_path else {})

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=limit if limit_bytes else None,
    )


def succeeds(*arguments, folder, **options):
    done = run(*arguments, folder=folder, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments, folder, **options):
    """Assert exit code 2 and one sentence; return the sentence."""
    done = run(*arguments, folder=folder, **options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("rqvae-lib: ")]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the whole pipeline ran, with a few steps a training."""
    folder = tmp_path_factory.mktemp("pipeline")
    succeeds("train-rqvae", "--steps", 30, folder=folder)
    succeeds("inference-rqvae", folder=folder)
    succeeds("train-decoder", "--steps", 5, folder=folder)
    return folder


def test_the_commands_work_one_after_another(trained):
    shown = succeeds("recommend", "--user", 1, folder=trained)
    places = [line.split() for line in shown.split("Recommended:\n")[1].splitlines()]
    assert [int(place[0]) for place in places] == list(range(1, 11))
    assert all("(" in " ".join(place[3:]) for place in places)  # titles with their years
    assert len({place[2] for place in places}) == 10  # ten different IDs


def test_the_table_has_one_unique_id_an_item(trained):
    with (trained / "runs/semantic_ids.csv").open(newline="", encoding="utf-8") as file:
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


def test_one_seed_gives_the_same_table_byte_for_byte(trained, tmp_path):
    succeeds("train-rqvae", "--steps", 30, folder=tmp_path)
    succeeds("inference-rqvae", folder=tmp_path)
    for name in ("rqvae.safetensors", "semantic_ids.csv"):
        assert (tmp_path / "runs" / name).read_bytes() == (trained / "runs" / name).read_bytes()
    succeeds("train-rqvae", "--steps", 30, "--seed", 1, folder=tmp_path)
    succeeds("inference-rqvae", folder=tmp_path)
    name = "semantic_ids.csv"
    assert (tmp_path / "runs" / name).read_bytes() != (trained / "runs" / name).read_bytes()


def test_a_finished_training_resumes_to_itself(trained, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    before = (tmp_path / "runs/decoder.safetensors").read_bytes()
    succeeds("train-decoder", "--steps", 5, "--resume", folder=tmp_path)
    after = (tmp_path / "runs/decoder.safetensors").read_bytes()
    header = int.from_bytes(before[:8], "little")  # the card, which names the command, differs
    tail = -(len(before) - 8 - header)
    assert after[tail:] == before[tail:]


def test_an_interrupted_training_ends_at_the_same_weights(tmp_path):
    """Killed somewhere after a state was saved, resumed, and compared with one never killed."""
    arguments = ["train-decoder", "--steps", "130", "--batch-size", "2"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    straight.mkdir()
    killed.mkdir()
    succeeds(*arguments, folder=straight)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], cwd=killed, stderr=subprocess.DEVNULL
    )
    state = killed / "runs/decoder-state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (killed / "runs/decoder.safetensors").exists()  # it was still at work
    succeeds(*arguments, "--resume", folder=killed)
    name = "runs/decoder-state.safetensors"
    assert (killed / name).read_bytes() == (straight / name).read_bytes()


@pytest.mark.parametrize("tokenizer", ["random", "pretrained"])
def test_a_decoder_can_be_trained_on_any_tokenizer(tokenizer, tmp_path):
    succeeds("train-decoder", "--steps", 2, "--tokenizer", tokenizer, folder=tmp_path)
    succeeds("recommend", "--history", "1,3114", folder=tmp_path)


def test_a_history_of_one_and_an_empty_one_are_served_by_the_shipped_model(tmp_path):
    assert "Toy Story (1995)" in succeeds("recommend", "--history", "1", folder=tmp_path)
    assert "10  " in succeeds("recommend", "--history", "", folder=tmp_path)


def test_parquet_holds_what_csv_holds(trained):
    import pandas as pd

    succeeds("inference-rqvae", "--output", "ids.parquet", folder=trained)
    table = pd.read_csv(trained / "runs/semantic_ids.csv")
    pd.testing.assert_frame_equal(
        pd.read_parquet(trained / "ids.parquet"), table, check_dtype=False
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recommend"], "--user"),
        (["recommend", "--user", 1, "--history", "1"], "not both"),
        (["recommend", "--user", 672], "user 672"),
        (["recommend", "--history", "1,999999999"], "999999999"),
        (["recommend", "--history", "Toy Story"], "Toy Story"),
        (["recommend", "--history", "9" * 20], "64 bits"),
        (["recommend", "--user", 1, "--device", "meta"], "meta"),
        (["inference-rqvae", "--output", "new/ids.xlsx"], ".xlsx"),
        (["recommend", "--user", 1, "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["recommend", "--user", 1, "--model", "."], "."),
        (["recommend", "--user", 1, "--device", "abacus"], "abacus"),
        (["train-decoder", "--tokenizer", "nowhere"], "nowhere"),
        (["train-rqvae", "--codebook-size", 10000], "10000"),
        (["train-rqvae", "--resume"], "rqvae-state.safetensors"),
        (["train-rqvae", "--learning-rate", 1e30, "--steps", 60], "loss"),
        (["inference-rqvae", "--output", "ids.xlsx"], ".xlsx"),
        (["train-rqvae", "--output", "file/folder"], "file"),
        (["inference-rqvae", "--output", "file/ids.csv"], "file"),
        (["inference-rqvae", "--output", "folder.csv"], "folder"),
    ],
)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(arguments, says, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.csv").mkdir()
    assert says in fails(*arguments, folder=tmp_path)
    left = {path.name for path in tmp_path.rglob("*")}
    assert left == {"file", "folder.csv"}  # not even an empty folder


def test_wrong_options_end_in_exit_code_2(tmp_path):
    for arguments in (
        ["train-rqvae", "--steps", 0],
        ["train-rqvae", "--learning-rate", "nan"],
        ["train-rqvae", "--seed", 10**20],
        ["recommend", "--user", "me"],
        ["fly"],
    ):
        done = run(*arguments, folder=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_checkpoint_of_another_kind_or_shape_is_refused(trained, tmp_path):
    rqvae = trained / "runs/rqvae.safetensors"
    assert "decoder-only" in fails("recommend", "--user", 1, "--model", rqvae, folder=tmp_path)
    bent = tmp_path / "bent.safetensors"
    save_checkpoint(bent, "rqvae", {"mean": torch.zeros(3)}, {"input_dim": 384}, {})
    assert "bent.safetensors" in fails("inference-rqvae", "--tokenizer", bent, folder=tmp_path)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(rqvae.read_bytes()[:-100])
    assert "cut.safetensors" in fails("inference-rqvae", "--tokenizer", cut, folder=tmp_path)


def test_a_model_of_other_data_is_refused(trained, tmp_path):
    model, card = load_rqvae(trained / "runs/rqvae.safetensors")
    save_rqvae(tmp_path / "other.safetensors", model, card | {"data": "of somebody else"})
    arguments = ["inference-rqvae", "--tokenizer", "other.safetensors"]
    assert "somebody else" in fails(*arguments, folder=tmp_path)


def test_a_training_on_another_catalogue_is_not_resumed(trained, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    arguments = ["train-decoder", "--steps", 5, "--resume", "--tokenizer", "random"]
    assert "ids was" in fails(*arguments, folder=tmp_path)


def test_a_full_disk_leaves_the_old_file_whole(trained, tmp_path):
    shutil.copytree(trained / "runs", tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()}
    fails("inference-rqvae", folder=tmp_path, limit_bytes=100_000)
    fails("train-decoder", "--steps", 5, "--seed", 3, folder=tmp_path, limit_bytes=100_000)
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs").iterdir()} == before


def test_the_wheel_carries_its_data(tmp_path):
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
    shown = succeeds("recommend", "--user", 1, folder=elsewhere, python_path=tmp_path / "unpacked")
    assert "Recommended:" in shown
    where = subprocess.run(
        [sys.executable, "-c", "import rqvae_lib; print(rqvae_lib.__file__)"],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "unpacked")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path / "unpacked") in where.stdout
