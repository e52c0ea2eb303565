"""What the commands' tests share: a pipeline that ran once, and trainings that are short."""

import shutil
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import save_embeddings
from rqvae_lib.training.recipes import train_rqvae
from tests.cli.running import opened, succeeds, vectors_of
from tests.helpers import made_once

recipes, validation, registry, vectors, catalogue = (
    import_module(f"rqvae_lib.{name}")
    for name in (
        *("training.recipes", "evaluation.validation", "datasets.registry"),
        *("embeddings.item_vectors", "cli.catalogue"),
    )
)


@pytest.fixture(scope="package", autouse=True)
def one_thread_here() -> Iterator[None]:
    """The same number of threads for whatever is compared, also with what is made once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def quick(one_thread_here: None) -> Iterator[None]:
    """Read data once, and train the autoencoder alone for 3 steps: 300 take most of the time."""
    short = partial(train_rqvae, autoencoder_steps=3)
    with (
        patch.object(recipes, "train_rqvae", short),
        patch.object(registry, "load_dataset", opened),
        patch.object(vectors, "item_vectors", vectors_of),
        patch.object(catalogue, "item_vectors", vectors_of),
    ):
        yield


@pytest.fixture(scope="package")
def pipeline(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands ran one after another, with a few steps each."""

    def run(folder: Path) -> None:
        succeeds("train-rqvae", "--steps", 3, folder=folder)
        succeeds("inference-rqvae", folder=folder)
        said = succeeds("train-recommender", "--steps", 5, folder=folder)
        for name in ("Recall@10", "NDCG@10", "Recall@10 of popularity", "NDCG@10 of popularity"):
            assert f"Validation {name}: 0." in said

    return made_once(tmp_path_factory, "pipeline", run)


@pytest.fixture
def copied(pipeline: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to change."""
    shutil.copytree(pipeline / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture(scope="package")
def kmeans_file(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kmeans")
    succeeds("train-rqvae", "--residual-kmeans", folder=folder)
    assert [path.name for path in (folder / "runs").iterdir()] == ["rqvae.safetensors"]
    return folder / "runs/rqvae.safetensors"


@pytest.fixture(scope="package")
def shop(one_thread_here: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with somebody's own tables, 90 items and 30 users, and embeddings of the texts."""
    folder = tmp_path_factory.mktemp("own") / "shop"
    folder.mkdir()
    chance = np.random.default_rng(0)
    rows = [
        (f"user{user:02}", f"item{item:02}", 1_000_000 + 60 * place + user)
        for user in range(30)
        for place, item in enumerate(chance.choice(90, size=12, replace=False))
    ]
    names = ["user_id", "item_id", "timestamp"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "interactions.csv", index=False)
    numbers = [f"{item:02}" for item in range(90)]
    items = {
        "item_id": [f"item{number}" for number in numbers],
        "title": [f"Item {number}" for number in numbers],
    }
    pd.DataFrame(items).to_csv(folder / "items.csv", index=False)
    texts = load_dataset(folder).texts
    vectors = torch.from_numpy(chance.standard_normal((90, 8)))
    save_embeddings(folder / "vectors.safetensors", vectors, texts, "an encoder", "shop")
    return folder


@pytest.fixture
def no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation takes seconds, and says nothing where it is not the matter."""
    monkeypatch.setattr(validation, "validate", lambda *_: {})
