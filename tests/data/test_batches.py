"""Batches against what an epoch must hold: everything, once, whatever the order of the calls."""

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.data.batches import PADDING, RowBatches, WindowBatches, _generator
from rqvae_lib.data.splits import Histories


def histories_of(lengths: list[int]) -> Histories:
    """Histories in which every item occurs once, so that an item names its interaction."""
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Histories(torch.arange(int(offsets[-1])), offsets)


def windows_of(batch: Tensor) -> list[list[int]]:
    """The real items of each row; padding must stand at the end only."""
    rows = []
    for row in batch.tolist():
        real = [item for item in row if item != PADDING]
        assert row == real + [PADDING] * (len(row) - len(real))
        rows.append(real)
    return rows


def epoch_of(batches: WindowBatches, epoch: int) -> list[list[int]]:
    steps = batches.steps_per_epoch
    return [w for s in range(steps) for w in windows_of(batches(epoch * steps + s))]


LENGTHS = [0, 1, 3, 4, 5, 7, 8, 9, 0, 23]


@given(
    st.lists(st.integers(0, 25), min_size=1, max_size=6).filter(any),
    st.integers(1, 8),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_every_interaction_once_an_epoch(lengths: list[int], max_items: int, seed: int) -> None:
    histories = histories_of(lengths)
    one = WindowBatches(histories, max_items=max_items, batch_size=1, seed=seed)
    whole = WindowBatches(histories, max_items=max_items, batch_size=10**6, seed=seed)
    for epoch in range(4):
        windows = epoch_of(one, epoch)
        assert sorted(item for window in windows for item in window) == histories.items.tolist()
        for window in windows:
            assert 1 <= len(window) <= max_items
            assert window == list(range(window[0], window[0] + len(window)))
            owner = torch.searchsorted(histories.offsets, torch.tensor(window), right=True)
            assert owner.unique().numel() == 1  # of one user
        assert sorted(windows_of(whole(epoch))) == sorted(windows)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9, 100])
def test_an_epoch_of_windows_has_as_many_steps_as_full_batches(batch_size: int) -> None:
    def new(size: int) -> WindowBatches:
        return WindowBatches(histories_of([3, 8, 5, 2]), max_items=4, batch_size=size, seed=0)

    num_windows = len(windows_of(new(100)(0)))  # 1 + 2 (or 3) + 2 + 1
    batches = new(batch_size)
    size = min(batch_size, num_windows)
    assert batches.steps_per_epoch == num_windows // size
    first = [tuple(w) for step in range(batches.steps_per_epoch) for w in windows_of(batches(step))]
    assert len(set(first)) == len(first) == num_windows // size * size


def test_short_histories_are_never_cut_and_long_ones_move_their_cuts() -> None:
    batches = WindowBatches(histories_of(LENGTHS), max_items=8, batch_size=1, seed=0)
    firsts: dict[int, set[int]] = {3: set(), 7: set(), 8: set(), 9: set(), 23: set()}
    for epoch in range(60):
        windows = epoch_of(batches, epoch)
        for length in firsts:
            begin = int(batches.histories.offsets[LENGTHS.index(length)])
            [window] = [w for w in windows if w[0] == begin]
            firsts[length].add(len(window))
    assert [firsts[length] for length in (3, 7, 8)] == [{3}, {7}, {8}]
    assert firsts[9] == set(range(1, 9))
    assert len(firsts[23]) >= 4


@given(st.integers(2, 50), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_cuts_move_over_about_half_a_window_or_more(length: int, max_items: int) -> None:
    if length <= max_items:
        return
    batches = WindowBatches(histories_of([length]), max_items=max_items, batch_size=1, seed=3)
    places = {min(len(w) for w in epoch_of(batches, e) if w[0] == 0) for e in range(60)}
    assert len(places) >= max_items // 2


def test_a_step_sees_the_same_whatever_was_asked_before() -> None:
    histories = histories_of(LENGTHS)

    def new(seed: int = 5) -> WindowBatches:
        return WindowBatches(histories, max_items=4, batch_size=3, seed=seed)

    in_order = new()
    expected = [in_order(step) for step in range(40)]
    torch.manual_seed(123)
    jumping = new()
    for step in torch.randperm(40).tolist():
        assert torch.equal(jumping(step), expected[step])
    assert torch.equal(new()(17), expected[17])
    assert any(not torch.equal(new(6)(step), expected[step]) for step in range(3))


def test_orders_differ_between_epochs_and_the_global_seed_is_untouched() -> None:
    batches = RowBatches(torch.arange(12.0)[:, None], batch_size=12, seed=0)
    state = torch.get_rng_state()
    orders = {tuple(batches(step)[:, 0].tolist()) for step in range(5)}
    assert len(orders) == 5
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert torch.equal(torch.get_rng_state(), state)


def test_order_and_cuts_of_every_epoch_have_a_seed_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = []

    def recording(*numbers: int) -> torch.Generator:
        generator = _generator(*numbers)
        seeds.append(generator.initial_seed())
        return generator

    monkeypatch.setattr("rqvae_lib.data.batches._generator", recording)
    for seed in range(3):
        batches = WindowBatches(histories_of([3, 9]), max_items=4, batch_size=100, seed=seed)
        for epoch in range(5):
            batches(epoch)
    assert len(seeds) == len(set(seeds)) == 3 * 5 * 2


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 12), (4, 3), (5, 2), (12, 1), (100, 1)])
def test_rows_are_seen_at_most_once_an_epoch(batch_size: int, steps: int) -> None:
    rows = torch.arange(24.0).view(12, 2)
    batches = RowBatches(rows, batch_size=batch_size, seed=1)
    size = min(batch_size, 12)
    assert batches.steps_per_epoch == steps
    for epoch in range(3):
        seen = torch.cat([batches(epoch * steps + step) for step in range(steps)])
        assert seen.shape == (steps * size, 2)
        firsts = seen[:, 0].tolist()
        assert len(set(firsts)) == len(firsts)
        assert all(row[1] == row[0] + 1 for row in seen.tolist())
        if 12 % size == 0:
            assert sorted(firsts) == rows[:, 0].tolist()


@pytest.mark.parametrize(("num_rows", "batch_size"), [(0, 4), (3, 0)])
def test_nothing_to_train_on_is_refused(num_rows: int, batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"{num_rows} examples in batches of {batch_size}"):
        RowBatches(torch.zeros(num_rows, 2), batch_size=batch_size, seed=0)


def test_only_empty_histories_are_refused() -> None:
    with pytest.raises(ValueError, match="0 examples"):
        WindowBatches(histories_of([0, 0]), max_items=3, batch_size=2, seed=0)


def test_windows_are_those_of_earlier_versions() -> None:
    """Whoever trained with a seed gets the same weights again."""
    offsets = torch.tensor([0, 3, 3, 25, 26, 60])
    histories = Histories(torch.arange(60) % 17, offsets)
    batches = WindowBatches(histories, max_items=6, batch_size=4, seed=7)
    digest = hashlib.sha256()
    for step in range(20):
        digest.update(repr(batches(step).tolist()).encode())
    assert digest.hexdigest().startswith("a9b9c242d469e8b5")
