"""A model says what it was made from, whoever saved it: a command, or a program in Python.

So a model that was saved from Python works in every command, and a command's model in Python. One
that does not say enough is refused with a sentence that says how to save it.
"""

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import torch

from rqvae_lib import (
    RECOMMENDER_TRAINING,
    RQVAE_TRAINING,
    Dataset,
    DecoderOnlyConfig,
    RQVAEConfig,
    SASRecConfig,
    SemanticIDs,
    Split,
    evaluate,
    item_vectors,
    leave_last_out,
    load_dataset,
    load_model,
    load_recommender,
    load_rqvae,
    read_ids,
    recommend,
    save_recommender,
    save_rqvae,
    save_sasrec,
    train_recommender,
    train_rqvae,
    train_sasrec,
)
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from tests.cli.running import fails, succeeds

SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
SHAPE = ("--codebook-size", 8, "--levels", 2)
HOW = "save it again with what it was trained on, as in save_rqvae(path, model, dataset, vectors)"
TIMESTAMP = ("--split", "timestamp")


class Made(NamedTuple):
    """What a program in Python made, and the folder in which it saved it."""

    folder: Path
    dataset: Dataset
    split: Split
    vectors: ItemVectors
    ids: SemanticIDs
    tokenizer: RQVAE


@pytest.fixture(scope="module")
def made(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """As an engineer would write it, with vectors of texts and histories on a split by time."""
    folder = tmp_path_factory.mktemp("python")
    dataset = load_dataset(shop)
    split = split_by_name(dataset, "timestamp")
    vectors = item_vectors(dataset, "both", shop / "vectors.safetensors", split)
    config = RQVAEConfig(
        vectors.tensor.shape[1], hidden_dims=(16,), latent_dim=8, num_levels=2, codebook_size=8
    )
    training = replace(RQVAE_TRAINING, num_steps=2)
    tokenizer, _ = train_rqvae(vectors, config, training, autoencoder_steps=2, progress=False)
    ids = tokenizer.tokenize(vectors.tensor)
    briefly = replace(RECOMMENDER_TRAINING, num_steps=2)
    recommender, _ = train_recommender(
        ids, split.train, DecoderOnlyConfig(SMALL), briefly, progress=False
    )
    sasrec, _ = train_sasrec(
        split.train, SASRecConfig(SMALL, num_items=90), briefly, progress=False
    )
    save_rqvae(folder / "rqvae.safetensors", tokenizer, dataset, vectors)
    save_recommender(folder / "recommender.safetensors", recommender, dataset, split, seed=0)
    save_sasrec(folder / "sasrec.safetensors", sasrec, dataset, split, half=True)
    return Made(folder, dataset, split, vectors, ids, tokenizer)


@pytest.fixture
def data(shop: Path) -> tuple[object, ...]:
    return ("--dataset", shop)


@pytest.fixture
def texts(shop: Path) -> tuple[object, ...]:
    return ("--embeddings", shop / "vectors.safetensors")


Options = tuple[object, ...]


def codes_and_titles(said: str) -> list[tuple[str, str]]:
    rows = [line.split(maxsplit=3) for line in said.split("Recommended:\n")[1].splitlines()]
    return [(row[2], row[3]) for row in rows]


# From Python to the commands


def test_a_tokenizer_from_python_writes_its_ids(
    made: Made, data: Options, texts: Options, tmp_path: Path
) -> None:
    tokenizer = ("--tokenizer", made.folder / "rqvae.safetensors")
    succeeds("inference-rqvae", *data, *texts, *tokenizer, folder=tmp_path)
    written = read_ids(tmp_path / "runs/semantic_ids.csv", [8, 8])
    assert written.ids.sha256 == made.ids.sha256
    assert written.titles == made.dataset.titles


def test_a_recommender_is_trained_on_a_tokenizer_from_python(
    made: Made, data: Options, texts: Options, tmp_path: Path
) -> None:
    tokenizer = ("--tokenizer", made.folder / "rqvae.safetensors")
    command = ("train-recommender", *data, *texts, *tokenizer, "--steps", 1)
    assert "train one with --split leave-one-out" in fails(*command, folder=tmp_path)
    succeeds(*command, *TIMESTAMP, folder=tmp_path)
    _, card = load_recommender(tmp_path / "runs/recommender.safetensors", made.ids)
    assert card["split"] == "timestamp"


def test_a_tokenizer_from_python_is_trained_further(
    made: Made, data: Options, texts: Options, tmp_path: Path
) -> None:
    start = ("--start-from", made.folder / "rqvae.safetensors", "--content", "both")
    succeeds("train-rqvae", *data, *texts, *start, *TIMESTAMP, "--steps", 2, folder=tmp_path)
    expected, _ = train_rqvae(
        made.vectors,
        training=replace(RQVAE_TRAINING, num_steps=2),
        start_from=made.tokenizer,
        progress=False,
    )
    written, card = load_rqvae(tmp_path / "runs/rqvae.safetensors")
    for name, tensor in expected.state_dict().items():
        assert torch.equal(written.state_dict()[name], tensor), name
    assert (card["content"], card["split"]) == ("both", "timestamp")


def test_a_recommender_from_python_recommends(made: Made, data: Options, tmp_path: Path) -> None:
    model = made.folder / "recommender.safetensors"
    said = succeeds("recommend", *data, "--model", model, "--user", "user07", folder=tmp_path)
    history = torch.from_numpy(made.dataset.user_history("user07"))
    found = recommend(load_recommender(model)[0], [history]).items[0].tolist()
    expected = [("-".join(map(str, made.ids.id_of(i))), made.dataset.titles[i]) for i in found]
    assert codes_and_titles(said) == expected


def test_models_from_python_are_evaluated(made: Made, data: Options, tmp_path: Path) -> None:
    names = [str(made.folder / f"{name}.safetensors") for name in ("recommender", "sasrec")]
    table = ("--output", "table.csv")
    succeeds("evaluate", *names, *data, *TIMESTAMP, *table, folder=tmp_path)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = {(row["model"], row["metric"], row["k"]): row for row in csv.DictReader(file)}
    for name in names:
        expected = evaluate(load_model(name)[0], made.split, made.split.test)
        assert float(rows[name, "NDCG", "20"]["mean"]) == expected.mean("NDCG", 20).mean
        assert rows[name, "NDCG", "20"]["ranking"] == ("exact" if expected.exact else "50 beams")


# From the commands to Python


@pytest.fixture(scope="module")
def commanded(quick: None, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands made the same kinds of models."""
    folder = tmp_path_factory.mktemp("commands")
    data = ("--dataset", shop)
    texts = ("--embeddings", shop / "vectors.safetensors")
    both = (*SHAPE, "--content", "both", "--steps", 2)
    succeeds("train-rqvae", *data, *texts, *both, *TIMESTAMP, folder=folder)
    succeeds("inference-rqvae", *data, *texts, folder=folder)
    succeeds("train-recommender", *data, *texts, *TIMESTAMP, "--steps", 2, folder=folder)
    succeeds("train-sasrec", *data, *TIMESTAMP, "--steps", 2, folder=folder)
    return folder


def test_a_tokenizer_of_a_command_works_in_python(commanded: Path, shop: Path, made: Made) -> None:
    tokenizer, card = load_rqvae(commanded / "runs/rqvae.safetensors")
    split = split_by_name(made.dataset, card["split"])
    file = shop / "vectors.safetensors"
    vectors = item_vectors(made.dataset, card["content"], file, split).tensor
    written = read_ids(commanded / "runs/semantic_ids.csv", [8, 8])
    assert tokenizer.tokenize(vectors).sha256 == written.ids.sha256


def test_models_of_commands_work_in_python_and_are_saved_again_for_the_commands(
    commanded: Path, made: Made, data: Options, tmp_path: Path
) -> None:
    file = commanded / "runs/recommender.safetensors"
    ids = read_ids(commanded / "runs/semantic_ids.csv", [8, 8]).ids
    model, card = load_recommender(file, expected_ids=ids)
    assert card["split"] == made.split.name
    whom = ("recommend", *data, "--history", "item03,item05", "--model")
    said = succeeds(*whom, file, folder=tmp_path)
    history = torch.from_numpy(made.dataset.item_index(["item03", "item05"]))
    found = recommend(model, [history]).items[0].tolist()
    assert [title for _, title in codes_and_titles(said)] == [made.dataset.titles[i] for i in found]
    save_recommender(tmp_path / "again.safetensors", model, made.dataset, made.split)
    assert succeeds(*whom, "again.safetensors", folder=tmp_path) == said
    sasrec, _ = load_model(commanded / "runs/sasrec.safetensors")
    expected = evaluate(sasrec, made.split, made.split.test).mean("Recall", 10).mean
    said = succeeds(
        "evaluate", commanded / "runs/sasrec.safetensors", *data, *TIMESTAMP, folder=tmp_path
    )
    assert f" {expected:.3f} " in re.findall("sasrec.safetensors (.*)\n", said)[0]


@pytest.mark.parametrize("name", ["rqvae", "recommender", "sasrec"])
def test_a_card_says_the_same_wherever_it_was_written(
    name: str, commanded: Path, made: Made
) -> None:
    """A command adds itself, and what it measured."""
    load = load_rqvae if name == "rqvae" else load_model
    by_command, in_python = (
        load(folder / f"{name}.safetensors")[1] for folder in (commanded / "runs", made.folder)
    )
    files = {"rqvae": ["steps", "embeddings"], "recommender": ["tokenizer"], "sasrec": []}
    more = {"command", "seed", "metrics", *files[name]}
    assert by_command.keys() >= more
    in_python.pop("seed", None)
    assert {key: by_command[key] for key in by_command.keys() - more} == in_python


# What does not say enough


def test_a_tokenizer_that_does_not_say_enough_is_refused(
    made: Made, data: Options, texts: Options, tmp_path: Path
) -> None:
    ways = {
        "content": lambda path: save_rqvae(path, made.tokenizer),
        "data": lambda path: save_rqvae(path, made.tokenizer, vectors=made.vectors),
    }
    for missing, save in ways.items():
        save(tmp_path / "mute.safetensors")
        for command in (
            ("inference-rqvae", "--tokenizer"),
            ("train-recommender", *TIMESTAMP, "--tokenizer"),
            ("train-rqvae", "--content", "both", *TIMESTAMP, "--start-from"),
        ):
            said = fails(*command, "mute.safetensors", *data, *texts, folder=tmp_path)
            lacks = "dataset" if "--start-from" in command else missing
            assert f" has no '{lacks}' on its card, so no command can tell whether it fits" in said
            assert (
                "save it again with what it was trained on, as in save_rqvae(path, model, " in said
            )
    save_rqvae(tmp_path / "mute.safetensors", made.tokenizer, made.dataset)
    said = fails("inference-rqvae", "--tokenizer", "mute.safetensors", *data, folder=tmp_path)
    assert "mute.safetensors has no 'content' on its card" in said


def test_a_recommender_that_does_not_say_enough_is_refused(
    made: Made, data: Options, tmp_path: Path
) -> None:
    model, _ = load_recommender(made.folder / "recommender.safetensors")
    sasrec, _ = load_model(made.folder / "sasrec.safetensors")
    mute, use = tmp_path / "mute.safetensors", ("mute.safetensors", *data)
    on_it = ("evaluate", *use, *TIMESTAMP)
    whom = ("recommend", "--user", "user07", "--model", *use)
    for save, one in ((save_recommender, model), (save_sasrec, sasrec)):
        save(mute, one)  # type: ignore[operator]
        said = fails(*on_it, folder=tmp_path)
        assert "mute.safetensors has no 'split' on its card" in said
        assert HOW in said
        assert "save_recommender(path, model, dataset, split)" in said
        save(mute, one, made.dataset)  # type: ignore[operator]
        assert "has no 'split' on its card" in fails(*on_it, folder=tmp_path)
        save(mute, one, split=made.split)  # type: ignore[operator]
        assert "has no 'data' on its card" in fails(*on_it, folder=tmp_path)
        save(mute, one, made.dataset, made.split)  # type: ignore[operator]
        succeeds(*on_it, folder=tmp_path)
    save_recommender(mute, model)
    assert "(mute.safetensors) has no 'data' on its card, so no command can tell" in fails(
        *whom, folder=tmp_path
    )
    save_recommender(mute, model, made.dataset)  # whom to recommend to, a split does not matter
    succeeds(*whom, folder=tmp_path)


def test_a_split_that_no_command_makes_is_named(made: Made, data: Options, tmp_path: Path) -> None:
    """In Python a split may hold out any number of items; the commands have three."""
    split = leave_last_out(made.dataset, 3)
    model, _ = load_recommender(made.folder / "recommender.safetensors")
    save_recommender(tmp_path / "model.safetensors", model, made.dataset, split)
    said = fails("evaluate", "model.safetensors", *data, folder=tmp_path)
    assert "trained on the split 'last-3'" in said
    assert "evaluate it on its own split from Python, or train one on 'leave-one-out'" in said


def test_text_embeddings_may_be_passed_as_they_are(
    made: Made, data: Options, texts: Options, tmp_path: Path
) -> None:
    """A tensor stands for what a sentence encoder made of the texts."""
    known = item_vectors(made.dataset, "text", Path(str(texts[1]))).tensor
    config = RQVAEConfig(8, hidden_dims=(8,), latent_dim=4, num_levels=2, codebook_size=8)
    training = replace(RQVAE_TRAINING, num_steps=1)
    tokenizer, _ = train_rqvae(known, config, training, autoencoder_steps=1, progress=False)
    save_rqvae(tmp_path / "rqvae.safetensors", tokenizer, made.dataset, known)
    command = ("inference-rqvae", "--tokenizer", "rqvae.safetensors", *data)
    succeeds(*command, *texts, folder=tmp_path)
    table = pd.read_csv(tmp_path / "runs/semantic_ids.csv")
    expected = tokenizer.tokenize(known).ids.tolist()
    assert table[["code_1", "code_2", "disambiguation"]].to_numpy().tolist() == expected
