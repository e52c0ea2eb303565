"""Mixtures of a trained model and counts, by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rqvae_lib.evaluation.metrics import top_items
from rqvae_lib.generation.mixture import (
    Mixture,
    counted_probabilities,
    learned_probabilities,
    mix,
)
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

pytestmark = pytest.mark.usefixtures("one_thread")

N = 30
SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
HISTORIES = [torch.tensor([0, 3, 4]), torch.tensor([7])]


class Counts:
    """Scores as they are given, for any history."""

    def __init__(self, scores: Any) -> None:
        self.given = torch.as_tensor(scores)

    def scores(self, histories: Any) -> Tensor:
        return self.given[: len(histories)]


def ids() -> SemanticIDs:
    generator = torch.Generator().manual_seed(0)
    return SemanticIDs(torch.randint(4, (N, 3), generator=generator), [4, 4, 4])


def models() -> list[Recommender | SASRec]:
    torch.manual_seed(0)
    return [
        new_recommender(RQTransformerConfig(transformer=SMALL, max_items=6), ids()).eval(),
        new_recommender(DecoderOnlyConfig(transformer=SMALL, max_items=6), ids()).eval(),
        SASRec(SASRecConfig(num_items=N, transformer=SMALL, max_items=6)).eval(),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_mixture_by_hand(number: int) -> None:
    model = models()[number]
    scored = model.scores(HISTORIES) if isinstance(model, SASRec) else score_items(model, HISTORIES)
    p = scored.exp() / scored.exp().sum(1, keepdim=True)
    pairs = NearPairs([[0, 1, 2, 3], [4, 7, 9], [3, 8]], N)
    q = pairs.scores(HISTORIES)
    q = q / q.sum(1, keepdim=True)
    found = Mixture(model, pairs, 0.3).scores(HISTORIES)
    torch.testing.assert_close(found.exp(), 0.7 * p + 0.3 * q)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2))


@pytest.mark.parametrize("number", range(3))
def test_a_share_of_0_is_the_model_and_of_1_the_counts(number: int) -> None:
    model, counted = models()[number], Popularity(torch.arange(N))
    scored = model.scores(HISTORIES) if isinstance(model, SASRec) else score_items(model, HISTORIES)
    alone = top_items(scored, 10, HISTORIES)
    assert torch.equal(
        top_items(Mixture(model, counted, 0).scores(HISTORIES), 10, HISTORIES), alone
    )
    popular = top_items(counted.scores(HISTORIES).float(), 10, HISTORIES)
    mixed = Mixture(model, counted, 1).scores(HISTORIES)
    assert torch.equal(top_items(mixed, 10, HISTORIES), popular)


def test_where_nothing_was_counted_the_model_speaks_alone() -> None:
    model, pairs = models()[2], NearPairs([[0, 1]], N)
    mixed = Mixture(model, pairs, 0.9).scores(HISTORIES).exp()
    alone = model.scores(HISTORIES).softmax(1)
    torch.testing.assert_close(mixed[1], alone[1])  # nobody had item 7
    assert not torch.allclose(mixed[0], alone[0])
    silent = Mixture(model, pairs, 1).scores(HISTORIES).exp()
    torch.testing.assert_close(silent[1], alone[1])


@pytest.mark.parametrize("scale", [1e-35, 1.0, 1e35])
def test_the_unit_of_the_counts_does_not_matter(scale: float) -> None:
    counts = torch.rand(2, N, generator=torch.Generator().manual_seed(0)) + 0.1
    found = counted_probabilities(Counts(counts * scale), HISTORIES)
    torch.testing.assert_close(found, counts / counts.sum(1, keepdim=True))


@pytest.mark.parametrize("scale", [1e-300, 1e-60, 1e60, 1e300])
def test_counts_beyond_float32_are_as_good(scale: float) -> None:
    counts = torch.tensor([[1.0, 3.0, 0.0, 4.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    found = counted_probabilities(Counts(counts * scale), HISTORIES)
    expected = torch.tensor([[0.125, 0.375, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


def test_whole_numbers_are_counts() -> None:
    counts = torch.tensor([[1, 3, 0, 4]])
    for given in (counts, counts.to(torch.uint8), counts.half()):
        found = counted_probabilities(Counts(given), HISTORIES[:1])
        assert torch.equal(found, torch.tensor([[0.125, 0.375, 0.0, 0.5]]))
    found = counted_probabilities(Counts(counts > 0), HISTORIES[:1])  # whether, not how often
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 0.0, 1.0]]) / 3)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_scores_that_are_no_counts_are_refused(wrong: float) -> None:
    counts = torch.ones(2, N)
    counts[1, 4] = wrong
    with pytest.raises(ValueError, match=r"the scores of Counts range from .* finite and at least"):
        Mixture(models()[2], Counts(counts), 0.5).scores(HISTORIES)


def test_catalogues_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="the model knows 30 items and the counts 29"):
        Mixture(models()[2], Popularity(torch.ones(29)), 0.5).scores(HISTORIES)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(share: float) -> None:
    with pytest.raises(ValueError, match=r"share is .*; expected 0"):
        Mixture(models()[2], Popularity(torch.ones(N)), share)
    with pytest.raises(ValueError, match=r"share is .*; expected 0"):
        mix(torch.ones(1, 2), torch.ones(1, 2), share)


def test_models_in_the_wrong_places_are_named() -> None:
    popularity, item_knn = Popularity(torch.ones(N)), ItemKNN([[0, 1]], N)
    for counted in (popularity, item_knn, NearPairs([[0, 1]], N)):
        with pytest.raises(TypeError, match="which counts: pass it as `counted`"):
            Mixture(counted, popularity, 0.5)
    with pytest.raises(TypeError, match="model is a str; expected a generative recommender"):
        Mixture("decoder.safetensors", popularity, 0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="counted is a str; expected a model that counts"):
        Mixture(models()[2], "near-pairs", 0.5)  # type: ignore[arg-type]


def test_items_outside_the_catalogue_are_refused() -> None:
    mixture = Mixture(models()[0], Popularity(torch.ones(N)), 0.5)
    with pytest.raises(ValueError, match=str(N)):
        mixture.scores([[N]])


def test_lists_arrays_and_no_histories_are_taken() -> None:
    mixture = Mixture(models()[2], Popularity(np.ones(N)), 0.5)
    expected = mixture.scores(HISTORIES)
    assert torch.equal(mixture.scores([[0, 3, 4], np.array([7])]), expected)
    assert mixture.scores([]).shape == (0, N)
    assert learned_probabilities(models()[0], []).shape == (0, N)
