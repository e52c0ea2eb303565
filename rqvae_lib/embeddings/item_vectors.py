"""What a tokenizer is to know of each item: its text, who chose it, or both.

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
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.embeddings.text import load_embeddings, read_embeddings
from rqvae_lib.io.tensor_files import tensors_sha256

DIM = 64  # of collaborative vectors, where there are more items than that


@dataclass(frozen=True, eq=False)
class ItemVectors:
    """Item vectors, and what they were made from: a checkpoint's card says it on."""

    tensor: Tensor  # (N, D), float32
    content: Content = "text"
    text: Tensor | None = None  # (N, D'), the part of them that comes from texts; None: no part
    split: str | None = None  # which interactions were learned from; None: none

    @cached_property
    def text_sha256(self) -> str:
        """The name of the text embeddings; "" where there are none. Hashed once."""
        # Collaborative vectors follow from the data, whose checksum the card has, up to rounding.
        return "" if self.text is None else tensors_sha256(self.text)

    @cached_property
    def sha256(self) -> str:
        """The name of the vectors. Texts alone are not hashed a second time."""
        return self.text_sha256 if self.text is self.tensor else tensors_sha256(self.tensor)


def item_vectors(
    dataset: Dataset,
    content: Content = DEFAULT_CONTENT,
    embeddings: Path | None = None,
    split: Split | None = None,
) -> ItemVectors:
    """Return what the tokenizer is to know of each item.

    Args:
        dataset: the items, and who chose what.
        content: "text" for the embeddings of titles and genres, "collaborative" for vectors from
            who chose what in the training part of the split, "both" for one after the other.
        embeddings: as `text_vectors`.
        split: of this data set; its training part may be learned from. Leave-one-out by default.

    Returns:
        Its tensor has the shape (N, D): for the shipped embeddings D is 384, for collaborative
        vectors 64 (N − 1 in a smaller catalogue), for both 448. The RQ-VAE standardizes each
        feature, so every number counts alike.

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


def text_vectors(dataset: Dataset, embeddings: Path | None = None) -> Tensor:
    """Return the embeddings of the items' texts.

    Args:
        dataset: the items.
        embeddings: a file that `save_embeddings` wrote for these items' texts, or a .npy file of
            your own; None for the one that ships with an embedded data set.

    Returns:
        shape (N, D), float32.

    Raises:
        ValueError: for embeddings of other texts, the shipped ones included, or if there are none.
        OSError: if the embeddings cannot be read.
    """
    if embeddings is not None:
        return read_embeddings(embeddings, dataset.texts)
    if dataset.name in EMBEDDED:
        return load_embeddings(dataset.name, dataset.texts)
    if not dataset.has_texts:
        raise ValueError(
            f"{dataset.name} has no texts: pass embeddings of your own (--embeddings), or use who "
            "chose what alone (--content collaborative)"
        )
    raise ValueError(
        f"no embeddings of {dataset.name}'s texts come with the library: make them with "
        "`rqvae-lib embed` and the --dataset, or --interactions and --items, that you use here, "
        "and pass the file as embeddings (--embeddings)"
    )
