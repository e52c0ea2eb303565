"""Numbers out of their range, and options without a value, for every option of every command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.core import TyperCommand

from rqvae_lib.cli.command import MAY_BE_EMPTY
from rqvae_lib.evaluation.config import CUTOFFS
from rqvae_lib.generation.beam_search import check_search
from rqvae_lib.models.configs import HistoryModelConfig, TransformerConfig
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import EarlyStop, TrainingConfig
from tests.cli.walking import COMMANDS, VISIBLE, kinds_in, prepare, refusal, words_of


@pytest.fixture
def no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TyperCommand, "invoke", lambda *_: None)


def options_of(command: str, kind: type) -> list[Any]:
    """Return the options of a command that take a value of a type."""
    hints = get_type_hints(COMMANDS[command].callback)
    return [
        one
        for one in COMMANDS[command].params
        if one.name in hints and kind in kinds_in(hints[one.name])
    ]


def typed(option: Any, value: object) -> str:
    return f"{max(option.opts, key=len)}={value}"


def refused(words: list[str]) -> str:
    said = refusal(words)
    assert said is not None, words
    return said


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", VISIBLE)
def test_what_is_no_number_or_too_large_is_refused(command: str) -> None:
    for kind, wrong in (
        (float, ["nan", "inf", "-inf", "1e999", "seven"]),
        (int, ["nan", "1.5", str(10**30), str(-(10**30)), str(2**31), "seven"]),
    ):
        for option in options_of(command, kind):
            if option.param_type_name == "option":
                for value in wrong:
                    refused([*words_of(command), typed(option, value)])


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", VISIBLE)
def test_an_empty_value_is_refused(command: str) -> None:
    tried = 0
    for kind in (str, Path, int, float):
        for option in options_of(command, kind):
            is_option = option.param_type_name == "option"
            if option.name not in MAY_BE_EMPTY and (is_option or option.nargs == -1):
                words = [*words_of(command), typed(option, "") if is_option else ""]
                assert "is empty: leave it out" in refused(words), words
                tried += 1
    assert tried > 3


# The range that an option has is the range that the library takes.


def _training(name: str) -> Callable[[Any], object]:
    return lambda value: TrainingConfig(**{"num_steps": 1, "batch_size": 1, name: value})


TAKEN: dict[str, Callable[[Any], object]] = {
    "levels": lambda value: RQVAEConfig(num_levels=value),
    "codebook_size": lambda value: RQVAEConfig(codebook_size=value),
    "dropout": lambda value: TransformerConfig(dropout=value),
    "embedding_dropout": lambda value: HistoryModelConfig(embedding_dropout=value),
    "max_items": lambda value: HistoryModelConfig(max_items=value),
    "steps": _training("num_steps"),
    "epochs": lambda value: TrainingConfig(num_epochs=value, batch_size=1),
    "patience": lambda value: EarlyStop("loss", value, higher_is_better=False),
    "temperature": lambda value: check_search(1, 1, value, None),
    "k": lambda value: check_search(value, 2**31 - 1, 1.0, None),
    "max_per_prefix": lambda value: check_search(1, 1, 1.0, value),
    **{name: _training(name) for name in ("batch_size", "learning_rate", "weight_decay", "seed")},
}
LIBRARY_TAKES_ELSEWHERE = {  # with what else is given
    *("min_rating", "min_interactions", "k_core", "seeds", "beams", "base", "ids_base"),
    *("workers", "sample"),
}
PROBES = {
    int: [-1, 0, 1, 2, 2**31 - 1],
    float: [-1.0, -1e-9, 0.0, 1e-9, 1e-6, 0.5, 1 - 1e-9, 1.0, 1.5, 1e6, 2e6],
}


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", VISIBLE)
def test_an_option_has_the_range_that_the_library_takes(command: str) -> None:
    for kind, probes in PROBES.items():
        for option in options_of(command, kind):
            if option.name in LIBRARY_TAKES_ELSEWHERE or option.param_type_name != "option":
                continue
            if option.name == "seed" and command in ("inference-rqvae", "export"):
                continue  # of a random tokenizer only
            for value in probes:
                try:
                    TAKEN[option.name](value)
                    takes = True
                except ValueError:
                    takes = False
                words = words_of(command)
                if option.name == "epochs":
                    words = [word for word in words if word not in ("--steps", "2")]
                said = refusal([*words, typed(option, value)])
                assert (said is None) == takes, (option.name, value, said)


def test_the_open_ends_of_ranges_are_in_the_help() -> None:
    for command, name, said in (
        ("train-sasrec", "dropout", "(at least 0 and below 1)"),
        ("train-recommender", "embedding_dropout", "(at least 0 and below 1)"),
        ("train-rqvae", "epochs", "(above 0)"),
        ("recommend", "temperature", "(at least 1e-06 and at most 1e+06)"),
    ):
        (option,) = [one for one in COMMANDS[command].params if one.name == name]
        assert option.help.endswith(said)
    (beams,) = [one for one in COMMANDS["evaluate"].params if one.name == "beams"]
    assert beams.min == max(CUTOFFS)
