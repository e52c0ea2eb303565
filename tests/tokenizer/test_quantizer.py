"""The residual quantizer against brute force, autograd by hand and moving averages by hand."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from rqvae_lib.ops.kmeans import kmeans
from rqvae_lib.ops.shares import sharing
from rqvae_lib.ops.world import current_world
from rqvae_lib.tokenizer.config import check_choices
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer
from tests.worlds import in_world

# How gradients pass and how codewords learn: every pair that there is.
WAYS = [
    ("straight-through", "average"),
    ("straight-through", "gradient"),
    ("rotation", "average"),
    ("rotation", "gradient"),
    ("gumbel", "gradient"),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quantizer(num_levels: int = 3, codebook_size: int = 5, dim: int = 4, **kwargs: object):
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
    model.codebooks.data.copy_(torch.randn(num_levels, size, dim, generator=seeded(seed)))
    z = vectors(12, dim, seed + 1)
    expected = greedy_codes(z, model.codebooks)
    assert torch.equal(model.encode(z), expected)
    assert torch.equal(model(z).codes, expected)
    assert torch.equal(model.train()(z).codes, expected)


@pytest.mark.parametrize("num_levels", [1, 3, 6])
@pytest.mark.parametrize(
    ("estimator", "learning", "training"),
    [
        (*way, training)
        for way in WAYS
        for training in (True, False)
        if not (training and way[0] == "gumbel")  # a mixture is not a sum of codewords
    ],
)
def test_quantized_vectors_equal_decoded_codes_bit_for_bit(
    estimator: str, learning: str, training: bool, num_levels: int
) -> None:
    model = quantizer(num_levels, 16, 5, estimator=estimator, learning=learning, dead_after=1)
    before = quantizer(num_levels, 16, 5, estimator=estimator, learning=learning)
    before.load_state_dict(model.state_dict())  # a step in training moves the codewords after it
    z = vectors(200, 5) * torch.logspace(-3, 3, 200)[:, None]
    z[7] = 0
    quantized = model.train(training)(z)
    assert torch.equal(quantized.vectors, before.decode(quantized.codes))
    assert torch.equal(quantized.codes, greedy_codes(z, before.codebooks.detach()))
    assert torch.equal(model.codebooks, before.codebooks) != training  # the step did move them


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
@pytest.mark.parametrize("learning", ["average", "gradient"])
def test_the_gradient_passes_straight_through_once(
    num_levels: int, training: bool, learning: str
) -> None:
    model = quantizer(num_levels, learning=learning).train(training)
    z = vectors().requires_grad_()
    weights = vectors(seed=9)
    (model(z).vectors * weights).sum().backward()
    assert torch.equal(z.grad, weights)
    assert model.codebooks.grad is None


@pytest.mark.parametrize("num_levels", [1, 2, 3, 7])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("learning", ["average", "gradient"])
def test_the_gradient_is_rotated_once_whatever_the_number_of_levels(
    num_levels: int, training: bool, learning: str
) -> None:
    """One λR from z onto the sum of all codewords, not one per level."""
    model = quantizer(num_levels, estimator="rotation", learning=learning).train(training)
    z = vectors().requires_grad_()
    weights = vectors(seed=9)
    quantized = model(z)
    (quantized.vectors * weights).sum().backward()
    assert model.codebooks.grad is None
    start, end = z.detach().double(), quantized.vectors.detach().double()
    for row in range(20):
        u, v = start[row] / start[row].norm(), end[row] / end[row].norm()
        w = (u + v) / (u + v).norm()
        rotation = torch.eye(4) - 2 * torch.outer(w, w) + 2 * torch.outer(v, u)
        expected = end[row].norm() / start[row].norm() * rotation.T @ weights[row].double()
        torch.testing.assert_close(z.grad[row].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("estimator", ["straight-through", "rotation"])
@pytest.mark.parametrize("training", [True, False])
def test_loss_and_its_gradient_by_hand(training: bool, estimator: str) -> None:
    model = quantizer(commitment_weight=0.4, estimator=estimator)
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
    assert not model.codebooks.requires_grad  # an optimizer has nothing to move
    assert model.codebooks.grad is None


def test_commitment_weight_zero_costs_nothing() -> None:
    assert torch.equal(quantizer(commitment_weight=0.0)(vectors()).loss, torch.zeros(20))


# Codewords that learn by gradient


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("estimator", ["straight-through", "rotation"])
def test_both_terms_of_the_loss_and_their_gradients_by_hand(estimator: str, training: bool) -> None:
    model = quantizer(
        commitment_weight=0.4, estimator=estimator, learning="gradient", dead_after=0
    ).train(training)
    books = model.codebooks.detach()
    z = vectors().requires_grad_()
    loss, weights = model(z).loss, torch.arange(20)
    (loss * weights).sum().backward()
    codes = greedy_codes(z.detach(), books)
    expected, to_z, to_books = torch.zeros(20), torch.zeros(20, 4), torch.zeros(3, 5, 4)
    for row in range(20):
        residual = z.detach()[row]
        for level in range(3):
            left = residual - books[level, codes[row, level]]
            expected[row] += (1 + 0.4) * left.square().sum()  # codebook term, commitment term
            to_z[row] += weights[row] * 0.4 * 2 * left  # of the commitment term alone
            to_books[level, codes[row, level]] -= weights[row] * 2 * left  # of the codebook term
            residual = left
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(z.grad, to_z)
    torch.testing.assert_close(model.codebooks.grad, to_books)


@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_moving_dead_codewords_does_not_disturb_the_gradient_of_the_same_step(
    estimator: str, learning: str
) -> None:
    def gradients(dead_after: int) -> tuple[Tensor, Tensor | None, bool]:
        model = quantizer(2, 8, 3, estimator=estimator, learning=learning, dead_after=dead_after)
        before, z = model.codebooks.detach().clone(), vectors(9, 3).requires_grad_()
        torch.manual_seed(1)
        quantized = model(z)
        (quantized.vectors.square().sum() + quantized.loss.sum()).backward()
        moved = not torch.equal(model.codebooks.detach(), before)
        return z.grad, model.codebooks.grad, moved

    z_still, books_still, _ = gradients(0)
    z_moved, books_moved, moved = gradients(1)
    assert moved
    if learning == "gradient":
        assert torch.equal(books_moved, books_still)
        assert books_still.abs().sum() > 0
    assert torch.equal(z_moved, z_still)


def test_codewords_by_gradient_settle_on_the_k_means_solution_of_a_fixed_batch() -> None:
    z = vectors(200, 2)
    settled = kmeans(z, 6, generator=seeded(), num_iterations=100)
    model = quantizer(1, 6, 2, learning="gradient")
    model.codebooks.data[0] = settled.centroids + 0.01
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for _ in range(100):
        optimizer.zero_grad()
        model(z).loss.mean().backward()
        optimizer.step()
    torch.testing.assert_close(model.codebooks.data[0], settled.centroids, rtol=1e-3, atol=1e-3)


# Gumbel-softmax


def gumbel(num_levels: int = 3, **kwargs: object) -> ResidualQuantizer:
    return quantizer(num_levels, estimator="gumbel", learning="gradient", **kwargs)


def mixed_by_hand(
    z: Tensor, books: Tensor, temperature: float, commitment_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, mixtures and loss, from plain distances and noise out of torch's generator."""
    residual, summed, loss, codes = z, 0, 0, []
    for book in books:
        distances = (residual[:, None] - book[None]).square().sum(2)
        noise = -torch.empty_like(distances).exponential_().log()
        weights = ((noise - distances) / temperature).softmax(1)
        codes.append(weights.argmax(1))
        mixture = weights @ book
        loss = loss + (residual.detach() - mixture).square().sum(1)
        loss = loss + commitment_weight * (residual - mixture.detach()).square().sum(1)
        summed, residual = summed + mixture, residual - mixture
    return torch.stack(codes, 1), summed, loss


@pytest.mark.parametrize("num_levels", [1, 3])
def test_a_gumbel_step_and_its_gradients_by_hand(num_levels: int) -> None:
    model = gumbel(num_levels, commitment_weight=0.4, temperature=0.6, dead_after=1)
    books = model.codebooks.detach().clone().requires_grad_()
    z, z_by_hand = vectors().requires_grad_(), vectors().requires_grad_()
    weights = vectors(seed=9)
    torch.manual_seed(5)
    quantized = model(z)
    ((quantized.vectors * weights).sum() + quantized.loss.sum()).backward()
    torch.manual_seed(5)
    codes, mixture, loss = mixed_by_hand(z_by_hand, books, 0.6, 0.4)
    ((mixture * weights).sum() + loss.sum()).backward()
    assert torch.equal(quantized.codes, codes)
    torch.testing.assert_close(quantized.vectors, mixture)
    torch.testing.assert_close(quantized.loss, loss)
    torch.testing.assert_close(z.grad, z_by_hand.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.codebooks.grad, books.grad, rtol=1e-4, atol=1e-5)


def test_gradients_of_the_gumbel_mixture_equal_finite_differences() -> None:
    model = gumbel(2, temperature_decay=1.0, dead_after=0).double()
    z = vectors(4, 4).double().requires_grad_()
    books = model.codebooks.detach().clone().requires_grad_()

    def mixture(z: Tensor, codebooks: Tensor) -> Tensor:
        torch.manual_seed(3)
        return functional_call(model, {"codebooks": codebooks}, z).vectors

    assert torch.autograd.gradcheck(mixture, (z, books))


def test_gumbel_training_draws_and_evaluation_does_not() -> None:
    model, z = gumbel(), vectors()
    drawn = [model(z).codes for _ in range(3)]
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(model.eval()(z).codes, greedy_codes(z, model.codebooks.detach()))
    assert torch.equal(model(z).vectors, model(z).vectors)


def test_the_temperature_falls_by_a_factor_a_step_to_its_floor() -> None:
    model = gumbel(temperature=2.0, final_temperature=0.5, temperature_decay=0.7)
    expected = [2.0 * 0.7**step for step in range(4)] + [0.5, 0.5]  # 2 · 0.7⁴ would be 0.4802
    for step, temperature in enumerate(expected):
        assert float(model.temperature) == pytest.approx(temperature), step
        torch.manual_seed(step)
        books = model.codebooks.detach().clone()
        vectors_got = model(vectors(seed=step)).vectors.detach()
        torch.manual_seed(step)  # the step is taken at the temperature before it falls
        by_hand = mixed_by_hand(vectors(seed=step), books, temperature, 0)[1]
        torch.testing.assert_close(vectors_got, by_hand)
    model.eval()(vectors())
    assert float(model.temperature) == 0.5
    cold = gumbel(temperature=2.0, temperature_decay=0.7).eval()
    cold(vectors())
    assert float(cold.temperature) == 2.0


def test_the_temperature_survives_save_and_load() -> None:
    model = gumbel(temperature_decay=0.5, final_temperature=0.01)
    model(vectors()), model(vectors())
    assert float(model.temperature) == 0.25
    other = gumbel(temperature_decay=0.5, final_temperature=0.01)
    other.load_state_dict(model.state_dict())
    torch.manual_seed(1)
    expected = model(vectors()).vectors
    torch.manual_seed(1)
    assert torch.equal(other(vectors()).vectors, expected)
    assert float(other.temperature) == float(model.temperature) == 0.125


@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_the_state_holds_what_the_way_of_learning_needs(estimator: str, learning: str) -> None:
    expected = {"codebooks", "initialized", "unused_rows"}
    if learning == "average":
        expected |= {"rows_average", "sum_average"}
    if estimator == "gumbel":
        expected |= {"temperature"}
    model = quantizer(estimator=estimator, learning=learning)
    assert set(model.state_dict()) == expected
    assert model.codebooks.requires_grad == (learning == "gradient")


@pytest.mark.parametrize(
    ("estimator", "learning", "sentence"),
    [
        ("sideways", "average", "estimator is 'sideways'; it must be one of .'straight-through'"),
        ("rotation", "osmosis", "learning is 'osmosis'; it must be one of .'average', 'gradient'"),
        ("gumbel", "average", "choose learning='gradient' with it"),
    ],
)
def test_ways_that_do_not_exist_are_refused(estimator: str, learning: str, sentence: str) -> None:
    for refuse in (check_choices, lambda e, n: quantizer(estimator=e, learning=n)):
        with pytest.raises(ValueError, match=sentence):
            refuse(estimator, learning)


# Moving averages


@pytest.mark.parametrize("estimator", ["straight-through", "rotation"])
def test_averages_follow_the_rows_by_hand_over_several_steps(estimator: str) -> None:
    decay, num_steps = 0.8, 6
    model = quantizer(2, 4, 3, ema_decay=decay, dead_after=1000, estimator=estimator)
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


@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_evaluation_mode_changes_nothing(estimator: str, learning: str) -> None:
    model = quantizer(dead_after=1, estimator=estimator, learning=learning).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for seed in range(3):
        model(vectors(seed=seed))
        model.encode(vectors(seed=seed))
        model.decode(model.encode(vectors(seed=seed)))
        model.residual_norms(vectors(seed=seed))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    model.train()(vectors() + 5)  # far from most codewords: some die
    assert not torch.equal(model.codebooks, before["codebooks"])


# Dead codewords


def dying(dead_after: int, **kwargs: object) -> ResidualQuantizer:
    """A quantizer whose second codeword no row will ever choose."""
    model = quantizer(1, 2, 2, dead_after=dead_after, **kwargs)
    model.codebooks.data.copy_(torch.tensor([[[0.0, 0.0], [100.0, 100.0]]]))
    return model


def test_a_dead_codeword_is_moved_onto_a_row_after_its_fair_shares_and_not_before() -> None:
    # Four fair shares of two codewords are eight rows; at three per step, the third moves it.
    model, far = dying(dead_after=4), torch.tensor([100.0, 100.0])
    for step in range(3):
        assert torch.equal(model.codebooks[0, 1], far), step
        assert model.unused_rows[0].tolist() == [0, 3 * step]
        z = vectors(3, 2, seed=step)
        model(z)
    assert any(torch.equal(model.codebooks[0, 1], row) for row in z)
    assert model.unused_rows[0].tolist() == [0, 0]
    torch.testing.assert_close(  # the averages agree with the new place
        model.sum_average[0, 1] / model.rows_average[0, 1], model.codebooks[0, 1]
    )
    codes = model.eval()(z).codes[:, 0]
    assert 1 in codes.tolist()


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("learning", ["average", "gradient"])
def test_how_many_rows_until_death_does_not_depend_on_the_batch_size(
    batch_size: int, learning: str
) -> None:
    model, rows = dying(dead_after=24, learning=learning), vectors(64, 2)
    died_after = None
    for start in range(0, 64, batch_size):
        model(rows[start : start + batch_size])
        if died_after is None and float(model.codebooks.detach()[0, 1].norm()) < 50:
            died_after = start + batch_size
    assert died_after == 48  # 24 fair shares of one in two


@pytest.mark.parametrize(("codebook_size", "dead_after"), [(2, 6), (3, 4), (4, 3), (12, 1)])
def test_a_fair_share_is_one_row_in_as_many_as_there_are_codewords(
    codebook_size: int, dead_after: int
) -> None:
    model = quantizer(1, codebook_size, 2, dead_after=dead_after)
    model.codebooks.copy_(100.0 + torch.arange(codebook_size)[:, None].expand(-1, 2))
    model.codebooks[0, 0] = 0
    for row in range(12):
        assert float(model.codebooks[0, 1:].norm(dim=1).min()) > 100, row
        model(vectors(1, 2, seed=row))
    moved = model.codebooks[0, 1:].norm(dim=1) < 50
    assert int(moved.sum()) == 1  # a batch of one row revives one of them


def test_a_single_row_keeps_a_codeword_alive() -> None:
    model = dying(dead_after=16)  # 32 rows, four steps
    for step in range(12):
        z = vectors(8, 2, seed=step)
        if step % 4 == 3:
            z[0] = 100.0
        model(z)
        assert float(model.codebooks[0, 1].norm()) > 50
        assert int(model.unused_rows[0, 1]) == (step + 1) % 4 * 8


@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_dead_after_zero_leaves_dead_codewords_dead(estimator: str, learning: str) -> None:
    model = dying(dead_after=0, estimator=estimator, learning=learning)
    for step in range(50):
        model(vectors(8, 2, seed=step))
    assert model.codebooks.detach()[0, 1].tolist() == [100.0, 100.0]


@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_a_codeword_at_rest_is_moved_whatever_the_way_of_learning(
    estimator: str, learning: str
) -> None:
    model, z = dying(dead_after=4, estimator=estimator, learning=learning), vectors(8, 2)
    model(z)
    assert any(torch.equal(model.codebooks.detach()[0, 1], row) for row in z)


def test_the_dead_of_each_level_are_moved_by_hand_over_several_steps() -> None:
    """Three levels, each with dead of its own, onto rows that reach that level."""
    num_levels, size, dim, num_rows, dead_after = 3, 6, 2, 4, 2
    model = quantizer(num_levels, size, dim, dead_after=dead_after, learning="gradient")
    model.codebooks.data.copy_(2 * torch.randn(num_levels, size, dim, generator=seeded(5)))
    books = model.codebooks.detach().clone()
    unused = torch.zeros(num_levels, size, dtype=torch.int64)
    moves = [0] * num_levels
    for step in range(12):
        z = vectors(num_rows, dim, seed=step)
        torch.manual_seed(step)
        model(z)
        torch.manual_seed(step)
        order = torch.randperm(num_rows).tolist()
        residual, codes = z, greedy_codes(z, books)
        new = books.clone()
        for level in range(num_levels):
            rows_left = list(order)  # a row serves one dead codeword of a level
            for code in range(size):
                used = code in codes[:, level].tolist()
                unused[level, code] = 0 if used else unused[level, code] + num_rows
                if unused[level, code] >= dead_after * size and rows_left:
                    new[level, code] = residual[rows_left.pop(0)]
                    unused[level, code] = 0
                    moves[level] += 1
            residual = residual - books[level][codes[:, level]]
        books = new
        torch.testing.assert_close(model.codebooks.detach(), books, rtol=0, atol=1e-6)
        assert torch.equal(model.unused_rows, unused)
    assert min(moves) >= 3


def test_a_moved_codeword_weighs_as_much_as_the_average_one_of_its_level() -> None:
    model = quantizer(2, 3, 2, dead_after=1, ema_decay=0.5)
    model.codebooks.copy_(
        torch.tensor(
            [[[0.0, 0.0], [9.0, 9.0], [90.0, 90.0]], [[0.0, 0.0], [0.1, 0.0], [50.0, 0.0]]]
        )
    )
    model.rows_average.copy_(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    model.sum_average.copy_(model.codebooks * model.rows_average[..., None])
    z = torch.tensor([[0.5, 0.5], [0.6, 0.6], [9.5, 9.5], [9.0, 8.9]])
    codes = model.eval()(z).codes
    assert 2 not in codes.flatten().tolist()
    model.train()(z)
    for level in range(2):
        counts = torch.bincount(codes[:, level], minlength=3)
        # After the step of the averages: half of the old, half of the new counts.
        followed = 0.5 * torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]][level]) + 0.5 * counts
        expected = followed.clone()
        expected[counts == 0] = followed.mean()
        torch.testing.assert_close(model.rows_average[level], expected)
        torch.testing.assert_close(
            model.sum_average[level], expected[:, None] * model.codebooks[level]
        )
    assert any(torch.equal(model.codebooks[0, 2], row) for row in z)
    reached = z - torch.tensor([[0.0, 0.0], [9.0, 9.0]])[codes[:, 0]]
    assert any(torch.equal(model.codebooks[1, 2], row) for row in reached)


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
    model(z + 0.5)
    model(z)  # six rows have gone by: a fair share of each codeword
    moved = [any(torch.equal(word, row) for row in z) for word in model.codebooks[0]]
    assert moved == [False, True, True, True, False, False]
    assert len({tuple(word) for word in model.codebooks[0, 1:4].tolist()}) == 3
    assert model.unused_rows[0].tolist() == [0, 0, 0, 0, 6, 6]  # those two wait for the next step
    later = vectors(3, 2, seed=8)
    model(later)
    assert all(any(torch.equal(word, row) for row in later) for word in model.codebooks[0, 4:])


def test_every_dead_codeword_gets_a_row_of_its_own_at_every_level() -> None:
    model = quantizer(3, 9, 4, dead_after=1)
    model.codebooks.fill_(1000.0)  # all rows choose the first of equals: eight die a level
    model.codebooks[1:] = 0.0
    z = vectors(9, 4)
    model(z)
    for level in range(3):
        dead = model.codebooks[level, 1:]
        assert len({tuple(word) for word in dead.tolist()}) == 8
        reached = z if level == 0 else z - 1000.0
        assert {tuple(word) for word in dead.tolist()} < {tuple(row) for row in reached.tolist()}


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
    assert torch.equal(model.encode(z)[:, 0], kmeans(z, 5, generator=seeded(4)).codes)
    torch.testing.assert_close(z - model.decode(model.encode(z)), residual)


def test_the_start_counts_each_codeword_once_and_forgets_who_was_unused() -> None:
    model = quantizer(3, 5, 4)
    model(vectors(50) + 3)
    assert model.unused_rows.sum() > 0
    model.init_codebooks(vectors(100), generator=seeded())
    assert torch.equal(model.rows_average, torch.ones(3, 5))
    assert torch.equal(model.sum_average, model.codebooks)
    assert model.unused_rows.sum() == 0


@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_the_start_is_the_same_whatever_the_way_of_learning(estimator: str, learning: str) -> None:
    model, z = quantizer(estimator=estimator, learning=learning), vectors(100)
    model.init_codebooks(z, generator=seeded())
    plain = quantizer()
    plain.init_codebooks(z, generator=seeded())
    assert torch.equal(model.codebooks, plain.codebooks)
    assert model.codebooks.requires_grad == (learning == "gradient")
    assert model.state_dict()["initialized"]


def test_the_start_survives_save_and_load() -> None:
    model, z = quantizer(), vectors(60)
    model.init_codebooks(z, generator=seeded())
    model(z)
    other = ResidualQuantizer(3, 5, 4)
    other.load_state_dict(model.state_dict())
    assert other.initialized
    assert torch.equal(other.encode(z), model.encode(z))
    # The averages survive too, and who was unused: both make the same next steps.
    before = model.codebooks.clone()
    for _ in range(3):
        torch.manual_seed(2)
        model(z + 4)
        torch.manual_seed(2)
        other(z + 4)
    assert torch.equal(other.codebooks, model.codebooks)
    assert torch.equal(other.unused_rows, model.unused_rows)
    assert not torch.equal(model.codebooks, before)
    assert model.unused_rows.sum() > 0


def test_fewer_vectors_than_codewords_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="num_clusters is 5, but x has 4 rows"):
        quantizer().init_codebooks(vectors(4), generator=seeded())
    z = vectors()
    z[3, 0] = math.nan
    model = quantizer()
    with pytest.raises(ValueError, match="row 3 of x holds a NaN"):
        model.init_codebooks(z, generator=seeded())
    assert not model.initialized


@pytest.mark.parametrize("value", [0.0, 0.1, -70.3])
@pytest.mark.parametrize(("estimator", "learning"), WAYS)
def test_vectors_that_are_all_alike_give_finite_numbers(
    value: float, estimator: str, learning: str
) -> None:
    model, z = quantizer(estimator=estimator, learning=learning), torch.full((30, 4), value)
    model.init_codebooks(z, generator=seeded())
    torch.testing.assert_close(model.decode(model.encode(z)), z, rtol=1e-5, atol=1e-5)
    z.requires_grad_()
    quantized = model(z)
    (quantized.vectors.sum() + quantized.loss.sum()).backward()
    for numbers in (quantized.vectors, quantized.loss, z.grad, model.codebooks.detach()):
        assert numbers.isfinite().all()


def test_one_vector_and_no_vector() -> None:
    model, z = quantizer(3, 1, 4), vectors(1)
    model.init_codebooks(z, generator=seeded())
    assert torch.equal(model.decode(model.encode(z)), z)
    model(z)  # a step on a batch of one row
    torch.testing.assert_close(model.decode(model.encode(z)), z)
    nothing = quantizer(3).eval()
    assert nothing.encode(z[:0]).shape == (0, 3)
    assert nothing.encode(z[:0]).dtype == torch.int64
    assert [part.shape for part in nothing(z[:0])] == [(0, 3), (0, 4), (0,)]


def test_more_codes_than_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="codes have 4 columns, but there are 3 levels"):
        quantizer().decode(torch.zeros(2, 4, dtype=torch.int64))


# Usage


def test_residual_norms_by_hand() -> None:
    model, z = quantizer().eval(), vectors()
    expected, codes = torch.zeros(4), greedy_codes(z, model.codebooks)
    for row in range(20):
        residual = z[row].double()
        expected[0] += math.sqrt(float(residual.square().sum())) / 20
        for level in range(3):
            residual = residual - model.codebooks[level, codes[row, level]].double()
            expected[level + 1] += math.sqrt(float(residual.square().sum())) / 20
    torch.testing.assert_close(model.residual_norms(z), expected)


# Several processes that train together


def steps_together(num_rows: list[int]) -> dict[str, dict[str, Tensor]]:
    """Every way to learn, some steps on shares of batches, with codewords that die and move.

    Returns:
        By the names of a way: the state dict at the end, the codes of all rows, their vectors, and
        how often codewords moved.
    """
    world = current_world()
    found = {}
    for estimator, learning in WAYS:
        model = quantizer(3, 16, 4, estimator=estimator, learning=learning, dead_after=2)
        codes, quantized, moved = [], [], 0
        for step, rows in enumerate(num_rows):
            torch.manual_seed(step)
            z = vectors(rows, seed=step)
            with sharing(z, world.rows(rows)):
                result = model(z[world.rows(rows)])
            codes.append(world.all_rows(result.codes))
            for level, unused in enumerate(model.unused_rows):
                chosen = torch.bincount(codes[-1][:, level], minlength=16)
                moved += int(((unused == 0) & (chosen == 0)).sum())
            if learning == "gradient":
                (result.loss.sum() / rows).backward()
                with torch.no_grad():
                    model.codebooks -= 0.1 * world.sum(model.codebooks.grad)
                model.codebooks.grad = None
            quantized.append(world.all_rows(result.vectors.detach()))
        found[f"{estimator} {learning}"] = {
            **model.state_dict(),
            "codes": torch.cat(codes),
            "vectors": torch.cat(quantized),
            "moved": torch.tensor(moved),
        }
    return found


@pytest.mark.usefixtures("one_thread")
def test_codewords_learn_from_the_whole_batch_whatever_the_number_of_processes() -> None:
    num_rows = [40, 64, 64, 3, 1, 7, 64, 64, 64, 64]  # some have no row for each process
    expected = steps_together(num_rows)
    assert all(found["moved"] > 10 for found in expected.values())
    ranks = in_world(3, steps_together, num_rows)
    for way, alone in expected.items():
        for found in ranks:
            assert found[way].keys() == alone.keys()
            for name, value in alone.items():
                torch.testing.assert_close(found[way][name], value, rtol=1e-5, atol=1e-6)
                # All processes hold the same: nothing is copied from one to the others.
                assert torch.equal(found[way][name], ranks[0][way][name])
                if way.endswith("average"):  # sums are in the order of one process
                    assert torch.equal(found[way][name], value)
