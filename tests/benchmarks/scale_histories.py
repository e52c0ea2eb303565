"""Histories larger than memory, measured: packing, the memory of a training, and its speed.

    python tests/benchmarks/scale_histories.py --interactions 200000000 --users 2000000

Interactions are made up and written as a folder of Parquet files, in random order, which is the
worst one to sort. Each part is measured in a process of its own, on one thread:

- packing: its time, and its memory at its peak;
- a training on the packed histories, and one pass over all of its batches: what memory they take
  above a training on a few histories, apart for what the process holds (anonymous) and what it has
  mapped (file), and whether each interaction was seen once;
- steps per second, mapped and in memory, by turns.

The folder needs about 70 bytes per interaction on the disk and is removed at the end.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rqvae_lib.data.batches import PADDING, WindowBatches
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.data.mapped_histories import MappedHistories
from rqvae_lib.data.pack_histories import pack_histories
from rqvae_lib.data.splits import Histories
from rqvae_lib.models.configs import RQTransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import RECOMMENDER_TRAINING, TrainingConfig
from rqvae_lib.training.recipes import train_recommender

ROWS_OF_A_PART = 4_000_000
ITEMS = 50_000
START = 1_500_000_000_000  # milliseconds: 2017
BATCH = 64
MIB = 2**20


def write_interactions(folder: Path, interactions: int, users: int) -> dict[str, float]:
    """Write interactions of made-up people, of whom some are far more active than others."""
    folder.mkdir()
    for part, start in enumerate(range(0, interactions, ROWS_OF_A_PART)):
        rows = min(ROWS_OF_A_PART, interactions - start)
        chance = np.random.default_rng([7, part])
        columns = {
            "user": (users * chance.random(rows) ** 1.5).astype(np.int64),
            "item": (ITEMS * chance.random(rows) ** 3).astype(np.int64),
            "time": START + chance.integers(0, 86_400_000 * 365, rows),
        }
        # Every item occurs, so the catalogue is known.
        columns["item"][:ITEMS] = np.arange(min(ITEMS, rows))
        pq.write_table(pa.table(columns), folder / f"part-{part:04}.parquet")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"Parquet, MiB": size / MIB}


def pack(folder: Path) -> dict[str, float]:
    with watched() as seen:
        began, worked = time.perf_counter(), time.process_time()
        file = pack_histories(folder / "log", folder / "histories.safetensors")
        seconds, work = time.perf_counter() - began, time.process_time() - worked
    return {
        "seconds": seconds,
        "processor seconds": work,
        "interactions per processor second": file.num_interactions / work,
        "file, MiB": file.path.stat().st_size / MIB,
        "interactions": file.num_interactions,
        "users": file.num_users,
        **{f"peak {name}, MiB": size for name, size in seen.items()},
    }


def memory(folder: Path, steps: int) -> dict[str, float]:
    """Train, and read all batches of an epoch, on mapped histories; say what it takes."""
    training = TrainingConfig(**vars(RECOMMENDER_TRAINING) | {"num_steps": steps})
    few = Histories(torch.arange(5000) % ITEMS, torch.arange(0, 5001, 50))
    train_recommender(catalogue(), few, RQTransformerConfig(), training, progress=False)
    before = resident()
    with watched() as seen:
        began = time.perf_counter()
        file = HistoriesFile(folder / "histories.safetensors")
        train = file.train("leave-one-out")
        opened = time.perf_counter() - began
        train_recommender(catalogue(), train, RQTransformerConfig(), training, progress=False)
        began = time.process_time()
        batches = WindowBatches(train, max_items=50, batch_size=BATCH, seed=1)
        numbers, total = 0, 0
        for step in range(batches.steps_per_epoch):
            items = batches(step)
            real = items != PADDING
            numbers += int(real.sum())
            total += int(items[real].sum())
        read = time.process_time() - began
    return {
        "seconds to open": opened,
        "processor seconds for all batches": read,
        "batches per processor second": batches.steps_per_epoch / read,
        "interactions seen": numbers,
        "of": int((train.ends - train.begins).sum()),
        **{f"peak {name} above the model, MiB": seen[name] - before[name] for name in seen},
    }


def speed(folder: Path, rounds: int, steps: int) -> dict[str, float]:
    """Time training steps on the same batches, mapped and in memory, by turns."""
    mapped = HistoriesFile(folder / "histories.safetensors").train("leave-one-out")
    whole = mapped.of_users(torch.arange(len(mapped)))
    trainings = [Steps(mapped), Steps(whole)]
    for training in trainings:
        training.run(steps)  # caches are warm
    ratios, seconds = [], ([], [])  # type: ignore[var-annotated]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            seconds[which].append(trainings[which].run(steps))
        ratios.append(seconds[0][-1] / seconds[1][-1])
    same = all(
        torch.equal(one, other)
        for one, other in zip(*(t.model.state_dict().values() for t in trainings), strict=True)
    )
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "steps per second, mapped": steps / statistics.median(seconds[0]),
        "steps per second, in memory": steps / statistics.median(seconds[1]),
        "time mapped ÷ in memory": middle,
        "lower quartile": low,
        "upper quartile": high,
        "weights are the same": same,
    }


class Steps:
    """A training that goes on by some steps at a time."""

    def __init__(self, histories: Histories | MappedHistories) -> None:
        torch.manual_seed(0)
        self.model = new_recommender(RQTransformerConfig(), catalogue()).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.batches = WindowBatches(histories, max_items=50, batch_size=BATCH, seed=1)
        self.done = 0

    def run(self, steps: int) -> float:
        """Return the processor seconds of some steps."""
        began = time.process_time()
        for step in range(self.done, self.done + steps):
            torch.manual_seed(step)
            self.model.loss(self.batches(step)).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        self.done += steps
        return time.process_time() - began


def catalogue() -> SemanticIDs:
    codes = torch.randint(256, (ITEMS, 3), generator=torch.Generator().manual_seed(0))
    return SemanticIDs(codes, [256] * 3)


def resident() -> dict[str, float]:
    """Return this process's memory in MiB: what it holds, what it has mapped, and both (Linux)."""
    found = {"RssAnon": 0.0, "RssFile": 0.0, "VmRSS": 0.0}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) / 1024
    return found


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Yield the highest values of `resident` so far, looked at every 20 milliseconds."""
    seen = resident()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.update({name: max(seen[name], size) for name, size in resident().items()})

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--interactions", type=int, default=200_000_000)
    parser.add_argument("--users", type=int, default=2_000_000)
    parser.add_argument("--steps", type=int, default=20, help="of the training whose memory counts")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--folder", type=Path, default=None, help="where there is room")
    parser.add_argument("--part", default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.part:
        print(json.dumps(_part(given)))
        return
    folder = Path(tempfile.mkdtemp(prefix="scale-histories-", dir=given.folder))
    try:
        for part in ("write", "pack", "memory", "speed"):
            command = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
            for name in ("interactions", "users", "steps", "rounds"):
                command += [f"--{name}", str(getattr(given, name))]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                command, stdout=subprocess.PIPE, check=True, text=True, env=environment
            )
            print(f"{part}:")
            for name, value in json.loads(done.stdout).items():
                print(
                    f"    {name:<45} {value:,.3f}" if value < 10 else f"    {name:<45} {value:,.0f}"
                )
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder)


def _part(given: Any) -> dict[str, float]:
    if given.part == "write":
        return write_interactions(given.folder / "log", given.interactions, given.users)
    if given.part == "pack":
        return pack(given.folder)
    if given.part == "memory":
        return memory(given.folder, given.steps)
    return speed(given.folder, given.rounds, given.steps)


if __name__ == "__main__":
    main()
