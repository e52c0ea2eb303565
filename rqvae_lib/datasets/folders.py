"""Finds out which dataset a folder holds, by the names of its files.

A few names say too little, such as X.csv. There, the first line of the file tells.

Used by: `load_dataset`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import TABLES
from rqvae_lib.data.table_files import ENDINGS
from rqvae_lib.datasets.amazon import find_amazon_2014, read_amazon_2014
from rqvae_lib.datasets.amazon_2018 import find_amazon_2018, read_amazon_2018
from rqvae_lib.datasets.amazon_2023 import find_amazon_2023, read_amazon_2023
from rqvae_lib.datasets.amazon_ratings import find_amazon_ratings, read_amazon_ratings
from rqvae_lib.datasets.clicks import (
    find_diginetica,
    find_yoochoose,
    read_diginetica,
    read_yoochoose,
)
from rqvae_lib.datasets.kuai import find_kuairand, find_kuairec, read_kuairand, read_kuairec
from rqvae_lib.datasets.mind import find_mind, read_mind
from rqvae_lib.datasets.movielens import find_movielens, read_movielens
from rqvae_lib.datasets.recbole import find_recbole, read_recbole
from rqvae_lib.datasets.steam import find_steam, read_steam
from rqvae_lib.datasets.without_times import find_without_times, refuse_without_times
from rqvae_lib.datasets.yambda import find_yambda, read_yambda
from rqvae_lib.datasets.yelp import find_yelp, read_yelp


class Kind(NamedTuple):
    """A kind of dataset that a folder may hold."""

    name: str
    files: str  # what its files are called, for a message
    find: Callable[[Path], list[Path]]  # the files in a folder by which it is known
    read: Callable[[Path], Dataset]


KINDS = (
    Kind("RecBole", "X.inter", find_recbole, read_recbole),
    Kind("MovieLens", "ratings.dat, u.data, or ratings.csv", find_movielens, read_movielens),
    Kind("Amazon 2014", "reviews_X_5.json.gz", find_amazon_2014, read_amazon_2014),
    Kind("Amazon 2018", "X_5.json.gz with meta_X.json.gz", find_amazon_2018, read_amazon_2018),
    Kind("Amazon 2023", "X.jsonl.gz, X.csv", find_amazon_2023, read_amazon_2023),
    Kind("Amazon ratings", "ratings_X.csv", find_amazon_ratings, read_amazon_ratings),
    Kind("Steam", "steam_reviews.json.gz", find_steam, read_steam),
    Kind("Yelp", "yelp_academic_dataset_review.json", find_yelp, read_yelp),
    Kind("KuaiRec", "big_matrix.csv", find_kuairec, read_kuairec),
    Kind("KuaiRand", "log_standard_….csv", find_kuairand, read_kuairand),
    Kind("MIND", "behaviors.tsv", find_mind, read_mind),
    Kind("Yambda", "listens.parquet", find_yambda, read_yambda),
    Kind("Diginetica", "train-item-views.csv", find_diginetica, read_diginetica),
    Kind("YooChoose", "yoochoose-clicks.dat", find_yoochoose, read_yoochoose),
    Kind("a dataset without times", "", find_without_times, refuse_without_times),
)


def holds_a_dataset(folder: Path) -> bool:
    """Return whether a folder holds tables named interactions, or a publisher's files."""
    return any(folder.glob("interactions.*")) or any(kind.find(folder) for kind in KINDS)


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
        ValueError: if it holds two datasets or two tables of one kind, or as the function that
            reads the files.
        OSError: as the function that reads the files.
    """
    own = {what: [folder / f"{what}{ending}" for ending in ENDINGS] for what in TABLES}
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
    meant = [(kind, paths) for kind in KINDS if (paths := kind.find(folder))]
    if not meant:
        raise FileNotFoundError(
            f"{folder} has none of the files of a known dataset: expected interactions.csv (or "
            f".tsv, .parquet), or {', '.join(f'{kind.files} ({kind.name})' for kind in KINDS[:4])}"
            f", or those of {', '.join(kind.name for kind in KINDS[4:-1])}; the page on data and "
            "licences lists all of them"
        )
    if len(meant) > 1:
        first, second = (f"{kind.name} ({paths[0].name})" for kind, paths in meant[:2])
        raise ValueError(
            f"{folder} could be {first} or {second}, expected the files of one dataset: move the "
            "others to a folder of their own"
        )
    try:
        return meant[0][0].read(folder)
    except ValueError as error:
        if str(folder) in str(error):
            raise
        raise ValueError(f"{meant[0][1][0]}: {error}") from error  # of both tables together
