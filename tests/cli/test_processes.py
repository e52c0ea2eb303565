"""Commands under `torchrun`: the same files as without it, and one process that talks."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.cli import processes
from rqvae_lib.cli.processes import HERE_ALONE, number_of_processes, own_number
from tests.cli.running import Done, fails, succeeds
from tests.helpers import ROOT

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
TRAIN = (
    *("train-recommender", "--tokenizer", "pretrained", "--architecture", "rq-transformer"),
    *("--steps", "12", "--batch-size", "5", "--max-items", "6"),
)


def torchrun(arguments: Sequence[str], folder: Path) -> Done:
    done = subprocess.run(
        [*TORCHRUN, "-m", "rqvae_lib", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.usefixtures("no_validation", "quick")
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    done = torchrun([*TRAIN, "--output", "two"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Wrote two/recommender.safetensors.") == 1
    assert done.stderr.count("Using pretrained.") == 1
    assert done.stderr.count("12 of 12 steps (100%)") == 1
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "recommender-state.safetensors",
        "recommender.safetensors",
    ]
    succeeds(*TRAIN, "--output", "one", folder=tmp_path)
    (two, said), (one, _) = (
        load_recommender(tmp_path / name / "recommender.safetensors") for name in ("two", "one")
    )
    assert said["command"].startswith("rqvae-lib train-recommender")
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], weight, atol=1e-4, rtol=1e-3, msg=name)
    # One process goes on with what two have saved, which is finished.
    succeeds(*TRAIN, "--output", "two", "--resume", folder=tmp_path)


def test_what_cannot_work_is_said_once(tmp_path: Path) -> None:
    done = torchrun(["train-sasrec", "--dataset", "nowhere"], tmp_path)
    assert done.returncode == 1  # torchrun's own
    said = [line for line in done.stderr.splitlines() if line.startswith("rqvae-lib: ")]
    assert len(said) == 1
    assert "there is no dataset named 'nowhere'" in said[0]
    assert done.stderr.count("exitcode  : 2 ") == 2
    assert not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there may be a GPU for each process")
def test_what_keeps_processes_from_joining_is_said_once(tmp_path: Path) -> None:
    done = torchrun(["train-sasrec", "--device", "cuda"], tmp_path)
    said = [line for line in done.stderr.splitlines() if line.startswith("rqvae-lib: ")]
    assert len(said) == 1
    assert "there are 2 processes and 0 GPUs" in said[0]
    assert HERE_ALONE not in done.stderr


def test_what_works_in_one_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    said = fails("recommend", "--user", "1", folder=tmp_path)
    assert said == (
        "rqvae-lib: recommend works in one process, but torchrun has started 2: start it without "
        "torchrun, as rqvae-lib recommend"
    )


def test_other_processes_are_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process leaves it to the first to say what both were told wrong."""
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        raise SystemExit(code)

    for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    from rqvae_lib.cli import main as main_module

    monkeypatch.setattr(processes, "end_after_the_first", end)
    monkeypatch.setattr(main_module, "end_after_the_first", end)
    for wrong in (["recommend", "--user", "1"], ["train-sasrec", "--steps", "0"], ["nothing"]):
        with pytest.raises(SystemExit) as stopped:
            main_module.main(wrong)
        assert stopped.value.code == 2
    assert codes == [2, 2, 2]
    captured = capsys.readouterr()
    assert not captured.out + captured.err


def test_one_process_needs_nothing_of_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the environment that other programs use too starts no search for others."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert (number_of_processes(), own_number()) == (1, 0)
    with processes.joined_for("recommend", None, {}):
        pass
