"""The exercises of chapter 03 turn typical wrong answers down, each with the hint that it needs."""

import pytest
import torch

from rqvae_lib.exercises import chapter_03 as checks


def squared(x, centroids):
    return (x[:, None] - centroids).square().sum(2)  # (N, K)


def margin_right(x, centroids):
    scores = centroids.square().sum(1) - 2 * x @ centroids.T
    two = scores.topk(2, largest=False).values
    return two[:, 1] - two[:, 0]


def margin_halved(x, centroids):
    return margin_right(x, centroids) / 2


def margin_of_distances(x, centroids):
    two = squared(x, centroids).sqrt().topk(2, largest=False).values
    return two[:, 1] - two[:, 0]


def margin_to_the_farthest(x, centroids):
    distances = squared(x, centroids)
    return distances.max(1).values - distances.min(1).values


def margin_of_the_first_two(x, centroids):
    distances = squared(x, centroids)
    return (distances[:, 1] - distances[:, 0]).abs()


def margin_without_lengths(x, centroids):
    two = (2 * x @ centroids.T).topk(2).values
    return two[:, 0] - two[:, 1]


def update_right(x, codes, centroids):
    means = centroids.clone()
    for code in codes.unique():
        means[code] = x[codes == code].mean(0)
    return means


def update_sums(x, codes, centroids):
    return torch.zeros_like(centroids).index_add_(0, codes, x)


def update_divides_by_all(x, codes, centroids):
    return update_sums(x, codes, centroids) / len(x)


def update_nan(x, codes, centroids):
    counts = torch.bincount(codes, minlength=len(centroids))
    return update_sums(x, codes, centroids) / counts[:, None]


def update_zero(x, codes, centroids):
    counts = torch.bincount(codes, minlength=len(centroids))
    return update_sums(x, codes, centroids) / counts.clamp(min=1)[:, None]


def update_forgets_the_last(x, codes, centroids):
    return update_right(x, codes, centroids)[: int(codes.max()) + 1]


def update_asks_the_sums(x, codes, centroids):
    means = update_zero(x, codes, centroids)
    return torch.where(means == 0, centroids, means)


def draw_right(x, centroids):
    distances = squared(x, centroids).min(1).values
    if distances.sum() == 0:
        distances = torch.ones_like(distances)
    return distances / distances.sum()


def draw_unsquared(x, centroids):
    distances = squared(x, centroids).min(1).values.sqrt()
    return distances / distances.sum()


def draw_not_normalised(x, centroids):
    return squared(x, centroids).min(1).values


def draw_from_the_sum(x, centroids):
    distances = squared(x, centroids).sum(1)
    return distances / distances.sum()


def draw_from_the_last(x, centroids):
    return draw_right(x, centroids[-1:])


def draw_city_blocks(x, centroids):
    distances = (x[:, None] - centroids).abs().sum(2).square().min(1).values
    return distances / distances.sum()


def draw_nan(x, centroids):
    distances = squared(x, centroids).min(1).values
    return distances / distances.sum()


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (checks.margin, margin_right),
        (checks.update, update_right),
        (checks.draw_probabilities, draw_right),
    ],
)
def test_the_right_answer_passes(check, answer, capsys):
    assert check(answer)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "wrong", "hint"),
    [
        (checks.margin, margin_halved, "must be doubled"),
        (checks.margin, margin_of_distances, "not distances"),
        (checks.margin, margin_to_the_farthest, "not with the farthest"),
        (checks.margin, margin_of_the_first_two, "wherever they stand"),
        (checks.margin, margin_without_lengths, "‖c‖² not"),
        (checks.update, update_sums, "divide their sum"),
        (checks.update, update_divides_by_all, "divide their sum"),
        (checks.update, update_nan, "neither 0 nor NaN"),
        (checks.update, update_zero, "neither 0 nor NaN"),
        (checks.update, update_forgets_the_last, "end of the list"),
        (checks.update, update_asks_the_sums, "ask the counts"),
        (checks.draw_probabilities, draw_unsquared, "add up to 1"),
        (checks.draw_probabilities, draw_not_normalised, "add up to 1"),
        (checks.draw_probabilities, draw_from_the_sum, "not their sum"),
        (checks.draw_probabilities, draw_from_the_last, "the last one"),
        (checks.draw_probabilities, draw_city_blocks, "square each number"),
        (checks.draw_probabilities, draw_nan, "draw uniformly"),
    ],
)
def test_a_typical_wrong_answer_gets_its_hint(check, wrong, hint, capsys):
    assert not check(wrong)
    assert hint in capsys.readouterr().out.split("Hint: ")[1]


@pytest.mark.parametrize("check", [checks.margin, checks.update, checks.draw_probabilities])
def test_an_unsolved_stub_is_told_so(check, capsys):
    def stub(*arguments):
        raise NotImplementedError("your turn")

    assert not check(stub)
    assert "Not solved yet" in capsys.readouterr().out
