"""The study of Amazon Beauty: what it reads, tries, keeps and does not do again."""

import random
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import beauty_study
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from studied_models import Settings
from tables import read_origin, read_rows

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Forty people with 21 to 30 of 60 items each."""
    chance = random.Random(0)
    lines = []
    for person in range(1, 41):
        items = chance.sample(range(100, 160), chance.randint(21, 30))
        lines.append(" ".join(map(str, [person, *items])))
    path = tmp_path / "small.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def ids_of(source: str, name: str, seed: int) -> SemanticIDs:
        generator = torch.Generator().manual_seed(seed)
        return SemanticIDs(torch.randint(4, (60, 2), generator=generator), 4)

    settings = [Settings(1e-2, 0.1, 0.1, 0.1, 2), Settings(1e-3, 0.1, 0.1, 0.1, 2)]
    monkeypatch.setattr(beauty_study, "ids_of", ids_of)
    monkeypatch.setattr(beauty_study, "drawn_settings", lambda: settings)
    monkeypatch.setattr(beauty_study, "TRIALS", 2)
    small = lambda dropout: TransformerConfig(  # noqa: E731
        dim=8, num_layers=1, num_heads=1, mlp_dim=8, dropout=dropout
    )
    monkeypatch.setattr(beauty_study, "TransformerConfig", small)


def test_sequences_keep_their_order(sequences: Path) -> None:
    data = beauty_study.read_sequences(sequences)
    first = sequences.read_text(encoding="utf-8").splitlines()[0].split()
    history = data.items["item_id"].to_numpy()[data.user_history(1)]
    assert history.tolist() == [int(item) for item in first[1:]]
    assert (data.name, data.num_users) == ("small", 40)


def test_settings_are_drawn_once_and_all_differ() -> None:
    settings = beauty_study.drawn_settings()
    assert len(set(settings)) == len(settings) == beauty_study.TRIALS
    assert settings == beauty_study.drawn_settings()


def test_ids_dealt_out_are_the_same_ids() -> None:
    ids = SemanticIDs(torch.arange(40).reshape(20, 2) % 7, 7)
    dealt = beauty_study.dealt_out(ids, 3)
    assert sorted(dealt.codes.tolist()) == sorted(ids.codes.tolist())
    assert dealt.codes.tolist() != ids.codes.tolist()
    assert dealt.sizes == ids.sizes
    assert dealt.sha256 == beauty_study.dealt_out(ids, 3).sha256


def test_the_study_is_written_and_not_done_again(
    sequences: Path, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ["popularity", "item-kNN", "SASRec", "RQ-Transformer", "RQ-Transformer, random IDs"]
    argv = ["beauty", "--sequences", str(sequences), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*argv, "--seeds", "0", "1", "--models", *models])
    beauty_study.main()
    trials = read_rows(tmp_path / beauty_study.TUNING, beauty_study.TUNING_COLUMNS)
    counts = pd.Series([row["model"] for row in trials]).value_counts().to_dict()
    assert counts == {"item-kNN": 8, "SASRec": 2, "RQ-Transformer": 2}
    rows = read_rows(tmp_path / beauty_study.TABLE, beauty_study.COLUMNS)
    keys = [(row["split"], row["model"], row["seed"]) for row in rows]
    seeds = {"popularity": "0", "item-kNN": "0"}
    assert keys == [
        (split, model, seed)
        for split in ("leave-one-out", "last-ten")
        for model in models
        for seed in seeds.get(model, "01")
    ]
    people = pd.read_parquet(tmp_path / beauty_study.PEOPLE)
    for row in rows:
        where = people["seed"] == int(row["seed"])
        for name in ("split", "model"):
            where &= people[name] == row[name]
        found = people[where]["recall_10"].sum() / 40
        assert found == pytest.approx(float(row["recall_10"]), abs=1e-4)
    best = beauty_study.best_trial("SASRec", tmp_path / beauty_study.TUNING)
    of_sasrec = [float(row["ndcg"]) for row in trials if row["model"] == "SASRec"]
    assert of_sasrec[best] == max(of_sasrec)
    assert read_origin(tmp_path / beauty_study.PEOPLE)["date"]
    files = [tmp_path / beauty_study.TABLE, tmp_path / beauty_study.PEOPLE]
    before = [file.read_bytes() for file in files]
    monkeypatch.setattr(beauty_study, "train", None)  # nothing is trained again
    beauty_study.main()
    assert [file.read_bytes() for file in files] == before


def test_testing_asks_for_trials(
    sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["beauty", "--sequences", str(sequences), "--output", str(tmp_path), "--only-test"]
    monkeypatch.setattr(sys, "argv", [*argv, "--models", "SASRec"])
    with pytest.raises(ValueError, match="holds no trial of 'SASRec': run the study without"):
        beauty_study.main()
