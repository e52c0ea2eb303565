"""`embed`: the file holds the vectors and says of what, and nothing is encoded for nothing.

The encoder itself is replaced here: the tests of text embeddings cover the real one.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rqvae_lib.embeddings.config import DEFAULT_MODEL
from rqvae_lib.embeddings.text import read_embeddings, texts_sha256
from tests.cli.running import DATASET, fails, opened, succeeds

text = import_module("rqvae_lib.embeddings.text")
pytestmark = pytest.mark.usefixtures("quick")

Encoder = Callable[..., torch.Tensor]
Asked = list[tuple[list[str], str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the encoder was asked for: texts, and the name of the model."""
    found: Asked = []

    def encode(texts: list[str], model: str, **_: object) -> torch.Tensor:
        found.append((texts, model))
        return torch.arange(float(4 * len(texts))).view(-1, 4) / 4096

    monkeypatch.setattr(text, "encode_texts", encode)
    return found


def header_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("embeddings").dtype == torch.float16
        return dict(file.metadata())


def test_the_embedded_texts_are_encoded(asked: Asked, tmp_path: Path) -> None:
    said = succeeds("embed", "--output", "new/vectors.safetensors", folder=tmp_path)
    assert said == "Wrote 9,066 vectors of 4 numbers to new/vectors.safetensors.\n"
    path, texts = tmp_path / "new/vectors.safetensors", opened().texts
    assert asked == [(texts, DEFAULT_MODEL)]
    expected = torch.arange(4.0 * 9066).view(-1, 4) / 4096
    assert torch.equal(read_embeddings(path, texts), expected.half().float())
    assert header_of(path) == {
        "model": DEFAULT_MODEL,
        "dataset": DATASET,
        "texts_sha256": texts_sha256(texts),
        "command": f"rqvae-lib embed --model {DEFAULT_MODEL} --output vectors.safetensors",
    }
    again = tmp_path / "again" / "vectors.safetensors"
    succeeds("embed", "--output", again, folder=tmp_path)
    assert again.read_bytes() == path.read_bytes()


def test_own_tables_are_encoded_and_noted(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "my orders.csv").write_text("user_id,item_id\nann,tea\nann,jam\n")
    (tmp_path / "items.csv").write_text("item_id,title\njam,Jam\ntea,Tea\nrye,Rye bread\n")
    own = ("--interactions", "my orders.csv", "--items", "items.csv")
    succeeds("embed", *own, "--model", "mine", "--output", "own.safetensors", folder=tmp_path)
    texts = opened(interactions=tmp_path / "my orders.csv", items=tmp_path / "items.csv").texts
    assert asked == [(texts, "mine")]
    assert len(read_embeddings(tmp_path / "own.safetensors", texts)) == 3
    header = header_of(tmp_path / "own.safetensors")
    assert (header["dataset"], header["model"]) == ("my orders.csv", "mine")
    assert header["command"] == (
        "rqvae-lib embed --interactions 'my orders.csv' --items items.csv --model mine --output "
        "own.safetensors"
    )


def test_a_folder_is_noted_as_it_was_named(shop: Path, asked: Asked, tmp_path: Path) -> None:
    succeeds("embed", "--dataset", shop, "--output", "shop.safetensors", folder=tmp_path)
    assert f"embed --dataset {shop} --model" in header_of(tmp_path / "shop.safetensors")["command"]
    assert len(asked[0][0]) == 90


@pytest.mark.parametrize("name", ["vectors.npy", "vectors", "items.csv", "vectors.safetensors.gz"])
def test_another_ending_is_refused_before_anything_is_encoded(
    name: str, asked: Asked, tmp_path: Path
) -> None:
    said = fails("embed", "--output", name, folder=tmp_path)
    assert f"{name} ends in '{Path(name).suffix}': name a .safetensors file" in said
    assert not asked
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_nothing_is_encoded(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = fails("embed", "--output", "file/vectors.safetensors", folder=tmp_path)
    assert "cannot write file/vectors.safetensors" in said
    assert not asked


def test_a_missing_encoder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    said = fails("embed", "--output", "vectors.safetensors", folder=tmp_path)
    assert "pip install 'rqvae-lib[encode]'" in said
    assert not list(tmp_path.iterdir())


def test_without_texts_there_is_nothing_to_encode(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("user_id,item_id\nann,tea\nann,jam\n")
    own = ("--interactions", "orders.csv", "--output", "own.safetensors")
    said = fails("embed", *own, folder=tmp_path)
    assert "orders.csv has no texts" in said
    assert not asked
