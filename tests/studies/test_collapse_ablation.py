"""The variants of the collapse ablation are what their names say, and its table is complete."""

import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import collapse_ablation
from collapse_ablation import (
    BARE,
    COLUMNS,
    FULL,
    REMEDIES,
    RESULTS,
    SEEDS,
    STEPS,
    VARIANTS,
    current_rows,
    in_order,
    losses,
    new_model,
    row_of,
    start_codebooks,
    train_variant,
    variance_lost,
)
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import train_rqvae
from tables import write_rows


@pytest.fixture(scope="module")
def embeddings() -> Tensor:
    rows = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
    rows = rows * torch.linspace(0.1, 3, 12) + 5
    rows[:, 3] = 1.0  # a feature that never varies
    return rows


def test_variants_have_what_their_names_say() -> None:
    for name, recipe in VARIANTS.items():
        on = {remedy for remedy in REMEDIES if getattr(recipe, remedy)}
        word, _, rest = name.partition(" ")
        named = set(rest.split("+"))
        if word == "without":
            assert on == set(REMEDIES) - named
        elif word == "only":
            assert on == named
        else:
            losses_averaged = set(REMEDIES) - {"loss_sum"}
            expected = {
                "all": set(REMEDIES),
                "none": set(),
                "both losses averaged": losses_averaged,
            }
            assert on == expected[name]
        assert recipe.quantization_mean is (name == "both losses averaged")


def test_each_remedy_is_left_out_and_tried_alone() -> None:
    assert len(REMEDIES) == 6
    for remedy in REMEDIES:
        assert f"without {remedy}" in VARIANTS
        assert f"only {remedy}" in VARIANTS


def test_all_remedies_are_the_library_s_recipe(embeddings: Tensor) -> None:
    ours = train_variant(FULL, embeddings, seed=3, steps=10)
    training = TrainingConfig(num_steps=7, batch_size=256, seed=3)
    theirs, _ = train_rqvae(embeddings, training=training, autoencoder_steps=3, progress=False)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_standardise(embeddings: Tensor) -> None:
    changed = new_model(FULL, embeddings, 0).standardize(embeddings)
    varying = [0, 1, 2, *range(4, 12)]
    torch.testing.assert_close(changed.mean(0), torch.zeros(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(changed[:, varying].std(0, correction=0), torch.ones(11))
    left = new_model(replace(FULL, standardise=False), embeddings, 0)
    assert torch.equal(left.standardize(embeddings), embeddings)


def test_average_and_reset(embeddings: Tensor) -> None:
    for remedy in (True, False):
        model = new_model(replace(FULL, average=remedy), embeddings, 0)
        assert model.quantizer.codebooks.requires_grad is not remedy
        model = new_model(replace(FULL, reset=remedy), embeddings, 0)
        assert bool(model.quantizer.dead_after) is remedy


def test_kmeans_moves_the_codewords_and_random_leaves_them(embeddings: Tensor) -> None:
    for recipe in (BARE, replace(BARE, average=True)):
        model = new_model(recipe, embeddings, 0)
        before = model.quantizer.codebooks.clone()
        start_codebooks(model, recipe, embeddings, 0)
        assert torch.equal(model.quantizer.codebooks, before)
        assert model.quantizer.initialized
    start_codebooks(model, replace(recipe, kmeans=True), embeddings, 0)
    assert not torch.equal(model.quantizer.codebooks, before)


def test_loss_sum(embeddings: Tensor) -> None:
    model = new_model(FULL, embeddings, 0).eval()
    output = model(embeddings[:50])
    alone = model.autoencoder_loss(embeddings[:50])
    averaged = replace(FULL, loss_sum=False)
    both = replace(averaged, quantization_mean=True)
    # 12 features are averaged, and 32 of the latents.
    for share, other, recipe in ((1, 1, FULL), (1 / 12, 1, averaged), (1 / 12, 1 / 32, both)):
        first, together = losses(model, recipe)
        torch.testing.assert_close(first(embeddings[:50]), share * alone)
        expected = share * output.reconstruction_loss + other * output.quantization_loss
        torch.testing.assert_close(together(embeddings[:50]), expected)


def test_variance_lost_is_measured_alike_for_all(embeddings: Tensor) -> None:
    model = train_variant(FULL, embeddings, seed=0, steps=10)
    ours = variance_lost(model, embeddings)
    assert ours == pytest.approx(model.variance_lost(embeddings, model.assign(embeddings)), 1e-4)
    # One that rebuilds the mean of all loses everything, whatever units it reads.
    raw = train_variant(replace(FULL, standardise=False), embeddings, seed=0, steps=10)
    with torch.no_grad():
        raw.decoder[-1].weight.zero_()  # type: ignore[operator, union-attr]
        raw.decoder[-1].bias.copy_(embeddings.mean(0))  # type: ignore[operator, union-attr]
    assert variance_lost(raw, embeddings) == pytest.approx(1.0, abs=1e-4)


def test_a_row_is_the_same_again(embeddings: Tensor) -> None:
    assert row_of("none", 1, embeddings, steps=4) == row_of("none", 1, embeddings, steps=4)


def test_an_interrupted_run_goes_on(
    embeddings: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results" / "rows.csv"
    monkeypatch.setattr("sys.argv", ["ablation", "--output", str(path), "--steps", "4"])
    monkeypatch.setattr(collapse_ablation, "load_embeddings", lambda: embeddings)
    monkeypatch.setattr(collapse_ablation, "SEEDS", (0,))
    row = row_of("none", 0, embeddings, steps=4) | {"collision_rate": "0.123"}
    write_rows(path, COLUMNS, [row])
    collapse_ablation.main()
    rows = current_rows(path, 4)
    assert rows["none", 0]["collision_rate"] == "0.123"  # kept, not computed again
    assert [name for name, _ in rows] == list(VARIANTS)
    assert current_rows(path, 5) == {}


def test_a_row_of_a_variant_that_changed_is_computed_again(
    embeddings: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    rows = {(name, 0): row_of(name, 0, embeddings, steps=4) for name in ("none", "only reset")}
    write_rows(path, COLUMNS, in_order(rows))
    assert current_rows(path, 4) == rows
    changed = VARIANTS | {"none": replace(BARE, loss_sum=True)}
    monkeypatch.setattr(collapse_ablation, "VARIANTS", changed)
    assert list(current_rows(path, 4)) == [("only reset", 0)]
    monkeypatch.setattr(collapse_ablation, "VARIANTS", {"none": changed["none"]})
    assert current_rows(path, 4) == {}


def test_the_table_has_all_variants_seeds_and_columns() -> None:
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    found = [(row["variant"], int(row["seed"])) for row in rows]
    assert found == [(name, seed) for name in VARIANTS for seed in SEEDS]
    for row in rows:
        assert row["steps"] == str(STEPS)
        recipe = asdict(VARIANTS[row["variant"]])
        assert {name: row[name] == "1" for name in recipe} == recipe
        for level in (1, 2, 3):
            assert 0 < float(row[f"used_{level}"]) <= 1
            assert 1 <= float(row[f"perplexity_{level}"]) <= 256
        assert 0 <= float(row["collision_rate"]) <= 1
