"""Every chapter has the parts that a reader counts on, in one order (see CONTRIBUTING.md)."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

from notebooks import code_cells, is_first_cell, read_source, source_names
from questions import load, path_of
from tests.helpers import ROOT

TEMPLATE = ROOT / "book" / "_tools" / "chapter_template.py"
TAIL = ["Exercises", "Self-check", "What to take away", "What's next", "References"]
EXERCISE = re.compile(
    r"^### Exercise (\d+) · \S.* \(difficulty (★☆☆|★★☆|★★★), \d+ minutes\)$", re.MULTILINE
)
OPEN_TASK = re.compile(
    r"^### Exercise (\d+) · \S.* \(open task, \d+ minutes\)\n(?P<task>(?:(?!^##).*\n)*)",
    re.MULTILINE,
)
FORETOLD = ("Break", "Predict")  # how the title of an exercise begins whose check runs a prediction
RUBRIC = "| | not yet | a good answer |\n"
DISCUSSION = re.compile(r"^<details>\n<summary>One way to do it</summary>\n\n\S", re.MULTILINE)
OPTION = re.compile(r"^- \*\*(\w)\.\*\* (.+(?:\n  .+)*)", re.MULTILINE)
QUESTION = re.compile(
    r"^\*\*Question (\d)\.\*\* (?P<question>(?:.+\n)+)\n"
    r"(?P<options>(?:- .+\n(?:  .+\n)*)+)\n"
    r"<details>\n<summary>Answer to question \1</summary>\n\n"
    r"\*\*(?P<right>[A-D])\.\*\* (?P<reason>(?:.+\n)+)\n</details>$",
    re.MULTILINE,
)
COPIED = 8  # words in a row that a right option and the chapter's text may not share


def problems(notebook: NotebookNode, name: str) -> list[str]:
    """What a chapter lacks, in words; empty for a chapter that follows the template."""
    text = markdown(notebook)
    return [
        *head_problems(notebook, text),
        *exercise_problems(notebook, text, at_least=1 if name.startswith("00_") else 3),
        *(
            [*kinds_of_exercises(text), *questions_are_placed(text, name)]
            if has_questions(name)
            else quiz_problems(text)
        ),
        *figure_problems(notebook, text),
        *(
            f"a line of text begins with %, which MyST takes for a comment and drops: {line}"
            for line in re.findall(r"^ *%.*$", text, re.MULTILINE)
        ),
        *(
            f"a number and a dot begin a line inside a paragraph, which makes a list of it: {line}"
            for line in re.findall(r"^[^-\d|#:>\s].*\n(\d+[.)] .*)$", text, re.MULTILINE)
        ),
    ]


def markdown(notebook: NotebookNode) -> str:
    """All of the chapter's text, without blocks of code in it."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def head_problems(notebook: NotebookNode, text: str) -> list[str]:
    found = []
    if not notebook.cells[0].source.startswith("# ") or len(re.findall(r"^# ", text, re.M)) != 1:
        found.append("the first cell starts with the chapter's only `# Title`")
    learn = re.search(
        r"^:::\{admonition\} What you will learn\n((- .+\n(  .+\n)*)+):::", text, re.M
    )
    if not learn or learn[1].count("\n- ") < 1:
        found.append("an admonition `What you will learn` lists two things or more")
    if not re.search(r"^\| You need \| Why \| Where \|\n\|[ -|]+\|\n\| \S", text, re.M):
        found.append("a table `| You need | Why | Where |` names what the reader needs")
    if not re.search(r"^\*\*Time:\*\* about \d+ minutes to read\.$", text, re.M):
        found.append("a paragraph says `**Time:** about N minutes to read.`")
    own = [cell for cell in code_cells(notebook) if not is_first_cell(cell)]
    if not own or "import " not in own[0].source:
        found.append("the first code cell holds the imports")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    if sections[-len(TAIL) :] != TAIL:
        found.append(f"the last sections are {', '.join(TAIL)}")
    if len(sections) < len(TAIL) + 2:
        found.append("two sections or more come before the exercises")
    for title, body in zip(sections, re.split(r"^## .+$", text, flags=re.M)[1:], strict=True):
        if not body.strip() and title in TAIL:
            found.append(f"the section {title} is empty")
        if title == "What's next" and not re.search(r"\]\(\S+\.(ipynb|md)\)", body):
            found.append("What's next links to the page that comes next")
        entries = re.findall(r"^- .+(?:\n  .+)*", body, re.MULTILINE)
        if title == "References" and not (entries and all("{cite}" in entry for entry in entries)):
            found.append("the references are a list, and each entry carries its {cite}")
    return found


def exercise_problems(notebook: NotebookNode, text: str, at_least: int) -> list[str]:
    found = []
    headings = [*EXERCISE.finditer(text), *OPEN_TASK.finditer(text)]
    numbers = [int(heading[1]) for heading in sorted(headings, key=re.Match.start)]
    if len(re.findall(r"^### Exercise", text, re.MULTILINE)) != len(numbers):
        found.append(
            "an exercise is headed `### Exercise N · title (difficulty ★☆☆, M minutes)`, or "
            "`(open task, M minutes)`"
        )
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < at_least:
        found.append(f"{at_least} exercises or more are numbered from 1; there are {numbers}")
    for start, cell in enumerate(notebook.cells):
        for number, _ in EXERCISE.findall(cell.source) if cell.cell_type == "markdown" else []:
            after = []
            for later in notebook.cells[start + 1 :]:
                if later.cell_type == "markdown" and re.search(r"^##", later.source, re.M):
                    break
                after.extend([later] if later.cell_type == "code" else [])
            stub = after[0].source if after else ""
            if "raise NotImplementedError" not in stub or "checks." not in stub:
                found.append(f"exercise {number}: a stub raises NotImplementedError and is checked")
            hidden = [later for later in after[1:] if "hide-cell" in later.metadata.get("tags", [])]
            if not any("assert checks." in later.source for later in hidden):
                found.append(f"exercise {number}: a solution, tagged hide-cell, asserts its check")
    return found


def kinds_of_exercises(text: str) -> list[str]:
    """One to write, one to predict, whose check runs it, and one that only a reader can judge."""
    found = []
    titles = re.findall(r"^### Exercise \d+ · (.+) \(difficulty", text, re.MULTILINE)
    foretold = [title for title in titles if title.startswith(FORETOLD)]
    if not foretold:
        found.append("the title of one exercise begins with Break or Predict: its check runs it")
    if len(foretold) == len(titles):
        found.append("one exercise is a function to write")
    tasks = [match["task"] for match in OPEN_TASK.finditer(text)]
    if not tasks:
        found.append("one exercise is an `(open task, M minutes)`")
    for task in tasks:
        if RUBRIC not in task or len(re.findall(r"^\| \w", task, re.MULTILINE)) < 3:
            found.append(f"an open task has a rubric of three rows or more: `{RUBRIC.strip()}`")
        if not DISCUSSION.search(task):
            found.append("an open task has a worked discussion, `<summary>One way to do it`")
    return found


def has_questions(name: str) -> bool:
    """Whether a chapter's self-check comes from a file; test_questions.py looks at what it asks."""
    return path_of(ROOT, name).is_file()


def questions_are_placed(text: str, name: str) -> list[str]:
    found = []
    quiz = re.search(r"^## Self-check$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    if quiz and "click the line below the options" not in quiz[1].replace("\n", " "):
        found.append("the self-check says to click the line: JupyterLab draws no triangle")
    places = [int(place) for place in re.findall(r"^\*\*Question (\d) · ", text, re.MULTILINE)]
    if places != [question.place for question in load(path_of(ROOT, name))]:
        found.append(f"the questions stand in the order of their file, and not as {places}")
    return found


class Question(NamedTuple):
    number: str
    options: dict[str, str]  # letter → words
    right: str
    reason: str


def questions_of(text: str) -> list[Question]:
    quiz = re.search(r"^## Self-check$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return [
        Question(
            found[1],
            {letter: " ".join(words.split()) for letter, words in OPTION.findall(found["options"])},
            found["right"],
            found["reason"],
        )
        for found in QUESTION.finditer(quiz[1] if quiz else "")
    ]


def quiz_problems(text: str) -> list[str]:
    quiz = re.search(r"^## Self-check$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    questions, found = questions_of(text), []
    if [question.number for question in questions] != ["1", "2", "3"] or (
        quiz and quiz[1].count("<details>") != 3
    ):
        found.append(
            "the self-check has three questions, each with options and a <details> block, as in "
            "book/_tools/chapter_template.py"
        )
    if quiz and "click the line below the options" not in quiz[1]:
        found.append("the self-check says to click the line: JupyterLab draws no triangle")
    prose = words_in_a_row(text.split("## Self-check")[0], COPIED)
    for number, options, right, reason in questions:
        if "".join(options) not in ("ABC", "ABCD"):
            found.append(f"question {number}: three or four options begin with **A.**, **B.** …")
        if len(set(options.values())) < len(options):
            found.append(f"question {number}: two options say the same")
        if right not in options:
            found.append(f"question {number}: {right} is not among its options")
        elif words_in_a_row(options[right], COPIED) & prose:
            found.append(f"question {number}: the right option is copied from the chapter")
        unnamed = [letter for letter in options if not re.search(rf"\b{letter}\b", reason)]
        if set(unnamed) - {right}:
            found.append(f"question {number}: the answer does not say what is wrong with {unnamed}")
        if "$" in reason:
            found.append(f"question {number}: JupyterLab typesets no formulas inside <details>")
    return found


def words_in_a_row(text: str, count: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + count]) for start in range(len(words) - count + 1)}


def figure_problems(notebook: NotebookNode, text: str) -> list[str]:
    found = []
    for cell in code_cells(notebook):
        images = sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
        if not images and "plt.show()" not in cell.source:
            continue
        settings = cell.metadata.get("mystnb", {})
        alt = settings.get("image", {}).get("alt", "")
        figure = settings.get("figure", {})
        where = f"the figure cell `{cell.source.splitlines()[-1]}`"
        if images > 1:
            found.append(f"{where} draws {images} pictures; one per cell")
        if len(alt.split()) < 5:
            found.append(f"{where} has an alt text that says what is to be seen")
        if not figure.get("caption", "").endswith("."):
            found.append(f"{where} has a caption, a sentence that states the finding")
        if not figure.get("name", "").startswith("fig-"):
            found.append(f"{where} has a name that starts with fig-")
    if re.search(r"!\[\s*\]\(", text):
        found.append("every picture in the text has an alt text")
    return found


@pytest.mark.parametrize("name", source_names(ROOT))
def test_chapter_follows_the_template(name: str) -> None:
    notebook = read_source(ROOT / "notebooks" / f"{name}.py")
    assert problems(notebook, name) == []


@pytest.mark.parametrize("name", source_names(ROOT))
def test_executed_figures_have_words(name: str) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert figure_problems(nbformat.read(path, as_version=4), "") == []


def test_the_right_options_cannot_be_told_by_their_letter_or_length() -> None:
    told: list[tuple[str, dict[str, str]]] = []  # the right letter, and the options
    for name in source_names(ROOT):
        if has_questions(name):
            told += [
                (question.right, {letter: o.text for letter, o in question.letters.items()})
                for question in load(path_of(ROOT, name))
                if question.options
            ]
        else:
            text = markdown(read_source(ROOT / "notebooks" / f"{name}.py"))
            told += [(question.right, question.options) for question in questions_of(text)]
    letters = Counter(right for right, _ in told)
    assert max(letters.values()) <= 0.4 * len(told), letters
    for extreme in (min, max):
        count = sum(
            len(options[right]) == extreme(map(len, options.values())) for right, options in told
        )
        assert count <= 0.4 * len(told), f"{count} are the {extreme.__name__}imum in length"


def test_figure_names_are_unique() -> None:
    names = [
        cell.metadata["mystnb"]["figure"]["name"]
        for name in source_names(ROOT)
        for cell in code_cells(read_source(ROOT / "notebooks" / f"{name}.py"))
        if "figure" in cell.metadata.get("mystnb", {})
    ]
    assert len(names) == len(set(names))


def test_the_template_itself_is_a_good_chapter(tmp_path: Path) -> None:
    notebook = jupytext.reads(TEMPLATE.read_text(encoding="utf-8"), fmt="py:percent")
    assert problems(notebook, "00_template") == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# # How near", "# ## How near", "# Title"),
        ("What you will learn", "Overview", "What you will learn"),
        ("| You need |", "| Needed |", "You need"),
        ("about 15 minutes to read", "a while", "Time:"),
        ("## What's next", "## Outlook", "the last sections"),
        ("[Codebooks](03_codebooks.ipynb) asks", "A later chapter asks", "comes next"),
        (" {cite}`lloyd1982least`", "", "carries its {cite}"),
        ("# - Lloyd, ", "# Lloyd, ", "the references are a list"),
        ("★☆☆, 5 minutes", "easy", "difficulty"),
        ("Exercise 1 ·", "Exercise 2 ·", "numbered from 1"),
        ('raise NotImplementedError("your turn")', "return 0", "a stub raises"),
        (' tags=["hide-cell"]', "", "tagged hide-cell"),
        ("assert checks.squared_distance", "checks.squared_distance", "asserts its check"),
        ("<summary>Answer to question 3</summary>", "", "three questions"),
        ("**Question 2.**", "**Question 5.**", "three questions"),
        ("- **C.** They stay only", "- They stay only", "three or four options"),
        ("# - **C.** They stay only if the vector is short.\n", "", "three or four options"),
        (
            "They change, because the codewords have other lengths.",
            "They stay as they were.",
            "same",
        ),
        ("**C.** It holds", "**D.** It holds", "not among its options"),
        ("B cannot happen", "It cannot happen", "what is wrong with ['A', 'B']"),
        ("Four times as much", "Why the nearest codewords of a whole catalogue are one", "copied"),
        ("click the line below the options", "look", "says to click"),
        ("A distance depends on", "$d$ depends on", "no formulas"),
        ('"alt": "Scatter plot', '"alt": "", "x": "', "alt text"),
        ("the points around it.", "the points", "states the finding"),
        ("fig-template-cells", "cells", "starts with fig-"),
        ("# Say it first, then", "# Half of it is 50\n# % of it, then", "begins with %"),
        ("# Say it first, then", "# Its length is\n# 1. Say it first, then", "makes a list"),
    ],
)
def test_a_missing_part_is_found(old: str, new: str, complaint: str) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert old in text
    notebook = jupytext.reads(text.replace(old, new), fmt="py:percent")
    assert any(complaint in problem for problem in problems(notebook, "00_template"))


def test_later_chapters_have_three_exercises() -> None:
    notebook = jupytext.reads(TEMPLATE.read_text(encoding="utf-8"), fmt="py:percent")
    assert any("3 exercises" in problem for problem in problems(notebook, "05_later"))


OPEN = """\
## Exercises

### Exercise 1 · The distance (difficulty ★☆☆, 5 minutes)

Text.

### Exercise 2 · Break the recipe (difficulty ★★☆, 5 minutes)

Text.

### Exercise 3 · How many? (open task, 40 minutes)

Text.

| | not yet | a good answer |
| --- | --- | --- |
| seeds | one | three |
| verdict | none | one |
| cost | free | named |

<details>
<summary>One way to do it</summary>

So.

</details>

## Self-check
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("", "", ""),
        ("Break the recipe", "The recipe", "begins with Break or Predict"),
        ("The distance", "Predict the distance", "a function to write"),
        ("(open task, 40 minutes)", "(difficulty ★☆☆, 5 minutes)", "is an `(open task"),
        ("| | not yet | a good answer |", "| | bad | good |", "a rubric"),
        ("| cost | free | named |\n", "", "a rubric"),
        ("One way to do it", "Solution", "a worked discussion"),
    ],
)
def test_the_three_kinds_of_exercises(old: str, new: str, complaint: str) -> None:
    assert old in OPEN
    found = kinds_of_exercises(OPEN.replace(old, new))
    assert [complaint in words for words in found] == ([True] if complaint else [])
