"""The remedies for collisions, against brute force over all tuples of codes."""

from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.collisions import (
    REMEDIES,
    Remedy,
    balance_last_level,
    keep_codes,
    nearest_codes,
    resolve,
    take_nearest_free,
)
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer

ALL = pytest.mark.parametrize("remedy", REMEDIES.values(), ids=REMEDIES)


def tokenized(
    num_items: int, num_levels: int = 2, size: int = 3, dim: int = 2, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, their codes, and the codebooks; small ones, so that many items collide."""
    generator = torch.Generator().manual_seed(seed)
    quantizer = ResidualQuantizer(num_levels, size, dim).double()
    scales = 0.5 ** torch.arange(num_levels)[:, None, None]
    drawn = torch.randn(num_levels, size, dim, generator=generator, dtype=torch.float64)
    quantizer.codebooks.data = drawn * scales
    latents = torch.randn(num_items, dim, generator=generator, dtype=torch.float64)
    return latents, quantizer.encode(latents), quantizer.codebooks.detach()


def error_of(latent: Tensor, code: tuple[int, ...], codebooks: Tensor) -> float:
    codewords = sum(codebooks[level, k] for level, k in enumerate(code))
    return float((latent - codewords).square().sum())


def test_the_three_remedies_have_names() -> None:
    assert {
        "disambiguation": keep_codes,
        "balanced": balance_last_level,
        "nearest-free": take_nearest_free,
    } == REMEDIES


# What all share


@ALL
@given(st.integers(0, 25), st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_a_remedy_and_its_costs(remedy: Remedy, num_items: int, num_levels: int, seed: int) -> None:
    latents, codes, codebooks = tokenized(num_items, num_levels, seed=seed)
    before, kept = SemanticIDs(codes, [3] * num_levels), codes.clone()
    resolved = resolve(latents, codes, codebooks, remedy)
    assert torch.equal(codes, kept)  # the caller's codes are left alone
    rows = [tuple(row) for row in resolved.ids.ids.tolist()]
    assert len(set(rows)) == len(rows) == num_items  # the disambiguation code closes the rest
    assert resolved.ids.collision_rate <= before.collision_rate
    changed = resolved.ids.codes.tolist()
    for item, (old, new) in enumerate(zip(codes.tolist(), changed, strict=True)):
        assert bool(resolved.moved[item]) == (old != new)
        added = error_of(latents[item], new, codebooks) - error_of(latents[item], old, codebooks)
        assert float(resolved.added_error[item]) == pytest.approx(added, abs=1e-9)
    again = resolve(latents, codes, codebooks, remedy)
    assert again.ids.sha256 == resolved.ids.sha256


@ALL
def test_without_collisions_nothing_moves(remedy: Remedy) -> None:
    _, _, codebooks = tokenized(0, size=3)
    codes = torch.tensor([[0, 0], [2, 1], [1, 1]])
    latents = codebooks[0, codes[:, 0]] + codebooks[1, codes[:, 1]]
    resolved = resolve(latents, codes, codebooks, remedy)
    assert torch.equal(resolved.ids.codes, codes)
    assert not resolved.moved.any()
    assert (resolved.added_error == 0).all()


@pytest.mark.parametrize("remedy", [keep_codes, take_nearest_free])
@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_stable_remedy_renames_no_item_when_others_are_added(
    remedy: Remedy, old: int, new: int, seed: int
) -> None:
    latents, codes, codebooks = tokenized(old + new, seed=seed)
    before = resolve(latents[:old], codes[:old], codebooks, remedy)
    after = resolve(latents, codes, codebooks, remedy)
    assert torch.equal(after.ids.ids[:old], before.ids.ids)


def test_the_balanced_last_level_is_not_stable() -> None:
    latents, codes, codebooks = on_a_line()
    before = balance_last_level(latents[:2], codes[:2], codebooks)
    after = balance_last_level(latents, codes, codebooks)
    assert not torch.equal(after[:2], before)


# Nearest free code


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_with_all_beams_the_nearest_free_code_is_the_one_of_brute_force(
    num_items: int, num_levels: int, seed: int
) -> None:
    latents, codes, codebooks = tokenized(num_items, num_levels, seed=seed)
    every = list(product(range(3), repeat=num_levels))
    taken: set[tuple[int, ...]] = set()
    expected = []
    for latent, own in zip(latents, map(tuple, codes.tolist()), strict=True):
        free = [code for code in every if code not in taken]
        if own in taken and free:
            own = min(free, key=lambda code: error_of(latent, code, codebooks))
        taken.add(own)
        expected.append(list(own))
    found = take_nearest_free(latents, codes, codebooks, beams=3 ** (num_levels - 1))
    assert found.tolist() == expected


def test_items_beyond_the_number_of_codes_keep_their_own_and_are_told_apart() -> None:
    latents, codes, codebooks = tokenized(12, size=3)
    resolved = resolve(latents, codes, codebooks, take_nearest_free)
    assert len({tuple(row) for row in resolved.ids.codes.tolist()}) == 9
    assert int((resolved.ids.ids[:, -1] > 0).sum()) == 3


def test_one_beam_is_greedy_above_the_last_level() -> None:
    latents, codes, codebooks = tokenized(20, num_levels=3, size=4)
    for latent, own in zip(latents, codes.tolist(), strict=True):
        near = nearest_codes(latent, codebooks, beams=1)
        assert near.shape == (4, 3)
        assert near[0].tolist() == own
        assert (near[:, :2] == near[0, :2]).all()
        errors = [error_of(latent, code, codebooks) for code in near.tolist()]
        assert errors == sorted(errors)


def test_a_beam_of_no_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="beams is 0"):
        take_nearest_free(*tokenized(3), beams=0)


# Balanced last level


def on_a_line() -> tuple[Tensor, Tensor, Tensor]:
    """Four items that collide at the first of four codewords of the last level."""
    codebooks = torch.tensor([[[0.0]] * 4, [[0.0], [0.4], [0.6], [1.0]]], dtype=torch.float64)
    latents = torch.tensor([[0.0], [0.1], [0.15], [0.2]], dtype=torch.float64)
    return latents, torch.zeros(4, 2, dtype=torch.int64), codebooks


def test_items_of_one_prefix_share_out_the_last_codebook_in_order() -> None:
    assert balance_last_level(*on_a_line()).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]


@given(st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_items_of_prefixes_without_collisions_keep_their_codes(num_items: int, seed: int) -> None:
    latents, codes, codebooks = tokenized(num_items, size=4, seed=seed)
    found = balance_last_level(latents, codes, codebooks)
    assert torch.equal(found[:, :-1], codes[:, :-1])
    rows = [tuple(row) for row in codes.tolist()]
    crowded = {row[:-1] for row in rows if rows.count(row) > 1}
    calm = torch.tensor([row[:-1] not in crowded for row in rows])
    assert torch.equal(found[calm], codes[calm])


def test_items_of_two_prefixes_share_it_out_by_what_their_prefixes_leave() -> None:
    _, _, codebooks = on_a_line()
    codebooks[0, 1] = 10.0
    latents = torch.tensor([[0.0], [0.6], [10.4], [11.0]], dtype=torch.float64)
    codes = torch.tensor([[0, 0], [0, 0], [1, 0], [1, 0]])
    found = balance_last_level(latents, codes, codebooks)
    assert found.tolist() == [[0, 0], [0, 2], [1, 1], [1, 3]]


def test_a_round_that_leaves_no_fewer_collisions_is_taken_back() -> None:
    """Two pairs of equal items; wherever the second went, it would meet the fifth item or stay."""
    _, _, codebooks = on_a_line()
    latents = torch.tensor([[0.0], [0.0], [0.1], [0.1], [1.0]], dtype=torch.float64)
    codes = torch.tensor([[0, 0], [0, 0], [0, 0], [0, 0], [0, 3]])
    assert torch.equal(balance_last_level(latents, codes, codebooks), codes)


def test_items_with_the_same_vector_stay_together() -> None:
    latents, codes, codebooks = tokenized(6, size=4)
    latents, codes = latents[:1].repeat(3, 1), codes[:1].repeat(3, 1)
    resolved = resolve(latents, codes, codebooks, balance_last_level)
    assert len(resolved.ids.collision_groups()[0]) == 3


# Bad input


def test_what_does_not_fit_together_is_refused() -> None:
    latents, codes, codebooks = tokenized(5)
    with pytest.raises(ValueError, match=r"latents is one vector, of shape \(2,\)"):
        resolve(latents[0], codes, codebooks, keep_codes)
    for bad in (latents[:4], latents[:, :1]):
        with pytest.raises(ValueError, match=r"latents have shape .* expected \(5, 2\)"):
            resolve(bad, codes, codebooks, keep_codes)
    with pytest.raises(ValueError, match="codebooks have shape"):
        resolve(latents, codes, codebooks[0], keep_codes)
    with pytest.raises(ValueError, match="codes have shape"):
        resolve(latents, codes[:, :1], codebooks, keep_codes)
    with pytest.raises(ValueError, match="item 0 has code 3 at level 1"):
        resolve(latents, codes.index_fill(1, torch.tensor([0]), 3), codebooks, keep_codes)
    latents[3, 0] = torch.nan
    with pytest.raises(ValueError, match="row 3 of latents"):
        resolve(latents, codes, codebooks, keep_codes)


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_codebooks_of_another_type_are_converted_to_the_latents(
    remedy: Remedy, dtype: torch.dtype
) -> None:
    latents, codes, codebooks = tokenized(20)
    latents, codebooks = latents.to(dtype), codebooks.float()
    expected = resolve(latents, codes, codebooks.to(dtype), remedy)
    for other in (codebooks, codebooks.double()):
        found = resolve(latents, codes, other, remedy)
        assert found.ids.sha256 == expected.ids.sha256
        assert torch.equal(found.added_error, expected.added_error)
        assert found.added_error.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_latents_of_another_type_are_computed_with_in_float32(dtype: torch.dtype) -> None:
    latents, codes, codebooks = tokenized(9)
    latents = (8 * latents).to(dtype)
    for remedy in REMEDIES.values():
        found = resolve(latents, codes, codebooks, remedy)
        expected = resolve(latents.float(), codes, codebooks, remedy)
        assert found.ids.sha256 == expected.ids.sha256
        assert found.added_error.dtype == torch.float32
        assert torch.equal(found.added_error, expected.added_error)


def test_a_remedy_with_other_settings() -> None:
    latents, codes, codebooks = tokenized(9, num_levels=3)
    greedy = resolve(latents, codes, codebooks, partial(take_nearest_free, beams=1))
    assert torch.equal(greedy.ids.codes, take_nearest_free(latents, codes, codebooks, beams=1))
