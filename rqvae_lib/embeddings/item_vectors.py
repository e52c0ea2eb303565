"""The vectors that a tokenizer reads: from each item's text, from who chose it, or from both.

Source: see `embeddings.text` and `embeddings.collaborative`, which make the vectors.
Derived in: chapter 02.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import DEFAULT_CONTENT, EMBEDDED, Content
from rqvae_lib.data.splits import Split, leave_one_out
from rqvae_lib.datasets.embedded import load_embedded
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.embeddings.text import load_embeddings, read_embeddings
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.ops.arrays import as_vectors
from rqvae_lib.ops.torch_settings import own_settings

DIM = 64  # of collaborative vectors, if there are more items than that


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """Item vectors and their origin, which the card of a checkpoint repeats."""

    tensor: Tensor  # (N, D), float32
    content: Content = "text"
    text: Tensor | None = None  # (N, D'), float32, the part that comes from texts; None: no part
    split: str | None = None  # the split whose training part the vectors use; None: no split

    def __post_init__(self) -> None:
        tensor = as_vectors(self.tensor, "the vectors", dtype=torch.float32)
        object.__setattr__(self, "tensor", tensor)

    @cached_property
    def text_sha256(self) -> str:
        """The sha256 (hex) of the text embeddings, or "" if there are none."""
        # Collaborative vectors need no hash: they follow from the data, up to rounding, and the
        # card has the checksum of the data.
        return "" if self.text is None else tensors_sha256(self.text)

    @cached_property
    def sha256(self) -> str:
        """The name of the vectors. Texts alone are not hashed a second time."""
        return self.text_sha256 if self.text is self.tensor else tensors_sha256(self.tensor)


@own_settings
def item_vectors(
    dataset: Dataset,
    content: Content = DEFAULT_CONTENT,
    embeddings: Path | None = None,
    split: Split | None = None,
) -> ItemVectors:
    """Return the vectors that the tokenizer reads for each item.

    Args:
        dataset: the items and the interactions.
        content: "text" for embeddings of the items' texts, "collaborative" for vectors made from
            the training part of the split, or "both" for the two side by side.
        embeddings: as `text_vectors`.
        split: a split of this dataset, whose training part may be used. Leave-one-out by default.

    Returns:
        The vectors, a tensor (N, D), and how they were made. D is 384 for the shipped embeddings,
        64 for collaborative vectors (N − 1 in a smaller catalogue) and 448 for both. The RQ-VAE
        standardizes each feature, so every number has the same weight.

    Raises:
        ValueError: for another content, or as `text_vectors`.
        OSError: as `text_vectors`.
    """
    if content not in get_args(Content):
        raise ValueError(f"content is {content!r}; it must be one of {get_args(Content)}")
    text = None if content == "collaborative" else text_vectors(dataset, embeddings)
    if content == "text":
        assert text is not None
        return ItemVectors(text, content, text)
    split = split or leave_one_out(dataset)
    dim = min(DIM, dataset.num_items - 1)
    chosen = collaborative_vectors(split.train, dataset.num_items, dim=dim)
    tensor = chosen if text is None else torch.cat([text, chosen], 1)
    return ItemVectors(tensor, content, text, split.name)


@own_settings
def text_vectors(dataset: Dataset, embeddings: Path | None = None) -> Tensor:
    """Return the embeddings of the items' texts.

    Args:
        dataset: the items.
        embeddings: a file that `save_embeddings` wrote for these texts, or your own .npy file.
            None: the embeddings that ship with an embedded dataset.

    Returns:
        shape (N, D), float32.

    Raises:
        ValueError: if the embeddings belong to other texts, or if the dataset has no embeddings in
            the package and none are passed.
        OSError: if the embeddings cannot be read.
    """
    if embeddings is not None:
        return read_embeddings(embeddings, dataset.texts)
    if dataset.name in EMBEDDED:
        return load_embeddings(dataset.name, dataset.texts)
    whole, comma, _ = dataset.name.partition(", ")
    if comma and whole in EMBEDDED:  # a core of it, with some of its items
        return _part_of_shipped(whole, dataset)
    if not dataset.has_texts:
        raise ValueError(
            f"{dataset.name} has no texts: pass your own embeddings (--embeddings), or use "
            "collaborative vectors alone (--content collaborative)"
        )
    raise ValueError(
        f"there are no embeddings of {dataset.name}'s texts in the library: make them with "
        "`rqvae-lib embed` and the same --dataset, or --interactions and --items, and pass the "
        "file as embeddings (--embeddings)"
    )


def _part_of_shipped(name: str, dataset: Dataset) -> Tensor:
    """Return the shipped embeddings of some items of an embedded dataset."""
    whole = load_embedded(name)
    rows = whole.item_index(dataset.items["item_id"].to_numpy())
    if [whole.texts[row] for row in rows] != dataset.texts:
        raise ValueError(
            f"{dataset.name} has other texts than {name}, expected the same: make embeddings of "
            "them with `rqvae-lib embed`"
        )
    return load_embeddings(name, whole.texts)[torch.from_numpy(rows)]
