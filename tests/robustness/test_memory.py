"""One crowded prefix: what a thousand items with the same codes cost in memory.

Memory is that of all tensors that torch has at a time, as its own profiler counts them. It is the
same at every run.
"""

from collections.abc import Callable

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie

pytestmark = pytest.mark.usefixtures("one_thread")

NUM_ITEMS, CROWD, CODEBOOK = 10_000, 2_000, 64
# Wide enough, with enough users, that a block of logits is not what weighs most.
SMALL = TransformerConfig(dim=64, num_layers=1, num_heads=2, mlp_dim=128)
USERS = 192
CONFIGS: dict[str, HistoryModelConfig] = {
    "decoder-only": DecoderOnlyConfig(SMALL, max_items=20),
    "decoder-only, valid codes only": DecoderOnlyConfig(SMALL, max_items=20, valid_only=True),
    "encoder-decoder": EncoderDecoderConfig(SMALL, max_items=20),
    "RQ-Transformer": RQTransformerConfig(SMALL, max_items=20),
    "RQ-Transformer, codes only": RQTransformerConfig(SMALL, max_items=20, prefix_embeddings=False),
}


def peak(work: Callable[[], object]) -> int:
    """The bytes of all tensors on the CPU that some work has at a time, beside those before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    assert profiled.profiler is not None
    assert profiled.profiler.kineto_results is not None
    events = profiled.profiler.kineto_results.events()
    live = most = 0
    for event in sorted(
        (event for event in events if event.name() == "[memory]"), key=lambda e: e.start_ns()
    ):
        live += event.nbytes()
        most = max(most, live)
    return most


def catalogue(*, crowded: bool) -> SemanticIDs:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(CODEBOOK, (NUM_ITEMS, 3), generator=generator)
    if crowded:
        codes[torch.randperm(NUM_ITEMS, generator=generator)[:CROWD]] = torch.tensor([7, 7, 7])
    ids = SemanticIDs(codes, CODEBOOK)
    assert (ids.sizes[-1] == CROWD) == crowded
    return ids


def works_of(model: Recommender) -> dict[str, Callable[[], object]]:
    generator = torch.Generator().manual_seed(1)
    windows = torch.randint(NUM_ITEMS, (USERS, 20), generator=generator)
    histories = list(torch.randint(NUM_ITEMS, (USERS, 19), generator=generator))

    def step() -> None:
        model.train().loss(windows).backward()
        model.eval().zero_grad()

    found: dict[str, Callable[[], object]] = {
        "a training step": step,
        "10 beams": lambda: recommend(model, histories, k=10, beams=10),
        "100 beams": lambda: recommend(model, histories, k=10, beams=100),
        "exact scores": lambda: score_items(model, histories[:8]),
    }
    if isinstance(model, RQTransformer):
        found["scores"] = lambda: model.scores(histories)
    return found


def test_the_profiler_counts_what_is_there_at_a_time() -> None:
    def work() -> None:
        for _ in range(3):
            torch.zeros(1_000_000).add(1)  # two tensors at a time

    assert 8_000_000 <= peak(work) < 8_001_000


@pytest.mark.parametrize("name", CONFIGS)
def test_a_crowd_of_items_with_the_same_codes_does_not_double_the_memory(name: str) -> None:
    peaks = []
    for crowded in (False, True):
        torch.manual_seed(0)
        model = new_recommender(CONFIGS[name], catalogue(crowded=crowded)).eval()
        works = works_of(model)
        works["a training step"]()  # what torch allocates once
        peaks.append({what: peak(work) for what, work in works.items()})
    without, with_crowd = peaks
    ratios = {what: with_crowd[what] / without[what] for what in without}
    assert max(ratios.values()) <= 2, ratios


@pytest.mark.parametrize("num_levels", range(1, 9))
def test_memory_grows_with_items_times_levels_and_not_with_the_codebooks(num_levels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(2**31 - 1, (5_000, num_levels), generator=generator)

    def build() -> None:
        trie = Trie(SemanticIDs(codes, 2**31 - 1))
        assert trie.items.tolist() == sorted(range(5_000), key=lambda i: codes[i].tolist())

    assert peak(build) < 100 * codes.numel() + 200 * len(codes)
