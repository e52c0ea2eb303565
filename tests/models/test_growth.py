"""A recommender on a grown catalogue, against the old one, code by code."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rqvae_lib.checkpoints.models import load_recommender, save_recommender
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    CodeSequenceConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
)
from rqvae_lib.models.growth import extend_catalogue
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.models.test_recommenders import ARCHITECTURES, SMALL

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS: dict[str, HistoryModelConfig] = {}
for name, (_, config) in ARCHITECTURES.items():
    plain = config(SMALL, max_items=6)
    if isinstance(plain, CodeSequenceConfig):
        KINDS[name] = plain
        KINDS[f"{name}, valid only"] = replace(plain, valid_only=True)
    elif isinstance(plain, RQTransformerConfig):
        KINDS[name] = plain
        KINDS[f"{name}, no prefix embeddings"] = replace(plain, prefix_embeddings=False)
every = pytest.mark.parametrize("kind", KINDS)
HISTORIES = [torch.tensor([3, 1, 4, 1, 5]), torch.tensor([], dtype=torch.int64), torch.tensor([2])]


def random_codes(rows: int, sizes: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(k, (rows,), generator=generator) for k in sizes], 1)


def trained(kind: str, ids: SemanticIDs) -> Recommender:
    """A model with weights drawn at random, as wide as those of a trained one."""
    torch.manual_seed(0)
    model = new_recommender(KINDS[kind], ids).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    if isinstance(model, RQTransformer) and model.prefix_embedding is not None:
        with torch.no_grad():
            model.prefix_embedding.weight[-1] = 0  # the padding, which no training changes
    return model


@every
def test_without_new_items_nothing_changes(kind: str) -> None:
    model = trained(kind, SemanticIDs(random_codes(30, (4, 3), 0), [4, 3]))
    same = extend_catalogue(model, SemanticIDs(model.ids.codes, [4, 3]))
    assert type(same) is type(model)
    assert not same.training
    before, after = model.state_dict(), same.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(score_items(model, HISTORIES), score_items(same, HISTORIES))


@torch.no_grad()
def among_the_old(grown: Recommender, old: SemanticIDs, history: Tensor, item: int) -> float:
    """log p(item | history) if, at each code, the model chooses among what the old catalogue has.

    For a model that divides by all codes, these are the codebooks and the old disambiguation codes;
    for the others, the codes that lead to an old item.
    """
    everything = isinstance(grown.config, CodeSequenceConfig) and not grown.config.valid_only
    state, total = grown.encode_history([history]), 0.0
    own = old.id_of(item)
    for level, code in enumerate(own):
        logits = grown.next_code_logits(state)[0, 0].double()
        choices = torch.arange(old.sizes[level])
        if not everything:
            choices = old.ids[old.with_prefix(own[:level]), level].unique()
        total += float(logits[code] - logits[choices].logsumexp(0))
        if level + 1 < len(own):
            state = grown.extend(state, torch.tensor([[0]]), torch.tensor([[code]]))
    return total


@every
@pytest.mark.parametrize("sizes", [(4, 3), (6, 5, 4), (3,)])
def test_old_items_keep_their_proportions(kind: str, sizes: tuple[int, ...]) -> None:
    """The old model's probabilities follow from the grown one's by leaving the new choices out."""
    old = SemanticIDs(random_codes(25, sizes, 1), sizes)
    model = trained(kind, old)
    grown = extend_catalogue(model, old.with_new_items(random_codes(15, sizes, 2)))
    before = score_items(model, HISTORIES)
    for row, history in enumerate(HISTORIES):
        for item in range(len(old)):
            found = among_the_old(grown, old, history, item)
            assert found == pytest.approx(float(before[row, item]), abs=2e-4)


@every
def test_old_histories_are_read_exactly_as_before(kind: str) -> None:
    sizes = (4, 3)
    old = SemanticIDs(random_codes(25, sizes, 1), sizes)
    model = trained(kind, old)
    grown = extend_catalogue(model, old.with_new_items(random_codes(15, sizes, 2)))
    before, after = model.encode_history(HISTORIES), grown.encode_history(HISTORIES)
    assert torch.equal(before.hidden, after.hidden)


@every
def test_items_that_no_new_choice_touches_keep_their_probabilities(kind: str) -> None:
    """All new items begin with a code of their own, so below the first code nothing changes."""
    codes = random_codes(25, (3, 3), 1)
    old = SemanticIDs(codes, [4, 3])
    model = trained(kind, old)
    new = torch.tensor([[3, 0], [3, 2]])
    before = score_items(model, HISTORIES)
    after = score_items(extend_catalogue(model, old.with_new_items(new)), HISTORIES)
    lost = before - after[:, :25]
    if isinstance(model.config, CodeSequenceConfig) and not model.config.valid_only:
        torch.testing.assert_close(before, after[:, :25])  # it counted the unused code all along
    else:
        assert bool((lost > 0).all())  # one share for all, that of the new first code
        torch.testing.assert_close(lost, lost[:, :1].expand_as(lost), atol=1e-4, rtol=0)
        total = after.double().exp().sum(1)
        torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64), atol=1e-4, rtol=0)


@every
def test_a_new_disambiguation_code_starts_as_the_highest_old_one(kind: str) -> None:
    old = SemanticIDs(torch.tensor([[0, 0], [0, 0], [1, 1], [1, 0], [0, 1], [1, 2]]), [2, 3])
    model = trained(kind, old)
    grown = extend_catalogue(model, old.with_new_items(torch.tensor([[0, 0], [0, 0], [0, 0]])))
    assert grown.sizes == (2, 3, 5)
    table = grown.state_dict()["code_embedding.weight"]
    assert torch.equal(table[:7], model.state_dict()["code_embedding.weight"])
    assert torch.equal(table[7:], table[6:7].expand(3, -1))
    scores = score_items(grown, HISTORIES)
    assert bool(scores.isfinite().all())
    if not isinstance(grown, RQTransformer):  # the same score until something is learned
        torch.testing.assert_close(scores[:, 6:], scores[:, 6:7].expand(-1, 3))


@every
def test_the_beam_search_finds_new_items_where_the_exact_scores_put_them(kind: str) -> None:
    sizes = (4, 3)
    old = SemanticIDs(random_codes(20, sizes, 1), sizes)
    grown = extend_catalogue(trained(kind, old), old.with_new_items(random_codes(20, sizes, 2)))
    exact = score_items(grown, HISTORIES)
    none = [torch.tensor([], dtype=torch.int64)] * 3
    found = recommend(grown, HISTORIES, k=40, beams=40, forbidden=none)
    assert found.items.sort(1)[0].tolist() == [list(range(40))] * 3
    torch.testing.assert_close(
        found.log_probabilities, exact.gather(1, found.items), atol=1e-4, rtol=0
    )
    assert bool((found.items[:, :10] >= 20).any())


@every
def test_a_history_may_hold_new_items_and_the_file_comes_back(kind: str, tmp_path) -> None:
    old = SemanticIDs(random_codes(20, (4, 3), 1), (4, 3))
    grown = extend_catalogue(trained(kind, old), old.with_new_items(random_codes(20, (4, 3), 2)))
    save_recommender(tmp_path / "grown.safetensors", grown)
    again, _ = load_recommender(tmp_path / "grown.safetensors", grown.ids)
    histories = [torch.tensor([39, 3, 20])]
    assert torch.equal(score_items(again, histories), score_items(grown, histories))


@st.composite
def growths(draw: st.DrawFn) -> tuple[SemanticIDs, list[Tensor]]:
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    batches = draw(st.lists(st.lists(row, min_size=1, max_size=8), min_size=2, max_size=4))
    tensors = [torch.tensor(batch).view(-1, len(sizes)) for batch in batches]
    return SemanticIDs(tensors[0], sizes), tensors[1:]


@given(growths(), st.sampled_from(list(KINDS)))
@settings(max_examples=40, deadline=None)
def test_several_small_growths_equal_one(
    growth: tuple[SemanticIDs, list[Tensor]], kind: str
) -> None:
    """The weights do not depend on the batches in which items came."""
    ids, batches = growth
    model = trained(kind, ids)
    step = model
    for batch in batches:
        step = extend_catalogue(step, step.ids.with_new_items(batch))
    once = extend_catalogue(model, ids.with_new_items(torch.cat(batches)))
    assert step.ids.sha256 == once.ids.sha256
    first, second = step.state_dict(), once.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_old_model_is_left_alone_and_nothing_is_drawn() -> None:
    old = SemanticIDs(random_codes(20, (4, 3), 1), (4, 3))
    model = trained("rq-transformer", old).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    grown = extend_catalogue(model, old.with_new_items(random_codes(5, (4, 3), 2)))
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert grown.training
    assert all(parameter.requires_grad for parameter in grown.parameters())
    with torch.no_grad():
        for parameter in grown.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_other_catalogues_and_other_models_are_refused() -> None:
    old = SemanticIDs(random_codes(20, (4, 3), 1), (4, 3))
    model = trained("decoder-only", old)
    with pytest.raises(ValueError, match=r"item 0 has the ID .* in the grown catalogue"):
        extend_catalogue(model, SemanticIDs(old.codes.flip(0), (4, 3)))
    with pytest.raises(ValueError, match=r"has 19 items .* expected the 20 old items or more"):
        extend_catalogue(model, SemanticIDs(old.codes[:19], (4, 3)))
    with pytest.raises(ValueError, match="codebooks of"):
        extend_catalogue(model, SemanticIDs(old.codes, (5, 3)))
    sasrec = SASRec(SASRecConfig(SMALL, num_items=20))
    with pytest.raises(ValueError, match="a SASRec cannot recommend new items"):
        extend_catalogue(sasrec, old)  # type: ignore[arg-type]
