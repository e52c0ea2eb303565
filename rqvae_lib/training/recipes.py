"""The trainings of the pipeline, from data to a model, with settings that work.

`train_rqvae` turns embeddings into a tokenizer. `train_recommender` turns histories and a catalogue
of IDs into a recommender, and `train_sasrec` trains the model to compare it with. The command line
and the notebooks call these functions, so a page shows what the command does.

Seen at work in: chapter 00.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from rqvae_lib.data.batches import RowBatches, WindowBatches
from rqvae_lib.data.history_lists import HistoryLists, as_flat_histories
from rqvae_lib.data.mapped_histories import MappedHistories
from rqvae_lib.data.splits import Histories
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import DecoderOnlyConfig, HistoryModelConfig, SASRecConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.arrays import Array, as_count, as_row, as_vectors
from rqvae_lib.ops.seeding import seeded
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.ops.world import current_world
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING, TrainingConfig
from rqvae_lib.training.loop import LogEntry, check_training, train


@own_settings
def new_rqvae(embeddings: Array, config: RQVAEConfig, *, seed: int) -> RQVAE:
    """Return an RQ-VAE with random weights and codebooks from k-means on the catalogue.

    Args:
        embeddings: shape (N, config.input_dim), numbers, on the CPU.
        config: the architecture. One from `RQVAEConfig.residual_kmeans` needs no more training.
        seed: the seed of the weights and of k-means.

    Returns:
        The model, in evaluation mode on the CPU.

    Raises:
        ValueError: as `RQVAE.fit_to_data`.
    """
    seed = as_row(seed, "seed")
    with seeded(seed):
        model = RQVAE(config)
    generator = torch.Generator().manual_seed(seed)
    _fit_in_first(model, lambda: model.fit_to_data(embeddings, generator=generator))
    return model.eval()


def _fit_in_first(model: RQVAE, fit: Callable[[], None]) -> None:
    """Fit a model to a catalogue in the first process alone, and give all others the result.

    What the first one refuses, such as too few rows, all refuse.
    """
    world = current_world()
    world.in_first(fit)
    world.spread(model.state_dict().values())


@own_settings
def train_rqvae(
    embeddings: Array | ItemVectors,
    config: RQVAEConfig | None = None,
    training: TrainingConfig = RQVAE_TRAINING,
    *,
    autoencoder_steps: int = 300,
    start_from: RQVAE | None = None,
    snapshot: Callable[[int, RQVAE], None] | None = None,
    device: str = "cpu",
    state_path: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[RQVAE, list[LogEntry]]:
    """Train an RQ-VAE on a catalogue's embeddings.

    The autoencoder is trained alone first, without a quantizer. Then k-means on its latents starts
    the codebooks. Then everything is trained together.

    In a world of several processes, the first one trains the autoencoder alone and starts the
    codebooks. Then all train together, each with its share of every batch.

    Args:
        embeddings: shape (N, input_dim), numbers, with at least as many rows as codewords in a
            codebook; or the result of `item_vectors`, whose hash is then computed only once for
            the training and the checkpoint's card.
        config: the architecture. By default TIGER's, for embeddings of this width.
        training: steps, batch size, learning rate and seed of the training of everything together.
        autoencoder_steps: steps of the autoencoder alone. They use the same learning rate, which
            stays constant after the warm-up.
        start_from: a trained RQ-VAE to continue from. It keeps its architecture and the
            standardization of the catalogue that it was trained on. `config` must be None or equal
            to its configuration, and there are no steps of the autoencoder alone.
        snapshot: called with the number of steps and a copy of the model, on the CPU, after each of
            `training.snapshot_steps`.
        device: the device to train on.
        state_path, resume, overwrite, progress: as `training.loop.train`.

    Returns:
        The model, in evaluation mode on the CPU, and the log, with `TokenizerMetrics.worst()`.

    Raises:
        ValueError, CheckpointError, OSError, FloatingPointError: as `RQVAE.fit_to_data` and
            `training.loop.train`. Also ValueError if the architecture has nothing to train or is
            not that of `start_from`, or as `TrainingConfig.check_snapshots`.
    """
    if not isinstance(embeddings, ItemVectors):
        embeddings = ItemVectors(as_vectors(embeddings, "embeddings", dtype=torch.float32))
    vectors, embeddings = embeddings, embeddings.tensor
    autoencoder_steps = as_count(autoencoder_steps, "autoencoder_steps", least=0)
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
    training.check_snapshots(batches.steps_per_epoch)
    check_training(
        training,
        batches,
        snapshot=snapshot,
        inputs=inputs,
        state_path=state_path,
        resume=resume,
        overwrite=overwrite,
    )

    def start() -> None:
        if autoencoder_steps:
            of_autoencoder = replace(
                training,
                num_steps=autoencoder_steps,
                num_epochs=None,
                schedule="constant",
                final_share=0.0,
                snapshot_steps=(),
                early_stop=None,
            )
            train(model, model.autoencoder_loss, batches, of_autoencoder, progress=progress)
        # On the CPU, so that the draws do not depend on the device of the training.
        generator = torch.Generator().manual_seed(training.seed)
        model.to("cpu").init_codebooks(embeddings.cpu(), generator=generator)
        model.to(device)

    if starting:
        # By one process, whatever their number: from latents that differ by rounding alone, k-means
        # may find other codewords.
        _fit_in_first(model, start)

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
        overwrite=overwrite,
        progress=progress,
    )
    return model.to("cpu"), log


def _rqvae_to_train(
    embeddings: Tensor, config: RQVAEConfig | None, seed: int, start_from: RQVAE | None
) -> RQVAE:
    """Return the model to train: a copy of a trained one, or a new one before k-means."""
    if start_from is not None:
        if not isinstance(start_from, RQVAE):
            raise ValueError(
                f"start_from is a {type(start_from).__name__}; expected an RQVAE: pass the model "
                "that load_rqvae returns"
            )
        if config is not None and config != start_from.config:
            raise ValueError(
                f"the RQ-VAE to start from is {start_from.config}, but {config} was asked for: "
                "leave the architecture out, or start again"
            )
        config = start_from.config
    config = config or RQVAEConfig(input_dim=embeddings.shape[-1])
    if config.hidden_dims is None:
        raise ValueError(
            "residual k-means has no weights to train: new_rqvae fits it to the data, so call that "
            "instead"
        )
    if start_from:
        model = copy.deepcopy(start_from)
        return model if model.mean.dtype == torch.float64 else model.float()
    with seeded(seed):
        model = RQVAE(config)
    _fit_in_first(model, lambda: model.fit_standardization(embeddings.cpu()))
    return model


@own_settings
def train_recommender(
    ids: SemanticIDs,
    histories: HistoryLists | MappedHistories,
    config: HistoryModelConfig | None = None,
    training: TrainingConfig = RECOMMENDER_TRAINING,
    *,
    device: str = "cpu",
    state_path: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Recommender, list[LogEntry]]:
    """Train a recommender over the IDs of a catalogue.

    Args:
        ids: the catalogue whose IDs the model will generate.
        histories: the training histories: a split's `train`, in memory or of a `HistoriesFile`; or
            lists of item rows.
        config: an instance of any class in `models.configs.CONFIGS`. By default a
            `DecoderOnlyConfig`.
        training: steps, batch size, learning rate and seed.
        device: the device to train on.
        state_path, resume, overwrite, progress: as `training.loop.train`.

    Returns:
        The model, in evaluation mode on the CPU, and the log.

    Raises:
        ValueError, CheckpointError, OSError, FloatingPointError: as `training.loop.train`. Also
            ValueError if the histories name an item outside the catalogue, or the configuration
            is of another class.
    """
    config = config or DecoderOnlyConfig()
    histories = _readable(histories)
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
        overwrite=overwrite,
        progress=progress,
    )
    return model, log


@own_settings
def train_sasrec(
    histories: HistoryLists | MappedHistories,
    config: SASRecConfig,
    training: TrainingConfig = RECOMMENDER_TRAINING,
    *,
    device: str = "cpu",
    state_path: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[SASRec, list[LogEntry]]:
    """Train a SASRec.

    Args:
        histories: the training histories: a split's `train`, in memory or of a `HistoriesFile`; or
            lists of item rows.
        config: the architecture, and the size of the catalogue.
        training, device, state_path, resume, overwrite, progress: as `train_recommender`.

    Returns:
        The model, in evaluation mode on the CPU, and the log.

    Raises:
        ValueError, CheckpointError, OSError, FloatingPointError: as `training.loop.train`. Also
            ValueError if the histories name an item outside the catalogue.
    """
    histories = _readable(histories)
    if not isinstance(config, SASRecConfig):
        raise ValueError(f"config is {config!r}; expected a SASRecConfig: pass one with num_items")
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
        overwrite=overwrite,
        progress=progress,
    )
    return model, log


def _readable(histories: HistoryLists | MappedHistories) -> Histories | MappedHistories:
    """Return histories that batches can be read from."""
    return histories if isinstance(histories, MappedHistories) else as_flat_histories(histories)


def _train_on(
    histories: Histories | MappedHistories,
    model: Recommender | SASRec,
    training: TrainingConfig,
    *,
    inputs: Mapping[str, str],
    device: str,
    state_path: str | Path | None,
    resume: bool,
    overwrite: bool,
    progress: bool,
) -> list[LogEntry]:
    """Train a model of histories on a device, in place, and leave it in evaluation mode on the CPU.

    Args:
        histories, training, device: as `train_recommender`.
        state_path, resume, overwrite, progress: as `training.loop.train`.
        model: the model to train.
        inputs: what identifies the training data, apart from the histories.
    """
    model.to(device)
    batches = WindowBatches(
        histories,
        max_items=model.config.max_items,
        batch_size=training.batch_size,
        seed=training.seed,
    )

    def loss_of(rows: Tensor) -> Tensor:
        if not len(rows):  # there are more processes than windows in a step
            return torch.zeros((), device=device)
        return model.loss(rows.to(device))

    log = train(
        model,
        loss_of,
        batches,
        training,
        num_targets=model.num_targets,
        inputs={
            "model": str(model.config),
            "histories": histories.sha256,
            **inputs,
        },
        state_path=state_path,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
    model.to("cpu")
    return log
