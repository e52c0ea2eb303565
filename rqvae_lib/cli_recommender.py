"""The commands about recommenders: train one, and recommend.

Seen at work in: chapter 00.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from rqvae_lib.architectures import ARCHITECTURES
from rqvae_lib.checkpoints import Card, load_recommender, save_recommender, save_sasrec
from rqvae_lib.cli_common import (
    DATASET,
    DECODER_FILE,
    RUNS,
    DatasetName,
    Device,
    Embeddings,
    Interactions,
    Items,
    LearningRate,
    Output,
    Resume,
    Seed,
    SplitOption,
    Steps,
    Tokenizer,
    app,
    card_of,
    check_data,
    check_device,
    choose,
    load_catalogue,
)
from rqvae_lib.comparison import Mean
from rqvae_lib.datasets import Dataset
from rqvae_lib.files import check_writable
from rqvae_lib.generate import recommend as recommend_items
from rqvae_lib.history_models import HistoryModelConfig
from rqvae_lib.locks import only_process_in
from rqvae_lib.named_datasets import open_dataset
from rqvae_lib.recipes import DECODER_STEPS, DECODER_TRAINING, train_decoder, train_sasrec, validate
from rqvae_lib.rq_transformer import RQTransformerConfig
from rqvae_lib.sasrec import SASRecConfig
from rqvae_lib.splits import Split, SplitName, split_by_name
from rqvae_lib.training import TrainingConfig
from rqvae_lib.transformer import TransformerConfig
from rqvae_lib.trie import Trie

# Typer lists an option's choices from an enumeration.
ArchitectureName = Enum("ArchitectureName", {name: name for name in ARCHITECTURES})  # type: ignore[misc]
SASREC_FILE = "sasrec.safetensors"
BatchSize = Annotated[int, typer.Option(min=1, help="Windows of users' histories a step.")]
WeightDecay = Annotated[float, typer.Option(min=0.0, help="AdamW's, on matrices.")]
Dropout = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of each block's output that is dropped.")
]
EmbeddingDropout = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of the input vectors that is dropped.")
]
MaxItems = Annotated[int, typer.Option(min=2, help="Items of a training window.")]
DECODER_ONLY = ArchitectureName("decoder-only")


@app.command("train-decoder")
def train_decoder_command(
    context: typer.Context,
    output: Output = RUNS,
    dataset_name: DatasetName = DATASET,
    interactions: Interactions = None,
    items: Items = None,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    split: SplitOption = "leave-one-out",
    architecture: Annotated[
        ArchitectureName,
        typer.Option(
            help="One transformer over codes, an encoder and a decoder, or one over items and "
            "small networks over codes."
        ),
    ] = DECODER_ONLY,
    valid_only: Annotated[
        bool,
        typer.Option(
            "--valid-only", help="Learn to choose among the codes that lead to a movie, not all."
        ),
    ] = False,
    prefix_embeddings: Annotated[
        bool,
        typer.Option(help="rq-transformer: learn a vector for each prefix that has siblings."),
    ] = True,
    dropout: Dropout = 0.0,
    embedding_dropout: EmbeddingDropout = 0.2,
    max_items: MaxItems = 50,
    steps: Steps = DECODER_STEPS,
    batch_size: BatchSize = DECODER_TRAINING.batch_size,
    learning_rate: LearningRate = DECODER_TRAINING.learning_rate,
    weight_decay: WeightDecay = DECODER_TRAINING.weight_decay,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train a transformer to write the semantic ID of a user's next movie.

    Reports full-ranking Recall and NDCG on the validation targets beside popularity's; with the
    usual split, leave-one-out, these are each user's last movie but one. Writes
    decoder.safetensors, and decoder-state.safetensors to resume from.
    """
    path = output / DECODER_FILE
    check_device(device)
    check_writable(path)
    context.with_resource(only_process_in(output))
    dataset = open_dataset(dataset_name, interactions, items)
    ids = load_catalogue(tokenizer, seed, dataset, embeddings, device, split)
    held_out = _held_out(dataset, split)
    options = HistoryModelConfig(TransformerConfig(dropout=dropout), max_items, embedding_dropout)
    model, _ = train_decoder(
        ids,
        held_out.train,
        _config_of(architecture.value, options, valid_only, prefix_embeddings),
        _training_of(steps, batch_size, learning_rate, weight_decay, seed),
        device=device,
        state_path=output / "decoder-state.safetensors",
        resume=resume,
    )
    metrics = validate(model, held_out, dataset, device)
    save_recommender(path, model, _card(dataset, seed, metrics, split))
    _report(metrics, path)


@app.command("train-sasrec")
def train_sasrec_command(
    context: typer.Context,
    output: Output = RUNS,
    dataset_name: DatasetName = DATASET,
    interactions: Interactions = None,
    items: Items = None,
    split: SplitOption = "leave-one-out",
    dropout: Dropout = 0.0,
    embedding_dropout: EmbeddingDropout = 0.2,
    max_items: MaxItems = 50,
    steps: Steps = DECODER_STEPS,
    batch_size: BatchSize = DECODER_TRAINING.batch_size,
    learning_rate: LearningRate = DECODER_TRAINING.learning_rate,
    weight_decay: WeightDecay = DECODER_TRAINING.weight_decay,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train SASRec, the model without semantic IDs that others are measured against.

    Reports what train-decoder reports. Writes sasrec.safetensors, and sasrec-state.safetensors to
    resume from.
    """
    path = output / SASREC_FILE
    check_device(device)
    check_writable(path)
    context.with_resource(only_process_in(output))
    dataset = open_dataset(dataset_name, interactions, items)
    held_out = _held_out(dataset, split)
    config = SASRecConfig(
        TransformerConfig(dropout=dropout),
        max_items,
        embedding_dropout,
        num_items=dataset.num_items,
    )
    model, _ = train_sasrec(
        held_out.train,
        config,
        _training_of(steps, batch_size, learning_rate, weight_decay, seed),
        device=device,
        state_path=output / "sasrec-state.safetensors",
        resume=resume,
    )
    metrics = validate(model, held_out, dataset, device)
    save_sasrec(path, model, _card(dataset, seed, metrics, split))
    _report(metrics, path)


@app.command("recommend")
def recommend_command(
    user: Annotated[
        str | None, typer.Option(help="A user of the data set (1 to 671 in the embedded one).")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            help="Instead of a user: the data set's item ids, oldest first, as in 1,3114."
        ),
    ] = None,
    dataset_name: DatasetName = DATASET,
    interactions: Interactions = None,
    items: Items = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="'pretrained' (shipped) or a decoder checkpoint. "
            f"Default: {RUNS / DECODER_FILE} where that exists, else 'pretrained'.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="How many movies.")] = 10,
    beams: Annotated[
        int, typer.Option(min=1, help="Prefixes kept a level; more is closer to exact.")
    ] = 50,
    genre: Annotated[
        list[str] | None,
        typer.Option(
            help="Only movies of this genre; given again, of any of these.", metavar="NAME"
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 the likeliest codes count for more, above 1 for less.")
    ] = 1.0,
    max_per_prefix: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most so many movies with one first code; needs more beams than movies."
        ),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Recommend movies that a user has not had yet, with their titles."""
    check_device(device)
    dataset = open_dataset(dataset_name, interactions, items)
    allowed = _items_of(genre, dataset) if genre else None
    if (user is None) == (history is None):
        raise ValueError("Say for whom: either --user ID or --history ID,ID,… (not both)")
    if user is not None:
        (own,) = _own_ids("--user", [user], dataset.interactions["user_id"])
        past = torch.from_numpy(dataset.user_history(own))
    else:
        listed = [part.strip() for part in (history or "").split(",") if part.strip()]
        ids = _own_ids("--history", listed, dataset.items["item_id"])
        past = torch.from_numpy(dataset.item_index(ids))
    recommender, card = load_recommender(choose(model, DECODER_FILE, DATASET))
    check_data("recommender", card, dataset)
    recommender = recommender.to(device)
    trie = Trie(recommender.ids, device)
    found = recommend_items(
        recommender,
        trie,
        [past],
        k=k,
        beams=max(k, beams),
        allowed=allowed,
        temperature=temperature,
        max_per_prefix=max_per_prefix,
    )

    typer.echo("The last movies of the history:")
    for item in past[-5:].tolist():
        typer.echo(f"    {dataset.titles[item]}")
    typer.echo("Recommended:")
    ranked = zip(found.items[0].tolist(), found.log_probabilities[0].exp().tolist(), strict=True)
    for place, (item, probability) in enumerate(ranked, 1):
        if item >= 0:
            code = "-".join(map(str, recommender.ids.id_of(item)))
            typer.echo(f"{place:4d}  {probability:6.2%}  {code:<16} {dataset.titles[item]}")


def _held_out(dataset: Dataset, name: SplitName) -> Split:
    """Split a data set, or say that there is nothing to hold out."""
    split = split_by_name(dataset, name)
    if not len(split.validation):
        raise ValueError(
            f"nothing is held out of {dataset.name}: no user has enough interactions (three, with "
            "leave-one-out); use more data"
        )
    return split


def _training_of(
    steps: int, batch_size: int, learning_rate: float, weight_decay: float, seed: int
) -> TrainingConfig:
    return replace(
        DECODER_TRAINING,
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        seed=seed,
    )


def _card(dataset: Dataset, seed: int, metrics: Mapping[str, Mean], split: str) -> Card:
    means = {name: value.mean for name, value in metrics.items()}
    return card_of(dataset, seed, means, split=split)


def _report(metrics: Mapping[str, Mean], path: Path) -> None:
    for name, (mean, interval) in metrics.items():
        typer.echo(f"{name}: {mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    typer.echo("In brackets: 95 % intervals over people.")
    typer.echo(f"Wrote {path}.")


def _config_of(
    name: str, options: HistoryModelConfig, valid_only: bool, prefix_embeddings: bool
) -> HistoryModelConfig:
    """Return what an architecture's options ask for; refuse those that it does not have."""
    config = ARCHITECTURES[name].config
    shared = vars(options)
    if issubclass(config, RQTransformerConfig):
        if valid_only:
            raise ValueError(
                f"--valid-only is not for the {name}, which always chooses among the codes that "
                "lead to a movie: leave it out"
            )
        return config(**shared, prefix_embeddings=prefix_embeddings)
    if not prefix_embeddings:
        raise ValueError(
            f"--no-prefix-embeddings is not for the {name}, which has none: leave it out"
        )
    return config(**shared, valid_only=valid_only)


def _items_of(genres: list[str], dataset: Dataset) -> torch.Tensor:
    """Return the items, (S,) int64, that have at least one of these genres."""
    own = [set(listed.split("|")) for listed in dataset.items["genres"]]
    known = set().union(*own) - {""}
    for genre in genres:
        if genre not in known:
            raise ValueError(f"--genre is {genre!r}; expected one of {', '.join(sorted(known))}")
    return torch.tensor([row for row, listed in enumerate(own) if listed & set(genres)])


def _own_ids(option: str, parts: list[str], column: pd.Series) -> list[int] | list[str]:
    """Return ids as the data set has them: numbers where it has numbers."""
    if column.dtype != "int64":
        return parts
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise ValueError(
            f"{option} is {','.join(parts)!r}; expected ids of the data set, which are numbers, "
            "such as 1,3114,78499 (inference-rqvae writes a table of the items')"
        ) from None
