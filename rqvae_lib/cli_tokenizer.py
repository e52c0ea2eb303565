"""The commands that make tokenizers: train one, or several to compare them.

Seen at work in: chapter 00.
"""

import csv
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from rqvae_lib.batches import RowBatches
from rqvae_lib.checkpoints import load_rqvae, save_rqvae
from rqvae_lib.cli_common import (
    DATASET,
    RQVAE_FILE,
    RUNS,
    CodebookSize,
    DatasetName,
    Device,
    Embeddings,
    Interactions,
    Items,
    LearningRate,
    Levels,
    Output,
    Resume,
    Seed,
    SplitOption,
    Steps,
    app,
    card_of,
    check_codebook_size,
    check_compiler,
    check_device,
    check_text,
    claim_csv,
    said_by,
    text_sha256,
)
from rqvae_lib.datasets import Dataset
from rqvae_lib.files import check_writable, write_atomically
from rqvae_lib.item_vectors import Content, item_vectors
from rqvae_lib.locks import only_process_in
from rqvae_lib.named_datasets import open_dataset
from rqvae_lib.quantize import Estimator, Learning
from rqvae_lib.recipes import RQVAE_STEPS, RQVAE_TRAINING, new_rqvae, train_rqvae
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.tokenizer_metrics import TokenizerMetrics, tokenizer_metrics
from rqvae_lib.training import EarlyStop, Precision, Schedule
from rqvae_lib.training_state import steps_of


@app.command("train-rqvae")
def train_rqvae_command(
    context: typer.Context,
    output: Output = RUNS,
    dataset_name: DatasetName = None,
    interactions: Interactions = None,
    items: Items = None,
    embeddings: Embeddings = None,
    content: Annotated[
        Content,
        typer.Option(
            help="What the codes are made from: 'text', 'collaborative' (who chose what, in the "
            "training part of the histories) or 'both'."
        ),
    ] = "text",
    split: SplitOption = "leave-one-out",
    residual_kmeans: Annotated[
        bool,
        typer.Option(
            "--residual-kmeans", help="No autoencoder: residual k-means, which needs no training."
        ),
    ] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="Continue from a trained RQ-VAE: 'pretrained' (shipped) or a file. It keeps the "
            "standardisation that it was trained with."
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help=f"Optimiser steps; {RQVAE_STEPS} by default."),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.0, help="Instead of steps: passes over the items.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Items a step.")
    ] = RQVAE_TRAINING.batch_size,
    learning_rate: LearningRate = RQVAE_TRAINING.learning_rate,
    schedule: Annotated[
        Schedule, typer.Option(help="How the learning rate falls.")
    ] = RQVAE_TRAINING.schedule,
    levels: Levels = RQVAEConfig.num_levels,
    codebook_size: CodebookSize = RQVAEConfig.codebook_size,
    estimator: Annotated[
        Estimator, typer.Option(help="How gradients pass the choice of codewords.")
    ] = "straight-through",
    learning: Annotated[
        Learning,
        typer.Option(help="How codewords learn: moving averages, or by gradient ('gumbel' must)."),
    ] = "average",
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Stop after this many measurements, one every {RQVAE_TRAINING.measure_every} "
            "steps, that brought no improvement in the variance lost; the best is kept.",
        ),
    ] = None,
    snapshots: Annotated[
        str, typer.Option(help="Also write the model after these steps, as in 1000,10000.")
    ] = "",
    precision: Annotated[
        Precision, typer.Option(help="'bfloat16' runs the autoencoder in 16 bits: faster, coarser.")
    ] = "float32",
    compile_step: Annotated[
        bool, typer.Option("--compile", help="Compile the step: pays in a long training.")
    ] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train an RQ-VAE on the items' vectors: the tokenizer.

    Writes rqvae.safetensors, and rqvae-state.safetensors to resume from. The progress bar shows, of
    the levels, the worst utilisation and perplexity: what falls when a codebook collapses.
    """
    path = output / RQVAE_FILE
    check_device(device)
    check_writable(path)
    if compile_step:
        check_compiler()
    if steps is not None and epochs is not None:
        raise ValueError("Say how long: either --steps or --epochs (not both)")
    training = replace(
        RQVAE_TRAINING,
        num_steps=steps or (RQVAE_STEPS if epochs is None else None),
        num_epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        precision=precision,
        compile=compile_step,
        seed=seed,
        snapshot_steps=_steps(snapshots),
        early_stop=EarlyStop("variance_lost", patience, False) if patience else None,
    )
    context.with_resource(only_process_in(output))
    dataset = open_dataset(dataset_name, interactions, items)
    if not start_from:
        check_codebook_size(codebook_size, dataset)
    vectors = item_vectors(dataset, content, embeddings, split)
    total = training.total_steps(
        RowBatches(vectors, batch_size=batch_size, seed=seed).steps_per_epoch
    )
    if max(training.snapshot_steps, default=0) > total:
        raise ValueError(
            f"--snapshots is {snapshots!r}, but the training has {total} steps: leave out what "
            "comes after the last"
        )

    def save(file: Path, model: RQVAE, step: int) -> TokenizerMetrics:
        metrics = tokenizer_metrics(model, vectors)
        text = text_sha256(content, dataset, embeddings)
        more = {"content": content, "split": split, "text_embeddings": text, "steps": step}
        card = card_of(dataset, seed, asdict(metrics), **more)
        save_rqvae(file, model, card)
        return metrics

    def save_snapshot(step: int, model: RQVAE) -> None:
        save(output / f"rqvae-{step}.safetensors", model, step)

    width, state_path = vectors.shape[1], output / "rqvae-state.safetensors"
    if residual_kmeans and (start_from or resume or snapshots):
        raise ValueError(
            "--residual-kmeans is not trained, so there is nothing to start from, resume or take "
            "snapshots of: leave these options out"
        )
    if residual_kmeans:
        config = RQVAEConfig.residual_kmeans(width, num_levels=levels, codebook_size=codebook_size)
        model, done = new_rqvae(vectors, config, seed=seed), 0
    else:
        started, config = None, None
        if start_from:
            started = _to_start_from(start_from, content, dataset, embeddings)
            _check_architecture(context, started.config, start_from)
        else:
            config = RQVAEConfig(
                width,
                num_levels=levels,
                codebook_size=codebook_size,
                estimator=estimator,
                learning=learning,
            )
        model, _ = train_rqvae(
            vectors,
            config,
            training,
            start_from=started,
            snapshot=save_snapshot,
            device=device,
            state_path=state_path,
            resume=resume,
        )
        done = steps_of(state_path)
    metrics = save(path, model, done)
    for level in range(len(metrics.utilisation)):
        typer.echo(
            f"Level {level + 1}: {metrics.utilisation[level]:.1%} of codewords used, perplexity "
            f"{metrics.perplexity[level]:.0f}; residual {metrics.residual_norms[level]:.2f} long, "
            f"{metrics.residual_norms[level + 1]:.2f} after it."
        )
    typer.echo(f"{metrics.collision_rate:.2%} of items share their codes with an earlier item.")
    typer.echo(f"{metrics.variance_lost:.1%} of the vectors' variance is lost.")
    typer.echo(f"Wrote {path}.")


@app.command("compare-tokenizers")
def compare_tokenizers_command(
    context: typer.Context,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to this number less one.")] = 5,
    dataset_name: DatasetName = None,
    interactions: Interactions = None,
    items: Items = None,
    embeddings: Embeddings = None,
    content: Annotated[Content, typer.Option(help="As in train-rqvae.")] = "text",
    split: SplitOption = "leave-one-out",
    levels: Levels = RQVAEConfig.num_levels,
    codebook_size: CodebookSize = RQVAEConfig.codebook_size,
    steps: Steps = RQVAE_STEPS,
    output: Annotated[Path | None, typer.Option(help="Also write the table, as .csv.")] = None,
    device: Device = "cpu",
) -> None:
    """Train the RQ-VAE on several seeds, beside residual k-means, and print how both do.

    Both have the same number of levels and codewords. An RQ-VAE that uses fewer of them, or
    collides more than residual k-means, has collapsed.
    """
    check_device(device)
    if output:
        context.with_resource(claim_csv(output))
    dataset = open_dataset(dataset_name, interactions, items)
    check_codebook_size(codebook_size, dataset)
    vectors = item_vectors(dataset, content, embeddings, split)
    width = vectors.shape[1]
    config = RQVAEConfig(width, num_levels=levels, codebook_size=codebook_size)
    baseline = RQVAEConfig.residual_kmeans(width, num_levels=levels, codebook_size=codebook_size)
    training = replace(RQVAE_TRAINING, num_steps=steps)
    rows: list[dict[str, object]] = []
    used_width, perplexity_width = max(16, 6 * levels - 1), max(10, 4 * levels - 1)

    def say(name: str, seed: object, used: str, perplexity: str, collide: str, lost: str) -> None:
        typer.echo(
            f"{name:<11} {seed:>4}  {used:<{used_width}}  {perplexity:<{perplexity_width}}  "
            f"{collide:>7}  {lost:>13}"
        )

    say("tokenizer", "seed", "used by level, %", "perplexity", "collide", "variance lost")
    for seed in range(seeds):
        trained, _ = train_rqvae(vectors, config, replace(training, seed=seed), device=device)
        for name, model in (
            ("RQ-VAE", trained),
            ("R-KMeans", new_rqvae(vectors, baseline, seed=seed)),
        ):
            metrics = tokenizer_metrics(model, vectors)
            used = " ".join(f"{100 * share:5.1f}" for share in metrics.utilisation)
            perplexity = " ".join(f"{number:3.0f}" for number in metrics.perplexity)
            collide, lost = f"{metrics.collision_rate:.2%}", f"{metrics.variance_lost:.1%}"
            say(name, seed, used, perplexity, collide, lost)
            rows.append({"tokenizer": name, "seed": seed} | _columns(metrics))
    if output:
        with write_atomically(output) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        typer.echo(f"Wrote {output}.")


def _check_architecture(context: typer.Context, own: RQVAEConfig, start_from: str) -> None:
    """Refuse what was asked for, be it the default, where the RQ-VAE to start from is otherwise."""
    options = {
        "levels": own.num_levels,
        "codebook_size": own.codebook_size,
        "estimator": own.estimator,
        "learning": own.learning,
    }
    for option, has in options.items():
        asked = context.params[option]
        source = context.get_parameter_source(option)  # its class is click's, or typer's copy of it
        if source and source.name != "DEFAULT" and asked != has:
            raise ValueError(
                f"--{option.replace('_', '-')} is {asked}, but the RQ-VAE to start from, "
                f"{start_from}, has {has}: leave the option out, or start anew"
            )


def _columns(metrics: TokenizerMetrics) -> dict[str, str]:
    """Return a row of the table that compare-tokenizers writes: four digits say enough."""
    by_level = {"used": metrics.utilisation, "perplexity": metrics.perplexity}
    numbers = {"collision_rate": metrics.collision_rate, "variance_lost": metrics.variance_lost}
    numbers |= {
        f"{name}_{level}": number
        for name, levels in by_level.items()
        for level, number in enumerate(levels, 1)
    }
    return {name: f"{number:.4g}" for name, number in numbers.items()}


def _steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"--snapshots is {text!r}; expected numbers of steps with commas between them, such as "
            "1000,10000"
        ) from None


def _to_start_from(
    given: str, content: Content, dataset: Dataset, embeddings: Path | None
) -> RQVAE:
    """Load the RQ-VAE to continue from; refuse one whose items were described otherwise."""
    model, card = load_rqvae(DATASET if given == "pretrained" else given)
    source, was = said_by(card, "dataset", given), said_by(card, "content", given)
    if source != dataset.name:  # other items: other vectors, and that is what is wanted
        typer.echo(f"Starting from an RQ-VAE of {source}.", err=True)
    if was != content:
        raise ValueError(
            f"the RQ-VAE to start from was trained on {was!r} vectors, not {content!r}: pass "
            f"--content {was}"
        )
    if source == dataset.name:
        check_text(card, content, dataset, embeddings)
    return model
