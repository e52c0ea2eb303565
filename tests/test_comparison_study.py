"""The study's tables: what is measured of a model, and how rows of several processes meet."""

import sys
from pathlib import Path

import pytest
import torch

from rqvae_lib.comparison import Evaluation
from rqvae_lib.datasets import load_dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "book" / "_tools"))
import comparison_study
import tuning
from tables import read_rows, replace_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def an_evaluation() -> Evaluation:
    lists = torch.full((3, 50), -1)
    lists[0, :2], lists[1, 0], lists[2, 0] = torch.tensor([7, 3]), 4, 5
    return Evaluation(
        lists, torch.tensor([3, 4, 6]), torch.tensor([2, 2, 9]), torch.ones(10).index_fill(
            0, torch.tensor([6]), 0
        ),
    )  # fmt: skip


def test_a_row_and_its_people() -> None:
    row = comparison_study.row_of(an_evaluation())
    assert set(row) | {"split", "model", "seed", "parameters", "seconds"} == set(
        comparison_study.COLUMNS
    )
    assert float(row["recall_1"]) == 0.25  # person 2 found one of two at once, person 9 none
    assert float(row["recall_10"]) == 0.5
    assert float(row["unseen_10"]) == 0
    assert comparison_study.people_of(an_evaluation()) == [
        {"person": "2", "recall_10": "1.00000", "ndcg_10": "0.81546"}  # (1 + 1 / log2(3)) / 2
    ]


def test_a_study_of_one_training_is_written_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "STEPS", 2)
    monkeypatch.setattr(tuning.Settings.training, "__kwdefaults__", {"num_steps": 2})
    table = tmp_path / "11_tuning.csv"
    settings = dict(zip(tuning.Settings._fields, ("0.001", "0.1", "0.0", "0.2"), strict=True))
    for trial, ndcg in ((0, "0.01"), (1, "0.03"), (2, "0.02")):
        tried = settings | {"learning_rate": f"0.00{trial + 1}", "ndcg": ndcg}
        key = {"model": "RQ-Transformer", "trial": str(trial)}
        replace_rows(table, tuning.COLUMNS, key, [tried], tuning.place_of)
    assert tuning.best_settings("RQ-Transformer", table).learning_rate == 0.002
    with pytest.raises(ValueError, match="holds no trial of 'SASRec'"):
        tuning.best_settings("SASRec", table)

    trained = []
    original = tuning.train_model

    def counting(*arguments: object) -> object:
        trained.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(comparison_study, "train_model", counting)
    command = [
        "comparison_study.py", "--output", str(tmp_path), "--tuning", str(table),
        "--models", "RQ-Transformer", "--splits", "leave-one-out", "--seeds", "0",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    for _ in range(2):
        comparison_study.main()
        [row] = read_rows(tmp_path / "11_comparison.csv", comparison_study.COLUMNS)
        assert (row["split"], row["model"], row["seed"]) == ("leave-one-out", "RQ-Transformer", "0")
        people = read_rows(tmp_path / "11_people.csv", comparison_study.PEOPLE_COLUMNS)
        total = sum(float(person["recall_10"]) for person in people)
        assert total / 671 == pytest.approx(float(row["recall_10"]), abs=1e-4)
    assert len(trained) == 1


def test_rows_of_one_measurement_replace_older_ones(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for key, value in (("b", "1"), ("a", "2"), ("b", "3")):
        replace_rows(table, ("key", "value"), {"key": key}, [{"value": value}], lambda r: r["key"])
    assert read_rows(table) == [{"key": "a", "value": "2"}, {"key": "b", "value": "3"}]


def test_every_model_gets_the_same_settings_and_all_differ() -> None:
    settings = tuning.drawn()
    assert len(set(settings)) == len(settings) == 6
    assert settings == tuning.drawn()


def test_random_ids_are_the_same_ids_of_other_items() -> None:
    dataset = load_dataset()
    shipped, dealt = (make(dataset, 1) for make in (
        comparison_study.shipped_ids, comparison_study.random_ids
    ))  # fmt: skip
    columns = shipped.ids.shape[1] - 1
    assert sorted(map(tuple, shipped.ids[:, :columns].tolist())) == sorted(
        map(tuple, dealt.ids[:, :columns].tolist())
    )
    moved = (shipped.ids[:, :columns] != dealt.ids[:, :columns]).any(1)
    assert moved.float().mean() > 0.9
