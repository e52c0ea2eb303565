"""Every chapter has the parts that a reader counts on, in one order (see CONTRIBUTING.md)."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

from conftest import ROOT
from notebooks import code_cells, is_first_cell, read_source, source_names

TEMPLATE = ROOT / "book" / "_tools" / "chapter_template.py"
TAIL = ["Exercises", "Self-check", "What to take away", "What's next", "References"]
EXERCISE = re.compile(
    r"^### Exercise (\d+) · \S.* \(difficulty (★☆☆|★★☆|★★★), \d+ minutes\)$", re.MULTILINE
)
QUESTION = re.compile(
    r"^<details>\n<summary>(\d)\. ([^\n]+)</summary>\n\n(.+?)\n\n</details>$",
    re.MULTILINE | re.DOTALL,
)


def problems(notebook: NotebookNode, name: str) -> list[str]:
    """What a chapter lacks, in words; empty for a chapter that follows the template."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [
        *head_problems(notebook, text),
        *exercise_problems(notebook, text, at_least=1 if name.startswith("00_") else 3),
        *quiz_problems(text),
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
    numbers = [int(number) for number, _ in EXERCISE.findall(text)]
    if len(re.findall(r"^### Exercise", text, re.MULTILINE)) != len(numbers):
        found.append("an exercise is headed `### Exercise N · title (difficulty ★☆☆, M minutes)`")
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


def quiz_problems(text: str) -> list[str]:
    quiz = re.search(r"^## Self-check$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    questions = QUESTION.findall(quiz[1] if quiz else "")
    found = []
    if [number for number, _, _ in questions] != ["1", "2", "3"] or (
        quiz and quiz[1].count("<details>") != 3
    ):
        found.append("the self-check has three <details> blocks, blank lines around each answer")
    if quiz and "click the question" not in quiz[1]:
        found.append("the self-check says to click the question: JupyterLab draws no triangle")
    for number, question, answer in questions:
        if re.search(r"[$`*]", question):
            found.append(f"question {number}: a <summary> is plain words; Markdown shows as it is")
        if "$" in answer:
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
            found.append(f"{where} draws {images} pictures; one a cell")
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
        ("<summary>3. Which codeword wins a tie?</summary>", "", "three <details>"),
        ("then click the question.", "then look.", "says to click"),
        ("wins a tie?", "wins $a$ tie?", "plain words"),
        ("Its size times its width", "$K D$", "no formulas"),
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
