"""The comparison: worked examples by hand, a brute-force ranker, the interval by simulation."""

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from torch import Tensor

from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import leave_one_out, split_by_name
from rqvae_lib.evaluation.evaluator import (
    CUTOFFS,
    Evaluation,
    difference,
    evaluate,
)
from rqvae_lib.evaluation.metrics import bootstrap_interval
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.models.base import ScoresItems
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.helpers import small_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)


def lists_of(*rows: list[int]) -> Tensor:
    return torch.tensor([row + [-1] * (50 - len(row)) for row in rows])


def test_a_worked_example() -> None:
    """Person 4 has two targets, found first and third; person 7 has one, not found."""
    evaluation = Evaluation(
        lists=lists_of([3, 1, 2], [0, 5, 6], [1, 2]),
        targets=torch.tensor([3, 6, 4]),
        users=torch.tensor([4, 4, 7]),
        popularity=torch.tensor([5.0, 4, 3, 2, 0, 1, 1, 0, 0, 0]),
    )
    assert evaluation.of_people("Recall", 1).tolist() == [0.5, 0]
    assert evaluation.of_people("Recall", 5).tolist() == [1, 0]
    assert evaluation.of_people("NDCG", 5).tolist() == [0.75, 0]  # 1 and 1 / log2(4)
    assert evaluation.of_people("MRR", 5).tolist() == pytest.approx([2 / 3, 0])
    assert evaluation.mean("Recall", 5).mean == 0.5
    assert evaluation.coverage(10) == 0.6  # 0, 1, 2, 3, 5 and 6 of ten items
    assert evaluation.coverage(1) == 0.3
    # The lists' items were met (2 + 4 + 3) / 3, (5 + 1 + 1) / 3 and (4 + 3) / 2 times.
    assert evaluation.mean_popularity(10) == pytest.approx((3 + 7 / 3 + 3.5) / 3)
    unseen = evaluation.unseen(10)  # of item 4 alone
    assert unseen is not None
    assert unseen.mean == 0


def test_without_unseen_targets_there_is_nothing_to_say_of_them() -> None:
    evaluation = Evaluation(lists_of([1]), torch.tensor([1]), torch.tensor([0]), torch.ones(3))
    assert evaluation.unseen(10) is None


class Scores:
    """Scores that depend on the history in some way, drawn once."""

    def __init__(self, num_items: int) -> None:
        self.table = torch.randn(num_items, num_items, generator=torch.Generator().manual_seed(0))

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.table[history].sum(0) for history in histories])


@pytest.mark.parametrize("split_name", ["leave-one-out", "timestamp"])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_metrics_equal_those_of_a_brute_force_ranker(split_name: str, batch_size: int) -> None:
    dataset = small_dataset()
    split = split_by_name(dataset, split_name)
    model = Scores(dataset.num_items)
    found = evaluate(model, split, split.test, batch_size=batch_size)
    histories, targets = split.histories_and_targets(split.test)
    by_person: dict[int, list[float]] = {}
    for row, (history, target) in enumerate(zip(histories, targets.tolist(), strict=True)):
        scores = model.scores([history])[0]
        allowed = sorted(
            set(range(dataset.num_items)) - set(history.tolist()),
            key=lambda item: -float(scores[item]),
        )
        assert [item for item in found.lists[row].tolist() if item >= 0] == allowed[:50]
        gain = 0.0
        if target in allowed[:5]:
            gain = 1 / float(torch.tensor(allowed.index(target) + 2.0).log2())
        person = int(split.everything.user_of(split.test[row]))
        by_person.setdefault(person, []).append(gain)
    expected = [sum(gains) / len(gains) for _, gains in sorted(by_person.items())]
    assert found.of_people("NDCG", 5).tolist() == pytest.approx(expected)


def test_a_model_that_writes_ids_is_asked_by_beam_search() -> None:
    dataset = small_dataset()
    split = leave_one_out(dataset)
    codes = torch.randint(16, (dataset.num_items, 3), generator=torch.Generator().manual_seed(1))
    ids = SemanticIDs(codes, [16, 16, 16])
    torch.manual_seed(0)
    model = DecoderOnly(DecoderOnlyConfig(SMALL), ids).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    assert not isinstance(model, ScoresItems)
    histories, _ = split.histories_and_targets(split.test)
    expected = {beams: recommend(model, histories, k=50, beams=beams).items for beams in (50, 90)}
    assert not torch.equal(expected[50], expected[90])
    found = evaluate(model, split, split.test)
    assert torch.equal(found.lists, expected[50])
    found = evaluate(model, split, split.test, beams=90)
    assert torch.equal(found.lists, expected[90])
    exact = RQTransformer(RQTransformerConfig(SMALL), ids).eval()
    assert isinstance(exact, ScoresItems)
    found = evaluate(exact, split, split.test)
    beams = recommend(exact, histories, k=50, beams=max(50, dataset.num_items))
    assert torch.equal(found.lists, beams.items)


def test_every_kind_of_model_is_evaluated_on_the_same_targets() -> None:
    dataset = small_dataset()
    split = leave_one_out(dataset)
    torch.manual_seed(0)
    models = (
        Popularity(split.train, dataset.num_items),
        ItemKNN(split.train, dataset.num_items),
        SASRec(SASRecConfig(SMALL, num_items=dataset.num_items)).eval(),
    )
    found = [evaluate(model, split, split.test) for model in models]
    for one in found:
        assert torch.equal(one.targets, found[0].targets)
        assert one.lists.shape == (len(split.test), max(CUTOFFS))
        assert difference(one, one, "Recall", 10).mean == 0


def test_models_on_different_targets_are_not_compared() -> None:
    dataset = small_dataset()
    split = leave_one_out(dataset)
    popularity = Popularity(split.train, dataset.num_items)
    one, other = (
        evaluate(popularity, split, positions) for positions in (split.test, split.validation)
    )
    with pytest.raises(ValueError, match="different targets: take both from one split"):
        difference(one, other, "Recall", 10)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    class Broken:
        def scores(self, histories: Sequence[Tensor]) -> Tensor:
            return torch.full((len(histories), dataset.num_items), torch.nan)

    dataset = small_dataset()
    split = leave_one_out(dataset)
    with pytest.raises(ValueError, match="holds a NaN"):
        evaluate(Broken(), split, split.test)


@pytest.mark.parametrize("split_name", get_args(SplitName))
def test_nothing_that_is_tested_was_seen_in_training(split_name: str) -> None:
    """Of each person, training holds the beginning, and every target stands behind it."""
    dataset = small_dataset()
    split = split_by_name(dataset, split_name)
    for part in (split.validation, split.test):
        users = split.everything.user_of(part)
        in_training = split.train.offsets.diff()[users]
        assert (part - split.everything.offsets[users] >= in_training).all()
    assert not set(split.validation.tolist()) & set(split.test.tolist())
    for user, history in enumerate(split.train):
        everything = split.everything[user]
        assert torch.equal(history, everything[: len(history)])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """People hit with probability .1; of 400 intervals, about 95 % hold .1."""
    generator = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(400):
        values = (torch.rand(671, generator=generator) < 0.1).double()
        low, high = bootstrap_interval(values, generator=generator, num_samples=400)
        held += low <= 0.1 <= high
    assert 0.91 <= held / 400 <= 0.98


def test_what_cannot_be_measured_is_refused() -> None:
    evaluation = Evaluation(lists_of([1]), torch.tensor([1]), torch.tensor([0]), torch.ones(3))
    for k in (0, 51):
        for measure in (
            lambda k: evaluation.mean("Recall", k),
            evaluation.unseen,
            evaluation.coverage,
            evaluation.mean_popularity,
        ):
            with pytest.raises(ValueError, match=f"k is {k}; it must be 1 to 50"):
                measure(k)
    with pytest.raises(ValueError, match="metric is 'recall'; it must be one of Recall, NDCG, MRR"):
        evaluation.mean("recall", 10)


def test_nothing_held_out_and_another_catalogue_are_refused() -> None:
    split = leave_one_out(small_dataset())
    model = Popularity(split.train, 90)
    with pytest.raises(ValueError, match="no held-out positions"):
        evaluate(model, split, split.test[:0], 90)
    with pytest.raises(ValueError, match=r"the model knows 90 items, but num_items is 9,066"):
        evaluate(model, split, split.test, 9066)
    with pytest.raises(ValueError, match="the catalogue has items 0 to 9"):
        evaluate(model, split, split.test, 10)
    ids = SemanticIDs(torch.zeros(90, 1, dtype=torch.int64), [2])
    decoder = DecoderOnly(DecoderOnlyConfig(SMALL), ids).eval()
    with pytest.raises(ValueError, match="the model knows 90 items, but num_items is 91"):
        evaluate(decoder, split, split.test, 91)
