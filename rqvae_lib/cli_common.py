"""What the commands share: their options, and how they find models and refuse strange ones.

Seen at work in: chapter 00.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, cast

import torch
import typer

from rqvae_lib.checkpoints import load_rqvae
from rqvae_lib.datasets import Dataset
from rqvae_lib.files import check_writable
from rqvae_lib.item_vectors import Content, item_vectors, text_vectors
from rqvae_lib.locks import only_process_in
from rqvae_lib.recipes import new_rqvae
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.splits import Split, SplitName, split_by_name
from rqvae_lib.tensor_files import Card, tensors_sha256

DATASET = "movielens-small-2016"
RUNS = Path("runs")
RQVAE_FILE, DECODER_FILE = "rqvae.safetensors", "decoder.safetensors"

app = typer.Typer(
    name="rqvae-lib",
    help="Semantic IDs from scratch: train an RQ-VAE tokenizer on item embeddings, write the "
    "items' semantic IDs, train a transformer over them, and recommend. All of it runs offline on "
    "the embedded MovieLens data; results go to the folder 'runs'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Output = Annotated[Path, typer.Option(help="Folder for the results; made if needed.")]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|FOLDER",
        help=f"{DATASET}, which is embedded (the default); one to download, such as movielens-1m "
        "or amazon-beauty; or a folder with the published files of one, or with tables of your own "
        "called interactions and items.",
        show_default=False,
    ),
]
Interactions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead: a table of yours with user_id, item_id and, where known, rating and "
        "timestamp (.csv, .tsv or .parquet).",
        show_default=False,
    ),
]
Items = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With --interactions: a table with item_id and, where known, title, year, genres and "
        "text.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    SplitName,
    typer.Option(
        "--split",
        help="What is held out: each user's last items (one, or ten, for testing and as many "
        "before them for validation), or the latest fifth of all interactions.",
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        help="Of the items' texts, as written by `python -m rqvae_lib.content`, or your own as "
        ".npy, a row an item; the embedded data set has its own.",
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**31 - 1, help="Of everything random: same seed, same result (on a CPU)."
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps, …")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an interrupted training, bit for bit (on a CPU).")
]
Steps = Annotated[int, typer.Option(min=1, help="Optimiser steps of each training.")]
Levels = Annotated[int, typer.Option(min=1, help="Codes in a semantic ID.")]
CodebookSize = Annotated[
    int, typer.Option(min=1, help="Codewords a level, at most as many as there are items.")
]
LearningRate = Annotated[float, typer.Option(min=0.0, help="At its highest.")]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="'pretrained' (shipped), 'random' (untrained weights, k-means codebooks of "
        f"{RQVAEConfig.codebook_size} codewords, or of as many as there are items) or an RQ-VAE "
        f"checkpoint. Default: {RUNS / RQVAE_FILE} where that exists, else 'pretrained'.",
        show_default=False,
    ),
]


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
    split: SplitName | None = None,
) -> SemanticIDs:
    """Return the IDs that a tokenizer, named as in the option, gives to a data set's items.

    A tokenizer that has seen who chose what keeps to the split that it saw: if a model is trained
    on another (`split`), it is refused, since it may know what that one holds out.
    """
    if tokenizer == "random":
        vectors = item_vectors(dataset, embeddings=embeddings)
        codebook_size = min(RQVAEConfig.codebook_size, len(vectors))
        config = RQVAEConfig(vectors.shape[1], codebook_size=codebook_size)
        untrained = new_rqvae(vectors, config, seed=seed)
        return ids_of(untrained.to(device), vectors.to(device))
    file = choose(tokenizer, RQVAE_FILE, DATASET)
    model, card = load_rqvae(file)
    content = cast(Content, said_by(card, "content", file))
    if content == "text":
        check_items("tokenizer", card, dataset)
    else:
        check_data("tokenizer", card, dataset)
    check_text(card, content, dataset, embeddings)
    own = cast(SplitName, card.get("split", "leave-one-out"))
    if content != "text" and split not in (own, None):
        raise ValueError(
            f"the tokenizer was made from who chose what in the training part of the {own} split, "
            f"which may hold what the {split} split holds out: train one with --split {split}"
        )
    return ids_of(model.to(device), item_vectors(dataset, content, embeddings, own).to(device))


def ids_of(tokenizer: RQVAE, vectors: torch.Tensor) -> SemanticIDs:
    """Return the catalogue of IDs that a tokenizer gives to item vectors (N, D)."""
    config = tokenizer.config
    return SemanticIDs(tokenizer.assign(vectors), [config.codebook_size] * config.num_levels)


def said_by(card: Card, name: str, file: object) -> str:
    """Return what a checkpoint's card says of itself; refuse a card that does not say it."""
    if name not in card:
        raise ValueError(
            f"{file} does not say its {name!r}, so it was not made by `rqvae-lib train-rqvae`: "
            "train one, or use it from Python with checkpoints.load_rqvae"
        )
    return str(card[name])


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


def check_data(what: str, card: Card, dataset: Dataset) -> None:
    """Refuse a model that was trained on other data than it is now used on."""
    if card.get("data") != dataset.checksum:
        raise ValueError(
            f"the {what} was trained on other data ({card.get('data', 'not named')}) than "
            f"{dataset.name} ({dataset.checksum}): train one on this data"
        )


def check_items(what: str, card: Card, dataset: Dataset) -> None:
    """Refuse a model of other items, where who chose what may have changed since its training."""
    if "items" not in card:  # an older model, or one that was made otherwise
        check_data(what, card, dataset)
    elif card["items"] != items_sha256(dataset):
        raise ValueError(
            f"the {what} was trained for other items ({card['items']}) than those of "
            f"{dataset.name} ({items_sha256(dataset)}): train one for these items"
        )


def items_sha256(dataset: Dataset) -> str:
    """Name the items by all that their table holds, in the order of its rows."""
    table = dataset.items.to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(table.encode()).hexdigest()


def text_sha256(content: Content, dataset: Dataset, embeddings: Path | None) -> str:
    """Name the text embeddings that a tokenizer is trained on; "" where it reads none."""
    # Collaborative vectors follow from the data, whose checksum the card has, up to rounding.
    return "" if content == "collaborative" else tensors_sha256(text_vectors(dataset, embeddings))


def check_text(card: Card, content: Content, dataset: Dataset, embeddings: Path | None) -> None:
    """Refuse a tokenizer on text embeddings that another encoder made than it was trained on."""
    found = text_sha256(content, dataset, embeddings)
    if card.get("text_embeddings", found) != found:
        raise ValueError(
            f"the tokenizer was trained on other text embeddings (sha256 "
            f"{card['text_embeddings']}) than {embeddings or 'the shipped ones'} ({found}): pass "
            "the file that it was trained on as --embeddings, or train one on this"
        )


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


def card_of(dataset: Dataset, seed: int, metrics: Mapping[str, object], **more: object) -> Card:
    """Return what a checkpoint says of itself: how it was made, from what, with which result."""
    return {
        "command": " ".join(["rqvae-lib", *sys.argv[1:]]),
        "seed": seed,
        "dataset": dataset.name,
        "data": dataset.checksum,
        "items": items_sha256(dataset),
        "torch": torch.__version__,
        "metrics": dict(metrics),
        **more,
    }
