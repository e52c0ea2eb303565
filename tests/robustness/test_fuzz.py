"""Each fuzz target runs for two seconds here, `make fuzz` for minutes; and the harness finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

TARGETS = sorted((ROOT / "tests/robustness/fuzz").glob("fuzz_*.py"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks")

# A reader with each of the faults that the harness is for.
FAULTY = """
import os, time
from pathlib import Path
from tests.robustness.fuzz import harness
harness.SECONDS = 0.2
def write(path): path.write_bytes(b"good" * 10)
def read(path):
    if path.read_bytes() != b"good" * 10:
        {fault}
harness.main(harness.Target(write, read, ".bin", []))
"""
FAULTS = {
    "an error that is not documented": ("raise KeyError(str(path))", "it raises KeyError"),
    "a message without the file": ("raise ValueError('no')", "does not name the file"),
    "a message without an end": ("raise ValueError(f'{path}' + 'x' * 10**5)", "characters"),
    "much memory": ("bytearray(2**32)", "it raises MemoryError"),
    "much time": ("while time.process_time() < 0.4: pass", "it takes 0."),
    "no end": ("while True: pass", "killed by signal 27"),
    "a crash": ("os.abort()", "killed by signal 6"),
}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_there_is_a_target_for_each_format() -> None:
    formats = {"rqvae", "recommender", "state", "embeddings", "ids_csv", "ids_parquet"}
    formats |= {"movielens_1m", "movielens_100k", "movielens_csv", "amazon", "zip", "npy"}
    formats |= {"own_csv", "own_parquet", "own_txt", "own_dat", "own_atomic"}
    formats |= {"own_json", "own_gzip", "own_zstd"}
    formats |= {"published", "times", "bundle", "sasrec", "everybody"}
    formats |= {"ids_index_json", "ids_jsonl", "ids_lists_parquet"}
    formats |= {"ids_array", "ids_levels_csv"}
    assert {f"fuzz_{name}" for name in formats} <= {target.stem for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.stem)
def test_nothing_is_found_in_two_seconds(tmp_path: Path, target: Path) -> None:
    done = run(
        ["-m", f"tests.robustness.fuzz.{target.stem}", "--seconds", "2", "--seed", "5"], tmp_path
    )
    assert done.returncode == 0, done.stderr
    tried = int(done.stdout.split()[0].replace(",", ""))
    assert tried > 5  # on a very busy machine
    assert not list(tmp_path.glob("fuzz-*"))  # torch may leave a folder of its own


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_reader_is_found_and_the_file_kept(tmp_path: Path, name: str) -> None:
    fault, says = FAULTS[name]
    done = run(["-c", FAULTY.format(fault=fault)], tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    kept = Path(done.stderr.strip().splitlines()[-1].split("The file: ")[1])
    assert kept.read_bytes() != b"good" * 10


def test_of_a_folder_one_file_is_spoilt_at_a_time(tmp_path: Path) -> None:
    script = """
from tests.robustness.fuzz import harness
def write(folder):
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_bytes(b"good" * 10)
def read(folder):
    spoilt = [path for path in folder.iterdir() if path.read_bytes() != b"good" * 10]
    assert len(spoilt) < 2, spoilt
    if spoilt and spoilt[0].name == "b.txt" and len(spoilt[0].read_bytes()) > 2000:
        raise KeyError
    if spoilt:
        raise ValueError(f"{spoilt[0]} is spoilt")
harness.main(harness.Target(write, read, "", []))
"""
    done = run(["-c", script, "--seconds", "60"], tmp_path)
    assert "it raises KeyError" in done.stderr
    kept = Path(done.stderr.strip().splitlines()[-1].split("The file: ")[1])
    assert (kept / "a.txt").read_bytes() == b"good" * 10
    assert len((kept / "b.txt").read_bytes()) > 2000
