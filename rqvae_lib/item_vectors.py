"""What a tokenizer is to know of each item: its text, who chose it, or both.

Source: see `content` and `collaborative`, which make the vectors.
Derived in: chapter 02.
"""

from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from rqvae_lib.collaborative import collaborative_vectors
from rqvae_lib.content import load_embeddings, read_embeddings
from rqvae_lib.datasets import EMBEDDED, Dataset
from rqvae_lib.splits import SplitName, split_by_name

Content = Literal["text", "collaborative", "both"]
DIM = 64  # of collaborative vectors, where there are more items than that


def item_vectors(
    dataset: Dataset,
    content: Content = "text",
    embeddings: Path | None = None,
    split: SplitName = "leave-one-out",
) -> Tensor:
    """Return what the tokenizer is to know of each item.

    Args:
        dataset: the items, and who chose what.
        content: "text" for the embeddings of titles and genres, "collaborative" for vectors from
            who chose what in the training part of the split, "both" for one after the other.
        embeddings: as `text_vectors`.
        split: which interactions may be learned from.

    Returns:
        shape (N, D), float32: for the shipped embeddings D is 384, for collaborative vectors 64
        (N − 1 in a smaller catalogue), for both 448. The RQ-VAE standardises each feature, so every
        number counts alike.

    Raises:
        ValueError: for another content, or as `text_vectors`.
        OSError: as `text_vectors`.
    """
    if content not in get_args(Content):
        raise ValueError(f"content is {content!r}; it must be one of {get_args(Content)}")
    parts = []
    if content in ("text", "both"):
        parts.append(text_vectors(dataset, embeddings))
    if content in ("collaborative", "both"):
        train, num_items = split_by_name(dataset, split).train, dataset.num_items
        parts.append(collaborative_vectors(train, num_items, dim=min(DIM, num_items - 1)))
    return torch.cat(parts, 1)


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
        "`python -m rqvae_lib.content` and the --dataset, or --interactions and --items, that you "
        "use here, and pass the file as embeddings (--embeddings)"
    )
