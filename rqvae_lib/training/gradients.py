"""The gradient of a batch's loss, from all processes that have a share of the batch.

The loss of a batch is a mean over its targets. Each process computes the mean over the targets of
its own rows, weighted by how many of the batch's targets these are. The sum over processes is then
the loss of the batch, and the sum of their gradients is its gradient, up to rounding. Small
gradients travel together, because a message takes time whatever its length. Large ones are summed
where they are, because it takes time to copy them.

torch's DistributedDataParallel gives the same gradients, bit for bit, and a step took as long with
it (48 ms of the processor either way, for an RQ-Transformer on two processes of a CPU). It is not
used here, because it waits for ever when a share of a batch has no row, wants a module instead of
any loss, and must search the graph of every step for parameters without a gradient. It also sends
gradients while others are still being computed, which pays where the network is slow.

Derived in: chapter 12.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rqvae_lib.ops.shares import sharing
from rqvae_lib.ops.world import World, current_world

SMALL = 2**14  # numbers in a gradient that travels with others, at most


def backward(
    loss_of: Callable[[Tensor], Tensor],
    batch: Tensor,
    parameters: Sequence[Tensor],
    num_targets: Callable[[Tensor], int],
) -> Tensor:
    """Compute the gradient of a batch's loss, and return the loss.

    Args:
        loss_of: maps rows of the batch to the mean over their targets, shape (). In a world of
            several processes, it is called in each of them with its share of the rows, which may be
            no row at all. What it returns for no target is not used.
        batch: shape (B, ...), the same in all processes.
        parameters: what to compute the gradient with respect to. Each gets the gradient of the
            whole batch as `grad`, the same in all processes, or None if no process has one.
        num_targets: maps rows of the batch to the number of their targets.

    Returns:
        The loss of the whole batch, shape ().

    Raises:
        WorldError: if another process has ended.
    """
    world = current_world()
    if world.size == 1:
        loss = loss_of(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    rows = world.rows(len(batch))
    share = batch[rows]
    with sharing(batch, rows):
        loss = loss_of(share)
    own = num_targets(share)
    if own:
        loss = loss * (own / num_targets(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        loss = loss.detach()
    else:
        loss = torch.zeros_like(loss, requires_grad=False)
    return _add_up(world, loss, parameters)


def _add_up(world: World, loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Replace each gradient by its sum over processes, and return the sum of their losses."""
    has_one = [parameter.grad is not None for parameter in parameters]
    for parameter in parameters:
        if parameter.grad is None:  # another process may have one
            parameter.grad = torch.zeros_like(parameter)
    small = [p for p in parameters if p.numel() <= SMALL]
    large = [p.grad.contiguous() for p in parameters if p.grad is not None and p.numel() > SMALL]
    flat = [p.grad.flatten() for p in small if p.grad is not None]
    together = torch.cat([loss.view(1), loss.new_tensor(has_one), *flat])
    world.add_up(together, *large)
    sizes = [1, len(parameters), *(p.numel() for p in small)]
    total, counts, *sums = together.split_with_sizes(sizes)
    for parameter, summed in zip(small, sums, strict=True):
        parameter.grad = summed.view_as(parameter).to(parameter.dtype)
    for parameter, summed in zip((p for p in parameters if p.numel() > SMALL), large, strict=True):
        parameter.grad = summed
    for parameter, count in zip(parameters, counts.tolist(), strict=True):
        if not count:  # the optimizer leaves alone what has no gradient in any process
            parameter.grad = None
    return total[0]
