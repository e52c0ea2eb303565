"""Finds out which column of a table is what, by its name.

Every publisher names its columns differently: a user is `userId`, `reviewerID` or `uid`. Well-known
names are recognized. Upper and lower case, spaces, "_", "-" and "." do not matter. A name that you
give wins over a known one, and the library's own name wins over its synonyms.

Where a table has several columns that could be the same thing, the field's practice decides if
there is one: Amazon's `parent_asin` before `asin`, a time before a day. Otherwise the table is
refused. Each recognized name is said.

Used by: `read_table`.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from rqvae_lib.data.names import TABLES

SHORT = {"user": "user_id", "item": "item_id", "time": "timestamp"}
NAMES = (
    *("user_id", "item_id", "rating", "timestamp"),
    *("title", "year", "genres", "text", "description"),
)
TEXTS = {"item_id", "title", "genres", "text", "description"}  # one column may be several of them

# Synonyms by rank: a column of an earlier rank is preferred to one of a later rank. Two columns of
# one rank are refused.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "user_id": (
        "userid user uid reviewerid visitorid customerid customer memberid accountid",
        "username",
        "sessionid session",
    ),
    "item_id": (
        "parentasin",
        "itemid item iid asin movieid videoid productid businessid newsid trackid songid bookid "
        "isbn gameid appid articleid sku poiid venueid listingid contentid",
        "id",  # of a table of items only: in a table of interactions, it is the row's own
    ),
    "rating": ("rating ratings overall stars score bookrating",),
    "timestamp": (
        "timestampms timems timestampus timeus timestampns timens",
        "timestamp time ts unixreviewtime unixtime unixtimestamp datetime createdat eventtime "
        "eventtimestamp",
        "date eventdate day reviewtime reviewdate",
    ),
    "title": (
        "title",
        "name movietitle itemtitle itemname producttitle productname booktitle newstitle trackname "
        "songname videotitle gamename appname",
    ),
    "year": ("year releaseyear movieyear publicationyear yearofpublication",),
    "genres": (
        "genres genre",
        "categories",
        "category",
        "tags",
        "class",
        "maincategory maincat",
    ),
    "text": ("text sentence",),
    "description": ("description", "desc plot overview abstract summary synopsis",),
}  # fmt: skip


class Found(NamedTuple):
    """Which column is what."""

    theirs: dict[str, str]  # the library's name → the table's
    said: tuple[str, ...]  # a sentence for each name that was recognized


def asked_columns(
    columns: Mapping[str, str] | None, table: str | None = None, also: Collection[str] = ()
) -> dict[str, str]:
    """Return the names that a reader gave, by the library's full names.

    Args:
        columns: as in `Dataset.from_tables`: {"user_id": "reviewerID"}. The keys user, item and
            time are short for user_id, item_id and timestamp. "items.item" or "interactions.item"
            is for one table only, and wins there.
        table: "interactions", "items" or None; names for the other table are left out.
        also: keys that are allowed beside `NAMES`.

    Raises:
        ValueError: for a key that is not among these names, or two keys for one column.
    """
    asked: dict[str, str] = {}
    keys: dict[str, str] = {}
    # Names for one table come last, so that they win.
    given = {key: str(theirs) for key, theirs in (columns or {}).items()}  # 1 is as good as "1"
    for key, theirs in sorted(given.items(), key=lambda pair: "." in pair[0]):
        own, _, short = key.rpartition(".")
        name = SHORT.get(short, short)
        if ("." in key and own not in TABLES) or name not in (*NAMES, *also):
            raise ValueError(
                f"columns has the key {shown(key)}, expected keys among {', '.join(NAMES)}: write "
                "{the library's name: your table's name}"
            )
        if own and table and own != table:
            continue
        if name in asked and asked[name] != theirs and ("." in keys[name]) == bool(own):
            raise ValueError(
                f"columns has the keys {keys[name]!r} and {key!r} for one column, expected one of "
                "them: leave out the other"
            )
        asked[name], keys[name] = theirs, key
    return asked


def has_a_known_name(
    names: Iterable[str], wanted: Collection[str], asked: Mapping[str, str]
) -> bool:
    """Return whether a line holds a name of a wanted column, so that it must be a header."""
    given = {theirs for theirs in asked.values() if not theirs.isdigit()}  # numbers are places
    return any(
        name in wanted or name in given or any(_ranks(name, own, wanted) for own in wanted)
        for name in names
    )


def find_columns(
    where: str,
    names: Sequence[str],
    needed: Sequence[str],
    optional: Sequence[str],
    asked: Mapping[str, str],
    hint: str = "",
) -> Found:
    """Find the column of each wanted thing.

    Args:
        where: what messages call the table.
        names: the names of all columns of the table.
        needed: the library's names of columns that must be there.
        optional: those that may be there.
        asked: names that a reader gave, as `asked_columns` returns them. An empty name means that
            the table has no such column.
        hint: what else may help if a column is not found.

    Raises:
        ValueError: if a needed column, or one that was asked for, is not there or is there twice,
            or if several columns could be the same thing.
    """
    wanted = (*needed, *optional)
    theirs: dict[str, str] = {}
    said = []
    for name in wanted:
        if name in asked and asked[name] in names:
            theirs[name] = asked[name]
            continue
        if name in asked and name in optional and not asked[name]:
            continue
        # A table of items may call its ids otherwise than the table of interactions.
        if name in asked and (name != "item_id" or "user_id" in wanted):
            raise _absent(where, asked[name] or name, name, names, hint)
        recognized, others = _recognize(where, names, name, wanted, set(asked.values()))
        if recognized is not None:
            theirs[name] = recognized
            if recognized != name:
                before = f", preferred to {' and '.join(map(shown, others))}" if others else ""
                said.append(f"{where}: {name} is the column {shown(recognized)}{before}")
        elif name in needed:
            raise _absent(where, asked.get(name) or name, name, names, hint)
    for name, chosen in theirs.items():
        if list(names).count(chosen) > 1:
            raise ValueError(
                f"{where} has the column {shown(chosen)} twice, expected it once for {name}: "
                "rename or drop one"
            )
    for name, chosen in theirs.items():
        other = next((own for own in theirs if own != name and theirs[own] == chosen), None)
        if other is not None and not {name, other} <= TEXTS:
            raise ValueError(
                f"{where}: the column {shown(chosen)} was given for {name} and for {other}, "
                "expected a column for each: leave out one of them"
            )
    return Found(theirs, tuple(said))


def option(name: str, theirs: str = "…") -> str:
    """Return how a column is named on the command line, such as "user=reviewerID"."""
    short = {long: short for short, long in SHORT.items()}
    return f"{short.get(name, name)}={theirs}"


def shown(name: str) -> str:
    """Return a name for a message, in quotes, and cut if it is very long."""
    return repr(name if len(name) <= 60 else f"{name[:60]}…")


def _recognize(
    where: str, names: Sequence[str], name: str, wanted: Collection[str], taken: Collection[str]
) -> tuple[str | None, list[str]]:
    """Return the column that is a thing by its name, and the others that could be."""
    if name in names and name not in taken:
        return name, []
    ranks = {other: _ranks(other, name, wanted) for other in names if other not in taken}
    could = sorted((rank[0], other) for other, rank in ranks.items() if rank)
    if not could:
        return None, []
    best = [other for rank, other in could if rank == could[0][0]]
    if len(best) > 1:
        raise ValueError(
            f"{where} has the columns {' and '.join(map(shown, best))}, and each could be {name}, "
            f"expected one: say which with --columns {option(name, best[0])[:80]} (in "
            f"Python columns={{{name!r}: {shown(best[0])}}})"
        )
    return best[0], [other for _, other in could[1:]]


def _ranks(theirs: str, name: str, wanted: Collection[str]) -> list[int]:
    """Return the rank of a column's name among a thing's synonyms, or nothing."""
    plain = re.sub(r"[\s_.\-]", "", theirs).lower()
    if plain == "id" and "user_id" in wanted:
        return []
    return [rank for rank, words in enumerate(SYNONYMS.get(name, ())) if plain in words.split()][:1]


def _absent(where: str, theirs: str, name: str, names: Sequence[str], hint: str) -> ValueError:
    return ValueError(
        f"{where} has no column {shown(theirs)}, only {', '.join(names)[:200]!r}; expected it for "
        f"{name}: rename a column, or say which it is with --columns {option(name)} (in Python "
        f"columns={{{name!r}: …}}){hint}"
    )
