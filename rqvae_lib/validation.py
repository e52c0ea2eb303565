"""What validation targets are for: to measure a model while choices are made, and to make them.

The baseline makes one, too: how much of a history item-kNN hears. On the data of this book the
worst of its choices and the best are further apart than most models are, so an untuned opponent
would be no opponent.

Derived in: chapter 11.
"""

from torch import Tensor

from rqvae_lib.baselines import Popularity
from rqvae_lib.comparison import Mean, evaluate
from rqvae_lib.item_knn import ItemKNN
from rqvae_lib.recommenders import Recommender
from rqvae_lib.sasrec import SASRec
from rqvae_lib.splits import Split

VALIDATION_TARGETS = 10_000  # at most
HEARD = (1, 5, 20, None)  # items of a history; None: all


def validation_targets(split: Split) -> Tensor:
    """Return the validation targets to measure on, (M,) int64: all, or evenly chosen ones.

    Of more than `VALIDATION_TARGETS` it takes every second, third, and so on: they are for choosing
    a model, and not worth an hour.
    """
    return split.validation[:: max(1, -(-len(split.validation) // VALIDATION_TARGETS))]


def validate(
    model: Recommender | SASRec, split: Split, num_items: int, device: str = "cpu"
) -> dict[str, Mean]:
    """Measure the model and popularity on the validation targets.

    A user with several targets has one vote.

    Args:
        model: a trained model, on the CPU; it is there again in the end.
        split: what it was trained on.
        num_items: N, the size of the catalogue.
        device: where to compute.

    Returns:
        By name of the metric, for the model and for popularity: the mean over people, and its 95 %
        bootstrap interval.
    """
    positions = validation_targets(split)
    found = {
        "": evaluate(model.to(device), split, positions, num_items),
        " of popularity": evaluate(Popularity(split.train, num_items), split, positions, num_items),
    }
    model.to("cpu")
    return {
        f"Validation {metric}@10{whose}": evaluation.mean(metric, 10)
        for whose, evaluation in found.items()
        for metric in ("Recall", "NDCG")
    }


def tuned_item_knn(split: Split, num_items: int) -> ItemKNN:
    """Return the item-kNN that hears as much of a history as gives the best validation NDCG@10.

    Args:
        split: counts are made in its training part.
        num_items: N, the size of the catalogue.

    Returns:
        The model; its `last` is one of `HEARD`, of equals the first. Without validation targets it
        hears all.
    """
    knn = ItemKNN(split.train, num_items)
    positions = validation_targets(split)
    if not len(positions):
        return knn

    def ndcg(last: int | None) -> float:
        knn.last = last  # the table of neighbours stays the same
        return evaluate(knn, split, positions, num_items).mean("NDCG", 10).mean

    knn.last = max(HEARD, key=ndcg)
    return knn
