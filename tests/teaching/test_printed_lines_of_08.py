"""The lines that chapter 08 prints for a prediction: the check runs these very lines."""

import pytest
import torch

from rqvae_lib.teaching.exercises import chapter_08
from tests.teaching.test_printed_lines import change_of, changed, printed

NAME = "08_training_a_decoder"


@pytest.mark.parametrize("letter", ["", *"abcdef"])
def test_chapter_08_runs_the_printed_lines(letter: str) -> None:
    lines = printed(NAME)
    lines = changed(lines, change_of(NAME, letter)) if letter else lines
    for x in chapter_08._tokens():
        names = {"torch": torch, "x": x, "matrices": chapter_08._matrices()}
        exec(lines, names)
        found = chapter_08._changed_attention(letter, x)
        torch.testing.assert_close(found, names["received"], rtol=0, atol=0)


def test_without_a_change_no_token_sees_ahead() -> None:
    assert chapter_08._moved("") == 0
