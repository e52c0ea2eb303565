"""Rows in blocks, and rows of numbers that are not finite."""

import pytest
import torch

from rqvae_lib.ops.rows import (
    BLOCK_ROWS,
    check_finite,
    row_blocks,
    row_sums,
    take_rows,
    true_rows,
)


def test_row_blocks_cover_every_row_once() -> None:
    for num_rows in (0, 1, 1023, 1024, 1025, 2048, 2049):
        covered = [i for rows in row_blocks(num_rows) for i in range(num_rows)[rows]]
        assert covered == list(range(num_rows))
        assert all(rows.stop - rows.start <= BLOCK_ROWS for rows in row_blocks(num_rows))


@pytest.mark.parametrize("block_rows", [1, 3, 7, 100])
def test_blocks_of_another_size(block_rows: int) -> None:
    blocks = list(row_blocks(7, block_rows))
    assert [i for rows in blocks for i in range(7)[rows]] == list(range(7))
    assert [rows.stop - rows.start for rows in blocks[:-1]] == [block_rows] * (len(blocks) - 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("row", [0, BLOCK_ROWS - 1, BLOCK_ROWS, 2499])
def test_the_first_row_that_is_not_finite_is_named_and_all_are_counted(
    bad: float, row: int
) -> None:
    x = torch.zeros(2500, 2)
    x[row, 1] = bad
    with pytest.raises(ValueError, match=rf"row {row} of x holds a NaN or an infinity \(1 such"):
        check_finite(x, "x")
    x[-1] = bad
    with pytest.raises(ValueError, match=rf"row {row} of x .* \({1 + (row < 2499)} such rows\)"):
        check_finite(x, "x")


@pytest.mark.parametrize("rows", [0, 1, 3000])
def test_finite_rows_are_welcome_though_their_sum_is_not_finite(rows: int) -> None:
    check_finite(torch.full((rows, 2), 3e38), "x")
    check_finite(torch.full((rows, 2), 6e4, dtype=torch.float16), "x")


@pytest.mark.parametrize("padding", [None, 3])
def test_sums_of_rows_and_their_gradients_are_those_of_an_embedding(padding: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(7, 4, generator=generator, requires_grad=True)
    rows = torch.randint(7, (2, 5, 3), generator=generator)
    found = row_sums(table, rows, padding)
    expected = torch.nn.functional.embedding(rows, table, padding_idx=padding).sum(2)
    assert torch.equal(found, expected)
    weights = torch.randn(found.shape, generator=generator)
    [mine] = torch.autograd.grad((found * weights).sum(), table)
    [theirs] = torch.autograd.grad((expected * weights).sum(), table)
    torch.testing.assert_close(mine, theirs)


def test_rows_are_taken_in_any_shape_and_by_a_mask() -> None:
    table = torch.arange(12.0).view(6, 2)
    rows = torch.tensor([[1, 1, 5], [0, 2, 3]])
    assert torch.equal(take_rows(table, rows), table[rows])
    for mask in (
        torch.ones(6, dtype=torch.bool),
        torch.zeros(6, dtype=torch.bool),
        table[:, 0] > 4,
    ):
        assert torch.equal(true_rows(table, mask), table[mask])
