"""The analysis of codes against loops, simulation and scikit-learn."""

import math
from collections import Counter

import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.analysis import (
    conditional_entropies,
    entropy,
    expected_collision_rate,
    normalized_mutual_information,
    pair_precision,
    prefix_groups,
    purity,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def skewed_codes(num: int = 400, sizes: tuple[int, ...] = (7, 5, 9), seed: int = 0) -> Tensor:
    """Codes that use their codebooks unevenly, and some codewords never."""
    columns = []
    for level, size in enumerate(sizes):
        shares = torch.arange(1, size + 1).double() ** 2
        shares[1] = 0
        columns.append(
            torch.multinomial(shares, num, replacement=True, generator=seeded(seed + level))
        )
    return torch.stack(columns, 1)


def test_prefix_groups_are_the_distinct_prefixes() -> None:
    codes = skewed_codes()
    for length in (1, 2, 3):
        groups = prefix_groups(codes, length).tolist()
        prefixes = [tuple(row[:length]) for row in codes.tolist()]
        assert len(set(zip(groups, prefixes, strict=True))) == len(set(prefixes))
        assert set(groups) == set(range(len(set(prefixes))))
        assert sorted(set(prefixes)) == [
            prefixes[groups.index(group)] for group in range(len(set(prefixes)))
        ]
    assert prefix_groups(codes, 0).tolist() == [0] * 400


@pytest.mark.parametrize("sizes", [(6, 5, 4), (30, 40), (300,), (4, 3, 2, 5)])
def test_the_expected_collision_rate_by_simulation(sizes: tuple[int, ...]) -> None:
    codes = skewed_codes(sizes=sizes)
    shares = [torch.bincount(level).double() / len(codes) for level in codes.T]
    rates = []
    generator = seeded(1)
    for _ in range(400):
        drawn = torch.stack(
            [
                torch.multinomial(p, len(codes), replacement=True, generator=generator)
                for p in shares
            ],
            1,
        )
        rates.append(SemanticIDs(drawn, sizes).collision_rate)
    rates = torch.tensor(rates, dtype=torch.float64)
    standard_error = float(rates.std()) / math.sqrt(len(rates))
    expected = expected_collision_rate(codes)
    assert abs(float(rates.mean()) - expected) < 4 * standard_error
    assert standard_error < 0.002  # so that a wrong formula is told apart


def test_the_expected_collision_rate_of_a_uniform_code_is_the_birthday_problem() -> None:
    # 23 people, 365 days: 23 less the expected number of different birthdays.
    codes = torch.arange(365).repeat(23)[:, None]  # uniform shares; N is 23 · 365 here
    num = len(codes)
    distinct = 365 * (1 - (364 / 365) ** num)
    assert expected_collision_rate(codes) == pytest.approx(1 - distinct / num)


def test_one_code_for_all_always_collides_and_rare_ones_hardly_ever() -> None:
    assert expected_collision_rate(torch.zeros(10, 2, dtype=torch.int64)) == pytest.approx(0.9)
    assert expected_collision_rate(torch.zeros(1, 3, dtype=torch.int64)) == pytest.approx(0.0)
    codes = torch.arange(256).repeat(4)[:, None].expand(-1, 4).clone()  # 2^32 tuples for 2^10 items
    pairs = 1024 * 1023 / 2 / 2**32
    assert expected_collision_rate(codes) == pytest.approx(pairs / 1024, rel=1e-3)


def test_conditional_entropies_by_hand() -> None:
    codes = skewed_codes()
    entropies = conditional_entropies(codes)
    for level in range(3):
        by_hand = 0.0
        prefixes = Counter(tuple(row[:level]) for row in codes.tolist())
        for prefix, count in prefixes.items():
            inside = Counter(row[level] for row in codes.tolist() if tuple(row[:level]) == prefix)
            by_hand += -sum(n / len(codes) * math.log(n / count) for n in inside.values())
        assert float(entropies[level]) == pytest.approx(by_hand)
    # What the first code says already is not said again.
    repeated = torch.stack([codes[:, 0], codes[:, 0], codes[:, 1]], 1)
    assert float(conditional_entropies(repeated)[1]) == 0.0
    # Independent fair codes: log 2 each.
    fair = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    torch.testing.assert_close(
        conditional_entropies(fair), torch.full((2,), math.log(2), dtype=torch.float64)
    )


@pytest.mark.parametrize("seed", range(20))
def test_codes_that_those_before_give_away_have_an_entropy_of_exactly_zero(seed: int) -> None:
    given = skewed_codes(sizes=(90, 40), seed=10 * seed)
    # Of the first code, of both, and of none; in orders that are not the order of the prefixes.
    first = torch.randperm(90, generator=seeded(seed))[given[:, 0]]
    both = (given * torch.tensor([31, 57])).sum(1) % 17
    codes = torch.stack([torch.zeros_like(first), given[:, 0], first, given[:, 1], both], 1)
    entropies = conditional_entropies(codes).tolist()
    assert [entropies[level] for level in (0, 2, 4)] == [0.0] * 3
    assert min(entropies[1], entropies[3]) > 0.1


def test_entropy_and_purity_on_worked_examples() -> None:
    assert entropy(torch.tensor([5, 5, 5, 9])) == pytest.approx(
        -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    )
    groups = torch.tensor([3, 3, 3, 8, 8, 1])
    labels = torch.tensor([7, 7, 2, 2, 9, 4])
    assert purity(groups, labels) == pytest.approx((2 + 1 + 1) / 6)
    assert purity(torch.arange(6), labels) == 1.0
    assert purity(torch.zeros(6, dtype=torch.int64), labels) == pytest.approx(2 / 6)


def test_pair_precision_by_loops_and_its_control() -> None:
    groups = torch.randint(30, (120,), generator=seeded(0)) * 2
    labels = (groups // 9 + torch.randint(3, (120,), generator=seeded(1))) - 5
    pairs = [(i, j) for i in range(120) for j in range(i) if groups[i] == groups[j]]
    alike = sum(bool(labels[i] == labels[j]) for i, j in pairs)
    assert pair_precision(groups, labels) == pytest.approx(alike / len(pairs))
    assert 0.2 < alike / len(pairs) < 0.8
    control = pair_precision(torch.zeros_like(groups), labels)
    generator = seeded(2)
    shuffles = [
        pair_precision(groups, labels[torch.randperm(120, generator=generator)]) for _ in range(500)
    ]
    assert sum(shuffles) / 500 == pytest.approx(control, abs=0.01)
    assert math.isnan(pair_precision(torch.arange(120), labels))


@pytest.mark.parametrize("seed", range(5))
def test_purity_and_normalized_mutual_information_by_loops_and_scikit_learn(seed: int) -> None:
    groups = torch.randint(20, (300,), generator=seeded(seed)) * 3 - 30  # any integers do
    labels = (groups + torch.randint(40, (300,), generator=seeded(seed + 9))) // 11
    members: dict[int, Counter[int]] = {}
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        members.setdefault(group, Counter())[label] += 1
    best = sum(counts.most_common(1)[0][1] for counts in members.values())
    assert purity(groups, labels) == pytest.approx(best / 300)
    ours = normalized_mutual_information(groups, labels)
    assert ours == pytest.approx(normalized_mutual_info_score(groups.numpy(), labels.numpy()))
    assert 0.05 < ours < 0.95
    assert normalized_mutual_information(labels, groups) == pytest.approx(ours)


def test_mutual_information_at_its_edges() -> None:
    zeros, four = torch.zeros(4, dtype=torch.int64), torch.tensor([0, 0, 1, 1])
    assert normalized_mutual_information(zeros, zeros) == 1.0
    assert normalized_mutual_information(zeros, four) == 0.0
    assert normalized_mutual_information(four, 7 - four) == pytest.approx(1.0)
    assert normalized_mutual_information(four, torch.tensor([0, 1, 0, 1])) == 0.0


def test_rounding_never_makes_mutual_information_leave_the_unit_interval() -> None:
    highest = 0.0
    for seed in range(200):
        generator = seeded(seed)
        size = 2 + seed % 20
        groups = torch.randint(size, (2 * size,), generator=generator)
        names = torch.randperm(size, generator=generator)[groups]  # as good as the groups
        highest = max(highest, normalized_mutual_information(groups, names))
        crossed = torch.cartesian_prod(torch.arange(size), torch.arange(7)).T  # independent
        assert normalized_mutual_information(*crossed) >= 0.0
    assert highest == 1.0


def test_wrong_arguments_are_named() -> None:
    codes = skewed_codes()
    with pytest.raises(ValueError, match="length is 4; items with 3 codes"):
        prefix_groups(codes, 4)
    with pytest.raises(ValueError, match=r"codes holds numbers of type torch.float32"):
        expected_collision_rate(codes.float())
    with pytest.raises(ValueError, match="expected an int64 matrix"):
        conditional_entropies(codes[:0])
    codes[5, 1] = -1
    with pytest.raises(ValueError, match="item 5 has code -1 at level 2"):
        expected_collision_rate(codes)
    groups = torch.arange(4)
    for measure in (purity, pair_precision, normalized_mutual_information):
        with pytest.raises(ValueError, match="4 entries in groups but 3 labels"):
            measure(groups, groups[:3])
        with pytest.raises(ValueError, match=r"labels holds numbers of type torch.float32"):
            measure(groups, torch.ones(4))
        with pytest.raises(ValueError, match="groups have shape"):
            measure(groups[:0], groups[:0])
