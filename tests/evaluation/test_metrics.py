"""Metrics on examples worked by hand, ranks by brute force, and intervals by simulation."""

import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from rqvae_lib.evaluation import metrics
from rqvae_lib.evaluation.metrics import (
    NOT_RANKED,
    bootstrap_interval,
    coverage,
    mean_of_each_user,
    mean_popularity,
    mrr_at,
    ndcg_at,
    ranks_in_lists,
    ranks_in_scores,
    recall_at,
    top_items,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Ranks


def test_ranks_in_lists_by_hand() -> None:
    recommended = torch.tensor([[5, 3, 9], [5, 3, 9], [5, 3, 9], [4, -1, -1], [-1, -1, -1]])
    ranks = ranks_in_lists(recommended, torch.tensor([5, 9, 7, 0, 2]))
    assert ranks.tolist() == [1, 3, NOT_RANKED, NOT_RANKED, NOT_RANKED]


def test_a_target_that_is_listed_twice_has_its_first_place() -> None:
    recommended = torch.tensor([[5, 3, 3, 5], [2, 3, 3, 5], [2, 7, 3, 3]])
    assert ranks_in_lists(recommended, torch.tensor([5, 3, 3])).tolist() == [1, 2, 3]


def test_ranks_in_scores_by_hand() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.1, 0.5, 0.7]]).expand(5, -1)
    targets = torch.tensor([0, 1, 2, 3, 3])
    nothing = torch.tensor([], dtype=torch.int64)
    excluded = [nothing, nothing, torch.tensor([1, 4]), nothing, torch.tensor([1, 4, 0])]
    # 0 and 3 tie: the lower row comes first.
    assert ranks_in_scores(scores, targets, excluded).tolist() == [3, 1, 3, 4, 1]


@given(st.integers(1, 6), st.integers(1, 12), st.data())
@settings(max_examples=100, deadline=None)
def test_ranks_equal_a_stable_sort_of_what_competes(
    num_rows: int, num_items: int, data: st.DataObject
) -> None:
    levels = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0])  # few, so that ties are common
    row = st.lists(levels, min_size=num_items, max_size=num_items)
    scores = torch.tensor(data.draw(st.lists(row, min_size=num_rows, max_size=num_rows)))
    item = st.integers(0, num_items - 1)
    targets = data.draw(st.lists(item, min_size=num_rows, max_size=num_rows))
    excluded = [data.draw(st.lists(item, max_size=num_items)) for _ in range(num_rows)]
    expected = []
    for scored, target, left_out in zip(scores.numpy(), targets, excluded, strict=True):
        competing = [i for i in range(num_items) if i == target or i not in left_out]
        order = np.argsort(-scored[competing], kind="stable")
        expected.append([competing[i] for i in order].index(target) + 1)
    lists = [torch.tensor(items, dtype=torch.int64) for items in excluded]
    assert ranks_in_scores(scores, torch.tensor(targets), lists).tolist() == expected


def test_a_target_that_is_listed_as_excluded_still_competes() -> None:
    scores = torch.tensor([[0.1, 0.2, 0.3]])
    [rank] = ranks_in_scores(scores, torch.tensor([1]), [torch.tensor([1, 2])]).tolist()
    assert rank == 1
    [rank] = ranks_in_scores(scores, torch.tensor([1]), [torch.tensor([1])]).tolist()
    assert rank == 2


def test_a_nan_is_an_error_and_never_a_rank() -> None:
    scores = torch.zeros(4, 3)
    scores[2, 1] = scores[3, 0] = math.nan
    with pytest.raises(ValueError, match=r"row 2 of the scores holds a NaN \(2 such rows\)"):
        ranks_in_scores(scores, torch.zeros(4, dtype=torch.int64), [torch.tensor([1])] * 4)


@pytest.mark.parametrize("num_lists", [1, 3])
def test_exclusions_must_be_given_for_each_row(num_lists: int) -> None:
    with pytest.raises(ValueError, match=f"2 rows of scores and {num_lists} lists"):
        ranks_in_scores(torch.zeros(2, 3), torch.tensor([0, 1]), [torch.tensor([1])] * num_lists)


def test_both_ways_to_rank_agree() -> None:
    scores = torch.randn(50, 30, generator=seeded())
    targets = torch.randint(30, (50,), generator=seeded(1))
    nothing = [torch.tensor([], dtype=torch.int64)] * 50
    lists = scores.argsort(1, descending=True)
    assert torch.equal(ranks_in_lists(lists, targets), ranks_in_scores(scores, targets, nothing))
    short = ranks_in_lists(lists[:, :10], targets)
    full = ranks_in_scores(scores, targets, nothing)
    assert torch.equal(recall_at(short, 10), recall_at(full, 10))
    assert torch.equal(ndcg_at(short, 10), ndcg_at(full, 10))


@pytest.mark.parametrize("bad", [-1, 3, 10**6])
def test_items_outside_the_catalogue_are_refused_with_their_row(bad: int) -> None:
    scores, nothing = torch.tensor([[1.0, 2, 3]] * 3), torch.tensor([], dtype=torch.int64)
    excluded = [nothing, torch.tensor([0, bad]), torch.tensor([bad])]
    with pytest.raises(ValueError, match=f"row 1 excludes item {bad}, .* items 0 to 2"):
        top_items(scores, 1, excluded)
    with pytest.raises(ValueError, match=f"row 1 excludes item {bad}, .* items 0 to 2"):
        ranks_in_scores(scores, torch.tensor([0, 1, 2]), excluded)
    with pytest.raises(ValueError, match=f"target of row 2 is {bad}, .* items 0 to 2"):
        ranks_in_scores(scores, torch.tensor([0, 2, bad]), [nothing] * 3)


# Metrics


def test_metrics_by_hand() -> None:
    ranks = torch.tensor([1, 2, 3, 4, 10, 11, NOT_RANKED])
    assert recall_at(ranks, 3).tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert recall_at(ranks, 10).tolist() == [1, 1, 1, 1, 1, 0, 0]
    expected = [1, 1 / math.log2(3), 1 / 2, 1 / math.log2(5), 1 / math.log2(11), 0, 0]
    assert ndcg_at(ranks, 10).tolist() == pytest.approx(expected)
    assert ndcg_at(ranks, 3).tolist() == pytest.approx([*expected[:3], 0, 0, 0, 0])
    assert ndcg_at(ranks, 1).tolist() == recall_at(ranks, 1).tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert recall_at(ranks, 10).dtype == ndcg_at(ranks, 10).dtype == torch.float64


def test_ndcg_equals_scikit_learns() -> None:
    scores = torch.rand(20, 15, generator=seeded())
    targets = torch.randint(15, (20,), generator=seeded(1))
    ranks = ranks_in_scores(scores, targets, [targets[:0]] * 20)
    relevance = torch.nn.functional.one_hot(targets, 15).numpy()
    theirs = ndcg_score(relevance, scores.numpy(), k=5)
    assert float(ndcg_at(ranks, 5).mean()) == pytest.approx(theirs)


# Intervals


def test_the_interval_is_the_one_of_the_normal_approximation() -> None:
    values = torch.randn(400, generator=seeded(), dtype=torch.float64)
    low, high = bootstrap_interval(values, generator=seeded(1), num_samples=4000)
    half = 1.96 * float(values.std(correction=0)) / 20
    assert low == pytest.approx(float(values.mean()) - half, abs=0.1 * half)
    assert high == pytest.approx(float(values.mean()) + half, abs=0.1 * half)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth, trials = 0.3, 300
    for level, least, most in ((0.95, 0.90, 0.985), (0.5, 0.40, 0.60)):
        covered = 0
        for trial in range(trials):
            values = (torch.rand(100, generator=seeded(trial)) < truth).double()
            low, high = bootstrap_interval(
                values, generator=seeded(trial + 10_000), num_samples=200, level=level
            )
            covered += low <= truth <= high
        assert least <= covered / trials <= most


def test_the_generator_decides_the_interval() -> None:
    values = torch.rand(50, generator=seeded())
    torch.manual_seed(0)
    first = bootstrap_interval(values, generator=seeded(1))
    torch.manual_seed(1)
    assert bootstrap_interval(values, generator=seeded(1)) == first
    assert bootstrap_interval(values, generator=seeded(2)) != first


@pytest.mark.parametrize("num_samples", [1, 99, 100, 101, 250, 1000])
@pytest.mark.parametrize("num_users", [1, 7, 943])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_in_blocks_equal_all_at_once(
    num_users: int, num_samples: int, dtype: torch.dtype
) -> None:
    values, generator = torch.rand(num_users, generator=seeded(), dtype=dtype), seeded(1)
    drawn = torch.randint(num_users, (num_samples, num_users), generator=generator)
    tail = (1 - 0.95) / 2
    shares = torch.tensor([tail, 1 - tail], dtype=dtype)
    blocks = seeded(1)
    found = bootstrap_interval(values, generator=blocks, num_samples=num_samples)
    expected = torch.quantile(values[drawn].mean(1), shares).tolist()
    assert [found.low, found.high] == expected  # to the last bit
    assert torch.equal(blocks.get_state(), generator.get_state())  # what is drawn next, too


def test_samples_of_many_users_need_no_more_memory_than_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    randint, drawn = torch.randint, []

    def counting(high: int, size: tuple[int, int], *, generator: torch.Generator) -> torch.Tensor:
        drawn.append(size)
        return randint(high, size, generator=generator)

    monkeypatch.setattr(torch, "randint", counting)
    bootstrap_interval(torch.rand(50), generator=seeded(), num_samples=1010)
    assert drawn == [(100, 50)] * 10 + [(10, 50)]


def test_of_more_users_fewer_samples_are_drawn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.rand(50, generator=seeded(), dtype=torch.float64)
    expected = bootstrap_interval(values, generator=seeded(1), num_samples=110)
    randint, drawn = torch.randint, []

    def counting(high: int, size: tuple[int, int], *, generator: torch.Generator) -> torch.Tensor:
        drawn.append(size)
        return randint(high, size, generator=generator)

    monkeypatch.setattr(torch, "randint", counting)
    for at_a_time, rows in ((2000, 40), (50, 1), (7, 1)):
        drawn.clear()
        monkeypatch.setattr(metrics, "DRAWN_AT_A_TIME", at_a_time)
        assert bootstrap_interval(values, generator=seeded(1), num_samples=110) == expected
        assert {size[0] for size in drawn[:-1]} == {rows}
        assert sum(size[0] for size in drawn) == 110


def test_no_values_have_no_interval() -> None:
    with pytest.raises(ValueError, match="no values to draw from"):
        bootstrap_interval(torch.empty(0), generator=seeded())


def test_equal_values_have_an_interval_without_width() -> None:
    low, high = bootstrap_interval(torch.full((9,), 0.25), generator=seeded())
    assert (low, high) == (0.25, 0.25)


# Lists, and what they are made of


@given(st.integers(0, 1000), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_lists_and_scores_give_a_target_one_rank(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    scores = torch.from_numpy(generator.integers(4, size=(5, 9)).astype(np.float32))  # ties
    scores[generator.random((5, 9)) < 0.2] = -torch.inf
    excluded = [
        torch.from_numpy(generator.permutation(9)[: generator.integers(9)]) for _ in range(5)
    ]
    lists = top_items(scores, k, excluded)
    assert lists.shape == (5, k)
    for row, out in enumerate(excluded):
        left = [item for item in range(9) if item not in out]
        expected = sorted(left, key=lambda item: -float(scores[row, item]))[:k]
        assert lists[row].tolist() == expected + [-1] * (k - len(expected))
        for target in left:
            rank = ranks_in_scores(scores[row, None], torch.tensor([target]), [out])
            listed = ranks_in_lists(lists[row, None], torch.tensor([target]))
            assert int(listed) == (int(rank) if rank <= k else NOT_RANKED)


def by_whole_sorts(scores: torch.Tensor, k: int, excluded: list[torch.Tensor]) -> torch.Tensor:
    """Rank all items of each row, drop what is excluded, and fill up with -1."""
    rows = []
    for row, out in zip(scores.double().numpy(), excluded, strict=True):
        order = np.argsort(-row, kind="stable").tolist()
        left_out = set(out.tolist())
        kept = [item for item in order if item not in left_out][:k]
        rows.append(kept + [-1] * (k - len(kept)))
    return torch.tensor(rows)


@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(2, 5),
    st.integers(1, 9),
    st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64]),
)
@settings(max_examples=200, deadline=None)
def test_lists_from_blocks_equal_those_from_whole_sorts(
    seed: int, num_items: int, k: int, block: int, at_once: int, dtype: torch.dtype
) -> None:
    generator = np.random.default_rng(seed)
    levels = generator.integers(1, 9)  # few levels: ties within blocks and between them
    scores = torch.from_numpy(generator.integers(-2, levels, size=(4, num_items))).to(dtype)
    if dtype.is_floating_point:
        scores[torch.from_numpy(generator.random(scores.shape) < 0.1)] = -torch.inf
        scores[torch.from_numpy(generator.random(scores.shape) < 0.1)] = torch.inf
    most = generator.integers(num_items + 1)
    excluded = [torch.from_numpy(generator.integers(num_items, size=most)) for _ in range(4)]
    with patch.multiple(metrics, BLOCK=block, SORTED_AT_ONCE=at_once):
        found = top_items(scores, k, excluded)
    assert torch.equal(found, by_whole_sorts(scores, k, excluded))


@pytest.mark.parametrize("levels", [2, 50, 10**6])
def test_lists_of_a_large_catalogue_equal_those_from_whole_sorts(levels: int) -> None:
    scores = torch.randint(levels, (6, 40_003), generator=seeded()).float()
    excluded = [torch.randint(40_003, (n,), generator=seeded(n)) for n in (0, 1, 9, 99, 999, 9999)]
    assert torch.equal(top_items(scores, 50, excluded), by_whole_sorts(scores, 50, excluded))
    # In any memory format, and without a change of what the caller holds.
    before = scores.clone()
    turned = scores.T.contiguous().T
    assert torch.equal(top_items(turned, 50, excluded), by_whole_sorts(scores, 50, excluded))
    same = scores[:1].expand(6, -1)
    assert torch.equal(top_items(same, 50, excluded), by_whole_sorts(same, 50, excluded))
    assert torch.equal(scores, before)


def test_no_rows_have_no_lists() -> None:
    assert top_items(torch.zeros(0, 5000), 3, []).shape == (0, 3)


def test_infinite_scores_are_no_nan() -> None:
    scores = torch.tensor([[torch.inf, -torch.inf, 0.0]])
    nothing = [torch.tensor([], dtype=torch.int64)]
    assert top_items(scores, 3, nothing).tolist() == [[0, 2, 1]]
    assert ranks_in_scores(scores, torch.tensor([1]), nothing).tolist() == [3]


def test_no_item_and_a_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        top_items(torch.zeros(1, 3), 0, [torch.tensor([0])])
    with pytest.raises(ValueError, match="row 0 of the scores holds a NaN"):
        top_items(torch.tensor([[0.0, torch.nan]]), 1, [torch.tensor([0])])


def test_mrr_by_hand() -> None:
    ranks = torch.tensor([1, 2, 10, 11, NOT_RANKED])
    assert mrr_at(ranks, 10).tolist() == [1, 0.5, 0.1, 0, 0]


def test_every_user_has_one_vote() -> None:
    values, users = torch.tensor([1.0, 0, 1, 1]), torch.tensor([7, 3, 7, 3])
    assert mean_of_each_user(values, users).tolist() == [0.5, 1.0]


def test_coverage_and_popularity_by_hand() -> None:
    lists = torch.tensor([[0, 2], [2, -1], [-1, -1]])
    assert coverage(lists, 5) == 2 / 5
    popularity = torch.tensor([10.0, 99, 4, 99, 99])
    assert mean_popularity(lists, popularity) == (7 + 4) / 2


def test_arrays_of_any_kind_give_the_same_ranks_and_items() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.1], [0.2, 0.2, 0.3]])
    targets, excluded = torch.tensor([0, 1]), [torch.tensor([1]), torch.tensor([])]
    ranks, best = ranks_in_scores(scores, targets, excluded), top_items(scores, 2, excluded)
    assert (ranks.tolist(), best.tolist()) == ([1, 3], [[0, 2], [2, 0]])
    others: list[tuple[Any, Any, Any]] = [
        (scores.numpy(), targets.numpy(), [np.array([1]), np.array([], np.int64)]),
        (scores.tolist(), targets.tolist(), [[1], []]),
    ]
    for other_scores, other_targets, other_excluded in others:
        assert torch.equal(ranks_in_scores(other_scores, other_targets, other_excluded), ranks)
        assert torch.equal(top_items(other_scores, 2, other_excluded), best)
        assert ranks_in_lists(best.numpy(), other_targets).tolist() == [1, NOT_RANKED]


def test_arrays_that_could_be_misread_are_refused() -> None:
    scores, targets = torch.ones(2, 3), torch.tensor([0, 1])
    mask = torch.tensor([True, False, True])
    with pytest.raises(ValueError, match=r"excluded\[0\] is a mask"):
        top_items(scores, 1, [mask, mask])
    with pytest.raises(ValueError, match="scores is one vector"):
        top_items(scores[0], 1, [targets])
    with pytest.raises(ValueError, match="2 rows of scores and 1 targets"):
        ranks_in_scores(scores, targets[:1], [targets, targets])
    with pytest.raises(ValueError, match="2 lists of recommendations and 1 targets"):
        ranks_in_lists(torch.ones(2, 3, dtype=torch.int64), targets[:1])
