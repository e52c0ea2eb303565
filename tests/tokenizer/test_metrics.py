"""The tokenizer's metrics against loops by hand on a small catalogue."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import (
    TokenizerMetrics,
    code_usage,
    tokenizer_metrics,
)
from rqvae_lib.tokenizer.rqvae import RQVAE

CONFIG = RQVAEConfig(input_dim=5, hidden_dims=(8,), latent_dim=3, num_levels=3, codebook_size=4)


def embeddings(num: int = 60, seed: int = 1) -> Tensor:
    scale = torch.arange(1, 6)
    x = torch.randn(num, 5, generator=torch.Generator().manual_seed(seed)) * scale + 10 * scale
    x[num // 2 :] = x[: num - num // 2]  # the second half repeats the first: collisions
    return x


def fitted(config: RQVAEConfig = CONFIG, x: Tensor | None = None) -> RQVAE:
    torch.manual_seed(0)
    model = RQVAE(config)
    generator = torch.Generator().manual_seed(0)
    model.fit_to_data(embeddings() if x is None else x, generator=generator)
    with torch.no_grad():  # a level that is not well spread: one codeword of it out of reach
        model.quantizer.codebooks[1, 2] = 100.0
    return model.eval()


def metrics_by_hand(model: RQVAE, x: Tensor) -> TokenizerMetrics:
    books, size = model.quantizer.codebooks.detach(), model.config.codebook_size
    mean, std = x.mean(0), x.std(0, correction=0)
    codes, lengths, lost, total = [], [[] for _ in range(len(books) + 1)], 0.0, 0.0
    for row in x:
        standard = (row - mean) / std
        residual, chosen = model.encoder(standard[None])[0].detach(), []
        summed = torch.zeros_like(residual)
        lengths[0].append(math.sqrt(sum(v * v for v in residual.tolist())))
        for level, book in enumerate(books):
            code = min(range(size), key=lambda c: float((residual - book[c]).square().sum()))
            residual, summed = residual - book[code], summed + book[code]
            chosen.append(code)
            lengths[level + 1].append(math.sqrt(sum(v * v for v in residual.tolist())))
        codes.append(tuple(chosen))
        lost += float((model.decoder(summed[None])[0] - standard).detach().square().sum())
        total += float(standard.square().sum())
    utilization, perplexity = [], []
    for level in range(len(books)):
        counts = Counter(code[level] for code in codes)
        utilization.append(len(counts) / size)
        shares = [count / len(x) for count in counts.values()]
        perplexity.append(math.exp(-sum(share * math.log(share) for share in shares)))
    return TokenizerMetrics(
        tuple(utilization),
        tuple(perplexity),
        tuple(sum(level) / len(x) for level in lengths),
        1 - len(set(codes)) / len(x),
        lost / total,
    )


def assert_equal(got: TokenizerMetrics, expected: TokenizerMetrics) -> None:
    assert got.utilization == pytest.approx(expected.utilization)
    assert got.perplexity == pytest.approx(expected.perplexity, rel=1e-4)
    assert got.residual_norms == pytest.approx(expected.residual_norms, rel=1e-3)
    assert got.collision_rate == pytest.approx(expected.collision_rate)
    assert got.variance_lost == pytest.approx(expected.variance_lost, rel=1e-3)


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, estimator="rotation"),
        replace(CONFIG, estimator="gumbel", learning="gradient"),
        RQVAEConfig.residual_kmeans(5, num_levels=2, codebook_size=6),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_metrics_by_hand(config: RQVAEConfig, training: bool) -> None:
    """In training mode too: no noise, and the whole catalogue's nearest codewords."""
    x, model = embeddings(), fitted(config)
    expected = metrics_by_hand(model, x)
    got = tokenizer_metrics(model.train(training), x)
    assert_equal(got, expected)
    assert got.utilization[1] < 1
    assert 0.5 <= got.collision_rate < 1
    assert all(isinstance(number, float) for number in (*got.utilization, got.variance_lost))


def test_measuring_changes_nothing() -> None:
    model = fitted(replace(CONFIG, dead_after=1)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    chance = torch.get_rng_state()
    tokenizer_metrics(model, embeddings())
    assert model.training
    assert torch.equal(torch.get_rng_state(), chance)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_worst_level_speaks_for_all() -> None:
    metrics = TokenizerMetrics((0.9, 0.4, 0.7), (3.0, 2.5, 1.5), (4.0, 2.0, 1.0, 0.5), 0.2, 0.3)
    assert metrics.worst() == {
        "utilization": 0.4,
        "perplexity": 1.5,
        "collision_rate": 0.2,
        "variance_lost": 0.3,
    }


def test_a_collapsed_tokenizer_shows_in_every_number() -> None:
    x, model = embeddings(), fitted()
    with torch.no_grad():
        model.quantizer.codebooks.fill_(100.0)
        model.quantizer.codebooks[:, 1] = 0.0  # which all rows choose, at every level
    metrics = tokenizer_metrics(model, x)
    assert metrics.utilization == (0.25, 0.25, 0.25)
    assert metrics.perplexity == pytest.approx((1.0, 1.0, 1.0))
    assert metrics.residual_norms == pytest.approx([metrics.residual_norms[0]] * 4)
    assert metrics.collision_rate == pytest.approx(59 / 60)


def test_one_item_that_a_codeword_stands_for() -> None:
    x = embeddings(1)
    config = RQVAEConfig.residual_kmeans(5, num_levels=2, codebook_size=1)
    model = RQVAE(config)
    model.fit_to_data(x, generator=torch.Generator().manual_seed(0))
    got = tokenizer_metrics(model, x)
    assert got == TokenizerMetrics((1.0, 1.0), (1.0, 1.0), (0.0, 0.0, 0.0), 0.0, 0.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_embeddings_that_are_not_finite_or_of_another_width_are_refused(bad: float) -> None:
    x, model = embeddings(), fitted()
    x[9, 2] = bad
    with pytest.raises(ValueError, match="row 9 of embeddings holds a NaN"):
        tokenizer_metrics(model, x)
    with pytest.raises(ValueError, match="reads rows of 5 numbers"):
        tokenizer_metrics(model, x[:, :4])


def test_no_items_are_refused() -> None:
    with pytest.raises(ValueError, match="item"):
        tokenizer_metrics(fitted(), embeddings(0))


def test_code_usage_on_worked_examples() -> None:
    codes = torch.tensor([[0, 0, 1], [1, 0, 1], [2, 0, 1], [3, 3, 0]])
    usage = code_usage(codes, 4)
    torch.testing.assert_close(usage.utilization, torch.tensor([1.0, 0.5, 0.5]))
    # Shares (1/4 four times): perplexity 4. Shares (3/4, 1/4): exp(0.75 ln 4/3 + 0.25 ln 4).
    uneven = math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    torch.testing.assert_close(usage.perplexity, torch.tensor([4.0, uneven, uneven]))
    collapsed = code_usage(torch.full((10, 1), 2), 8)
    torch.testing.assert_close(collapsed.utilization, torch.tensor([1 / 8]))
    torch.testing.assert_close(collapsed.perplexity, torch.tensor([1.0]))
