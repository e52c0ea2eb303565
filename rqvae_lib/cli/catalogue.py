"""Which tokenizer a command means, and the catalogue of IDs that it gives to a dataset's items.

Seen at work in: chapter 00.
"""

from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import typer

from rqvae_lib.checkpoints.cards import check_data, check_items, check_text, said_by
from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.checkpoints.shipped import find_checkpoint
from rqvae_lib.cli.common import check_embeddings, choose, origin_of, say_vectors, shipped
from rqvae_lib.cli.options import RQVAE_FILE
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import DEFAULT_CONTENT, Content, SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.embeddings.item_vectors import ItemVectors, item_vectors
from rqvae_lib.io.tensor_files import Card
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.recipes import new_rqvae


class Tokenizer(NamedTuple):
    """A trained tokenizer, and what its card says of the vectors that it reads."""

    name: str  # as it was chosen: a file, a shipped one, or 'pretrained'
    model: RQVAE
    card: Card
    content: Content
    split: SplitName | None  # whose training part it learned from; None: it read texts only


def find_tokenizer(
    given: str | None,
    embeddings: Path | None,
    split: SplitName | None = None,
    folder: Path | None = None,
) -> Tokenizer | None:
    """Load the tokenizer that an option names; refuse what contradicts its card.

    No dataset is needed for that, so this comes before one is opened. A tokenizer that has seen
    who chose what keeps to the split that it saw: if a model is trained on another (`split`), it is
    refused, since it may know what that one holds out. If nothing is named, a tokenizer that was
    trained in the command's output `folder` comes first.

    Returns:
        None for 'random', which is made of the dataset's own items.
    """
    if given == "random":
        check_embeddings(embeddings, DEFAULT_CONTENT)
        return None
    name = choose(given, RQVAE_FILE, "--tokenizer", folder)
    model, card = load_rqvae(shipped(name))
    content = cast(Content, said_by(card, "content", name))
    check_embeddings(embeddings, content)
    if content == "text":
        return Tokenizer(name, model, card, content, None)
    own = cast(SplitName, said_by(card, "split", name))
    if split not in (own, None):
        raise ValueError(
            f"the tokenizer was made from who chose what in the training part of the {own} split, "
            f"which may hold what the {split} split holds out: train one with --split {split}"
        )
    if own not in get_args(SplitName):
        raise ValueError(
            f"{name} was made from who chose what in the training part of the split {own!r}, which "
            "no command can make: use it from Python, or train one with --split"
        )
    return Tokenizer(name, model, card, content, own)


def card_of_tokenizer(tokenizer: Tokenizer | None, seed: int) -> dict[str, Any]:
    """Return what a recommender's card says of the tokenizer that its IDs come from.

    Args:
        tokenizer: as `find_tokenizer` returns it.
        seed: of a random one.
    """
    if tokenizer is None:
        return {"tokenizer": {"file": "random", "seed": seed}}
    path = find_checkpoint(shipped(tokenizer.name), "rqvae")
    return {"tokenizer": origin_of(path) | {"file": tokenizer.name}}


def catalogue_of(
    tokenizer: Tokenizer | None,
    seed: int,
    dataset: Dataset,
    embeddings: Path | None,
    device: str,
    split: Split | None = None,
) -> SemanticIDs:
    """Return the IDs that a tokenizer gives to a dataset's items.

    Args:
        tokenizer: as `find_tokenizer` returns it.
        seed: of a random one.
        dataset: whose items they are; others than those of its training are refused.
        embeddings: of their texts; None for the shipped ones.
        device: where to compute.
        split: the tokenizer's own, if it is at hand; else it is made where it is needed.
    """
    if tokenizer is None:
        say_vectors(dataset, embeddings)
        vectors = item_vectors(dataset, embeddings=embeddings).tensor
        codebook_size = min(RQVAEConfig.codebook_size, len(vectors))
        config = RQVAEConfig(vectors.shape[1], codebook_size=codebook_size)
        untrained = new_rqvae(vectors, config, seed=seed)
        return untrained.to(device).tokenize(vectors.to(device))
    known = vectors_for(tokenizer, dataset, embeddings, split)
    return tokenizer.model.to(device).tokenize(known.tensor.to(device))


def vectors_for(
    tokenizer: Tokenizer, dataset: Dataset, embeddings: Path | None, split: Split | None = None
) -> ItemVectors:
    """Return what a tokenizer reads for a dataset's items, once it is known to fit them.

    Args:
        tokenizer, dataset, embeddings, split: as `catalogue_of`.
    """
    typer.echo(f"Using {tokenizer.name}.", err=True)
    check = check_items if tokenizer.content == "text" else check_data
    check(f"the tokenizer ({tokenizer.name})", tokenizer.card, dataset)
    if tokenizer.split and split is None:
        split = split_by_name(dataset, tokenizer.split)
    if tokenizer.content != "collaborative":
        say_vectors(dataset, embeddings)
    known = item_vectors(dataset, tokenizer.content, embeddings, split)
    check_text(tokenizer.card, known, embeddings)
    return known
