"""Cross-entropy over many classes without a table of all logits.

The logits of M contexts over V classes are M·V numbers, and so are their probabilities and their
gradient. For 1,600 contexts and 9,000 items these three tables take 170 MB, which a step asks of
the system and gives back, and that takes longer than the arithmetic. Here the contexts are taken in
blocks whose logits stay in the processor's cache. The gradient is computed along with the loss,
while a block's probabilities are at hand, so nothing of that size is kept for the backward pass.

`grouped_cross_entropy` does the same where each context has a group of classes of its own. Groups
of similar sizes are computed together, and a large group is computed alone, so that memory and time
grow with what is there and not with the largest group.

Source: Hsu et al., "Liger Kernel", arXiv 2410.10989, §3.2 (the fused linear cross-entropy).
Used by: every model of histories, in training.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.once import differentiable_once

BLOCK = 2**20  # logits of a block, 4 MiB in float32,
FEWEST = 32  # but at least those of so many contexts, since each block reads all vectors
ALONE = 2**13  # a group with more pairs of a context and a class is computed alone
ROWS = 2**11  # rows of classes that are looked up for one block of groups
WIDEST = 16  # contexts that share one look-up of a small group


def linear_cross_entropy(
    contexts: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor
) -> Tensor:
    """Return the sum of −log softmax(contexts · vectorsᵀ + bias) at the targets, in nats.

    Args:
        contexts: shape (M, D).
        vectors: shape (V, D), one per class.
        bias: shape (V,), or None.
        targets: shape (M,), int64, the right class of each context.

    Returns:
        shape (), float32, or float64 if the contexts are. It can be differentiated once.
    """
    problem = _Problem.of(contexts, vectors, bias, targets)
    with torch.no_grad(), torch.autocast(contexts.device.type, enabled=False):
        loss = _add_dense(problem)
    return problem.attach(loss)


def grouped_cross_entropy(
    contexts: Tensor,
    vectors: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    group: Tensor,
    first: Tensor,
) -> Tensor:
    """Return the sum of −log softmax at the targets, each among the classes of a group, in nats.

    Args:
        contexts: shape (M, D), M ≥ 1.
        vectors: shape (E, D), one per class, one group after another.
        bias: shape (E,), or None.
        targets: shape (M,), int64, the right class of each context, 0 to E − 1.
        group: shape (M,), int64, the group of each context, which the target is in.
        first: shape (P + 1,), int64, where each group starts among the classes, and E. No group is
            empty.

    Returns:
        As `linear_cross_entropy`.
    """
    if len(first) == 2:
        return linear_cross_entropy(contexts, vectors, bias, targets)
    order = group.argsort(stable=True)
    contexts = contexts.index_select(0, order)  # those of a group are neighbors now
    problem = _Problem.of(contexts, vectors, bias, targets[order])
    with torch.no_grad(), torch.autocast(contexts.device.type, enabled=False):
        counts = torch.bincount(group, minlength=len(first) - 1)  # (P,)
        loss = _add_groups(problem, first, counts)
    return problem.attach(loss)


class _Problem(NamedTuple):
    """What to compute the loss of, and where its gradients go."""

    contexts: Tensor  # (M, D)
    vectors: Tensor  # (V, D)
    bias: Tensor | None  # (V,)
    targets: Tensor  # (M,)
    of_contexts: Tensor | None  # their gradients, zeros at first; None: not wanted
    of_vectors: Tensor | None
    of_bias: Tensor | None

    @classmethod
    def of(
        cls, contexts: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor
    ) -> "_Problem":
        device = contexts.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            contexts, vectors = contexts.to(dtype), vectors.to(dtype)
        inputs = (contexts, vectors, bias)
        if not torch.is_grad_enabled() or not any(
            each is not None and each.requires_grad for each in inputs
        ):
            return cls(contexts, vectors, bias, targets, None, None, None)
        dtype = _precise(contexts.dtype)
        of_contexts, of_vectors, of_bias = (
            None if each is None else torch.zeros_like(each, dtype=dtype) for each in inputs
        )
        return cls(contexts, vectors, bias, targets, of_contexts, of_vectors, of_bias)

    def attach(self, loss: Tensor) -> Tensor:
        """Return the loss as a function of the inputs, with the gradients that were computed."""
        if self.of_contexts is None:
            return loss
        return _WithGradients.apply(loss, *self)  # type: ignore[no-untyped-call,no-any-return]

    def part(self, contexts: slice, vectors: slice) -> "_Problem":
        """Return the problem of some contexts and some vectors, which shares memory with this."""
        return _Problem(
            self.contexts[contexts],
            self.vectors[vectors],
            None if self.bias is None else self.bias[vectors],
            self.targets[contexts] - vectors.start,
            None if self.of_contexts is None else self.of_contexts[contexts],
            None if self.of_vectors is None else self.of_vectors[vectors],
            None if self.of_bias is None else self.of_bias[vectors],
        )


class _WithGradients(torch.autograd.Function):
    """A number whose gradients were computed along with it."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *problem: Tensor | None) -> Tensor:
        contexts, vectors, bias, _, *gradients = problem
        ctx.save_for_backward(*gradients)
        ctx.dtypes = [None if each is None else each.dtype for each in (contexts, vectors, bias)]
        return loss.clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        found = [
            None if gradient is None or not wanted else (gradient * factor).to(dtype)
            for gradient, dtype, wanted in zip(
                ctx.saved_tensors, ctx.dtypes, ctx.needs_input_grad[1:4], strict=True
            )
        ]
        return (None, *found, None, None, None, None)


def _add_dense(problem: _Problem) -> Tensor:
    """Return the loss with every vector a class of every context, and add its gradients."""
    contexts, vectors, bias, targets, of_contexts, of_vectors, of_bias = problem
    total = contexts.new_zeros((), dtype=_precise(contexts.dtype))
    for rows in _blocks(len(contexts), max(FEWEST, BLOCK // max(1, len(vectors)))):
        block = contexts[rows]
        if bias is None:
            logits = block @ vectors.T  # (R, V)
        else:
            logits = torch.addmm(bias.to(block.dtype), block, vectors.T)
        target = targets[rows, None]
        weights, loss = _softmax(logits.to(total.dtype), target)  # (R, V)
        total += loss.sum()
        if of_contexts is None or of_vectors is None:
            continue
        # The gradient by the logits: the weights, less 1 at the target.
        weights.scatter_add_(1, target, torch.full_like(loss, -1))
        if of_bias is not None:
            of_bias += weights.sum(0)
        low = weights.to(vectors.dtype)
        of_contexts[rows] = low @ vectors
        if low.dtype == total.dtype:
            of_vectors.addmm_(low.T, block)
        else:
            of_vectors += low.T @ block
    return total


def _add_groups(problem: _Problem, first: Tensor, counts: Tensor) -> Tensor:
    """Return the loss in groups, and add its gradients.

    Args:
        problem: its contexts are in the order of their groups.
        first: shape (P + 1,), int64, where each group's classes start.
        counts: shape (P,), int64, the contexts of each group.
    """
    total = problem.contexts.new_zeros((), dtype=_precise(problem.contexts.dtype))
    sizes, ends = first.diff(), counts.cumsum(0)
    alone = sizes * counts > ALONE
    for number in alone.nonzero()[:, 0].tolist():
        rows = slice(int(ends[number] - counts[number]), int(ends[number]))
        total += _add_dense(problem.part(rows, slice(int(first[number]), int(first[number + 1]))))
    for groups in _alike(problem, first, counts.masked_fill(alone, 0), ends - counts):
        total += _add_padded(problem, *groups)
    return total


class _Groups(NamedTuple):
    """R groups of similar sizes. One with many contexts comes several times, with some of them."""

    first_class: Tensor  # (R,)
    sizes: Tensor  # (R,), classes
    first_context: Tensor  # (R,)
    counts: Tensor  # (R,), contexts
    widest: int  # the largest size
    most: int  # at least the largest count


def _alike(
    problem: _Problem, first: Tensor, counts: Tensor, first_context: Tensor
) -> Iterator[_Groups]:
    """Divide the groups with at least one context into blocks of similar sizes."""
    num_groups, num_contexts = int((counts > 0).sum()), int(counts.sum())
    if not num_groups:
        return
    # A multiple of 4 fills vector registers: small products of odd widths take twice as long.
    most = min(WIDEST, 4 * -(-num_contexts // (4 * num_groups)))
    times = (counts + most - 1) // most  # (P,), how often each group comes
    which = torch.repeat_interleave(times)  # (R,)
    number = torch.arange(len(which), device=which.device) - (times.cumsum(0) - times)[which]
    sizes, order = first.diff()[which].sort(descending=True, stable=True)
    which, number = which[order], number[order]
    first_class = first[which]
    first_context = first_context[which] + number * most
    counts = (counts[which] - number * most).clamp(max=most)
    all_sizes = sizes.tolist()
    start = 0
    while start < len(all_sizes):
        widest = all_sizes[start]
        end = min(len(all_sizes), start + max(1, ROWS // widest))
        if (end - start) * widest > ROWS // 4:  # not worth a block of its own otherwise
            while all_sizes[end - 1] * 4 < widest:
                end = start + max(1, (end - start) // 2)
        rows = slice(start, end)
        yield _Groups(
            first_class[rows], sizes[rows], first_context[rows], counts[rows], widest, most
        )
        start = end


def _add_padded(
    problem: _Problem,
    first_class: Tensor,
    sizes: Tensor,
    first_context: Tensor,
    counts: Tensor,
    widest: int,
    most: int,
) -> Tensor:
    """Return the loss of some groups, padded to the largest of them, and add its gradients."""
    contexts, vectors, bias, targets, of_contexts, of_vectors, of_bias = problem
    dtype = _precise(contexts.dtype)
    places = torch.arange(widest, device=sizes.device)  # (S,)
    valid = places < sizes[:, None]  # (R, S)
    classes = (first_class[:, None] + places).where(valid, first_class[:, None])
    places = torch.arange(most, device=sizes.device)  # (Q,)
    filled = places < counts[:, None]  # (R, Q)
    rows = (first_context[:, None] + places).where(filled, first_context[:, None])
    block = contexts.index_select(0, rows.flatten()).view(*rows.shape, -1)  # (R, Q, D)
    siblings = vectors.index_select(0, classes.flatten()).view(*classes.shape, -1)  # (R, S, D)
    logits = torch.bmm(block, siblings.transpose(1, 2)).to(dtype)  # (R, Q, S)
    if bias is not None:
        logits += bias.index_select(0, classes.flatten()).view_as(classes)[:, None]
    logits.masked_fill_(~valid[:, None], -torch.inf)
    target = (targets[rows] - first_class[:, None])[..., None]  # (R, Q, 1)
    weights, losses = _softmax(logits, target)
    loss = (losses[..., 0] * filled).sum()
    if of_contexts is None or of_vectors is None:
        return loss
    weights.scatter_add_(2, target, torch.full_like(losses, -1))
    weights *= filled[..., None]
    low = weights.to(vectors.dtype)
    of_contexts.index_add_(0, rows.flatten(), torch.bmm(low, siblings).flatten(0, 1).to(dtype))
    by_class = torch.bmm(low.transpose(1, 2), block).flatten(0, 1).to(dtype)  # (R·S, D)
    of_vectors.index_add_(0, classes.flatten(), by_class)
    if of_bias is not None:
        of_bias.index_add_(0, classes.flatten(), weights.sum(1).flatten().to(of_bias.dtype))
    return loss


def _softmax(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the softmax over the last dimension, and its −log at the target, (..., 1).

    The logarithm comes from the largest weight: that of the target may be too small for a float.
    """
    weights = logits.softmax(-1)
    below = logits.amax(-1, keepdim=True) - logits.gather(-1, target)
    return weights, below - weights.amax(-1, keepdim=True).log()


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _precise(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which sums of numbers of a type are kept."""
    return torch.promote_types(dtype, torch.float32)
