"""Measuring on validation targets, by hand, and the choice that item-kNN makes there."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from conftest import small_dataset
from rqvae_lib import validation
from rqvae_lib.comparison import evaluate
from rqvae_lib.datasets import Dataset, load_dataset
from rqvae_lib.decoder_only import DecoderOnlyConfig
from rqvae_lib.generate import recommend
from rqvae_lib.item_knn import ItemKNN
from rqvae_lib.recipes import train_decoder
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.splits import Histories, Split, global_timestamp, leave_one_out
from rqvae_lib.training import TrainingConfig
from rqvae_lib.transformer import TransformerConfig
from rqvae_lib.trie import Trie
from rqvae_lib.validation import HEARD, tuned_item_knn, validate, validation_targets

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
    model, _ = train_decoder(ids, split.train, DECODER, BRIEFLY, progress=False)
    metrics = validate(model, split, dataset.num_items)
    whole = [dataset.user_history(user).tolist() for user in dataset.user_ids.tolist()]
    parts = [(h[:-2], h[-2]) for h in whole if len(h) >= 3]
    learned = [h[:-2] if len(h) >= 3 else h for h in whole]
    counts = np.bincount([item for history in learned for item in history], minlength=90)
    places: dict[str, list[float]] = {"": [], " of popularity": []}
    for history, target in parts:
        found = recommend(model, Trie(model.ids), [torch.tensor(history)], k=10, beams=50)
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


def test_of_many_targets_evenly_chosen_ones_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    split = leave_one_out(small_dataset())
    assert torch.equal(validation_targets(split), split.validation)
    monkeypatch.setattr(validation, "VALIDATION_TARGETS", len(split.validation) - 1)
    assert torch.equal(validation_targets(split), split.validation[::2])


@pytest.mark.parametrize("split_of", [leave_one_out, global_timestamp])
def test_item_knn_hears_what_is_best_on_validation(
    split_of: Callable[[Dataset], Split],
) -> None:
    dataset = load_dataset("movielens-small-2016")
    split = split_of(dataset)
    knn = tuned_item_knn(split, dataset.num_items)
    found = {}
    for last in HEARD:
        model = ItemKNN(split.train, dataset.num_items, last=last)
        evaluation = evaluate(model, split, split.validation, dataset.num_items)
        found[last] = evaluation.mean("NDCG", 10).mean
    assert found[knn.last] == max(found.values())
    assert max(found.values()) > 1.1 * found[None]  # that is what makes the choice matter


def test_without_validation_targets_item_knn_hears_all() -> None:
    histories = Histories(torch.tensor([0, 1]), torch.tensor([0, 2]))
    nothing = torch.empty(0, dtype=torch.int64)
    assert tuned_item_knn(Split(histories, histories, nothing, nothing), 3).last is None
