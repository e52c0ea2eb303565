"""What the tokenizer is told of each item: texts, who chose it, or both."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import global_timestamp, leave_last_out, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings import item_vectors as module
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import load_embeddings, save_embeddings
from rqvae_lib.io.tensor_files import tensors_sha256
from tests.helpers import small_dataset


def test_text_is_the_shipped_embeddings() -> None:
    vectors = item_vectors(load_dataset("movielens-small-2016"))
    assert torch.equal(vectors.tensor, load_embeddings("movielens-small-2016"))
    assert torch.equal(vectors.text, vectors.tensor)
    assert (vectors.content, vectors.split) == ("text", None)  # no interaction was read


def test_collaborative_vectors_know_of_the_training_part_alone() -> None:
    def other_end(history: list[int]) -> list[int]:
        return [*history[:-2], 88, 89] if len(history) >= 3 else history

    def other_start(history: list[int]) -> list[int]:
        return [88, *history[1:]]

    vectors = item_vectors(small_dataset(), "collaborative")
    assert vectors.tensor.shape == (90, 64)
    assert vectors.tensor.any()
    others = [
        item_vectors(small_dataset(change), "collaborative").tensor
        for change in (other_end, other_start)
    ]
    assert torch.equal(others[0], vectors.tensor)
    assert not torch.equal(others[1], vectors.tensor)
    assert (vectors.content, vectors.text) == ("collaborative", None)
    assert vectors.split == "leave-one-out"  # by default


@pytest.mark.parametrize("split_of", [global_timestamp, lambda data: leave_last_out(data, 2)])
def test_the_split_that_is_given_is_the_one_learned_from_and_named(split_of) -> None:
    data = small_dataset()
    split = split_of(data)
    assert split.name in ("timestamp", "last-2")
    vectors = item_vectors(data, "collaborative", split=split)
    assert torch.equal(vectors.tensor, collaborative_vectors(split.train, 90))
    assert not torch.equal(vectors.tensor, item_vectors(data, "collaborative").tensor)
    assert vectors.split == split.name


def test_a_split_is_made_only_where_none_is_given_and_one_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    monkeypatch.setattr(
        module, "leave_one_out", lambda data: (made.append(data), leave_one_out(data))[1]
    )
    data = small_dataset()
    item_vectors(data, "collaborative", split=leave_one_out(data))
    item_vectors(load_dataset())
    assert made == []
    item_vectors(data, "collaborative")
    assert made == [data]


def test_both_is_one_after_the_other_and_texts_may_come_from_a_file(tmp_path: Path) -> None:
    dataset, path = small_dataset(), tmp_path / "embeddings.safetensors"
    text = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    text = text.half().float()  # files are in half precision
    save_embeddings(path, text, dataset.texts, "by chance", dataset.name)
    assert torch.equal(item_vectors(dataset, embeddings=path).tensor, text)
    both = item_vectors(dataset, "both", path)
    assert torch.equal(both.tensor[:, :5], text)
    assert torch.equal(both.tensor[:, 5:], item_vectors(dataset, "collaborative").tensor)
    assert torch.equal(both.text, text)
    assert (both.content, both.split) == ("both", "leave-one-out")
    shipped = load_embeddings("movielens-small-2016")
    both = item_vectors(load_dataset("movielens-small-2016"), "both")
    assert both.tensor.shape == (9066, 448)
    assert torch.equal(both.tensor[:, :384], shipped)


def test_text_embeddings_are_named_by_their_sha256_and_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, path = small_dataset(), tmp_path / "embeddings.safetensors"
    save_embeddings(path, torch.ones(90, 5), dataset.texts, "ones", dataset.name)
    of_text, of_both, of_people = (
        item_vectors(dataset, "text", path),
        item_vectors(dataset, "both", path),
        item_vectors(dataset, "collaborative"),
    )
    hashed = []

    def noted(*tensors: torch.Tensor) -> str:
        hashed.append(tensors)
        return tensors_sha256(*tensors)

    monkeypatch.setattr(module, "tensors_sha256", noted)
    for _ in range(3):
        assert of_text.text_sha256 == tensors_sha256(torch.ones(90, 5))
    assert len(hashed) == 1
    assert of_both.text_sha256 == of_text.text_sha256  # of the part that is text
    assert of_people.text_sha256 == ""
    assert len(hashed) == 2


def test_texts_without_embeddings_are_refused() -> None:
    for content in ("text", "both"):
        with pytest.raises(ValueError, match="no embeddings of small's texts"):
            item_vectors(small_dataset(), content)  # type: ignore[arg-type]


def test_items_without_texts_say_what_else_there_is() -> None:
    data = Dataset.from_tables(pd.DataFrame({"user_id": [1, 1], "item_id": [1, 2]}))
    with pytest.raises(ValueError, match=r"has no texts: .*--embeddings.*--content collaborative"):
        item_vectors(data)


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
    vectors = item_vectors(Dataset.from_tables(table), "collaborative")
    assert vectors.tensor.shape == (4, 3)
