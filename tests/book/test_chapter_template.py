"""Every chapter has the parts that a reader counts on, in one order (see CONTRIBUTING.md)."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbformat import NotebookNode

from notebooks import code_cells, is_first_cell, read_source, source_names
from questions import Question, load, path_of
from tests.book.question_lint import COPIED, complaints, runs
from tests.helpers import ROOT

TEMPLATE = ROOT / "book" / "_tools" / "chapter_template.py"
ITS_QUESTIONS = TEMPLATE.with_suffix(".yml")
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


def problems(source: Path) -> list[str]:
    """What a chapter lacks, in words; empty for a chapter that follows the template."""
    notebook, questions = read_source(source), path_of(source.parents[1], source.name)
    text = markdown(notebook)
    return [
        *head_problems(notebook, text),
        *exercise_problems(notebook, text),
        *self_check_problems(text),
        *(
            [*kinds_of_exercises(text), *questions_are_placed(text, load(questions))]
            if questions.is_file()
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


def exercise_problems(notebook: NotebookNode, text: str) -> list[str]:
    found = []
    headings = [*EXERCISE.finditer(text), *OPEN_TASK.finditer(text)]
    numbers = [int(heading[1]) for heading in sorted(headings, key=re.Match.start)]
    if len(re.findall(r"^### Exercise", text, re.MULTILINE)) != len(numbers):
        found.append(
            "an exercise is headed `### Exercise N · title (difficulty ★☆☆, M minutes)`, or "
            "`(open task, M minutes)`"
        )
    if numbers != list(range(1, len(numbers) + 1)) or len(numbers) < 3:
        found.append(f"three exercises or more are numbered from 1; there are {numbers}")
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


def self_check(text: str) -> str:
    """What stands below the heading of the self-check."""
    found = re.search(r"^## Self-check$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def self_check_problems(text: str) -> list[str]:
    if "click the line below the options" in " ".join(self_check(text).split()):
        return []
    return ["the self-check says to click the line: JupyterLab draws no triangle"]


def questions_are_placed(text: str, questions: list[Question]) -> list[str]:
    """Of a self-check that comes from a file; test_questions.py looks at what it asks."""
    places = [int(place) for place in re.findall(r"^\*\*Question (\d) · ", text, re.MULTILINE)]
    if places != [question.place for question in questions]:
        return [f"the questions stand in the order of their file, and not as {places}"]
    return []


class WrittenQuestion(NamedTuple):
    """A question of a chapter that has no file of them."""

    number: str
    options: dict[str, str]  # letter → words
    right: str
    reason: str


def questions_of(text: str) -> list[WrittenQuestion]:
    return [
        WrittenQuestion(
            found[1],
            {letter: " ".join(words.split()) for letter, words in OPTION.findall(found["options"])},
            found["right"],
            found["reason"],
        )
        for found in QUESTION.finditer(self_check(text))
    ]


def quiz_problems(text: str) -> list[str]:
    questions, found = questions_of(text), []
    numbers, answers = [question.number for question in questions], self_check(text)
    if numbers != ["1", "2", "3"] or answers.count("<details>") != 3:
        found.append(
            "the self-check has three questions, each with options and a <details> block; that of "
            "a new chapter comes from notebooks/questions, as book/_tools/chapter_template.yml says"
        )
    prose = runs(text.split("## Self-check")[0], COPIED)
    for number, options, right, reason in questions:
        if "".join(options) not in ("ABC", "ABCD"):
            found.append(f"question {number}: three or four options begin with **A.**, **B.** …")
        if len(set(options.values())) < len(options):
            found.append(f"question {number}: two options say the same")
        if right not in options:
            found.append(f"question {number}: {right} is not among its options")
        elif runs(options[right], COPIED) & prose:
            found.append(f"question {number}: the right option is copied from the chapter")
        unnamed = [letter for letter in options if not re.search(rf"\b{letter}\b", reason)]
        if set(unnamed) - {right}:
            found.append(f"question {number}: the answer does not say what is wrong with {unnamed}")
        if "$" in reason:
            found.append(f"question {number}: JupyterLab typesets no formulas inside <details>")
    return found


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
    assert problems(ROOT / "notebooks" / f"{name}.py") == []


@pytest.mark.parametrize("name", source_names(ROOT))
def test_executed_figures_have_words(name: str) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert figure_problems(nbformat.read(path, as_version=4), "") == []


def test_the_right_options_cannot_be_told_by_their_letter_or_length() -> None:
    told: list[tuple[str, dict[str, str]]] = []  # the right letter, and the options
    for name in source_names(ROOT):
        if path_of(ROOT, name).is_file():
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


def template(root: Path, name: str = "05_template", old: str = "", new: str = "") -> Path:
    """The template as a chapter with its file of questions, `old` replaced by `new` in both."""
    (root / "notebooks" / "questions").mkdir(parents=True)
    paths = (root / "notebooks" / f"{name}.py", path_of(root, name))
    texts = [path.read_text(encoding="utf-8") for path in (TEMPLATE, ITS_QUESTIONS)]
    assert any(old in text for text in texts)
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return paths[0]


@pytest.mark.parametrize("name", ["00_template", "05_template"])
def test_the_template_itself_is_a_good_chapter(name: str, tmp_path: Path) -> None:
    source = template(tmp_path, name)
    assert problems(source) == []
    questions = load(path_of(tmp_path, name))
    assert complaints(questions) == []
    cells = code_cells(read_source(source))
    figures = {cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in cells}
    for question in questions:
        assert not question.cell or sum(question.cell in cell.source for cell in cells) == 1
        assert not question.figure or question.figure in figures


def test_a_new_chapter_has_a_file_of_questions(tmp_path: Path) -> None:
    source = template(tmp_path)
    path_of(tmp_path, source.name).unlink()
    (problem,) = problems(source)
    assert "comes from notebooks/questions, as book/_tools/chapter_template.yml says" in problem


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
        ("click the line below the options", "look", "says to click"),
        ("{question} largest-cell", "{question} twice-as-large", "the order of their file"),
        ("Predict the codes", "The codes", "begins with Break or Predict"),
        ("| cost | left out |", "| | left out |", "a rubric"),
        ('"alt": "Scatter plot', '"alt": "", "x": "', "alt text"),
        ("the points around it.", "the points", "states the finding"),
        ("fig-template-cells", "cells", "starts with fig-"),
        ("# Say it first, then", "# Half of it is 50\n# % of it, then", "begins with %"),
        ("# Say it first, then", "# Its length is\n# 1. Say it first, then", "makes a list"),
    ],
)
def test_a_missing_part_is_found(old: str, new: str, complaint: str, tmp_path: Path) -> None:
    source = template(tmp_path, "00_template", old, new)
    assert any(complaint in problem for problem in problems(source))


@pytest.mark.parametrize("chapter", ["00_first", "05_later"])
def test_every_chapter_has_three_exercises(chapter: str, tmp_path: Path) -> None:
    source = template(tmp_path, chapter, "### Exercise 3 · ", "**One more:** ")
    assert any("three exercises" in problem for problem in problems(source))


def test_the_line_to_click_may_be_named_across_a_line_break() -> None:
    assert self_check_problems(QUIZ) == self_check_problems(QUIZ.replace("the line", "the\nline"))
    assert self_check_problems(QUIZ) == []
    assert self_check_problems(QUIZ.replace("click the line", "look at the line")) != []


QUIZ = """\
Why the nearest codewords of a whole catalogue are one matrix product.

## Self-check

Choose one answer to each question in your head. Then click the line below the options: it says
which one is right, and why.

**Question 1.** One vector is added to all points and to all codewords. What happens to the
codes?

- **A.** They change, because the codewords have other lengths.
- **B.** They stay as they were.
- **C.** They stay only if the vector is short.

<details>
<summary>Answer to question 1</summary>

**B.** A distance depends on the difference of two vectors, and no difference changes. A looks
at lengths, and these do not decide by themselves. C would be right if the vector were added to
the points alone.

</details>

**Question 2.** A codebook gets twice as many codewords, and its vectors twice as many numbers.
How much more memory does it take?

- **A.** Twice as much
- **B.** Three times as much
- **C.** Four times as much

<details>
<summary>Answer to question 2</summary>

**C.** It holds the number of codewords times their width, and both have doubled. A doubles one
of them only, and B adds the two.

</details>

**Question 3.** Two codewords are equally near to a movie. Why must it be said which of them
wins?

- **A.** Otherwise the same movie might get another ID tomorrow.
- **B.** Otherwise the movie would get both codes.
- **C.** Otherwise the distance could not be computed.

<details>
<summary>Answer to question 3</summary>

**A.** An ID is a name, and a name must be reproducible; the library takes the lower code. B
cannot happen, since a code is one number. C confuses the distance, which is known, with the
choice.

</details>

## What to take away
"""


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("<summary>Answer to question 3</summary>", "", "three questions"),
        ("**Question 2.**", "**Question 5.**", "three questions"),
        ("- **C.** They stay only", "- They stay only", "three or four options"),
        ("- **C.** They stay only if the vector is short.\n", "", "three or four options"),
        (
            "They change, because the codewords have other lengths.",
            "They stay as they were.",
            "same",
        ),
        ("**C.** It holds", "**D.** It holds", "not among its options"),
        ("B\ncannot happen", "It\ncannot happen", "what is wrong with ['A', 'B']"),
        ("Four times as much", "Why the nearest codewords of a whole catalogue are one", "copied"),
        ("A distance depends on", "$d$ depends on", "no formulas"),
    ],
)
def test_what_a_self_check_without_a_file_lacks_is_found(
    old: str, new: str, complaint: str
) -> None:
    assert quiz_problems(QUIZ) == []
    assert old in QUIZ
    assert any(complaint in problem for problem in quiz_problems(QUIZ.replace(old, new)))


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
