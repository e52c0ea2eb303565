"""Mixtures: what a model has learned and what was counted, as one probability per item.

A network generalizes: it has something to say about every history. Counts are right about pairs
that many people chose, and say nothing about the others. A mixture takes a share of each,

    (1 − share) · p(item | history) + share · q(item | history),

where p are the model's probabilities and q the counted scores, divided by their sum. The share is
the only number to choose: `evaluation.validation.tuned_mixture` chooses it on validation targets.

Source: linear interpolation of a learned and a counted distribution, Jelinek and Mercer,
"Interpolated estimation of Markov source parameters from sparse data", 1980.
Derived in: chapter 11.
"""

import torch
from torch import Tensor

from rqvae_lib.data.history_lists import HistoryLists, as_histories
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender, ScoresItems
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.ops.torch_settings import own_settings


class Mixture:
    """A trained model and one that counts, mixed.

    Args:
        model: a trained one, in evaluation mode: generative, or with scores that are
            log-probabilities up to a constant, as a SASRec's.
        counted: such as `NearPairs`, `ItemKNN` or `Popularity`, over the same N items. Its scores
            must not be negative.
        share: of the counted probabilities, 0 to 1.

    Raises:
        ValueError: if `share` is not from 0 to 1.
        TypeError: if `model` is no model or one that counts, or `counted` has no scores.
    """

    @own_settings
    def __init__(
        self, model: Recommender | ScoresItems, counted: ScoresItems, share: float
    ) -> None:
        _check_learned(model)
        if not isinstance(counted, ScoresItems):
            raise TypeError(
                f"counted is a {type(counted).__name__}; expected a model that counts, such as "
                "NearPairs, ItemKNN or Popularity"
            )
        self.model = model
        self.counted = counted
        self.share = _as_share(share)

    @own_settings
    def scores(self, histories: HistoryLists) -> Tensor:
        """Return log p(item | history) of the mixture, for each of B users and N items.

        Args:
            histories: B lists of item rows, as `recommend`.

        Returns:
            shape (B, N), float32, in nats, on the CPU. Where the counts say nothing about a
            history, the model's probabilities are used alone.

        Raises:
            ValueError: if a history names an item outside the catalogue, if the two models know
                different numbers of items, or if a counted score is negative or not finite.
        """
        histories = as_histories(histories)
        learned = learned_probabilities(self.model, histories)
        return mix(learned, counted_probabilities(self.counted, histories), self.share).log()


@torch.no_grad()
def learned_probabilities(model: Recommender | ScoresItems, histories: HistoryLists) -> Tensor:
    """Return p(item | history) of a trained model, (B, N) float32 on the CPU; rows sum to 1.

    Args:
        model: in evaluation mode. Every item is scored, by whatever it predicts.
        histories: B lists of item rows.
    """
    if isinstance(model, ScoresItems):
        scores = model.scores(as_histories(histories))
    else:
        scores = score_items(model, histories)
    return scores.cpu().softmax(1)  # tuples of codes that are no item's ID get nothing


@torch.no_grad()
def counted_probabilities(counted: ScoresItems, histories: HistoryLists) -> Tensor:
    """Return counted scores divided by their sum, (B, N) float32 on the CPU.

    The rows of histories about which nothing was counted are 0.

    Raises:
        ValueError: if a score is negative or not finite.
    """
    scores = counted.scores(as_histories(histories)).cpu()
    if scores.dtype != torch.float32:
        scores = scores.double()  # counts may be whole numbers, or leave float32's range
    low, high = (float(scores.min()), float(scores.max())) if scores.numel() else (0.0, 0.0)
    if not (low >= 0 and high < torch.inf):
        raise ValueError(
            f"the scores of {type(counted).__name__} range from {low:g} to {high:g}; to be mixed, "
            "they must be counts or sums of similarities, finite and at least 0"
        )
    highest = scores.amax(1, keepdim=True)  # first this, so that no sum leaves float32's range
    scores = (scores / torch.where(highest > 0, highest, 1)).float()
    total = scores.sum(1, keepdim=True)
    return scores / torch.where(total > 0, total, 1)


def mix(learned: Tensor, counted: Tensor, share: float) -> Tensor:
    """Return (1 − share) · learned + share · counted.

    Where nothing was counted about a history, its row is `learned` alone.

    Args:
        learned: (B, N), probabilities.
        counted: (B, N), probabilities, or rows of 0.
        share: 0 to 1.

    Raises:
        ValueError: if the tables are of different sizes, or `share` is out of range.
    """
    share = _as_share(share)
    if learned.shape != counted.shape:
        raise ValueError(
            f"the model knows {learned.shape[1]:,} items and the counts {counted.shape[1]:,}: "
            "take both from one dataset"
        )
    said = counted.any(1, keepdim=True)
    return torch.where(said, (1 - share) * learned + share * counted, learned)


def _check_learned(model: object) -> None:
    if isinstance(model, Popularity | ItemKNN | NearPairs):
        raise TypeError(
            f"model is a {type(model).__name__}, which counts: pass it as `counted`, and a trained "
            "model as `model`"
        )
    if not isinstance(model, Recommender | ScoresItems):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a generative recommender or a SASRec"
        )


def _as_share(share: float) -> float:
    share = float(share)
    if not 0 <= share <= 1:
        raise ValueError(
            f"share is {share:g}; expected 0 (the model alone) to 1 (the counts alone)"
        )
    return share
