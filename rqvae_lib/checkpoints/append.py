"""New items in a bundle: they get IDs, and no published ID moves.

The tokenizer assigns codes to the new items' vectors. An item whose codes are taken gets the next
disambiguation code after those in use. So the order of items decides, across and within batches,
and each append gives the same result every time. Two batches one after another give the same IDs as
both at once, but for one thing: the tokenizer computes whole matrices, and a vector that lies
exactly between two codewords may round to either.

An item that left the shop keeps its row and its ID, which no other item may get.

Derived in: chapter 13.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rqvae_lib.checkpoints.bundle import Bundle
from rqvae_lib.checkpoints.bundle_items import check_table
from rqvae_lib.data.item_texts import add_texts
from rqvae_lib.data.own_tables import read_items
from rqvae_lib.data.tables import items_checksum, plain_ids
from rqvae_lib.io.tensor_files import Card
from rqvae_lib.models.growth import extend_catalogue
from rqvae_lib.ops.arrays import Array, as_vectors
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.tokenizer.health import quantization_errors


class Arrivals(NamedTuple):
    """A table of items, seen from a bundle."""

    items: pd.DataFrame  # all rows, with the columns and dtypes of `Dataset.items`
    known: NDArray[np.int64]  # (M,), the item of the bundle that a row has, −1 for a new one
    is_changed: NDArray[np.bool_]  # (M,), the rows of known items that differ from the bundle's
    said: tuple[str, ...]  # which column was taken for what

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Whether the bundle does not have the item of a row, (M,)."""
        return self.known < 0

    @property
    def new(self) -> pd.DataFrame:
        """The rows of the new items."""
        return self.items[self.is_new].reset_index(drop=True)


def read_arrivals(
    source: pd.DataFrame | str | Path,
    bundle: Bundle,
    *,
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
) -> Arrivals:
    """Read a table of items, of which some or all may be new to a bundle.

    Args:
        source: a DataFrame, or a file, with item_id and, if known, title, year, genres and text, as
            `Dataset.from_tables` reads it.
        bundle: the catalogue to compare with.
        columns, separator, header: as `Dataset.from_tables`.

    Raises:
        ValueError: if the table is not as described, or if its ids are text and the bundle's are
            numbers.
        OSError: if the file cannot be read.
    """
    items, said = read_items(source, columns, separator, header)
    known = bundle.items
    if items["item_id"].dtype != known["item_id"].dtype:
        where = source if isinstance(source, str | Path) else "the table"
        if known["item_id"].dtype == np.int64:
            # As text, 18 digits at most, so that it fits in 64 bits.
            is_number = items["item_id"].str.fullmatch("0|[1-9][0-9]{0,17}").to_numpy(bool)
            if not is_number.all():
                row = int(is_number.argmin())
                raise ValueError(
                    f"{where}, row {row}: found the id {items['item_id'][row]!r}, expected a whole "
                    "number of 0 or more, as all ids of the bundle are: give new items such ids"
                )
        items["item_id"] = items["item_id"].astype(known["item_id"].dtype)
    if (known["text"] == "").all():
        items["text"] = pd.Series([""] * len(items), dtype=known["text"].dtype)
    else:
        made = add_texts(items, "item", articles_last=bundle.articles_last)["text"]
        items["text"] = items["text"].where(items["text"] != "", made)
    rows = pd.Index(known["item_id"]).get_indexer(pd.Index(items["item_id"]))  # −1: new
    is_known = rows >= 0
    before = known.iloc[rows[is_known]].reset_index(drop=True)
    after = items[is_known].reset_index(drop=True)
    same = (before == after) | (before.isna() & after.isna())
    is_changed = np.zeros(len(items), dtype=bool)
    is_changed[is_known] = ~same.fillna(False).astype(bool).all(axis=1).to_numpy()
    return Arrivals(items, np.asarray(rows, dtype=np.int64), is_changed, said)


@own_settings
def append_items(bundle: Bundle, items: pd.DataFrame, vectors: Array) -> Bundle:
    """Return a bundle with new items at the end. Nothing is written: see `write_bundle`.

    Args:
        bundle: the catalogue, as it is published.
        items: M ≥ 1 new items, with the columns and dtypes of `Dataset.items`.
        vectors: shape (M, D), numbers, made as those of the bundle's items were.

    Returns:
        The larger bundle. Its first rows are those of `bundle`. The recommender has the same
        weights, and the grown catalogue (`models.growth.extend_catalogue`); its card names the
        grown items, and as `trained_items` how many of them it was trained on.

    Raises:
        ValueError: if an item is in the bundle already, if there is not one vector per item, or if
            the tokenizer reads other vectors than those of texts.
    """
    check_content(bundle.tokenizer_card)
    check_table(items)
    vectors = as_vectors(vectors, "vectors")
    if len(vectors) != len(items):
        raise ValueError(
            f"there are {len(items):,} new items and {len(vectors):,} vectors; expected one vector "
            "per new item, in the order of the table"
        )
    known = np.isin(plain_ids(items["item_id"]), plain_ids(bundle.items["item_id"]))
    if known.any():
        (item_id, *_) = items["item_id"][known].tolist()  # 5, not np.int64(5)
        raise ValueError(
            f"item {item_id!r} is in the bundle already, and keeps "
            "its ID; expected new items only: leave it out (read_arrivals tells which are new)"
        )
    codes = bundle.tokenizer.assign(vectors)  # (M, L)
    ids = bundle.ids.with_new_items(codes)
    recommender, card = bundle.recommender, bundle.recommender_card
    listed = pd.concat([bundle.items, items], ignore_index=True)
    if recommender is not None:
        card = dict(card or {})
        card.setdefault("trained_items", len(recommender.ids))
        card["items"] = items_checksum(listed)
        recommender = extend_catalogue(recommender, ids)
    errors = quantization_errors(bundle.tokenizer, vectors, codes)
    return replace(
        bundle,
        ids=ids,
        items=listed,
        errors=torch.cat([bundle.errors, errors]),
        recommender=recommender,
        recommender_card=card,
    )


def check_content(card: Card) -> None:
    """Refuse a tokenizer that reads who chose what, which nobody knows of a new item.

    Args:
        card: the tokenizer's.
    """
    content = card.get("content", "text")
    if content != "text":
        part = "its vectors are" if content == "collaborative" else "a part of its vectors is"
        raise ValueError(
            f"the tokenizer was trained on {content!r} vectors: {part} made from who chose which "
            "item, and nobody has chosen a new item yet, so it has no such vector and no codes; "
            "bundle a tokenizer of texts (train-rqvae --content text), or train this one again "
            "once the new items have been chosen"
        )
