"""What a tokenizer is trained on: the items of a dataset, or a sample of a folder of vectors.

Seen at work in: chapters 05 and 12.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from rqvae_lib.cli.data_options import DataOptions

if TYPE_CHECKING:
    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.embeddings.item_vectors import ItemVectors
    from rqvae_lib.io.tensor_files import Card
    from rqvae_lib.tokenizer.rqvae import RQVAE

ROWS_PER_CODEWORD = 256  # as faiss draws; what a sample costs: chapter 12


class Start(NamedTuple):
    """A trained RQ-VAE to continue from."""

    model: "RQVAE"
    card: "Card"


def of_dataset(
    given: Mapping[str, Any], data: DataOptions, started: "Start | None"
) -> "tuple[Dataset, ItemVectors]":
    """Load a dataset, and return it with the vectors of its items."""
    from rqvae_lib.cli import common
    from rqvae_lib.data.splits import split_by_name
    from rqvae_lib.embeddings.item_vectors import item_vectors

    content, embeddings = given["content"], given["embeddings"]
    dataset = data.load()
    if not started:
        common.check_codebook_size(given["codebook_size"], dataset.name, dataset.num_items)
    chosen = None if content == "text" else split_by_name(dataset, given["split"])
    if content != "collaborative":
        common.say_vectors(dataset, embeddings)
    vectors = item_vectors(dataset, content, embeddings, chosen)
    if started:
        _check_start(started.card, dataset, vectors, embeddings)
    return dataset, vectors


def of_folder(given: Mapping[str, Any]) -> "tuple[ItemVectors, dict[str, Any]]":
    """Draw items of a folder, and return their vectors and what the card says of them."""
    from rqvae_lib.cli import common
    from rqvae_lib.embeddings.item_vectors import ItemVectors
    from rqvae_lib.embeddings.vector_folders import sample_vectors

    folder, size = given["vectors"], given["codebook_size"]
    if given["sample"] is not None and given["sample"] < size:
        raise ValueError(
            f"--sample is {given['sample']}, but --codebook-size is {size}, which needs as many "
            f"items: pass --sample {size} or more, or a smaller --codebook-size"
        )
    wanted = given["sample"] or ROWS_PER_CODEWORD * size
    found = sample_vectors(folder, wanted, seed=given["seed"])
    vectors = ItemVectors(found.tensor)
    drawn = len(vectors.tensor)
    common.check_codebook_size(size, str(folder), drawn)
    many = f"all {drawn:,}" if drawn < wanted else f"{drawn:,}"
    typer.echo(f"Training on {many} items of {folder}.", err=True)
    return vectors, {"file": str(folder), "items": drawn, "sha256": vectors.sha256}


def origin(start_from: str | None, embeddings: Path | None) -> dict[str, Any]:
    """Return what the card says of the files that the model is made from."""
    from rqvae_lib.checkpoints.shipped import find_checkpoint
    from rqvae_lib.cli.common import origin_of, shipped

    found: dict[str, Any] = {}
    if embeddings is not None:
        found["embeddings"] = origin_of(embeddings)
    if start_from:
        path = find_checkpoint(shipped(start_from), "rqvae")
        found["start_from"] = origin_of(path) | {"file": start_from}
    return found


def load_start(given: str, content: str, split: str, context: typer.Context) -> Start:
    """Load the RQ-VAE to continue from; refuse one that other options contradict."""
    from rqvae_lib.checkpoints.cards import said_by
    from rqvae_lib.checkpoints.models import load_rqvae
    from rqvae_lib.cli.common import shipped, typed

    model, card = load_rqvae(shipped(given))
    said_by(card, "dataset", given)
    if model.config.hidden_dims is None:
        raise ValueError(
            f"the RQ-VAE to start from, {given}, is residual k-means, which has no weights to "
            "train: start from another, or leave --start-from out"
        )
    was = said_by(card, "content", given)
    if was != content:
        raise ValueError(
            f"the RQ-VAE to start from was trained on {was!r} vectors, not {content!r}: pass "
            f"--content {was}"
        )
    if content != "text" and said_by(card, "split", given) != split:
        raise ValueError(
            f"the RQ-VAE to start from learned from the training part of the {card['split']} "
            f"split, which may hold what the {split} split holds out: pass --split {card['split']}"
        )
    for option in ("levels", "codebook_size", "estimator", "learning"):
        has = getattr(model.config, "num_levels" if option == "levels" else option)
        asked = context.params[option]
        for name in typed(context, option):
            if asked != has:
                raise ValueError(
                    f"{name} is {asked}, but the RQ-VAE to start from, {given}, has {has}: leave "
                    "the option out, or start without it"
                )
    return Start(model, card)


def _check_start(
    card: "Card", dataset: "Dataset", vectors: "ItemVectors", embeddings: Path | None
) -> None:
    """Refuse to continue from an RQ-VAE whose items were described otherwise."""
    from rqvae_lib.checkpoints.cards import check_text

    if card["dataset"] == dataset.name:
        check_text(card, vectors, embeddings)
    else:  # other items: other vectors, and that is what is wanted
        typer.echo(f"Starting from an RQ-VAE of {card['dataset']}.", err=True)
