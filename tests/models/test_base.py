"""What all generative recommenders share: the trie that they own, and how they read histories."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models import base
from rqvae_lib.models.base import BeamState, Recommender, check_histories, pad_histories
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie
from tests.models.test_recommenders import random_ids

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=12, num_layers=2, num_heads=3, mlp_dim=20)
CONFIGS: dict[str, HistoryModelConfig] = {
    "decoder-only": DecoderOnlyConfig(SMALL, max_items=6),
    "decoder-only, valid": DecoderOnlyConfig(SMALL, max_items=6, valid_only=True),
    "encoder-decoder": EncoderDecoderConfig(SMALL, max_items=6),
    "encoder-decoder, valid": EncoderDecoderConfig(SMALL, max_items=6, valid_only=True),
    "rq-transformer": RQTransformerConfig(SMALL, max_items=6),
    "rq-transformer, codes only": RQTransformerConfig(SMALL, max_items=6, prefix_embeddings=False),
}
every = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
HISTORIES = [torch.tensor([3, 7, 7]), torch.empty(0, dtype=torch.int64), torch.arange(9)]


def random_model(config: HistoryModelConfig, ids: SemanticIDs | None = None) -> Recommender:
    torch.manual_seed(0)
    model = new_recommender(config, random_ids(60, (4, 4, 3)) if ids is None else ids).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


# The trie


@every
def test_a_model_owns_the_trie_of_its_catalogue(config: HistoryModelConfig) -> None:
    model = random_model(config)
    expected = dict(Trie(model.ids).named_buffers())
    assert dict(model.trie.named_buffers()).keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(model.trie.get_buffer(name), tensor)
    assert torch.equal(model.semantic_ids, model.ids.ids)


@every
def test_the_trie_is_not_in_the_state_dict_and_a_loaded_model_has_its_own(
    config: HistoryModelConfig,
) -> None:
    model = random_model(config)
    assert [name for name in model.state_dict() if "trie" in name] == []
    assert "semantic_ids" in model.state_dict()  # from which it is made
    other = random_model(config, model.ids)
    other.load_state_dict(model.state_dict(), strict=True)
    assert other.trie is not model.trie
    torch.testing.assert_close(
        other.next_code_logits(other.encode_history(HISTORIES)),
        model.next_code_logits(model.encode_history(HISTORIES)),
    )


@every
def test_the_trie_moves_with_the_model(config: HistoryModelConfig) -> None:
    """`meta` is the one other device that every machine has."""
    model = random_model(config)
    tensors = {name for name, _ in model.named_buffers() if name.startswith("trie.")}
    assert {"trie.items", "trie.leaf_of", "trie.first_leaf_4"} <= tensors
    moved = copy.deepcopy(model).to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}
    assert {tensor.device.type for level in moved.trie.levels for tensor in level[:3]} == {"meta"}
    assert {buffer.device.type for buffer in model.buffers()} == {"cpu"}


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_float_type_leaves_the_trie_as_it_is(
    config: HistoryModelConfig, dtype: torch.dtype
) -> None:
    model = random_model(config).to(dtype)
    for name, tensor in Trie(model.ids).named_buffers():
        assert torch.equal(model.trie.get_buffer(name), tensor)
        assert model.trie.get_buffer(name).dtype == tensor.dtype


@every
def test_a_model_made_without_memory_has_a_real_trie(config: HistoryModelConfig) -> None:
    """As the reader of a checkpoint makes it before it has looked at the tensors."""
    ids = random_ids(60, (4, 4, 3))
    with torch.device("meta"):
        model = new_recommender(config, ids)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    for name, tensor in Trie(ids).named_buffers():
        assert torch.equal(model.trie.get_buffer(name), tensor)


# Extending beams


def tensors_of(part: Any) -> list[Tensor]:
    """All tensors of a state, its memory's included."""
    if isinstance(part, Tensor):
        return [part]
    parts = part if isinstance(part, tuple | list) else []
    return [tensor for inner in parts for tensor in tensors_of(inner)]


@every
@torch.no_grad()
def test_extending_without_nodes_gives_the_states_that_it_gives_with_them(
    config: HistoryModelConfig,
) -> None:
    model = random_model(config)
    generator = torch.Generator().manual_seed(0)
    told = untold = model.encode_history(HISTORIES)
    nodes = torch.zeros(len(HISTORIES), 1, dtype=torch.int64)
    for depth in range(model.trie.depth - 1):
        children = model.trie.children_of(depth, nodes)  # (B, K, C)
        parents = torch.randint(nodes.shape[1], (len(HISTORIES), 5), generator=generator)
        number = children.valid.sum(2).gather(1, parents)  # (B, 5), of each one's children
        child = (torch.rand(number.shape, generator=generator) * number).long()
        nodes, codes = (
            part.flatten(1).gather(1, parents * part.shape[2] + child)
            for part in (children.nodes, children.codes)
        )
        told = model.extend(told, parents, codes, nodes)
        untold = model.extend(untold, parents, codes)
        assert told.depth == untold.depth == depth + 1
        assert torch.equal(told.nodes, nodes)
        # A model that chooses among all codes need not know where its beams stand.
        assert (untold.nodes is None) == (not getattr(config, "valid_only", True))
        known = untold._replace(nodes=nodes) if untold.nodes is None else untold
        pairs = list(zip(tensors_of(told), tensors_of(known), strict=True))
        assert len(pairs) >= 3
        assert all(torch.equal(one, other) for one, other in pairs)
        logits = [model.next_code_logits(state) for state in (told, untold)]
        assert torch.equal(*logits)
        assert logits[0].shape == (len(HISTORIES), 5, model.sizes[depth + 1])


# Reading histories


@every
def test_histories_are_checked_padded_and_read(
    config: HistoryModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(config)
    done: list[str] = []
    for owner, name in (
        (base, "check_histories"),
        (base, "pad_histories"),
        (model, "read_histories"),
    ):
        before = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, name=name, before=before: (done.append(name), before(*a))[1]
        )
    state = model.encode_history(HISTORIES)
    assert done == ["check_histories", "pad_histories", "read_histories"]
    assert isinstance(state, BeamState)
    assert state.depth == 0
    assert state.lengths.tolist() == [3, 0, 5]  # of nine items the last of a window
    assert state.hidden.shape == (3, 1, 12)


@every
@pytest.mark.parametrize("bad", [-1, 60])
def test_no_history_is_read_where_one_is_wrong(
    config: HistoryModelConfig, bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(config)
    monkeypatch.setattr(model, "read_histories", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=rf"history 1 names.*{bad}.*items 0 to 59"):
        model.encode_history([torch.tensor([3]), torch.tensor([bad, *[0] * 9])])


def test_ends_of_histories_stand_side_by_side() -> None:
    items, lengths = pad_histories(HISTORIES, 6, torch.device("cpu"))
    none = PADDING
    assert items.tolist() == [[3, 7, 7, none, none], [none] * 5, [4, 5, 6, 7, 8]]
    assert lengths.tolist() == [3, 0, 5]
    assert items.dtype == lengths.dtype == torch.int64


def test_padding_checks_nothing() -> None:
    items, _ = pad_histories([torch.tensor([5, 10**9])], 3, torch.device("cpu"))
    assert items.tolist() == [[5, 10**9]]


@pytest.mark.parametrize(("bad", "said"), [([0, 7], "0 to 7"), ([-2, 3], "-2 to 3")])
def test_the_first_history_outside_the_catalogue_is_named(bad: list[int], said: str) -> None:
    good = [torch.tensor([0, 6]), torch.empty(0, dtype=torch.int64)]
    check_histories(good, 7)
    with pytest.raises(ValueError, match=rf"history 2 names items {said}, but .* items 0 to 6"):
        check_histories([*good, torch.tensor(bad), torch.tensor([99])], 7)
