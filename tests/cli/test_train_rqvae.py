"""`train-rqvae`: each option reaches the training, and what is written is what was trained."""

import shlex
import shutil
from contextlib import chdir
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.cli.main import main
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.embeddings.text import load_embeddings, save_embeddings
from rqvae_lib.embeddings.vector_folders import read_vectors, sample_vectors
from rqvae_lib.io.tensor_files import load_checkpoint
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.large_tables import read_large_table
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.training.config import RQVAE_TRAINING, EarlyStop
from rqvae_lib.training.recipes import new_rqvae, train_rqvae
from tests.cli.running import (
    DATASET,
    assert_same,
    both,
    change_card,
    fails,
    opened,
    plain,
    run,
    succeeds,
    text,
)
from tests.helpers import write_vectors

command, recipes = (
    import_module(f"rqvae_lib.{name}") for name in ("cli.train_rqvae", "training.recipes")
)

pytestmark = pytest.mark.usefixtures("quick")


class Asked(Exception):
    """Carries what the command asked of `train_rqvae`."""


def asked_of_training(
    *arguments: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, RQVAEConfig, Any, dict[str, Any]]:
    def stop(vectors: ItemVectors, config: RQVAEConfig, training: Any, **kwargs: Any) -> None:
        raise Asked(vectors.tensor, config, training, kwargs)

    monkeypatch.setattr(recipes, "train_rqvae", stop)
    with chdir(folder), pytest.raises(Asked) as asked:
        main(["train-rqvae", *map(str, arguments)])
    return asked.value.args


TIGER = RQVAEConfig(384)


@pytest.mark.parametrize(
    ("arguments", "config", "training"),
    [
        ("", {}, {}),
        ("--steps 7", {}, {"num_steps": 7}),
        ("--epochs 0.5", {}, {"num_steps": None, "num_epochs": 0.5}),
        ("--batch-size 9 --learning-rate 0.5", {}, {"batch_size": 9, "learning_rate": 0.5}),
        ("--schedule inverse-sqrt --seed 4", {}, {"schedule": "inverse-sqrt", "seed": 4}),
        ("--levels 2 --codebook-size 16", {"num_levels": 2, "codebook_size": 16}, {}),
        ("--estimator rotation", {"estimator": "rotation"}, {}),
        ("--learning gradient", {"learning": "gradient"}, {}),
        (
            "--estimator gumbel --learning gradient",
            {"estimator": "gumbel", "learning": "gradient"},
            {},
        ),
        ("--patience 3", {}, {"early_stop": EarlyStop("variance_lost", 3, higher_is_better=False)}),
        ("--snapshots 5,1000", {}, {"snapshot_steps": (5, 1000)}),
        (
            "--epochs 1 --snapshots 35",
            {},
            {"num_steps": None, "num_epochs": 1.0, "snapshot_steps": (35,)},
        ),
        ("--precision bfloat16 --compile", {}, {"precision": "bfloat16", "compile": True}),
    ],
)
def test_options_reach_the_training(
    arguments: str,
    config: dict[str, Any],
    training: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vectors, given, settings, others = asked_of_training(
        *arguments.split(), folder=tmp_path, monkeypatch=monkeypatch
    )
    assert torch.equal(vectors, text())
    assert given == replace(TIGER, **config)
    assert settings == replace(RQVAE_TRAINING, **training)
    assert others["start_from"] is None
    assert others["device"] == "cpu"
    assert others["resume"] is False
    assert others["state_path"] == Path("runs/rqvae-state.safetensors")


MANY = shlex.split(
    "--content both --steps 4 --batch-size 64 --levels 2 --codebook-size 32 --estimator gumbel "
    "--learning gradient --schedule linear --precision bfloat16 --snapshots 2,4 --seed 3"
)


@pytest.fixture(scope="module")
def on_both(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of texts and histories, trained with many options."""
    folder = tmp_path_factory.mktemp("both")
    said = succeeds("train-rqvae", *MANY, folder=folder)
    _, card = load_rqvae(folder / "runs/rqvae.safetensors")
    metrics = card["metrics"]
    for level in (0, 1):
        used, perplexity = metrics["utilization"][level], metrics["perplexity"][level]
        assert (
            f"Level {level + 1}: {used:.1%} of codewords used, perplexity {perplexity:.0f}" in said
        )
    assert f"{metrics['collision_rate']:.2%} of items share their codes" in said
    assert f"{metrics['variance_lost']:.1%} of the vectors' variance is lost" in said
    return folder


def test_the_command_does_what_the_recipe_does(on_both: Path) -> None:
    snapshots = {}
    model, _ = train_rqvae(
        both(),
        RQVAEConfig(448, num_levels=2, codebook_size=32, estimator="gumbel", learning="gradient"),
        replace(
            RQVAE_TRAINING, num_steps=4, batch_size=64, schedule="linear", precision="bfloat16",
            snapshot_steps=(2, 4), seed=3,
        ),
        autoencoder_steps=3,
        snapshot=lambda step, model: snapshots.update({step: model}),
        progress=False,
    )  # fmt: skip
    names = {path.name for path in (on_both / "runs").iterdir()}
    assert names == {
        *("rqvae.safetensors", "rqvae-state.safetensors"),
        *("rqvae-2.safetensors", "rqvae-4.safetensors"),
    }
    for name, expected, steps in (
        *(("rqvae", model, 4), ("rqvae-2", snapshots[2], 2), ("rqvae-4", model, 4)),
    ):
        written, card = load_rqvae(on_both / f"runs/{name}.safetensors")
        assert_same(written, expected)
        assert written.config == expected.config
        assert card["content"] == "both"
        assert (card["seed"], card["steps"]) == (3, steps)
        assert card["dataset"] == DATASET
        assert card["data"] == opened(DATASET).checksum
        assert card["command"] == " ".join(["rqvae-lib train-rqvae", *MANY])
        assert card["metrics"] == plain(tokenizer_metrics(expected, both()))


def test_ids_are_made_from_the_content_that_the_tokenizer_was_trained_on(on_both: Path) -> None:
    succeeds("inference-rqvae", folder=on_both)
    table = pd.read_csv(on_both / "runs/semantic_ids.csv")
    model, _ = load_rqvae(on_both / "runs/rqvae.safetensors")
    expected = SemanticIDs(model.assign(both()), [32, 32]).ids
    written = table[["code_1", "code_2", "disambiguation"]].to_numpy()
    assert torch.equal(torch.from_numpy(written), expected)


def test_residual_kmeans_is_fitted_and_not_trained(tmp_path: Path) -> None:
    options = ["--residual-kmeans", "--levels", 2, "--codebook-size", 16, "--seed", 2]
    succeeds("train-rqvae", *options, folder=tmp_path)
    model, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    config = RQVAEConfig.residual_kmeans(384, num_levels=2, codebook_size=16)
    assert model.config == config
    assert_same(model, new_rqvae(text(), config, seed=2))
    assert (card["content"], card["seed"], card["steps"]) == ("text", 2, 0)
    assert card["metrics"] == plain(tokenizer_metrics(model, text()))


def test_a_training_starts_from_another_ones_weights(pipeline: Path, tmp_path: Path) -> None:
    start = pipeline / "runs/rqvae.safetensors"
    before = start.read_bytes()
    # 0.06 of an epoch of 35 batches are 2 steps.
    succeeds("train-rqvae", "--start-from", start, "--epochs", 0.06, folder=tmp_path)
    expected, _ = train_rqvae(
        text(),
        training=replace(RQVAE_TRAINING, num_steps=None, num_epochs=0.06),
        start_from=load_rqvae(start)[0],
        progress=False,
    )
    written, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    assert_same(written, expected)
    assert card["steps"] == 2
    assert start.read_bytes() == before


def test_a_training_that_stops_early_says_how_many_steps_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = replace(RQVAE_TRAINING, measure_every=1)
    monkeypatch.setattr(command, "RQVAE_TRAINING", often)
    arguments = ["--steps", 30, "--patience", 1, "--learning-rate", 0.1, "--codebook-size", 32]
    succeeds("train-rqvae", *arguments, folder=tmp_path)
    state = load_checkpoint(tmp_path / "runs/rqvae-state.safetensors", ["training-state"]).card
    assert state["step"] == state["best_step"] + 1 < 30
    _, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    assert card["metrics"]["variance_lost"] == pytest.approx(state["best_value"])
    assert card["steps"] == state["best_step"]


def test_a_tokenizer_of_other_text_embeddings_is_refused(pipeline: Path, tmp_path: Path) -> None:
    dataset = opened(DATASET)
    other, shipped = tmp_path / "other.safetensors", load_embeddings(DATASET)
    save_embeddings(other, shipped.flip(1), dataset.texts, "another encoder")  # of the same width
    tokenizer = pipeline / "runs/rqvae.safetensors"
    for command in ("inference-rqvae --tokenizer", "train-rqvae --start-from"):
        arguments = [*command.split(), tokenizer, "--embeddings", other]
        assert "trained on other text embeddings" in fails(*arguments, folder=tmp_path)
    succeeds("inference-rqvae", "--tokenizer", tokenizer, folder=tmp_path)


def test_a_start_from_another_data_set_is_said(pipeline: Path, tmp_path: Path) -> None:
    arguments = ["train-rqvae", "--steps", 1, "--start-from", "start.safetensors"]
    for name in (DATASET, "movies of somebody else"):
        start = pipeline / "runs/rqvae.safetensors"
        change_card(start, tmp_path / "start.safetensors", dataset=name)
        done = run(*arguments, folder=tmp_path)
        assert done.returncode == 0
        assert ("movies of somebody else" in done.stderr) == (name != DATASET)


def test_a_training_starts_from_the_shipped_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config, _, others = asked_of_training(
        "--start-from", "pretrained", folder=tmp_path, monkeypatch=monkeypatch
    )
    assert config is None
    assert_same(others["start_from"], load_rqvae(DATASET)[0])


def test_a_start_on_other_content_is_refused(on_both: Path, tmp_path: Path) -> None:
    arguments = ["train-rqvae", "--start-from", on_both / "runs/rqvae.safetensors"]
    said = fails(*arguments, folder=tmp_path)
    assert "trained on 'both' vectors, not 'text': pass --content both" in said
    assert not list(tmp_path.iterdir())


def test_a_start_with_another_architecture_is_refused(on_both: Path, tmp_path: Path) -> None:
    """It has 2 levels of 32 codewords: asking for nothing or for just that is right."""
    start = ["--content", "both", "--start-from", on_both / "runs/rqvae.safetensors"]
    same = shlex.split("--levels 2 --codebook-size 32 --estimator gumbel --learning gradient")
    for asked in ([], same, ["--levels", 2], ["--estimator", "gumbel"]):
        succeeds("train-rqvae", *start, "--steps", 1, *asked, folder=tmp_path)
        assert load_rqvae(tmp_path / "runs/rqvae.safetensors")[0].config.codebook_size == 32
    shutil.rmtree(tmp_path / "runs")
    for option, default, own in (
        *(("levels", 3, 2), ("codebook-size", 256, 32)),
        *(("estimator", "straight-through", "gumbel"), ("learning", "average", "gradient")),
    ):
        said = fails("train-rqvae", *start, f"--{option}", default, folder=tmp_path)
        assert f"--{option} is {default}, but the RQ-VAE to start from, " in said
        assert f"has {own}: leave the option out" in said
        assert not list(tmp_path.iterdir())


def test_a_start_from_residual_kmeans_is_refused(kmeans_file: Path, tmp_path: Path) -> None:
    arguments = ["train-rqvae", "--start-from", kmeans_file, "--steps", 1]
    assert "no weights to train" in fails(*arguments, folder=tmp_path)


@pytest.fixture
def folder_of_vectors(tmp_path: Path) -> Path:
    """A folder with vectors of 6 numbers for 900 items, in two files."""
    numbers = torch.randn(900, 6, generator=torch.Generator().manual_seed(0)).numpy()
    folder = tmp_path / "vectors"
    for name, rows in (("b", slice(500)), ("a", slice(500, None))):
        write_vectors(folder / f"{name}.parquet", range(900)[rows], numbers[rows])
    return folder


def test_a_folder_is_trained_on_by_a_sample(folder_of_vectors: Path) -> None:
    place = folder_of_vectors.parent
    words = "--vectors vectors --sample 300 --levels 2 --codebook-size 16 --steps 3 --seed 5"
    said = run("train-rqvae", *words.split(), "--output", "made", folder=place)
    assert "Training on 300 items of vectors.\n" in said.stderr
    assert "of the sample's items share their codes" in said.stdout
    sample = sample_vectors(folder_of_vectors, 300, seed=5)
    training = replace(RQVAE_TRAINING, num_steps=3, seed=5)
    config = RQVAEConfig(6, num_levels=2, codebook_size=16)
    expected, _ = train_rqvae(sample.tensor, config, training, autoencoder_steps=3, progress=False)
    model, card = load_rqvae(place / "made/rqvae.safetensors")
    assert_same(model, expected)
    assert card["vector_folder"] == {
        "file": "vectors",
        "items": 300,
        "sha256": ItemVectors(sample.tensor).sha256,
    }
    succeeds("assign", "--vectors", "vectors", "--output", "made/ids.parquet", folder=place)
    found = read_large_table(place / "made/ids.parquet")
    whole = read_vectors(folder_of_vectors)
    assert found.ids.sha256 == model.tokenize(whole.tensor).sha256


def test_a_folder_of_few_items_is_trained_on_whole(folder_of_vectors: Path) -> None:
    words = "--vectors vectors --codebook-size 8 --levels 2 --residual-kmeans --output made"
    said = run("train-rqvae", *words.split(), folder=folder_of_vectors.parent)
    assert "Training on all 900 items of vectors.\n" in said.stderr
    model, _ = load_rqvae(folder_of_vectors.parent / "made/rqvae.safetensors")
    config = RQVAEConfig.residual_kmeans(6, num_levels=2, codebook_size=8)
    assert_same(model, new_rqvae(read_vectors(folder_of_vectors).tensor, config, seed=0))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--sample 9", "only a folder is sampled (--vectors), so --sample would change nothing"),
        ("--vectors vectors --content text", "--vectors vectors holds the items, so --content"),
        ("--vectors vectors --dataset x", "--vectors vectors holds the items, so --dataset would"),
        ("--vectors vectors --start-from pretrained", "either --vectors or --start-from, not both"),
        ("--vectors nowhere", "nowhere does not exist; expected a folder"),
        (
            "--vectors vectors --sample 100",
            "--sample is 100, but --codebook-size is 256, which needs as many items: pass --sample "
            "256 or more",
        ),
        (
            "--vectors vectors --codebook-size 1000",
            "--codebook-size is 1000, but vectors has 900 items",
        ),
    ],
)
def test_what_is_refused_of_a_folder(words: str, says: str, folder_of_vectors: Path) -> None:
    place = folder_of_vectors.parent
    assert says in fails("train-rqvae", *words.split(), "--output", "made", folder=place)
    assert not list(place.rglob("*.safetensors"))


def test_a_tokenizer_of_a_folder_belongs_to_no_dataset(folder_of_vectors: Path) -> None:
    place = folder_of_vectors.parent
    words = "--vectors vectors --codebook-size 8 --levels 2 --steps 1 --output runs"
    succeeds("train-rqvae", *words.split(), folder=place)
    says = "was trained on a folder of vectors, and not on a dataset: use it with `rqvae-lib assign"
    assert says in fails("inference-rqvae", folder=place)
