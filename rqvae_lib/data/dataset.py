"""Interactions and items as typed tables.

A recommender sees two tables: *items* (what can be recommended, and what is known about each item)
and *interactions* (who met which item, and when). All other code refers to an item by its row in
the items table, its **item index**. A history is therefore an array of small integers, and row i of
any embedding or code matrix belongs to item i. `Dataset.from_tables` builds a dataset from your own
tables.

Derived in: chapter 01.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.data.item_texts import add_texts, display_title, known
from rqvae_lib.data.own_tables import called, read_interactions, read_items
from rqvae_lib.data.tables import (
    INTERACTION_DTYPES,
    ITEM_DTYPES,
    check_columns,
    check_interactions,
    check_items,
    items_checksum,
    plain_ids,
)


class Counts(NamedTuple):
    """The size of a dataset. It tells two datasets of the same name apart."""

    interactions: int
    users: int
    items: int  # with at least one interaction


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items and interactions, checked against each other. Treat the tables as read-only.

    Attributes:
        name: the dataset's name in messages and in checkpoint cards.
        items: one row per item, with the columns and dtypes of `ITEM_DTYPES`. Row i is item index
            i, and the pandas index is 0 … num_items - 1.
        interactions: one row per interaction, with the columns and dtypes of `INTERACTION_DTYPES`,
            sorted by (user_id, timestamp). Ties keep the order of the source. A third of the
            embedded interactions tie, so this order is part of the data.

    Raises:
        ValueError: if a table breaks one of these rules; the message names the table and the row.
    """

    name: str
    items: pd.DataFrame
    interactions: pd.DataFrame

    def __post_init__(self) -> None:
        check_columns(f"{self.name}: items", self.items, ITEM_DTYPES)
        check_columns(f"{self.name}: interactions", self.interactions, INTERACTION_DTYPES)
        check_items(f"{self.name}: items", self.items)
        check_interactions(f"{self.name}: interactions", self.interactions, len(self.items))

    @property
    def num_items(self) -> int:
        """The number of rows of the items table. Item indices run from 0 to num_items - 1."""
        return len(self.items)

    @property
    def num_users(self) -> int:
        """The number of users with at least one interaction."""
        return len(self.user_offsets) - 1

    @property
    def has_texts(self) -> bool:
        """Whether the items have texts for a sentence encoder."""
        return bool(self.items["text"].iloc[0])

    @cached_property
    def user_offsets(self) -> NDArray[np.int64]:
        """The rows where each user's interactions begin, and the end: (num_users + 1,) int64."""
        users = plain_ids(self.interactions["user_id"])  # sorted
        changes = np.flatnonzero(users[1:] != users[:-1]) + 1
        return np.concatenate([[0], changes, [len(users)]]).astype(np.int64)

    @cached_property
    def user_ids(self) -> NDArray[Any]:
        """The source's user ids, unique and sorted: (num_users,), int64 or strings."""
        return plain_ids(self.interactions["user_id"])[self.user_offsets[:-1]]

    @cached_property
    def titles(self) -> list[str]:
        """The title to show for each item, such as "The Deer Hunter (1978)".

        A title does not identify an item: two movies are called "Hamlet (2000)".
        """
        columns = (self.items[name] for name in ("item_id", "title", "year"))
        return [
            f"Untitled {item_id}" if pd.isna(title) else display_title(title, known(year))
            for item_id, title, year in zip(*columns, strict=True)
        ]

    @cached_property
    def texts(self) -> list[str]:
        """The text of each item for a sentence encoder. All are "" if the items have no texts."""
        return [str(text) for text in self.items["text"]]

    def item_index(self, item_ids: Sequence[int | str] | NDArray[Any]) -> NDArray[np.int64]:
        """Turn the source's item ids into item indices.

        Args:
            item_ids: ids as in the `item_id` column, shape (n,), in any order. Repeats are allowed.

        Returns:
            The item indices, shape (n,), int64, in the order of `item_ids`.

        Raises:
            ValueError: if an id is not in the items table, or `item_ids` is not one-dimensional.
        """
        asked = np.asarray(item_ids, dtype=object)
        if asked.ndim != 1:
            raise ValueError(f"item_ids is {item_ids!r}; expected a list of ids, such as [1, 2]")
        wanted = pd.Index(asked)  # (n,)
        rows = _positions(self.items["item_id"].astype(object), wanted)  # (n,)
        if (rows < 0).any():
            known = self.items["item_id"]
            raise ValueError(
                f"item id {_shown(wanted[rows < 0][0])} is not in {self.name}: expected one of its "
                f"{self.num_items:,} ids (from {_shown(known.min())} to {_shown(known.max())}); "
                "look up the ids in the item_id column of dataset.items"
            )
        return rows

    def user_history(self, user_id: int | str) -> NDArray[np.int64]:
        """Return the items that one user met, oldest first. Ties keep the order of the source.

        Args:
            user_id: the source's id of the user, one of `user_ids`.

        Returns:
            Item indices, shape (length of the history,), int64.

        Raises:
            ValueError: if the user has no interaction in the dataset.
        """
        (row,) = _positions(
            pd.Series(self.user_ids, dtype=object), pd.Index([user_id], dtype=object)
        )
        if row < 0:
            raise ValueError(
                f"user {_shown(user_id)} is not in {self.name}: expected one of its "
                f"{self.num_users:,} users, whose ids lie between {_shown(self.user_ids[0])} and "
                f"{_shown(self.user_ids[-1])}; choose one from dataset.user_ids"
            )
        start, end = self.user_offsets[row : row + 2]
        return self.interactions["item"].to_numpy(np.int64)[start:end].copy()

    @cached_property
    def checksum(self) -> str:
        """The sha256 (hex) of the contents of both tables. A checkpoint identifies its data by it.

        It covers the column names and the values in row order, but not the dataset's name, the file
        formats or the dtypes.
        """
        digest = hashlib.sha256()
        for table in (self.items, self.interactions):
            for column in table.columns:
                # Hash what json.dumps([column, values]) returns, in pieces to save memory.
                digest.update(f"[{json.dumps(column)}, [".encode())
                for start in range(0, len(table), _PIECE):
                    piece = table[column].iloc[start : start + _PIECE]
                    values = piece.tolist()
                    if piece.hasnans:
                        values = [known(value) for value in values]
                    digest.update(b", " * (start > 0) + json.dumps(values)[1:-1].encode())
                digest.update(b"]]")
        return digest.hexdigest()

    @cached_property
    def items_checksum(self) -> str:
        """The sha256 (hex) of the contents of the items table, in row order.

        It does not change when interactions are added, so it identifies the data of a model that
        reads only the items.
        """
        return items_checksum(self.items)

    def check_counts(self, expected: Counts | None, where: str) -> None:
        """Raise ValueError unless the dataset has its published size.

        Args:
            expected: the published size. None accepts any size.
            where: the file or folder that the dataset was read from, for the message.

        Raises:
            ValueError: if the number of interactions, users or items with interactions differs.
        """
        met = int((np.bincount(self.interactions["item"], minlength=self.num_items) > 0).sum())
        found = Counts(len(self.interactions), self.num_users, met)
        if expected is not None and found != expected:
            raise ValueError(
                f"{where} holds {_spelled(found)}, expected {_spelled(expected)} in {self.name}: "
                "this is another edition of the data, or a part of it; name the folder itself to "
                "read it as it is"
            )

    @classmethod
    def from_tables(
        cls,
        interactions: pd.DataFrame | str | Path,
        items: pd.DataFrame | str | Path | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> "Dataset":
        """Build a dataset from your own tables.

        Args:
            interactions: a DataFrame, or a .csv, .tsv or .parquet file, with one row per
                interaction. It has the columns user_id and item_id and may have rating (a finite
                number, 1 by default) and timestamp (seconds since 1970, or dates). Without
                timestamps, the order of the rows is the order in time. Other columns are ignored.
            items: likewise, with one row per item. It has the column item_id and may have title,
                year, genres (or other categories, separated by "|") and text, for a sentence
                encoder. None: the items are those of the interactions, sorted by id.
            columns: your tables' names for these columns, as in {"item_id": "sku"}.
            name: the name of the dataset. By default, it is the path of the interactions file, or
                "your tables" for a DataFrame.

        Returns:
            A dataset with all items in the order of their table, including those that nobody met.
            Row i of your own embeddings therefore belongs to item i. A missing text is made from
            title, year and genres; an item without title and genres becomes "An untitled item.".
            If no item has a title, genres or a text, the dataset has no texts, and a tokenizer
            needs your own embeddings or collaborative vectors. A title such as "Hobbit, The" is
            shown as "The Hobbit".

            Ids in a .csv or .tsv file are numbers if all of them are whole numbers, otherwise
            strings, so "007" is not 7. Ids in a DataFrame or a .parquet file keep their type.

        Raises:
            ValueError: if a table lacks a column, or a row is not as described; the message names
                the table, the row and the column.
            OSError: if a file cannot be read.
        """
        met = read_interactions(interactions, columns or {})
        if items is None:
            item_ids = met["item_id"].drop_duplicates().sort_values(ignore_index=True)
            listed = read_items(pd.DataFrame({"item_id": item_ids}), {})
        else:
            listed = read_items(items, columns or {})
            if listed["item_id"].dtype != met["item_id"].dtype:  # numbers and strings
                listed["item_id"] = listed["item_id"].astype("string")
                met["item_id"] = met["item_id"].astype("string")
        rows = _positions(listed["item_id"], met["item_id"])
        if (rows < 0).any():
            row = int((rows < 0).argmax())
            (unknown,) = met["item_id"].iloc[[row]].tolist()  # 5, not np.int64(5)
            raise ValueError(
                f"{called(interactions, 'interactions')}, row {row}: item_id "
                f"{unknown!r} is not in {called(items, 'items')}, expected one "
                "of its items: add the item, or drop the row"
            )
        if listed[["title", "genres", "text"]].fillna("").to_numpy().any():
            made = add_texts(listed, "item")["text"]
            listed["text"] = listed["text"].where(listed["text"] != "", made)
        met = met.assign(item=rows)[list(INTERACTION_DTYPES)]
        met = met.sort_values(["user_id", "timestamp"], kind="stable", ignore_index=True)
        return cls(name or called(interactions, "your tables"), listed, met)


_PIECE = 2**20  # rows of a column that are hashed at a time


def _spelled(counts: Counts) -> str:
    interactions, users, items = (f"{count:,}" for count in counts)
    return f"{interactions} interactions of {users} users with {items} items"


def _positions(ids: pd.Series, wanted: Any) -> NDArray[np.int64]:
    """Return the row of each wanted id in a column of unique ids, or -1 if it is not there."""
    return np.asarray(pd.Index(ids).get_indexer(pd.Index(wanted)), dtype=np.int64)


def _shown(value: object) -> str:
    """Write an id as Python does, to tell the number 1 from the string '1'."""
    return repr(value.item() if isinstance(value, np.generic) else value)
