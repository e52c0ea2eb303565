"""Every exercise of every chapter: its stub, its solution, typical mistakes, and what breaks.

The exercises are found in the notebooks, so a new chapter is asked for all of it. The mistakes
stand in `wrong_answers/chapter_NN.py`: for each check, WRONG lists functions, each with some words
of the hint that it must get; RIGHT may list right answers that differ from the chapter's solution.
"""

import ast
import re
import symtable
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import nbformat
import pytest
import torch

from notebooks import code_cells, read_source, source_names
from rqvae_lib.teaching.exercises import chapter_03, chapter_12
from rqvae_lib.teaching.exercises.chapter_09 import Unopened
from tests.book.test_chapter_template import EXERCISE
from tests.helpers import ROOT
from tests.teaching.changed_lines import CHANGES_OF_RECIPE, CHANGES_OF_STEP, RECIPE, STEP

RIGHT_SAID = "✓ Right on every case.\n"
STUB_SAID = "Not solved yet: replace the line that raises NotImplementedError.\n"


class Exercise(NamedTuple):
    chapter: str  # "04"
    number: int
    name: str  # of the check
    stub: str  # the code of its cell
    solution: str
    imports: list[ast.Import | ast.ImportFrom]  # of the chapter
    elsewhere: str  # all code of the chapter but these two cells

    @property
    def check(self) -> Callable[[Any], bool]:
        return getattr(
            import_module(f"rqvae_lib.teaching.exercises.chapter_{self.chapter}"), self.name
        )

    @property
    def answers(self) -> ModuleType:
        return import_module(f"tests.teaching.wrong_answers.chapter_{self.chapter}")

    def function(self, cell: str) -> Callable[..., Any]:
        """The function that the cell hands to the check, made without the rest of the chapter."""
        tree = ast.parse(cell)
        (given,) = {name for name, _ in checked(tree)}
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        used = names_read("\n".join(map(ast.unparse, functions)))
        needed = [
            node
            for node in self.imports
            if used & {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        ]
        names: dict[str, Any] = {}
        exec(compile(ast.Module([*needed, *functions], []), self.stub, "exec"), names)
        return names[given]

    def __str__(self) -> str:
        return f"{self.chapter}-{self.number}-{self.name}"


def names_read(code: str) -> set[str]:
    """The module's names that some code reads, without parameters and local variables."""
    todo, names = [symtable.symtable(code, "", "exec")], set()
    while todo:
        scope = todo.pop()
        todo.extend(scope.get_children())
        names |= {
            symbol.get_name()
            for symbol in scope.get_symbols()
            if symbol.is_referenced() and (scope.get_type() == "module" or symbol.is_global())
        }
    return names


def checked(tree: ast.Module) -> list[tuple[str, str]]:
    """Each `checks.name(function)` of a cell, as (function, name)."""
    return [
        (node.args[0].id, node.func.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "checks"
        and isinstance(node.args[0], ast.Name)
    ]


@cache
def exercises_of(name: str) -> list[Exercise]:
    """The exercises of a chapter: after each heading a stub, and somewhere after it a solution."""
    notebook = read_source(ROOT / "notebooks" / f"{name}.py")
    sources = [cell.source for cell in code_cells(notebook)]
    imports = [
        node
        for source in sources
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    found, number = [], 0
    for start, cell in enumerate(notebook.cells):
        headings = EXERCISE.findall(cell.source) if cell.cell_type == "markdown" else []
        if not headings:
            continue
        number = int(headings[-1][0])
        after = [later.source for later in notebook.cells[start + 1 :] if later.cell_type == "code"]
        stub = after[0]
        ((_, check),) = checked(ast.parse(stub))
        solution = next(cell for cell in after[1:] if f"assert checks.{check}(" in cell)
        elsewhere = "\n".join(source for source in sources if source not in (stub, solution))
        found.append(Exercise(name[:2], number, check, stub, solution, imports, elsewhere))
    return found


NAMES = source_names(ROOT)
EXERCISES = [exercise for name in NAMES for exercise in exercises_of(name)]


@pytest.fixture(params=EXERCISES, ids=str)
def exercise(request: pytest.FixtureRequest) -> Exercise:
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_every_check_of_a_chapter_has_its_exercise(name: str) -> None:
    checks = import_module(f"rqvae_lib.teaching.exercises.chapter_{name[:2]}")
    tree = ast.parse((ROOT / checks.__file__).read_text(encoding="utf-8"))
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert sorted(public) == sorted(exercise.name for exercise in exercises_of(name))


def test_the_stub_is_told_that_it_is_not_solved(exercise: Exercise, capsys) -> None:
    assert not exercise.check(exercise.function(exercise.stub))
    assert capsys.readouterr().out == STUB_SAID


def test_nothing_else_in_the_chapter_uses_the_stub(exercise: Exercise) -> None:
    """Neither needs it solved, nor is spoilt because the stub took its name."""
    ((stub, _),) = checked(ast.parse(exercise.stub))
    assert stub not in names_read(exercise.elsewhere)


def test_the_solution_passes(exercise: Exercise, capsys) -> None:
    assert exercise.check(exercise.function(exercise.solution))
    assert capsys.readouterr().out == RIGHT_SAID


@pytest.mark.parametrize("name", NAMES)
def test_the_executed_chapter_ran_with_its_stubs_unsolved(name: str) -> None:
    executed = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    said = {
        cell.source: "".join(output.get("text", "") for output in cell.outputs)
        for cell in code_cells(executed)
    }
    for exercise in exercises_of(name):
        assert said[exercise.stub] == STUB_SAID
        assert said[exercise.solution].startswith(RIGHT_SAID)


def test_other_right_answers_pass(exercise: Exercise, capsys) -> None:
    for answer in exercise.answers.RIGHT.get(exercise.name, []):
        assert exercise.check(answer), f"{answer.__name__}: {capsys.readouterr().out}"
        assert capsys.readouterr().out == RIGHT_SAID


def test_typical_mistakes_get_hints_of_their_own(exercise: Exercise, capsys) -> None:
    hints = set()
    for answer, words in exercise.answers.WRONG[exercise.name]:
        assert not exercise.check(answer), f"{answer.__name__} passes"
        said = capsys.readouterr().out
        assert re.match(rf"✗ (.* )?{answer.__name__}( cannot be called |\()", said), said
        assert "expected " in said
        hint = said.split("Hint: ")[1]
        assert words in hint, f"{answer.__name__}: {said}"
        hints.add(hint)
    assert len(hints) >= 3, f"three mistakes or more must get different hints: {hints}"


@pytest.mark.parametrize("name", NAMES)
def test_wrong_answers_belong_to_exercises(name: str) -> None:
    answers = import_module(f"tests.teaching.wrong_answers.chapter_{name[:2]}")
    names = {exercise.name for exercise in exercises_of(name)}
    assert set(answers.WRONG) == names
    assert set(answers.RIGHT) <= names


@pytest.mark.parametrize(
    ("name", "lines", "changes"),
    [
        ("03_codebook_kmeans", RECIPE, CHANGES_OF_RECIPE),
        ("12_scaling_out", STEP, CHANGES_OF_STEP),
    ],
)
def test_a_chapter_prints_the_lines_and_their_changes(name: str, lines: str, changes: Any) -> None:
    cells = read_source(ROOT / "notebooks" / f"{name}.py").cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert f"```python\n{lines}```" in text
    for letter, pairs in changes.items():
        assert all(lines.count(old) == 1 for old, _ in pairs)
        added = set(pairs[-1][1].splitlines()) - set(lines.splitlines())
        (row,) = re.findall(rf"^\| {letter} \| .*$", text, re.MULTILINE)
        assert any(f"`{line.strip()}`" in row for line in added), letter


def changed(lines: str, pairs: list[tuple[str, str]]) -> str:
    for old, new in pairs:
        lines = lines.replace(old, new)
    return lines


@pytest.mark.parametrize("letter", "abcdef")
def test_the_check_of_chapter_03_runs_the_printed_lines(letter: str) -> None:
    generator = torch.Generator().manual_seed(0)
    names = {"torch": torch, "x": chapter_03._movies(), "generator": generator}
    exec(changed(RECIPE, CHANGES_OF_RECIPE[letter]), names)
    x, codebook = chapter_03._changed_recipe(letter)
    torch.testing.assert_close(x, names["x"], rtol=0, atol=0)
    torch.testing.assert_close(codebook, names["codebook"], rtol=0, atol=0)


@pytest.mark.parametrize("letter", "abcdef")
def test_the_check_of_chapter_12_takes_the_printed_step(letter: str) -> None:
    draw = torch.Generator().manual_seed(1)
    x, y, w = (torch.randn(n, generator=draw, dtype=torch.float64) for n in ((60, 8), 60, 8))
    shares = list(zip(x.split([10, 20, 30]), y.split([10, 20, 30]), strict=True))
    names = {"shares": shares, "w": w, "drop": chapter_12._dropped}
    exec(changed(STEP, CHANGES_OF_STEP[letter]), names)
    torch.testing.assert_close(chapter_12._changed_step(letter, shares, w), names["w"])


def test_chapter_08_asks_for_the_gradient_that_torch_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 6, generator=generator, requires_grad=True)
    exists = torch.rand(5, 6, generator=generator) < 0.5
    codes = torch.randint(6, (5,), generator=generator)
    exists[torch.arange(5), codes] = True
    kept = logits.masked_fill(~exists, -torch.inf)
    torch.nn.functional.cross_entropy(kept, codes).backward()
    (exercise,) = [found for found in EXERCISES if found.name == "gradient_at_logits"]
    by_hand = exercise.function(exercise.solution)(logits.detach(), codes, exists)
    torch.testing.assert_close(by_hand, logits.grad)


@pytest.mark.parametrize("look", [list, lambda b: b.items(), lambda b: b.get(0), lambda b: b[0]])
def test_chapter_09_notices_a_look_into_a_branch_that_is_not_needed(look) -> None:
    branch = Unopened()
    assert branch  # it is not empty, so it is not taken for the end of an ID
    with pytest.raises(RuntimeError, match="opened"):
        look(branch)


# Whatever a reader hands in: a sentence, and no exception.


class Unfriendly:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")


def printing(*arguments):
    print("a reader looks at", len(arguments), "arguments")
    return "text"


def spoiling(arguments: Any) -> None:
    """Change in place whatever can be changed."""
    for argument in arguments:
        if isinstance(argument, torch.Tensor):
            argument.zero_()
        elif isinstance(argument, list | tuple):
            spoiling(argument)
            if isinstance(argument, list):
                argument.clear()
        elif isinstance(argument, dict) and not isinstance(argument, Unopened):
            argument.clear()


def spoils_its_input(*arguments):
    spoiling(arguments)
    return "spoilt"


def raises(error: BaseException) -> Callable[..., Any]:
    def answer(*arguments):
        raise error

    return answer


BROKEN = {
    "nothing": (lambda *a: None, "gave None"),
    "text": (lambda *a: "text", "gave 'text'"),
    "a list": (lambda *a: [1, 2], "gave [1, 2]"),
    "a generator": (lambda *a: (n for n in a), "generator"),
    "a function": (lambda *a: printing, "gave <function printing"),
    "an unfriendly object": (lambda *a: Unfriendly(), "Unfriendly"),
    "an empty tensor": (lambda *a: torch.empty(0), "gave tensor([])"),
    "a strange shape": (lambda *a: torch.zeros(2, 1, 7), "a tensor of shape (2, 1, 7)"),
    "complex numbers": (lambda *a: torch.zeros(2, dtype=torch.complex64), "0j"),
    "a tensor without data": (lambda *a: torch.empty(2, device="meta"), "gave "),
    "a sparse tensor": (lambda *a: torch.eye(2).to_sparse(), "gave "),
    "nan": (lambda *a: float("nan"), "gave nan"),
    "tensors of nan": (lambda *a: torch.full((2, 2), torch.nan), "nan"),
    "a number too large": (lambda *a: 10**400, "gave 1000"),
    "an error": (raises(KeyError("code")), "raised KeyError: 'code'"),
    "an error of many lines": (raises(ValueError("one\ntwo\n" * 200)), ""),
    "an exit": (raises(SystemExit(1)), "raised SystemExit"),
    "torch's error": (lambda *a: torch.tensor([1]).softmax(0), "not implemented for 'Long'"),
    "endless recursion": (lambda *a: BROKEN["endless recursion"][0](*a), "RecursionError"),
    "no arguments": (lambda: 0, "cannot be called with"),
    "ten arguments": (lambda a, b, c, d, e, f, g, h, i, j: 0, "cannot be called with"),
    "no function": (None, "cannot be called with"),
    "its type": (int, ""),
    "prints": (printing, "gave 'text'"),
    "spoils its input": (spoils_its_input, "gave 'spoilt'"),
}


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_answer_is_described_and_not_raised(
    exercise: Exercise, broken: str, capsys
) -> None:
    answer, words = BROKEN[broken]
    assert exercise.check(answer) is False
    *printed, said, end = capsys.readouterr().out.split("\n")
    assert (len(printed), end) == (int(answer is printing), "")
    assert said.startswith("✗ ")
    assert words in said
    assert "expected " in said
    assert said.split("Hint: ")[1].rstrip().endswith(".")
    assert len(said) < 1200


def test_the_cases_survive_a_function_that_spoils_its_input(exercise: Exercise, capsys) -> None:
    exercise.check(spoils_its_input)
    assert exercise.check(exercise.function(exercise.solution))
