"""The self-check's questions: how they are read and shown, and that nothing gives them away."""

import re
from pathlib import Path
from textwrap import dedent, indent

import jupytext
import pytest

from notebooks import code_cells, read_source, source_names
from questions import KINDS, WITHOUT_THE_CHAPTER, Question, load, markdown, path_of, put_questions
from tests.book.question_lint import COPIED, complaints, given_away, place_complaints, runs
from tests.helpers import ROOT

NAMES = [name for name in source_names(ROOT) if path_of(ROOT, name).is_file()]


def test_there_are_questions() -> None:
    assert len(NAMES) >= 2
    files = sorted(path.stem for path in (ROOT / "notebooks" / "questions").iterdir())
    assert files == [name[:2] for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_gives_a_question_away(name: str) -> None:
    assert complaints(load(path_of(ROOT, name))) == []


def test_neither_letters_nor_other_chapters_give_one_away() -> None:
    chapters = [load(path_of(ROOT, name)) for name in NAMES]
    assert place_complaints(chapters) == []
    assert given_away([question for chapter in chapters for question in chapter]) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_question_rests_on_a_cell_or_a_figure_that_is_there(name: str) -> None:
    cells = code_cells(read_source(ROOT / "notebooks" / f"{name}.py"))
    figures = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells}
    for question in load(path_of(ROOT, name)):
        if question.cell:
            assert sum(question.cell in cell.source for cell in cells) == 1, question.id
        if question.figure:
            assert question.figure in figures, question.id


@pytest.mark.parametrize("name", NAMES)
def test_the_right_option_is_not_copied_and_no_prediction_is_told_before(name: str) -> None:
    source = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
    prose = jupytext.reads(source, fmt="py:percent")
    texts = [cell.source for cell in prose.cells if cell.cell_type == "markdown"]
    for question in load(path_of(ROOT, name)):
        if question.right:
            right = question.letters[question.right].text
            assert not runs(right, COPIED) & runs("\n".join(texts), COPIED), question.id
        place = source.find(f"# {{question}} {question.id}\n")
        if place > 0 and question.number is not None:
            assert str(question.number) not in source[:place], question.id


# --- Give-aways are found -------------------------------------------------------------------------

GOOD = """\
- id: first
  kind: predict
  rests_on: {cell: "x = 1"}
  stem: "How many of the 256 codewords are dead?"
  number: 17
  within: 3
  why: "Few movies are near."
- id: second
  kind: fault
  rests_on: {figure: fig-a}
  stem: "One row of this table is wrong. Which?"
  order: written
  options:
    - {text: "Row 1, the random start", why: "It was measured."}
    - {text: "Row 2, the greedy start", why: "It loses less.", right: true}
    - {text: "Row 3, the Lloyd steps", why: "They help this much."}
- id: third
  kind: explain
  rests_on: {cell: "y = 2"}
  stem: "Two people explain the gap. What did the chapter find?"
  order: written
  options:
    - {text: "The gap is gone with equal lengths", why: "It is smaller."}
    - {text: "The gap is halved with equal lengths", why: "So it was.", right: true}
    - {text: "The gap is larger with equal lengths", why: "No, smaller."}
- id: fourth
  kind: apply
  stem: "A shop has twenty kinds of screws. Where should the codewords stand?"
  order: written
  options:
    - {text: "At a few of the screws", why: "A row is as good as a mean.", right: true}
    - {text: "At the mean of the screws", why: "Nobody is there."}
    - {text: "At the mean of the lot", why: "That is one place."}
"""


def read(tmp_path: Path, text: str) -> list[Question]:
    path = tmp_path / "03.yml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_good_questions_pass(tmp_path: Path) -> None:
    assert complaints(read(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("At the mean of the lot", "At the mean of the lot, and at nowhere else", "in length"),
        ("The gap is halved", "The gap is often smaller", "a hedge"),
        ("The gap is gone", "The gap is always gone", "absolutes"),
        ("The gap is larger", "Every gap is larger", "absolutes"),
        ("The gap is gone with equal lengths", "Nothing that this experiment shows", "denies"),
        ("The gap is gone with equal lengths", "It cannot be told by equal lengths", "denies"),
        ("The gap is larger with", "Two people explain the gap and", "repeats the stem"),
        ("At a few of the screws", "At twenty of the screws", "alone takes up a word"),
        ("At the mean of the screws", "At a few of the screws", "say the same"),
        ('why: "It loses less."', 'why: "B is lower."', "names a letter"),
        ('why: "It was measured."', 'why: "Option C is."', "names a letter"),
        ('why: "It loses less."', 'why: "It is $x$."', "formula"),
        ("A shop has twenty", "A shop with 17 dead codewords has twenty", "says the number, 17"),
        (
            'why: "It was measured."',
            'why: "The gap is halved with equal lengths."',
            "second says the answer",
        ),
    ],
)
def test_a_give_away_is_found(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    found = complaints(read(tmp_path, GOOD.replace(old, new, 1)))
    assert any(complaint in words for words in found)


def test_a_later_reason_gives_nothing_away_in_its_chapter(tmp_path: Path) -> None:
    late = GOOD.replace("A row is as good as a mean.", "As with the 17 dead ones.")
    assert complaints(read(tmp_path, late)) == []


def fixed(number: int, right: str, kind: str = "apply") -> str:
    rests = "" if kind == "apply" else '\n          rests_on: {cell: "x"}'
    marks = [", right: true" if letter == right else "" for letter in "ABCD"]
    options = "\n".join(
        f'- {{text: "Place {place}{number}", why: "So."{mark}}}' for place, mark in enumerate(marks)
    )
    head = dedent(f"""\
        - id: q{number}
          kind: {kind}{rests}
          stem: "Of which kind?"
          order: written
          options:
        """)
    return head + indent(options, "    ") + "\n"


def chapter(tmp_path: Path, letters: str, kinds: tuple[str, ...] = ()) -> list[Question]:
    kinds = kinds or ("change", "explain", "apply", "apply")
    texts = [
        fixed(n, letter, kind) for n, (letter, kind) in enumerate(zip(letters, kinds, strict=False))
    ]
    return read(tmp_path, "".join(texts))


@pytest.mark.parametrize(
    ("letters", "complaint"),
    [("BDAC", "every letter is right once"), ("CCCC", "always C"), ("BDDA", ""), ("BBAB", "")],
)
def test_letters_of_a_chapter(tmp_path: Path, letters: str, complaint: str) -> None:
    found = complaints(chapter(tmp_path, letters))
    assert any(complaint in words for words in found) if complaint else found == []


def test_letters_of_the_book(tmp_path: Path) -> None:
    thirds = [chapter(tmp_path, letters) for letters in ("ABDA", "BBDC", "CADC", "DDAC", "ACDB")]
    assert any("question 3 has the same letter" in words for words in place_complaints(thirds))
    often = [chapter(tmp_path, letters) for letters in ("BBDA", "ABCB", "BDBB")]
    assert any("right too often" in words for words in place_complaints(often))
    fair = [chapter(tmp_path, letters) for letters in ("ABDA", "BBCC", "CABC", "DDAD")]
    assert place_complaints(fair) == []


def test_kinds_and_numbers_of_questions(tmp_path: Path) -> None:
    few = complaints(chapter(tmp_path, "ABA"))
    assert any("there are 3" in words for words in few)
    easy = complaints(chapter(tmp_path, "ABAC", ("apply", "apply", "apply", "explain")))
    assert any("need the chapter" in words for words in easy)
    alike = complaints(chapter(tmp_path, "ABAC", ("change",) * 4))
    assert any("of 2 kinds" in words for words in alike)


def test_longest_in_every_question(tmp_path: Path) -> None:
    kinds = ("change", "explain", "apply", "apply")
    text = "".join(
        fixed(n, letter, kind) for n, (letter, kind) in enumerate(zip("BBAB", kinds, strict=True))
    )
    assert complaints(read(tmp_path, text)) == []
    longer = re.sub(r'"Place( \d+", why: "So.", right: true)', r'"A place\1', text)
    assert longer.count("A place") == 4
    assert complaints(read(tmp_path, longer)) == [
        "the right option is the longest in every question"
    ]


# --- Reading and showing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: fault", "kind: quiz", "its kind is 'quiz'"),
        ("  rests_on: {figure: fig-a}\n", "", "`rests_on` says"),
        ("kind: apply", "kind: apply\n  rests_on: {cell: x}", "`rests_on` says"),
        (
            "  within: 3\n",
            "",
            "question 1 (first): found ['number', 'why']; expected either `options` alone, or "
            "`number`, `within` and `why`",
        ),
        ("  order: written\n", "  why: So.\n", "(second): found ['options', 'why']; expected"),
        ("  order: written\n", "  within: 3\n", "(second): found ['options', 'within']; expected"),
        (
            "  number: 17\n",
            "  number: 17\n  options: []\n",
            "'options', 'why', 'within']; expected",
        ),
        (
            ", right: true}",
            "}",
            "(second): 3 options, 0 of them with `right: true`; expected three to six, and one",
        ),
        ('much."}', 'much.", right: true}', "(second): 3 options, 2 of them with `right: true`"),
        (
            GOOD[GOOD.index("  options:") : GOOD.index("- id: third")],
            "  options: 3\n",
            "is 3; expected",
        ),
        ("order: written", "order: random", "expected drawn or written"),
        ("id: second", "id: first", "same id"),
        ("  stem: ", "  stm: ", "it has ['stm']"),
        (
            'why: "It was measured."',
            'reason: "It was."',
            "(second): an option has ['reason', 'text']; expected text, why, and `right: true`",
        ),
        (
            '{text: "Row 1, the random start", why: "It was measured."}',
            "Row 1",
            "(second): an option is 'Row 1'; expected text, why",
        ),
        ("kind: fault\n", "kind: fault\n  kind: apply\n", "line 10 has the key 'kind' twice"),
        ("{figure: fig-a}", "{figure: fig-a, figure: fig-b}", "line 10 has the key 'figure' twice"),
    ],
)
def test_a_file_that_is_wrong_says_what(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(ValueError, match=r"03\.yml") as error:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert words in str(error.value)


def test_the_order_is_drawn_and_stays_while_words_change(tmp_path: Path) -> None:
    drawn = GOOD.replace("  order: written\n", "")
    before = read(tmp_path, drawn)
    after = read(tmp_path, drawn.replace("Row 2,", "Line 2,").replace("gap", "gulf"))
    assert [q.right for q in before] == [q.right for q in after]
    letters = {read(tmp_path, drawn.replace("id: second", f"id: s{n}"))[1].right for n in range(20)}
    assert letters == {"A", "B", "C"}


CHAPTER = """\
# %% [markdown]
# # Title
#
# Before the cell:
#
# {question} first

# %%
print(17)

# %% [markdown]
# ## Self-check
#
# {questions}
#
# ## What to take away
"""


def test_an_answer_says_where_its_cell_is(tmp_path: Path) -> None:
    counted = "# %% [markdown]\n# ## How the gap was measured\n\n# %%\ny = 2\n\n# %%\nx = 1\n\n"
    *_, check = placed(tmp_path, counted + CHAPTER)
    third = check.split("**Question 3")[1].split("**Question 4")[0]
    assert "See the section *How the gap was measured*." in third


def placed(tmp_path: Path, text: str) -> list[str]:
    folder = tmp_path / "notebooks" / "questions"
    folder.mkdir(parents=True, exist_ok=True)
    read(folder, GOOD)
    notebook = jupytext.reads(text, fmt="py:percent")
    put_questions(notebook, tmp_path, "03_tiny")
    return [cell.source for cell in notebook.cells]


def test_questions_stand_where_the_chapter_says(tmp_path: Path) -> None:
    first, code, check = placed(tmp_path, CHAPTER)
    assert first.endswith("</details>")
    assert 'data-number="17" data-within="3" data-covers="next"' in first
    assert "**Question 1 · Predict.** How many of the 256" in first
    assert code == "print(17)"
    assert [f"Question {n}" in check for n in (1, 2, 3, 4)] == [False, True, True, True]
    assert "data-covers" not in check
    assert check.count("<details") == check.count("</details>") == 3


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{question} first", "{question} fist", "has no 'fist'"),
        ("{question} first", "{question} first\n#\n# {question} first", "stands twice"),
        ("# {questions}\n", "# \n", "no line"),
    ],
)
def test_a_chapter_without_its_questions_says_so(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(ValueError, match="03_tiny") as error:
        placed(tmp_path, CHAPTER.replace(old, new))
    assert words in str(error.value)


def test_markdown_says_everything_without_a_script(tmp_path: Path) -> None:
    for question in read(tmp_path, GOOD):
        text = markdown(question)
        before, answer = text.split("<details")
        assert KINDS[question.kind] in before
        assert question.stem in before
        for letter, option in question.letters.items():
            assert f"- **{letter}.** {option.text}" in before
            assert f"**{letter}.** {option.why}" in answer
            assert option.why not in before
        if question.number is not None:
            assert str(question.number) not in before
            assert f"**{question.number}.** {question.why}" in answer
        assert ("{numref}" in answer) == bool(question.figure)
    assert set(KINDS) > WITHOUT_THE_CHAPTER
