"""How long a page takes to read, from what is on it.

    python book/_tools/reading_times.py          # every chapter: what was counted, and the minutes
    python book/_tools/reading_times.py --pages  # the other pages, too

What a reader sees is counted, and each kind of it is read at a speed of its own:

- **words** of prose, headings, tables and captions, answers of the self-check among them: 238 a
  minute, the mean for silent reading of non-fiction in English over 190 studies; most adults lie
  between 175 and 300 (Brysbaert, "How many words do we read per minute?", Journal of Memory and
  Language 109, 2019, 104047). A number or a symbol of a formula counts as a word;
- **words of code** that is not folded: its names, keywords, numbers and the words in its strings,
  175 a minute, the slow end of that range. It is those that eyes rest on in code, and hardly the
  separators (Busjahn, Bednarik and Schulte, "What influences dwell time during source code
  reading?", ETRA 2014). That the slow end is slow enough for them is our assumption: reviewers,
  who look for faults, prepare at 500 lines an hour (Humphrey, "Managing the Software Process",
  1989). A comment is prose;
- **words and numbers that are printed**: as prose;
- **figures**: 12 seconds each, an assumption of ours; nobody was found who measured it.

Doing the exercises is not reading: their own headings say how many minutes they take. Those of
the exercises that have a check are added up; an open task is for another day. Their tasks
are counted, stubs and solutions are not. Nor is time to think, to run a cell or to play with a
figure. So the sum is for a reader at home in Python; somebody else may take twice as long.
"""

import argparse
import io
import re
import sys
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
WORDS_A_MINUTE = 238
CODE_WORDS_A_MINUTE = 175
FIGURES_A_MINUTE = 60 / 12
FOLDED = {"hide-cell", "hide-input", "remove-cell", "remove-input"}
SILENT = {"hide-cell", "hide-output", "remove-cell", "remove-output"}
STATED = re.compile(r"^\*\*Time:\*\* about (\d+) minutes to read\.", re.MULTILINE)
CHECKED = re.compile(r"^### Exercise .*\(difficulty .*?, (\d+) minutes\)$", re.MULTILINE)
WORD = re.compile(r"\w+(?:[-.,'’:/]\w+)*|[=<>≤≥+−×·∑]")


class Counts(NamedTuple):
    """What a page has to read."""

    words: int = 0
    code: int = 0  # names, keywords, numbers and words of strings
    printed: int = 0  # words and numbers in outputs
    figures: int = 0

    @property
    def minutes(self) -> float:
        words = self.words + self.printed
        return (
            words / WORDS_A_MINUTE
            + self.code / CODE_WORDS_A_MINUTE
            + self.figures / FIGURES_A_MINUTE
        )

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


def words_of(text: str) -> int:
    """The words of Markdown that a reader reads: no addresses, keys, comments and markup."""
    text = re.sub(r"^```\{(?!glossary).*?^```$", " ", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^%.*$|^:::.*$|^\(.*\)=$|^ *:\w+:.*$", " ", text, flags=re.MULTILINE)
    text = re.sub(r"\{cite(?::\w+)?\}`[^`]*`", " ", text)  # the author and the year are skipped
    text = re.sub(r"\{[\w:-]+\}`([^`<]*)(?:<[^>]*>)?`", r"\1", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<[^>]+>|https?:\S+", " ", text)
    text = re.sub(r"\\[a-zA-Z]+", " x ", text)  # a symbol of a formula
    return len(WORD.findall(text))


def code_of(source: str) -> tuple[int, int]:
    """The words of a cell's code, and those of its comments."""
    code = comments = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments += words_of(token.string)
        elif token.type in (tokenize.NAME, tokenize.NUMBER):
            code += 1
        elif token.type == tokenize.STRING or token.string[:1].isalpha():  # or a piece of an f""
            code += len(WORD.findall(token.string))
    return code, comments


def counts_of_cell(cell: NotebookNode, exercise: bool) -> Counts:
    """What a cell of code has to read; nothing, where it is the stub of an exercise."""
    tags = set(cell.metadata.get("tags", []))
    if exercise:
        return Counts()
    code, words = (0, 0) if tags & FOLDED else code_of(cell.source)
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    words += words_of(figure.get("caption", ""))
    printed = figures = 0
    for output in [] if tags & SILENT else cell.get("outputs", []):
        data = output.get("data", {})
        if "image/png" in data or "Widget(" in data.get("text/plain", ""):
            figures += 1
        else:
            printed += len(WORD.findall(output.get("text", "") or data.get("text/plain", "")))
    return Counts(words, code, printed, figures)


@cache
def sections_of(page: str) -> dict[str, Counts]:
    """What each section of a page has to read, by its heading; what comes before the first: "".

    Args:
        page: as in the table of contents, "notebooks/01_data_splits_leakage" or "book/choosing".
    """
    path = ROOT / page
    found: dict[str, Counts] = {"": Counts()}
    title, fenced = "", False
    if path.with_suffix(".ipynb").exists():
        for cell in nbformat.read(path.with_suffix(".ipynb"), as_version=4).cells:
            if cell.cell_type != "markdown":
                counted = counts_of_cell(cell, title == "Exercises")
                found[title] = found[title].plus(counted)
                continue
            for part in re.split(r"^(?=## )", cell.source, flags=re.MULTILINE):
                if part.startswith("## "):
                    title = part.split("\n", 1)[0].removeprefix("## ").strip()
                    found.setdefault(title, Counts())
                words = 0 if "remove-cell" in cell.metadata.get("tags", []) else words_of(part)
                found[title] = found[title].plus(Counts(words=words))
        return found
    text: dict[str, list[str]] = {"": []}
    for line in path.with_suffix(".md").read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            title = line.removeprefix("## ").strip()
        text.setdefault(title, []).append(line)
    return {name: Counts(words=words_of("\n".join(lines))) for name, lines in text.items()}


def counts_of(page: str, *sections: str) -> Counts:
    """What a page has to read, or some sections of it.

    Raises:
        ValueError: if the page has no such section.
    """
    found = sections_of(page)
    total = Counts()
    for name in sections or found:
        if name not in found:
            raise ValueError(f"{page} has no section {name!r}, only {', '.join(found)}")
        total = total.plus(found[name])
    return total


def text_of(page: str) -> str:
    """The Markdown of a chapter."""
    cells = nbformat.read((ROOT / page).with_suffix(".ipynb"), as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def stated(page: str) -> int | None:
    """The minutes that a chapter's head says, if it does."""
    match = STATED.search(text_of(page))
    return int(match[1]) if match else None


def exercise_minutes(page: str) -> int:
    """The minutes that a chapter's exercises take, as their headings say, without open tasks."""
    return sum(map(int, CHECKED.findall(text_of(page))))


def rounded(minutes: float) -> int:
    """Minutes as a chapter's head says them: to 5, and never 0."""
    return max(5, 5 * round(minutes / 5))


def chapters() -> list[str]:
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [f"notebooks/{path.stem}" for path in paths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", action="store_true", help="the pages that are no chapters, too")
    pages = chapters()
    if parser.parse_args().pages:
        pages += sorted(f"book/{path.stem}" for path in (ROOT / "book").glob("[a-z]*.md"))
    head = ("words", "code", "printed", "figures", "minutes", "says", "exercises")
    sys.stdout.write(f"{'':32}" + "".join(f"{name:>10}" for name in head) + "\n")
    for page in pages:
        counts = counts_of(page)
        chapter = page.startswith("notebooks/")
        says = stated(page) if chapter else None
        more = (says or "", exercise_minutes(page) if chapter else "")
        cells = (*counts, f"{counts.minutes:.1f}", *more)
        sys.stdout.write(f"{page[:32]:32}" + "".join(f"{cell:>10}" for cell in cells) + "\n")


if __name__ == "__main__":
    main()
