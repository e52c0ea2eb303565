"""The maps of the widget in chapter 07 are of today's latents, each with its own setting."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.neighbors import trustworthiness
from rqvae_lib.teaching.umap_settings import FITS, UNIT, sample, vectors_of
from tests.helpers import ROOT
from umap_coordinates import draw

TABLE = ROOT / "notebooks" / "results" / "07_settings.parquet"


def test_the_maps_are_of_the_sample_and_of_its_latents() -> None:
    """Other latents would not have their neighbors in these places."""
    table = pd.read_parquet(TABLE)
    items = torch.tensor(load_dataset("movielens-small-2016").interactions["item"].to_numpy())
    model, _ = load_rqvae("movielens-small-2016")
    embeddings = load_embeddings()
    rows = sample(model.assign(embeddings)[:, 0], torch.bincount(items, minlength=len(embeddings)))
    assert table["item"].tolist() == rows.tolist()
    columns = [f"{fit.name}_{axis}" for fit in FITS for axis in "xy"]
    assert table.columns.tolist() == ["item", *columns]
    vectors = vectors_of(model.encode(embeddings)[rows])
    for fit in FITS:
        points = table[[f"{fit.name}_x", f"{fit.name}_y"]].to_numpy(dtype="float64", copy=True)
        assert points.max() == UNIT
        trust = trustworthiness(vectors[fit.vectors], torch.from_numpy(points), k=15)
        low, high = (0.985, 1) if fit.vectors == "latents" else (0.65, 0.8)
        assert low < trust < high, fit
    maps = {tuple(table[f"{fit.name}_x"]) for fit in FITS}
    assert len(maps) == len(FITS)


def test_each_setting_reaches_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Fake:
        def __init__(self, **settings: Any) -> None:
            asked.append(settings)

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Fake))
    vectors = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    draw(vectors, 5, 1, 0.5)
    draw(vectors)
    read = [(each["n_neighbors"], each["random_state"], each["min_dist"]) for each in asked]
    assert read == [(5, 1, 0.5), (15, 0, 0.1)]
    assert [each["precomputed_knn"][0].shape for each in asked] == [(60, 5), (60, 15)]
