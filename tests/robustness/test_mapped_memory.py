"""Histories larger than memory: what packing takes, and what reading the file does."""

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from rqvae_lib.data import buckets
from rqvae_lib.data import pack_histories as packing
from rqvae_lib.data.batches import WindowBatches
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.data.pack_histories import pack_histories
from rqvae_lib.data.parquet_files import parquet_pieces
from rqvae_lib.io import mapped_tensors
from rqvae_lib.io.mapped_tensors import write_in_pieces
from tests.helpers import ROOT

ITEMS_MIB, USERS, NUM_ITEMS = 96, 10_000, 1000
MIB = 2**20

# Prints the MiB of mapped files that batches add to a process, at most: as they are read, and if
# no page were let go.
READ = """
import sys
from pathlib import Path
from rqvae_lib.data.batches import WindowBatches
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.io import mapped_tensors

def mapped():
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssFile")) / 1024

batches = WindowBatches(HistoriesFile(sys.argv[1]).train("leave-one-out"), max_items=50,
                        batch_size=16, seed=0)
for places in (16, 10**9):
    mapped_tensors._LOOKED_UP = places
    batches(0)
    batches.histories._tensors.let_go()
    before = most = mapped()
    for step in range(1, 400):
        batches(step)
        most = max(most, mapped())
    print(most - before)
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 96 MiB of items, written as `pack_histories` writes it."""
    path = tmp_path_factory.mktemp("packed") / "h.safetensors"
    length = ITEMS_MIB * MIB // 4
    kinds = dict.fromkeys(("times", "offsets", "user_ids", "item_ids"), torch.int64) | {
        "items": torch.int32
    }
    with write_in_pieces(path, kinds) as writer:
        for start in range(0, length, MIB):
            writer.append("items", np.arange(start, min(start + MIB, length)) % NUM_ITEMS)
            writer.append("times", np.arange(start, min(start + MIB, length)))
        writer.append("offsets", np.linspace(0, length, USERS + 1))
        writer.append("user_ids", np.arange(USERS))
        writer.append("item_ids", np.arange(NUM_ITEMS))
        counts = {"interactions": length, "users": USERS, "items": NUM_ITEMS}
        card = {"dataset": "made up", "sha256": writer.sha256, "items_sha256": "", "notes": []}
        writer.finish(path, "histories", counts, card)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_pages_that_were_read_are_let_go(packed: Path) -> None:
    """Each window that is looked up may map 2 MiB around it."""
    command = [sys.executable, "-c", READ, str(packed)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    held, without_letting_go = map(float, done.stdout.split())
    assert held < 0.7 * ITEMS_MIB
    assert without_letting_go > 0.8 * ITEMS_MIB


def test_batches_hold_a_few_bytes_per_user_and_window(packed: Path) -> None:
    batches = WindowBatches(
        HistoriesFile(packed).train("leave-one-out"), max_items=50, batch_size=64, seed=0
    )
    batches(0)
    windows = ITEMS_MIB * MIB // 4 // 50 + 2 * USERS
    tensors = [*vars(batches).values(), *vars(batches.shuffled).values()]
    held = sum(one.nbytes for one in tensors if isinstance(one, torch.Tensor))
    assert windows * 3 < held < windows * 4 + USERS * 16 + 1000


def test_packing_ten_times_the_rows_takes_the_same_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Python and NumPy hold at a time, as they count it, and what Arrow holds in between."""
    piece = 10_000
    monkeypatch.setattr(packing, "_SAMPLED", 500)
    monkeypatch.setattr(buckets, "_MOST_FILES", 8)  # of 40 buckets
    monkeypatch.setattr(mapped_tensors, "_COPIED", piece)
    monkeypatch.setattr(mapped_tensors.MappedTensors.blocks, "__defaults__", (piece,))
    monkeypatch.setattr(
        packing, "parquet_pieces", lambda path, theirs: parquet_pieces(path, theirs, piece)
    )
    peaks, between = [], []
    all_items = packing._Different.all

    def at_the_end_of_the_first_reading(found: Any) -> Any:
        between.append(pa.total_allocated_bytes())
        return all_items(found)

    monkeypatch.setattr(packing._Different, "all", at_the_end_of_the_first_reading)
    for rows in (4 * piece, 4 * piece, 40 * piece):  # the first one loads what is loaded once
        chance = np.random.default_rng(0)
        users, items = chance.integers(0, rows // 50, rows), chance.integers(0, 100, rows)
        table = pd.DataFrame({"user": users, "item": items, "time": 1_500_000_000 + users})
        table.to_parquet(tmp_path / "met.parquet", row_group_size=piece)
        del table, users, items
        tracemalloc.start()
        pack_histories(tmp_path / "met.parquet", tmp_path / "h.safetensors", rows_in_memory=piece)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 2 * peaks[1]
    assert between[2] - between[1] < 3 * 8 * piece  # one piece: three columns of 8 bytes
