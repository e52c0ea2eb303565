"""What the tokenizer is told of each item: texts, who chose it, or both."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import load_embeddings, save_embeddings
from tests.helpers import small_dataset


def test_text_is_the_shipped_embeddings() -> None:
    dataset = load_dataset("movielens-small-2016")
    assert torch.equal(item_vectors(dataset), load_embeddings("movielens-small-2016"))


def test_collaborative_vectors_know_of_the_training_part_alone() -> None:
    def other_end(history: list[int]) -> list[int]:
        return [*history[:-2], 88, 89] if len(history) >= 3 else history

    def other_start(history: list[int]) -> list[int]:
        return [88, *history[1:]]

    vectors = item_vectors(small_dataset(), "collaborative")
    assert vectors.shape == (90, 64)
    assert vectors.any()
    assert torch.equal(item_vectors(small_dataset(other_end), "collaborative"), vectors)
    assert not torch.equal(item_vectors(small_dataset(other_start), "collaborative"), vectors)


def test_both_is_one_after_the_other_and_texts_may_come_from_a_file(tmp_path: Path) -> None:
    dataset, path = small_dataset(), tmp_path / "embeddings.safetensors"
    text = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    text = text.half().float()  # files are in half precision
    save_embeddings(path, text, dataset.texts, "by chance", dataset.name)
    assert torch.equal(item_vectors(dataset, embeddings=path), text)
    both = item_vectors(dataset, "both", path)
    assert torch.equal(both[:, :5], text)
    assert torch.equal(both[:, 5:], item_vectors(dataset, "collaborative"))
    shipped = load_embeddings("movielens-small-2016")
    both = item_vectors(load_dataset("movielens-small-2016"), "both")
    assert both.shape == (9066, 448)
    assert torch.equal(both[:, :384], shipped)


def test_texts_without_embeddings_are_refused() -> None:
    for content in ("text", "both"):
        with pytest.raises(ValueError, match="no embeddings of small's texts"):
            item_vectors(small_dataset(), content)  # type: ignore[arg-type]


def test_other_content_is_refused() -> None:
    with pytest.raises(ValueError, match=r"content is 'images'; it must be one of .*'both'"):
        item_vectors(small_dataset(), "images")  # type: ignore[arg-type]


def test_shipped_embeddings_are_not_taken_for_other_texts() -> None:
    small, shipped = small_dataset(), load_dataset("movielens-small-2016")
    namesake = Dataset(shipped.name, small.items, small.interactions)
    with pytest.raises(ValueError, match="expected one row for each of 90 item texts"):
        item_vectors(namesake)
    items = shipped.items.assign(text=shipped.items["text"].iloc[::-1].to_numpy())
    items = items.astype(shipped.items.dtypes)
    with pytest.raises(ValueError, match="was made from texts with the sha256"):
        item_vectors(Dataset(shipped.name, items, shipped.interactions))


def test_a_small_catalogue_has_shorter_collaborative_vectors() -> None:
    table = pd.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": [1, 2, 3, 2, 3, 4]})
    assert item_vectors(Dataset.from_tables(table), "collaborative").shape == (4, 3)
