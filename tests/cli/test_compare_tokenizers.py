"""`compare-tokenizers`: what it prints and writes is what was measured."""

import csv
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.training.config import RQVAE_TRAINING, TrainingConfig
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tests.cli.running import run, succeeds

item_vectors = import_module("rqvae_lib.embeddings.item_vectors")

pytestmark = pytest.mark.usefixtures("quick")


def test_a_comparison_prints_and_writes_the_same_table(
    pipeline: Path, kmeans_file: Path, tmp_path: Path
) -> None:
    said = succeeds(
        "compare-tokenizers", "--seeds", 1, "--steps", 3, "--output", "new/table.csv",
        folder=tmp_path,
    )  # fmt: skip
    with (tmp_path / "new/table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    printed = [line for line in said.splitlines() if line.startswith(("RQ-VAE", "R-KMeans"))]
    files_of = {"RQ-VAE": pipeline / "runs/rqvae.safetensors", "R-KMeans": kmeans_file}
    assert [row["tokenizer"] for row in rows] == list(files_of)
    for row, line in zip(rows, printed, strict=True):
        name, seed, *numbers = line.replace("%", "").split()
        assert (name, seed) == (row["tokenizer"], row["seed"])
        assert seed == "0"
        metrics = load_rqvae(files_of[name])[1]["metrics"]  # of the same seed and steps
        numbered = {
            **{column: metrics[column] for column in ("collision_rate", "variance_lost")},
            **{f"used_{i}": share for i, share in enumerate(metrics["utilization"], 1)},
            **{f"perplexity_{i}": value for i, value in enumerate(metrics["perplexity"], 1)},
        }
        assert list(row) == ["tokenizer", "seed", *numbered]
        for column, expected in numbered.items():
            assert float(row[column]) == pytest.approx(expected, rel=1e-3)
        expected = [
            *(f"{100 * share:.1f}" for share in metrics["utilization"]),
            *(f"{number:.0f}" for number in metrics["perplexity"]),
            f"{100 * metrics['collision_rate']:.2f}",
            f"{100 * metrics['variance_lost']:.1f}",
        ]
        assert numbers == expected


def test_a_comparison_trains_each_seed_on_the_content_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = torch.randn(800, 16, generator=torch.Generator().manual_seed(0))
    asked = []
    monkeypatch.setattr(
        item_vectors,
        "item_vectors",
        lambda _, content, *__: asked.append(content) or ItemVectors(vectors, content),
    )
    said = succeeds(
        "compare-tokenizers", "--seeds", 3, "--steps", 2, "--content", "both", folder=tmp_path
    )
    assert asked == ["both"]
    rows = [line.split() for line in said.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        [name, str(seed)] for seed in range(3) for name in ("RQ-VAE", "R-KMeans")
    ]
    for row in rows:
        if row[0] == "RQ-VAE":
            training = replace(RQVAE_TRAINING, num_steps=2, seed=int(row[1]))
            model, _ = train_rqvae(vectors, None, training, autoencoder_steps=3, progress=False)
        else:
            model = new_rqvae(vectors, RQVAEConfig.residual_kmeans(16), seed=int(row[1]))
        metrics = tokenizer_metrics(model, vectors)
        assert row[5:8] == [f"{number:.0f}" for number in metrics.perplexity]
        assert row[8:] == [f"{metrics.collision_rate:.2%}", f"{metrics.variance_lost:.1%}"]
    for name in ("RQ-VAE", "R-KMeans"):
        assert len({tuple(row[2:]) for row in rows if row[0] == name}) == 3
    assert not list(tmp_path.iterdir())


def test_an_interrupted_comparison_keeps_the_seeds_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = import_module("rqvae_lib.training.recipes")
    vectors = torch.randn(800, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(item_vectors, "item_vectors", lambda *_: ItemVectors(vectors))
    train = recipes.train_rqvae

    def interrupted(vectors: object, config: object, training: TrainingConfig, **more: Any) -> Any:
        if training.seed == 2:
            raise KeyboardInterrupt
        return train(vectors, config, training, **more)

    monkeypatch.setattr(recipes, "train_rqvae", interrupted)
    words = ("compare-tokenizers", "--seeds", 4, "--steps", 2, "--codebook-size", 16)
    assert run(*words, "--output", "table.csv", folder=tmp_path).returncode != 0
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [(row["tokenizer"], row["seed"]) for row in rows]
    assert found == [(name, seed) for seed in "01" for name in ("RQ-VAE", "R-KMeans")]
