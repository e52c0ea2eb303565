"""Finds a dataset by its name, its folder, or its two tables.

Seen at work in: chapter 00.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.filters import filtered
from rqvae_lib.data.names import EMBEDDED, Repeats
from rqvae_lib.data.own_tables import called
from rqvae_lib.data.table_files import ENDINGS
from rqvae_lib.datasets.amazon import AMAZON, load_amazon, read_amazon
from rqvae_lib.datasets.embedded import load_embedded
from rqvae_lib.datasets.movielens import MOVIELENS, load_movielens, read_movielens

DOWNLOADED: dict[str, Callable[[], Dataset]] = {
    **{entry.name: partial(load_movielens, version) for version, entry in MOVIELENS.items()},
    **{entry.name: partial(load_amazon, category) for category, entry in AMAZON.items()},
}
NAMES = (*EMBEDDED, *DOWNLOADED)


def load_dataset(
    name_or_folder: str | Path | None = None,
    *,
    interactions: pd.DataFrame | str | Path | None = None,
    items: pd.DataFrame | str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
    time_unit: str | None = None,
    repeats: Repeats | None = None,
) -> Dataset:
    """Load a dataset by its name, from a folder, or from your own tables.

    Args:
        name_or_folder: one of `NAMES`, or a folder. By default the first of `NAMES`, which is in
            the package; the others are downloaded at their first use. A folder holds the published
            files of MovieLens or of Amazon reviews, or your own tables: interactions and
            optionally items, each a file with one of `table_files.ENDINGS`.
        interactions, items: your own tables instead, as for `Dataset.from_tables`.
        columns, separator, header, time_unit: how to read tables of your own, as for
            `Dataset.from_tables`. They are refused for a dataset that is read in its own way.
        repeats: what becomes of rows in which a user meets an item again, as for
            `Dataset.from_tables`. `filtered` leaves out other rows, users and items.

    Raises:
        ValueError: for an unknown name, for a name together with tables, for items without
            interactions, or as the function that reads the files.
        OSError: as the function that reads the files.
    """
    own = [
        called(table, what)
        for table, what in ((interactions, "interactions"), (items, "items"))
        if table is not None
    ]
    if name_or_folder is not None and own:
        raise ValueError(
            f"pass either a name or a folder (--dataset, here {name_or_folder}) or a table of your "
            f"own (here {own[0]}), not both"
        )
    if interactions is None and own:
        raise ValueError(
            f"{own[0]} lists items, but nobody met them: name a table of interactions too"
        )
    how: dict[str, Any] = {
        "columns": columns,
        "separator": separator,
        "header": header,
        "time_unit": time_unit,
    }
    how = {option: value for option, value in how.items() if value is not None}
    if interactions is not None:
        return Dataset.from_tables(interactions, items, repeats=repeats or "keep", **how)
    name = str(name_or_folder or EMBEDDED[0])
    if name in NAMES:
        _refuse_options(name, how)
        dataset = DOWNLOADED[name]() if name in DOWNLOADED else load_embedded(name)
    elif Path(name).is_dir():
        dataset = _read_folder(Path(name), how)
    else:
        raise ValueError(
            f"there is no dataset named {name!r}, and no such folder: expected one of "
            f"{', '.join(NAMES)}, or a folder with its files; check the spelling"
        )
    return filtered(dataset, repeats=repeats).dataset


def _refuse_options(name: str, how: Mapping[str, Any]) -> None:
    """Refuse options that say how to read tables where a dataset is read in its own way."""
    if how:
        option = next(iter(how))
        raise ValueError(
            f"{option} (--{option.replace('_', '-')}) is for tables of your own and would change "
            f"nothing about {name}: leave it out"
        )


def _read_folder(folder: Path, how: Mapping[str, Any]) -> Dataset:
    """Read a folder. The names of its files tell which dataset it holds."""
    own = {
        what: [folder / f"{what}{ending}" for ending in ENDINGS]
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
            tables["interactions"][0],
            next(iter(tables["items"]), None),
            name=folder.name,
            **how,
        )
    _refuse_options(str(folder), how)
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
