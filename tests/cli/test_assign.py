"""`assign` and `embed --texts`: folders that are larger than memory, on the command line."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.vector_folders import read_vectors
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.imports import import_ids
from tests.cli.running import DATASET, fails, opened, succeeds, text
from tests.helpers import write_vectors

text_folders = import_module("rqvae_lib.embeddings.text_folders")
pytestmark = pytest.mark.usefixtures("quick")


def write(folder: Path, ids: Sequence[object], vectors: np.ndarray) -> None:
    """Write vectors into two files, the last items first."""
    for number, rows in enumerate((slice(700, None), slice(700))):
        write_vectors(folder / f"{number}.parquet", ids[rows], vectors[rows].astype(np.float16))


def test_the_ids_of_the_embedded_movies(tmp_path: Path) -> None:
    """Those that `inference-rqvae` writes, since the movies are in the order of their ids."""
    ids, vectors = opened().items["item_id"].to_numpy(), text()
    write(tmp_path / "vectors", ids, vectors.numpy())
    said = succeeds("assign", "--vectors", "vectors", "--output", "new/t.parquet", folder=tmp_path)
    expected = load_rqvae(DATASET)[0].tokenize(vectors)
    collisions = int((expected.ids[:, -1] > 0).sum())
    assert said == (
        f"Wrote the IDs of 9,066 items to new/t.parquet; {collisions} share their codes with an "
        "earlier item.\n"
    )
    found = import_ids(tmp_path / "new/t.parquet", ids)
    assert found.ids.sha256 == expected.sha256
    again = ("assign", "--vectors", "vectors", "--output", "new/t.parquet")
    before = (tmp_path / "new/t.parquet").read_bytes()
    succeeds(*again, folder=tmp_path)
    assert (tmp_path / "new/t.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--vectors vectors --output t.csv", "t.csv ends in '.csv': name a .parquet file"),
        ("--vectors vectors --output t.parquet --workers 2", "only Ray has workers (--engine ray)"),
        ("--vectors nowhere --output t.parquet", "nowhere does not exist; expected a folder"),
        ("--vectors vectors --output vectors/0.parquet", "lies in vectors, whose files are read"),
        ("--vectors vectors --output vectors/new/t.parquet", "lies in vectors, whose files are"),
        ("--vectors vectors --output mine.parquet", "mine.parquet exists and is not a large table"),
        (
            "--vectors vectors --output t.parquet",
            "vectors of 5 numbers, but the tokenizer reads 384",
        ),
        ("--vectors vectors --output t.parquet --tokenizer random", "random is neither a file nor"),
    ],
)
def test_what_is_refused(words: str, says: str, tmp_path: Path) -> None:
    write(tmp_path / "vectors", list(range(800)), np.ones((800, 5)))
    pd.DataFrame({"mine": [1]}).to_parquet(tmp_path / "mine.parquet")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    assert says in fails("assign", *words.split(), folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.parquet", "vectors"]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one file of texts, and an encoder that counts their characters."""

    def encode(texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[len(one), 1] for one in texts]).float()

    monkeypatch.setattr(text_folders, "load_encoder", lambda *_: encode)
    (tmp_path / "texts").mkdir()
    table = pa.table({"item_id": ["b", "a"], "text": ["four", "seven.."]})
    pq.write_table(table, tmp_path / "texts/one.parquet")
    return tmp_path


def test_texts_become_vectors(texts: Path) -> None:
    words = ("embed", "--texts", "texts", "--output", "vectors")
    assert succeeds(*words, folder=texts) == "Wrote 2 vectors to vectors.\n"
    assert read_vectors(texts / "vectors").tensor.tolist() == [[7, 1], [4, 1]]
    said = succeeds(*words, folder=texts)
    assert said == "Wrote 0 vectors to vectors, and found 2 that were there.\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--texts texts --output texts/vectors", "lies in texts, whose files are read"),
        ("--texts texts --output v --dataset ml-1m", "--dataset would change nothing"),
        ("--texts texts --output mine", "mine/one.parquet exists and is not a file of vectors"),
        ("--output v.safetensors --engine process", "--engine would change nothing"),
    ],
)
def test_what_embed_refuses(words: str, says: str, texts: Path) -> None:
    (texts / "mine").mkdir()
    pd.DataFrame({"mine": [1]}).to_parquet(texts / "mine/one.parquet")
    before = {path: path.read_bytes() for path in texts.rglob("*.parquet")}
    assert says in fails("embed", *words.split(), folder=texts)
    assert {path: path.read_bytes() for path in texts.rglob("*.parquet")} == before
    assert sorted(path.name for path in texts.iterdir()) == ["mine", "texts"]


def test_a_recommender_can_be_trained_on_the_table(shop: Path, tmp_path: Path) -> None:
    items = pd.read_csv(shop / "items.csv")["item_id"]
    chance = np.random.default_rng(0)
    model, _ = load_rqvae(DATASET)
    vectors = text()[torch.from_numpy(chance.integers(9066, size=90))]
    write(tmp_path / "vectors", items.tolist(), vectors.numpy())
    succeeds("assign", "--vectors", "vectors", "--output", "t.parquet", folder=tmp_path)
    words = ("train-recommender", "--dataset", shop, "--ids", "t.parquet", "--output", "out")
    succeeds(*words, "--steps", 1, folder=tmp_path)
    expected = SemanticIDs(model.assign(vectors), model.sizes)
    from rqvae_lib.checkpoints.models import load_recommender

    trained = load_recommender(tmp_path / "out/recommender.safetensors")[0]
    assert trained.ids.sha256 == expected.sha256
