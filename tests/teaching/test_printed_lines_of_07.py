"""The lines that chapter 07 prints for a prediction: the check runs these very lines."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from notebooks import read_source
from rqvae_lib.ops.neighbors import nearest_neighbors
from rqvae_lib.teaching.exercises import chapter_07
from tests.helpers import ROOT
from tests.teaching.test_printed_lines import change_of, changed, printed

NAME = "07_umap"


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_07_runs_the_printed_lines(letter: str) -> None:
    cells = read_source(ROOT / "notebooks" / f"{NAME}.py").cells
    (by_hand,) = (cell.source for cell in cells if cell.source.startswith("def weights_of("))
    names = {"torch": torch, "math": math, "normalize": normalize, "x": chapter_07._movies()}
    names["nearest_neighbors"] = nearest_neighbors
    exec(by_hand.split("\n\n\n")[0], names)
    exec(changed(printed(NAME), change_of(NAME, letter)), names)
    torch.testing.assert_close(
        chapter_07._changed_weights(letter)[1], names["weights"], rtol=0, atol=0
    )
