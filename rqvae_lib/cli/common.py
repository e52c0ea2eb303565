"""What the commands share: how they find data and models, and refuse what does not fit.

Seen at work in: chapter 00.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
import typer

from rqvae_lib.checkpoints.cards import check_data, check_items, check_text, said_by
from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.cli.options import DATASET, RQVAE_FILE, RUNS
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import Content, SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.io.atomic import check_writable
from rqvae_lib.io.locks import only_process_in
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.recipes import new_rqvae


def command_line() -> str:
    """Return the command as it was typed: what a card says of how its model was made."""
    return " ".join(["rqvae-lib", *sys.argv[1:]])


def choose(given: str | None, file: str, shipped: str) -> str:
    """Return what to load: what was given, the last run's file, or the shipped one."""
    chosen = given or (str(RUNS / file) if (RUNS / file).is_file() else "pretrained")
    typer.echo(f"Using {chosen}.", err=True)
    return shipped if chosen == "pretrained" else chosen


def load_catalogue(
    tokenizer: str | None,
    seed: int,
    dataset: Dataset,
    embeddings: Path | None,
    device: str = "cpu",
    split: Split | None = None,
) -> SemanticIDs:
    """Return the IDs that a tokenizer, named as in the option, gives to a data set's items.

    A tokenizer that has seen who chose what keeps to the split that it saw: if a model is trained
    on another (`split`), it is refused, since it may know what that one holds out.
    """
    if tokenizer == "random":
        vectors = item_vectors(dataset, embeddings=embeddings).tensor
        codebook_size = min(RQVAEConfig.codebook_size, len(vectors))
        config = RQVAEConfig(vectors.shape[1], codebook_size=codebook_size)
        untrained = new_rqvae(vectors, config, seed=seed)
        return untrained.to(device).tokenize(vectors.to(device))
    file = choose(tokenizer, RQVAE_FILE, DATASET)
    model, card = load_rqvae(file)
    content = cast(Content, said_by(card, "content", file))
    own = card.get("split", "leave-one-out")
    if content == "text":
        check_items("tokenizer", card, dataset)
    else:
        check_data("tokenizer", card, dataset)
        if split is None:
            split = split_by_name(dataset, cast(SplitName, own))
    known = item_vectors(dataset, content, embeddings, split)
    check_text(card, known, embeddings)
    if content != "text" and split is not None and split.name != own:
        raise ValueError(
            f"the tokenizer was made from who chose what in the training part of the {own} split, "
            f"which may hold what the {split.name} split holds out: train one with "
            f"--split {split.name}"
        )
    return model.to(device).tokenize(known.tensor.to(device))


def hold_out(dataset: Dataset, name: SplitName) -> Split:
    """Split a data set, or say that there is nothing to hold out."""
    split = split_by_name(dataset, name)
    if not len(split.validation):  # not by time, which always holds out something
        needed = 21 if name == "last-ten" else 3
        raise ValueError(
            f"nothing is held out of {dataset.name}: no user has the {needed} interactions that "
            f"--split {name} needs; use more data, or another split"
        )
    return split


def check_codebook_size(size: int, dataset: Dataset) -> None:
    """Refuse more codewords than there are items to start them from."""
    if size > dataset.num_items:
        raise ValueError(
            f"--codebook-size is {size}, but {dataset.name} has {dataset.num_items} items, which "
            f"cannot fill codebooks of {size} codewords: pass --codebook-size "
            f"{dataset.num_items} or less"
        )


@contextmanager
def claim_csv(path: Path) -> Iterator[None]:
    """Refuse another ending, which may be a model's, and hold the folder."""
    if path.suffix != ".csv":
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .csv file")
    check_writable(path)
    with only_process_in(path.parent):
        yield


def check_compiler() -> None:
    """Refuse to compile where there is no C++ compiler, which torch.compile needs on a CPU."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++", "cl"]
    if not any(name and shutil.which(name) for name in names):
        raise ValueError(
            "--compile needs a C++ compiler, and none was found (g++, clang++, c++, cl): install "
            "one, name it in the variable CXX, or leave --compile out"
        )


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(f"--device {device} is not usable here ({reason}): try cpu") from None
