"""The compiled search against the search that it was compiled from. It needs a C++ compiler."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.compiled import CompiledSearch
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no compiler"),
]

SMALL = TransformerConfig(dim=16, num_layers=1, num_heads=2, mlp_dim=16)
CONFIGS = [
    RQTransformerConfig(SMALL, max_items=12, prefix_embeddings=False),
    DecoderOnlyConfig(SMALL, max_items=12, valid_only=True),
]
ALLOWED = torch.arange(0, 300, 2)


def random_model(config: HistoryModelConfig) -> Recommender:
    generator = torch.Generator().manual_seed(0)
    ids = SemanticIDs(torch.randint(14, (300, 2), generator=generator), 14)
    torch.manual_seed(0)
    model = new_recommender(config, ids).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def histories() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = [0, 1, 2, 3, 11, 12, 40, *range(4, 11)]
    return [torch.randint(300, (length,), generator=generator) for length in lengths]


@pytest.mark.parametrize("config", CONFIGS, ids=["rq-transformer", "decoder-only"])
def test_a_compiled_search_recommends_the_same(config: HistoryModelConfig) -> None:
    model = random_model(config)
    options = {"k": 5, "beams": 20, "temperature": 0.8, "allowed": ALLOWED}
    compiled = CompiledSearch(model.train(), **options, max_forbidden=40)
    assert model.training
    model.eval()
    for history in histories():
        for forbidden in (None, torch.tensor([0, 2, 2, 4])):
            found = compiled(history, forbidden=forbidden)
            given = None if forbidden is None else [forbidden]
            expected = recommend(model, [history], forbidden=given, **options)
            assert torch.equal(found.items, expected.items)
            torch.testing.assert_close(
                found.log_probabilities, expected.log_probabilities, rtol=1e-5, atol=1e-5
            )
    short = compiled(histories()[4].int(), forbidden=ALLOWED[:3].int())
    assert torch.equal(short.items, compiled(histories()[4], forbidden=ALLOWED[:3]).items)
    with pytest.raises(ValueError, match=r"type torch.float32; expected row numbers, which are"):
        compiled(torch.tensor([3.0, 4.0]), forbidden=torch.tensor([3]))
    with pytest.raises(ValueError, match="150 items are forbidden, expected at most 40: make a"):
        compiled(histories()[3], forbidden=ALLOWED)
    with pytest.raises(ValueError, match="history 0 names items 300 to 300"):
        compiled(torch.tensor([300]))
    with pytest.raises(ValueError, match="item -1 is forbidden"):
        compiled(torch.tensor([3]), forbidden=torch.tensor([-1]))
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    for history in histories():  # the short ones, which are not compiled, included
        assert not compiled(history).log_probabilities.isnan().any()  # the weights are its own


@pytest.mark.parametrize("window", [1, 2])
def test_a_window_of_one_width_is_compiled_too(window: int) -> None:
    model = random_model(RQTransformerConfig(SMALL, max_items=window + 1))
    compiled = CompiledSearch(model, k=5, beams=20)
    for history in histories()[:4]:
        found, expected = compiled(history), recommend(model, [history], k=5, beams=20)
        assert torch.equal(found.items, expected.items)
        torch.testing.assert_close(found.log_probabilities, expected.log_probabilities)


def test_a_model_on_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match="the model is on meta; pass a copy of it on the CPU"):
        CompiledSearch(random_model(CONFIGS[0]).to("meta"))


def test_a_missing_compiler_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(CONFIGS[0])
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("torch.export.export", None)  # to call it would be another error
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler, and none was found \(g\+\+"):
        CompiledSearch(model)
