"""The variants of the architecture study are models, trained alike, and its tables are whole."""

import math
from pathlib import Path

import pytest
import torch

import architecture_study
from architecture_study import (
    COLUMNS,
    PEOPLE_COLUMNS,
    RESULTS,
    SEEDS,
    TRIALS,
    VARIANTS,
    Depth,
    DepthConfig,
    DepthRecommender,
    measure,
)
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tables import read_rows

pytestmark = pytest.mark.usefixtures("one_thread")

PEOPLE = 671
SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)


@pytest.fixture(scope="module")
def ids() -> SemanticIDs:
    codes = torch.randint(4, (40, 3), generator=torch.Generator().manual_seed(0))
    return SemanticIDs(codes, (4, 4, 4))


@pytest.fixture(scope="module")
def split() -> Split:
    rows = [torch.randperm(40, generator=torch.Generator().manual_seed(u))[:8] for u in range(12)]
    everything = Histories(torch.cat(rows), torch.arange(13) * 8)
    train = Histories(torch.cat([row[:6] for row in rows]), torch.arange(13) * 6)
    ends = everything.offsets[1:]
    return Split(
        train, everything, validation=ends - 2, test=ends - 1, num_items=40, name="leave-one-out"
    )


def a_model(depth: Depth, ids: SemanticIDs) -> DepthRecommender:
    torch.manual_seed(0)
    model = DepthRecommender(DepthConfig(transformer=SMALL, depth=depth), ids).eval()
    torch.nn.init.normal_(model.code_embedding.weight)  # far from uniform
    torch.nn.init.normal_(model.bias)
    return model


@pytest.mark.parametrize("depth", ["nothing", "network", "transformer"])
@torch.no_grad()
def test_scores_are_the_probabilities_that_the_loss_asks_for(
    depth: Depth, ids: SemanticIDs
) -> None:
    model = a_model(depth, ids)
    window = torch.tensor([3, 17, 8, 1])
    scores = model.scores([window[:place] for place in range(4)])  # (4, 40), several lengths
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(4))
    of_targets = scores.gather(1, window[:, None])
    torch.testing.assert_close(-of_targets.mean(), model.loss(window[None]))
    padded = torch.tensor([[3, 17, 8, 1], [3, 17, -1, -1]])
    both = (4 * model.loss(window[None]) + 2 * model.loss(window[None, :2])) / 6
    torch.testing.assert_close(model.loss(padded), both)


@torch.no_grad()
def test_only_a_model_that_reads_codes_tells_prefixes_apart(ids: SemanticIDs) -> None:
    """Two siblings, and two others with the same last codes below another prefix."""
    ratios = {}
    for depth in ("nothing", "network", "transformer"):
        model = a_model(depth, ids)
        p = model.scores([torch.tensor([3, 17])])[0].exp()  # (40,)
        of_pair = torch.zeros(4, 4).index_put_(
            (ids.ids[:, 0], ids.ids[:, 1]), p, accumulate=True
        )  # p(first, second)
        one, other = of_pair[0], of_pair[1]
        shared = ((one > 0) & (other > 0)).nonzero()[:2, 0]
        assert len(shared) == 2
        ratios[depth] = (one / one[shared[0]])[shared[1]], (other / other[shared[0]])[shared[1]]
    assert math.isclose(*ratios["nothing"], rel_tol=1e-4)
    assert not math.isclose(*ratios["network"], rel_tol=1e-2)
    assert not math.isclose(*ratios["transformer"], rel_tol=1e-2)


def test_a_variant_is_tried_and_trained(
    ids: SemanticIDs, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = DepthConfig(transformer=SMALL, max_items=8)
    monkeypatch.setitem(architecture_study.VARIANTS, "depth transformer", small)
    rows, people = measure("depth transformer", ids, split, seeds=(0, 1), steps=3)
    assert [row["seed"] for row in rows] == ["0", "0", "1"]
    assert [bool(row["test_ndcg"]) for row in rows] == [False, True, True]
    other, best, second = rows
    assert float(best["validation_ndcg"]) >= float(other["validation_ndcg"])
    assert other["learning_rate"] != best["learning_rate"] == second["learning_rate"]
    assert all(tuple(row) == COLUMNS for row in rows)
    for row in rows[1:]:
        found = [hit for hit in people if hit["seed"] == row["seed"]]
        assert float(row["test_recall"]) == pytest.approx(len(found) / 12, abs=1e-4)
    again, _ = measure("depth transformer", ids, split, seeds=(0, 1), steps=3)
    drop = {"step_ms": ""}
    assert [row | drop for row in rows] == [row | drop for row in again]


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def pretend(name: str, *_: object) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        called.append(name)
        about = {"variant": name, "seed": "0"}
        return [dict.fromkeys(COLUMNS, "") | about], [dict.fromkeys(PEOPLE_COLUMNS, "") | about]

    monkeypatch.setattr(architecture_study, "measure", pretend)
    first, second, *_ = VARIANTS
    monkeypatch.setattr("sys.argv", ["study", "--output", str(tmp_path), "--variants", second])
    architecture_study.main()
    monkeypatch.setattr("sys.argv", ["study", "--output", str(tmp_path)])
    architecture_study.main()
    assert called == [second, first, *list(VARIANTS)[2:]]
    for name, columns in ("10_architectures.csv", COLUMNS), ("10_people.csv", PEOPLE_COLUMNS):
        assert [row["variant"] for row in read_rows(tmp_path / name, columns)] == list(VARIANTS)


def test_the_tables_are_complete_and_agree() -> None:
    rows = read_rows(RESULTS / "10_architectures.csv", COLUMNS)
    people = read_rows(RESULTS / "10_people.csv", PEOPLE_COLUMNS)
    for name in VARIANTS:
        of = [row for row in rows if row["variant"] == name]
        assert len(of) == len(TRIALS) - 1 + len(SEEDS)
        chosen = [row for row in of if row["test_ndcg"]]
        assert [int(row["seed"]) for row in chosen] == list(SEEDS)
        assert len({(row["learning_rate"], row["weight_decay"]) for row in chosen}) == 1
        tried = [row for row in of if int(row["seed"]) == SEEDS[0]]
        best = max(tried, key=lambda row: float(row["validation_ndcg"]))
        assert best["test_ndcg"]
        for row in chosen:
            found = [hit for hit in people if (hit["variant"], hit["seed"]) == (name, row["seed"])]
            assert len({hit["person"] for hit in found}) == len(found)
            assert all(1 <= int(hit["rank"]) <= 10 for hit in found)
            assert float(row["test_recall"]) == pytest.approx(len(found) / PEOPLE, abs=1e-4)
            ndcg = sum(1 / math.log2(1 + int(hit["rank"])) for hit in found) / PEOPLE
            assert float(row["test_ndcg"]) == pytest.approx(ndcg, abs=1e-4)
    sizes = {row["variant"]: int(row["parameters"]) for row in rows}
    small = [size for name, size in sizes.items() if name != "prefix vectors"]
    assert max(small) < 1.25 * min(small)
    assert sizes["prefix vectors"] > 4 * min(small)
