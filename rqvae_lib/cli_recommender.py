"""The commands about recommenders: train one, and recommend.

Seen at work in: chapter 00.
"""

from dataclasses import replace
from enum import Enum
from typing import Annotated

import pandas as pd
import torch
import typer

from rqvae_lib.architectures import ARCHITECTURES
from rqvae_lib.checkpoints import load_recommender, save_recommender
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
from rqvae_lib.datasets import Dataset
from rqvae_lib.files import check_writable
from rqvae_lib.generate import recommend as recommend_items
from rqvae_lib.named_datasets import open_dataset
from rqvae_lib.recipes import DECODER_STEPS, DECODER_TRAINING, train_decoder, validate
from rqvae_lib.splits import split_by_name
from rqvae_lib.trie import Trie

# Typer lists an option's choices from an enumeration.
ArchitectureName = Enum("ArchitectureName", {name: name for name in ARCHITECTURES})  # type: ignore[misc]
DECODER_ONLY = ArchitectureName("decoder-only")


@app.command("train-decoder")
def train_decoder_command(
    output: Output = RUNS,
    dataset_name: DatasetName = DATASET,
    interactions: Interactions = None,
    items: Items = None,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    split: SplitOption = "leave-one-out",
    architecture: Annotated[
        ArchitectureName, typer.Option(help="One transformer, or an encoder and a decoder.")
    ] = DECODER_ONLY,
    valid_only: Annotated[
        bool,
        typer.Option(
            "--valid-only", help="Learn to choose among the codes that lead to a movie, not all."
        ),
    ] = False,
    steps: Steps = DECODER_STEPS,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Windows of users' histories a step.")
    ] = DECODER_TRAINING.batch_size,
    learning_rate: LearningRate = DECODER_TRAINING.learning_rate,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train a transformer to write the semantic ID of a user's next movie.

    Holds out what --split says, and reports full-ranking Recall and NDCG on the validation part,
    every user with one vote, beside popularity's. Writes decoder.safetensors, and
    decoder-state.safetensors to resume from.
    """
    path = output / DECODER_FILE
    check_device(device)
    check_writable(path)
    dataset = open_dataset(dataset_name, interactions, items)
    ids = load_catalogue(tokenizer, seed, dataset, embeddings, split)
    parts = split_by_name(dataset, split)
    if not len(parts.validation):
        raise ValueError(
            f"nothing is held out of {dataset.name}: no user has three interactions; use more data"
        )
    training = replace(
        DECODER_TRAINING,
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    model, _ = train_decoder(
        ids,
        parts.train,
        ARCHITECTURES[architecture.value].config(valid_only=valid_only),
        training,
        device=device,
        state_path=output / "decoder-state.safetensors",
        resume=resume,
    )
    metrics = validate(model, parts, dataset)
    means = {name: mean for name, (mean, _) in metrics.items()}
    save_recommender(path, model, card_of(dataset, seed, means, split=split))
    for name, (mean, interval) in metrics.items():
        typer.echo(f"{name}: {mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    typer.echo("In brackets: 95 % intervals over people.")
    typer.echo(f"Wrote {path}.")


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
