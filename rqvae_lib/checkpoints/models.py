"""Models as files, and back: each with its configuration, and a card that says how it was made.

A file may come from anywhere, so a model is made of it only if every setting and tensor fits.

Seen at work in: chapter 00.
"""

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from rqvae_lib.checkpoints.cards import Identified, card_of, check_sizes
from rqvae_lib.checkpoints.content import (
    REFUSALS,
    check_modules,
    content_of,
    model_of,
    naming_file,
    uncompiled,
)
from rqvae_lib.checkpoints.shipped import find_checkpoint
from rqvae_lib.checkpoints.shipped import shipped_models as shipped_models  # for callers, too
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.io.tensor_files import (
    Card,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    short,
)
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import CONFIGS
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.arrays import Array, as_vectors
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.rqvae import RQVAE

_Model = TypeVar("_Model", bound=nn.Module)


@own_settings
def save_rqvae(
    path: str | Path,
    model: RQVAE,
    dataset: Dataset | None = None,
    vectors: ItemVectors | Array | None = None,
    **more: Any,
) -> None:
    """Write an RQ-VAE: weights, standardization, configuration, and a card of how it was made.

    Weights of 16 bits are written as float32, which holds the same numbers, since `load_rqvae`
    returns float32.

    Args:
        path: the file.
        model: the tokenizer.
        dataset: whose items it was trained on.
        vectors: what it was trained on: what `item_vectors` returns, or an array (N, D) of text
            embeddings. Without dataset and vectors, the commands refuse the file.
        more: for the card, JSON: `seed=0`, `metrics={…}`.

    Raises:
        ValueError: if vectors and dataset have different numbers of items, if `more` names what
            the card says by itself, or for what `load_rqvae` would refuse: weights that are not
            finite, of float64, or not those of the configuration. An older file is then still
            whole.
        OSError: if the path cannot be written; an older file is then still whole.
    """
    model = _one_of(RQVAE, model)
    if vectors is not None and not isinstance(vectors, ItemVectors):
        tensor = as_vectors(vectors, "vectors", dtype=torch.float32)  # as the commands read them
        vectors = ItemVectors(tensor, "text", text=tensor)
    check_sizes(dataset, vectors=None if vectors is None else len(vectors.tensor))
    save_with_card(path, model, card_of(dataset, vectors=vectors, more=more))


@own_settings
def load_rqvae(name_or_path: str | Path) -> tuple[RQVAE, Card]:
    """Load an RQ-VAE, ready to assign codes.

    Args:
        name_or_path: a shipped one by its dataset's name, "movielens-small-2016", which took
            500,000 steps, or a snapshot from the way there ("movielens-small-2016-1k", "-10k",
            "-100k"), or a file.

    Returns:
        The model, in evaluation mode on the CPU, and its card.

    Raises:
        CheckpointError: if the file holds something else, or weights of another shape or type, or
            not finite.
        OSError: if it cannot be read.
    """
    path = find_checkpoint(name_or_path, "rqvae")
    checkpoint = load_checkpoint(path, ["rqvae"])
    with naming_file(path):
        model = model_of(checkpoint)
    assert isinstance(model, RQVAE)
    return model, checkpoint.card


@own_settings
def save_recommender(
    path: str | Path,
    model: Recommender,
    dataset: Identified | None = None,
    split: Split | None = None,
    *,
    half: bool = False,
    **more: Any,
) -> None:
    """Write a generative recommender: weights, semantic IDs, configuration, card.

    Weights of 16 bits are written as float32, which holds the same numbers, unless `half` is asked
    for.

    Args:
        path: the file.
        model: of any architecture.
        dataset: what it was trained on: a `Dataset`, or a `HistoriesFile`.
        split: whose `train` it learned from. Without dataset and split, the commands refuse the
            file.
        half: write the weights as float16, for about half the file; `round_to_half` says what is
            lost.
        more: for the card, JSON: `seed=0`, `metrics={…}`.

    Raises:
        ValueError: if model, split and dataset have different numbers of items, if `more` names
            what the card says by itself, if the configuration is of no known architecture, as
            `round_to_half`, or for what `load_recommender` would refuse: weights that are not
            finite, of float64, or not those of the configuration. An older file is then still
            whole.
        OSError: if the path cannot be written; an older file is then still whole.
    """
    model = _one_of(Recommender, model)
    check_sizes(dataset, model=len(model.ids), split=split.num_items if split else None)
    save_with_card(path, model, card_of(dataset, split=split, more=more), half=half)


@own_settings
def save_with_card(
    path: str | Path, model: RQVAE | Recommender | SASRec, card: Card, *, half: bool = False
) -> None:
    """Write a model with a card that is known already, such as a loaded one.

    Args, Raises: as `save_recommender`; an RQ-VAE is not written with `half`.
    """
    checkpoint = content_of(model, card, half=half)
    try:  # the loader's own checks: what it would refuse is not written
        check_modules(model, model_of(checkpoint))
    except REFUSALS as error:
        raise ValueError(
            f"{path} is not written, because the {type(model).__name__} in it could not be loaded "
            f"again ({short(error)}): save the model as it was trained, or an earlier one"
        ) from error
    save_checkpoint(path, *checkpoint)


@own_settings
def load_recommender(
    name_or_path: str | Path, expected_ids: SemanticIDs | None = None
) -> tuple[Recommender, Card]:
    """Load a generative recommender, ready to recommend.

    Args:
        name_or_path: a shipped one by its dataset's name, or a file.
        expected_ids: the catalogue that you are going to use; any other one is refused.

    Returns:
        The model, of the architecture that the file names, in evaluation mode on the CPU
        (`model.ids` is its catalogue), and its card. Weights are float32, also those that the
        file holds as float16.

    Raises:
        CheckpointError: if the file holds something else, weights of another shape or type or not
            finite, or uses the IDs of another catalogue.
        OSError: if it cannot be read.
    """
    path = find_checkpoint(name_or_path, "recommender")
    checkpoint = load_checkpoint(path, CONFIGS)
    with naming_file(path):
        model = model_of(checkpoint)
    assert isinstance(model, Recommender)
    if expected_ids is not None and expected_ids.sha256 != model.ids.sha256:
        raise CheckpointError(
            f"{path} uses the IDs of catalogue {model.ids.sha256[:12]}…, but yours is "
            f"{expected_ids.sha256[:12]}…: use the IDs it was trained on, or train it on yours"
        )
    return model, checkpoint.card


@own_settings
def save_sasrec(
    path: str | Path,
    model: SASRec,
    dataset: Identified | None = None,
    split: Split | None = None,
    *,
    half: bool = False,
    **more: Any,
) -> None:
    """Write a SASRec: weights, configuration, card.

    Args, Raises: as `save_recommender`.
    """
    model = _one_of(SASRec, model)
    check_sizes(dataset, model=model.config.num_items, split=split.num_items if split else None)
    save_with_card(path, model, card_of(dataset, split=split, more=more), half=half)


@own_settings
def load_sasrec(name_or_path: str | Path) -> tuple[SASRec, Card]:
    """Load a SASRec, ready to recommend.

    Args:
        name_or_path: a shipped one by its dataset's name, or a file.

    Returns:
        The model, in evaluation mode on the CPU, and its card. Weights are float32, also those that
        the file holds as float16.

    Raises:
        CheckpointError: if the file holds something else, or weights of another shape or type, or
            not finite.
        OSError: if it cannot be read.
    """
    path = find_checkpoint(name_or_path, "sasrec")
    checkpoint = load_checkpoint(path, ["sasrec"])
    with naming_file(path):
        model = model_of(checkpoint)
    assert isinstance(model, SASRec)
    return model, checkpoint.card


@own_settings
def load_model(name_or_path: str | Path) -> tuple[Recommender | SASRec, Card]:
    """Load whatever recommends: a `Recommender` of any architecture, or a SASRec.

    Args, Raises: as `load_recommender`.
    """
    path = find_checkpoint(name_or_path, "recommender")
    checkpoint = load_checkpoint(path, [*CONFIGS, "sasrec"])
    with naming_file(path):
        model = model_of(checkpoint)
    assert isinstance(model, Recommender | SASRec)
    return model, checkpoint.card


def _one_of(kind: type[_Model], model: nn.Module) -> _Model:
    """Return a model, or that of which `torch.compile` made a faster one, if it is of a kind."""
    model = uncompiled(model)
    if not isinstance(model, kind):
        raise ValueError(
            f"the model is a {type(model).__name__}; expected a {kind.__name__}: pass one, or call "
            "the function that saves your kind of model"
        )
    return model
