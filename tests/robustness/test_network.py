"""Nothing asks the network: not an import, not the pipeline."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Python announces each use of a socket before it happens, whoever asks for it.
GUARD = """
import sys
EVENTS = ("connect", "getaddrinfo", "gethostby", "sendto", "bind")
ASKING = tuple(f"socket.{event}" for event in EVENTS)
def refuse(event, arguments):
    if event.startswith(ASKING):
        print("NETWORK", event, arguments[-1:], flush=True)
        raise PermissionError(f"the network was asked: {event}")
sys.addaudithook(refuse)
"""
IMPORTS = """
import importlib, pkgutil, rqvae_lib
names = [module.name for module in pkgutil.walk_packages(rqvae_lib.__path__, "rqvae_lib.")]
assert len(names) > 50
for name in names:
    importlib.import_module(name)
"""
PIPELINE = """
from contextlib import suppress
from dataclasses import replace
from rqvae_lib.cli.main import main
def run(*words):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, words
run("train-rqvae", "--residual-kmeans", "--levels", "2", "--codebook-size", "16")
run("inference-rqvae")
run("inference-rqvae", "--output", "ids.parquet")
run("recommend", "--user", "1")
from rqvae_lib import RECOMMENDER_TRAINING, leave_one_out, load_dataset, load_recommender
from rqvae_lib import train_recommender
ids = load_recommender("movielens-small-2016")[0].ids
histories = leave_one_out(load_dataset()).train
briefly = replace(RECOMMENDER_TRAINING, num_steps=2)
train_recommender(ids, histories, training=briefly, progress=False)
"""
ATTEMPTS = [
    "import urllib.request; urllib.request.urlopen('http://localhost:9/')",
    "import socket; socket.create_connection(('127.0.0.1', 9))",
]


def run_guarded(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", GUARD + program]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("program", [IMPORTS, PIPELINE], ids=["imports", "pipeline"])
def test_nothing_asks_the_network(tmp_path: Path, program: str) -> None:
    done = run_guarded(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NETWORK" not in done.stdout  # also where the library made do without


@pytest.mark.parametrize("program", ATTEMPTS)
def test_the_guard_sees_who_asks(tmp_path: Path, program: str) -> None:
    done = run_guarded(program, tmp_path)
    assert "NETWORK" in done.stdout
    assert done.returncode != 0
