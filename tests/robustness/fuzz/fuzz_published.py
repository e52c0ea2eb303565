"""Fuzz the readers of published datasets on a folder of each, of which one file is spoilt."""

import hashlib
from pathlib import Path

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets import published as made
from tests.robustness.fuzz.data_files import TEXT, within_gzip
from tests.robustness.fuzz.harness import ANY_BYTES, Target, main

FOLDERS = {
    "recbole": made.recbole(),
    "recbole-benchmark": made.recbole_benchmark(),
    "ml-10m": made.ml_10m(),
    "amazon-2018": made.amazon_2018(ending="_5.json"),
    "amazon-2018-gz": made.amazon_2018(),
    "amazon-2023": made.amazon_2023(),
    "amazon-2023-csv": made.amazon_2023_benchmark(header=False, history=True, parts=True),
    "amazon-ratings": made.amazon_ratings(2014),
    "steam": made.steam(),
    "yelp": made.yelp(),
    "kuairec": made.kuairec(),
    "kuairand": made.kuairand(),
    "mind": made.mind(),
    "yambda": made.yambda(),
    "yambda-sequential": made.yambda_sequential(),
    "diginetica": made.diginetica(),
    "yoochoose": made.yoochoose(),
}


def write(folder: Path) -> None:
    for name, files in FOLDERS.items():
        for file, content in files.items():
            path = folder / name / Path(file).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


GOOD: dict[str, str] = {}


def read(folder: Path) -> object:
    """Read the dataset that was spoilt; at first all of them, which are good."""
    first = not GOOD
    for name in FOLDERS:
        if first:
            GOOD[name] = digest(folder / name)
        if first or digest(folder / name) != GOOD[name]:
            dataset = load_dataset(folder / name)
            assert len(dataset.titles) == dataset.num_items
    return GOOD


if __name__ == "__main__":
    packed = [within_gzip(mutation) for mutation in (*TEXT, *ANY_BYTES)]
    main(Target(write, read, "", [*TEXT, *packed]))
