"""Neighbors and trustworthiness equal brute force and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import manifold
from sklearn.neighbors import NearestNeighbors

from rqvae_lib.ops.neighbors import nearest_neighbors, trustworthiness

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [40, 1500])  # 1500: more than one block of rows
def test_neighbours_equal_scikit_learn(count: int) -> None:
    x = rows(count, 5) + 3
    found = nearest_neighbors(x, 7)
    distances, indices = NearestNeighbors(n_neighbors=8).fit(x).kneighbors(x)
    assert np.array_equal(found.indices, indices[:, 1:])
    np.testing.assert_allclose(found.distances, distances[:, 1:], rtol=1e-5)


@pytest.mark.parametrize("place", [1000.0, -300.0])
def test_neighbours_and_trustworthiness_do_not_depend_on_where_the_data_stand(place: float) -> None:
    x = rows(400, 8) + place  # float32 squares of 1000 are 0.06 apart
    found, exact = nearest_neighbors(x, 5), nearest_neighbors(x.double() - place, 5)
    distances, indices = NearestNeighbors(n_neighbors=6).fit(x.double()).kneighbors(x.double())
    assert np.array_equal(found.indices, indices[:, 1:])
    np.testing.assert_allclose(found.distances, distances[:, 1:], rtol=1e-5)
    assert torch.equal(found.indices, exact.indices)
    points = x[:, :2].double() - place
    assert trustworthiness(x, points) == pytest.approx(
        manifold.trustworthiness(x.double(), points, n_neighbors=15), abs=1e-5
    )


def test_twins_are_neighbours_at_distance_exactly_zero() -> None:
    x = rows(300, 64) * 10
    x[200] = x[3]
    found = nearest_neighbors(x, 2)
    assert found.indices[3, 0] == 200
    assert found.indices[200, 0] == 3
    assert found.distances[3, 0] == 0


@pytest.mark.parametrize("k", [1, 6, 15])
def test_trustworthiness_equals_scikit_learn(k: int) -> None:
    x, points = rows(600, 20).double(), rows(600, 2, seed=1).double()
    points[:, 0] += 3 * x[:, 0]
    for drawn in (points, x[:, :2], x):
        judge = manifold.trustworthiness(x, drawn, n_neighbors=k)
        assert trustworthiness(x, drawn, k=k) == pytest.approx(judge, abs=1e-6)


def test_trustworthiness_of_four_on_a_line() -> None:
    """By hand: with k = 1 and items at 0, 1, 3, 7, a map that swaps the two in the middle."""
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    swapped = torch.tensor([[0.0], [3.0], [1.0], [7.0]])
    # Nearest on the map: of 0 the item at 3 (2nd in truth), of 1 the item at 3 (2nd),
    # of 3 the item at 0 (2nd), of 7 the item at 1 (2nd): each one place behind.
    assert trustworthiness(x, swapped, k=1) == pytest.approx(1 - 2 * 4 / (4 * 1 * (8 - 3 - 1)))
    assert trustworthiness(x, x, k=1) == 1


def test_a_blind_map_gets_one_half() -> None:
    assert trustworthiness(rows(1200, 10), rows(1200, 2, 1)) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (torch.zeros(5), 1, "shape \\(5,\\)"),
        (torch.zeros(5, 2, dtype=torch.bool), 1, "torch.bool"),
        (torch.zeros(5, 2), 0, "k is 0"),
        (torch.zeros(5, 2), 5, "4 neighbors"),
        (torch.full((5, 2), torch.nan), 1, "row 0 of x"),
    ],
)
def test_wrong_arguments(x: torch.Tensor, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(x, k)


def test_wrong_maps() -> None:
    with pytest.raises(ValueError, match="4 rows and points has 5"):
        trustworthiness(rows(4, 2), rows(5, 2))
    with pytest.raises(ValueError, match="below half"):
        trustworthiness(rows(10, 2), rows(10, 2), k=5)
