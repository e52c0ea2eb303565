"""Shares, sums and gathered rows in one process and in several."""

import os

import pytest
import torch
from torch import Tensor

from rqvae_lib.ops.world import (
    World,
    WorldError,
    _one_sentence,
    alone,
    current_world,
    first_reports,
    joined,
)
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


def said_by_one() -> str:
    assert "RANK" not in os.environ or os.environ["RANK"] == "0", "only the first is asked"
    assert current_world().size == 1, "what it uses may use a world"
    return "said"


class NeedsTwo(Exception):
    """An error that cannot be pickled as most can."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def refused_in_its_own_way() -> None:
    raise NeedsTwo("this", "that")


def refused_by_a_class_of_its_own() -> None:
    class Local(ValueError):
        """One that another process cannot import."""

    raise Local("too many rows")


def refused() -> None:
    raise ValueError("too few rows")


def together(rows: Tensor) -> dict[str, object]:
    world = current_world()
    share = rows[world.rows(len(rows))]
    caught = []
    for make in (refused, refused_in_its_own_way, refused_by_a_class_of_its_own):
        try:
            world.from_first(make)
        except Exception as error:
            caught += [type(error).__name__, str(error), str(first_reports(error))]
    try:
        world.from_all(lambda: refused_by_a_class_of_its_own() if world.rank == 1 else None)
    except Exception as error:
        caught += [str(error), str(first_reports(error))]
    added = torch.full((2, 2), world.rank + 1)
    world.add_up(added)
    spread = [torch.full((2, 3), world.rank).T, torch.tensor(world.rank == 0)]
    world.spread(spread)
    with alone():
        inside = current_world().size
    with pytest.raises(ValueError, match="has joined the others already"), joined():
        pass
    world.sum(torch.zeros(1))  # all wait here for the first
    return {
        "rank": world.rank,
        "total": world.sum(share.sum(0)),
        "rows": world.all_rows(share),
        "said": world.from_first(said_by_one),
        "in first": world.in_first(said_by_one),
        "by each": world.first_then_others(lambda: world.rank),
        "caught": caught,
        "added": added,
        "spread": spread,
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
        assert each["in first"] == (None if each["rank"] else "said")
        assert each["by each"] == each["rank"]
        assert each["added"].equal(torch.full((2, 2), 1 + 2 + 3))
        assert each["spread"][0].equal(torch.zeros(3, 2, dtype=torch.int64))
        assert each["spread"][1]
        told = str(each["rank"] > 0)
        assert each["caught"][:3] == ["ValueError", "too few rows", told]
        assert each["caught"][4].endswith("this and that")
        assert each["caught"][5] == told
        assert each["caught"][7].endswith("too many rows")
        assert each["caught"][9:] == ["Local: too many rows", told]
        assert each["alone"] == 1


def left_alone() -> str:
    """The second process leaves at once, and the first then asks for it."""
    if not current_world().is_first:
        return ""
    try:
        while True:
            current_world().sum(torch.zeros(1))
    except WorldError as error:
        return str(error)


def test_whoever_is_left_alone_says_so() -> None:
    said, _ = in_world(2, left_alone)
    assert said == (
        "process 0 cannot go on, because another one of the 2 has ended or cannot be reached: look "
        "above for its error, then start all of them again"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[gloo/x.cc:1] Connection closed by peer"), "has ended or cannot be reached"),
        (RuntimeError("[gloo/x.cc:1] Timed out waiting 4000ms"), "kept it waiting for too long"),
        (torch.distributed.DistNetworkError("no route"), "has ended or cannot be reached"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
)
def test_only_what_another_process_caused_is_blamed_on_it(
    error: RuntimeError, expected: str | None
) -> None:
    with pytest.raises(RuntimeError) as caught, _one_sentence():
        raise error
    if expected is None:
        assert caught.value is error
    else:
        assert isinstance(caught.value, WorldError)
        assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("device", "expected"),
    [("mps", "the device is mps"), ("cuda:1", "the device is cuda:1"), ("cuda", "99 processes")],
)
def test_devices_that_processes_cannot_share_are_refused(
    device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "99", "LOCAL_WORLD_SIZE": "99"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")  # and forgotten at the end
    with pytest.raises(ValueError, match=expected), joined(device=device):
        pass
