"""The two trainings of the pipeline, from nothing to a model, with settings that work.

`train_rqvae` turns embeddings into a tokenizer, and `train_recommender` turns histories and a
catalogue of IDs into a recommender. The command line and the notebooks both call these, so what a
page shows is what the command does.

Seen at work in: chapter 00.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from rqvae_lib.data.batches import RowBatches, WindowBatches
from rqvae_lib.data.splits import Histories
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import DecoderOnlyConfig, HistoryModelConfig, SASRecConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.seeding import seeded
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING, TrainingConfig
from rqvae_lib.training.loop import LogEntry, train


def new_rqvae(embeddings: Tensor, config: RQVAEConfig, *, seed: int) -> RQVAE:
    """Return an RQ-VAE with random weights, its codebooks started with k-means on the catalogue.

    Args:
        embeddings: shape (N, config.input_dim), float32.
        config: the architecture. With `RQVAEConfig.residual_kmeans` there is nothing left to train.
        seed: of the weights and of k-means.

    Raises:
        ValueError: as `RQVAE.fit_to_data`.
    """
    with seeded(seed):
        model = RQVAE(config)
    model.fit_to_data(embeddings, generator=torch.Generator().manual_seed(seed))
    return model.eval()


def train_rqvae(
    embeddings: Tensor | ItemVectors,
    config: RQVAEConfig | None = None,
    training: TrainingConfig = RQVAE_TRAINING,
    *,
    autoencoder_steps: int = 300,
    start_from: RQVAE | None = None,
    snapshot: Callable[[int, RQVAE], None] | None = None,
    device: str = "cpu",
    state_path: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[RQVAE, list[LogEntry]]:
    """Train an RQ-VAE on a catalogue's embeddings.

    First the autoencoder alone, without a quantizer; then k-means on its latents starts the
    codebooks; then all of it together.

    Args:
        embeddings: shape (N, input_dim), float32, at least as many rows as codewords; or what
            `item_vectors` returns, whose hash is then shared with the checkpoint's card.
        config: the architecture; by default TIGER's, for embeddings of this width.
        training: steps, batch size, learning rate, seed of the training together.
        autoencoder_steps: steps of the autoencoder alone, at the same learning rate, which stays
            constant after the warm-up.
        start_from: a trained RQ-VAE to continue from; its architecture and its standardization,
            measured on the catalogue that it was trained on, stay. `config` must be None or equal,
            and there are no steps of the autoencoder alone.
        snapshot: called with the number of steps and the model, on the CPU, after each of
            `training.snapshot_steps`.
        device: where to train.
        state_path, resume, progress: as `training.train`.

    Returns:
        The model, in evaluation mode on the CPU, and the log, with `TokenizerMetrics.worst()`.

    Raises:
        ValueError, CheckpointError, OSError: as `RQVAE.fit_to_data` and `training.train`. Also
            ValueError for an architecture that has nothing to train, or not that of `start_from`.
    """
    vectors = embeddings if isinstance(embeddings, ItemVectors) else ItemVectors(embeddings)
    embeddings = vectors.tensor
    model = _rqvae_to_train(embeddings, config, training.seed, start_from).to(device)
    starting = not start_from and not resume
    on_device = embeddings.to(device)
    batches = RowBatches(on_device, batch_size=training.batch_size, seed=training.seed)
    inputs = {
        "model": str(model.config),
        "embeddings": vectors.sha256,
        "autoencoder_steps": "0" if start_from else str(autoencoder_steps),
        "start_from": tensors_sha256(*start_from.state_dict().values()) if start_from else "",
    }
    if starting and autoencoder_steps:
        alone = replace(
            training,
            num_steps=autoencoder_steps,
            num_epochs=None,
            schedule="constant",
            snapshot_steps=(),
            early_stop=None,
        )
        train(model, model.autoencoder_loss, batches, alone, progress=progress)
    if starting:
        # On the CPU, whose generator draws the same wherever the rest is trained.
        generator = torch.Generator().manual_seed(training.seed)
        model.to("cpu").init_codebooks(embeddings.cpu(), generator=generator)
        model.to(device)

    def snapshot_on_cpu(step: int) -> None:
        if snapshot:
            snapshot(step, copy.deepcopy(model).to("cpu").eval())

    log = train(
        model,
        lambda batch: model(batch).loss,
        batches,
        training,
        measure=lambda: tokenizer_metrics(model, on_device).worst(),
        snapshot=snapshot_on_cpu,
        inputs=inputs,
        state_path=state_path,
        resume=resume,
        progress=progress,
    )
    return model.to("cpu"), log


def _rqvae_to_train(
    embeddings: Tensor, config: RQVAEConfig | None, seed: int, start_from: RQVAE | None
) -> RQVAE:
    """Return what training begins with: a trained model, or a new one without codebooks."""
    if start_from is not None:
        if config is not None and config != start_from.config:
            raise ValueError(
                f"the RQ-VAE to start from is {start_from.config}, but {config} was asked for: "
                "leave the architecture out, or start again"
            )
        config = start_from.config
    config = config or RQVAEConfig(input_dim=embeddings.shape[-1])
    if config.hidden_dims is None:
        raise ValueError(
            "residual k-means has no weights to train: new_rqvae fits it to the data, and that is "
            "all"
        )
    if start_from:
        return copy.deepcopy(start_from)
    with seeded(seed):
        model = RQVAE(config)
    model.fit_standardization(embeddings.cpu())
    return model


def train_recommender(
    ids: SemanticIDs,
    histories: Histories,
    config: HistoryModelConfig | None = None,
    training: TrainingConfig = RECOMMENDER_TRAINING,
    *,
    device: str = "cpu",
    state_path: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[Recommender, list[LogEntry]]:
    """Train a recommender over the IDs of a catalogue.

    Args:
        ids: the catalogue that the model will speak.
        histories: what it may learn from: a split's `train`.
        config: of any architecture in `models.configs.CONFIGS`; a `DecoderOnlyConfig` by default.
        training: steps, batch size, learning rate, seed.
        device: where to train.
        state_path, resume, progress: as `training.train`.

    Returns:
        The model, in evaluation mode on the CPU, and the log.

    Raises:
        ValueError, CheckpointError, OSError: as `training.train`.
    """
    config = config or DecoderOnlyConfig()
    histories.check_items(len(ids))
    with seeded(training.seed):
        model = new_recommender(config, ids)
    log = _train_on(
        histories,
        model,
        training,
        inputs={"ids": ids.sha256},
        device=device,
        state_path=state_path,
        resume=resume,
        progress=progress,
    )
    return model, log


def train_sasrec(
    histories: Histories,
    config: SASRecConfig,
    training: TrainingConfig = RECOMMENDER_TRAINING,
    *,
    device: str = "cpu",
    state_path: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[SASRec, list[LogEntry]]:
    """Train a SASRec.

    Args:
        histories: what it may learn from: a split's `train`.
        config: the architecture, and the size of the catalogue.
        training, device, state_path, resume, progress: as `train_recommender`.

    Returns:
        The model, in evaluation mode on the CPU, and the log.

    Raises:
        ValueError, CheckpointError, OSError: as `training.train`.
    """
    histories.check_items(config.num_items)
    with seeded(training.seed):
        model = SASRec(config)
    log = _train_on(
        histories,
        model,
        training,
        inputs={},
        device=device,
        state_path=state_path,
        resume=resume,
        progress=progress,
    )
    return model, log


def _train_on(
    histories: Histories,
    model: Recommender | SASRec,
    training: TrainingConfig,
    *,
    inputs: Mapping[str, str],
    device: str,
    state_path: str | Path | None,
    resume: bool,
    progress: bool,
) -> list[LogEntry]:
    """Train a model of histories in place, on a device; leave it in evaluation mode on the CPU."""
    model.to(device)
    batches = WindowBatches(
        histories,
        max_items=model.config.max_items,
        batch_size=training.batch_size,
        seed=training.seed,
    )
    log = train(
        model,
        lambda batch: model.loss(batch.to(device)),
        batches,
        training,
        inputs={
            "model": str(model.config),
            "histories": tensors_sha256(histories.items, histories.offsets),
            **inputs,
        },
        state_path=state_path,
        resume=resume,
        progress=progress,
    )
    model.to("cpu")
    return log
