"""A few kills of `tests.robustness.kill`, and that it would see a file that is not whole."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")

# A writer that is not atomic: for a while there is half a file.
CARELESS = """
import sys, time
from contextlib import contextmanager
from tests.robustness import kill
from rqvae_lib.semantic_ids import files
@contextmanager
def write(path):
    path.write_bytes(b"half")
    time.sleep(3)
    yield path
files.write_atomically = write
kill.main()
"""


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_what_is_killed_leaves_whole_files_and_goes_on(tmp_path: Path) -> None:
    options = ("--kills", "4", "--only", "ids.csv", "recommender")
    done = run("-m", "tests.robustness.kill", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("every file was whole") == 2
    assert "nothing amiss" in done.stdout


def test_a_careless_writer_is_found(tmp_path: Path) -> None:
    done = run("-c", CARELESS, "--kills", "6", "--only", "ids.csv", folder=tmp_path)
    assert done.returncode == 1
    assert "ids.csv is neither" in done.stderr
