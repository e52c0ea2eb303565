"""The study of measures: its codes are what their names say, and its tables are complete."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import measures_study
from collision_study import held_out_movies
from measures_study import (
    RESULTS,
    SEEDS,
    TOKENIZERS,
    Tokenizer,
    codes_of,
    fitted,
    measures_of,
    run,
    settings,
)
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.tokenizer.collisions import take_nearest_free
from tables import read_rows, rows_of

N = len(load_dataset().items)
LAST_TEN_PEOPLE = 643  # who have 21 ratings or more


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Vectors of 6 numbers in place of the real ones."""
    rows = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(measures_study, "vectors_of", lambda content: rows)
    fitted.cache_clear()
    yield rows
    fitted.cache_clear()


def test_dealt_out_codes_are_the_same_codes_elsewhere(small: Tensor) -> None:
    how = Tokenizer("R-KMeans", levels=2, size=8)
    model, codes = codes_of(how, 0)
    _, dealt = codes_of(replace(how, dealt_out=True), 0)
    digits = torch.tensor([8, 1])
    assert torch.equal((dealt @ digits).sort().values, (codes @ digits).sort().values)
    assert (dealt != codes).any(1).float().mean() > 0.9
    before, after = measures_of(model, small, codes), measures_of(model, small, dealt)
    assert after["collision_rate"] == before["collision_rate"]
    assert after["perplexity"] == before["perplexity"]
    assert float(after["variance_lost"]) > 1 > float(before["variance_lost"])
    unique = len(torch.unique(codes, dim=0))
    assert float(before["collision_rate"]) == pytest.approx(1 - unique / N, rel=1e-4)


def test_a_remedy_changes_the_codes_of_the_same_tokenizer(small: Tensor) -> None:
    how = Tokenizer("R-KMeans", levels=3, size=24)
    model, codes = codes_of(how, 1)
    moved_model, moved = codes_of(replace(how, remedy=take_nearest_free), 1)
    assert moved_model is model
    assert len(torch.unique(moved, dim=0)) > len(torch.unique(codes, dim=0))


def test_a_tokenizer_of_unseen_movies_was_fitted_without_them(small: Tensor) -> None:
    model = fitted(Tokenizer("R-KMeans", levels=1, size=4, unseen=True), 0)
    old, _ = held_out_movies("newest", 0)
    torch.testing.assert_close(model.mean, small[old].mean(0), atol=1e-5, rtol=0)
    assert not torch.allclose(model.mean, small.mean(0), atol=1e-5)


def test_an_interrupted_run_goes_on(
    tmp_path: Path, small: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: Tokenizer("R-KMeans", levels=2, size=size) for name, size in (("a", 4), ("b", 8))}
    monkeypatch.setattr(measures_study, "TOKENIZERS", few)
    brief = replace(settings(), num_steps=1)
    monkeypatch.setattr(measures_study, "settings", lambda: brief)
    run(tmp_path, (0,))
    table, people = tmp_path / "06_measures.csv", tmp_path / "06_measures_people.csv"
    first = table.read_bytes()
    rows = read_rows(table)
    assert [(row["tokenizer"], row["seed"]) for row in rows] == [("a", "0"), ("b", "0")]
    for row in rows:
        hits = [p for p in read_rows(people) if p["tokenizer"] == row["tokenizer"]]
        recall = sum(float(hit["recall_10"]) for hit in hits) / 671
        assert float(row["recall_10"]) == pytest.approx(recall, abs=1e-4)
        assert int(row["new_found"]) <= int(row["new_targets"])
    monkeypatch.setattr(measures_study, "train_and_evaluate", None)  # nothing is left to do
    run(tmp_path, (0,))
    assert table.read_bytes() == first


def test_settings_are_of_a_short_trial() -> None:
    assert settings().num_steps == 1000


def test_the_tables_are_complete() -> None:
    with (RESULTS / "06_measures.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [(row["tokenizer"], int(row["seed"])) for row in rows]
    assert len(found) == len(set(found))
    assert set(found) == {(name, seed) for name in TOKENIZERS for seed in SEEDS}
    people = read_rows(RESULTS / "06_measures_people.csv")
    for row in rows:
        key = {name: row[name] for name in ("tokenizer", "seed")}
        sums = sum(float(hit["recall_10"]) for hit in rows_of(people, key))
        assert sums / LAST_TEN_PEOPLE == pytest.approx(float(row["recall_10"]), abs=2e-4), key
