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
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rqvae_lib.data.doubtful_ids import doubtful_ids
from rqvae_lib.data.item_rows import of_one_kind, positions, rows_of, shown
from rqvae_lib.data.item_texts import display_titles, known, with_all_texts
from rqvae_lib.data.names import Repeats
from rqvae_lib.data.own_tables import called, check_options, read_interactions, read_items
from rqvae_lib.data.plain_ids import plain_id
from rqvae_lib.data.repeats import (
    check_repeats,
    kept_rows,
    refusal,
    repeats_in,
    sentences,
)
from rqvae_lib.data.row_order import Numbered, numbered, time_order
from rqvae_lib.data.table_files import Source
from rqvae_lib.data.tables import (
    INTERACTION_DTYPES,
    ITEM_DTYPES,
    changes,
    check_columns,
    check_interactions,
    check_items,
    items_checksum,
    plain_ids,
)
from rqvae_lib.data.ties import leaking_orders, sentence, ties
from rqvae_lib.data.times import MICROSECONDS


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
            embedded interactions tie, so this order is part of the data. Timestamps are
            microseconds since 1970-01-01 UTC; where a table has no dates, they only tell which row
            came first.
        articles_last: whether the source writes titles as a card index does, as MovieLens:
            "Deer Hunter, The". They are shown as people write them.
        notes: what the reader of the tables has to say: what it took for what, what it counted,
            what it dropped. They do not belong to the contents, and no checksum covers them.

    Raises:
        ValueError: if a table breaks one of these rules; the message names the table and the row.
    """

    name: str
    items: pd.DataFrame
    interactions: pd.DataFrame
    articles_last: bool = False
    notes: tuple[str, ...] = ()

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
        starts = np.flatnonzero(changes(self.interactions["user_id"])) + 1  # sorted by user
        return np.concatenate([[0], starts, [len(self.interactions)]]).astype(np.int64)

    @cached_property
    def user_ids(self) -> NDArray[Any]:
        """The source's user ids, unique and sorted: (num_users,), int64 or strings."""
        return plain_ids(self.interactions["user_id"].iloc[self.user_offsets[:-1]])

    @cached_property
    def titles(self) -> list[str]:
        """The title to show for each item, such as "The Deer Hunter (1978)".

        A title does not identify an item: two movies are called "Hamlet (2000)".
        """
        return display_titles(self.items, articles_last=self.articles_last)

    @cached_property
    def texts(self) -> list[str]:
        """The text of each item for a sentence encoder. All are "" if the items have no texts."""
        return [str(text) for text in self.items["text"]]

    def item_index(self, item_ids: Sequence[int | str] | NDArray[Any]) -> NDArray[np.int64]:
        """Turn the source's item ids into item indices.

        Args:
            item_ids: ids as in the `item_id` column, shape (n,), in any order: a list, an array or
                a column. Repeats are allowed. As in own tables, a UUID is its text and a whole
                float or decimal a whole number.

        Returns:
            The item indices, shape (n,), int64, in the order of `item_ids`.

        Raises:
            ValueError: if an id is not in the items table, or `item_ids` is not one-dimensional or
                a mask.
        """
        asked = np.asarray(item_ids, dtype=object)
        if asked.ndim != 1:
            raise ValueError(
                f"item_ids is {shown(item_ids)}; expected a list of ids, such as [1, 2]"
            )
        kinds = set(map(type, asked))
        if kinds - {int, str}:
            asked = np.array([plain_id(one) for one in asked] + [None], dtype=object)[:-1]
        if bool in kinds or np.bool_ in kinds:
            raise ValueError(
                "item_ids holds True or False; expected ids, such as [1, 2]: of a mask, pass "
                "dataset.items['item_id'][mask]"
            )
        wanted = pd.Index(asked)  # (n,)
        rows = positions(self.items["item_id"].astype(object), wanted)  # (n,)
        if (rows < 0).any():
            known = self.items["item_id"]
            raise ValueError(
                f"item id {shown(wanted[rows < 0][0])} is not in {self.name}: expected one of its "
                f"{self.num_items:,} ids (from {shown(known.min())} to {shown(known.max())}); "
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
            ValueError: if the user has no interaction in the dataset, or it is no single id.
        """
        user_id = plain_id(user_id)
        if not pd.api.types.is_scalar(user_id) or isinstance(user_id, bool):
            raise ValueError(
                f"user_id is {shown(user_id)}; expected one id, such as {shown(self.user_ids[0])}"
            )
        (row,) = positions(
            pd.Series(self.user_ids, dtype=object), pd.Index([user_id], dtype=object)
        )
        if row < 0:
            raise ValueError(
                f"user {shown(user_id)} is not in {self.name}: expected one of its "
                f"{self.num_users:,} users, whose ids lie between {shown(self.user_ids[0])} and "
                f"{shown(self.user_ids[-1])}; choose one from dataset.user_ids"
            )
        start, end = self.user_offsets[row : row + 2]
        return self.interactions["item"].to_numpy(np.int64)[start:end].copy()

    @cached_property
    def checksum(self) -> str:
        """The sha256 (hex) of the contents of both tables. A checkpoint identifies its data by it.

        It covers the column names and the values in row order, but not the dataset's name, the file
        formats, the dtypes or the notes. A time counts in seconds, as a whole number where it is
        one, so it does not matter in which unit a file has it.
        """
        digest = hashlib.sha256()
        for table in (self.items, self.interactions):
            for column in table.columns:
                # Hash what json.dumps([column, values]) returns, in pieces to save memory.
                digest.update(f"[{json.dumps(column)}, [".encode())
                for start in range(0, len(table), _PIECE):
                    piece = table[column].iloc[start : start + _PIECE]
                    written = _seconds(piece) if column == "timestamp" else _values(piece)
                    digest.update(b", " * (start > 0) + written.encode())
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
        interactions: Source,
        items: Source | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        separator: str | None = None,
        header: bool | None = None,
        time_unit: str | None = None,
        repeats: Repeats = "keep",
        name: str | None = None,
    ) -> "Dataset":
        """Build a dataset from your own tables.

        Args:
            interactions: a DataFrame, another table that speaks Arrow, or a file of any format that
                `read_table` reads, with one row per interaction. It has the columns user_id and
                item_id and may have rating (a finite number, 1 by default) and timestamp (numbers
                or dates, see `read_times`). Without timestamps, the order of the rows is the order
                in time. Other columns are ignored.
            items: likewise, with one row per item. It has the column item_id and may have title,
                year, genres (or other categories, separated by "|" or as lists), text, for a
                sentence encoder, and description, which follows the rest in a text that is made.
                None: the items are those of the interactions, sorted by id.
            columns: your tables' names for these columns, as in {"item_id": "sku"}; numbers from 1
                if there is no header. user, item and time are short keys; "items.item" is for one
                table only. Well-known names are recognized without this.
            separator: what stands between the fields of a text file; by default, it is found.
            header: whether the first line of a text file names the columns; found out by default.
            time_unit: what the timestamps are: "s", "ms", "us" or "ns" since 1970, "order" for
                numbers that only tell which row came first, "date" for numbers such as 20190222,
                or the format of a date, such as "%m/%d/%Y %I:%M:%S %p". By default, the size of the
                numbers tells, and what was taken for what is in `notes`.
            repeats: what becomes of rows in which a user meets an item again. "keep": they are
                events like any others. "first" or "last": only the earliest or the latest of each
                user and item stays, which drops exact duplicates, too. "refuse": an error.
            name: the name of the dataset. By default, it is the path of the interactions file, or
                "your tables" for a DataFrame.

        Returns:
            A dataset with all items in the order of their table, including those that nobody met.
            Row i of your own embeddings therefore belongs to item i. A missing text is made from
            title, year and genres; an item without title and genres becomes "An untitled item.".
            If no item has a title, genres or a text, the dataset has no texts, and a tokenizer
            needs your own embeddings or collaborative vectors.

            Ids in a text file with a delimiter are numbers if all of them are whole numbers,
            otherwise strings, so "007" is not 7. Ids in other tables keep their type.

        Raises:
            ValueError: if a table lacks a column, or a row is not as described; the message names
                the table, the row and the column.
            OSError: if a file cannot be read.
        """
        check_repeats(repeats)
        where = called(interactions, "interactions")
        how = (columns, separator, header)
        check_options(interactions, items, *how)
        met, keys, notes = read_interactions(interactions, *how, time_unit)
        met_items = numbered(met.pop("item_id"))
        notes += doubtful_ids(met_items, "item_id", where)
        if items is None:
            listed, _ = read_items(pd.DataFrame({"item_id": met_items.ids}))
            rows = met_items.codes
        else:
            listed, said = read_items(items, *how)
            notes += said
            listed["item_id"], ids = of_one_kind(listed["item_id"], met_items.ids)
            met_items = met_items._replace(ids=ids)
            of_items = called(items, "items")
            rows = rows_of(met_items.codes, met_items.ids, listed["item_id"], where, of_items)
        del met_items
        listed = with_all_texts(listed)
        users = numbered(met.pop("user_id"))
        notes += doubtful_ids(users, "user_id", where)
        order = time_order(users.codes, users.offsets, keys)
        del keys
        table = _sorted(users, rows, met, order)
        del order
        found = repeats_in(table, users.offsets)
        if repeats == "refuse" and found.total:
            raise refusal(where, users, rows, listed["item_id"])
        notes += sentences(found.total, found.exact, repeats)
        orders = leaking_orders(table, listed, ties(table, users.offsets))
        if orders:
            notes += (sentence(orders, where),)
        kept = kept_rows(found, repeats)
        if kept is not None:
            table = table[kept].reset_index(drop=True)
        return cls(name or called(interactions, "your tables"), listed, table, notes=notes)


def _sorted(
    users: Numbered,
    rows: NDArray[np.integer[Any]],
    met: dict[str, pd.Series],
    order: NDArray[np.integer[Any]],
) -> pd.DataFrame:
    """Return the interactions table in an order, and empty `met` on the way to save memory."""
    columns = {
        "user_id": pd.Series(np.repeat(users.ids.array, np.diff(users.offsets)), copy=False),
        "item": rows[order].astype(np.int64),
        "rating": met.pop("rating").to_numpy()[order],
        "timestamp": met.pop("timestamp").to_numpy()[order],
    }
    return pd.DataFrame(columns, copy=False)


_PIECE = 2**20  # rows of a column that are hashed at a time


def _spelled(counts: Counts) -> str:
    interactions, users, items = (f"{count:,}" for count in counts)
    return f"{interactions} interactions of {users} users with {items} items"


def _values(piece: pd.Series) -> str:
    """Write values as JSON does, with ", " between them."""
    values = piece.tolist()
    if piece.hasnans:
        values = [known(value) for value in values]
    return json.dumps(values)[1:-1]


def _seconds(piece: pd.Series) -> str:
    """Write microseconds as seconds: 5, or 5.25 where they have a fraction."""
    microseconds = piece.to_numpy()
    if not (microseconds % MICROSECONDS).any():
        return json.dumps((microseconds // MICROSECONDS).tolist())[1:-1]
    # A float64 tells the microseconds apart until the year 2106, and Python writes the shortest
    # decimal that names it.
    written = json.dumps((microseconds / MICROSECONDS).tolist())[1:-1]
    return f"{written},".replace(".0,", ",")[:-1]
