"""The lines that chapter 11 prints for a prediction: the check runs these very lines."""

import re

import pytest
import torch

from notebooks import read_source
from rqvae_lib.teaching.exercises import chapter_11
from tests.helpers import ROOT


def text_of(name: str) -> str:
    cells = read_source(ROOT / "notebooks" / f"{name}.py").cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def task_of(text: str) -> tuple[str, dict[str, str]]:
    """The block of lines of the task that asks for a prediction, and each change's new line."""
    task = re.search(r"^### Exercise \d+ · (Break|Predict).*?(?=^Decide first)", text, re.M | re.S)
    assert task
    found = re.search(r"^```python\n(.*?)^```$", task[0], re.M | re.S)
    assert found
    return found[1], dict(re.findall(r"^\| ([a-f]) \| `(.+?)`", task[0], re.M))


LINES, CHANGES = task_of(text_of("11_honest_evaluation"))
LOOP, BODY, OURS, BETTER, RECALL = LINES.splitlines()
CHANGED = {
    "": LINES,
    "a": "\n".join([CHANGES["a"], LINES]),
    "b": "\n".join([CHANGES["b"], LINES]),
    "c": "\n".join([LOOP, BODY, OURS, CHANGES["c"], RECALL]),
    "d": "\n".join([LOOP, f"    {CHANGES['d']}", OURS, BETTER, RECALL]),
    "e": "\n".join([LOOP, BODY, OURS, BETTER, CHANGES["e"]]),
    "f": "\n".join([LOOP, BODY, CHANGES["f"], OURS, BETTER, RECALL]),
}


@pytest.mark.parametrize("letter", CHANGED)
def test_chapter_11_runs_the_printed_lines(letter: str) -> None:
    asked = chapter_11._asked()
    names = {"torch": torch, **asked._asdict(), "scores": asked.scores.clone()}
    names["people"] = torch.arange(len(asked.targets))
    names["movies"] = torch.arange(len(asked.popularity))
    exec(CHANGED[letter], names)
    assert chapter_11._recall(letter) == pytest.approx(float(names["recall"]), abs=1e-9)


def test_what_chapter_11_says_of_the_lines_without_a_change() -> None:
    assert f"{chapter_11._recall(''):.3f}" == "0.086"
    assert "`recall` comes out as 0.086" in " ".join(text_of("11_honest_evaluation").split())
