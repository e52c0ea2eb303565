"""A catalogue larger than memory: what assigning its IDs costs, and whether it is the same.

    python -m tests.benchmarks.scale_catalogue --rows 10000000 --ray

Writes vectors of 384 numbers (float16: movies of the embedded data with noise on them) to a
temporary folder, 768 bytes for each row, and assigns their IDs with the shipped tokenizer: from the
folder in one process, in memory as many of them as `--in-memory` says, and from the folder on Ray.
Each of these is a process of its own with one thread (Ray: two workers of one). Printed are rows
per second, by the clock and of processor time, and the most memory that the process held.

The IDs of the rows that are in memory are compared, code by code; so are all of Ray's.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WIDTH, FILE_ROWS, GROUP_ROWS = 384, 500_000, 50_000
MODEL = "movielens-small-2016"
MOST_MEMORY = 1.5  # GiB, of the process that assigns
LEAST_SHARE = 0.8  # of the rows per second in memory


def write_vectors(folder: Path, rows: int, seed: int = 0) -> None:
    """Write a folder of vectors, whose item ids are in no order."""
    import torch

    from rqvae_lib.embeddings.text import load_embeddings

    folder.mkdir(parents=True)
    movies, chance = load_embeddings(MODEL), torch.Generator().manual_seed(seed)
    noise = 0.03 * torch.randn(GROUP_ROWS, WIDTH, generator=chance)  # a movie, and one of these
    for first in range(0, rows, FILE_ROWS):
        last = min(first + FILE_ROWS, rows)
        path, writer = folder / f"{first:09}.parquet", None
        for start in range(first, last, GROUP_ROWS):
            count = min(GROUP_ROWS, last - start)
            vectors = movies[torch.randint(len(movies), (count,), generator=chance)]
            vectors += noise[torch.randint(len(noise), (count,), generator=chance)]
            flat = pa.array(vectors.half().numpy().reshape(-1))
            # An odd number times the row, modulo 2⁴⁰: each id once, and in no order.
            ids = np.arange(start, start + count) * 668_265_263 % 2**40
            columns = {"item_id": ids, "vector": pa.FixedSizeListArray.from_arrays(flat, WIDTH)}
            table = pa.table(columns)
            writer = writer or pq.ParquetWriter(
                path, table.schema, use_dictionary=False, compression="none"
            )
            writer.write_table(table)
        assert writer is not None
        writer.close()


def from_folder(folder: Path, output: Path, **how: Any) -> int:
    """Assign the IDs of a folder; return the number of rows."""
    from rqvae_lib.checkpoints.models import load_rqvae
    from rqvae_lib.tokenizer.assignment import assign_folder

    model, _ = load_rqvae(MODEL)
    with measured():
        return assign_folder(model, folder, output, progress=False, **how).items


def in_memory(folder: Path, output: Path, rows: int) -> int:
    """Assign the IDs of the first rows, once their vectors are in memory as float32."""
    import torch

    from rqvae_lib.checkpoints.models import load_rqvae
    from rqvae_lib.embeddings.vector_folders import open_vectors

    model, _ = load_rqvae(MODEL)
    vectors = open_vectors(folder)
    held, ids, done = torch.empty(rows, WIDTH), np.empty(rows, dtype=np.int64), 0
    for piece in vectors.items.pieces:
        for some, batch in vectors.batches(piece):
            count = min(len(batch), rows - done)
            held[done : done + count] = batch[:count]
            ids[done : done + count] = some.to_numpy()[:count]
            done += count
        if done == rows:
            break
    with measured():
        found = model.tokenize(held)
    np.savez(output, ids=ids, codes=found.codes.numpy().astype(np.uint8))
    return rows


class measured:
    """Print, at the end of a `with` block, what it took."""

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        clock, processor = (
            time.perf_counter() - self._began[0],
            time.process_time() - self._began[1],
        )
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"clock": clock, "processor": processor, "GiB": most}))


def in_own_process(what: str, folder: Path, output: Path, rows: int) -> dict[str, float]:
    """Run one of the three with one thread, and return what it took."""
    words = [sys.executable, "-m", "tests.benchmarks.scale_catalogue", "--only", what]
    words += ["--folder", str(folder), "--output", str(output), "--rows", str(rows)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{what:>10}: {rows:>11,} rows, {rows / found['clock']:>9,.0f} per second by the clock, "
        f"{rows / found['processor']:>9,.0f} of processor time, at most {found['GiB']:.2f} GiB",
        flush=True,
    )
    return found


def compare(output: Path, memory: Path) -> None:
    """Assert that the rows in memory have the codes that the folder's table says."""
    table = pq.read_table(output)
    known = np.load(memory)
    places = np.searchsorted(table.column("item_id").to_numpy(), known["ids"])
    for level in range(known["codes"].shape[1]):
        column = table.column(f"code_{level + 1}").to_numpy()
        assert np.array_equal(column[places], known["codes"][:, level]), f"level {level + 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--in-memory", type=int, default=500_000)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep the vectors here, or find them here")
    parser.add_argument("--only", choices=["folder", "memory", "ray"], help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        runs: dict[str, Callable[[], int]] = {
            "folder": lambda: from_folder(given.folder, given.output),
            "memory": lambda: in_memory(given.folder, given.output, given.rows),
            "ray": lambda: from_folder(given.folder, given.output, engine="ray", workers=2),
        }
        runs[given.only]()
        return
    with tempfile.TemporaryDirectory(prefix="scale-") as temporary:
        folder = given.folder or Path(temporary) / "vectors"
        if not folder.exists():
            began = time.perf_counter()
            write_vectors(folder, given.rows)
            print(
                f"wrote {given.rows:,} vectors in {time.perf_counter() - began:.0f} s", flush=True
            )
        output, memory = Path(temporary) / "ids.parquet", Path(temporary) / "memory.npz"
        of_memory = in_own_process("memory", folder, memory, min(given.rows, given.in_memory))
        of_folder = in_own_process("folder", folder, output, given.rows)
        compare(output, memory)
        share = of_memory["processor"] / min(given.rows, given.in_memory)
        share *= given.rows / of_folder["processor"]
        print(f"the folder takes {share:.2f} of the rows per second in memory (processor time)")
        if given.ray:
            again = output.with_name("ray.parquet")
            in_own_process("ray", folder, again, given.rows)
            assert pq.read_table(again).equals(pq.read_table(output))
        assert of_folder["GiB"] <= MOST_MEMORY, of_folder
        assert share >= LEAST_SHARE, share


if __name__ == "__main__":
    main()
