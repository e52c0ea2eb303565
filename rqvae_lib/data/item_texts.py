"""What an item is called, and the sentence about it that an encoder reads.

MovieLens writes titles like a card index, and a sentence encoder has read how people write them.

Derived in: chapter 01.
"""

import re
from typing import Any

import pandas as pd


def add_texts(items: pd.DataFrame, kind: str = "movie") -> pd.DataFrame:
    """Return an items table with its last column, the text that `item_text` makes of the others."""
    columns = (items[name] for name in ("title", "year", "genres"))
    texts = [
        item_text(known(title), known(year), genres, kind)
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


def item_text(title: str | None, year: int | None, genres: str, kind: str = "movie") -> str:
    """The sentence that describes a movie, or another item, to a sentence encoder.

    Args:
        title: as the source writes it; None, or nothing but spaces, where it is unknown.
        year: of release, or None.
        genres: separated by "|", "" where none is listed.
        kind: what an item without a title is called.

    Returns:
        "Toy Story (1995). Genres: Adventure, Animation, Children, Comedy, Fantasy.", less what is
        unknown; "An untitled movie." where nothing is known. Never empty.
    """
    name = f"An untitled {kind}"
    if title is not None and title.strip():
        name = display_title(title, year)
    return f"{name}. Genres: {genres.replace('|', ', ')}." if genres else f"{name}."


def known(value: Any) -> Any:
    """The value, or None where pandas says that it is missing."""
    return None if pd.isna(value) else value
