"""A model's card: how it was made, from what and with which result, and whether it fits.

Whatever saves a model writes its card, from Python as on the command line; so whoever loads the
model can refuse to use it on other data, on other text embeddings, or on a split whose targets it
may have seen.

Seen at work in: chapter 00.
"""

from collections.abc import Mapping
from typing import Any, Protocol, get_args

import torch

from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Split
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.io.tensor_files import Card

# What a card says by itself, so that nothing else can be said of it.
OWN_ENTRIES = {"torch", "dataset", "data", "items", "split", "content", "text_embeddings"}


class Identified(Protocol):
    """What a card says of the data: a `Dataset` has it, and a `HistoriesFile`."""

    @property
    def name(self) -> str:
        """What messages call the data."""
        ...

    @property
    def num_items(self) -> int:
        """The size of the catalogue."""
        ...

    @property
    def checksum(self) -> str:
        """The sha256 (hex) of the contents."""
        ...

    @property
    def items_checksum(self) -> str:
        """The sha256 (hex) of the catalogue."""
        ...


def card_of(
    dataset: Identified | None,
    *,
    split: Split | None = None,
    vectors: ItemVectors | None = None,
    more: Mapping[str, Any] | None = None,
) -> Card:
    """Return what a checkpoint says of itself.

    Args:
        dataset: what the model was trained on. A card without it is of no use to the commands.
        split: whose training part a recommender learned from.
        vectors: what a tokenizer was trained on.
        more: by name, JSON: a seed, metrics, the command.

    Raises:
        ValueError: if `more` names what the card says by itself.
    """
    card: Card = {"torch": torch.__version__}
    if dataset is not None:
        card |= {
            "dataset": dataset.name,
            "data": dataset.checksum,
            "items": dataset.items_checksum,
        }
    if split is not None:
        card["split"] = split.name
    if vectors is not None:
        card |= {"content": vectors.content, "text_embeddings": vectors.text_sha256}
        if vectors.split is not None:
            card["split"] = vectors.split
    twice = sorted(OWN_ENTRIES & set(more or {}))
    if twice:
        raise ValueError(
            f"the card's {twice[0]!r} follows from what the model was trained on: leave it out, "
            "and pass the dataset, the split or the vectors"
        )
    return card | dict(more or {})


def check_sizes(dataset: Identified | None, **sizes: int | None) -> None:
    """Refuse to save a model as one of a dataset with another number of items.

    Args:
        dataset: what the model is said to be trained on; None for nothing said.
        sizes: by what has them, numbers of items; None where nothing is said.

    Raises:
        ValueError: if one of them is not the dataset's.
    """
    if dataset is None:
        return
    for what, size in sizes.items():
        if size is not None and size != dataset.num_items:
            raise ValueError(
                f"the {what} has {size:,} items, but {dataset.name} has {dataset.num_items:,}: "
                "pass the dataset that the model was trained on"
            )


def said_by(card: Card, name: str, file: object) -> str:
    """Return what a checkpoint's card says of itself; refuse a card that does not say it."""
    if name not in card:
        if "vector_folder" in card:
            raise ValueError(
                f"{file} was trained on a folder of vectors, and not on a dataset: use it with "
                "`rqvae-lib assign`, or train another on the dataset"
            )
        raise ValueError(
            f"{file} has no {name!r} on its card, so no command can tell whether it fits: save it "
            "again with what it was trained on, as in save_rqvae(path, model, dataset, vectors) or "
            "save_recommender(path, model, dataset, split), or train one"
        )
    return str(card[name])


def check_data(what: str, card: Card, dataset: Identified) -> None:
    """Refuse a model that was trained on other data than it is now used on.

    Args:
        what: how to name the model in a message: its file, or "the tokenizer".
        card: the model's.
        dataset: what it is to be used on.
    """
    trained_on = said_by(card, "data", what)
    if trained_on != dataset.checksum:
        raise ValueError(
            f"{what} was trained on other data ({_short(trained_on)}) than {dataset.name} "
            f"({_short(dataset.checksum)}): train one on this data{_or_its_options(card)}"
        )


def check_items(what: str, card: Card, dataset: Identified) -> None:
    """Refuse a model of other items, where who chose what may have changed since its training."""
    if "items" not in card:  # an older model, or one that was made otherwise
        check_data(what, card, dataset)
    elif card["items"] != dataset.items_checksum:
        raise ValueError(
            f"{what} was trained for other items ({_short(card['items'])}) than those of "
            f"{dataset.name} ({_short(dataset.items_checksum)}): train one for these items"
            f"{_or_its_options(card)}{_or_what_was_packed(card)}"
        )


def check_text(card: Card, vectors: ItemVectors, file: object) -> None:
    """Refuse a tokenizer on text embeddings that another encoder made than it was trained on.

    Args:
        card: the tokenizer's.
        vectors: what it is to be used on.
        file: where their text embeddings were read from; None for the shipped ones.
    """
    found = vectors.text_sha256
    if card.get("text_embeddings", found) != found:
        raise ValueError(
            f"the tokenizer was trained on other text embeddings "
            f"({_short(card['text_embeddings'])}) than {file or 'the shipped ones'} "
            f"({_short(found)}): pass the file that it was trained on as --embeddings, or train "
            "one on this"
        )


def check_split(what: str, card: Card, split: str) -> None:
    """Refuse to evaluate a model on a split whose targets it may have learned from."""
    trained_on = said_by(card, "split", what)
    if trained_on != split:
        named = trained_on in get_args(SplitName)
        own = f"pass --split {trained_on}" if named else "evaluate it on its own split from Python"
        raise ValueError(
            f"{what} was trained on the split {trained_on!r}, so it may have seen the targets of "
            f"{split!r}: {own}, or train one on {split!r}"
        )


def _or_its_options(card: Card) -> str:
    """Return what else can be done where a model does not fit, if its card knows its command."""
    if "command" not in card:
        return ""
    return f", or pass the same data options as its training did: {str(card['command'])[:300]}"


def _or_what_was_packed(card: Card) -> str:
    """Return how to name the items of a model whose training read a file of histories."""
    if "--histories" not in str(card.get("command", "")):
        return ""
    return ", with the table that was packed (as --interactions) in place of --histories"


def _short(digest: object) -> str:
    """Return enough of a sha256 to tell it from another."""
    text = str(digest)
    return text if len(text) <= 20 else f"{text[:12]}…"
