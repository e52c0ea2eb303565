"""What a command refuses: one sentence, exit code 2, and nothing left behind.

What it refuses before it opens the data is in test_conflicts.py, with the same three demands.
"""

import os
import re
import resource
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
import torch

from rqvae_lib.cli.main import main
from rqvae_lib.io.locks import only_process_in
from rqvae_lib.io.tensor_files import save_checkpoint
from tests.cli.running import DATASET, change_card, fails, process_of, run


def went_to_work(*_: object, **__: object) -> None:
    pytest.fail("it went to work")


registry = import_module("rqvae_lib.datasets.registry")

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["recommend", "--user", 1, "--dataset", "nowhere", "--interactions", "file"], "not both"),
        (["train-rqvae", "--dataset", DATASET, "--interactions", "file"], "not both"),
        (["recommend", "--user", 672], "user 672"),
        (["recommend", "--history", "1,999999999"], "999999999"),
        (["recommend", "--history", "Toy Story"], "Toy Story"),
        (["recommend", "--history", "9" * 20], "9" * 20),
        (["recommend", "--user", 1, "--device", "meta"], "meta"),
        (["recommend", "--user", 1, "--model", "nowhere.safetensors"], "nowhere.safetensors"),
        (["recommend", "--user", 1, "--model", "."], ". is neither a file nor a shipped"),
        (["recommend", "--user", 1, "--genre", "Westerns"], "Western"),
        (["train-rqvae", "--codebook-size", 10000], "10000"),
        (["train-rqvae", "--residual-kmeans", "--codebook-size", 10000], "10000"),
        (
            ["train-rqvae", "--residual-kmeans", "--start-from", "file", "--steps", 9],
            "--start-from and --steps would change nothing",
        ),
        (["train-rqvae", "--residual-kmeans", "--snapshots", 5], "--snapshots would change"),
        (["train-rqvae", "--learning-rate", 1e30, "--steps", 60], "loss"),
        (["train-rqvae", "--snapshots", "0.5"], "--snapshots is '0.5'"),
        (["train-rqvae", "--snapshots", 5, "--steps", 4], "but the training has 4 steps"),
        (["train-rqvae", "--snapshots", 36, "--epochs", 1], "but the training has 35 steps"),
        (["train-rqvae", "--steps", 3, "--epochs", 1], "--steps or --epochs, not both"),
        (["train-rqvae", "--start-from", "file"], "file is not a checkpoint"),
        (["train-rqvae", "--output", "file/folder"], "file"),
        (["compare-tokenizers", "--output", "file/table.csv"], "file"),
        (["inference-rqvae", "--output", "new/ids.xlsx"], ".xlsx"),
        (["inference-rqvae", "--output", "file/ids.csv"], "file"),
    ],
)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(
    arguments: list[object], says: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert says in fails(*arguments, folder=tmp_path)
    left = [path.name for path in tmp_path.rglob("*")]
    assert left == ["file"]  # not even an empty folder


@pytest.mark.parametrize("command", ["train-recommender --tokenizer pretrained", "train-sasrec"])
def test_more_memory_than_there_is_gets_one_sentence(command: str, tmp_path: Path) -> None:
    asked = (*command.split(), "--max-items", 2_000_000_000)
    assert "not enough memory" in fails(*asked, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_at_work_gets_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(registry, "load_dataset", run_out)
    assert "not enough memory" in fails("inference-rqvae", folder=tmp_path)


def test_a_fault_of_the_library_is_not_passed_off_as_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(registry, "load_dataset", break_down)
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
    monkeypatch.setattr(registry, "load_dataset", went_to_work)  # nothing is even read
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
    said, mistake = err.splitlines()
    assert said == "No recommender.safetensors in runs: taking the shipped one (--model)."
    assert mistake.startswith("rqvae-lib: ")


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
    tokenizer, other = pipeline / "runs/rqvae.safetensors", tmp_path / "other.safetensors"
    collaborative = {"content": "both", "split": "leave-one-out"}
    for without, changes, says in (
        ((), {"items": "of somebody else"}, "for other items (of somebody else)"),
        ((), {"data": "of somebody else", **collaborative}, "other data (of somebody else)"),
        (("items",), {"data": "of somebody else"}, "other data (of somebody else)"),
    ):
        change_card(tokenizer, other, *without, **changes)
        assert says in fails("inference-rqvae", "--tokenizer", other, folder=tmp_path)


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
    change_card(pipeline / "runs/rqvae.safetensors", tmp_path / "mute.safetensors", missing)
    said = fails(*option.split(), "mute.safetensors", folder=tmp_path)
    assert f"mute.safetensors has no '{missing}' on its card" in said


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
    old = pd.read_csv(copied / "runs/semantic_ids.csv")
    old.head().to_parquet(copied / "runs/semantic_ids.parquet")
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
    monkeypatch.setattr(registry, "load_dataset", went_to_work)
    with only_process_in(tmp_path / "runs"):
        said = fails(*arguments.split(), folder=tmp_path)
    assert f"runs is in use by process {os.getpid()} on " in said
    assert "wait until it has ended, or choose another folder" in said
    assert not list(tmp_path.iterdir())
