"""The maps with other settings: which movies, how they are stored, and how they are measured."""

import base64
import json
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import rankdata
from sklearn.manifold import trustworthiness as judge
from torch import Tensor

from rqvae_lib.teaching.umap_settings import (
    CODES,
    FITS,
    MOVIES,
    NEAREST,
    UNIT,
    Fit,
    order_of_distances,
    sample,
    settings_data,
    still_maps,
    table_of,
    vectors_of,
)

MOVIES_IN_ALL = 700


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def codes() -> Tensor:
    return torch.randint(30, (MOVIES_IN_ALL,), generator=seeded(0))


@pytest.fixture(scope="module")
def ratings() -> Tensor:
    return torch.randint(9, (MOVIES_IN_ALL,), generator=seeded(1))


@pytest.fixture(scope="module")
def latents(codes: Tensor) -> Tensor:
    centers = 9 * torch.randn(30, 4, generator=seeded(2))
    return centers[codes] + torch.randn(MOVIES_IN_ALL, 4, generator=seeded(3))


@pytest.fixture(scope="module")
def rows(codes: Tensor, ratings: Tensor) -> Tensor:
    return sample(codes, ratings)[:160]


@pytest.fixture(scope="module")
def table(rows: Tensor, latents: Tensor) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    return table_of(
        rows,
        {
            fit.name: latents[rows, :2].numpy() + fit.seed * chance.normal(size=(len(rows), 2))
            for fit in FITS
        },
    )


@pytest.fixture(scope="module")
def data(table: pd.DataFrame, latents: Tensor, codes: Tensor) -> dict[str, Any]:
    titles = [f"Movie {i}" for i in range(MOVIES_IN_ALL)]
    return settings_data(table, latents, codes, titles, start=int(table["item"][3]))


def unpacked(text: str, columns: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<u2").reshape(-1, columns)


def test_the_sample_is_the_best_known_movies_of_the_best_known_codes(
    codes: Tensor, ratings: Tensor
) -> None:
    frame = pd.DataFrame({"code": codes, "ratings": ratings})
    large = frame.groupby("code").filter(lambda group: len(group) >= MOVIES)
    totals = large.groupby("code")["ratings"].sum().sort_values(ascending=False, kind="stable")
    expected = []
    for code in totals.index[:CODES]:
        members = frame[frame["code"] == code].sort_values(
            "ratings", ascending=False, kind="stable"
        )
        expected += members.index[:MOVIES].tolist()
    assert len(totals) < 30  # a code is too small
    assert sample(codes, ratings).tolist() == expected


def test_the_control_keeps_columns_and_nothing_else(latents: Tensor) -> None:
    vectors = vectors_of(latents)
    assert vectors["latents"] is latents
    shuffled = vectors["shuffled"]
    assert torch.equal(shuffled.sort(0).values, latents.sort(0).values)
    assert not torch.equal(shuffled, latents)
    assert torch.equal(shuffled, vectors_of(latents)["shuffled"])


def test_a_table_turns_maps_and_changes_nothing_else() -> None:
    points = np.random.default_rng(1).normal(size=(50, 2)) * [3, 1]
    angle = np.array([[np.cos(2), -np.sin(2)], [np.sin(2), np.cos(2)]])
    mirrored = 7 * points @ angle * [1, -1] + [100, -4]
    table = table_of(torch.arange(50), {"a_1": points, "a_2": mirrored})
    first, second = (table[[f"{name}_x", f"{name}_y"]].to_numpy() for name in ("a_1", "a_2"))
    assert np.abs(first.astype(int) - second.astype(int)).max() <= 1  # turned back
    assert (first.min(0).min(), first.max()) == (0, UNIT)
    scale = UNIT / np.ptp(points, 0).max()
    np.testing.assert_allclose(
        first - first[0].astype(float), (points - points[0]) * scale, atol=1.1
    )


def test_data_are_the_table_and_true_measures(
    data: dict[str, Any], table: pd.DataFrame, latents: Tensor, codes: Tensor
) -> None:
    json.dumps(data, allow_nan=False)
    rows = torch.tensor(table["item"].to_numpy())
    vectors = vectors_of(latents[rows])
    assert data["titles"] == [f"Movie {row}" for row in rows.tolist()]
    assert data["start"] == 3
    assert data["codes"] == codes[rows].tolist()
    assert len(data["fits"]) == 36
    for told, fit in zip(data["fits"], FITS, strict=True):
        assert Fit(*(told[name] for name in Fit._fields)) == fit
        points = unpacked(told["points"], 2)
        assert points.tolist() == table[[f"{fit.name}_x", f"{fit.name}_y"]].to_numpy().tolist()
        truth = vectors[fit.vectors].numpy()
        expected = judge(truth, points.astype(float), n_neighbors=NEAREST)
        assert told["trust"] == pytest.approx(expected, abs=2e-4)
    for name, text in data["neighbors"].items():
        distances = torch.cdist(vectors[name], vectors[name]).fill_diagonal_(torch.inf)
        nearest = distances.topk(NEAREST, largest=False).indices
        assert unpacked(text, NEAREST).tolist() == nearest.tolist()


def test_order_of_distances_by_hand() -> None:
    groups = torch.tensor([0, 0, 1, 1, 2, 3])
    truth = torch.tensor([[0.0], [2.0], [4.0], [6.0], [30.0], [9.0]])  # centers 1, 5, 30, 9
    drawn = torch.tensor([[0.0, 0], [0, 0], [1, 0], [1, 0], [0, 5], [3, 0]]).double()
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    centers, places = [1, 5, 30, 9], [(0, 0), (1, 0), (0, 5), (3, 0)]
    ranks = [
        rankdata([abs(centers[a] - centers[b]) for a, b in pairs]),
        rankdata([np.hypot(*np.subtract(places[a], places[b])) for a, b in pairs]),
    ]
    expected = np.corrcoef(*ranks)[0, 1]
    assert order_of_distances(truth, drawn, groups) == pytest.approx(expected)


def test_still_figure_holds_the_maps_and_is_light(data: dict[str, Any]) -> None:
    figure = still_maps(data, [FITS[0], FITS[-1]])
    for ax, told in zip(figure.axes, (data["fits"][0], data["fits"][-1]), strict=True):
        assert ax.collections[0].get_offsets().tolist() == unpacked(told["points"], 2).tolist()
        assert ax.collections[0].get_rasterized()
    plt.close(figure)
