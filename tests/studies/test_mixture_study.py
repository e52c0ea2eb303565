"""The study of mixtures: what its tables hold, and that it goes on where it stopped."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mixture_study
import studied_models
from mixture_study import ALL_SEEDS, ALONE, MIXED_WITH, Ensemble, Job
from rqvae_lib.data.splits import Split, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.evaluation.validation import tuned_mixture
from rqvae_lib.generation.mixture import Mixture, learned_probabilities
from rqvae_lib.models.configs import SASRecConfig, TransformerConfig
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.sasrec import SASRec
from studied_models import RQ, SASREC
from tables import read_rows

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)


def untrained(num_items: int, seed: int) -> SASRec:
    torch.manual_seed(seed)
    return SASRec(SASRecConfig(num_items=num_items, transformer=SMALL, max_items=5)).eval()


@pytest.fixture(scope="module")
def split() -> Split:
    """Leave-one-out with forty of its targets."""
    whole = leave_one_out(load_dataset(studied_models.DATASET))
    return Split(
        whole.train,
        whole.everything,
        whole.validation[:40],
        whole.test[:40],
        whole.num_items,
        whole.name,
    )


def test_an_ensemble_is_the_mean_of_probabilities(split: Split) -> None:
    models = [untrained(split.num_items, seed) for seed in (0, 1)]
    histories, _ = split.histories_and_targets(split.test[:3])
    found = learned_probabilities(Ensemble(models), histories)
    by_hand = sum(model.scores(histories).softmax(1) for model in models) / 2
    torch.testing.assert_close(found, by_hand)


def test_mixtures_are_measured_as_the_library_measures_them(split: Split) -> None:
    model = untrained(split.num_items, 0)
    mixtures = {
        "a": Mixture(model, Popularity(split.popularity), 0.3),
        "b": tuned_mixture(model, NearPairs(split.train, split.num_items), split),
    }
    found = mixture_study.evaluate_mixtures(mixtures, split)
    for name, mixture in mixtures.items():
        expected = evaluate(mixture, split, split.test)
        assert torch.equal(found[name].targets, expected.targets)
        assert torch.equal(found[name].users, expected.users)
        for metric in ("Recall", "NDCG"):
            assert found[name].mean(metric, 10) == expected.mean(metric, 10)


def test_what_is_in_the_tables_is_not_measured_again(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def trained(job: Job) -> Any:
        asked.append((job.model, job.seed))
        return untrained(split.num_items, int(job.seed)) if job.seed != ALL_SEEDS else Ensemble([])

    monkeypatch.setattr(mixture_study, "trained", trained)
    monkeypatch.setattr(mixture_study, "split_by_name", lambda *_: split)
    run = ["mixture_study", "--output", str(tmp_path), "--splits", "leave-one-out"]
    run += ["--models", SASREC, "--seeds"]
    monkeypatch.setattr(sys, "argv", [*run, "0"])
    mixture_study.main()
    monkeypatch.setattr(sys, "argv", [*run, "0", "1"])
    mixture_study.main()
    assert asked == [(SASREC, "0"), (SASREC, "1")]
    rows = read_rows(tmp_path / "11_mixtures.csv", mixture_study.COLUMNS)
    assert [(row["mixed_with"], row["seed"]) for row in rows] == [
        (name, seed) for name in MIXED_WITH for seed in ("0", "1")
    ]
    alone = next(row for row in rows if (row["mixed_with"], row["seed"]) == (ALONE, "0"))
    found = evaluate(untrained(split.num_items, 0), split, split.test)
    assert float(alone["recall_10"]) == pytest.approx(found.mean("Recall", 10).mean, abs=1e-5)
    assert alone["share"] == "0"
    people = read_rows(tmp_path / "11_mixtures_people.csv", mixture_study.PEOPLE)
    for row in rows:
        key = {name: row[name] for name in ("split", "model", "mixed_with", "seed")}
        mine = [float(r["recall_10"]) for r in people if key.items() <= r.items()]
        persons = len(torch.unique(found.users))
        assert float(row["recall_10"]) == pytest.approx(sum(mine) / persons, abs=1e-4)


def test_a_training_that_is_kept_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mixture_study, "RUNS", tmp_path)
    trainings = []

    def train_model(name: str, settings: Any, ids: Any, *rest: Any) -> SASRec:
        trainings.append(name)
        return untrained(len(ids), 0)

    monkeypatch.setattr(mixture_study, "train_model", train_model)
    job = Job("timestamp", SASREC, "0")
    first, again = mixture_study.trained(job), mixture_study.trained(job)
    assert trainings == [SASREC]
    assert isinstance(again, SASRec)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):  # type: ignore[union-attr]
        assert torch.equal(one, other)


def test_last_ten_has_the_settings_of_leave_one_out() -> None:
    assert Job("last-ten", RQ, "0").tuned_on == "leave-one-out"
    assert Job("timestamp", RQ, "0").tuned_on == "timestamp"
