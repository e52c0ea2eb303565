"""The maps of chapter 07 are of what their names say, and the table that is shipped is whole."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import umap_coordinates
from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.tokenizer.rqvae import RQVAE
from umap_coordinates import MAPS, RESULTS, STAGES, draw_stages, table_of


@pytest.fixture(scope="module")
def model() -> RQVAE:
    return load_rqvae("movielens-small-2016")[0]


@pytest.fixture(scope="module")
def embeddings() -> Tensor:
    return load_embeddings()[:800]


def test_the_table_has_all_maps_and_movies() -> None:
    table = pd.read_parquet(RESULTS)
    names = [*MAPS, *STAGES]
    assert table.columns.tolist() == [f"{name}_{axis}" for name in names for axis in "xy"]
    assert len(table) == len(load_embeddings())
    assert np.isfinite(table.to_numpy()).all()


def test_maps_of_the_same_latents_differ_in_one_setting() -> None:
    for name in ("seed_1", "neighbours_5", "neighbours_100"):
        changed = [a != b for a, b in zip(MAPS[name], MAPS["latents"], strict=True)]
        assert sum(changed) == 1


def test_residuals_add_up(model: RQVAE, embeddings: Tensor) -> None:
    latents = MAPS["latents"].vectors(model, embeddings)
    codes = model.assign(embeddings)
    with torch.no_grad():
        for level in (1, 2, 3):
            rest = MAPS[f"residual_{level}"].vectors(model, embeddings)
            torch.testing.assert_close(rest + model.quantizer.decode(codes[:, :level]), latents)


def test_shuffling_keeps_columns_and_nothing_else(model: RQVAE, embeddings: Tensor) -> None:
    latents = MAPS["latents"].vectors(model, embeddings)
    shuffled = MAPS["shuffled"].vectors(model, embeddings)
    assert torch.equal(shuffled.sort(0).values, latents.sort(0).values)
    assert (shuffled == latents).float().mean() < 0.05
    before, after = (torch.corrcoef(v.T).fill_diagonal_(0).abs().max() for v in (latents, shuffled))
    assert after < before


def test_stages_give_each_movie_its_own_place(
    model: RQVAE, embeddings: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def first_two(vectors: Tensor) -> np.ndarray:
        drawn.append(vectors)
        return vectors[:, :2].numpy()

    monkeypatch.setattr(umap_coordinates, "draw", first_two)
    found = draw_stages(model, embeddings)
    codes = model.assign(embeddings)
    with torch.no_grad():
        for level in (1, 2, 3):
            expected = model.quantizer.decode(codes[:, :level])[:, :2]
            np.testing.assert_allclose(found[f"level_{level}"], expected)
    np.testing.assert_allclose(found["whole"], model.encode(embeddings)[:, :2])
    sums = drawn[0][: len(drawn[0]) - len(embeddings)]
    assert len(torch.unique(sums, dim=0)) == len(sums)  # equal sums are drawn once


def test_table_of() -> None:
    table = table_of({"a": np.array([[0.12345, 1.0]], "float32"), "b": np.ones((1, 2))})
    assert table.columns.tolist() == ["a_x", "a_y", "b_x", "b_y"]
    assert table["a_x"][0] == np.float32(0.123)
