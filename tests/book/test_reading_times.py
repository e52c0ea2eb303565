"""Reading times are counted from what a reader sees, and a chapter's head says what was counted."""

from pathlib import Path

import nbformat
import pytest

import reading_times
from reading_times import Counts, code_of, counts_of, sections_of, words_of

MARGIN = 5  # minutes by which what a chapter says may differ from what was counted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Three plain words.", 3),
        ("A [link of four words](https://example.org/a/b) here", 6),
        ("It is said {cite}`holm1979` so", 4),
        ("see {py:obj}`evaluate <rqvae_lib.evaluation.evaluator.evaluate>`", 2),
        ("![An alt text](picture.svg)", 3),
        ("<p class='x'>two words</p>", 2),
        ("9,066 movies, k-means", 3),
        (":::{admonition} Title\n- one thing\n:::", 2),
        ("(label)=\n% a comment\ntext", 1),
        ("```{book-map}\n:width: 3\n```\nafter", 1),
        ("| a | b |\n| --- | --- |\n| c | d |", 4),
    ],
)
def test_words_are_those_that_are_read(text: str, words: int) -> None:
    assert words_of(text) == words


def test_code_counts_names_numbers_and_strings_and_comments_as_prose() -> None:
    source = 'total = sum(row[0], 12)  # over all rows\nprint("two words")\n'
    assert code_of(source) == (4 + 1 + 1 + 2, 3)  # total sum row 0 12; print; two words
    assert code_of("") == (0, 0)


def test_a_page_takes_the_sum_of_its_parts() -> None:
    assert Counts(238, 175, 238, 5).minutes == pytest.approx(4)
    assert Counts(1, 2, 3, 4).plus(Counts(10, 20, 30, 40)) == Counts(11, 22, 33, 44)


def test_a_chapter_is_counted_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded code, the first cell, stubs of exercises and the pixels of a figure have no words."""
    new = nbformat.v4
    picture = new.new_output("display_data", {"image/png": "", "text/plain": "<Figure size 1>"})
    cells = [
        new.new_markdown_cell("# A title\n\nOne two three."),
        new.new_code_cell("first = 1", metadata={"tags": ["remove-cell"]}),
        new.new_code_cell(
            "folded = 1",
            metadata={"tags": ["hide-input"]},
            outputs=[new.new_output("stream", name="stdout", text="0.5 of all\n")],
        ),
        new.new_markdown_cell("## Exercises\n\n### Exercise 1 · X (difficulty ★☆☆, 15 minutes)"),
        new.new_code_cell("stub = 1"),
        new.new_markdown_cell("### Exercise 2 · Y (open task, 40 minutes)"),
        new.new_markdown_cell("## After\n\ntext"),
        new.new_code_cell(
            "plot(x)",
            metadata={"mystnb": {"figure": {"caption": "It rises."}}},
            outputs=[picture],
        ),
        new.new_markdown_cell("**Fig. 1.** It rises.", metadata={"tags": ["remove-cell"]}),
    ]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new.new_notebook(cells=cells), tmp_path / "notebooks" / "99_x.ipynb")
    monkeypatch.setattr(reading_times, "ROOT", tmp_path)
    page = "notebooks/99_x"
    assert sections_of(page) == {
        "": Counts(words=5, printed=3),
        "Exercises": Counts(words=16),
        "After": Counts(words=1 + 1 + 2, code=2, figures=1),
    }
    assert counts_of(page) == Counts(25, 2, 3, 1)
    assert counts_of(page, "After") == sections_of(page)["After"]
    assert reading_times.exercise_minutes(page) == 15  # the open task is for another day
    with pytest.raises(ValueError, match="no section 'Before'"):
        counts_of(page, "Before")


@pytest.mark.parametrize("page", reading_times.chapters())
def test_every_chapter_has_something_of_each_kind(page: str) -> None:
    counts = counts_of(page)
    assert counts.words > 1000
    assert min(counts) > 0
    assert "What to take away" in sections_of(page)  # which the way of one hour reads
    assert reading_times.exercise_minutes(page) > 0
    assert reading_times.stated(page)


@pytest.mark.parametrize("page", reading_times.chapters())
def test_a_chapter_says_how_long_it_takes_to_read(page: str) -> None:
    counted = counts_of(page).minutes
    stated = reading_times.stated(page)
    assert abs(stated - counted) <= MARGIN, (
        f"{page} says {stated} minutes, and {counted:.0f} are counted: write "
        f"`**Time:** about {reading_times.rounded(counted)} minutes to read.`"
    )


@pytest.mark.parametrize(("minutes", "said"), [(0.4, 5), (12.4, 10), (12.6, 15), (45, 45)])
def test_minutes_are_said_to_five(minutes: float, said: int) -> None:
    assert reading_times.rounded(minutes) == said
