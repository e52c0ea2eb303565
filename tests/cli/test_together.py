"""Commands that two processes run together write what one process writes."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from rqvae_lib.checkpoints.models import load_rqvae
from tests.cli.running import process_of, succeeds
from tests.helpers import ROOT

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SECONDS = 300.0  # that anything here may take on a very busy machine


def by_two(*arguments: object, folder: Path) -> str:
    """Run a command in two processes, and return what they say on stdout."""
    done = subprocess.run(
        [*TORCHRUN, "-m", "rqvae_lib", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_one(*arguments: object, folder: Path) -> str:
    process = process_of(*arguments, folder=folder)
    said, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    return said


def test_a_tokenizer_that_two_processes_train(shop: Path, tmp_path: Path) -> None:
    train = (
        *("train-rqvae", "--dataset", shop, "--embeddings", shop / "vectors.safetensors"),
        *("--codebook-size", 8, "--steps", 12, "--batch-size", 30, "--snapshots", 5),
    )
    said, files = {}, {}
    for name, how in (("one", by_one), ("two", by_two)):
        (tmp_path / name).mkdir()
        said[name] = how(*train, folder=tmp_path / name)
        files[name] = sorted(path.name for path in (tmp_path / name / "runs").iterdir())
    assert said["two"] == said["one"]  # once, and the same digits
    assert said["two"].endswith("Wrote runs/rqvae.safetensors.\n")
    assert files["two"] == files["one"]
    assert "rqvae-5.safetensors" in files["two"]
    for name in ("rqvae.safetensors", "rqvae-5.safetensors"):
        (one, card), (two, other) = (load_rqvae(tmp_path / n / "runs" / name) for n in said)
        for key, value in one.state_dict().items():
            torch.testing.assert_close(two.state_dict()[key], value, rtol=1e-3, atol=1e-4)
        assert other | {"metrics": {}} == card | {"metrics": {}}


def test_an_evaluation_by_two_processes_writes_the_same_table(shop: Path, tmp_path: Path) -> None:
    data = ("--dataset", shop, "--split", "timestamp")
    train = ("train-sasrec", "--steps", 4, "--batch-size", 4, "--max-items", 10)
    succeeds(*train, *data, folder=tmp_path)
    mixed = ("--mix", "near-pairs")
    evaluate = ("evaluate", "runs/sasrec.safetensors", *data, *mixed, "--output")
    said = by_one(*evaluate, "one.csv", folder=tmp_path)
    assert by_two(*evaluate, "two.csv", folder=tmp_path).replace("two", "one") == said
    table = (tmp_path / "one.csv").read_bytes()
    assert (tmp_path / "two.csv").read_bytes() == table
    assert table.count(b"\n") > 5 * 15  # of three baselines, the model and the mixture
