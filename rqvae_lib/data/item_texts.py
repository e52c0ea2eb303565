"""Item titles, and the sentence that describes an item to a sentence encoder.

MovieLens writes titles as a card index does ("Deer Hunter, The"). A sentence encoder has learned
from titles as people write them, so they are turned around. Titles of other sources stay as they
are: "Vitamins B, C, A" is no card index.

Derived in: chapter 01.
"""

import re
from typing import Any

import pandas as pd


def add_texts(
    items: pd.DataFrame, kind: str = "movie", *, articles_last: bool = False
) -> pd.DataFrame:
    """Return an items table whose text column is made by `item_text` from the other columns.

    Args:
        items: a table with the columns title, year and genres.
        kind, articles_last: as `item_text`.
    """
    columns = (items[name] for name in ("title", "year", "genres"))
    texts = [
        item_text(known(title), known(year), genres, kind, articles_last=articles_last)
        for title, year, genres in zip(*columns, strict=True)
    ]
    return items.assign(text=pd.Series(texts, dtype="string"))


def with_all_texts(items: pd.DataFrame) -> pd.DataFrame:
    """Return an items table of one's own with a text for every item, or for none.

    Args:
        items: a table with the columns title, year, genres and text, "" where there is no text.
            If no item has a title, genres or a text, it is returned itself.
    """
    if not items[["title", "genres", "text"]].fillna("").to_numpy().any():
        return items
    made = add_texts(items, "item")["text"]
    return items.assign(text=items["text"].where(items["text"] != "", made))


# MovieLens sorts titles like a card index: "Deer Hunter, The", "Bear, The (Ours, L')". Move each
# article back to the front, in the main title and in parentheses.
_ARTICLES = "The|An|A|Les|Le|La|L'|Los|Las|Lo|El|Il|I|Der|Die|Das|Den|Det|De|Une|Un|En|Da"
_MOVED_ARTICLE = re.compile(rf"((?:a\.k\.a\. )?)([^()]+), ({_ARTICLES})(?= *(?:[():]|$))")


def display_titles(items: pd.DataFrame, *, articles_last: bool = False) -> list[str]:
    """Return the title to show for each item, such as "The Deer Hunter (1978)".

    Args:
        items: a table with the columns item_id, title and year.
        articles_last: as `display_title`.
    """
    columns = (items[name] for name in ("item_id", "title", "year"))
    return [
        f"Untitled {item_id}"
        if pd.isna(title)
        else display_title(title, known(year), articles_last=articles_last)
        for item_id, title, year in zip(*columns, strict=True)
    ]


def display_title(title: str, year: int | None, *, articles_last: bool = False) -> str:
    """Return a title as people write it, and its year: ("Heat", 1995) → "Heat (1995)".

    Args:
        title: the title as the source writes it.
        year: the year of release, or None.
        articles_last: whether the source writes titles as MovieLens does, as in a card index. If
            so, "Deer Hunter, The" becomes "The Deer Hunter".
    """
    title = " ".join(title.split())
    if articles_last:
        title = _MOVED_ARTICLE.sub(r"\1\3 \2", title).replace("L' ", "L'")
    return title if year is None else f"{title} ({year})"


def item_text(
    title: str | None,
    year: int | None,
    genres: str,
    kind: str = "movie",
    *,
    articles_last: bool = False,
) -> str:
    """Return the sentence that describes a movie, or another item, to a sentence encoder.

    Args:
        title: the title as the source writes it; None or blank if unknown.
        year: the year of release, or None. It is used only with a title.
        genres: separated by "|"; "" if none is listed.
        kind: the word for an item without a title.
        articles_last: as `display_title`.

    Returns:
        "Toy Story (1995). Genres: Adventure, Animation, Children, Comedy, Fantasy.", without the
        parts that are unknown; "An untitled movie." if nothing is known. Never empty.
    """
    name = f"An untitled {kind}"
    if title is not None and title.strip():
        name = display_title(title, year, articles_last=articles_last)
    return f"{name}. Genres: {genres.replace('|', ', ')}." if genres else f"{name}."


def known(value: Any) -> Any:
    """Return the value, or None if pandas considers it missing."""
    return None if pd.isna(value) else value
