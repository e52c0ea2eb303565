"""The parts of the study of unseen movies against brute force, and its tables are complete."""

import copy
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

import unseen_study
from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RQVAE_TRAINING
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tables import read_rows, write_rows
from unseen_study import (
    DECODER_COLUMNS,
    FRESH,
    RESULTS,
    RISE_COLUMNS,
    RISES,
    SEEDS,
    SEEDS_OF_HALF,
    TRAININGS,
    UNSEEN_COLUMNS,
    cut,
    decoder_rows,
    fresh_loss,
    losses,
    place_of_decoder,
    place_of_rise,
    place_of_unseen,
    quantization_loss,
    refit_decoder,
    rise_rows,
    share_lost,
    unseen_rows,
    what_the_decoder_reads,
)


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(700, 12, generator=generator) * torch.linspace(0.1, 3, 12)


@pytest.fixture(scope="module")
def model(vectors: Tensor) -> RQVAE:
    return new_rqvae(vectors[:600], RQVAEConfig(12), seed=0)


def test_a_cut_is_a_partition() -> None:
    for held_out, number in ((0.1, 70), (0.5, 350)):
        seen, unseen = cut(700, held_out, 1)
        assert len(unseen) == number
        assert sorted([*seen.tolist(), *unseen.tolist()]) == list(range(700))
        assert not torch.equal(cut(700, held_out, 2)[1], unseen)


def test_losses_by_hand(model: RQVAE, vectors: Tensor) -> None:
    fitted, unseen = vectors[:600], vectors[600:]
    found = losses(model, fitted, unseen)
    x = (vectors - model.mean) / model.std
    codes = model.assign(vectors)
    with torch.no_grad():
        rebuilt = model.decoder(model.quantizer.decode(codes))
    error, size = (rebuilt - x).square(), x.square()
    for number, rows in zip(
        found, (slice(600), slice(600, 700), slice(600, 650), slice(650, 700)), strict=False
    ):
        assert number == pytest.approx(float(error[rows].sum() / size[rows].sum()), rel=1e-4)
    times = Counter(map(tuple, codes.tolist()))
    shared = [times[tuple(row)] > 1 for row in codes.tolist()]
    assert found[4:] == pytest.approx([sum(shared[:600]) / 600, sum(shared[600:]) / 100])


def test_a_training_is_the_library_s(vectors: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen_study, "TRAININGS", {0.1: (4, 7)})
    monkeypatch.setattr(unseen_study, "LOOK_EVERY", 3)
    rows, model, (fitted, unseen) = unseen_rows(vectors, 0.1, 3, 4)
    assert [row["at"] for row in rows] == ["4"]
    assert (len(fitted), len(unseen)) == (630, 70)
    training = replace(RQVAE_TRAINING, num_steps=4, seed=3)
    theirs, _ = train_rqvae(fitted, training=training, progress=False)
    torch.testing.assert_close(model.state_dict(), theirs.state_dict())
    rows, _, _ = unseen_rows(vectors, 0.1, 3, 7)
    assert [row["at"] for row in rows] == ["3", "6", "7"]
    rows, _, _ = unseen_rows(vectors, 0.1, 3, 0)
    assert (rows[0]["tokenizer"], rows[0]["at"]) == ("residual k-means", "0")


def test_a_decoder_is_refitted_to_what_it_reads(model: RQVAE, vectors: Tensor) -> None:
    reads = what_the_decoder_reads(model, vectors)
    torch.testing.assert_close(reads["codes"], model.quantizer.decode(model.assign(vectors)))
    before = copy.deepcopy(model.state_dict())
    refitted = refit_decoder(model, reads["latents"], vectors, steps=20, seed=0)
    torch.testing.assert_close(model.state_dict(), before)
    torch.testing.assert_close(refitted.encoder.state_dict(), model.encoder.state_dict())
    torch.testing.assert_close(refitted.quantizer.state_dict(), model.quantizer.state_dict())
    lost = [share_lost(one, reads["latents"], vectors) for one in (model, refitted)]
    assert lost[1] < lost[0]
    codes = model.assign(vectors)
    assert share_lost(model, reads["codes"], vectors) == pytest.approx(
        model.variance_lost(vectors, codes), rel=1e-4
    )
    rows = decoder_rows("one", model, vectors[:600], vectors[600:], seed=0, steps=2)
    assert [(row["reads"], row["decoder"]) for row in rows] == [
        (reads, decoder) for reads in ("latents", "codes") for decoder in ("as trained", "refitted")
    ]


def test_quantization_losses_by_hand(model: RQVAE, vectors: Tensor) -> None:
    latents = model.encode(vectors)
    residual, expected = latents, 0.0
    for codebook in model.quantizer.codebooks:
        residual = residual - codebook[nearest(residual, codebook)]
        expected += 0.25 * float(residual.square().sum(1).mean())
    assert quantization_loss(model.quantizer, latents) == pytest.approx(expected, rel=1e-4)
    before = copy.deepcopy(model.state_dict())
    assert fresh_loss(model, latents) > 0
    torch.testing.assert_close(model.state_dict(), before)
    # Far from all latents, own codebooks leave much and fresh ones do not.
    assert quantization_loss(model.quantizer, 50 * latents) > fresh_loss(model, 50 * latents)
    assert FRESH > 1


def test_a_rise_is_a_training_of_the_library(
    vectors: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rise_rows(vectors, (300, 5), (0, 3, 5), seed=2)
    assert [row["at"] for row in rows] == ["0", "3", "5"]
    training = replace(RQVAE_TRAINING, num_steps=5, seed=2)
    theirs, _ = train_rqvae(vectors, training=training, progress=False)
    expected = quantization_loss(theirs.quantizer, theirs.encode(vectors))
    assert float(rows[-1]["quantization"]) == pytest.approx(expected, abs=2e-4)


def test_an_interrupted_run_goes_on(
    vectors: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["study", "--output", str(tmp_path), "--seeds", "1"])
    monkeypatch.setattr(unseen_study, "load_embeddings", lambda: vectors)
    monkeypatch.setattr(unseen_study, "TRAININGS", {0.1: (2, 3), 0.5: (2,)})
    monkeypatch.setattr(unseen_study, "RISES", {(2, 3): (0, 3)})
    monkeypatch.setattr(unseen_study, "SEEDS_OF_HALF", (1,))
    monkeypatch.setattr(unseen_study, "REFITTED_ON", 2)
    monkeypatch.setattr(unseen_study, "REFIT_STEPS", 2)
    shipped = new_rqvae(vectors, RQVAEConfig(12), seed=0), {}
    monkeypatch.setattr(unseen_study, "load_rqvae", lambda _: shipped)
    unseen_study.main()
    names = ("05_unseen.csv", "04_decoders.csv", "05_rise.csv")
    tables = [(tmp_path / name).read_text() for name in names]
    assert [table.count("\n") for table in tables] == [6, 9, 3]
    unseen_study.main()
    assert [(tmp_path / name).read_text() for name in names] == tables
    # Killed after the decoders of a training, and before its rows of unseen movies.
    kept = read_rows(tmp_path / names[0])
    write_rows(tmp_path / names[0], UNSEEN_COLUMNS, [row for row in kept if row["steps"] != "2"])
    unseen_study.main()
    assert [(tmp_path / name).read_text() for name in names] == tables


def test_the_tables_have_all_rows_and_columns() -> None:
    for name, place_of in (
        ("05_unseen", place_of_unseen),
        ("04_decoders", place_of_decoder),
        ("05_rise", place_of_rise),
    ):
        rows = read_rows(RESULTS / f"{name}.csv")
        assert sorted(rows, key=place_of) == rows
    unseen = pd.read_csv(RESULTS / "05_unseen.csv")
    assert tuple(unseen) == UNSEEN_COLUMNS
    ends = unseen[unseen["at"] == unseen["steps"]]
    seeds = {0.1: SEEDS, 0.5: SEEDS_OF_HALF}
    expected = {
        (share, seed, n)
        for share in TRAININGS
        for seed in seeds[share]
        for n in (0, *TRAININGS[share])
    }
    assert set(ends[["held_out", "seed", "steps"]].itertuples(index=False, name=None)) == expected
    assert len(ends) == len(expected)
    decoders = pd.read_csv(RESULTS / "04_decoders.csv")
    assert tuple(decoders) == DECODER_COLUMNS
    assert len(decoders) == 2 * 4 * len(SEEDS)
    rise = pd.read_csv(RESULTS / "05_rise.csv")
    assert tuple(rise) == RISE_COLUMNS
    assert len(rise) == len(SEEDS) * sum(map(len, RISES.values()))
    assert all(math.isfinite(number) for number in rise["fresh"])
