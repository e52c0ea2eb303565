"""Interactions and items as typed tables.

A recommender sees two tables: *items* (what can be recommended, and what is known about each) and
*interactions* (who met which item, and when). Everything downstream addresses an item by its row
in the items table, its **item index**, so a history is an array of small integers and row i of any
embedding or code matrix belongs to item i.

Embedded data: `movielens-small-2016`, MovieLens Latest Small as of October 2016 (100,004 ratings,
671 users, 9,066 movies). Not today's `ml-latest-small`, which is the 2018 set of 610 users.

Source: Harper and Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 2015.
Derived in: chapter 01.
"""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EMBEDDED = ("movielens-small-2016",)  # the datasets that ship inside the package

ITEM_DTYPES = {
    "item_id": "int64",  # the source's own id, unique
    "title": "string",  # as the source writes it, <NA> where unknown
    "year": "Int16",  # <NA> where unknown
    "genres": "string",  # "Adventure|Animation", "" where none is listed
    "text": "string",  # what a sentence encoder reads, never empty
}
INTERACTION_DTYPES = {
    "user_id": "int64",
    "item": "int64",  # item index: a row of the items table
    "rating": "float32",
    "timestamp": "int64",  # seconds since 1970, UTC
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items and interactions that were checked against each other. Treat the tables as read-only.

    Attributes:
        name: what the dataset is called in messages and in checkpoint cards.
        items: one row an item, with the columns and dtypes of `ITEM_DTYPES`; row i is item index i
            and the pandas index is 0 … num_items - 1.
        interactions: one row an interaction, with the columns and dtypes of `INTERACTION_DTYPES`,
            sorted by (user_id, timestamp). Rows that tie keep the order that the source gave
            them: a third of the embedded interactions tie, so this order is part of the data.

    Raises:
        ValueError: if a table breaks one of these promises; the message names table and row.
    """

    name: str
    items: pd.DataFrame
    interactions: pd.DataFrame

    def __post_init__(self) -> None:
        _check_columns(f"{self.name}: items", self.items, ITEM_DTYPES)
        _check_columns(f"{self.name}: interactions", self.interactions, INTERACTION_DTYPES)
        _check_items(f"{self.name}: items", self.items)
        _check_interactions(f"{self.name}: interactions", self.interactions, len(self.items))

    @property
    def num_items(self) -> int:
        """Rows of the items table; item indices run from 0 to num_items - 1."""
        return len(self.items)

    @property
    def num_users(self) -> int:
        """Distinct users with at least one interaction."""
        return len(self.user_ids)

    @cached_property
    def user_ids(self) -> NDArray[np.int64]:
        """The source's user ids, sorted, each once: (num_users,) int64."""
        return np.unique(self.interactions["user_id"].to_numpy(np.int64))

    @cached_property
    def titles(self) -> list[str]:
        """A title to show for each item index, such as "The Deer Hunter (1978)".

        Not a key: remakes of one year share it (two movies are "Hamlet (2000)").
        """
        columns = (self.items[name] for name in ("item_id", "title", "year"))
        return [
            f"Untitled movie {item_id}" if pd.isna(title) else display_title(title, _known(year))
            for item_id, title, year in zip(*columns, strict=True)
        ]

    @cached_property
    def texts(self) -> list[str]:
        """The text that a sentence encoder reads, for each item index; none is empty."""
        return [str(text) for text in self.items["text"]]

    def item_index(self, item_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Turn the source's item ids into item indices.

        Args:
            item_ids: ids as in the `item_id` column, shape (n,), in any order, repeats allowed.

        Returns:
            The rows of these items, shape (n,), int64, in the order asked for.

        Raises:
            ValueError: if an id is not in the items table.
        """
        try:
            wanted = np.asarray(item_ids, dtype=np.int64)  # (n,)
        except OverflowError:
            raise ValueError(
                f"an item id of {item_ids} is beyond 64 bits, so it is not in {self.name}: look it "
                "up in the item_id column of dataset.items"
            ) from None
        rows = _positions(self.items["item_id"], wanted)  # (n,)
        if (rows < 0).any():
            known = self.items["item_id"]
            raise ValueError(
                f"item id {wanted[rows < 0][0]} is not in {self.name}: expected one of its "
                f"{self.num_items:,} ids (from {known.min()} to {known.max()}); "
                "look it up in the item_id column of dataset.items"
            )
        return rows

    def user_history(self, user_id: int) -> NDArray[np.int64]:
        """Everything that one user met, oldest first, ties in the source's order.

        Args:
            user_id: the source's id of the user, one of `user_ids`.

        Returns:
            Item indices, shape (length of the history,), int64.

        Raises:
            ValueError: if the user has no interaction here.
        """
        users = self.interactions["user_id"].to_numpy(np.int64)  # sorted
        start, end = np.searchsorted(users, [user_id, user_id + 1])
        if start == end:
            raise ValueError(
                f"user {user_id} is not in {self.name}: expected one of its {self.num_users:,} "
                f"users, whose ids lie between {self.user_ids[0]} and {self.user_ids[-1]}; "
                "choose one from dataset.user_ids"
            )
        return self.interactions["item"].to_numpy(np.int64)[start:end].copy()

    @cached_property
    def checksum(self) -> str:
        """The sha256 (hex) of both tables' contents, by which a checkpoint names its data.

        Over column names and values in row order; not over the name, file formats or dtypes.
        """
        digest = hashlib.sha256()
        for table in (self.items, self.interactions):
            for column in table.columns:
                values = [_known(value) for value in table[column].tolist()]
                digest.update(json.dumps([column, values]).encode())
        return digest.hexdigest()


def load_dataset(name: str = "movielens-small-2016") -> Dataset:
    """Read a dataset that ships inside the package; no network, from a checkout or a wheel.

    Args:
        name: one of `EMBEDDED`.

    Returns:
        The checked dataset; two calls give equal, independent tables.

    Raises:
        ValueError: if no dataset has this name.
    """
    if name not in EMBEDDED:
        raise ValueError(
            f"there is no dataset named {name!r}: expected one of {', '.join(EMBEDDED)}; "
            "check the spelling"
        )
    folder = resources.files("rqvae_lib.data") / name
    items = pd.read_parquet(io.BytesIO((folder / "items.parquet").read_bytes()))
    interactions = pd.read_parquet(io.BytesIO((folder / "interactions.parquet").read_bytes()))

    items = add_texts(items.astype({column: ITEM_DTYPES[column] for column in items.columns}))
    rows = _positions(items["item_id"], interactions["item_id"])
    interactions = interactions.assign(item=rows)[list(INTERACTION_DTYPES)]
    return Dataset(name, items, interactions.astype(INTERACTION_DTYPES))


def add_texts(items: pd.DataFrame) -> pd.DataFrame:
    """Return an items table with its last column, the text that `item_text` makes of the others."""
    columns = (items[name] for name in ("title", "year", "genres"))
    texts = [
        item_text(_known(title), _known(year), genres)
        for title, year, genres in zip(*columns, strict=True)
    ]
    return items.assign(text=pd.Series(texts, dtype="string"))


# MovieLens sorts titles like a card index: "Deer Hunter, The", "Bear, The (Ours, L')". An article
# moves back to the front of its title, in the main title and within parentheses alike.
_ARTICLES = "The|An|A|Les|Le|La|L'|Los|Las|Lo|El|Il|I|Der|Die|Das|Den|Det|De|Une|Un|En|Da"
_MOVED_ARTICLE = re.compile(rf"((?:a\.k\.a\. )?)([^()]+), ({_ARTICLES})(?= *(?:[():]|$))")


def display_title(title: str, year: int | None) -> str:
    """A title as people write it: ("Deer Hunter, The", 1978) → "The Deer Hunter (1978)"."""
    title = " ".join(title.split())
    title = _MOVED_ARTICLE.sub(r"\1\3 \2", title).replace("L' ", "L'")
    return title if year is None else f"{title} ({year})"


def item_text(title: str | None, year: int | None, genres: str) -> str:
    """The sentence that describes a movie to a sentence encoder.

    Args:
        title: as the source writes it, or None.
        year: of release, or None.
        genres: separated by "|", "" where none is listed.

    Returns:
        "Toy Story (1995). Genres: Adventure, Animation, Children, Comedy, Fantasy.", less what is
        unknown; "An untitled movie." where nothing is known. Never empty.
    """
    name = "An untitled movie" if title is None else display_title(title, year)
    return f"{name}. Genres: {genres.replace('|', ', ')}." if genres else f"{name}."


def _positions(ids: pd.Series, wanted: Any) -> NDArray[np.int64]:
    """The row of each wanted id in a column of unique ids; -1 where it is not there."""
    return np.asarray(pd.Index(ids).get_indexer(pd.Index(wanted)), dtype=np.int64)


def _known(value: Any) -> Any:
    """The value, or None where pandas says that it is missing."""
    return None if pd.isna(value) else value


def _check_columns(table: str, frame: pd.DataFrame, dtypes: dict[str, str]) -> None:
    if list(frame.columns) != list(dtypes):
        raise ValueError(
            f"{table} has the columns {', '.join(map(str, frame.columns))}, expected "
            f"{', '.join(dtypes)}: rename, add or reorder them"
        )
    for column, dtype in dtypes.items():
        if frame[column].dtype != pd.Series([], dtype=dtype).dtype:
            raise ValueError(
                f"{table}, column {column} has dtype {frame[column].dtype}, expected {dtype}: "
                f'convert it with .astype("{dtype}")'
            )
    if frame.empty:
        raise ValueError(f"{table} has no rows, expected at least one: check what it was read from")
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise ValueError(
            f"{table} has a pandas index that starts {frame.index[:3].tolist()}, expected "
            f"0 … {len(frame) - 1}: call .reset_index(drop=True)"
        )


def _check_items(table: str, items: pd.DataFrame) -> None:
    repeated = items["item_id"].duplicated()
    if repeated.any():
        row = int(repeated.to_numpy().argmax())
        raise ValueError(
            f"{table}, row {row}: item_id {items['item_id'][row]} was seen before, expected each "
            "id once: merge or drop the duplicate"
        )
    if items["genres"].isna().any():
        row = int(items["genres"].isna().to_numpy().argmax())
        raise ValueError(
            f'{table}, row {row}: genres is missing, expected a string: write "" where none is '
            "known"
        )
    empty = items["text"].fillna("").str.strip() == ""
    if empty.any():
        row = int(empty.to_numpy(bool).argmax())
        raise ValueError(
            f"{table}, row {row}: text is empty, expected a sentence about item_id "
            f"{items['item_id'][row]}: make one with item_text(title, year, genres)"
        )


def _check_interactions(table: str, interactions: pd.DataFrame, num_items: int) -> None:
    item = interactions["item"].to_numpy()
    outside = (item < 0) | (item >= num_items)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{table}, row {row}: item is {item[row]}, expected a row of the items table, 0 … "
            f"{num_items - 1}: add the item, or turn ids into rows with dataset.item_index"
        )
    rating = interactions["rating"].to_numpy()
    if not np.isfinite(rating).all():
        row = int((~np.isfinite(rating)).argmax())
        raise ValueError(
            f"{table}, row {row}: rating is {rating[row]}, expected a finite number: fill it in "
            "or drop the row"
        )
    user, time = interactions["user_id"].to_numpy(), interactions["timestamp"].to_numpy()
    falls = (user[1:] < user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] < time[:-1]))
    if falls.any():
        row = int(falls.argmax()) + 1
        raise ValueError(
            f"{table}, row {row}: user {user[row]} at {time[row]} comes after user "
            f"{user[row - 1]} at {time[row - 1]}, expected rows in the order of (user_id, "
            'timestamp): call .sort_values(["user_id", "timestamp"], kind="stable")'
        )
