"""Sinkhorn's algorithm: distributes rows over columns so that every column gets an equal share.

Sending each row to its cheapest column costs least but overloads the popular columns. Optimal
transport looks for the cheapest plan in which every column receives an equal share. A small entropy
term makes the problem easy: the plan is then exp((f_i + g_j − C_ij) / ε) for some prices f of the
rows and g of the columns. Setting f and g in turn, so that the row sums and then the column sums
are right, converges to it. The prices are kept as logarithms, because at a small ε their
exponentials overflow or underflow.

Source: Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", arXiv 1306.0895,
§4; in the log domain: Peyré and Cuturi, "Computational optimal transport", arXiv 1803.00567, §4.4.
Derived in: chapter 06.
"""

import math

import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_count, as_vectors
from rqvae_lib.ops.torch_settings import own_settings


@own_settings
def transport_plan(
    costs: Array, *, epsilon: float = 0.01, num_iterations: int = 200, tolerance: float = 1e-6
) -> Tensor:
    """Distribute rows over columns at low cost, with an equal share for each column.

    The function is deterministic: the same costs give the same plan.

    Args:
        costs: shape (N, K), finite, in any unit. C_ij is the cost of sending row i to column j.
        epsilon: ε, the weight of the entropy term, as a fraction of the range of the costs (highest
            minus lowest). A small value comes close to the cheapest plan but needs more iterations.
        num_iterations: the maximum number of iterations, at least 1. Each makes two updates.
        tolerance: stop when no column sum is off by more than this fraction of 1/K.

    Returns:
        The plan, shape (N, K), float64, ≥ 0. Rows sum to 1/N up to rounding. Columns sum to 1/K up
        to the tolerance, unless the iterations ran out first.

    Raises:
        ValueError: if costs are not a finite matrix with at least one row and one column, if
            epsilon is not finite and above 0, or if num_iterations is below 1.
    """
    costs = as_vectors(costs, "costs", dtype=torch.float64)
    if 0 in costs.shape or not costs.isfinite().all():
        raise ValueError(
            f"costs have shape {tuple(costs.shape)}; expected a finite matrix with at least one "
            "row and one column: look for a NaN where they were computed"
        )
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon is {epsilon}; it must be finite and above 0, such as 0.01")
    num_iterations = as_count(num_iterations, "num_iterations")
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
