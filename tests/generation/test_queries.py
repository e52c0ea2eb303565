"""What a query does not do: check twice, look a node up that it has, move what the model owns."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rqvae_lib.generation import beam_search, scoring
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models import base
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import HistoryModelConfig
from rqvae_lib.semantic_ids.trie import Trie
from tests.models.test_base import every, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

HISTORIES = [torch.arange(n) for n in (3, 0, 9, 1, 7)]


def search(model: Recommender, histories: Sequence[Tensor]) -> Tensor:
    return recommend(model, histories, k=4, beams=8, batch_size=2).log_probabilities


def search_with_lists(model: Recommender, histories: Sequence[Tensor]) -> Tensor:
    return recommend(
        model, histories, k=4, beams=8, batch_size=2, forbidden=[torch.tensor([1, 2])] * 5,
        allowed=torch.arange(50), max_per_prefix=2,
    ).log_probabilities  # fmt: skip


def score_all(model: Recommender, histories: Sequence[Tensor]) -> Tensor:
    return score_items(model, histories, batch_size=2, chunk_size=3)


def score_some(model: Recommender, histories: Sequence[Tensor]) -> Tensor:
    return score_items(model, histories, torch.tensor([5, 0, 31]), batch_size=2)


each_query = pytest.mark.parametrize("query", [search, search_with_lists, score_all, score_some])
Query = Callable[[Recommender, Sequence[Tensor]], Tensor]


@every
@each_query
def test_histories_are_checked_once(
    config: HistoryModelConfig, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them in one go, before the first batch is read."""
    model = random_model(config)
    checked: list[int] = []
    real = base.check_histories

    def check(histories: Sequence[Tensor], num_items: int) -> None:
        checked.append(len(histories))
        real(histories, num_items)

    for module in (base, beam_search, scoring):
        monkeypatch.setattr(module, "check_histories", check)
    read = count_calls(monkeypatch, model, "read_histories")
    query(model, HISTORIES)
    assert checked == [5]
    assert len(read) == 3  # batches of two


@every
@each_query
def test_no_node_of_the_trie_is_looked_up(
    config: HistoryModelConfig, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The walk has it, and hands it on."""
    model = random_model(config)
    expected = query(model, HISTORIES)
    extended = count_calls(monkeypatch, model, "extend")
    monkeypatch.setattr(Trie, "follow", lambda *_: pytest.fail("a node was looked up"))
    assert torch.equal(query(model, HISTORIES), expected)
    assert extended
    for state, parents, codes, nodes in extended:
        assert nodes.shape == parents.shape == codes.shape
        assert torch.equal(model.trie.level(state.depth + 1).code[nodes].long(), codes)


class Moves(TorchFunctionMode):
    """Notes every tensor that is sent to a device, or would be if it were not there already."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = (*args[1:], *(kwargs or {}).values())
        to_device = func is Tensor.to and any(
            isinstance(value, str | torch.device | Tensor) for value in given
        )
        if to_device or func in (Tensor.cpu, Tensor.cuda):
            self.sent.append(args[0])
        return func(*args, **(kwargs or {}))


def test_moves_are_noticed() -> None:
    tensor = torch.zeros(2)
    with Moves() as moves:
        tensor.to("cpu")
        tensor.to(device=torch.device("cpu"))
        tensor.to(torch.float64)
        tensor.cpu()
        nn.Linear(2, 2).to("cpu")  # its two parameters
    assert len(moves.sent) == 5


@every
@each_query
def test_only_what_the_caller_brings_is_sent_to_the_device(
    config: HistoryModelConfig, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(config)
    monkeypatch.setattr(nn.Module, "_apply", lambda *_: pytest.fail("a module was moved"))
    with Moves() as moves:
        query(model, HISTORIES)
    own = {
        tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())
    }
    assert moves.sent
    for tensor in moves.sent:
        assert tensor.untyped_storage().data_ptr() not in own or not tensor.numel()
        assert tensor.dtype == torch.int64  # histories, and lists of items
    # Three batches of histories; besides, what is forbidden to each user and what is allowed.
    lists = {search: 5, search_with_lists: 5 + 1, score_all: 0, score_some: 1}
    assert len(moves.sent) == 3 + lists[query]


def count_calls(
    monkeypatch: pytest.MonkeyPatch, model: Recommender, name: str
) -> list[tuple[Any, ...]]:
    """Return a list to which the arguments of every call of a method are added from now on."""
    calls: list[tuple[Any, ...]] = []
    real = getattr(model, name)

    def noted(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(model, name, noted)
    return calls
