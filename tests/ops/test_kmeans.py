"""k-means against brute force and scikit-learn, and its promises at the edges."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from rqvae_lib.ops.kmeans import (
    _squared_distances_to,
    kmeans,
    kmeans_plus_plus,
    nearest,
)
from rqvae_lib.ops.rows import BLOCK_ROWS, check_finite


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(num_rows: int, dim: int, seed: int = 0, num_blobs: int = 7) -> Tensor:
    generator = seeded(seed)
    centres = torch.randn(num_blobs, dim, generator=generator) * 4
    which = torch.randint(num_blobs, (num_rows,), generator=generator)
    return centres[which] + torch.randn(num_rows, dim, generator=generator)


def brute_force_distances(x: Tensor, centroids: Tensor) -> Tensor:
    """Squared distances (N, K) by subtraction, in float64."""
    return (x.double()[:, None] - centroids.double()[None]).square().sum(2)


# nearest


@pytest.mark.parametrize("num_rows", [1, 2, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS])
def test_nearest_equals_brute_force_at_every_block_boundary(num_rows: int) -> None:
    x, centroids = blobs(num_rows, 5), blobs(37, 5, seed=1)
    codes = nearest(x, centroids)
    assert torch.equal(codes, brute_force_distances(x, centroids).argmin(1))
    assert codes.dtype == torch.int64
    assert codes.shape == (num_rows,)


def test_no_rows_have_no_codes() -> None:
    codes = nearest(torch.empty(0, 5), blobs(37, 5))
    assert codes.shape == (0,)
    assert codes.dtype == torch.int64


def test_nearest_takes_rows_that_carry_gradients_and_stand_apart_in_memory() -> None:
    x, centroids = blobs(60, 10).requires_grad_()[:, ::2], blobs(10, 37, seed=1).T[:, :5]
    expected = brute_force_distances(x, centroids).argmin(1)
    assert torch.equal(nearest(x, centroids), expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_ties_go_to_the_lower_code(seed: int, num_rows: int, num_codes: int, dim: int) -> None:
    # Small integers: every distance is exact, and many are equal.
    generator = seeded(seed)
    x = torch.randint(-2, 3, (num_rows, dim), generator=generator).float()
    centroids = torch.randint(-2, 3, (num_codes, dim), generator=generator).float() * 2
    expected = [
        min(range(num_codes), key=lambda k: (float((row - centroids[k]).square().sum()), k))
        for row in x
    ]
    assert nearest(x, centroids).tolist() == expected


# Lloyd


@pytest.mark.parametrize("num_iterations", [1, 3, 10])
@pytest.mark.parametrize(("num_rows", "dim", "num_clusters"), [(300, 8, 12), (1025, 3, 20)])
def test_lloyd_equals_scikit_learn_from_the_same_start(
    num_rows: int, dim: int, num_clusters: int, num_iterations: int
) -> None:
    x = blobs(num_rows, dim)
    start = x[torch.randperm(num_rows, generator=seeded(3))[:num_clusters]]
    ours = kmeans(
        x, num_clusters, generator=seeded(), num_iterations=num_iterations, initial_centroids=start
    )
    theirs = KMeans(
        num_clusters, init=start.numpy(), n_init=1, max_iter=num_iterations, tol=0,
        algorithm="lloyd",
    ).fit(x.numpy())  # fmt: skip
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)
    torch.testing.assert_close(
        ours.centroids, torch.from_numpy(theirs.cluster_centers_), rtol=1e-3, atol=1e-3
    )


def test_inertia_and_codes_belong_to_the_returned_centroids() -> None:
    x = blobs(500, 6)
    result = kmeans(x, 9, generator=seeded())
    distances = brute_force_distances(x, result.centroids)
    torch.testing.assert_close(result.codes, distances.argmin(1))
    assert result.inertia == pytest.approx(float(distances.min(1).values.sum()), rel=1e-4)


def test_each_iteration_never_raises_the_inertia() -> None:
    x = blobs(400, 4)
    start = x[:15]
    inertias = [
        kmeans(x, 15, generator=seeded(), num_iterations=n, initial_centroids=start).inertia
        for n in range(8)
    ]
    for before, after in pairwise(inertias):
        assert after <= before * (1 + 1e-5)
    assert inertias[-1] < inertias[0] * 0.95


def test_zero_iterations_leave_the_start_and_its_tensor_alone() -> None:
    x = blobs(50, 3)
    start = x[:4].clone()
    result = kmeans(x, 4, generator=seeded(), num_iterations=0, initial_centroids=start)
    torch.testing.assert_close(result.centroids, start)
    assert torch.equal(result.codes, nearest(x, start))
    kmeans(x, 4, generator=seeded(), num_iterations=3, initial_centroids=start)
    assert torch.equal(start, x[:4])
    assert torch.equal(x, blobs(50, 3))


@pytest.mark.parametrize("mean", [1000.0, -1000.0])
def test_data_far_from_the_origin_lose_no_precision(mean: float) -> None:
    """float32 squares of 1000 are 0.06 apart; these rows are 0.0001 apart, squared."""
    x = mean + 0.01 * blobs(3000, 6) / 4
    start = x[:20]
    for given_start in (start, None):
        ours = kmeans(x, 20, generator=seeded(), initial_centroids=given_start)
        exact = kmeans(
            x.double(), 20, generator=seeded(),
            initial_centroids=None if given_start is None else start.double(),
        )  # fmt: skip
        assert ours.centroids.dtype == torch.float32
        assert (ours.codes == exact.codes).float().mean() > 0.999
        assert ours.inertia == pytest.approx(exact.inertia, rel=1e-4)
        # The float32 numbers next to 1000 are 6e-5 apart.
        torch.testing.assert_close(ours.centroids.double(), exact.centroids, rtol=0, atol=7e-5)
    theirs = KMeans(20, init=start.double().numpy(), n_init=1, max_iter=10, tol=0).fit(
        x.double().numpy()
    )
    ours = kmeans(x, 20, generator=seeded(), initial_centroids=start)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-4)


def test_a_common_shift_changes_nothing_else() -> None:
    x = torch.randint(-8, 9, (400, 3), generator=seeded(2)).float()  # sums of these are exact
    x = x - x[-1:]  # the last row is at zero
    x = torch.cat([x, -x])  # mean exactly zero
    here = kmeans(x, 12, generator=seeded(4))
    there = kmeans(x + 512, 12, generator=seeded(4))
    assert torch.equal(here.codes, there.codes)
    torch.testing.assert_close(there.centroids - 512, here.centroids, rtol=0, atol=1e-4)


def test_an_empty_cluster_moves_onto_the_row_farthest_from_its_centroid() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [30.0]])
    start = torch.tensor([[1.0], [1000.0]])
    result = kmeans(x, 2, generator=seeded(), num_iterations=1, initial_centroids=start)
    # All rows chose the first: its centroid is their mean 33 / 4; the farthest from 1 is 30.
    torch.testing.assert_close(result.centroids, torch.tensor([[8.25], [30.0]]))
    assert result.codes.tolist() == [0, 0, 0, 1]
    settled = kmeans(x, 2, generator=seeded(), num_iterations=2, initial_centroids=start)
    torch.testing.assert_close(settled.centroids, torch.tensor([[1.0], [30.0]]))


def test_every_centroid_is_used_even_if_all_start_at_one_place() -> None:
    x = blobs(200, 4)
    start = x[:1].expand(16, -1)
    result = kmeans(x, 16, generator=seeded(), num_iterations=10, initial_centroids=start)
    assert set(result.codes.tolist()) == set(range(16))


def test_several_empty_clusters_move_onto_the_farthest_rows_by_hand() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [30.0], [-50.0], [3.0]])
    start = torch.tensor([[1.0], [1000.0], [2000.0]])
    result = kmeans(x, 3, generator=seeded(), num_iterations=1, initial_centroids=start)
    # All chose the first, whose mean is −14 / 6; farthest from 1 are −50, then 30.
    torch.testing.assert_close(result.centroids, torch.tensor([[-14 / 6], [-50.0], [30.0]]))
    assert result.codes.tolist() == [0, 0, 0, 2, 1, 0]


def test_lloyd_equals_scikit_learn_when_clusters_run_empty() -> None:
    """Both put an empty cluster onto the row farthest from its centroid."""
    x = blobs(300, 4)
    start = torch.cat([x[:9], torch.full((1, 4), 1e3)])
    ours = kmeans(x, 10, generator=seeded(), num_iterations=100, initial_centroids=start)
    theirs = KMeans(10, init=start.numpy(), n_init=1, max_iter=100, tol=0).fit(x.numpy())
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-2)
    assert len(set(ours.codes.tolist())) == 10


# k-means++


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_as_many_distinct_rows_as_clusters_are_all_chosen(seed: int, num: int, dim: int) -> None:
    rows = torch.arange(num)[:, None] + 0.25 * torch.rand(num, dim, generator=seeded(seed))
    repeated = rows[torch.arange(3 * num) % num]  # every row three times
    chosen = kmeans_plus_plus(repeated, num, generator=seeded(seed))
    assert torch.equal(chosen.sort(0).values[:, 0], rows[:, 0])
    result = kmeans(repeated, num, generator=seeded(seed), num_iterations=2)
    assert brute_force_distances(repeated, result.centroids).min(1).values.max() < 1e-9


def test_chosen_are_rows_and_the_caller_keeps_them() -> None:
    x = blobs(100, 3)
    before = x.clone()
    chosen = kmeans_plus_plus(x, 10, generator=seeded())
    assert {tuple(row) for row in chosen.tolist()} <= {tuple(row) for row in x.tolist()}
    chosen.zero_()
    assert torch.equal(x, before)


def test_the_second_centroid_is_drawn_by_squared_distance() -> None:
    # From the row at 0, the rows at 1 and 3 stand at squared distances 1 and 9, and so on.
    x = torch.tensor([[0.0], [1.0], [3.0]])
    counts = np.zeros((3, 3))
    for seed in range(3000):
        first, second = kmeans_plus_plus(x, 2, generator=seeded(seed))[:, 0].tolist()
        counts[[0.0, 1.0, 3.0].index(first), [0.0, 1.0, 3.0].index(second)] += 1
    firsts = counts.sum(1)
    assert np.abs(firsts / 3000 - 1 / 3).max() < 0.04  # over four standard deviations
    expected = np.array([[0, 1, 9], [1, 0, 4], [9, 4, 0]])
    expected = expected / expected.sum(1, keepdims=True)
    assert np.abs(counts / firsts[:, None] - expected).max() < 0.06


def test_plus_plus_start_is_better_than_a_uniform_one() -> None:
    x = blobs(600, 8, num_blobs=12)
    plus = [kmeans(x, 12, generator=seeded(s), num_iterations=0).inertia for s in range(10)]
    uniform = [
        kmeans(
            x, 12, generator=seeded(), num_iterations=0,
            initial_centroids=x[torch.randperm(600, generator=seeded(s))[:12]],
        ).inertia
        for s in range(10)
    ]  # fmt: skip
    assert np.mean(plus) < 0.8 * np.mean(uniform)


# Seeds and edges


def test_the_generator_decides_everything() -> None:
    x = blobs(1300, 6)
    torch.manual_seed(1)
    first = kmeans(x, 20, generator=seeded(5))
    torch.manual_seed(2)
    again = kmeans(x, 20, generator=seeded(5))
    other = kmeans(x, 20, generator=seeded(6))
    assert torch.equal(first.centroids, again.centroids)
    assert torch.equal(first.codes, again.codes)
    assert first.inertia == again.inertia
    assert not torch.equal(first.centroids, other.centroids)


def test_one_row_and_one_cluster() -> None:
    x = torch.tensor([[2.0, -3.0]])
    result = kmeans(x, 1, generator=seeded())
    assert torch.equal(result.centroids, x)
    assert (result.codes.tolist(), result.inertia) == ([0], 0.0)


def test_one_cluster_is_the_mean() -> None:
    x = blobs(90, 3)
    result = kmeans(x, 1, generator=seeded(), num_iterations=1)
    torch.testing.assert_close(result.centroids[0], x.mean(0))


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3])
def test_duplicates_only(value: float) -> None:
    x = torch.full((40, 3), value)
    result = kmeans(x, 5, generator=seeded())
    assert result.centroids.isfinite().all()
    assert result.inertia == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(result.centroids[result.codes], x)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused_and_its_row_named(bad: float) -> None:
    x = blobs(30, 4)
    x[17, 2] = x[20, 0] = bad
    for run in (kmeans, kmeans_plus_plus):
        with pytest.raises(ValueError, match=r"row 17 of x holds a NaN.*2 such rows"):
            run(x, 3, generator=seeded())
    check_finite(blobs(3, 2), "x")
    check_finite(torch.full((3, 2), 3e38), "x")  # though their sum is not finite
    with pytest.raises(ValueError, match="row 2000 of y holds"):
        check_finite(torch.zeros(2500, 2).index_fill_(0, torch.tensor([2000]), bad), "y")


@pytest.mark.parametrize("num_clusters", [0, -1, 6])
def test_more_clusters_than_rows_are_refused(num_clusters: int) -> None:
    with pytest.raises(ValueError, match=f"num_clusters is {num_clusters}, but x has 5 rows"):
        kmeans(blobs(5, 2), num_clusters, generator=seeded())


def test_a_vector_is_not_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"x is one vector, of shape \(5,\); .* pass x\[None\]"):
        kmeans(torch.zeros(5), 2, generator=seeded())


# Choosing among candidates


def test_of_several_candidates_the_one_that_lowers_the_distances_most_is_taken() -> None:
    """By hand, with the same draws: for each centroid C rows, tried one by one."""
    x, num_clusters, num_candidates = blobs(60, 3), 6, 4
    draws = torch.rand(num_clusters, num_candidates, generator=seeded(3), dtype=torch.float64)
    chosen = [int(draws[0, 0] * len(x))]
    for row in draws[1:]:
        distances = torch.cdist(x.double(), x[chosen].double()).square().min(1).values
        cumulative = distances.cumsum(0)
        tried = [int(torch.searchsorted(cumulative, u * cumulative[-1], right=True)) for u in row]
        left = [
            float(torch.cdist(x.double(), x[[*chosen, i]].double()).square().min(1).values.sum())
            for i in tried
        ]
        chosen.append(tried[left.index(min(left))])
    found = kmeans_plus_plus(x, num_clusters, generator=seeded(3), num_candidates=num_candidates)
    assert torch.equal(found, x[chosen])


def test_candidates_make_a_start_as_good_as_scikit_learns_in_many_dimensions() -> None:
    x = torch.randn(2000, 200, generator=seeded()) * torch.linspace(0.1, 1, 200)
    x[::50] *= 3  # outliers, which plain k-means++ likes too much
    ours, plain, theirs = [], [], []
    for seed in range(4):
        ours.append(kmeans(x, 64, generator=seeded(seed), num_candidates=6).inertia)
        plain.append(kmeans(x, 64, generator=seeded(seed)).inertia)
        theirs.append(KMeans(64, n_init=1, max_iter=10, random_state=seed).fit(x.numpy()).inertia_)
    assert sum(ours) < 1.01 * sum(theirs)
    assert sum(ours) < sum(plain)


def test_a_start_must_be_given_or_drawn() -> None:
    x = torch.randn(20, 3)
    with pytest.raises(ValueError, match="neither a generator"):
        kmeans(x, 4)
    drawn = kmeans(x, 4, generator=torch.Generator(), initial_centroids=x[:4])
    assert torch.equal(kmeans(x, 4, initial_centroids=x[:4]).centroids, drawn.centroids)


def test_initial_centroids_of_another_shape_are_refused() -> None:
    x = torch.randn(20, 3)
    for shape in ((4, 2), (3, 3)):
        with pytest.raises(ValueError, match=r"initial_centroids have shape .* expected \(4, 3\)"):
            kmeans(x, 4, generator=torch.Generator(), initial_centroids=torch.zeros(shape))


@pytest.mark.parametrize("run", [kmeans, kmeans_plus_plus])
def test_no_candidates_are_refused(run: Callable[..., object]) -> None:
    for bad in (0, -2):
        with pytest.raises(ValueError, match=f"num_candidates is {bad}; it must be at least 1"):
            run(blobs(20, 3), 4, generator=seeded(), num_candidates=bad)


def test_iterations_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="num_iterations is -3; it must be at least 0"):
        kmeans(blobs(20, 3), 4, generator=seeded(), num_iterations=-3)


@pytest.mark.parametrize("run", [kmeans, kmeans_plus_plus])
def test_whole_numbers_and_halves_are_computed_with_in_float32(run: Callable[..., object]) -> None:
    x = torch.randint(-50, 50, (40, 2), generator=seeded())
    expected = run(x.float(), 4, generator=seeded())
    for same in (x, x.half(), x.bfloat16(), x.numpy(), x.tolist(), x.numpy().astype("int8")):
        found = run(same, 4, generator=seeded())
        for a, b in zip(found, expected, strict=True):  # type: ignore[call-overload]
            assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_initial_centroids_that_are_not_finite_are_refused() -> None:
    x = blobs(20, 3)
    of_another_type = kmeans(x, 4, initial_centroids=x[:4].double().numpy())
    assert torch.equal(of_another_type.centroids, kmeans(x, 4, initial_centroids=x[:4]).centroids)
    for bad in (float("nan"), float("inf")):
        start = x[:4].clone()
        start[2, 1] = bad
        with pytest.raises(ValueError, match="row 2 of initial_centroids holds a NaN"):
            kmeans(x, 4, initial_centroids=start)


def test_in_float64_rows_one_apart_do_not_coincide_far_from_the_origin() -> None:
    x = 1000 + torch.arange(8.0, dtype=torch.float64)[:, None]
    twice = torch.cat([x, x])
    for seed in range(20):
        chosen = kmeans_plus_plus(twice, 8, generator=seeded(seed))
        assert torch.equal(chosen.sort(0).values, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_within_eight_roundings_of_a_point_coincide_with_it(dtype: torch.dtype) -> None:
    """A millionth is 8.4 times what float32 can tell at 1, and float64 takes as many of its own."""
    x, steps = torch.ones(1, 1, dtype=dtype), torch.arange(12, dtype=dtype)
    squared = 1 + steps[:, None] * torch.finfo(dtype).eps
    distances = _squared_distances_to(x.expand(12, -1), squared, torch.tensor([0]))[:, 0]
    expected = torch.where(steps <= 8, 0, steps * torch.finfo(dtype).eps)
    assert torch.equal(distances, expected)
