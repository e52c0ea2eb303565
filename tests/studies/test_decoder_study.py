"""The decoder study trains as the library does, measures what it says, and its tables are whole."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import decoder_study
from decoder_study import (
    COLUMNS,
    HIT_COLUMNS,
    LOOKS,
    METRICS,
    RESULTS,
    SEEDS,
    VARIANTS,
    level_losses,
    rows_of,
    train_variant,
)
from rqvae_lib.data.splits import Histories, Split
from rqvae_lib.models.configs import DecoderOnlyConfig
from rqvae_lib.models.registry import name_of, new_recommender
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import RECOMMENDER_TRAINING
from rqvae_lib.training.recipes import train_recommender
from tables import read_rows, write_rows

PEOPLE = 671


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


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_as_the_library_does(name: str, ids: SemanticIDs, split: Split) -> None:
    seen: list[int] = []
    ours = train_variant(
        VARIANTS[name],
        ids,
        split.train,
        seed=3,
        looks=(1, 3),
        look=lambda step, _: seen.append(step),
    )
    config, batch_size = VARIANTS[name]
    training = replace(RECOMMENDER_TRAINING, num_steps=3, batch_size=batch_size, seed=3)
    theirs, _ = train_recommender(ids, split.train, config, training, progress=False)
    assert seen == [1, 3]
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_the_variants_are_what_their_names_say() -> None:
    for name, (config, batch_size) in VARIANTS.items():
        architecture, _, changed = name.partition(", ")
        assert name_of(config) == architecture
        plain = VARIANTS[architecture]
        kind, _, amount = changed.partition(" ")
        differences = {
            "": {},
            "valid": {"valid_only": True},
            "dropout": {"embedding_dropout": float(amount or "nan")},
        }
        assert config == replace(plain.config, **differences[kind])
        assert batch_size == plain.batch_size
    assert VARIANTS["decoder-only"] == (DecoderOnlyConfig(), RECOMMENDER_TRAINING.batch_size)


@pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
def test_level_losses_are_the_model_s_own(
    architecture: str, ids: SemanticIDs, split: Split
) -> None:
    """Asked about windows that end at the target, `loss` knows the sum over the levels."""
    torch.manual_seed(0)
    model = new_recommender(VARIANTS[architecture].config, ids).eval()
    strict = new_recommender(VARIANTS[f"{architecture}, valid"].config, ids).eval()
    torch.nn.init.normal_(model.code_embedding.weight)  # far from uniform
    strict.load_state_dict(model.state_dict())
    targets = torch.tensor([3, 17, 39, 0, 8])
    nothing = [targets[:0]] * len(targets)
    found = level_losses(model, nothing, targets, rows=2)
    with torch.no_grad():
        assert sum(found.trained) == pytest.approx(float(model.loss(targets[:, None])), rel=1e-5)
        assert sum(found.valid) == pytest.approx(float(strict.loss(targets[:, None])), rel=1e-5)
    assert sum(found.valid) < sum(found.trained) - 0.1
    of_strict = level_losses(strict, nothing, targets)
    assert of_strict.trained == pytest.approx(found.valid, rel=1e-5)
    # The history is read: with one, a row of the batch is asked about its last item.
    histories, _ = split.histories_and_targets(split.validation)
    one = level_losses(model, histories[:1], targets[:1])
    other = level_losses(model, histories[1:2], targets[:1])
    assert one.trained != other.trained


def test_a_training_s_rows(ids: SemanticIDs, split: Split) -> None:
    rows, hits = rows_of("decoder-only", 1, ids, split, looks=(2, 4))
    again, hits_again = rows_of("decoder-only", 1, ids, split, looks=(2, 4))
    drop = {"seconds": ""}
    assert [row | drop for row in rows] == [row | drop for row in again]
    assert hits == hits_again
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert not rows[0]["test_recall"]
    for part in ("validation", "test"):
        found = [hit for hit in hits if hit["part"] == part]
        assert float(rows[1][f"{part}_recall"]) == pytest.approx(len(found) / 12, abs=1e-4)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, int]] = []

    def pretend(name: str, seed: int, *_: object) -> tuple[list[dict], list[dict]]:
        called.append((name, seed))
        row = dict.fromkeys(COLUMNS, "") | {"variant": name, "seed": str(seed)}
        hit = dict.fromkeys(HIT_COLUMNS, "") | {"variant": name, "seed": str(seed)}
        return [row | {"step": "25"}, row | {"step": str(LOOKS[-1])}], [hit]

    monkeypatch.setattr("sys.argv", ["study", "--output", str(tmp_path)])
    monkeypatch.setattr(decoder_study, "rows_of", pretend)
    monkeypatch.setattr(decoder_study, "SEEDS", (0,))
    first, second, *_ = VARIANTS
    rows, hits = pretend(first, 0)
    _, orphans = pretend(second, 0)  # written before the interruption, its rows were not
    write_rows(tmp_path / "08_decoders.csv", COLUMNS, rows)
    write_rows(tmp_path / "08_hits.csv", HIT_COLUMNS, hits + orphans)
    called.clear()
    decoder_study.main()
    assert called == [(name, 0) for name in list(VARIANTS)[1:]]
    names = [row["variant"] for row in read_rows(tmp_path / "08_decoders.csv", COLUMNS)]
    assert names == [name for name in VARIANTS for _ in range(2)]
    names = [row["variant"] for row in read_rows(tmp_path / "08_hits.csv", HIT_COLUMNS)]
    assert names == list(VARIANTS)
    assert read_rows(tmp_path / "08_decoders.csv", HIT_COLUMNS) == []


def test_the_tables_are_complete_and_agree() -> None:
    rows = read_rows(RESULTS / "08_decoders.csv", COLUMNS)
    found = [(row["variant"], int(row["seed"]), int(row["step"])) for row in rows]
    assert found == [(name, seed, step) for name in VARIANTS for seed in SEEDS for step in LOOKS]
    with (RESULTS / "08_hits.csv").open(newline="", encoding="utf-8") as file:
        hits = list(csv.DictReader(file))
    assert all(1 <= int(hit["rank"]) <= 10 and 0 <= int(hit["person"]) < PEOPLE for hit in hits)
    for row in rows:
        for level in (1, 2, 3, 4):
            trained, valid = float(row[f"loss_{level}"]), float(row[f"valid_{level}"])
            assert valid <= trained + 1e-4
            assert row["variant"].endswith("valid") <= (trained == pytest.approx(valid, abs=2e-4))
        last = row["step"] == str(LOOKS[-1])
        assert all(bool(row[name]) == last for name in METRICS)
        if last:
            for part in ("validation", "test"):
                key = (row["variant"], row["seed"], part)
                ours = [h for h in hits if (h["variant"], h["seed"], h["part"]) == key]
                assert len(ours) == len({hit["person"] for hit in ours})
                recall = len(ours) / PEOPLE
                assert float(row[f"{part}_recall"]) == pytest.approx(recall, abs=1e-4)
                assert float(row[f"{part}_recall_low"]) < recall
                assert float(row[f"{part}_recall_high"]) > recall
