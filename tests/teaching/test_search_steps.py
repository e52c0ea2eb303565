"""The page's search has the right scores: it finds what the library's search finds."""

import math
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor

from rqvae_lib import load_dataset, load_recommender
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender
from rqvae_lib.teaching.search_steps import (
    FORBIDDEN,
    log_probabilities_after,
    replay,
    search_data,
    still_search,
)

WIDEST = 5
PEOPLE = (26, 63, 0)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("movielens-small-2016")


@pytest.fixture(scope="module")
def model() -> Recommender:
    return load_recommender("movielens-small-2016")[0]


@pytest.fixture(scope="module")
def histories(dataset: Dataset) -> list[Tensor]:
    split = leave_one_out(dataset)
    return split.histories_and_targets(split.validation)[0]


@pytest.fixture(scope="module", params=PEOPLE)
def person(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def data(
    model: Recommender, dataset: Dataset, histories: list[Tensor], person: int
) -> dict[str, Any]:
    return search_data(model, dataset, histories[person], WIDEST)


def prefix_of(name: str) -> tuple[int, ...]:
    return tuple(int(code) for code in name.split("-") if code)


def test_the_same_items_with_the_same_scores(
    model: Recommender, histories: list[Tensor], data: dict[str, Any], person: int
) -> None:
    for beams in range(1, WIDEST + 1):
        library = recommend(model, [histories[person]], k=beams, beams=beams)
        found = replay(data, beams)
        assert [model.ids.item_of(prefix) for prefix, _ in found] == library.items[0].tolist()
        scores = torch.tensor([score for _, score in found])
        torch.testing.assert_close(scores, library.log_probabilities[0], atol=1e-4, rtol=0)


def test_each_code_is_offered_rated_or_leads_nowhere(
    model: Recommender, histories: list[Tensor], data: dict[str, Any], person: int
) -> None:
    ids, rated = model.ids, set(histories[person].tolist())
    for name, after in data["prefixes"].items():
        prefix = prefix_of(name)
        log_p = log_probabilities_after(model, histories[person], prefix)
        below = {
            code: ids.with_prefix([*prefix, code]).tolist()
            for code in range(ids.sizes[len(prefix)])
        }
        exist = [code for code, items in below.items() if items]
        assert after["codes"] == exist
        assert after["below"] == [len(below[code]) for code in exist]
        assert after["rated"] == [int(set(below[code]) <= rated) for code in exist]
        torch.testing.assert_close(torch.tensor(after["log_p"]), log_p[exist], atol=1e-5, rtol=0)
        nowhere = sorted((c for c in below if not below[c]), key=lambda c: -float(log_p[c]))
        assert [code for code, _ in after["forbidden"]] == nowhere[:FORBIDDEN]
        for code, value in after["forbidden"]:
            assert value == pytest.approx(float(log_p[code]), abs=1e-5)
        kept = sum(math.exp(value) for value in after["log_p"])
        assert after["lost"] + kept == pytest.approx(1, abs=1e-3)


def test_the_best_movie_and_the_titles(
    model: Recommender,
    dataset: Dataset,
    histories: list[Tensor],
    data: dict[str, Any],
    person: int,
) -> None:
    exact = score_items(model, [histories[person]])[0]
    exact[histories[person]] = -torch.inf
    best = int(exact.argmax())
    assert data["best"]["title"] == dataset.titles[best]
    assert tuple(data["best"]["id"]) == tuple(model.ids.id_of(best))
    assert data["best"]["log_p"] == pytest.approx(float(exact.max()), abs=1e-4)
    firsts = torch.tensor(data["prefixes"][""]["log_p"])  # every first code exists
    rank = 1 + int((firsts > firsts[model.ids.id_of(best)[0]]).sum())
    assert data["best"]["rank_of_first_code"] == rank
    assert data["history"] == [dataset.titles[item] for item in histories[person].tolist()]
    state = model.encode_history([histories[person]])
    assert data["history_tokens"] == state.memory.history[0].keys.shape[2]
    for name, titles in data["titles"].items():
        items = model.ids.with_prefix(list(prefix_of(name))).tolist()
        order = sorted(items, key=lambda item: -float(exact[item]))
        assert titles == [dataset.titles[item] for item in order[:3]]


def test_still_figure_ends_at_what_is_found(dataset: Dataset, data: dict[str, Any]) -> None:
    figure = still_search(data, beams=3)
    written = [text.get_text() for text in figure.axes[0].texts]
    titles = [data["titles"]["-".join(map(str, prefix))][0] for prefix, _ in replay(data, 3)]
    assert [text for text in written if text in titles] == titles
    plt.close(figure)
