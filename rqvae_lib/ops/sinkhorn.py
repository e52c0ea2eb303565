"""Sinkhorn's algorithm: share rows out over columns so that every column gets as much as any other.

To send each row to its cheapest column costs least and crowds the popular columns. Optimal
transport asks for the cheapest plan in which each column receives its fair share. A little entropy
in the objective makes that easy: the plan is then exp((f_i + g_j − C_ij) / ε) for some prices f of
the rows and g of the columns, and setting each in turn to what makes its own sums right converges.
The prices are kept as logarithms, since the exponentials leave what a float can hold at a small ε.

Source: Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", arXiv 1306.0895,
§4; in the log domain: Peyré and Cuturi, "Computational optimal transport", arXiv 1803.00567, §4.4.
Derived in: chapter 06.
"""

import math

import torch
from torch import Tensor


def transport_plan(
    costs: Tensor, *, epsilon: float = 0.01, num_iterations: int = 200, tolerance: float = 1e-6
) -> Tensor:
    """Share rows out over columns at little cost, each column an equal part.

    Nothing is drawn: the same costs give the same plan.

    Args:
        costs: shape (N, K), finite, of any unit: C_ij is what it costs to send row i to column j.
        epsilon: ε, the weight of entropy, as a share of the costs' range (highest less lowest).
            A small one comes near the cheapest plan and takes more iterations.
        num_iterations: at most, of two updates each.
        tolerance: stop when no column's sum is wrong by more than this share of 1/K.

    Returns:
        The plan (N, K), float64, ≥ 0. Rows sum to 1/N, up to rounding; columns to 1/K, up to the
        tolerance or to where the iterations ended.

    Raises:
        ValueError: if costs are not a finite matrix with rows and columns, epsilon is not above 0,
            or there is to be no iteration.
    """
    if costs.ndim != 2 or 0 in costs.shape or not costs.isfinite().all():
        raise ValueError(
            f"costs have shape {tuple(costs.shape)}; expected a finite matrix of at least one row "
            "and one column: look for a NaN where they were computed"
        )
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon is {epsilon}; it must be finite and above 0, such as 0.01")
    if num_iterations < 1:
        raise ValueError(f"num_iterations is {num_iterations}; it must be at least 1")
    costs = costs.double()
    num_rows, num_columns = costs.shape
    spread = (costs.max() - costs.min()).clamp(min=torch.finfo(costs.dtype).tiny)
    scores = (costs.min() - costs) / spread / epsilon  # (N, K), −C/ε
    rows = scores.new_full((num_rows, 1), -math.log(num_rows))
    for _ in range(num_iterations):
        received = torch.logsumexp(rows + scores, 0, keepdim=True)  # (1, K)
        columns = -math.log(num_columns) - received  # columns now sum to 1/K
        sent = torch.logsumexp(scores + columns, 1, keepdim=True)  # (N, 1)
        new_rows = -math.log(num_rows) - sent  # rows now sum to 1/N, and columns to nearly 1/K
        done = bool((new_rows - rows).abs().max() < tolerance)
        rows = new_rows
        if done:
            break
    return (rows + scores + columns).exp()
