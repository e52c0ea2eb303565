"""Shares, sums and gathered rows in one process and in several."""

import pytest
import torch
from torch import Tensor

from rqvae_lib.ops.world import World, alone, current_world, joined
from tests.worlds import in_world


@pytest.mark.parametrize("num_rows", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_shares_are_all_rows_in_order(num_rows: int, size: int) -> None:
    shares = [range(num_rows)[World(rank, size).rows(num_rows)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(num_rows))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_everything_is_what_it_was() -> None:
    with joined() as world:
        rows = torch.arange(3)
        assert world == current_world() == World(0, 1)
        assert world.sum(rows) is world.all_rows(rows) is rows
        assert world.from_first(lambda: "said") == "said"
        world.wait()


def said_by_one() -> str:
    assert current_world().is_first, "only the first process is asked"
    return "said"


def refused() -> None:
    raise ValueError("too few rows")


def together(rows: Tensor) -> dict[str, object]:
    world = current_world()
    share = rows[world.rows(len(rows))]
    caught = ""
    try:
        world.from_first(refused)
    except ValueError as error:
        caught = str(error)
    with alone():
        inside = current_world().size
    world.wait()
    return {
        "rank": world.rank,
        "total": world.sum(share.sum(0)),
        "rows": world.all_rows(share),
        "said": world.from_first(said_by_one),
        "caught": caught,
        "alone": inside,
    }


@pytest.mark.parametrize("num_rows", [1, 7])
def test_three_processes_have_the_same_sums_rows_and_words(num_rows: int) -> None:
    rows = torch.randn(num_rows, 2, generator=torch.Generator().manual_seed(0))
    found = in_world(3, together, rows)
    assert [each["rank"] for each in found] == [0, 1, 2]
    for each in found:
        torch.testing.assert_close(each["total"], rows.sum(0))
        assert each["rows"].equal(rows)
        assert each["said"] == "said"
        assert each["caught"] == "too few rows"
        assert each["alone"] == 1
