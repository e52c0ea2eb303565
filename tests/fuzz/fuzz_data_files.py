"""Feed damaged data files to their readers: nothing but ValueError or OSError may come out.

    python -m tests.fuzz.fuzz_data_files --seconds 60 [--seed 0] [--target amazon]

Starts from small good files of each format, changes bytes, cuts, repeats and swaps pieces, and
reads the result. What comes out otherwise is written to a folder, named, and the exit code is 1.
The seconds are shared among the targets.
"""

import argparse
import gzip
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from published import amazon, ml_1m, ml_100k, ml_csv, written, zipped  # noqa: E402
from rqvae_lib.amazon import read_amazon  # noqa: E402
from rqvae_lib.archives import unpack_zip  # noqa: E402
from rqvae_lib.content import read_embeddings  # noqa: E402
from rqvae_lib.datasets import Dataset  # noqa: E402
from rqvae_lib.movielens import read_movielens  # noqa: E402

PIECES = (
    *(
        b"::",
        b"|",
        b",",
        b"\t",
        b"\n",
        b"\r\n",
        b'"',
        b"'",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"(",
        b"-",
        b"~",
    ),
    *(
        b"nan",
        b"inf",
        b"0x1",
        b"1e999",
        b"9" * 25,
        b"\xff",
        b"\xef\xbb\xbf",
        b"\0",
        b"\xed\xa0\x80",
    ),
    *(b"None", b"\\ud800", b"lambda: 0", b"1+1j", b"1_0", b" ", b"", b"-" * 5000, b"(" * 300),
)


def own_tables(ending: str) -> dict[str, bytes]:
    interactions = pd.DataFrame(
        {"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "rating": [1.0, 2, 3], "timestamp": 5}
    )
    items = pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "title": ["A", None],
            "year": [1999, 2000],
            "genres": "x",
            "text": "t",
        }
    )
    files = {}
    for name, table in (("interactions", interactions), ("items", items)):
        file = f"own/{name}.{ending}"
        files[file] = (
            table.to_parquet() if ending == "parquet" else table.to_csv(index=False).encode()
        )
    return files


def npy() -> dict[str, bytes]:
    import io

    import numpy as np

    content = io.BytesIO()
    np.save(content, np.ones((2, 3), dtype=np.float32))
    return {"vectors/a.npy": content.getvalue()}


def read_own(ending: str) -> Callable[[Path], object]:
    return lambda folder: Dataset.from_tables(
        folder / f"interactions.{ending}", folder / f"items.{ending}"
    )


TARGETS: dict[str, tuple[dict[str, bytes], Callable[[Path], object]]] = {
    "movielens-1m": (ml_1m(), read_movielens),
    "movielens-100k": (ml_100k(), read_movielens),
    "movielens-csv": (ml_csv(), read_movielens),
    "amazon": (
        amazon(),
        lambda folder: read_amazon(
            folder / "reviews_Beauty_5.json.gz", folder / "meta_Beauty.json.gz"
        ),
    ),
    "own-csv": (own_tables("csv"), read_own("csv")),
    "own-parquet": (own_tables("parquet"), read_own("parquet")),
    "zip": (
        {"zip/ml-1m.zip": zipped(ml_1m())},
        lambda folder: unpack_zip(folder / "ml-1m.zip", folder / "ml-1m", max_bytes=10_000),
    ),
    "npy": (npy(), lambda folder: read_embeddings(folder / "a.npy", ["", ""])),
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Change a few places of a file."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        what = chance.randrange(5)
        if what == 0 and at < len(data):
            data[at] = chance.randrange(256)
        elif what == 1:
            data[at:at] = chance.choice(PIECES)
        elif what == 2:
            data[at : min(end, at + 12)] = chance.choice(PIECES)
        elif what == 3:
            del data[at : at + chance.randint(1, 40)]
        else:
            data[at:at] = data[at:end][:200]
    return bytes(data)


def spoilt(files: dict[str, bytes], chance: random.Random) -> dict[str, bytes]:
    """Damage one file, and of a .gz as often the text as the packed bytes."""
    name = chance.choice(sorted(files))
    content = files[name]
    if name.endswith(".gz") and chance.random() < 0.7:
        return files | {name: gzip.compress(damaged(gzip.decompress(content), chance))}
    return files | {name: damaged(content, chance)}


def run(target: str, seconds: float, chance: random.Random) -> int:
    """Fuzz one target; return how many inputs were read, or raise after naming one."""
    files, read = TARGETS[target]
    until, count, refused = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        changed = spoilt(files, chance)
        with tempfile.TemporaryDirectory() as temporary:
            folder = written(changed, Path(temporary))
            try:
                read(folder)
            except (ValueError, OSError):
                refused += 1
            except BaseException as error:
                kept = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
                written(changed, kept)
                print(f"{target}: {error!r}; the files are in {kept}", file=sys.stderr)
                raise
        count += 1
    print(f"{target}: {refused:,} of {count:,} refused", file=sys.stderr)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS)
    chosen = parser.parse_args()
    targets = [chosen.target] if chosen.target else list(TARGETS)
    tried = 0
    for target in targets:
        try:
            tried += run(target, chosen.seconds / len(targets), random.Random(chosen.seed))
        except Exception:
            raise SystemExit(1) from None
    print(f"{tried:,} spoilt inputs in {chosen.seconds:.0f} seconds, none amiss.")


if __name__ == "__main__":
    main()
