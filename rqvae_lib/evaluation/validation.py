"""What validation targets are for: to measure a model while choices are made, and to make them.

The baseline has choices too. In chapter 11 the worst setting of item-kNN has less than two thirds
of the best one's NDCG@10, so an opponent that is not tuned would be a weak one.

Derived in: chapter 11.
"""

from itertools import product

from torch import Tensor

from rqvae_lib.data.splits import Split
from rqvae_lib.evaluation.evaluator import Mean, evaluate
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.sasrec import SASRec

MAX_TARGETS = 10_000
# What is tried of item-kNN, and on how many targets at most.
TUNING_TARGETS = 2_000
SHRINKAGES = (0.0, 20.0)
HISTORY_LENGTHS = (1, 5, 20, None)  # the latest items of a history; None: all


def validation_targets(split: Split, at_most: int = MAX_TARGETS) -> Tensor:
    """Return the validation targets to measure on, (M,) int64: all, or evenly chosen ones.

    If there are more, it takes every second or third, and so on, because measuring all of them
    would take too long.
    """
    every = max(1, -(-len(split.validation) // at_most))
    return split.validation[::every].contiguous()  # torch.searchsorted warns of anything else


def validate(model: Recommender | SASRec, split: Split, device: str = "cpu") -> dict[str, Mean]:
    """Measure the model and popularity on the validation targets.

    A user with several targets has one vote.

    Args:
        model: a trained model, on the CPU; it is moved back there at the end.
        split: what it was trained on.
        device: where to compute.

    Returns:
        By name of the metric, for the model and for popularity: the mean over people, and its 95 %
        bootstrap interval.

    Raises:
        ValueError: if the split has no validation targets.
    """
    if not len(split.validation):
        raise ValueError(
            "the split has no validation targets: no user has enough interactions (three, with "
            "leave-one-out), so there is nothing to measure on; use more data"
        )
    positions = validation_targets(split)
    found = {
        "": evaluate(model.to(device), split, positions),
        " of popularity": evaluate(Popularity(split.popularity), split, positions),
    }
    model.to("cpu")
    return {
        f"Validation {metric}@10{whose}": evaluation.mean(metric, 10)
        for whose, evaluation in found.items()
        for metric in ("Recall", "NDCG")
    }


def tuned_item_knn(split: Split) -> ItemKNN:
    """Return the item-kNN with the highest NDCG@10 on the validation targets.

    Args:
        split: counts are made in its training part.

    Returns:
        The model; its `shrinkage` is one of `SHRINKAGES` and its `last` one of `HISTORY_LENGTHS`.
        If settings tie, or there are no validation targets, the first setting is used.
    """
    positions = validation_targets(split, TUNING_TARGETS)
    models = ItemKNN.of_shrinkages(split.train, split.num_items, SHRINKAGES)
    tables = dict(zip(SHRINKAGES, models, strict=True))

    def ndcg(setting: tuple[float, int | None]) -> float:
        knn = tables[setting[0]]
        knn.last = setting[1]  # the table of neighbors stays the same
        return evaluate(knn, split, positions).mean("NDCG", 10).mean

    settings = list(product(SHRINKAGES, HISTORY_LENGTHS))
    shrinkage, last = max(settings, key=ndcg) if len(positions) else settings[0]
    best = tables[shrinkage]
    best.last = last
    return best
