"""Defaults stand in one place each: what an option offers is what the library does without it."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from rqvae_lib.cli.data_options import DataOptions
from rqvae_lib.cli.main import app
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import encode_texts
from rqvae_lib.embeddings.text_folders import embed_folder
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.everybody import recommend_to_all
from rqvae_lib.models.configs import (
    CodeSequenceConfig,
    DecoderOnlyConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import name_of
from rqvae_lib.semantic_ids.exports import export_ids
from rqvae_lib.semantic_ids.imports import import_ids
from rqvae_lib.tokenizer.assignment import assign_folder
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING, TrainingConfig
from rqvae_lib.training.recipes import train_recommender, train_rqvae, train_sasrec
from tests.cli.running import opened, succeeds
from tests.helpers import ROOT

SOURCES = sorted((ROOT / "rqvae_lib" / "cli").glob("*.py"))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def default_of(function: Callable[..., object], name: str) -> object:
    """Return what a function of the library does unless it is told otherwise."""
    return inspect.signature(function).parameters[name].default


HISTORY_MODEL = HistoryModelConfig()
TOKENIZER_SHAPE = {
    "levels": RQVAEConfig.num_levels,
    "codebook_size": RQVAEConfig.codebook_size,
}
RECOMMENDER = {
    "dropout": TransformerConfig.dropout,
    "embedding_dropout": HISTORY_MODEL.embedding_dropout,
    "max_items": HISTORY_MODEL.max_items,
    "steps": RECOMMENDER_TRAINING.num_steps,
    **{
        name: getattr(RECOMMENDER_TRAINING, name)
        for name in ("batch_size", "learning_rate", "weight_decay", "seed")
    },
}
READING_IDS = {  # `ids_sizes` are called codebook_sizes there
    "ids_sizes": default_of(import_ids, "codebook_sizes"),
    **{
        f"ids_{name}": default_of(import_ids, name)
        for name in (
            *("base", "offsets", "collision_digit", "levels_first", "keys", "collisions"),
            "surplus",
        )
    },
}
SPLIT = "leave-one-out"  # what `item_vectors` and the literature do
# For each command, each option that is a setting of the library, with the library's default.
SETTINGS: dict[str, dict[str, object]] = {
    "embed": {
        "model": default_of(encode_texts, "model"),
        **{name: default_of(embed_folder, name) for name in ("model", "engine", "workers")},
    },
    "train-rqvae": {
        **TOKENIZER_SHAPE,
        "estimator": RQVAEConfig.estimator,
        "learning": RQVAEConfig.learning,
        **{
            name: getattr(RQVAE_TRAINING, name)
            for name in ("batch_size", "learning_rate", "schedule", "precision", "seed")
        },
        "compile_step": RQVAE_TRAINING.compile,
        "epochs": RQVAE_TRAINING.num_epochs,
        "patience": RQVAE_TRAINING.early_stop,
        "snapshots": ",".join(map(str, RQVAE_TRAINING.snapshot_steps)),
        "content": default_of(item_vectors, "content"),
        "split": SPLIT,
        **{name: default_of(train_rqvae, name) for name in ("start_from", "device", "resume")},
    },
    "compare-tokenizers": {
        **TOKENIZER_SHAPE,
        "steps": RQVAE_TRAINING.num_steps,
        "content": default_of(item_vectors, "content"),
        "split": SPLIT,
        "device": default_of(train_rqvae, "device"),
    },
    "assign": {name: default_of(assign_folder, name) for name in ("engine", "workers", "device")},
    "inference-rqvae": {"seed": TrainingConfig.seed, "device": "cpu"},
    "export": {
        **READING_IDS,
        **{
            name: default_of(export_ids, name)
            for name in (
                *("base", "offsets", "collision_digit", "keys", "token_style", "levels_first"),
                "begin_end",
            )
        },
        "seed": TrainingConfig.seed,
        "device": "cpu",
    },
    "train-recommender": {
        **RECOMMENDER,
        **READING_IDS,
        "architecture": name_of(DecoderOnlyConfig()),  # what `train_recommender` trains
        "valid_only": CodeSequenceConfig.valid_only,
        "prefix_embeddings": RQTransformerConfig.prefix_embeddings,
        "split": SPLIT,
        **{name: default_of(train_recommender, name) for name in ("device", "resume")},
    },
    "train-sasrec": {
        **RECOMMENDER,
        "split": SPLIT,
        **{name: default_of(train_sasrec, name) for name in ("device", "resume")},
    },
    "evaluate": {
        "split": SPLIT,
        **{name: default_of(evaluate, name) for name in ("beams", "allow_repeats")},
        "device": "cpu",
    },
    "inspect": {},
    "recommend": {
        **{
            name: default_of(recommend, name)
            for name in ("k", "beams", "temperature", "max_per_prefix")
        },
        "resume": default_of(recommend_to_all, "resume"),
        "device": "cpu",
    },
    "bundle": {},
    "append": {},
    "pack-histories": {},
}
SETTINGS["train-decoder"] = SETTINGS["train-recommender"]
# What is the command line's own: which data and files, and what has no counterpart in Python.
OF_ITS_OWN = {
    *(field.name for field in fields(DataOptions)),
    *("embeddings", "output", "tokenizer", "model", "models", "files", "user", "history"),
    *("ids", "format", "genre", "half", "residual_kmeans", "part", "seeds", "help"),
    *("texts", "vectors", "bundle", "all_users", "users", "histories", "as_json", "no_baselines"),
    *("force", "sample", "mix"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_offers_what_the_library_does_without_it(command: str) -> None:
    found = {parameter.name: parameter.default for parameter in COMMANDS[command].params}
    expected = SETTINGS[command]
    assert {name: found[name] for name in expected} == expected
    others = found.keys() - expected.keys() - OF_ITS_OWN
    # 2,000 of these is what stands in the help, since --epochs takes their place.
    assert others == ({"steps"} if command == "train-rqvae" else set())
    if others:
        assert found["steps"] is None
        (steps,) = [one for one in COMMANDS[command].params if one.name == "steps"]
        assert f"{RQVAE_TRAINING.num_steps} by default" in steps.help


def test_the_models_of_both_trainings_share_their_settings() -> None:
    """The table above takes them from one class: no architecture has a default of its own."""
    for config in (DecoderOnlyConfig(), RQTransformerConfig(), SASRecConfig(num_items=1)):
        for name, value in vars(HISTORY_MODEL).items():
            assert getattr(config, name) == value


# Written in a signature: what says "nothing", the one device that is everywhere, and what only the
# command line has.
PLAIN = (None, False, "", "cpu")
WRITTEN = {("seeds", 5), ("part", "test"), ("temperature", 1.0)}


def test_no_default_is_written_a_second_time() -> None:
    """A number or a choice in a command's signature would be a second truth, equal or not."""
    looked_at = set()
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or not function.name.endswith("_command"):
                continue
            arguments = function.args.args[-len(function.args.defaults) :]
            for argument, default in zip(arguments, function.args.defaults, strict=True):
                if isinstance(default, ast.Constant) and default.value not in PLAIN:
                    assert (argument.arg, default.value) in WRITTEN, (path.name, argument.arg)
            looked_at.add(function.name)
    assert len(looked_at) == len(COMMANDS) - 1  # one of them has two names


def test_the_help_knows_the_embedded_data() -> None:
    (user,) = [one for one in COMMANDS["recommend"].params if one.name == "user"]
    assert f"(1 to {opened().num_users} in the embedded one)" in user.help
    assert opened().user_ids.tolist() == list(range(1, opened().num_users + 1))


def test_no_function_of_a_command_is_longer_than_eighty_lines() -> None:
    lengths = {
        f"{path.name}: {node.name}": node.end_lineno - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    }
    assert len(lengths) > 40
    assert {name: length for name, length in lengths.items() if length > 80} == {}


def test_help_names_every_command_by_its_present_name(tmp_path: Path) -> None:
    shown = succeeds("--help", folder=tmp_path)
    for command in (
        *("embed", "train-rqvae", "compare-tokenizers", "inference-rqvae", "train-recommender"),
        *("train-sasrec", "evaluate", "recommend", "inspect", "export", "bundle", "append"),
        "assign",
        "pack-histories",
    ):
        assert command in shown
        assert COMMANDS[command].help
    assert "train-decoder" not in shown
    assert len(COMMANDS) == 15


def test_the_former_name_of_train_recommender_still_works(tmp_path: Path) -> None:
    now, before = COMMANDS["train-recommender"], COMMANDS["train-decoder"]
    assert before.hidden
    assert not now.hidden
    assert before.callback.__wrapped__ is now.callback.__wrapped__
    assert [parameter.name for parameter in before.params] == [one.name for one in now.params]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_is_shown_whole_and_filled(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word in brackets would be taken for markup, and lines would end where the source's do."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = succeeds(command, "--help", folder=tmp_path)
    before_the_options = shown[: shown.index("╭")].splitlines()
    _usage, *lines = (line.strip() for line in before_the_options[1:])
    words = " ".join(" ".join(lines).split())
    for paragraph in COMMANDS[command].help.split("\n\n"):
        assert " ".join(paragraph.replace("`", "").split()) in words
    for line, following in pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > 77, line
