"""The architecture study's models know what their names say, and score as the library's do."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import architecture_study
from architecture_study import (
    COLUMNS,
    MODELS,
    TRAINING,
    Chooser,
    CodeByCode,
    ContextAlone,
    Training,
    nats_by_level,
    train_model,
)
from comparison_study import PEOPLE_COLUMNS
from decoder_study import level_losses
from rqvae_lib.data.batches import PADDING
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.models.configs import HistoryModelConfig, RQTransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.recipes import train_recommender
from tables import read_rows

pytestmark = pytest.mark.usefixtures("one_thread")

PEOPLE = 671
STUDIED = ("context alone", "codes alone", "context + codes", "depth transformer")


@pytest.fixture(scope="module")
def ids() -> SemanticIDs:
    codes = torch.randint(4, (60, 3), generator=torch.Generator().manual_seed(0))
    return SemanticIDs(codes, (4, 4, 4))  # with a fourth code where three are shared


@pytest.fixture(scope="module")
def split() -> Split:
    rows = [torch.randperm(60, generator=torch.Generator().manual_seed(u))[:8] for u in range(12)]
    everything = Histories(torch.cat(rows), torch.arange(13) * 8)
    train = Histories(torch.cat([row[:6] for row in rows]), torch.arange(13) * 6)
    ends = everything.offsets[1:]
    return Split(
        train, everything, validation=ends - 2, test=ends - 1, num_items=60, name="leave-one-out"
    )


def far_from_zero(model: torch.nn.Module) -> None:
    """Draw weights that make a difference: those of a new model are nearly nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))


def studied(name: str, ids: SemanticIDs) -> CodeByCode:
    model = MODELS[name](ids)
    assert isinstance(model, CodeByCode)
    far_from_zero(model)
    return model.eval()


@pytest.mark.parametrize("name", STUDIED)
def test_scores_are_the_sum_over_the_codes_one_by_one(name: str, ids: SemanticIDs) -> None:
    model = studied(name, ids)
    history = torch.tensor([3, 17, 41, 8])
    vectors = model.code_embedding.weight  # (sum of sizes, 64)
    starts = [0, 4, 8, 12]
    with torch.no_grad():
        context = model.transformer(model._embed(history[None]))[0, -1:]  # (1, 64)
        for item in (0, 5, 33):
            expected = torch.zeros(())
            code = ids.ids[item].tolist()
            for level in range(4):
                begins = (ids.ids[:, :level] == ids.ids[item, :level]).all(1)
                rivals = sorted(set(ids.ids[begins, level].tolist()))
                before = torch.stack(
                    [vectors[starts[i] + code[i]] for i in range(level)] or [torch.empty(0, 64)]
                ).reshape(1, level, 64)
                asked = model.chooser(context, before, model.level_position.weight)[0]
                logits = torch.stack([vectors[starts[level] + c] @ asked for c in rivals])
                expected = expected + logits.log_softmax(0)[rivals.index(code[level])]
            scores = model.scores([history[:2], history])  # one is padded
            torch.testing.assert_close(scores[1, item], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))


@pytest.mark.parametrize("name", STUDIED)
def test_loss_is_the_mean_of_the_scores_of_all_items_of_a_window(
    name: str, ids: SemanticIDs
) -> None:
    model = studied(name, ids)
    rows = torch.tensor([[3, 17, 41, 8], [9, 2, PADDING, PADDING]])
    with torch.no_grad():
        found = model.loss(rows)
    surprise = [
        -model.scores([row[:place]])[0, row[place]]
        for row, length in zip(rows, (4, 2), strict=True)
        for place in range(length)
    ]
    torch.testing.assert_close(found, torch.stack(surprise).mean(), rtol=1e-4, atol=1e-4)


def looked_at(model: CodeByCode, level: int) -> tuple[bool, list[bool]]:
    """Say whether what is asked for depends on the context, and on each code before."""
    context = torch.randn(1, 64).requires_grad_()
    before = torch.randn(1, level, 64).requires_grad_()
    asked: Tensor = model.chooser(context, before, model.level_position.weight)
    of = torch.autograd.grad(asked[0, :3].sum(), (context, before), allow_unused=True)
    moved = [None if gradient is None else gradient.abs().amax(-1) for gradient in of]
    codes = [False] * level if moved[1] is None else (moved[1][0] > 0).tolist()
    return moved[0] is not None and bool(moved[0] > 0), codes


@pytest.mark.parametrize("name", STUDIED)
def test_a_code_knows_what_the_name_says(name: str, ids: SemanticIDs) -> None:
    model = studied(name, ids)
    for level in range(4):
        context, codes = looked_at(model, level)
        assert context == (level == 0 or name != "codes alone")
        assert codes == [name != "context alone"] * level


def test_context_alone_is_the_library_s_model_without_vectors_for_prefixes(
    ids: SemanticIDs,
) -> None:
    theirs = RQTransformer(RQTransformerConfig(), ids).eval()
    far_from_zero(theirs)
    assert theirs.prefix_embedding is not None
    with torch.no_grad():
        theirs.prefix_embedding.weight.zero_()
    ours = CodeByCode(HistoryModelConfig(), ids, lambda dim: ContextAlone(dim, 2 * dim)).eval()
    renamed = {
        name.replace("context_", "chooser."): value
        for name, value in theirs.state_dict().items()
        if not name.startswith("prefix_") and name != "semantic_ids"
    }
    ours.load_state_dict(renamed | {"code_rows": ours.code_rows})
    histories = [torch.tensor([3, 17, 41, 8]), torch.tensor([5])]
    torch.testing.assert_close(ours.scores(histories), theirs.scores(histories))
    items = torch.tensor([[3, 17, 41, 8], [9, 2, PADDING, PADDING]])
    torch.testing.assert_close(ours.loss(items), theirs.loss(items))


def test_all_but_one_have_about_as_many_parameters() -> None:
    ids = architecture_study.shipped_ids(
        architecture_study.load_dataset(architecture_study.DATASET), None, 0
    )
    sizes = {name: sum(p.numel() for p in MODELS[name](ids).parameters()) for name in MODELS}
    largest = sizes.pop("prefix vectors")
    assert max(sizes.values()) < 1.06 * min(sizes.values())
    assert 4 < largest / max(sizes.values()) < 5


@pytest.mark.parametrize("name", [name for name in MODELS if name not in STUDIED])
def test_a_training_is_the_library_s(name: str, ids: SemanticIDs, split: Split) -> None:
    training = replace(TRAINING, num_steps=3)
    ours = train_model(name, ids, split.train, 5, training)
    training = replace(training, seed=5, batch_size=128 if name == "encoder-decoder" else 16)
    theirs, _ = train_recommender(ids, split.train, ours.config, training, progress=False)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert not ours.training


def test_nats_by_level_are_what_a_walk_down_the_trie_finds(ids: SemanticIDs, split: Split) -> None:
    model = new_recommender(RQTransformerConfig(), ids).eval()
    far_from_zero(model)
    assert isinstance(model, RQTransformer)
    expected = level_losses(model, *split.histories_and_targets(split.test)).valid
    assert nats_by_level(model, ids, split, rows=5) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert min(expected[:3]) > 0.1


def test_a_chooser_must_say_what_it_knows() -> None:
    with pytest.raises(NotImplementedError):
        Chooser(8)(torch.zeros(1, 8), torch.zeros(1, 0, 8), torch.zeros(4, 8))


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Training] = []

    def pretend(job: Training) -> tuple[dict[str, str], list[dict[str, str]]]:
        if len(asked) == 3:
            raise InterruptedError
        asked.append(job)
        hit = {"person": "7", "recall_10": "1.00000", "ndcg_10": "0.5"}
        return {"recall_10": "0.1", "ndcg_10": "0.1"}, [hit]

    monkeypatch.setattr(architecture_study, "train_and_evaluate", pretend)
    which = ["--models", "prefix vectors", "context alone", "--seeds", "1", "0"]
    monkeypatch.setattr("sys.argv", ["study", "--output", str(tmp_path), *which])
    with pytest.raises(InterruptedError):
        architecture_study.main()
    first = asked.copy()
    asked.clear()
    architecture_study.main()
    assert [*first, *asked] == [
        Training(model, seed) for seed in (1, 0) for model in ("prefix vectors", "context alone")
    ]
    for name, columns in (("10_architectures.csv", COLUMNS), ("10_people.csv", PEOPLE_COLUMNS)):
        rows = read_rows(tmp_path / name, columns)
        assert [(row["model"], row["seed"]) for row in rows] == [
            (model, seed) for model in ("context alone", "prefix vectors") for seed in "01"
        ]
