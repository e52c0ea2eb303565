"""The studies' tables: what is measured of a model, and how rows of several processes meet."""

import sys
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch

import comparison_study
import counted_models
import counting
import studied_models
import tuning
import workers
from rqvae_lib.checkpoints.models import load_model, load_rqvae
from rqvae_lib.data.history_lists import as_flat_histories
from rqvae_lib.data.splits import Split, global_timestamp, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.evaluation.evaluator import Evaluation
from rqvae_lib.evaluation.metrics import ranks_in_scores
from rqvae_lib.models.configs import SASRecConfig, TransformerConfig
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from studied_models import MODELS, Settings, drawn_settings
from tables import Row, read_rows, replace_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def an_evaluation() -> Evaluation:
    lists = torch.full((3, 50), -1)
    lists[0, :2], lists[1, 0], lists[2, 0] = torch.tensor([7, 3]), 4, 5
    popularity = torch.ones(10)
    popularity[6] = 0
    targets, users = torch.tensor([3, 4, 6]), torch.tensor([2, 2, 9])
    return Evaluation(lists, targets, users, popularity, beams=None)


def test_a_row_and_its_people() -> None:
    row = comparison_study.row_of(an_evaluation())
    assert set(row) | {"split", "model", "seed", "parameters", "device", "seconds"} == set(
        comparison_study.COLUMNS
    )
    assert float(row["recall_1"]) == 0.25  # person 2 found one of two at once, person 9 none
    assert float(row["recall_10"]) == 0.5
    assert float(row["unseen_10"]) == 0
    assert comparison_study.people_of(an_evaluation()) == [
        {"person": "2", "recall_10": "1.00000", "ndcg_10": "0.81546"}  # (1 + 1 / log2(3)) / 2
    ]


def test_the_best_trial_of_a_model_on_a_split(tmp_path: Path) -> None:
    table = tmp_path / "11_tuning.csv"
    for split, found in (("leave-one-out", (1, 3, 2)), ("timestamp", (3, 1, 2))):
        for trial, ndcg in enumerate(found):
            steps = 1000 if trial < 2 else 3000
            tried = asdict(Settings(0.001 * (trial + 1), 0.1, 0.0, 0.2, steps))
            key = {"split": split, "model": "RQ-Transformer", "trial": str(trial)}
            row = {name: str(value) for name, value in tried.items()} | {"ndcg": f"0.0{ndcg}"}
            replace_rows(table, tuning.COLUMNS, key, [row], tuning.place_of)
    best = tuning.best_settings("RQ-Transformer", "leave-one-out", table)
    assert best == Settings(0.002, 0.1, 0.0, 0.2, 1000)
    assert tuning.best_settings("RQ-Transformer", "timestamp", table).learning_rate == 0.001
    longer = tuning.best_settings("RQ-Transformer", "leave-one-out", table, num_steps=3000)
    assert longer == Settings(0.003, 0.1, 0.0, 0.2, 3000)
    with pytest.raises(ValueError, match="holds no trial of 'SASRec' on timestamp"):
        tuning.best_settings("SASRec", "timestamp", table)
    with pytest.raises(ValueError, match="on timestamp with 2000 steps: run tuning"):
        tuning.best_settings("RQ-Transformer", "timestamp", table, num_steps=2000)


def test_a_study_is_written_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuning first, then a training with what it found best, both with two steps."""
    monkeypatch.setitem(studied_models.CHOICES, "num_steps", (2,))
    monkeypatch.setattr(tuning, "TRIALS", 2)
    monkeypatch.setattr(
        tuning, "drawn_settings", lambda num: [Settings(2e-3, 0.1, 0.0, 0.2, 2)] * num
    )
    trained = []

    def counting(*arguments: object) -> object:
        trained.append(arguments)
        return studied_models.train_model(*arguments)

    monkeypatch.setattr(tuning, "train_model", counting)
    monkeypatch.setattr(comparison_study, "train_model", counting)
    table, which = tmp_path / "11_tuning.csv", ["--splits", "leave-one-out"]
    for _ in range(2):
        command = ["tuning.py", "--output", str(table), "--models", "RQ-Transformer", *which]
        monkeypatch.setattr(sys, "argv", command)
        tuning.main()
        assert [row["trial"] for row in read_rows(table, tuning.COLUMNS)] == ["0", "1"]

        command = [
            "comparison_study.py", "--output", str(tmp_path), "--tuning", str(table),
            "--models", "RQ-Transformer", "--seeds", "0", *which,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", command)
        comparison_study.main()
        [row] = read_rows(tmp_path / "11_comparison.csv", comparison_study.COLUMNS)
        assert (row["split"], row["model"], row["seed"]) == ("leave-one-out", "RQ-Transformer", "0")
        people = read_rows(tmp_path / "11_people.csv", comparison_study.PEOPLE_COLUMNS)
        total = sum(float(person["recall_10"]) for person in people)
        assert total / 671 == pytest.approx(float(row["recall_10"]), abs=1e-4)
    assert len(trained) == 3


def test_rows_of_one_measurement_replace_older_ones(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for key, value in (("b", "1"), ("a", "2"), ("b", "3")):
        replace_rows(table, ("key", "value"), {"key": key}, [{"value": value}], lambda r: r["key"])
    assert read_rows(table) == [{"key": "a", "value": "2"}, {"key": "b", "value": "3"}]


def half(number: int) -> float:
    if number == 3:
        raise ValueError("three")
    return number / 2


def test_jobs_in_processes_yield_their_results_and_the_first_failure() -> None:
    assert list(workers.in_processes(half, [4, 2], 1)) == [(4, 2.0), (2, 1.0)]
    found: list[tuple[int, float]] = []
    with pytest.raises(ValueError, match="three"):
        found.extend(workers.in_processes(half, [3, 1, 2, 4], 2))
    assert sorted(found) == [(1, 0.5), (2, 1.0), (4, 2.0)]


def test_every_model_gets_the_same_settings_and_all_differ() -> None:
    settings = drawn_settings(12)
    assert len(set(settings)) == len(settings) == 12
    assert settings == drawn_settings(12)


def test_random_ids_are_the_same_ids_of_other_items() -> None:
    dataset = load_dataset()
    split = leave_one_out(dataset)
    shipped, dealt = (
        make(dataset, split, 1) for make in (studied_models.shipped_ids, studied_models.random_ids)
    )
    columns = shipped.ids.shape[1] - 1
    assert sorted(map(tuple, shipped.ids[:, :columns].tolist())) == sorted(
        map(tuple, dealt.ids[:, :columns].tolist())
    )
    moved = (shipped.ids[:, :columns] != dealt.ids[:, :columns]).any(1)
    assert moved.float().mean() > 0.9


def test_ids_of_text_and_taste_are_made_once_a_split_from_its_training_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def quick(vectors: torch.Tensor, progress: bool) -> tuple[object, list[object]]:
        made.append(vectors)
        return studied_models.new_rqvae(
            vectors, studied_models.RQVAEConfig(vectors.shape[1]), seed=0
        ), []

    monkeypatch.setattr(studied_models, "train_rqvae", quick)
    monkeypatch.setattr(studied_models, "RUNS", tmp_path)
    dataset = load_dataset()
    split = global_timestamp(dataset)
    first, again = (studied_models.text_and_taste_ids(dataset, split, seed) for seed in (0, 1))
    assert torch.equal(first.ids, again.ids)
    [vectors] = made
    assert torch.equal(vectors, item_vectors(dataset, "both", split=split).tensor)
    assert not torch.equal(vectors, item_vectors(dataset, "both").tensor)  # leave-one-out
    [kept] = tmp_path.iterdir()
    assert kept.name == "text-and-taste-timestamp-rqvae.safetensors"
    _, card = load_rqvae(kept)
    said = {name: card[name] for name in ("dataset", "data", "content", "split")}
    assert said == {
        "dataset": dataset.name,
        "data": dataset.checksum,
        "content": "both",
        "split": "timestamp",
    }


def test_each_model_names_what_exists() -> None:
    for studied in MODELS.values():
        assert studied.recommender in {studied_models.SASREC, *studied_models.RECOMMENDERS}
        assert studied.tuned_as in MODELS


def test_places_in_the_table_follow_the_models() -> None:
    rows: list[Row] = [
        {"split": split, "model": model, "trial": "0"}
        for split in studied_models.SPLITS
        for model in studied_models.TUNED
    ]
    assert sorted(rows, key=tuning.place_of) == rows


SHIPPED = {
    "decoder-only": "decoder-only",
    "sasrec": "SASRec",
    "rq-transformer": "RQ-Transformer",
    "rq-transformer-codes-only": "RQ-Transformer, codes only",
    "encoder-decoder": "encoder-decoder",
}


@pytest.mark.parametrize("suffix", SHIPPED)
def test_a_shipped_model_has_the_settings_of_its_row_in_the_table(suffix: str) -> None:
    name = SHIPPED[suffix]
    model, card = load_model(f"{studied_models.DATASET}-{suffix}")
    settings = tuning.best_settings(MODELS[name].tuned_as, "leave-one-out")
    recommender = MODELS[name].recommender
    expected = (studied_models.RECOMMENDERS | {"SASRec": partial(SASRecConfig, num_items=9066)})[
        recommender
    ](
        transformer=TransformerConfig(dropout=settings.block_dropout),
        embedding_dropout=settings.embedding_dropout,
    )
    assert model.config == expected
    words = card["command"].split()
    given = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
    assert int(given["--batch-size"]) == studied_models.BATCH_SIZE.get(recommender, 16)
    assert int(given["--steps"]) == settings.num_steps
    assert float(given["--learning-rate"]) == settings.learning_rate
    assert float(given["--weight-decay"]) == settings.weight_decay
    assert (card["split"], card["seed"]) == ("leave-one-out", 0)


def test_last_ten_is_for_two_models_with_the_settings_of_leave_one_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "11_tuning.csv"
    for model, rate in (("SASRec", 0.001), ("RQ-Transformer", 0.002)):
        tried = {k: str(v) for k, v in asdict(Settings(rate, 0.1, 0.0, 0.2, 2)).items()}
        key = {"split": "leave-one-out", "model": model, "trial": "0"}
        replace_rows(table, tuning.COLUMNS, key, [tried | {"ndcg": "0.1"}], tuning.place_of)
    asked = []

    def remember(name: str, settings: Settings, *_: object) -> object:
        asked.append((name, settings.learning_rate))
        raise InterruptedError

    monkeypatch.setattr(comparison_study, "train_model", remember)
    options = ["--output", str(tmp_path), "--tuning", str(table), "--seeds", "0"]
    for model in ("SASRec", "RQ-Transformer", "decoder-only"):
        monkeypatch.setattr(sys, "argv", ["", *options, "--splits", "last-ten", "--models", model])
        with suppress(InterruptedError):
            comparison_study.main()
    assert asked == [("SASRec", 0.001), ("RQ-Transformer", 0.002)]


def test_near_pairs_are_those_counted_one_by_one() -> None:
    histories = as_flat_histories([torch.tensor(h) for h in ([0, 1, 2, 3], [2, 0], [3])], "train")
    nothing = torch.empty(0, dtype=torch.int64)
    split = Split(histories, histories, nothing, nothing, 5, "by hand")
    settings = counted_models.CountedSettings(counted_models.NEAR_SHRINKAGE, 2, 2)
    for name, forward in ((counted_models.NEAR, False), (counted_models.FORWARD, True)):
        model = counted_models.counted_model(name, settings, split)
        counts, chosen = torch.zeros(5, 5), torch.zeros(5)
        for history in ([0, 1, 2, 3], [2, 0], [3]):
            for place, item in enumerate(history):
                chosen[item] += 1
                for other_place, other in enumerate(history):
                    distance = other_place - place
                    if 1 <= abs(distance) <= 2 and (distance > 0 or not forward):
                        counts[item, other] += 1 / abs(distance)
        scale = (chosen + counted_models.NEAR_SHRINKAGE) ** -0.5
        expected = scale[:, None] * counts * scale
        heard = [torch.tensor([3, 0, 1]), torch.tensor([], dtype=torch.int64)]
        torch.testing.assert_close(
            model.scores(heard), torch.stack([expected[0] + expected[1], torch.zeros(5)])
        )


def test_counted_models_have_one_row_a_split_and_leave_one_outs_settings_on_last_ten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [
        counted_models.CountedSettings(0.0, 0, None),  # the worst of the eight
        counted_models.CountedSettings(20.0, 0, 1),  # the best
    ]
    monkeypatch.setattr(counting, "counted_settings", lambda model: small)
    table = tmp_path / "11_counting.csv"
    which = ["--output", str(table), "--models", "item-kNN", "--splits", "leave-one-out"]
    monkeypatch.setattr(sys, "argv", ["", *which])
    counting.main()
    assert counting.best_counted("item-kNN", "leave-one-out", table) == small[1]
    with pytest.raises(ValueError, match="holds no trial of 'item-kNN' on timestamp"):
        counting.best_counted("item-kNN", "timestamp", table)

    asked: list[tuple[str, object]] = []

    def remember(model: str, settings: object, split: Split) -> Popularity:
        asked.append((model, settings))
        return Popularity(split.popularity)

    monkeypatch.setattr(comparison_study, "counted_model", remember)
    options = ["--output", str(tmp_path), "--counting", str(table), "--models", "item-kNN"]
    monkeypatch.setattr(sys, "argv", ["", *options, "--splits", "last-ten"])
    comparison_study.main()
    assert asked == [("item-kNN", small[1])]
    [row] = read_rows(tmp_path / "11_comparison.csv", comparison_study.COLUMNS)
    assert (row["split"], row["model"], row["seed"]) == ("last-ten", "item-kNN", "0")


def test_counted_rows_on_leave_one_out_are_what_the_library_finds() -> None:
    split = leave_one_out(load_dataset())
    table = comparison_study.RESULTS / "11_comparison.csv"
    rows = {
        row["model"]: row
        for row in read_rows(table, comparison_study.COLUMNS)
        if row["split"] == "leave-one-out" and row["model"] in counted_models.COUNTED
    }
    assert set(rows) == set(counted_models.COUNTED)
    histories, targets = split.histories_and_targets(split.test)
    best = counting.best_counted("item-kNN", "leave-one-out")
    assert best == counted_models.CountedSettings(20.0, 0, 1)
    models = {
        "popularity": Popularity(split.popularity),
        "item-kNN": ItemKNN(split.train, split.num_items, shrinkage=20.0, last=1),
    }
    for name, model in models.items():
        ranks = ranks_in_scores(model.scores(histories), targets, histories)
        assert float(rows[name]["recall_10"]) == pytest.approx(
            float((ranks <= 10).double().mean()), abs=1e-5
        )
