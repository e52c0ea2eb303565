"""The lines that chapters 04 to 06 print for a prediction: the checks run these very lines."""

import pytest
import torch

from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.exercises import chapter_04
from tests.teaching.test_printed_lines import change_of, printed

RESIDUALS = "04_residual_quantization"
# Which line of the loop each change replaces, counted from 0.
PLACES = {"a": 5, "b": 4, "c": 6, "d": 3, "e": 2, "f": 6}


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_04_runs_the_printed_lines(letter: str) -> None:
    lines = printed(RESIDUALS).splitlines()
    new, place = change_of(RESIDUALS, letter), PLACES[letter]
    assert new.split()[0] == lines[place].split()[0]
    lines[place] = lines[place][: len(lines[place]) - len(lines[place].lstrip())] + new
    z, codebooks = chapter_04._latents()
    names = {"torch": torch, "nearest": nearest, "z": z, "codebooks": codebooks}
    exec("\n".join(lines), names)
    total, commitment = chapter_04._changed_loop(letter, z, codebooks)
    torch.testing.assert_close(total, names["total"], rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(commitment, names["commitment"], rtol=1e-6, atol=1e-5)


def test_the_loop_of_chapter_04_without_a_change_hears_all() -> None:
    assert chapter_04._measured("") == (1, 3)
