"""Measuring on validation targets, by hand, and the choices that are made there."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Histories, Split, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import Evaluation, evaluate
from rqvae_lib.evaluation.validation import (
    HISTORY_LENGTHS,
    SHARES,
    SHRINKAGES,
    WINDOWS,
    tuned_item_knn,
    tuned_mixture,
    tuned_near_pairs,
    validate,
    validation_targets,
)
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.mixture import Mixture
from rqvae_lib.models import item_knn
from rqvae_lib.models.configs import DecoderOnlyConfig, SASRecConfig, TransformerConfig
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import train_recommender
from tests.helpers import small_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

DECODER = DecoderOnlyConfig(
    TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8), max_items=5
)
BRIEFLY = TrainingConfig(batch_size=4, num_steps=6, learning_rate=0.01)


def test_validation_is_recall_and_ndcg_of_the_last_but_one_beside_popularity() -> None:
    dataset = small_dataset()
    split = leave_one_out(dataset)
    generator = torch.Generator().manual_seed(3)
    ids = SemanticIDs(torch.randint(6, (90, 2), generator=generator), [6, 6])
    model, _ = train_recommender(ids, split.train, DECODER, BRIEFLY, progress=False)
    metrics = validate(model, split)
    whole = [dataset.user_history(user).tolist() for user in dataset.user_ids.tolist()]
    parts = [(h[:-2], h[-2]) for h in whole if len(h) >= 3]
    learned = [h[:-2] if len(h) >= 3 else h for h in whole]
    counts = np.bincount([item for history in learned for item in history], minlength=90)
    places: dict[str, list[float]] = {"": [], " of popularity": []}
    for history, target in parts:
        found = recommend(model, [torch.tensor(history)], k=10, beams=50)
        listed = found.items[0].tolist()
        places[""].append(listed.index(target) if target in listed else np.inf)
        others = np.delete(np.arange(90), [*history, target])
        before = counts[others] > counts[target] - (others < target)  # at a tie, the lower row
        places[" of popularity"].append(int(before.sum()))
    for whose, ranks in places.items():
        hits = np.array(ranks) < 10
        gains = np.where(hits, 1 / np.log2(np.array(ranks) + 2), 0)
        for name, values in (("Recall@10", hits), ("NDCG@10", gains)):
            mean, interval = metrics[f"Validation {name}{whose}"]
            assert mean == pytest.approx(values.mean())
            assert interval.low <= mean <= interval.high
    assert list(metrics) == [
        f"Validation {name}{whose}" for whose in places for name in ("Recall@10", "NDCG@10")
    ]


def test_of_many_targets_evenly_chosen_ones_are_measured() -> None:
    split = leave_one_out(small_dataset())
    assert torch.equal(validation_targets(split), split.validation)
    chosen = validation_targets(split, len(split.validation) - 1)
    assert torch.equal(chosen, split.validation[::2])


def test_item_knn_has_the_best_of_the_settings() -> None:
    dataset = load_dataset("movielens-small-2016")
    split = leave_one_out(dataset)
    knn = tuned_item_knn(split)
    found, models = {}, {}
    for shrinkage in SHRINKAGES:
        models[shrinkage] = ItemKNN(split.train, dataset.num_items, shrinkage=shrinkage)
        for last in HISTORY_LENGTHS:
            models[shrinkage].last = last
            evaluation = evaluate(models[shrinkage], split, split.validation)
            found[shrinkage, last] = evaluation.mean("NDCG", 10).mean
    assert found[knn.shrinkage, knn.last] == max(found.values())
    assert max(found.values()) > 1.1 * found[0.0, None]  # that is what makes the choice matter
    by_hand = models[knn.shrinkage]
    by_hand.last = knn.last
    histories, _ = split.histories_and_targets(split.test[:5])
    assert torch.equal(knn.scores(histories), by_hand.scores(histories))


def test_near_pairs_have_the_best_of_the_settings() -> None:
    split = leave_one_out(load_dataset("movielens-small-2016"))
    pairs = tuned_near_pairs(split)
    found = {}
    for window in WINDOWS:
        for last in HISTORY_LENGTHS:
            model = NearPairs(split.train, split.num_items, window=window, last=last)
            evaluation = evaluate(model, split, split.validation)
            found[window, last] = evaluation.mean("NDCG", 10).mean
    assert found[pairs.window, pairs.last] == max(found.values())
    assert max(found.values()) > 1.1 * min(found.values())
    assert pairs.both_ways


def a_split(num_users: int = 60, num_items: int = 12) -> Split:
    """Histories of a few items, of which each tends to follow the one before."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randint(1, 4, (num_users, 6), generator=generator)
    items = steps.cumsum(1) % num_items
    return leave_one_out(
        Dataset.from_tables(
            pd.DataFrame(
                [(user, int(i)) for user, row in enumerate(items) for i in row],
                columns=["user_id", "item_id"],
            )
        )
    )


@pytest.mark.parametrize("allow_repeats", [False, True])
def test_the_share_of_a_mixture_is_the_best_on_validation(allow_repeats: bool) -> None:
    split = a_split()
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(DECODER.transformer, num_items=split.num_items, max_items=5)).eval()
    pairs = NearPairs(split.train, split.num_items)
    mixture = tuned_mixture(model, pairs, split, allow_repeats=allow_repeats)
    found = {}
    for share in SHARES:
        mixed = Mixture(model, pairs, share)
        evaluation = evaluate(mixed, split, split.validation, allow_repeats=allow_repeats)
        found[share] = evaluation.mean("NDCG", 10).mean
    assert mixture.share == max(SHARES, key=lambda share: found[share])  # the first of the best
    assert len({round(value, 6) for value in found.values()}) > 3
    assert mixture.model is model
    assert mixture.counted is pairs
    for batch_size in (1, 7):
        options = {"allow_repeats": allow_repeats, "batch_size": batch_size}
        assert tuned_mixture(model, pairs, split, **options).share == mixture.share


@pytest.mark.parametrize("num_targets", [0, 1])
def test_of_equal_shares_a_mixture_has_the_smallest(num_targets: int) -> None:
    histories = Histories(torch.tensor([0, 1, 2]), torch.tensor([0, 3]))
    train = Histories(torch.tensor([0]), torch.tensor([0, 1]))
    targets = torch.tensor([2])[:num_targets]
    split = Split(train, histories, targets, targets, 3, "by hand")
    model = SASRec(SASRecConfig(DECODER.transformer, num_items=3, max_items=5)).eval()
    mixture = tuned_mixture(model, Popularity(torch.ones(3)), split)  # one item is left: it hits
    assert mixture.share == SHARES[0] == 0


def test_pairs_of_items_are_counted_once_for_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    count, counted = item_knn._similarities, []

    def counting(*arguments: Any) -> Any:
        counted.append(arguments[-1])
        return count(*arguments)

    monkeypatch.setattr(item_knn, "_similarities", counting)
    tuned_item_knn(leave_one_out(small_dataset()))
    assert counted == [SHRINKAGES]


@pytest.mark.parametrize(("num_targets", "every"), [(1999, 1), (2000, 1), (2001, 2)])
@pytest.mark.parametrize(
    ("tuned", "others"), [(tuned_item_knn, SHRINKAGES), (tuned_near_pairs, WINDOWS)]
)
def test_what_counts_is_tuned_on_two_thousand_targets_at_most(
    tuned: Callable[[Split], ItemKNN | NearPairs],
    others: tuple[float, ...],
    num_targets: int,
    every: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    histories = Histories(torch.arange(3).repeat(num_targets), 3 * torch.arange(num_targets + 1))
    train = Histories(torch.tensor([0]), torch.tensor([0, 1]))
    targets = 3 * torch.arange(num_targets) + 1
    measured = []

    def recording(model: Any, split: Split, positions: torch.Tensor) -> Evaluation:
        measured.append(positions)
        return evaluate(model, split, positions[:1])

    monkeypatch.setattr("rqvae_lib.evaluation.validation.evaluate", recording)
    tuned(Split(train, histories, targets, targets + 1, 3, "by hand"))
    assert len(measured) == len(others) * len(HISTORY_LENGTHS)
    assert all(torch.equal(positions, targets[::every]) for positions in measured)


@pytest.mark.parametrize(("num_targets", "asked"), [(2000, 2000), (2001, 1001)])
def test_a_mixture_is_tuned_on_two_thousand_targets_at_most(num_targets: int, asked: int) -> None:
    histories = Histories(torch.arange(3).repeat(num_targets), 3 * torch.arange(num_targets + 1))
    train = Histories(torch.tensor([0]), torch.tensor([0, 1]))
    targets = 3 * torch.arange(num_targets) + 1
    split = Split(train, histories, targets, targets + 1, 3, "by hand")
    read = []

    class Recording(Popularity):
        def scores(self, histories: Any) -> torch.Tensor:
            read.append(len(histories))
            return super().scores(histories)

    model = SASRec(SASRecConfig(DECODER.transformer, num_items=3, max_items=5)).eval()
    tuned_mixture(model, Recording(torch.ones(3)), split)
    assert sum(read) == asked  # each once, for all shares


@pytest.mark.parametrize("num_targets", [0, 1])
def test_of_equal_settings_near_pairs_have_the_first(num_targets: int) -> None:
    histories = Histories(torch.tensor([0, 1, 2]), torch.tensor([0, 3]))
    train = Histories(torch.tensor([0]), torch.tensor([0, 1]))  # nothing is near anything
    targets = torch.tensor([2])[:num_targets]
    pairs = tuned_near_pairs(Split(train, histories, targets, targets, 3, "by hand"))
    assert (pairs.window, pairs.last) == (WINDOWS[0], HISTORY_LENGTHS[0])


@pytest.mark.parametrize("num_targets", [0, 1])
def test_of_equal_settings_item_knn_has_the_first(num_targets: int) -> None:
    histories = Histories(torch.tensor([0, 1, 2]), torch.tensor([0, 3]))
    train = Histories(torch.tensor([0]), torch.tensor([0, 1]))  # nothing goes with anything
    targets = torch.tensor([2])[:num_targets]
    knn = tuned_item_knn(Split(train, histories, targets, targets, 3, "by hand"))
    assert (knn.shrinkage, knn.last) == (SHRINKAGES[0], HISTORY_LENGTHS[0])


def test_without_validation_targets_there_is_nothing_to_measure() -> None:
    histories = Histories(torch.tensor([0, 1]), torch.tensor([0, 2]))
    nothing = torch.empty(0, dtype=torch.int64)
    model = SASRec(SASRecConfig(num_items=3))
    with pytest.raises(ValueError, match="the split has no validation targets"):
        validate(model, Split(histories, histories, nothing, nothing, 3, "by hand"))
