"""Finds out which dataset a folder holds, by the names of its files.

Used by: `load_dataset`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.amazon import read_amazon
from rqvae_lib.datasets.movielens import read_movielens


def refuse_options(name: str, how: Mapping[str, Any]) -> None:
    """Refuse options that say how to read tables where a dataset is read in its own way."""
    if how:
        option = next(iter(how))
        raise ValueError(
            f"{option} (--{option.replace('_', '-')}) is for tables of your own and would change "
            f"nothing about {name}: leave it out"
        )


def read_folder(folder: Path, how: Mapping[str, Any]) -> Dataset:
    """Read a folder. The names of its files tell which dataset it holds.

    Args:
        folder: with the published files of a dataset, or with your own tables.
        how: how to read tables of your own: options of `Dataset.from_tables`. They are refused for
            the files of a publisher.

    Raises:
        FileNotFoundError: if it holds none of the files of a known dataset.
        ValueError: if it holds two tables of one kind, or as the function that reads the files.
        OSError: as the function that reads the files.
    """
    own = {
        what: [folder / f"{what}{ending}" for ending in (".csv", ".tsv", ".parquet")]
        for what in ("interactions", "items")
    }
    tables = {what: [path for path in paths if path.is_file()] for what, paths in own.items()}
    if tables["interactions"]:
        for what, found in tables.items():
            if len(found) > 1:
                raise ValueError(
                    f"{folder} has both {found[0].name} and {found[1].name}, expected one table "
                    f"of {what}: move one away"
                )
        return Dataset.from_tables(
            tables["interactions"][0], next(iter(tables["items"]), None), name=folder.name, **how
        )
    refuse_options(str(folder), how)
    reviews = sorted(folder.glob("reviews_*_5.json.gz"))
    if len(reviews) == 1:
        category = reviews[0].name.removeprefix("reviews_").removesuffix("_5.json.gz")
        return read_amazon(reviews[0], folder / f"meta_{category}.json.gz", folder.name)
    if any((folder / name).is_file() for name in ("ratings.dat", "u.data", "ratings.csv")):
        return read_movielens(folder)
    raise FileNotFoundError(
        f"{folder} has none of the files of a known dataset: expected interactions.csv (or .tsv, "
        ".parquet), MovieLens's ratings.dat, u.data or ratings.csv, or one reviews_…_5.json.gz"
    )
