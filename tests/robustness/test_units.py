"""The unit of the vectors does not matter, from 1e-20 to 1e20.

Multiplied by a power of two, every result is the same, bit for bit, because only exponents change.
Multiplied by another number, the vectors themselves are rounded anew, so results agree up to ties.

One exception: a feature that is constant but for rounding is divided by a spread that goes in steps
of 2³², so data with such a feature are the same only for these. The shipped embeddings have one.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch import Tensor

from rqvae_lib.embeddings.collaborative import leading_singular_vectors, positive_pmi
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.ops.estimators import rotation_trick, straight_through
from rqvae_lib.ops.kmeans import kmeans, kmeans_plus_plus, nearest
from rqvae_lib.ops.neighbors import nearest_neighbors, trustworthiness
from rqvae_lib.ops.sinkhorn import transport_plan
from rqvae_lib.tokenizer.collisions import REMEDIES, nearest_codes, resolve
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.health import quantization_errors
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import new_rqvae, train_rqvae

EXPONENTS = st.integers(-66, 66)  # 2^±66 is 7e±19
SIZES = st.floats(-20, 20).map(lambda power: 10.0**power)
UNITS = [2.0**-66, 2.0**-20, 2.0**-3, 2.0**40, 2.0**66]
TRAINING = TrainingConfig(num_steps=12, batch_size=64, learning_rate=1e-3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(num: int = 120, dim: int = 6, seed: int = 0) -> Tensor:
    """Groups of vectors away from the origin, two of them equal, one feature constant."""
    centers = 3 * torch.randn(8, dim, generator=seeded(seed + 100))
    noise = torch.randn(num, dim, generator=seeded(seed))
    x = centers[torch.arange(num) % 8] + 0.3 * noise + 2
    x[5] = x[13]
    x[:, 2] = 0.1
    return x


# Numerics


@settings(max_examples=25, deadline=None)
@given(EXPONENTS, st.integers(0, 3))
def test_k_means_by_powers_of_two(exponent: int, seed: int) -> None:
    unit, x = 2.0**exponent, vectors(seed=seed)
    for options in ({}, {"num_candidates": 3}, {"initial_centroids": x[:9]}):
        scaled = dict(options)
        if "initial_centroids" in options:
            scaled["initial_centroids"] = x[:9] * unit
        one = kmeans(x, 9, generator=seeded(), **options)  # type: ignore[arg-type]
        other = kmeans(x * unit, 9, generator=seeded(), **scaled)  # type: ignore[arg-type]
        assert torch.equal(one.codes, other.codes)
        assert torch.equal(one.centroids * unit, other.centroids)
        assert one.inertia * unit**2 == other.inertia
    start = kmeans_plus_plus(x, 9, generator=seeded())
    assert torch.equal(kmeans_plus_plus(x * unit, 9, generator=seeded()), start * unit)
    assert torch.equal(nearest(x * unit, start * unit), nearest(x, start))


@settings(max_examples=25, deadline=None)
@given(SIZES)
def test_nearest_by_any_number_agrees_with_float64(unit: float) -> None:
    x, centroids = vectors() * unit, vectors(20, seed=1)[:9] * unit
    assert x.isfinite().all()
    distances = torch.cdist(x.double(), centroids.double())  # (N, K)
    best = distances.min(1).values
    chosen = distances.gather(1, nearest(x, centroids)[:, None])[:, 0]
    torch.testing.assert_close(chosen / unit, best / unit, rtol=0, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(EXPONENTS, EXPONENTS)
def test_nearest_of_two_units_agrees_with_float64(of_x: int, of_centroids: int) -> None:
    """Vectors far beyond all centroids, or far within them; some are zero."""
    x, centroids = vectors() * 2.0**of_x, vectors(20, seed=1)[:9] * 2.0**of_centroids
    x[7] = 0
    scores = centroids.double().square().sum(1) / 2 - x.double() @ centroids.double().T
    codes = nearest(x, centroids)
    found = scores.gather(1, codes[:, None])[:, 0]
    best, largest = scores.amin(1), scores.abs().amax(1)
    assert bool((found - best <= 1e-5 * largest).all())
    if abs(of_x - of_centroids) < 100:
        assert codes[7] == centroids.double().norm(dim=1).argmin()


@pytest.mark.parametrize(("of_x", "of_centroids"), [(1e20, 1e-20), (1e-20, 1e20)])
def test_nearest_at_both_ends(of_x: float, of_centroids: float) -> None:
    directions = torch.eye(4)
    centroids = torch.cat([directions, -directions]) * of_centroids
    x = torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, -1], [0.1, 0.2, 0.9, 0]]) * of_x
    # Seen from the origin, all of these centroids are equally far away: a tie, for the lower code.
    expected = [1, 7, 2] if of_x > of_centroids else [0, 0, 0]
    assert nearest(x, centroids).tolist() == expected


@settings(max_examples=25, deadline=None)
@given(EXPONENTS)
def test_neighbors_by_powers_of_two(exponent: int) -> None:
    unit, x = 2.0**exponent, vectors()
    one, other = nearest_neighbors(x, 5), nearest_neighbors(x * unit, 5)
    assert torch.equal(one.indices, other.indices)
    assert torch.equal(one.distances * unit, other.distances)
    points = x[:, :2] + 0.5 * torch.randn(len(x), 2, generator=seeded())
    expected = trustworthiness(x, points, 5)
    assert 0.5 < expected < 1
    assert trustworthiness(x * unit, points, 5) == expected
    assert trustworthiness(x, points * unit, 5) == expected


@settings(max_examples=25, deadline=None)
@given(EXPONENTS, EXPONENTS)
def test_estimators_by_powers_of_two(exponent: int, of_target: int) -> None:
    """Each may have a unit of its own: the gradient turns and stretches likewise."""
    z, target = vectors(20), vectors(20, seed=1)
    z[3] = 0
    gradient = torch.randn(20, 6, generator=seeded(2))
    one, other = 2.0**exponent, 2.0 ** (of_target if abs(exponent - of_target) < 100 else exponent)
    for estimate in (straight_through, rotation_trick):
        found = []
        for unit, unit_of_target in ((1.0, 1.0), (one, other)):
            leaf = (z * unit).requires_grad_()
            value = estimate(leaf, target * unit_of_target)
            assert torch.equal(value, target * unit_of_target)
            value.backward(gradient)
            assert leaf.grad is not None
            found.append(leaf.grad)
        stretch = other / one if estimate is rotation_trick else 1.0
        assert torch.equal(found[0] * stretch, found[1])
        assert found[0][4:].abs().sum() > 1


@settings(max_examples=25, deadline=None)
@given(st.integers(-900, 900))
def test_optimal_transport_by_powers_of_two(exponent: int) -> None:
    costs = torch.rand(20, 5, generator=seeded(), dtype=torch.float64)
    assert torch.equal(transport_plan(costs * 2.0**exponent), transport_plan(costs))


@settings(max_examples=10, deadline=None)
@given(EXPONENTS)
def test_singular_vectors_by_powers_of_two(exponent: int) -> None:
    dense = torch.rand(30, 30, generator=seeded(), dtype=torch.float64)
    matrix = sparse.csr_array(((dense + dense.T) * (dense + dense.T > 1.4)).numpy())
    one = leading_singular_vectors(matrix, 8)
    other = leading_singular_vectors(matrix * 2.0**exponent, 8)
    assert (other[1] > 0).sum() == (one[1] > 0).sum() == 8
    torch.testing.assert_close(torch.from_numpy(other[1] / 2.0**exponent), torch.from_numpy(one[1]))


def test_pairs_that_occur_together_by_chance_alone_say_nothing() -> None:
    """Their information is 0 but for rounding, which is no scale for others to be measured by."""
    counts = np.outer([1, 3, 7, 11, 13], [1, 3, 7, 11, 13]) / 3.0
    of_item = counts.sum(1)
    rounded = np.log(counts * counts.sum() / np.outer(of_item, of_item))
    assert (rounded > 0).any()
    assert positive_pmi(sparse.csr_array(counts)).nnz == 0


# The tokenizer


@pytest.mark.parametrize("unit", UNITS)
def test_a_quantizer_of_any_unit(unit: float) -> None:
    x = vectors()
    x[:, 2] += torch.randn(len(x), generator=seeded(7))
    found = []
    for scale in (1.0, unit):
        quantizer = ResidualQuantizer(3, 7, 6)
        quantizer.init_codebooks(x * scale, generator=seeded())
        codes = quantizer.encode(x * scale)
        books = quantizer.codebooks / scale
        norms = quantizer.residual_norms(x * scale) / scale
        remedies = {
            name: resolve(x * scale, codes, quantizer.codebooks, remedy).ids.ids
            for name, remedy in REMEDIES.items()
        }
        near = nearest_codes(x[5] * scale, quantizer.codebooks.detach(), 4)
        found.append((codes, books, norms, near, *remedies.values()))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("unit", [2.0**-50, 2.0**-10, 2.0**50])
def test_the_cost_of_a_remedy_counts_in_the_unit_squared(unit: float) -> None:
    x = vectors()
    quantizer = ResidualQuantizer(2, 5, 6)
    quantizer.init_codebooks(x, generator=seeded())
    codes, books = quantizer.encode(x), quantizer.codebooks.detach()
    for remedy in REMEDIES.values():
        one = resolve(x, codes, books, remedy).added_error
        other = resolve(x * unit, codes, books * unit, remedy).added_error
        assert torch.equal(one * unit**2, other)


def everything_about(x: Tensor, config: RQVAEConfig) -> dict[str, Any]:
    if config.hidden_dims is None:
        model = new_rqvae(x, config, seed=0)
    else:
        model, _ = train_rqvae(x, config, TRAINING, autoencoder_steps=5, progress=False)
    codes = model.assign(x)
    return {
        "ids": model.tokenize(x).sha256,
        "metrics": tokenizer_metrics(model, x),
        "errors": quantization_errors(model, x, codes).tolist(),
        "weights": [tensor.tolist() for name, tensor in model.named_parameters()],
        "codes": codes,
        "rebuilt": model(x).reconstruction,
    }


SMALL = partial(RQVAEConfig, 6, (8,), 4, num_levels=2, codebook_size=12)
CONFIGS = {
    "RQ-VAE": SMALL(),
    "rotation": SMALL(estimator="rotation", dead_after=1),
    "gradient": SMALL(learning="gradient"),
    "gumbel": SMALL(learning="gradient", estimator="gumbel"),
    "residual k-means": RQVAEConfig.residual_kmeans(6, num_levels=2, codebook_size=12),
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_tokenizer_trained_in_another_unit_is_the_same(config: RQVAEConfig, unit: float) -> None:
    x = vectors()
    one, other = everything_about(x, config), everything_about(x * unit, config)
    for name in ("ids", "metrics", "errors", "weights"):
        assert one[name] == other[name], name
    varied = [0, 1, 3, 4, 5]  # a constant feature's spread is another
    assert torch.equal(one["rebuilt"][:, varied] * unit, other["rebuilt"][:, varied])
    assert len(one["codes"].unique(dim=0)) > 20


@pytest.mark.parametrize("unit", [2.0**-64, 2.0**-32, 2.0**32, 2.0**64])
def test_the_shipped_embeddings_in_another_unit(unit: float) -> None:
    """They have two features that are always 0, and one that is −6e-8 here and there."""
    x = load_embeddings()[:300]
    config = RQVAEConfig(384, (16,), 8, num_levels=2, codebook_size=16)
    assert int((x.std(0, correction=0) < 1e-6).sum()) == 3
    one, other = everything_about(x, config), everything_about(x * unit, config)
    for name in ("ids", "metrics", "weights"):
        assert one[name] == other[name], name


@pytest.mark.parametrize("unit", [1e-20, 1e-6, 3e-3, 7e5, 1e20])
def test_units_that_are_no_powers_of_two_keep_the_quality(unit: float) -> None:
    """What was found: × 1e-6, all features counted as constant, and all items got one code."""
    x = load_embeddings()[:1000]
    config = RQVAEConfig.residual_kmeans(384, num_levels=3, codebook_size=32)
    one, other = (new_rqvae(y, config, seed=0) for y in (x, x * unit))
    same = (one.assign(x) == other.assign(x * unit)).all(1).double().mean()
    assert same > 0.99
    before, after = tokenizer_metrics(one, x), tokenizer_metrics(other, x * unit)
    assert after.collision_rate == pytest.approx(before.collision_rate, abs=0.005)
    assert after.variance_lost == pytest.approx(before.variance_lost, abs=0.005)
    assert before.variance_lost > 0.3


def test_features_of_different_units_all_count() -> None:
    """A price in cents beside a share: neither is rounding."""
    x = vectors()
    x[:, 0] *= 1e4
    x[:, 3] *= 1e-4
    x[:, 4] = 1000 + torch.randn(len(x), generator=seeded(3))
    model = new_rqvae(x, RQVAEConfig.residual_kmeans(6, codebook_size=12), seed=0)
    spreads = x.double().std(0, correction=0)
    spreads[2] = 1  # it is constant
    torch.testing.assert_close(model.std.double(), spreads, rtol=1e-4, atol=0)


def test_a_value_that_is_constant_but_for_rounding_counts_as_constant() -> None:
    x = vectors()
    x[:, 1] = 1e3 * (1 + 6e-8 * torch.randint(-2, 3, (len(x),), generator=seeded()))
    assert x[:, 1].std() > 1e-6
    model = new_rqvae(x, RQVAEConfig.residual_kmeans(6, codebook_size=12), seed=0)
    assert model.std[1] == 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_numbers_give_the_same_tokenizer(kind: torch.dtype) -> None:
    x = vectors().to(kind)
    one = everything_about(x.float(), CONFIGS["RQ-VAE"])
    other = everything_about(x, CONFIGS["RQ-VAE"])
    assert one["ids"] == other["ids"]
    assert one["metrics"] == other["metrics"]


def test_float16_beyond_its_end_is_refused_by_row() -> None:
    x = vectors()
    x[7, 1] = 1e5
    with pytest.raises(ValueError, match="row 7 of embeddings holds a NaN or an infinity"):
        new_rqvae(x.half(), CONFIGS["residual k-means"], seed=0)
