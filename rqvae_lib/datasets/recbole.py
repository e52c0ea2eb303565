"""RecBole's "atomic files", the form in which its authors and many others publish datasets.

    X.inter     who met what: user_id:token, item_id:token, rating:float, timestamp:float
    X.item      what is known of the items: item_id:token, title:token_seq, categories:token_seq
    X.user      what is known of the users; not read

All are separated by tabs. The header gives each field's name and type; a sequence is separated by
spaces, so that a category of several words falls apart. Of a title, the words are put together
again.

Benchmark files, X.train.inter, X.valid.inter and X.test.inter, hold a sequence and the item that
followed it, item_id_list:token_seq and item_id:token. A user has many such rows. The longest one,
with its target, is the user's history; the others must be parts of it. There are no times then, so
the order stands for the time.

The terms are those of each dataset's publisher, which RecBole lists on
https://github.com/RUCAIBox/RecSysDatasets.

Source: Zhao et al., "RecBole: Towards a Unified, Comprehensive and Efficient Framework for
Recommendation Algorithms", CIKM 2021.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.times import SMALL
from rqvae_lib.datasets.published import (
    Published,
    as_dataset,
    check_events,
    counted,
    ids_as_written,
    product_row,
    product_table,
)
from rqvae_lib.datasets.text_files import (
    AGAIN,
    columns_of_fields,
    header_of,
    refuse_rows,
    rows_of_text,
)

PARTS = ("train", "valid", "test")
# How datasets on RecBole's list name what the library needs, the first that is there counts.
_NAMES = {
    "user_id": ("user_id", "session_id", "uid", "user", "userId", "reviewer_id"),
    "item_id": (
        *("item_id", "video_id", "product_id", "business_id", "artist_id", "movie_id", "news_id"),
        *("track_id", "tracks_id", "venue_id", "book_id", "location_id", "iid", "item", "asin"),
    ),
    "rating": ("rating", "stars", "watch_ratio", "overall"),
    "timestamp": ("timestamp", "time", "time_ms", "date"),
    "title": ("title", "movie_title", "item_name", "name", "app_name", "book_title"),
    "year": ("release_year", "year", "year_of_publication"),
    "brand": ("brand", "developer", "author", "book_author"),
    "categories": ("categories", "category", "genre", "genres", "class", "tags"),
}


def find_recbole(folder: Path) -> list[Path]:
    """Return the files of interactions in a folder: of one dataset, those of its parts together."""
    return sorted(folder.glob("*.inter"))


def read_recbole(folder: str | Path) -> Dataset:
    """Read a folder with RecBole's atomic files of one dataset.

    Args:
        folder: holds X.inter, or the benchmark files X.train.inter, X.valid.inter and X.test.inter,
            and perhaps X.item.

    Returns:
        The dataset X. Interactions with items that X.item does not list are kept, which RecBole
        drops, and are counted in `Dataset.notes`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a line is not as described; the message names the file and the line.
    """
    folder = Path(folder)
    paths = find_recbole(folder)
    name = _name_of(folder, paths)
    parts = [folder / f"{name}.{part}.inter" for part in PARTS]
    if folder / f"{name}.inter" in paths:
        events, fields, notes = _events([folder / f"{name}.inter"])
        ignored = [path.name for path in parts if path in paths]
        if ignored:
            notes.append(f"{', '.join(ignored)} are parts of {name}.inter and are not read")
    else:
        there = [path for path in parts if path in paths]
        events, fields, notes = _events(there)
        absent = [path.name for path in parts if path not in paths]
        if absent:
            notes.append(f"there is no {' and no '.join(absent)}, so what it holds is missing")
    items, more = _items(folder / f"{name}.item", fields["item_id"])
    if items is not None and items["item_id"].dtype != events["item_id"].dtype:
        items["item_id"] = items["item_id"].astype("string")
        events["item_id"] = events["item_id"].astype("string")
    unit = "order" if "timestamp" not in fields else _unit(events["timestamp"])
    if unit in ("ms", "us"):
        notes.append(
            f"{fields['timestamp']} is taken as {'milli' if unit == 'ms' else 'micro'}seconds: as "
            "seconds, the last ones would be after the year 2106"
        )
    notes = [*notes, *more]
    return as_dataset(Published(name, events, items, unit, tuple(notes), f"{name}.item"))


def _name_of(folder: Path, paths: list[Path]) -> str:
    """Return the X of X.inter. A folder with several datasets is refused."""
    names = []
    for path in paths:
        stem = path.name.removesuffix(".inter")
        first, _, part = stem.rpartition(".")
        names.append(first if part in PARTS else stem)
    found = sorted(set(names))
    if not found:
        raise FileNotFoundError(f"{folder} has no .inter file, expected one: {AGAIN}")
    if len(found) > 1:
        raise ValueError(
            f"{folder} has both {found[0]} and {found[1]}, expected the .inter file of one "
            "dataset: move the others to folders of their own"
        )
    return found[0]


def _events(paths: list[Path]) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Return the interactions, the fields that the columns were, and what to say about them."""
    fields = _fields(paths[0])
    chosen = {ours: theirs for ours in _NAMES if (theirs := _field(fields, ours))}
    for ours in ("user_id", "item_id"):
        if ours not in chosen:
            raise ValueError(
                f"{paths[0]}, line 1: found the fields {', '.join(fields)[:160]!r}, "
                f"expected one of {', '.join(_NAMES[ours][:4])}, … with :token for the "
                f"{ours.removesuffix('_id')}: rename a field"
            )
    # A sequence of items is named after the field of the item. There may be others, as of tags.
    sequence = f"{chosen['item_id'].rpartition(':')[0]}_list:token_seq"
    if sequence in fields:
        events, notes = _histories(paths, chosen, sequence)
        return events, {"user_id": chosen["user_id"], "item_id": chosen["item_id"]}, notes
    if "timestamp" not in chosen:
        raise ValueError(
            f"{paths[0]}, line 1: found the fields {', '.join(fields)[:160]!r} and no time, "
            "expected timestamp:float: without times these are no sequences, since the order of "
            "the lines means nothing; choose a dataset with times"
        )
    wanted = ("user_id", "item_id", "rating", "timestamp")
    chosen = {ours: chosen[ours] for ours in wanted if ours in chosen}
    kinds = {
        theirs: "string" if ours.endswith("_id") else _kind(ours) for ours, theirs in chosen.items()
    }
    ours_of = {theirs: ours for ours, theirs in chosen.items()}
    tables = [columns_of_fields(path, kinds, "\t").rename(columns=ours_of) for path in paths]
    events = pd.concat(tables, ignore_index=True)
    for path, table in zip(paths, tables, strict=True):
        check_events(path, table, chosen, _unit(events["timestamp"]), header=True)
    for ours in ("user_id", "item_id"):
        events[ours] = ids_as_written(events[ours])
    renamed = [
        f"{ours} is the field {theirs!r}"
        for ours, theirs in chosen.items()
        if theirs.split(":")[0] != ours
    ]
    return events, chosen, renamed


def _kind(ours: str) -> str:
    return "number" if ours == "timestamp" else "float64"


def _fields(path: Path) -> tuple[str, ...]:
    """Return the fields of a file's header, and check that each has a type."""
    names = header_of(path, "\t")
    types = ("token", "token_seq", "float", "float_seq")
    for name in names:
        if name.rpartition(":")[2] not in types or ":" not in name:
            raise ValueError(
                f"{path}, line 1: found the field {name[:40]!r}, expected name:type with one of "
                f"the types {', '.join(types)}: {AGAIN}"
            )
    return names


def _field(fields: tuple[str, ...], ours: str) -> str | None:
    """Return the field for one of the library's columns, with its type, or None."""
    by_name = {name.rpartition(":")[0]: name for name in fields}
    for theirs in _NAMES[ours]:
        kind = by_name.get(theirs, "").rpartition(":")[2]
        if kind in ("token", "float") or (kind and ours in ("title", "categories", "brand")):
            return by_name[theirs]
    return None


def _unit(times: pd.Series) -> str:
    """Return the unit of times: an order, seconds, or, if after the year 2106, a finer one."""
    latest = times.max()
    if latest < SMALL:
        return "order"
    if latest < 2**32:
        return "s"
    return "ms" if latest < 2**32 * 1000 else "us"


def _histories(
    paths: list[Path], chosen: Mapping[str, str], sequence: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return each user's longest sequence as interactions, and what to say about the others."""
    longest: dict[str, list[str]] = {}
    rows: list[tuple[str, list[str]]] = []
    user, item = chosen["user_id"], chosen["item_id"]
    for path in reversed(paths):  # of sequences cut to one length, the last ones are in the test
        kinds = {user: "string", sequence: "string", item: "string"}
        table = columns_of_fields(path, kinds, "\t")
        for name in (user, item):
            blank = table[name].str.strip() == ""
            refuse_rows(path, blank, name, table[name], "an id", header=True)
        for one, listed, target in zip(table[user], table[sequence], table[item], strict=True):
            history = [*listed.split(), target]
            rows.append((one, history))
            if len(history) > len(longest.get(one, ())):
                longest[one] = history
    other = sum(not _is_part(history, longest[one]) for one, history in rows)
    notes = [
        f"each user's history is the longest of the user's sequences in "
        f"{', '.join(path.name for path in paths)}, with its target; there are no times, so the "
        "order stands for the time"
    ]
    if other:
        notes.append(
            f"{other:,} of {counted(len(rows), 'sequence')} not a part of that history: left out"
        )
    events = pd.DataFrame(
        [(one, met) for one, history in longest.items() for met in history],
        columns=["user_id", "item_id"],
    ).astype("string")
    for ours in events.columns:
        events[ours] = ids_as_written(events[ours])
    events["timestamp"] = range(len(events))
    return events, notes


def _is_part(part: list[str], whole: list[str]) -> bool:
    """Return whether a sequence occurs in another one, without gaps."""
    size = len(part)
    return any(whole[start : start + size] == part for start in range(len(whole) - size + 1))


def _items(path: Path, their_item: str) -> tuple[pd.DataFrame | None, list[str]]:
    """Return what X.item knows, and what to say about it."""
    if not path.is_file():
        return None, []
    fields = _fields(path)
    chosen = {
        ours: theirs
        for ours in ("title", "year", "brand", "categories")
        if (theirs := _field(fields, ours))
    }
    key = their_item if their_item in fields else _field(fields, "item_id")
    if key is None:
        raise ValueError(
            f"{path}, line 1: found the fields {', '.join(fields)[:160]!r}, expected "
            f"{their_item}: rename a field"
        )
    rows, numbers = rows_of_text(path, fields, "\t", "utf-8")
    place = {ours: fields.index(theirs) for ours, theirs in chosen.items()}
    known, odd_years = [], 0
    for row, number in list(zip(rows, numbers, strict=True))[1:]:
        item_id = row[fields.index(key)]
        if not item_id.strip():
            raise ValueError(f"{path}, line {number}: {key} is '', expected an id: {AGAIN}")
        texts = {ours: row[index] for ours, index in place.items()}
        year = _year(texts.get("year", ""))
        odd_years += bool(texts.get("year", "").strip()) and year is None
        known.append(
            product_row(
                item_id,
                texts.get("title", ""),
                texts.get("brand", ""),
                _categories(texts.get("categories", ""), chosen.get("categories", "")),
                year,
            )
        )
    if not known:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    table = product_table(known)
    table["item_id"] = ids_as_written(table["item_id"].astype("string"))
    notes = []
    if odd_years:
        notes.append(
            f"{counted(odd_years, 'value')} of {chosen['year']!r} in {path.name} that cannot be a "
            "year: left out"
        )
    return table, notes


def _year(text: str) -> int | None:
    text = text.strip().removesuffix(".0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else None


def _categories(text: str, field: str) -> list[str]:
    """Split a sequence at spaces, or at commas where its words are separated by these."""
    text = text
    if "," in text:
        return [part.strip(" '\"[]") for part in text.split(",")]
    if field.endswith(":token_seq"):
        return [part.strip("'\"[]") for part in text.split()]
    return [text]
