"""Ties in another order: what is moved and what is not, and the tables against the data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import ties_study
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.models.popularity import Popularity
from studied_models import Settings
from tables import read_rows
from ties_study import (
    AS_FILED,
    ORDERS,
    RESULTS,
    REVERSED,
    SHUFFLED,
    TRAINED,
    Answer,
    reordered,
    tied_with_the_one_before,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def a_dataset() -> Dataset:
    events = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 2, 2, 2],
            "item_id": [10, 11, 12, 13, 13, 12, 10],
            "timestamp": [5, 7, 7, 7, 1, 2, 2],
        }
    )
    items = pd.DataFrame({"item_id": [10, 11, 12, 13], "title": list("abcd")})
    return Dataset.from_tables(events, items, name="ties")


def test_only_ties_are_moved() -> None:
    data = a_dataset()
    assert reordered(data, AS_FILED, 0).interactions.equals(data.interactions)
    backwards = reordered(data, REVERSED, 0).interactions
    assert backwards["item"].tolist() == [0, 3, 2, 1, 3, 0, 2]
    assert backwards["timestamp"].equals(data.interactions["timestamp"])
    seen = {tuple(reordered(data, SHUFFLED, seed).interactions["item"]) for seed in range(60)}
    assert len(seen) == 12  # 3! orders of one tie, 2! of the other
    assert {(row[0], row[4], *sorted(row[1:4]), *sorted(row[5:])) for row in seen} == {
        (0, 3, 1, 2, 3, 0, 2)
    }


def test_a_target_is_tied_with_the_item_before_it() -> None:
    data = a_dataset()
    split = leave_one_out(data)
    everywhere = torch.arange(7)
    assert tied_with_the_one_before(data, split, everywhere).tolist() == [
        *(False, False, True, True),
        *(False, False, True),
    ]


def test_the_study_writes_its_tables_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        ties_study, "best_settings", lambda *_: Settings(1e-3, 0.1, 0.0, 0.2, num_steps=2)
    )
    words = ["ties_study.py", "--output", str(tmp_path), "--splits", "leave-one-out"]
    words += ["--seeds", "0", "--models", "popularity", TRAINED[0], "--orders", *ORDERS]
    monkeypatch.setattr("sys.argv", words)
    ties_study.main()
    table = tmp_path / "11_ties.csv"
    rows = read_rows(table, ties_study.COLUMNS)
    assert [(row["model"], row["order"]) for row in rows] == [
        *(("popularity", order) for order in ORDERS),
        (TRAINED[0], SHUFFLED),
    ]
    before = table.read_bytes()
    monkeypatch.setattr(ties_study, "answer", lambda *_: pytest.fail("this has been answered"))
    ties_study.main()
    assert table.read_bytes() == before


def test_the_shipped_tables_are_of_this_data() -> None:
    rows = read_rows(RESULTS / "11_ties.csv", ties_study.COLUMNS)
    people = pd.read_csv(RESULTS / "11_ties_people.csv")
    for row in rows:
        asked = Answer(row["split"], row["model"], row["order"], int(row["seed"]))  # type: ignore[arg-type]
        assert asked.seed in ties_study.seeds_of(asked.split, asked.model, asked.order)
        if asked.split == "leave-one-out":
            key = people[list(asked.key)].astype(str) == list(asked.key.values())
            hits = people.loc[key.all(axis=1), "recall_10"].sum()
            assert hits / 671 == pytest.approx(float(row["recall_10"]), abs=1e-4)
    data = reordered(load_dataset("movielens-small-2016"), REVERSED, 0)
    split = leave_one_out(data)
    found = evaluate(Popularity(split.popularity), split, split.test)
    kept = next(row for row in rows if (row["model"], row["order"]) == ("popularity", REVERSED))
    assert float(kept["recall_10"]) == pytest.approx(found.mean("Recall", 10).mean, abs=1e-4)
    assert np.isfinite([float(row["tied"]) for row in rows]).all()
