"""One of several processes is killed: the other says so and ends, and the training can go on."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.models.configs import SASRecConfig
from rqvae_lib.training.config import RECOMMENDER_TRAINING
from rqvae_lib.training.recipes import train_sasrec
from rqvae_lib.training.state import read_training
from tests.helpers import ROOT
from tests.worlds import in_world

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
# A state is saved after each 100 steps, and there is time to kill before the others are done.
TRAIN = ["train-sasrec", "--steps", "400", "--batch-size", "3", "--max-items", "6"]
SECONDS = 300.0  # that anything here may take on a very busy machine


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, "-m", "rqvae_lib", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def process_of_rank(rank: int, agent: int) -> int:
    """Return the process that `torchrun` started with this rank."""
    for child in Path(f"/proc/{agent}/task/{agent}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise AssertionError(f"there is no process of rank {rank}")


def resumed_and_whole(state: str) -> dict[str, object]:
    """Go on with a training of `TRAIN`, and do another one without an interruption."""
    training = replace(RECOMMENDER_TRAINING, num_steps=400, batch_size=3)
    config = SASRecConfig(num_items=9066, max_items=6)
    histories = leave_one_out(load_dataset()).train
    resumed, _ = train_sasrec(
        histories, config, training, state_path=state, resume=True, progress=False
    )
    whole, _ = train_sasrec(histories, config, training, progress=False)
    return {"resumed": resumed.state_dict(), "whole": whole.state_dict()}


@pytest.mark.parametrize("rank", [0, 1])
def test_the_other_ends_and_the_training_goes_on(rank: int, tmp_path: Path) -> None:
    state = tmp_path / "runs/sasrec-state.safetensors"
    agent = started(tmp_path, *TRAIN)
    try:
        limit = time.monotonic() + SECONDS
        while not state.exists():
            assert agent.poll() is None, agent.communicate()
            assert time.monotonic() < limit
            time.sleep(0.02)
        os.kill(process_of_rank(rank, agent.pid), signal.SIGKILL)
        _, said = agent.communicate(timeout=SECONDS)
    finally:
        agent.kill()
    assert agent.returncode == 1
    [sentence] = [line for line in said.splitlines() if line.startswith("rqvae-lib: ")]
    assert re.match(rf"rqvae-lib: process {1 - rank} (cannot go on|was told to end)", sentence)
    assert f"exitcode  : -{signal.SIGKILL:d}" in said  # torchrun names the one that was killed
    saved = read_training(state)
    assert saved.step % 100 == 0
    assert not saved.finished
    if rank == 0:  # once is enough
        for both in in_world(2, resumed_and_whole, str(state)):
            for name, weight in both["whole"].items():
                assert weight.equal(both["resumed"][name]), name
