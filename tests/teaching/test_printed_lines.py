"""The lines that chapters 00, 01 and 02 print for a prediction: the checks run these very lines."""

import re

import pytest
import torch

from notebooks import read_source
from rqvae_lib.teaching.exercises import chapter_00, chapter_01, chapter_02
from tests.helpers import ROOT

NAMES = ["00_quickstart", "01_data_splits_leakage", "02_item_embeddings"]


def text_of(name: str) -> str:
    cells = read_source(ROOT / "notebooks" / f"{name}.py").cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def printed(name: str) -> str:
    """The block of code in the text whose lines are changed; "" where only changes are printed."""
    task = re.search(
        r"^### Exercise \d+ · (Break|Predict).*?(?=^Decide first)", text_of(name), re.M | re.S
    )
    assert task
    found = re.search(r"^```python\n(.*?)^```$", task[0], re.M | re.S)
    return found[1] if found else ""


def change_of(name: str, letter: str) -> str:
    """The new line of a change, as the table prints it."""
    (line,) = re.findall(rf"^\| {letter} \| `(.+?)`", text_of(name), re.M)
    return line


def changed(lines: str, new: str) -> str:
    """The lines with the one that assigns the same name, or opens the same loop, replaced."""
    rows = lines.splitlines()
    if new == "residual = z":  # the last line of the loop, and not the first of all
        return "\n".join([*rows[:-1], f"    {new}"])
    if new.startswith("z, codebooks"):  # before all others
        return f"{new}\n{lines}"
    head = new.split()[0]
    (place,) = (i for i, row in enumerate(rows) if row.split()[0] == head)
    indent = rows[place][: len(rows[place]) - len(rows[place].lstrip())]
    rows[place] = indent + new
    return "\n".join(rows)


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_00_runs_the_printed_lines(letter: str) -> None:
    z, codebooks = chapter_00._movies()
    names = {"torch": torch, "z": z, "codebooks": codebooks}
    exec(changed(printed(NAMES[0]), change_of(NAMES[0], letter)), names)
    moved, rebuilt = chapter_00._changed_codes(letter, z, codebooks)
    torch.testing.assert_close(moved, names["z"], rtol=0, atol=0)
    torch.testing.assert_close(rebuilt, names["rebuilt"], rtol=0, atol=0)


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_01_runs_the_printed_lines(letter: str) -> None:
    ratings = chapter_01._ratings()
    lines = changed(printed(NAMES[1]), change_of(NAMES[1], letter))
    for position in (ratings.times >= ratings.cut).nonzero()[::3000, 0].tolist():
        names = {"torch": torch, "position": position, **ratings._asdict()}
        exec(lines, names)
        scores = chapter_01._changed_scores(letter, position, ratings)
        assert torch.equal(scores, names["scores"])


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_02_runs_the_printed_lines(letter: str) -> None:
    generator = torch.Generator().manual_seed(0)
    names = {"torch": torch, "x": chapter_02._movies(), "generator": generator}
    exec(change_of(NAMES[2], letter), names)
    found = chapter_02._changed_vectors(letter, chapter_02._movies())
    torch.testing.assert_close(found, names["x"], rtol=0, atol=0)


def test_what_chapter_00_says_of_the_lines_without_a_change() -> None:
    assert chapter_00._lost("") == pytest.approx(0.05, abs=0.005)
    assert "misses 5 % of the variance" in " ".join(text_of(NAMES[0]).split())
