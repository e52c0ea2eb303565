"""The residual quantizer against brute force, autograd by hand and moving averages by hand."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.kmeans import kmeans
from rqvae_lib.quantize import ResidualQuantizer, code_usage


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quantizer(num_levels: int = 3, codebook_size: int = 5, dim: int = 4, **kwargs: float):
    torch.manual_seed(0)
    return ResidualQuantizer(num_levels, codebook_size, dim, **kwargs)


def vectors(num: int = 20, dim: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(num, dim, generator=seeded(seed))


def greedy_codes(z: Tensor, codebooks: Tensor) -> Tensor:
    """At each level, row by row, the codeword nearest to what is left over."""
    codes = []
    for row in z.double():
        residual, row_codes = row, []
        for codebook in codebooks.double():
            code = int((residual - codebook).square().sum(1).argmin())
            residual = residual - codebook[code]
            row_codes.append(code)
        codes.append(row_codes)
    return torch.tensor(codes)


# Codes and vectors


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_codes_are_the_greedy_ones(seed: int, num_levels: int, size: int, dim: int) -> None:
    model = ResidualQuantizer(num_levels, size, dim).eval()
    model.codebooks.copy_(torch.randn(num_levels, size, dim, generator=seeded(seed)))
    z = vectors(12, dim, seed + 1)
    expected = greedy_codes(z, model.codebooks)
    assert torch.equal(model.encode(z), expected)
    assert torch.equal(model(z).codes, expected)


def test_codewords_and_what_is_left_over_add_up_to_the_vector() -> None:
    model, z = quantizer().eval(), vectors()
    quantized = model(z)
    summed = sum(model.codebooks[level][quantized.codes[:, level]] for level in range(3))
    torch.testing.assert_close(quantized.vectors, summed)
    torch.testing.assert_close(model.decode(quantized.codes), summed)
    residual = z - quantized.vectors
    torch.testing.assert_close(quantized.vectors + residual, z)


def test_a_prefix_decodes_to_a_coarser_vector() -> None:
    model, z = quantizer().eval(), vectors()
    codes = model.encode(z)
    assert torch.equal(model.decode(codes[:, :0]), torch.zeros(20, 4))
    torch.testing.assert_close(model.decode(codes[:, :1]), model.codebooks[0][codes[:, 0]])
    torch.testing.assert_close(
        model.decode(codes[:, :2]),
        model.codebooks[0][codes[:, 0]] + model.codebooks[1][codes[:, 1]],
    )
    assert model.decode(codes[:0]).shape == (0, 4)


def test_k_means_codebooks_lose_less_at_every_level() -> None:
    model, z = quantizer(4, 8).eval(), vectors(300)
    model.init_codebooks(z, generator=seeded())
    codes = model.encode(z)
    errors = [float((z - model.decode(codes[:, :n])).square().sum()) for n in range(5)]
    assert all(after < before for before, after in pairwise(errors))
    assert errors[4] < 0.3 * errors[0]


# Gradients


@pytest.mark.parametrize("num_levels", [1, 2, 3, 7])
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_passes_straight_through_once(num_levels: int, training: bool) -> None:
    model = quantizer(num_levels).train(training)
    z = vectors().requires_grad_()
    weights = vectors(seed=9)
    (model(z).vectors * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    assert model.codebooks.grad is None


@pytest.mark.parametrize("training", [True, False])
def test_loss_and_its_gradient_by_hand(training: bool) -> None:
    model = quantizer(commitment_weight=0.4)
    codebooks = model.codebooks.clone()  # a step in training mode moves them afterwards
    model.train(training)
    z = vectors().requires_grad_()
    loss = model(z).loss
    (loss * torch.arange(20)).sum().backward()
    codes = greedy_codes(z.detach(), codebooks)
    expected, gradient, residual = torch.zeros(20), torch.zeros(20, 4), z.detach()
    for level in range(3):
        residual = residual - codebooks[level][codes[:, level]]
        expected += 0.4 * residual.square().sum(1)
        gradient += 2 * 0.4 * residual  # the residual of every level moves one to one with z
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(z.grad, gradient * torch.arange(20)[:, None])


def test_commitment_weight_zero_costs_nothing() -> None:
    assert torch.equal(quantizer(commitment_weight=0.0)(vectors()).loss, torch.zeros(20))


# Moving averages


def test_averages_follow_the_rows_by_hand_over_several_steps() -> None:
    decay, num_steps = 0.8, 6
    model = quantizer(2, 4, 3, ema_decay=decay, dead_after=1000)
    books = model.codebooks.double().clone()
    rows_average, sum_average = torch.zeros(2, 4).double(), torch.zeros(2, 4, 3).double()
    for step in range(num_steps):
        z = vectors(10, 3, seed=step)
        residual, codes = z.double(), greedy_codes(z, books)
        for level in range(2):
            reached = residual
            residual = reached - books[level][codes[:, level]]
            for code in range(4):
                mine = reached[codes[:, level] == code]
                rows_average[level, code] *= decay
                rows_average[level, code] += (1 - decay) * len(mine)
                sum_average[level, code] *= decay
                sum_average[level, code] += (1 - decay) * mine.sum(0)
                if rows_average[level, code] > 1e-3:
                    books[level, code] = sum_average[level, code] / rows_average[level, code]
        assert torch.equal(model(z).codes, codes)
        torch.testing.assert_close(model.codebooks.double(), books, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.rows_average.double(), rows_average, rtol=1e-4, atol=1e-6)


def test_a_codeword_that_no_row_ever_chose_stays() -> None:
    model = quantizer(1, 2, 2, dead_after=1000)
    model.codebooks.copy_(torch.tensor([[[0.0, 0.0], [100.0, 100.0]]]))
    for seed in range(30):
        model(vectors(8, 2, seed))
    assert torch.equal(model.codebooks[0, 1], torch.tensor([100.0, 100.0]))
    assert not torch.equal(model.codebooks[0, 0], torch.zeros(2))


def test_the_first_batches_do_not_undo_k_means() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2000, 4, generator=generator)
    model = quantizer(2, 64, 4, dead_after=1000)
    model.init_codebooks(z, generator=generator)
    before = (z - model.decode(model.encode(z))).square().sum(1).mean()
    model.train()
    for step in range(20):
        model(z[step * 64 : (step + 1) * 64])
    after = (z - model.decode(model.encode(z))).square().sum(1).mean()
    assert after < 1.1 * before


def test_averages_settle_on_the_k_means_solution_of_a_fixed_batch() -> None:
    z = vectors(200, 2)
    settled = kmeans(z, 6, generator=seeded(), num_iterations=100)
    model = quantizer(1, 6, 2, ema_decay=0.5)
    model.codebooks[0] = settled.centroids + 0.01
    for _ in range(30):
        model(z)
    torch.testing.assert_close(model.codebooks[0], settled.centroids, rtol=1e-3, atol=1e-3)


def test_evaluation_mode_changes_nothing() -> None:
    model = quantizer(dead_after=1).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for seed in range(3):
        model(vectors(seed=seed))
        model.encode(vectors(seed=seed))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.train()(vectors())
    assert not torch.equal(model.codebooks, before["codebooks"])


# Dead codewords


def dying(dead_after: int) -> ResidualQuantizer:
    """A quantizer whose second codeword no row will ever choose."""
    model = quantizer(1, 2, 2, dead_after=dead_after)
    model.codebooks.copy_(torch.tensor([[[0.0, 0.0], [100.0, 100.0]]]))
    return model


def test_a_dead_codeword_is_moved_onto_a_row_after_dead_after_steps_and_not_before() -> None:
    model, far = dying(dead_after=4), torch.tensor([100.0, 100.0])
    for step in range(4):
        assert torch.equal(model.codebooks[0, 1], far), step
        assert model.unused_steps[0].tolist() == [0, step]
        z = vectors(8, 2, seed=step)
        model(z)
    assert any(torch.equal(model.codebooks[0, 1], row) for row in z)
    assert model.unused_steps[0].tolist() == [0, 0]
    torch.testing.assert_close(  # the averages agree with the new place
        model.sum_average[0, 1] / model.rows_average[0, 1], model.codebooks[0, 1]
    )
    codes = model.eval()(z).codes[:, 0]
    assert 1 in codes.tolist()


def test_a_single_row_keeps_a_codeword_alive() -> None:
    model = dying(dead_after=4)
    for step in range(12):
        z = vectors(8, 2, seed=step)
        if step % 4 == 3:
            z[0] = 100.0
        model(z)
        assert float(model.codebooks[0, 1].norm()) > 50


def test_the_move_depends_on_torchs_seed_alone() -> None:
    def moved(seed: int) -> Tensor:
        model = dying(dead_after=1)
        torch.manual_seed(seed)
        model(vectors(64, 2))
        return model.codebooks[0, 1].clone()

    assert torch.equal(moved(3), moved(3))
    assert any(not torch.equal(moved(3), moved(seed)) for seed in range(4, 8))


def test_more_dead_codewords_than_rows_are_moved_as_far_as_rows_go() -> None:
    model = quantizer(1, 6, 2, dead_after=1)
    model.codebooks.copy_(100 + torch.arange(12.0).view(1, 6, 2))
    model.codebooks[0, 0] = 0
    z = vectors(3, 2)
    model(z)
    moved = [any(torch.equal(word, row) for row in z) for word in model.codebooks[0]]
    assert moved == [False, True, True, True, False, False]
    assert len({tuple(word) for word in model.codebooks[0, 1:4].tolist()}) == 3


# Starting from k-means


def test_codebooks_start_at_the_k_means_of_the_residuals() -> None:
    model, z = quantizer(3, 5, 4), vectors(100)
    assert not model.initialized
    model.init_codebooks(z, generator=seeded(4))
    generator, residual = seeded(4), z
    for level in range(3):
        expected = kmeans(residual, 5, generator=generator)
        assert torch.equal(model.codebooks[level], expected.centroids)
        residual = residual - expected.centroids[expected.codes]
    assert model.initialized


def test_the_start_survives_save_and_load() -> None:
    model, z = quantizer(), vectors(60)
    model.init_codebooks(z, generator=seeded())
    model(z)
    other = ResidualQuantizer(3, 5, 4)
    other.load_state_dict(model.state_dict())
    assert other.initialized
    assert torch.equal(other.encode(z), model.encode(z))
    # The averages survive too: both make the same next step.
    model(z + 0.1), other(z + 0.1)
    assert torch.equal(other.codebooks, model.codebooks)


def test_fewer_vectors_than_codewords_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="5 clusters were asked of 4 rows"):
        quantizer().init_codebooks(vectors(4), generator=seeded())
    z = vectors()
    z[3, 0] = math.nan
    model = quantizer()
    with pytest.raises(ValueError, match="row 3 of x holds a NaN"):
        model.init_codebooks(z, generator=seeded())
    assert not model.initialized


# Usage


def test_code_usage_on_worked_examples() -> None:
    codes = torch.tensor([[0, 0, 1], [1, 0, 1], [2, 0, 1], [3, 3, 0]])
    usage = code_usage(codes, 4)
    torch.testing.assert_close(usage.utilisation, torch.tensor([1.0, 0.5, 0.5]))
    # Shares (1/4 four times): perplexity 4. Shares (3/4, 1/4): exp(0.75 ln 4/3 + 0.25 ln 4).
    uneven = math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    torch.testing.assert_close(usage.perplexity, torch.tensor([4.0, uneven, uneven]))
    collapsed = code_usage(torch.full((10, 1), 2), 8)
    torch.testing.assert_close(collapsed.utilisation, torch.tensor([1 / 8]))
    torch.testing.assert_close(collapsed.perplexity, torch.tensor([1.0]))
