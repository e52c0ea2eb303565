"""Titles to show, and texts for an encoder to read."""

import pytest

from rqvae_lib.data.item_texts import display_title, item_text


@pytest.mark.parametrize(
    ("title", "year", "shown"),
    [
        ("Deer Hunter, The", 1978, "The Deer Hunter (1978)"),
        ("Fish Called Wanda, A", 1988, "A Fish Called Wanda (1988)"),
        ("Boot, Das (Boat, The)", 1981, "Das Boot (The Boat) (1981)"),
        ("Bear, The (Ours, L')", 1988, "The Bear (L'Ours) (1988)"),
        ("Good, the Bad and the Ugly, The", 1966, "The Good, the Bad and the Ugly (1966)"),
        ("Pom Poko (a.k.a. Raccoon War, The)", 1994, "Pom Poko (a.k.a. The Raccoon War) (1994)"),
        ("Librarian, The: The Curse", 2008, "The Librarian: The Curse (2008)"),
        ("I, Robot", 2004, "I, Robot (2004)"),
        ("Paris, Texas", 1984, "Paris, Texas (1984)"),
        ("Blind Side, The ", 2009, "The Blind Side (2009)"),
        ("Man Escaped, A (Un  condamné)", 1956, "A Man Escaped (Un condamné) (1956)"),
        ("WALL·E", None, "WALL·E"),
    ],
)
def test_articles_move_to_the_front(title: str, year: int | None, shown: str) -> None:
    assert display_title(title, year, articles_last=True) == shown


@pytest.mark.parametrize("title", ["Vitamin B, C, A", "Hobbit, The", "Trennung, Die"])
def test_titles_of_other_sources_stay(title: str) -> None:
    assert display_title(title, None) == title
    assert item_text(title, 2001, "") == f"{title} (2001)."


def test_item_text_says_what_is_known() -> None:
    assert item_text("Victoria", 2015, "") == "Victoria (2015)."
    assert item_text(None, None, "Action|Sci-Fi") == "An untitled movie. Genres: Action, Sci-Fi."
    assert item_text(None, None, "") == "An untitled movie."
    for blank in ("", "  ", "\n\t"):
        assert item_text(blank, None, "") == "An untitled movie."
        assert item_text(blank, 1995, "Drama", "book") == "An untitled book. Genres: Drama."
