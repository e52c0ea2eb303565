"""The self-check questions of a chapter: one file, notebooks/questions/NN.yml, and its Markdown.

    python book/_tools/questions.py 03            # the questions alone, as somebody meets them cold
    python book/_tools/questions.py 03 --answers  # what is right

A chapter's source says where its questions stand: a line `{question} id` is replaced by that one,
a line `{questions}` by all that have no line of their own. The notebook gets plain Markdown with
the answer in <details>, which JupyterLab shows, and paper, and a page without JavaScript. On the
page, book/assets/self_check.js lets the reader choose and keeps the choice.

Options are written with the right one anywhere; the order in which they are shown is drawn from
the chapter and the question's id, so that no letter is anybody's habit. `order: written` keeps
the order of the file, for numbers that rise.
"""

import argparse
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "predict": "Predict",
    "fault": "Find the fault",
    "change": "Change a line",
    "explain": "Two explanations",
    "apply": "Another case",
}
WITHOUT_THE_CHAPTER = {"apply"}  # the kinds that rest on an idea, and on no cell of the chapter
FIELDS = {"id", "kind", "rests_on", "order", "stem", "options", "number", "within", "why"}
OPTION_FIELDS = {"text", "why", "right"}
ONE = re.compile(r"^\{question\} ([\w-]+)$", re.MULTILINE)
REST = re.compile(r"^\{questions\}$", re.MULTILINE)
NUMBER_ASKED = "*Write down a number before you go on.*"


@dataclass(frozen=True)
class Option:
    text: str
    why: str  # it is right, or what is wrong with it
    right: bool


@dataclass(frozen=True)
class Question:
    chapter: str  # "03"
    place: int  # in the file, from 1
    id: str
    kind: str  # of KINDS
    stem: str
    options: tuple[Option, ...]  # in the order in which they are shown; none if a number is asked
    number: float | None  # what is right, where a number is asked
    within: float  # how far from it a guess still counts
    why: str  # where a number is asked
    cell: str  # text of the code cell that it rests on, or ""
    figure: str  # name of the figure that it rests on, or ""

    @property
    def letters(self) -> dict[str, Option]:
        return dict(zip("ABCDEF", self.options, strict=False))

    @property
    def right(self) -> str:
        """The letter of the right option; "" where a number is asked."""
        return "".join(letter for letter, option in self.letters.items() if option.right)


def path_of(root: Path, name: str) -> Path:
    """Where the questions of a chapter lie, if it has a file of them."""
    return root / "notebooks" / "questions" / f"{name[:2]}.yml"


class UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key which a mapping has twice, where PyYAML takes the last of them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                mark = key.start_mark
                raise ValueError(
                    f"{mark.name}, line {mark.line + 1} has the key {key.value!r} twice"
                )
            seen.append(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> list[Question]:
    """Read a chapter's questions.

    Raises:
        ValueError: for a file that is no list of questions; says which one, and what is missing.
    """
    with path.open(encoding="utf-8") as file:
        entries = yaml.load(file, UniqueKeys)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: expected a list of questions, each with {sorted(FIELDS)}")
    found = [_question(path, place, entry) for place, entry in enumerate(entries, 1)]
    ids = [question.id for question in found]
    if len(set(ids)) < len(ids):
        raise ValueError(f"{path}: two questions have the same id: {ids}")
    return found


def _question(path: Path, place: int, entry: dict[str, Any]) -> Question:
    where = f"{path}, question {place} ({entry.get('id', 'no id')})"
    given = set(entry)
    if unknown := given - FIELDS:
        raise ValueError(f"{where}: it has {sorted(unknown)}; a question has {sorted(FIELDS)}")
    if missing := {"id", "kind", "stem"} - given:
        raise ValueError(f"{where}: it has no {sorted(missing)}")
    kind = entry["kind"]
    if kind not in KINDS:
        raise ValueError(f"{where}: its kind is {kind!r}; expected one of {', '.join(KINDS)}")
    rests_on = entry.get("rests_on", {})
    if (kind in WITHOUT_THE_CHAPTER) == bool(rests_on) or set(rests_on) - {"cell", "figure"}:
        raise ValueError(
            f"{where}: `rests_on` says `cell: text of it` or `figure: its name`, for every kind "
            f"but {', '.join(WITHOUT_THE_CHAPTER)}; found {rests_on}"
        )
    answers = given & {"options", "number", "within", "why"}
    if answers not in ({"options"}, {"number", "within", "why"}):
        raise ValueError(
            f"{where}: found {sorted(answers)}; expected either `options` alone, or `number`, "
            "`within` and `why`"
        )
    options = entry.get("options", [])
    if not isinstance(options, list):
        raise ValueError(f"{where}: options is {options!r}; expected a list")
    options = [_option(where, option) for option in options]
    right = sum(option.right for option in options)
    if "options" in entry and not (3 <= len(options) <= 6 and right == 1):
        raise ValueError(
            f"{where}: {len(options)} options, {right} of them with `right: true`; expected three "
            "to six, and one"
        )
    chapter = path.stem
    if entry.get("order", "drawn") not in ("drawn", "written"):
        raise ValueError(f"{where}: order is {entry['order']!r}; expected drawn or written")
    if entry.get("order") != "written":
        options = _drawn(options, f"{chapter} {entry['id']}")
    return Question(
        chapter=chapter,
        place=place,
        id=entry["id"],
        kind=kind,
        stem=entry["stem"].strip(),
        options=tuple(options),
        number=entry.get("number"),
        within=entry.get("within", 0),
        why=_line(entry.get("why", "")),
        cell=rests_on.get("cell", ""),
        figure=rests_on.get("figure", ""),
    )


def _option(where: str, option: Any) -> Option:
    if not isinstance(option, dict) or set(option) | {"right"} != OPTION_FIELDS:
        found = f"has {sorted(option)}" if isinstance(option, dict) else f"is {option!r}"
        raise ValueError(
            f"{where}: an option {found}; expected text, why, and `right: true` if it is right"
        )
    return Option(_line(option["text"]), _line(option["why"]), option.get("right", False))


def _line(text: str) -> str:
    return " ".join(str(text).split())


def _drawn(options: list[Option], seed: str) -> list[Option]:
    """The options in an order that their places in the file and the question's id determine."""

    def throw(place: int) -> str:
        return hashlib.sha256(f"{seed} {place}".encode()).hexdigest()

    return [options[place] for place in sorted(range(len(options)), key=throw)]


# --- As Markdown ----------------------------------------------------------------------------------


def asked(question: Question) -> str:
    """The question and its options, without the answer."""
    head = f"**Question {question.place} · {KINDS[question.kind]}.** {question.stem}"
    if question.number is not None:
        return f"{head}\n\n{NUMBER_ASKED}"
    options = [f"- **{letter}.** {option.text}" for letter, option in question.letters.items()]
    return "\n".join([head, "", *options])


def markdown(question: Question, covers: bool = False, section: str = "") -> str:
    """The whole question as a notebook shows it.

    Args:
        question: what to show.
        covers: whether it stands before the cell whose output it asks for: the page keeps that
            output back until the reader has guessed.
        section: the heading above the cell that it rests on.
    """
    if question.number is None:
        data = f'data-right="{question.right}"'
        answer = [f"**{question.right}.** {question.letters[question.right].why}", ""]
        answer += [
            f"- **{letter}.** {option.why}"
            for letter, option in question.letters.items()
            if not option.right
        ]
    else:
        data = f'data-number="{question.number}" data-within="{question.within}"'
        answer = [f"**{question.number}.** {question.why}"]
    if question.figure:
        answer += ["", f"See {{numref}}`{question.figure}`."]
    elif section and not covers:  # else it is the next cell
        answer += ["", f"See the section *{section}*."]
    cover = ' data-covers="next"' if covers else ""
    return "\n".join(
        [
            asked(question),
            "",
            f'<details class="answer" id="question-{question.chapter}-{question.id}" '
            f"{data}{cover}>",
            f"<summary>Answer to question {question.place}</summary>",
            "",
            *answer,
            "",
            "</details>",
        ]
    )


def put_questions(notebook: NotebookNode, root: Path, name: str) -> None:
    """Replace the lines `{question} id` and `{questions}` of a notebook's text, in place.

    Raises:
        ValueError: if a line names no question, or one that stands elsewhere already, or if a
            question has no place.
    """
    path = path_of(root, name)
    if not path.is_file():
        return
    waiting = {question.id: question for question in load(path)}
    sections = {question.id: section_of(notebook, question.cell) for question in waiting.values()}

    def place(id_: str, covers: bool) -> str:
        if id_ not in waiting:
            raise ValueError(f"{name}: `{{question}} {id_}` stands twice, or {path} has no {id_!r}")
        return markdown(waiting.pop(id_), covers, sections[id_])

    cells = notebook.cells
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type != "markdown":
            continue
        last = cell.source.rstrip().splitlines()[-1:]  # right above the next cell
        covers = after is not None and after.cell_type == "code"
        cell.source = ONE.sub(
            lambda found, last=last, covers=covers: place(found[1], covers and [found[0]] == last),
            cell.source,
        )
    for cell in cells:
        if cell.cell_type == "markdown" and REST.search(cell.source):
            rest = "\n\n".join(
                markdown(question, section=sections[id_]) for id_, question in waiting.items()
            )
            cell.source = REST.sub(lambda _, rest=rest: rest, cell.source)
            waiting = {}
    if waiting:
        raise ValueError(f"{name}: no line `{{question}} id` or `{{questions}}` for {[*waiting]}")


def section_of(notebook: NotebookNode, code: str) -> str:
    """The heading above the first cell that has this text; "" if there is no text or no cell."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for found in re.finditer(r"^##+ (.+)$", cell.source, re.MULTILINE):
                heading = found[1]
        elif code and code in cell.source:
            return heading
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapter", help="two digits, such as 03")
    parser.add_argument("--answers", action="store_true", help="print what is right instead")
    arguments = parser.parse_args()
    path = path_of(ROOT, arguments.chapter)
    if not path.is_file():
        sys.exit(f"there is no {path.relative_to(ROOT)}")
    for question in load(path):
        if not arguments.answers:
            print(asked(question), end="\n\n")
        elif question.number is None:
            print(f"{question.place} {question.id}: {question.right}")
        else:
            print(f"{question.place} {question.id}: {question.number} ± {question.within}")


if __name__ == "__main__":
    main()
