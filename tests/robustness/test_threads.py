"""One thread or two: the same results, up to the rounding of sums in another order.

What is promised: weights after a few steps agree to 1e-4 (relative, or 1e-5 absolute), at least
99.5 % of items keep their codes, and log-probabilities agree to 1e-4. With the same number of
threads, the same seed gives the same IDs, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.models.configs import DecoderOnlyConfig, TransformerConfig
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING
from rqvae_lib.training.recipes import train_recommender, train_rqvae
from tests.helpers import small_dataset

# Large enough for torch to share the work out: some 32,000 numbers a thread are its least.
VECTORS = torch.randn(3000, 64, generator=torch.Generator().manual_seed(0))
TOKENIZER = RQVAEConfig(64, (128,), 16, num_levels=3, codebook_size=32)
DECODER = DecoderOnlyConfig(TransformerConfig(dim=32, num_layers=2, num_heads=4, mlp_dim=64))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        assert torch.get_num_threads() == count
        yield
    finally:
        torch.set_num_threads(before)


class Results(NamedTuple):
    tokenizer: dict[str, Tensor]
    codes: Tensor
    decoder: dict[str, Tensor]
    probabilities: Tensor


def results(count: int, seed: int = 0) -> Results:
    with threads(count):
        training = replace(RQVAE_TRAINING, num_steps=5, batch_size=1024, seed=seed)
        tokenizer, _ = train_rqvae(
            VECTORS, TOKENIZER, training, autoencoder_steps=3, progress=False
        )
        codes = tokenizer.assign(VECTORS)
        # Of codes that do not depend on the tokenizer, whose items may move.
        fixed = torch.randint(6, (90, 2), generator=torch.Generator().manual_seed(1))
        ids = SemanticIDs(fixed, [6, 6])
        split = leave_one_out(small_dataset())
        training = replace(RECOMMENDER_TRAINING, num_steps=5, seed=seed)
        decoder, _ = train_recommender(ids, split.train, DECODER, training, progress=False)
        histories, _ = split.histories_and_targets(split.test)
        found = recommend(decoder, histories, k=90, beams=90)
        by_item = found.items.argsort(1)  # in the order of items: equal ones may change places
        probabilities = found.log_probabilities.gather(1, by_item)
        return Results(tokenizer.state_dict(), codes, decoder.state_dict(), probabilities)


@pytest.fixture(scope="module")
def one() -> Results:
    return results(1)


@pytest.fixture(scope="module")
def two() -> Results:
    return results(2)


def test_trained_weights_agree(one: Results, two: Results) -> None:
    for first, second in ((one.tokenizer, two.tokenizer), (one.decoder, two.decoder)):
        assert first.keys() == second.keys()
        for name, weight in first.items():
            torch.testing.assert_close(weight, second[name], rtol=1e-4, atol=1e-5, msg=name)


def test_codes_agree(one: Results, two: Results) -> None:
    assert (one.codes == two.codes).all(1).float().mean() >= 0.995
    assert len(one.codes.unique(dim=0)) > 500  # or agreeing would be easy


def test_scores_agree(one: Results, two: Results) -> None:
    torch.testing.assert_close(one.probabilities, two.probabilities, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_the_same_seed_gives_the_same_ids(count: int, request: pytest.FixtureRequest) -> None:
    first = request.getfixturevalue({1: "one", 2: "two"}[count])
    again = results(count)
    assert torch.equal(first.codes, again.codes)
    assert torch.equal(first.probabilities, again.probabilities)
    assert not torch.equal(first.codes, results(count, seed=1).codes)
