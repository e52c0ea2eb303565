"""What is random for a row of a batch is the same, however the rows are shared out."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.ops.shares import Dropout, own_rows, sharing, size_of_batch, whole_batch
from rqvae_lib.ops.world import World

WHOLE = torch.randn(7, 6, 4, generator=torch.Generator().manual_seed(0))


def dropped(module: nn.Module, x: Tensor, rows: slice | None = None) -> tuple[Tensor, Tensor]:
    """Return the result of two calls, and what is drawn after them, with a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if rows is None:
            result = module(module(x))
        else:
            with sharing(x, rows):
                result = module(module(x[rows]))
        return result, torch.rand(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("last", [6, 5], ids=["whole tensors", "a part of a tensor"])
@pytest.mark.parametrize("ends", [(0, 7), (0, 3, 7), (0, 0, 2, 2, 7)])
def test_masks_are_those_of_one_process(
    ends: tuple[int, ...], last: int, dtype: torch.dtype
) -> None:
    x = WHOLE.to(dtype)[:, :last]
    expected, after = dropped(nn.Dropout(0.3), x)
    assert 0 < (expected == 0).float().mean() < 1
    parts = [dropped(Dropout(0.3), x, slice(*pair)) for pair in pairwise(ends)]
    assert torch.cat([part for part, _ in parts]).equal(expected)
    assert all(drawn.equal(after) for _, drawn in parts)
    assert dropped(Dropout(0.3), x)[0].equal(expected)  # without a share


def test_no_mask_is_drawn_where_nothing_is_dropped() -> None:
    for module in (Dropout(0.3).eval(), Dropout(0.0)):
        found, after = dropped(module, WHOLE, slice(2, 5))
        assert found.equal(WHOLE[2:5])
        assert after.equal(dropped(nn.Identity(), WHOLE)[1])


def test_a_gradient_passes_through_what_is_kept() -> None:
    x = WHOLE.clone().requires_grad_()
    with sharing(x, slice(1, 4)), torch.random.fork_rng(devices=[]):
        Dropout(0.5)(x[1:4]).sum().backward()
    assert x.grad is not None
    assert set(x.grad[1:4].unique().tolist()) == {0.0, 2.0}
    assert not x.grad[4:].any()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_whole_batch_is_known_and_its_values_are_shared_out(size: int) -> None:
    values = torch.arange(7)
    for rank in range(size):
        rows = World(rank, size).rows(7)
        with sharing(WHOLE, rows):
            assert whole_batch(WHOLE[rows]).equal(WHOLE)
            assert own_rows(values).equal(values[rows])
            assert size_of_batch(len(WHOLE[rows])) == 7
    assert size_of_batch(2) == 2
    assert whole_batch(WHOLE[:2]).equal(WHOLE[:2])
    assert own_rows(values).equal(values)


def test_other_rows_than_those_of_the_share_are_refused() -> None:
    with sharing(WHOLE, slice(0, 3)):
        with pytest.raises(ValueError, match=r"4 rows are at hand, but .* has 3"):
            Dropout(0.3)(WHOLE[:4])
        with pytest.raises(ValueError, match="4 rows are at hand"):
            whole_batch(WHOLE[:4])
        with pytest.raises(ValueError, match="4 rows are at hand"):
            size_of_batch(4)


def test_it_can_be_compiled() -> None:
    compiled = torch.compile(Dropout(0.3), backend="eager")
    for rows in (slice(0, 3), slice(3, 7)):
        plain = dropped(Dropout(0.3), WHOLE, rows)[0]
        assert dropped(compiled, WHOLE, rows)[0].equal(plain)  # type: ignore[arg-type]
