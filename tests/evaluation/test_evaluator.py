"""The comparison: worked examples by hand, a brute-force ranker, the interval by simulation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, get_args

import pytest
import torch
from torch import Tensor

from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Split, leave_one_out, split_by_name
from rqvae_lib.evaluation.evaluator import (
    CUTOFFS,
    Evaluation,
    difference,
    evaluate,
)
from rqvae_lib.evaluation.metrics import bootstrap_interval
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
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

Model = TypeVar("Model", bound=torch.nn.Module)
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
        beams=None,
    )
    assert evaluation.exact
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
    evaluation = Evaluation(
        lists_of([1]), torch.tensor([1]), torch.tensor([0]), torch.ones(3), beams=50
    )
    assert evaluation.unseen(10) is None
    assert not evaluation.exact


class Scores:
    """Scores that depend on the history in some way, drawn once."""

    def __init__(self, num_items: int) -> None:
        self.table = torch.randn(num_items, num_items, generator=torch.Generator().manual_seed(0))

    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        return torch.stack([self.table[history].sum(0) for history in histories])


@pytest.mark.parametrize("split_name", ["leave-one-out", "timestamp"])
@pytest.mark.parametrize(
    ("batch_size", "repeats"), [(1, False), (3, False), (64, False), (3, True)]
)
def test_metrics_equal_those_of_a_brute_force_ranker(
    split_name: str, batch_size: int, repeats: bool
) -> None:
    dataset = small_dataset((lambda items: [item % 7 for item in items]) if repeats else list)
    split = split_by_name(dataset, split_name)
    model = Scores(dataset.num_items)
    found = evaluate(model, split, split.test, batch_size=batch_size, allow_repeats=repeats)
    histories, targets = split.histories_and_targets(split.test)
    by_person: dict[int, list[float]] = {}
    for row, (history, target) in enumerate(zip(histories, targets.tolist(), strict=True)):
        scores = model.scores([history])[0]
        allowed = sorted(
            set(range(dataset.num_items)) - (set() if repeats else set(history.tolist())),
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


def test_a_search_that_allows_repeats_finds_what_was_had(decoder: DecoderOnly) -> None:
    split = leave_one_out(small_dataset(lambda items: [item % 7 for item in items]))
    for exact in (True, False):
        without = evaluate(decoder, split, split.test, exact=exact, beams=90)
        allowed = evaluate(decoder, split, split.test, exact=exact, beams=90, allow_repeats=True)
        histories, _ = split.histories_and_targets(split.test)
        for row, history in enumerate(histories):
            assert not set(without.lists[row].tolist()) & set(history.tolist())
        had = split.had_before(split.test)
        assert had.any()
        assert not (without.ranks[had] < 50).any()
        assert (allowed.ranks[had] < 50).any()


@pytest.fixture(scope="module")
def split() -> Split:
    return leave_one_out(small_dataset())


@pytest.fixture(scope="module")
def ids() -> SemanticIDs:
    codes = torch.randint(16, (90, 3), generator=torch.Generator().manual_seed(1))
    return SemanticIDs(codes, 16)


def with_strong_opinions(model: Model) -> Model:
    """Give a model weights that are large enough for a beam search to miss something."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.6, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def decoder(ids: SemanticIDs) -> DecoderOnly:
    return with_strong_opinions(DecoderOnly(DecoderOnlyConfig(SMALL), ids))


@pytest.fixture(scope="module")
def rq_transformer(ids: SemanticIDs) -> RQTransformer:
    return with_strong_opinions(RQTransformer(RQTransformerConfig(SMALL), ids))


def ranked_by_hand(split: Split, scores_of: Callable[[Tensor], Tensor]) -> Tensor:
    """Rank by the scores of one history at a time, what was not in it: (M, 50)."""
    rows = []
    for position in split.test.tolist():
        history = split.everything.before(position)
        scores = scores_of(history).tolist()
        left = sorted(set(range(len(scores))) - set(history.tolist()), key=lambda i: -scores[i])
        rows.append(left[:50])
    return torch.tensor(rows)


def test_a_model_that_writes_ids_is_asked_by_beam_search(
    decoder: DecoderOnly, split: Split
) -> None:
    assert not isinstance(decoder, ScoresItems)
    histories, _ = split.histories_and_targets(split.test)
    expected = {n: recommend(decoder, histories, k=50, beams=n).items for n in (50, 90)}
    assert not torch.equal(expected[50], expected[90])
    for exact in (None, False):
        found = evaluate(decoder, split, split.test, exact=exact)
        assert torch.equal(found.lists, expected[50])
        assert (found.exact, found.beams) == (False, 50)
        found = evaluate(decoder, split, split.test, exact=exact, beams=90)
        assert torch.equal(found.lists, expected[90])
        assert (found.exact, found.beams) == (False, 90)


def test_a_model_that_writes_ids_can_be_ranked_exactly(decoder: DecoderOnly, split: Split) -> None:
    expected = ranked_by_hand(split, lambda history: score_items(decoder, [history])[0])
    found = evaluate(decoder, split, split.test, exact=True)
    assert torch.equal(found.lists, expected)
    assert (found.exact, found.beams) == (True, None)
    by_beams = evaluate(decoder, split, split.test).lists
    assert not torch.equal(by_beams, expected)  # or there would be nothing to choose


def test_a_model_that_does_both_scores_unless_beams_are_asked_for(
    rq_transformer: RQTransformer, split: Split
) -> None:
    assert isinstance(rq_transformer, ScoresItems)
    expected = ranked_by_hand(split, lambda history: rq_transformer.scores([history])[0])
    for exact in (None, True):
        found = evaluate(rq_transformer, split, split.test, exact=exact)
        assert torch.equal(found.lists, expected)
        assert (found.exact, found.beams) == (True, None)
    histories, _ = split.histories_and_targets(split.test)
    searched = recommend(rq_transformer, histories, k=50, beams=50).items
    assert not torch.equal(searched, expected)
    found = evaluate(rq_transformer, split, split.test, exact=False)
    assert torch.equal(found.lists, searched)
    assert (found.exact, found.beams) == (False, 50)
    # A beam for each item misses none.
    found = evaluate(rq_transformer, split, split.test, exact=False, beams=split.num_items)
    assert torch.equal(found.lists, expected)


def test_beams_are_refused_of_a_model_that_writes_no_ids(split: Split) -> None:
    for model in (
        SASRec(SASRecConfig(SMALL, num_items=split.num_items)).eval(),
        Popularity(split.popularity),
        ItemKNN(split.train, split.num_items),
    ):
        with pytest.raises(ValueError, match=f"a {type(model).__name__} writes no IDs"):
            evaluate(model, split, split.test, exact=False)
        assert evaluate(model, split, split.test, exact=True).exact


def test_every_kind_of_model_is_evaluated_on_the_same_targets() -> None:
    dataset = small_dataset()
    split = leave_one_out(dataset)
    torch.manual_seed(0)
    models = (
        Popularity(split.popularity),
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
    popularity = Popularity(split.popularity)
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
    evaluation = Evaluation(
        lists_of([1]), torch.tensor([1]), torch.tensor([0]), torch.ones(3), beams=50
    )
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


@pytest.mark.parametrize("exact", [True, False])
def test_no_more_histories_are_read_than_a_batch(
    exact: bool, decoder: DecoderOnly, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All histories at once take gigabytes where each is read for hundreds of targets."""
    read = []
    of_split = Split.histories_and_targets

    def counting(split: Split, positions: Tensor) -> tuple[list[Tensor], Tensor]:
        read.append(len(positions))
        return of_split(split, positions)

    expected = evaluate(decoder, split, split.test, exact=exact)
    monkeypatch.setattr(Split, "histories_and_targets", counting)
    found = evaluate(decoder, split, split.test, exact=exact, batch_size=3)
    assert torch.equal(found.lists, expected.lists)
    assert set(read[:-1]) == {3}
    assert sum(read) == len(split.test)


def test_a_batch_has_at_least_one_history(split: Split) -> None:
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size is {batch_size}; it must be at least 1"):
            evaluate(Popularity(split.popularity), split, split.test, batch_size=batch_size)


def test_nothing_held_out_and_another_catalogue_are_refused() -> None:
    split = leave_one_out(small_dataset())
    with pytest.raises(ValueError, match="no held-out positions"):
        evaluate(Popularity(split.popularity), split, split.test[:0])
    known_to_the_model = torch.zeros(91)
    with pytest.raises(ValueError, match="the model knows 91 items, but the split is of 90"):
        evaluate(Popularity(known_to_the_model), split, split.test)
    smaller = replace(split, num_items=10)
    with pytest.raises(ValueError, match="the catalogue has items 0 to 9"):
        evaluate(Popularity(torch.zeros(10)), smaller, split.test)
    ids = SemanticIDs(torch.zeros(91, 1, dtype=torch.int64), [2])
    decoder = DecoderOnly(DecoderOnlyConfig(SMALL), ids).eval()
    for exact in (None, False, True):
        with pytest.raises(ValueError, match="the model knows 91 items, but the split is of 90"):
            evaluate(decoder, split, split.test, exact=exact)
