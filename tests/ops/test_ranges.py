"""Ranges in a row against Python's own ranges, and their sums against torch, one by one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.ops.ranges import flat_ranges, segment_logsumexp

pairs = st.tuples(st.integers(0, 50), st.integers(0, 9))


@given(st.lists(pairs, max_size=8))
def test_ranges_come_one_after_another(ranges: list[tuple[int, int]]) -> None:
    first = torch.tensor([start for start, _ in ranges], dtype=torch.int64)
    end = first + torch.tensor([length for _, length in ranges], dtype=torch.int64)
    numbers, starts = flat_ranges(first, end)
    expected = [list(range(start, start + length)) for start, length in ranges]
    assert numbers.tolist() == [number for own in expected for number in own]
    bounds = starts.tolist()
    for place, own in enumerate(expected):
        assert numbers[bounds[place] : bounds[place + 1]].tolist() == own


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 4))
@settings(deadline=None, max_examples=30)
def test_a_segment_sums_its_own_rows(sizes: list[int], num_columns: int) -> None:
    generator = torch.Generator().manual_seed(len(sizes))
    x = torch.randn(sum(sizes), num_columns, generator=generator) * 200  # far beyond exp's range
    segment = torch.repeat_interleave(torch.tensor(sizes))
    found = segment_logsumexp(x, segment, len(sizes))
    expected = torch.stack([own.logsumexp(0) for own in x.split(sizes)])
    torch.testing.assert_close(found, expected)


def test_a_large_segment_is_as_exact_as_in_float64() -> None:
    x = torch.randn(300_000, 1, generator=torch.Generator().manual_seed(0))
    found = segment_logsumexp(x, torch.zeros(len(x), dtype=torch.int64), 1)
    assert abs(float(found) - float(x.double().logsumexp(0))) < 1e-6


def test_infinite_rows_sum_as_in_torch() -> None:
    inf = torch.inf
    x = torch.tensor([[-inf, -inf], [-inf, 2.0], [inf, 1.0]])
    found = segment_logsumexp(x, torch.tensor([0, 0, 1]), 2)
    assert torch.equal(found, torch.stack([x[:2].logsumexp(0), x[2]]))
