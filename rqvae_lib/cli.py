"""The command line: the whole pipeline in four commands that work one after another.

    rqvae-lib train-rqvae         embeddings → a tokenizer
    rqvae-lib inference-rqvae     a tokenizer → a table of semantic IDs
    rqvae-lib train-decoder       histories, written in semantic IDs → a recommender
    rqvae-lib recommend --user 1  a history → movies

Whatever the user can get wrong ends in one sentence and exit code 2, with nothing half-written.

Seen at work in: chapter 00.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer

from rqvae_lib.baselines import popularity_scores
from rqvae_lib.checkpoints import Card, load_recommender, load_rqvae, save_recommender, save_rqvae
from rqvae_lib.content import load_embeddings
from rqvae_lib.datasets import Dataset, load_dataset
from rqvae_lib.evaluate import (
    Interval,
    bootstrap_interval,
    ndcg_at,
    ranks_in_lists,
    ranks_in_scores,
    recall_at,
)
from rqvae_lib.files import check_writable
from rqvae_lib.generate import recommend as recommend_items
from rqvae_lib.quantize import code_usage
from rqvae_lib.recipes import (
    DECODER_TRAINING,
    RQVAE_TRAINING,
    new_rqvae,
    train_decoder,
    train_rqvae,
)
from rqvae_lib.recommenders import DecoderOnly
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.semantic_ids import SemanticIDs, write_ids
from rqvae_lib.splits import Split, leave_one_out
from rqvae_lib.trie import Trie

DATASET = "movielens-small-2016"
RUNS = Path("runs")
RQVAE_FILE, DECODER_FILE = "rqvae.safetensors", "decoder.safetensors"

app = typer.Typer(
    name="rqvae-lib",
    help="Semantic IDs from scratch: train an RQ-VAE tokenizer on item embeddings, write the "
    "items' semantic IDs, train a transformer over them, and recommend. All of it runs offline on "
    "the embedded MovieLens data; results go to the folder 'runs'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Output = Annotated[Path, typer.Option(help="Folder for the results; made if needed.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="Of everything random: same seed, same result.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps, …")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue a training that was interrupted, bit for bit.")
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="'pretrained' (shipped), 'random' (untrained weights, k-means codebooks) or an RQ-VAE "
        f"checkpoint. Default: {RUNS / RQVAE_FILE} where that exists, else 'pretrained'.",
        show_default=False,
    ),
]


@app.command("train-rqvae")
def train_rqvae_command(
    output: Output = RUNS,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = RQVAE_TRAINING.num_steps,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Items a step.")
    ] = RQVAE_TRAINING.batch_size,
    learning_rate: Annotated[
        float, typer.Option(min=0.0, help="At its highest; it decays along a cosine.")
    ] = RQVAE_TRAINING.learning_rate,
    levels: Annotated[int, typer.Option(min=1, help="Codes in a semantic ID.")] = 3,
    codebook_size: Annotated[int, typer.Option(min=1, help="Codewords a level.")] = 256,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train an RQ-VAE on the items' embeddings: the tokenizer.

    Writes rqvae.safetensors, and rqvae-state.safetensors to resume from.
    """
    path = output / RQVAE_FILE
    _check_device(device)
    check_writable(path)
    dataset = load_dataset(DATASET)
    embeddings = load_embeddings(DATASET)
    config = RQVAEConfig(embeddings.shape[1], num_levels=levels, codebook_size=codebook_size)
    training = replace(
        RQVAE_TRAINING,
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    model, _ = train_rqvae(
        embeddings,
        config,
        training,
        device=device,
        state_path=output / "rqvae-state.safetensors",
        resume=resume,
    )
    codes = model.assign(embeddings)
    ids = SemanticIDs(codes, [codebook_size] * levels)
    usage = code_usage(codes, codebook_size)
    lost = model.reconstruction_error(embeddings)
    metrics = {
        "collision_rate": ids.collision_rate,
        "unexplained_variance": lost,
        "utilisation": usage.utilisation.tolist(),
        "perplexity": usage.perplexity.tolist(),
    }
    save_rqvae(path, model, _card(dataset, seed, metrics))
    for level, (used, perplexity) in enumerate(zip(*usage, strict=True), 1):
        typer.echo(f"Level {level}: {used:.1%} of codewords used, perplexity {perplexity:.0f}.")
    typer.echo(f"{ids.collision_rate:.2%} of items share their codes with an earlier item.")
    typer.echo(f"{lost:.1%} of the embeddings' variance is lost.")
    typer.echo(f"Wrote {path}.")


@app.command("inference-rqvae")
def inference_rqvae_command(
    output: Annotated[Path, typer.Option(help="The table to write, .csv or .parquet.")] = RUNS
    / "semantic_ids.csv",
    tokenizer: Tokenizer = None,
    seed: Seed = 0,
) -> None:
    """Write every item's semantic ID: item id, title, each code, and the ID as one string."""
    if output.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{output} ends in {output.suffix!r}: name a .csv or a .parquet file")
    check_writable(output)
    dataset = load_dataset(DATASET)
    ids = _ids_of(_load_tokenizer(tokenizer, seed, dataset))
    frame = ids.to_frame(dataset.items["item_id"].to_numpy(), dataset.titles)
    write_ids(output, frame)
    typer.echo(f"Wrote the IDs of {len(ids)} items to {output}. Catalogue {ids.sha256[:12]}…")


@app.command("train-decoder")
def train_decoder_command(
    output: Output = RUNS,
    tokenizer: Tokenizer = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Optimiser steps.")
    ] = DECODER_TRAINING.num_steps,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Windows of users' histories a step.")
    ] = DECODER_TRAINING.batch_size,
    learning_rate: Annotated[
        float, typer.Option(min=0.0, help="At its highest; it decays along a cosine.")
    ] = DECODER_TRAINING.learning_rate,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train a decoder-only transformer to write the semantic ID of a user's next movie.

    Holds out each user's last two movies, and reports full-ranking Recall and NDCG on the last but
    one (validation) beside popularity's. Writes decoder.safetensors, and decoder-state.safetensors
    to resume from.
    """
    path = output / DECODER_FILE
    _check_device(device)
    check_writable(path)
    dataset = load_dataset(DATASET)
    ids = _ids_of(_load_tokenizer(tokenizer, seed, dataset))
    split = leave_one_out(dataset)
    training = replace(
        DECODER_TRAINING,
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    model, _ = train_decoder(
        ids,
        split.train,
        training=training,
        device=device,
        state_path=output / "decoder-state.safetensors",
        resume=resume,
    )
    metrics = _validate(model, split, dataset)
    means = {name: mean for name, (mean, _) in metrics.items()}
    save_recommender(path, model, _card(dataset, seed, means))
    for name, (mean, interval) in metrics.items():
        typer.echo(f"{name}: {mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]")
    typer.echo("In brackets: 95 % intervals over people.")
    typer.echo(f"Wrote {path}.")


@app.command("recommend")
def recommend_command(
    user: Annotated[int | None, typer.Option(help="A user of the data set, 1 to 671.")] = None,
    history: Annotated[
        str | None,
        typer.Option(help="Instead of a user: MovieLens movie ids, oldest first, as in 1,3114."),
    ] = None,
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
    device: Device = "cpu",
) -> None:
    """Recommend movies that a user has not had yet, with their titles."""
    _check_device(device)
    dataset = load_dataset(DATASET)
    if (user is None) == (history is None):
        raise ValueError("Say for whom: either --user NUMBER or --history ID,ID,… (not both)")
    if user is not None:
        items = torch.from_numpy(dataset.user_history(user))
    else:
        items = torch.from_numpy(dataset.item_index(_movie_ids(history or "")))
    recommender, card = load_recommender(_choose(model, DECODER_FILE, DATASET))
    _check_data("recommender", card, dataset)
    recommender = recommender.to(device)
    trie = Trie(recommender.ids, device)
    found = recommend_items(recommender, trie, [items], k=k, beams=max(k, beams))

    typer.echo("The last movies of the history:")
    for item in items[-5:].tolist():
        typer.echo(f"    {dataset.titles[item]}")
    typer.echo("Recommended:")
    ranked = zip(found.items[0].tolist(), found.log_probabilities[0].exp().tolist(), strict=True)
    for place, (item, probability) in enumerate(ranked, 1):
        if item >= 0:
            code = "-".join(map(str, recommender.ids.id_of(item)))
            typer.echo(f"{place:4d}  {probability:6.2%}  {code:<16} {dataset.titles[item]}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a mistake of the user's ends in one sentence and exit code 2."""
    try:
        app(arguments)
    except OSError as error:
        reason = error.strerror or str(error)
        _fail(f"{error.filename}: {reason}" if error.filename and error.strerror else reason)
    except (ValueError, ImportError, FloatingPointError) as error:
        _fail(str(error))
    sys.exit(0)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"rqvae-lib: {sentence}", err=True)
    sys.exit(2)


def _choose(given: str | None, file: str, shipped: str) -> str:
    """Return what to load: what was given, the last run's file, or the shipped one."""
    chosen = given or (str(RUNS / file) if (RUNS / file).is_file() else "pretrained")
    typer.echo(f"Using {chosen}.", err=True)
    return shipped if chosen == "pretrained" else chosen


def _load_tokenizer(tokenizer: str | None, seed: int, dataset: Dataset) -> RQVAE:
    if tokenizer == "random":
        embeddings = load_embeddings(DATASET)
        return new_rqvae(embeddings, RQVAEConfig(embeddings.shape[1]), seed=seed)
    model, card = load_rqvae(_choose(tokenizer, RQVAE_FILE, DATASET))
    _check_data("tokenizer", card, dataset)
    return model


def _check_data(what: str, card: Card, dataset: Dataset) -> None:
    """Refuse a model that was trained on other data than it is now used on."""
    if card.get("data") != dataset.checksum:
        raise ValueError(
            f"the {what} was trained on other data ({card.get('data', 'not named')}) than "
            f"{dataset.name} ({dataset.checksum}): train one on this data"
        )


def _ids_of(tokenizer: RQVAE) -> SemanticIDs:
    config = tokenizer.config
    codes = tokenizer.assign(load_embeddings(DATASET))
    return SemanticIDs(codes, [config.codebook_size] * config.num_levels)


def _validate(
    model: DecoderOnly, split: Split, dataset: Dataset
) -> dict[str, tuple[float, Interval]]:
    """Measure the model and popularity on the validation targets: means and their intervals."""
    histories, targets = split.histories_and_targets(split.validation)
    found = recommend_items(model, Trie(model.ids), histories, k=10, beams=50)
    popularity = popularity_scores(split.train, dataset.num_items).expand(len(targets), -1)
    ranks = {
        "": ranks_in_lists(found.items, targets),
        " of popularity": ranks_in_scores(popularity, targets, histories),
    }
    metrics = {}
    for whose, places in ranks.items():
        for name, metric in (("Recall@10", recall_at), ("NDCG@10", ndcg_at)):
            values = metric(places, 10)  # one a person
            interval = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
            metrics[f"Validation {name}{whose}"] = float(values.mean()), interval
    return metrics


def _card(dataset: Dataset, seed: int, metrics: Mapping[str, object]) -> Card:
    return {
        "command": " ".join(["rqvae-lib", *sys.argv[1:]]),
        "seed": seed,
        "dataset": dataset.name,
        "data": dataset.checksum,
        "torch": torch.__version__,
        "metrics": metrics,
    }


def _movie_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError(
            f"--history is {text!r}; expected MovieLens movie ids with commas between them, "
            "such as 1,3114,78499 (inference-rqvae writes a table of them)"
        ) from None


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(f"--device {device} is not usable here ({reason}): try cpu") from None
