"""Cross-entropy in blocks against torch's formula over the whole table, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from rqvae_lib.ops import cross_entropy
from rqvae_lib.ops.cross_entropy import grouped_cross_entropy, linear_cross_entropy

DIM = 6


def problem(sizes: list[int], num_contexts: int, with_bias: bool) -> list[Tensor | None]:
    """Contexts, vectors, bias, targets, group and first, all random."""
    generator = torch.Generator().manual_seed(0)
    first = F.pad(torch.tensor(sizes).cumsum(0), (1, 0))
    group = torch.randint(len(sizes), (num_contexts,), generator=generator)
    share = torch.rand(num_contexts, generator=generator)
    targets = first[group] + (share * torch.tensor(sizes)[group]).long()

    def numbers(*shape: int) -> Tensor:
        made = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return made.requires_grad_()

    num_classes = sum(sizes)
    bias = numbers(num_classes) if with_bias else None
    return [numbers(num_contexts, DIM), numbers(num_classes, DIM), bias, targets, group, first]


def plain(
    contexts: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor, *groups: Tensor
) -> Tensor:
    """The formula over the table of all logits."""
    logits = F.linear(contexts, vectors, bias)
    if groups:
        group, first = groups
        of_class = torch.repeat_interleave(first.diff())
        logits = logits.masked_fill(of_class != group[:, None], -torch.inf)
    return F.cross_entropy(logits, targets, reduction="sum")


def check(found: Tensor, expected: Tensor, inputs: list[Tensor | None]) -> None:
    torch.testing.assert_close(found, expected)
    learned = [each for each in inputs if each is not None and each.requires_grad]
    for mine, theirs in zip(
        torch.autograd.grad(found / 7, learned),
        torch.autograd.grad(expected / 7, learned),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


@given(st.integers(1, 40), st.integers(1, 30), st.booleans())
@settings(deadline=None, max_examples=40)
def test_blocks_change_nothing(num_classes: int, num_contexts: int, with_bias: bool) -> None:
    contexts, vectors, bias, targets, *_ = problem([num_classes], num_contexts, with_bias)
    inputs = [contexts, vectors, bias, targets]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_entropy, "BLOCK", 64)
        patch.setattr(cross_entropy, "FEWEST", 3)
        check(linear_cross_entropy(*inputs), plain(*inputs), inputs)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from([1, 60, 10_000]),
    st.sampled_from([1, 50, 10_000]),
)
@settings(deadline=None, max_examples=60)
def test_each_context_chooses_in_its_own_group(
    sizes: list[int], num_contexts: int, with_bias: bool, alone: int, rows: int
) -> None:
    inputs = problem(sizes, num_contexts, with_bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_entropy, "BLOCK", 64)
        patch.setattr(cross_entropy, "ALONE", alone)
        patch.setattr(cross_entropy, "ROWS", rows)
        check(grouped_cross_entropy(*inputs), plain(*inputs), inputs)


def test_extreme_logits_stay_finite() -> None:
    contexts = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    vectors = torch.tensor([[1.0], [-1.0], [0.0]])
    loss = linear_cross_entropy(contexts, vectors, None, torch.tensor([0, 0]))
    assert loss.item() == 2000
    [gradient] = torch.autograd.grad(loss, [contexts])
    assert gradient.tolist() == [[0], [-2]]


def test_without_gradients_there_is_no_graph() -> None:
    inputs = problem([3, 4], 5, with_bias=True)
    with torch.no_grad():
        loss = grouped_cross_entropy(*inputs)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(*inputs).detach())


@pytest.mark.parametrize("sizes", [[300], [3, 200, 1, 4]])
def test_half_precision_sums_in_single(sizes: list[int]) -> None:
    inputs = problem(sizes, 100, with_bias=True)
    single = [
        each.detach().float().requires_grad_() if each is not None and each.requires_grad else each
        for each in inputs
    ]
    with torch.autocast("cpu", torch.bfloat16):
        found = grouped_cross_entropy(*single)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(plain(*inputs).item(), rel=0.01)
    for mine, theirs in zip(
        torch.autograd.grad(found, single[:3]),
        torch.autograd.grad(plain(*inputs), inputs[:3]),
        strict=True,
    ):
        assert mine.dtype == torch.float32
        assert float((mine - theirs).norm() / theirs.norm()) < 0.02
