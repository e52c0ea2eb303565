"""The commands that train what recommends: semantic-ID models of any architecture, and SASRec.

Seen at work in: chapter 00.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rqvae_lib.architectures import ARCHITECTURES
from rqvae_lib.checkpoints import round_to_half, save_recommender, save_sasrec
from rqvae_lib.cli_common import (
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
    check_device,
    hold_out,
    load_catalogue,
)
from rqvae_lib.comparison import Mean
from rqvae_lib.datasets import Dataset
from rqvae_lib.files import check_writable
from rqvae_lib.history_models import HistoryModelConfig
from rqvae_lib.locks import only_process_in
from rqvae_lib.named_datasets import open_dataset
from rqvae_lib.recipes import DECODER_STEPS, DECODER_TRAINING, train_decoder, train_sasrec
from rqvae_lib.rq_transformer import RQTransformerConfig
from rqvae_lib.sasrec import SASRecConfig
from rqvae_lib.tensor_files import Card
from rqvae_lib.training import TrainingConfig
from rqvae_lib.transformer import TransformerConfig
from rqvae_lib.validation import validate

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
Half = Annotated[
    bool,
    typer.Option("--half", help="Write the weights as float16: rounded, half the bytes."),
]
DECODER_ONLY = ArchitectureName("decoder-only")


@app.command("train-decoder")
def train_decoder_command(
    context: typer.Context,
    output: Output = RUNS,
    dataset_name: DatasetName = None,
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
            "--valid-only", help="Learn to choose among the codes that lead to an item, not all."
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
    half: Half = False,
    resume: Resume = False,
) -> None:
    """Train a transformer to write the semantic ID of a user's next item.

    Reports full-ranking Recall and NDCG on the validation targets beside popularity's; with the
    usual split, leave-one-out, these are each user's last item but one. Writes
    decoder.safetensors, and decoder-state.safetensors to resume from.
    """
    path = output / DECODER_FILE
    check_device(device)
    check_writable(path)
    context.with_resource(only_process_in(output))
    dataset = open_dataset(dataset_name, interactions, items)
    ids = load_catalogue(tokenizer, seed, dataset, embeddings, device, split)
    held_out = hold_out(dataset, split)
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
    if half:
        round_to_half(model)  # measured as it will be loaded
    metrics = validate(model, held_out, dataset.num_items, device)
    save_recommender(path, model, _card(dataset, seed, metrics, split), half=half)
    _report(metrics, path)


@app.command("train-sasrec")
def train_sasrec_command(
    context: typer.Context,
    output: Output = RUNS,
    dataset_name: DatasetName = None,
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
    half: Half = False,
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
    held_out = hold_out(dataset, split)
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
    if half:
        round_to_half(model)  # measured as it will be loaded
    metrics = validate(model, held_out, dataset.num_items, device)
    save_sasrec(path, model, _card(dataset, seed, metrics, split), half=half)
    _report(metrics, path)


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
                "lead to an item: leave it out"
            )
        return config(**shared, prefix_embeddings=prefix_embeddings)
    if not prefix_embeddings:
        raise ValueError(
            f"--no-prefix-embeddings is not for the {name}, which has none: leave it out"
        )
    return config(**shared, valid_only=valid_only)
