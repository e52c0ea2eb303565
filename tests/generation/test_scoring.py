"""Exact scores of a catalogue against forcing every item through the model on its own."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import BeamState
from tests.generation.test_beam_search import HISTORIES, NOTHING, random_model, scores_of_all_items

pytestmark = pytest.mark.usefixtures("one_thread")


@given(st.sampled_from([1, 2, 30]), st.integers(1, 6), st.integers(0, 50), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_scores_equal_those_of_every_item_forced_through_the_model(
    num_items: int, num_levels: int, seed: int, chunk_size: int
) -> None:
    model = random_model(num_items, num_levels, seed)
    found = score_items(model, HISTORIES, chunk_size=chunk_size, batch_size=2)
    assert found.shape == (3, num_items)
    assert found.dtype == torch.float32
    for row, history in enumerate(HISTORIES):
        expected = scores_of_all_items(model, history)
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-4)
    assert (found.exp().sum(1) <= 1 + 1e-5).all()


class Counting:
    """A recommender that counts which prefixes it is asked to read."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.trie = model.trie
        self.pad_histories = model.pad_histories
        self.child_log_probabilities = model.child_log_probabilities
        self.read: Counter[tuple[int, ...]] = Counter()
        self.widest = 0

    def read_histories(self, items: Tensor, lengths: Tensor) -> BeamState:
        self.prefixes: dict[int, list[tuple[int, ...]]] = {}
        state = self.model.read_histories(items, lengths)
        self.prefixes[id(state)] = [()]
        self.kept = [state]  # so that no other state gets its id
        return state

    def extend(self, state: BeamState, parents: Tensor, codes: Tensor, nodes: Tensor) -> BeamState:
        for same_for_all_users in (parents, codes, nodes):
            assert (same_for_all_users == same_for_all_users[0]).all()
        before = self.prefixes[id(state)]
        pairs = zip(parents[0].tolist(), codes[0].tolist(), strict=True)
        prefixes = [(*before[parent], code) for parent, code in pairs]
        assert [self.node_of(prefix) for prefix in prefixes] == nodes[0].tolist()
        self.read.update(prefixes)
        self.widest = max(self.widest, len(prefixes))
        further = self.model.extend(state, parents, codes, nodes)
        self.prefixes[id(further)] = prefixes
        self.kept.append(further)
        return further

    def node_of(self, prefix: tuple[int, ...]) -> int:
        """The place of a prefix among all of its length, in sorted order."""
        depth = len(prefix)
        return sorted({tuple(row[:depth]) for row in self.model.semantic_ids.tolist()}).index(
            prefix
        )


@pytest.mark.parametrize("chunk_size", [1, 4, 1000])
def test_each_distinct_prefix_is_read_once_and_no_more_than_a_chunk_at_a_time(
    chunk_size: int,
) -> None:
    model = random_model(60, 3)
    counting = Counting(model)
    score_items(counting, HISTORIES, chunk_size=chunk_size)
    rows = model.semantic_ids.tolist()
    prefixes = {tuple(row[:n]) for row in rows for n in range(1, model.semantic_ids.shape[1])}
    assert counting.read == Counter(prefixes)
    assert counting.widest <= chunk_size


@given(st.lists(st.integers(0, 59), max_size=8))
@settings(max_examples=20, deadline=None)
def test_some_items_come_in_the_order_asked_for_and_only_their_prefixes_are_read(
    items: list[int],
) -> None:
    model = random_model(60, 3)
    counting = Counting(model)
    chosen = torch.tensor(items, dtype=torch.int64)
    found = score_items(counting, HISTORIES, chosen)
    everything = score_items(model, HISTORIES)
    torch.testing.assert_close(found, everything[:, chosen], rtol=1e-4, atol=1e-5)
    rows = model.semantic_ids[chosen].tolist()
    prefixes = {tuple(row[:n]) for row in rows for n in range(1, model.semantic_ids.shape[1])}
    assert counting.read == Counter(prefixes)


def test_the_beam_search_ranks_by_the_same_scores() -> None:
    model = random_model(60, 3)
    found = recommend(model, HISTORIES, k=60, beams=60, forbidden=[NOTHING] * 3)
    ranked = score_items(model, HISTORIES).gather(1, found.items)
    torch.testing.assert_close(found.log_probabilities, ranked, rtol=1e-4, atol=1e-4)


def test_no_users_have_no_scores() -> None:
    model = random_model(7, 2)
    assert score_items(model, []).shape == (0, 7)


@pytest.mark.parametrize("bad", [-1, 7])
def test_items_outside_the_catalogue_are_refused(bad: int) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=f"item {bad} is to be scored.*items 0 to 6"):
        score_items(model, [NOTHING], torch.tensor([1, bad]))
    with pytest.raises(ValueError, match=f"history 0 names items.*{bad}"):
        score_items(model, [torch.tensor([1, bad])])


@pytest.mark.parametrize(("chunk_size", "batch_size"), [(0, 5), (5, 0)])
def test_nothing_at_a_time_is_refused(chunk_size: int, batch_size: int) -> None:
    model = random_model(7, 2)
    with pytest.raises(ValueError, match=r"(chunk|batch)_size is 0; it must be at least 1"):
        score_items(model, [NOTHING], chunk_size=chunk_size, batch_size=batch_size)


def test_a_model_of_nan_is_an_error() -> None:
    model = random_model(7, 2)
    with torch.no_grad():
        model.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaN"):
        score_items(model, [NOTHING])


@pytest.mark.parametrize("seed", [0, 1])
def test_with_valid_only_all_items_sum_to_one_and_the_beam_search_agrees(seed: int) -> None:
    plain = random_model(60, 3, seed)
    model = type(plain)(replace(plain.config, valid_only=True), plain.ids).eval()
    model.load_state_dict(plain.state_dict())
    scores = score_items(model, HISTORIES, chunk_size=5)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(3), rtol=1e-4, atol=1e-4)
    found = recommend(model, HISTORIES, k=60, beams=60, forbidden=[NOTHING] * 3)
    ranked = scores.gather(1, found.items)
    torch.testing.assert_close(found.log_probabilities, ranked, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores.sort(1, descending=True).values, ranked)
