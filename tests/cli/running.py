"""How tests run a command, inside the test's process or in one of its own.

Most commands run inside, in a folder of their own, because a process of their own would first
import torch for seconds. The few that must be processes are.
"""

import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import asdict
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch

from rqvae_lib.cli.main import main
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import DEFAULT_CONTENT, DEFAULT_SPLIT, Content
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import ItemVectors, item_vectors
from rqvae_lib.io.tensor_files import load_checkpoint, save_checkpoint
from rqvae_lib.tokenizer.rqvae import RQVAE

DATASET = "movielens-small-2016"
COMMAND = "from rqvae_lib.cli.main import main; main()"

# The embedded data are read once, and their vectors made once, for all tests.

_open_once = cache(load_dataset)
_vectors: dict[tuple[object, ...], ItemVectors] = {}


def opened(name: str | None = None, **options: Any) -> Dataset:
    if name in (None, DATASET) and not any(value is not None for value in options.values()):
        return _open_once(DATASET)
    return load_dataset(name, **options)


def vectors_of(
    dataset: Dataset,
    content: Content = DEFAULT_CONTENT,
    embeddings: Path | None = None,
    split: Split | None = None,
) -> ItemVectors:
    if dataset is not opened() or embeddings is not None:
        return item_vectors(dataset, content, embeddings, split)
    key = (content, split and split.name)
    if key not in _vectors:
        _vectors[key] = item_vectors(dataset, content, embeddings, split)
    return _vectors[key]


def text() -> torch.Tensor:
    return vectors_of(opened()).tensor


def both() -> torch.Tensor:
    return vectors_of(opened(), "both", None, split_by_name(opened(), DEFAULT_SPLIT)).tensor


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object, folder: Path) -> Done:
    """Run a command in a folder, in this process."""
    out, err = StringIO(), StringIO()
    words = [str(argument) for argument in arguments]
    with (
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
        patch.object(sys, "argv", ["rqvae-lib", *words]),  # a card quotes it
        pytest.raises(SystemExit) as stopped,
    ):
        main(words)
    return Done(int(stopped.value.code or 0), out.getvalue(), err.getvalue())


def succeeds(*arguments: object, folder: Path) -> str:
    done = run(*arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments: object, folder: Path) -> str:
    """Assert exit code 2 and one sentence; return the sentence."""
    done = run(*arguments, folder=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("rqvae-lib: ")]
    assert len(said) == 1, done.stderr
    return said[0]


def process_of(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_same(first: RQVAE, second: RQVAE) -> None:
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def plain(metrics: object) -> Any:
    """Return metrics as a card has them."""
    return json.loads(json.dumps(asdict(metrics)))  # type: ignore[call-overload]


def change_card(path: Path, to: Path, *without: str, **changes: object) -> None:
    """Write a checkpoint again with another card."""
    kinds = ("rqvae", "decoder-only", "encoder-decoder", "rq-transformer", "sasrec")
    kind, tensors, config, card = load_checkpoint(path, kinds)
    card = {name: value for name, value in card.items() if name not in without} | changes
    save_checkpoint(to, kind, tensors, config, card)
