"""Filters: which ratings, repeats, users and items of a dataset are left out.

Papers drop low ratings, users with few interactions and rare items, and a number of theirs holds
only for what they kept. So the table of what each step left belongs beside every result.

Used by: datasets. Derived in: chapter 01.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqvae_lib.data.dataset import Counts, Dataset
from rqvae_lib.data.k_core import k_core as core_of
from rqvae_lib.data.names import Repeats
from rqvae_lib.data.repeats import check_repeats, kept_rows, repeats_in, sentences, without_kept
from rqvae_lib.ops.arrays import as_row


class Step(NamedTuple):
    """What one filter left."""

    name: str  # "ratings from 4"
    counts: Counts


class Filtered(NamedTuple):
    """A filtered dataset, and what each filter left of it."""

    dataset: Dataset  # item i of it is item item_rows[i] of the original dataset
    item_rows: NDArray[np.int64]  # (N',) ascending: embeddings[item_rows] are the dataset's
    steps: tuple[Step, ...]  # the first is "as read"; empty if no filter was asked for


def filtered(
    dataset: Dataset,
    *,
    min_rating: float | None = None,
    repeats: Repeats | None = None,
    min_interactions: int | None = None,
    k_core: int | None = None,
) -> Filtered:
    """Leave out rows, users and items, in the order of the arguments.

    Only `k_core` changes the catalogue. After the other filters, the items table has all items as
    before, also those that nobody meets any more.

    Args:
        dataset: what to filter.
        min_rating: rows with a lower rating are dropped.
        repeats: as for `Dataset.from_tables`. None keeps all rows.
        min_interactions: users with fewer rows are dropped.
        k_core: users and items with fewer rows are dropped until none is left, as by `k_core`.

    Returns:
        The dataset, whose `notes` say what each step left, and these steps. It is `dataset` itself
        if nothing was asked for.

    Raises:
        ValueError: if a number is out of range, if nothing remains, or if `repeats` is "refuse" and
            a user meets an item twice.
    """
    asked: list[tuple[str, Callable[[Dataset], Dataset]]] = []
    rows = np.arange(dataset.num_items)
    if min_rating is not None:
        asked.append((f"ratings from {min_rating:g}", lambda data: _rated(data, min_rating)))
    if repeats is not None:
        check_repeats(repeats)
        if repeats != "keep":
            asked.append((f"repeats: {repeats}", lambda data: _without_repeats(data, repeats)))
    if min_interactions is not None:
        name = f"users from {min_interactions} rows"
        asked.append((name, lambda data: _active(data, min_interactions)))
    if not asked and k_core is None:
        return Filtered(dataset, rows, ())
    steps = [Step("as read", counts_of(dataset))]
    for name, step in asked:
        dataset = step(dataset)
        steps.append(Step(name, counts_of(dataset)))
    if k_core is not None:
        notes = dataset.notes
        dataset, rows = core_of(dataset, k_core)
        dataset = dataclasses.replace(dataset, notes=notes)
        steps.append(Step(f"{k_core}-core", counts_of(dataset)))
    return Filtered(dataset, rows, tuple(steps))


def counts_of(dataset: Dataset) -> Counts:
    """Return the numbers of interactions, of users, and of items that somebody met."""
    met = np.zeros(dataset.num_items, dtype=np.bool_)
    met[dataset.interactions["item"].to_numpy()] = True
    return Counts(len(dataset.interactions), dataset.num_users, int(met.sum()))


def table_of(steps: tuple[Step, ...]) -> list[str]:
    """Return the lines of a table: what each filter left."""
    rows = [["", "interactions", "users", "items"]]
    rows += [[name, *(f"{count:,}" for count in counts)] for name, counts in steps]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [f"{first:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(rest, widths[1:], strict=True))]
        )
        for first, *rest in rows
    ]


def _rated(dataset: Dataset, min_rating: float) -> Dataset:
    if not np.isfinite(min_rating):
        raise ValueError(f"min_rating is {min_rating}, expected a finite number (--min-rating)")
    ratings = dataset.interactions["rating"].to_numpy()
    kept = ratings >= np.float32(min_rating)
    if not kept.any():
        raise ValueError(
            f"{dataset.name} has no rating of {min_rating:g} or more, the highest is "
            f"{ratings.max():g}: choose a lower --min-rating, in Python min_rating"
        )
    return _of_rows(dataset, kept)


def _active(dataset: Dataset, min_interactions: int) -> Dataset:
    min_interactions = as_row(min_interactions, "min_interactions")
    if min_interactions < 1:
        raise ValueError(
            f"min_interactions is {min_interactions}, expected 1 or more (--min-interactions)"
        )
    lengths = np.diff(dataset.user_offsets)  # (U,)
    if (lengths < min_interactions).all():
        raise ValueError(
            f"{dataset.name} has no user with {min_interactions:,} interactions, the most active "
            f"has {lengths.max():,}: choose a lower --min-interactions, in Python min_interactions"
        )
    return _of_rows(dataset, np.repeat(lengths >= min_interactions, lengths))


def _without_repeats(dataset: Dataset, repeats: Repeats) -> Dataset:
    found = repeats_in(dataset.interactions, dataset.user_offsets)
    if repeats == "refuse" and found.total:
        row = int(found.again.argmax())
        (item,) = dataset.items["item_id"].iloc[[dataset.interactions["item"][row]]].tolist()
        (user,) = dataset.interactions["user_id"].iloc[[row]].tolist()
        raise ValueError(
            f"{dataset.name}: user {user!r} meets item {item!r} again in row {row} of the sorted "
            "interactions, expected each pair once, since repeats is 'refuse': keep the 'first' or "
            "the 'last' of each pair (--repeats)"
        )
    kept = kept_rows(found, repeats)
    if kept is None:
        return dataset
    smaller = _of_rows(dataset, kept)
    notes = without_kept(smaller.notes) + sentences(found.total, found.exact, repeats)
    return dataclasses.replace(smaller, notes=notes)


def _of_rows(dataset: Dataset, kept: NDArray[np.bool_]) -> Dataset:
    """Return a dataset with the interactions for which `kept`, (E,) bool, is true."""
    if kept.all():
        return dataset
    table = dataset.interactions[kept].reset_index(drop=True)
    return dataclasses.replace(dataset, interactions=table)
