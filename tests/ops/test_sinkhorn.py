"""Optimal transport against linear programming and against Sinkhorn without logarithms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from rqvae_lib.ops.sinkhorn import transport_plan


def random_costs(num_rows: int, num_columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_rows, num_columns, generator=generator, dtype=torch.float64)


def plain_sinkhorn(costs: Tensor, epsilon: float, num_iterations: int) -> Tensor:
    """Scale rows and columns of exp(−C/ε) in turn, as in the paper."""
    spread = costs.max() - costs.min()
    plan = (-(costs - costs.min()) / spread / epsilon).exp()
    for _ in range(num_iterations):
        plan = plan / plan.sum(0, keepdim=True) / plan.shape[1]
        plan = plan / plan.sum(1, keepdim=True) / plan.shape[0]
    return plan


def cheapest(costs: Tensor) -> float:
    """What the best plan of all costs, by linear programming."""
    num_rows, num_columns = costs.shape
    rows = torch.kron(torch.eye(num_rows), torch.ones(1, num_columns))
    columns = torch.kron(torch.ones(1, num_rows), torch.eye(num_columns))
    sums = [1 / num_rows] * num_rows + [1 / num_columns] * num_columns
    found = linprog(costs.flatten().numpy(), A_eq=torch.cat([rows, columns]).numpy(), b_eq=sums)
    assert found.success
    return float(found.fun)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000), st.sampled_from([0.2, 1.0]))
@settings(max_examples=40, deadline=None)
def test_rows_and_columns_get_equal_parts(
    num_rows: int, num_columns: int, seed: int, epsilon: float
) -> None:
    costs = random_costs(num_rows, num_columns, seed)
    plan = transport_plan(costs, epsilon=epsilon, num_iterations=5_000, tolerance=1e-9)
    assert plan.dtype == torch.float64
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(1), torch.full_like(plan[:, 0], 1 / num_rows))
    torch.testing.assert_close(
        plan.sum(0), torch.full_like(plan[0], 1 / num_columns), rtol=1e-6, atol=0
    )


def test_it_equals_sinkhorn_without_logarithms() -> None:
    costs = random_costs(7, 4)
    plan = transport_plan(costs, epsilon=0.1, num_iterations=37, tolerance=0)
    torch.testing.assert_close(plan, plain_sinkhorn(costs, 0.1, 37))


def test_it_stops_where_the_tolerance_says() -> None:
    costs, numbers = random_costs(7, 4), []
    for tolerance in (1.0, 1e-2, 1e-4):
        plan = transport_plan(costs, epsilon=0.1, tolerance=tolerance)
        number, plans = 0, [torch.zeros_like(plan)]
        while not torch.equal(plans[-1], plan) and number < 200:
            number += 1
            plans.append(transport_plan(costs, epsilon=0.1, num_iterations=number, tolerance=0))
        wrong = [float((4 * found.sum(0) - 1).abs().max()) for found in plans]
        assert wrong[-1] <= 1.01 * tolerance
        numbers.append(number)
    assert 1 < numbers[0] < numbers[1] < numbers[2] < 200


@pytest.mark.parametrize("shape", [(6, 6), (12, 4), (3, 7)])
def test_a_small_epsilon_comes_near_the_cheapest_plan(shape: tuple[int, int]) -> None:
    costs = random_costs(*shape)
    best = cheapest(costs)
    for epsilon in (0.2, 0.01):
        plan = transport_plan(costs, epsilon=epsilon, num_iterations=4_000)
        over = float((plan * costs).sum()) - best
        entropy = epsilon * float(costs.max() - costs.min()) * math.log(costs.numel())
        assert -1e-3 * best < over <= entropy  # no more than ε times the largest entropy
    assert over < 0.02 * best


def test_an_epsilon_at_which_exponentials_vanish_still_gives_a_plan() -> None:
    costs = random_costs(9, 5)
    assert plain_sinkhorn(costs, 1e-4, 10).isnan().any()
    plan = transport_plan(costs, epsilon=1e-4)
    assert plan.isfinite().all()
    torch.testing.assert_close(plan.sum(1), torch.full_like(plan[:, 0], 1 / 9))


def test_the_unit_of_costs_does_not_matter_and_nothing_is_drawn() -> None:
    costs = random_costs(8, 5)
    plan = transport_plan(costs, epsilon=0.05)
    assert torch.equal(transport_plan(costs, epsilon=0.05), plan)
    torch.testing.assert_close(transport_plan(1e6 * costs - 3, epsilon=0.05), plan)
    torch.testing.assert_close(transport_plan(costs.float(), epsilon=0.05), plan, atol=1e-6, rtol=0)


def test_equal_costs_give_equal_parts() -> None:
    torch.testing.assert_close(
        transport_plan(torch.full((3, 4), 2.5)), torch.full((3, 4), 1 / 12, dtype=torch.float64)
    )


@pytest.mark.parametrize(
    "costs", [torch.zeros(0, 3), torch.zeros(3, 0), torch.tensor([[0.0, math.nan]])]
)
def test_costs_that_are_no_finite_matrix_are_refused(costs: Tensor) -> None:
    with pytest.raises(ValueError, match="costs have shape"):
        transport_plan(costs)


@pytest.mark.parametrize(
    "settings", [{"epsilon": 0.0}, {"epsilon": math.nan}, {"num_iterations": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is"):
        transport_plan(torch.rand(3, 3), **settings)
