"""Beam search against scoring every item of small catalogues by brute force."""

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rqvae_lib.generation import beam_search
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    CONFIGS,
    ArchitectureName,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.models.registry import MODELS, new_recommender
from rqvae_lib.semantic_ids import trie
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
NOTHING = torch.empty(0, dtype=torch.int64)


def random_model(num_items: int, num_levels: int, seed: int = 0) -> Recommender:
    generator = torch.Generator().manual_seed(seed)
    sizes = [3] * num_levels
    ids = SemanticIDs(torch.randint(3, (num_items, num_levels), generator=generator), sizes)
    torch.manual_seed(seed)
    # Both architectures in turn; the seed decides.
    if seed % 2:
        model: Recommender = EncoderDecoder(EncoderDecoderConfig(SMALL, max_items=5), ids)
    else:
        model = DecoderOnly(DecoderOnlyConfig(SMALL, max_items=5), ids)
    model.eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6)
    return model


@torch.no_grad()
def scores_of_all_items(model: Recommender, history: Tensor, temperature: float = 1.0) -> Tensor:
    """log p(ID | history) of every item, (N,), each forced through the model on its own."""
    ids = model.semantic_ids
    state = model.encode_history([history] * len(ids))
    zeros = torch.zeros(len(ids), 1, dtype=torch.int64)
    total = torch.zeros(len(ids))
    for level in range(ids.shape[1]):
        log_probabilities = (model.next_code_logits(state)[:, 0] / temperature).log_softmax(1)
        total += log_probabilities.gather(1, ids[:, level, None])[:, 0]
        if level + 1 < ids.shape[1]:
            state = model.extend(state, zeros, ids[:, level, None])
    return total


def expected_of(scores: Tensor, forbidden: Tensor, k: int) -> tuple[list[int], Tensor]:
    """The best k allowed items in order, padded with −1 and −inf."""
    scores = scores.clone()
    scores[forbidden] = -torch.inf
    order = [i for i in scores.argsort(descending=True).tolist() if scores[i] > -torch.inf][:k]
    values = scores[order].tolist() + [-torch.inf] * (k - len(order))
    return order + [-1] * (k - len(order)), torch.tensor(values)


HISTORIES = [torch.tensor([0, 0]), NOTHING, torch.tensor([0] * 9)]


@given(
    st.sampled_from([1, 2, 4, 60]),
    st.integers(1, 6),
    st.integers(0, 50),
    st.data(),
)
@settings(max_examples=50, deadline=None)
def test_as_many_beams_as_items_give_the_exact_ranking(
    num_items: int, num_levels: int, seed: int, data: st.DataObject
) -> None:
    model = random_model(num_items, num_levels, seed)
    k = data.draw(st.integers(1, num_items + 3))
    items = st.lists(st.integers(0, num_items - 1), max_size=num_items)
    forbidden = [torch.tensor(data.draw(items), dtype=torch.int64) for _ in HISTORIES]
    found = recommend(model, HISTORIES, k=k, beams=max(k, num_items), forbidden=forbidden)
    assert found.items.shape == found.log_probabilities.shape == (3, k)
    for row, history in enumerate(HISTORIES):
        scores = scores_of_all_items(model, history)
        order, values = expected_of(scores, forbidden[row], k)
        assert found.items[row].tolist() == order
        torch.testing.assert_close(found.log_probabilities[row], values, rtol=1e-4, atol=1e-4)
        assert float(found.log_probabilities[row].exp().sum()) <= 1 + 1e-5


def test_the_probabilities_of_a_full_catalogue_sum_to_one() -> None:
    codes = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    model = random_model(9, 2)
    model = DecoderOnly(model.config, SemanticIDs(codes, [3, 3])).eval()
    found = recommend(model, [NOTHING], k=9, beams=9)
    assert float(found.log_probabilities.exp().sum()) == pytest.approx(1, abs=1e-4)


@given(st.integers(0, 100), st.integers(1, 4), st.integers(1, 12), st.data())
@settings(max_examples=50, deadline=None)
def test_narrow_beams_find_k_different_allowed_items_with_their_true_scores(
    seed: int, num_levels: int, k: int, data: st.DataObject
) -> None:
    num_items = 40
    model = random_model(num_items, num_levels, seed)
    forbidden = data.draw(st.sets(st.integers(0, num_items - 1)))
    allowed = set(range(num_items)) - forbidden
    history = torch.tensor([1, 2])
    found = recommend(
        model, [history], k=k, beams=k, forbidden=[torch.tensor(list(forbidden)).long()]
    )
    real = [item for item in found.items[0].tolist() if item != -1]
    assert len(real) == min(k, len(allowed))
    assert len(set(real)) == len(real)
    assert set(real) <= allowed
    scores = scores_of_all_items(model, history)
    torch.testing.assert_close(
        found.log_probabilities[0, : len(real)], scores[real], rtol=1e-4, atol=1e-4
    )
    assert found.items[0, len(real) :].tolist() == [-1] * (k - len(real))
    assert (found.log_probabilities[0, len(real) :] == -torch.inf).all()
    descending = found.log_probabilities[0, : len(real)]
    assert torch.equal(descending, descending.sort(descending=True).values)


@given(st.sampled_from([1, 2, 4, 40]), st.integers(1, 6), st.integers(0, 50), st.data())
@settings(max_examples=40, deadline=None)
def test_allowed_items_and_temperature_against_brute_force(
    num_items: int, num_levels: int, seed: int, data: st.DataObject
) -> None:
    model = random_model(num_items, num_levels, seed)
    rows = st.lists(st.integers(0, num_items - 1), max_size=num_items)
    allowed = torch.tensor(data.draw(rows), dtype=torch.int64)
    temperature = data.draw(st.sampled_from([0.5, 1.0, 3.0]))
    k = data.draw(st.integers(1, num_items + 2))
    found = recommend(
        model, HISTORIES, k=k, beams=max(k, num_items), allowed=allowed, temperature=temperature
    )
    narrow = recommend(model, HISTORIES, k=k, beams=k, allowed=allowed)
    barred = torch.ones(num_items, dtype=torch.bool)
    barred[allowed] = False
    for row, history in enumerate(HISTORIES):
        scores = scores_of_all_items(model, history, temperature)
        out = torch.cat([history, barred.nonzero()[:, 0]])
        order, values = expected_of(scores, out, k)
        assert found.items[row].tolist() == order
        torch.testing.assert_close(found.log_probabilities[row], values, rtol=1e-4, atol=1e-4)
        # Beams as narrow as they may be find as many different items, all of them allowed.
        real = [item for item in narrow.items[row].tolist() if item >= 0]
        assert len(set(real)) == len(real) == sum(item >= 0 for item in order)
        assert not set(real) & set(out.tolist())


@pytest.mark.parametrize("limit", [1, 2, 5, 60])
def test_at_most_so_many_items_share_their_first_code(limit: int) -> None:
    model = random_model(60, 3)
    found = recommend(model, HISTORIES, k=12, beams=60, max_per_prefix=limit)
    for row, history in enumerate(HISTORIES):
        scores = scores_of_all_items(model, history)
        scores[history] = -torch.inf
        expected: list[int] = []
        for item in scores.argsort(descending=True).tolist():
            first = [int(model.semantic_ids[other, 0]) for other in expected]
            if scores[item] > -torch.inf and first.count(int(model.semantic_ids[item, 0])) < limit:
                expected.append(item)
        expected = (expected + [-1] * 12)[:12]
        assert found.items[row].tolist() == expected


@pytest.mark.parametrize("bad", [-1, 7])
def test_allowed_items_outside_the_catalogue_are_refused(bad: int) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=f"item {bad} is allowed.*items 0 to 6"):
        recommend(model, [NOTHING], k=2, allowed=torch.tensor([1, bad]))


@pytest.mark.parametrize("bad", [0.0, -1.0, torch.inf, torch.nan, 1e-38, 9e-7, 1.1e6, 1e39])
def test_a_temperature_out_of_range_is_refused(bad: float) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=rf"temperature is {re.escape(str(bad))}; .* 1e-06 to"):
        recommend(model, [NOTHING], k=2, temperature=bad)


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
@pytest.mark.parametrize("valid_only", [False, True])
def test_the_outermost_temperatures_still_rank_every_item(
    temperature: float, valid_only: bool
) -> None:
    """Scores as large as a trained model's, divided, stay numbers."""
    model = random_model(40, 3, seed=0)
    weights = model.state_dict()
    assert isinstance(model.config, DecoderOnlyConfig)
    model = DecoderOnly(replace(model.config, valid_only=valid_only), model.ids).eval()
    model.load_state_dict(weights)
    model.bias.data *= 30
    found = recommend(model, [NOTHING], k=40, beams=40, temperature=temperature)
    assert sorted(found.items[0].tolist()) == list(range(40))
    assert found.log_probabilities.isfinite().all()
    if temperature < 1:  # each code the likeliest one: what a search of one beam finds
        greedy = recommend(model, [NOTHING], k=1, beams=1)
        assert found.items[0, 0] == greedy.items[0, 0]
    elif valid_only:  # all children of a prefix are equally likely
        expected = equal_shares(model.ids.ids.tolist())
        values = found.log_probabilities[0][found.items[0].argsort()]
        torch.testing.assert_close(values, expected, rtol=1e-3, atol=1e-3)


def equal_shares(rows: list[list[int]]) -> Tensor:
    """log p of each ID if every code is drawn evenly from those that lead to an item, (N,)."""
    choices = [
        [len({r[depth] for r in rows if r[:depth] == row[:depth]}) for depth in range(len(row))]
        for row in rows
    ]
    return -torch.tensor(choices).log().sum(1)


def test_no_item_a_prefix_is_refused() -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match="max_per_prefix is 0"):
        recommend(model, [NOTHING], k=2, max_per_prefix=0)


def test_a_prefix_whose_items_are_all_forbidden_takes_no_beam() -> None:
    """The likeliest first code is forbidden altogether; a single beam must look elsewhere."""
    model = random_model(60, 3)
    history = torch.tensor([3])
    scores = scores_of_all_items(model, history)
    best_first = int(model.semantic_ids[scores.argmax(), 0])
    forbidden = model.ids.with_prefix((best_first,))
    found = recommend(model, [history], k=1, beams=1, forbidden=[forbidden.repeat(3)])
    assert int(found.items[0, 0]) >= 0
    assert int(model.semantic_ids[found.items[0, 0], 0]) != best_first


def test_the_history_is_forbidden_by_default_and_may_be_allowed() -> None:
    model = random_model(10, 2)
    history = torch.tensor([3, 3, 4])
    found = recommend(model, [history], k=10, beams=10)
    assert sorted(found.items[0].tolist()) == [-1, -1, 0, 1, 2, 5, 6, 7, 8, 9]
    everything = recommend(model, [history], k=10, beams=10, forbidden=[NOTHING])
    assert sorted(everything.items[0].tolist()) == list(range(10))


def test_nothing_is_left_where_everything_is_forbidden() -> None:
    model = random_model(7, 2)
    found = recommend(model, [NOTHING], k=3, beams=5, forbidden=[torch.arange(7)])
    assert found.items.tolist() == [[-1, -1, -1]]
    assert found.log_probabilities.tolist() == [[-torch.inf] * 3]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_batch_equals_its_users_one_by_one(batch_size: int) -> None:
    model = random_model(60, 3)
    histories = [torch.arange(n) for n in (3, 0, 12, 1, 7)]
    together = recommend(model, histories, k=8, beams=12, batch_size=batch_size)
    for row, history in enumerate(histories):
        alone = recommend(model, [history], k=8, beams=12)
        assert together.items[row].tolist() == alone.items[0].tolist()
        torch.testing.assert_close(
            together.log_probabilities[row], alone.log_probabilities[0], rtol=1e-4, atol=1e-4
        )


def test_an_empty_batch() -> None:
    model = random_model(7, 2)
    found = recommend(model, [], k=3, beams=5)
    assert found.items.shape == found.log_probabilities.shape == (0, 3)
    assert found.items.dtype == torch.int64


@pytest.mark.parametrize(("k", "beams"), [(0, 5), (-1, 5), (6, 5)])
def test_fewer_beams_than_items_are_refused(k: int, beams: int) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=f"k is {k} and beams is {beams}"):
        recommend(model, [NOTHING], k=k, beams=beams)


def test_forbidden_items_must_be_given_for_each_user() -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match="2 histories and 1 lists of forbidden items"):
        recommend(model, [NOTHING, NOTHING], k=2, forbidden=[torch.tensor([1])])


@pytest.mark.parametrize("bad", [-1, 7])
def test_forbidden_items_outside_the_catalogue_are_refused(bad: int) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=f"item {bad} is forbidden.*items 0 to 6"):
        recommend(model, [NOTHING], k=2, forbidden=[torch.tensor([1, bad])])


@pytest.mark.parametrize("bad", [-1, 7])
def test_a_history_outside_the_catalogue_is_refused_as_a_history(bad: int) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=f"history 0 names items.*{bad}"):
        recommend(model, [torch.tensor([1, bad])], k=2)


def test_a_model_of_nan_is_an_error_and_not_an_empty_list() -> None:
    ids = SemanticIDs(torch.tensor([[0], [1], [2]]), [3])
    model = DecoderOnly(DecoderOnlyConfig(SMALL, max_items=3), ids).eval()
    with torch.no_grad():
        model.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        recommend(model, [torch.tensor([0])], k=1, beams=3)


def test_an_item_outside_is_found_in_all_of_a_history_and_its_user_named() -> None:
    """The model hears the last items of a history only, and a batch at a time."""
    model = random_model(12, 2)
    histories = [NOTHING] * 70 + [torch.tensor([99, *[0] * 9])]
    for run in (recommend, score_items):
        with pytest.raises(ValueError, match="history 70 names items 0 to 99"):
            run(model, histories)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_of_nobody_is_refused(batch_size: int) -> None:
    model = random_model(12, 2)
    with pytest.raises(ValueError, match=f"batch_size is {batch_size}; it must be at least 1"):
        recommend(model, HISTORIES, batch_size=batch_size)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("in_a_row", [1, 10_000])  # one user at a time, or all
def test_children_in_a_row_give_the_same_items_as_padded_ones(
    name: ArchitectureName, in_a_row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(3, (60, 2), generator=generator)
    codes[torch.randperm(60, generator=generator)[:25]] = torch.tensor([1, 2])
    ids = SemanticIDs(codes, 3)
    torch.manual_seed(0)
    of_codes = "prefix_embeddings" if name == "rq-transformer" else "valid_only"
    for setting in (True, False):
        monkeypatch.setattr(trie, "MANY_CHILDREN", 10**6)
        model = new_recommender(
            CONFIGS[name](SMALL, max_items=5, **{of_codes: setting}), ids
        ).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.6)
        histories = [torch.tensor([1, 2, 3]), NOTHING, torch.arange(40)]
        expected = recommend(model, histories, k=4, beams=4)
        monkeypatch.setattr(trie, "MANY_CHILDREN", 0)
        monkeypatch.setattr(beam_search, "IN_A_ROW", in_a_row)
        model.trie = trie.Trie(ids)
        assert model.trie.row_width(2, 4) is not None
        found = recommend(model, histories, k=4, beams=4)
        assert torch.equal(found.items, expected.items)
        torch.testing.assert_close(found.log_probabilities, expected.log_probabilities)
