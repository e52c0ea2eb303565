"""The lines that chapters 04 to 06 print for a prediction: the checks run these very lines."""

import pytest
import torch

from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.exercises import chapter_04, chapter_05, chapter_06
from tests.teaching.test_printed_lines import change_of, changed, printed

RESIDUALS, TRAINING = "04_residual_quantization", "05_training_the_rqvae"
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


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_05_runs_the_printed_lines(letter: str) -> None:
    x, rebuilt, left = chapter_05._batch()
    names = {"torch": torch, "mse_loss": torch.nn.functional.mse_loss}
    names |= {"x": x, "rebuilt": rebuilt, "left": left}
    exec(changed(printed(TRAINING), change_of(TRAINING, letter)), names)
    torch.testing.assert_close(chapter_05._changed_loss(letter, x, rebuilt, left), names["loss"])


@pytest.mark.parametrize("letter", "abcdef")
def test_chapter_06_runs_the_printed_lines(letter: str) -> None:
    generator = torch.Generator().manual_seed(0)
    names = {"torch": torch, "codes": chapter_06._codes(), "generator": generator}
    exec(change_of("06_collisions", letter), names)
    assert torch.equal(chapter_06._changed_codes(letter, chapter_06._codes()), names["codes"])


def test_what_chapter_06_says_of_the_codes_without_a_change() -> None:
    assert f"{chapter_06._rate(''):.2%}" == "0.23%"
