"""The two trainings of the pipeline, from nothing to a model, with settings that work.

`train_rqvae` turns embeddings into a tokenizer, and `train_decoder` turns histories and a catalogue
of IDs into a recommender. The command line and the notebooks both call these, so that what a page
shows is what the command does.

Seen at work in: chapter 00.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from rqvae_lib.batches import RowBatches, WindowBatches
from rqvae_lib.recommenders import DecoderOnly, DecoderOnlyConfig
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.splits import Histories
from rqvae_lib.training import LogEntry, TrainingConfig, train

RQVAE_TRAINING = TrainingConfig(num_steps=2000, batch_size=256, learning_rate=1e-3, save_every=200)
DECODER_TRAINING = TrainingConfig(
    num_steps=1000,
    batch_size=32,
    learning_rate=3e-3,
    warmup_steps=50,
    weight_decay=0.1,
    save_every=100,
)


def new_rqvae(embeddings: Tensor, config: RQVAEConfig, *, seed: int) -> RQVAE:
    """Return an RQ-VAE with random weights, its codebooks started with k-means on the catalogue.

    Args:
        embeddings: shape (N, config.input_dim), float32.
        config: the architecture.
        seed: of the weights and of k-means.

    Raises:
        ValueError: as `RQVAE.fit_to_data`.
    """
    with _seeded(seed):
        model = RQVAE(config)
    model.fit_to_data(embeddings, generator=torch.Generator().manual_seed(seed))
    return model.eval()


def train_rqvae(
    embeddings: Tensor,
    config: RQVAEConfig | None = None,
    training: TrainingConfig = RQVAE_TRAINING,
    *,
    device: str = "cpu",
    state_path: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[RQVAE, list[LogEntry]]:
    """Train an RQ-VAE on a catalogue's embeddings.

    Args:
        embeddings: shape (N, input_dim), float32, at least as many rows as codewords.
        config: the architecture; by default TIGER's, for embeddings of this width.
        training: steps, batch size, learning rate, seed.
        device: where to train.
        state_path, resume, progress: as `training.train`.

    Returns:
        The model, in evaluation mode on the CPU, and the log.

    Raises:
        ValueError, CheckpointError, OSError: as `RQVAE.fit_to_data` and `training.train`.
    """
    config = config or RQVAEConfig(input_dim=embeddings.shape[1])
    model = new_rqvae(embeddings, config, seed=training.seed).to(device)
    batches = RowBatches(embeddings.to(device), batch_size=training.batch_size, seed=training.seed)
    log = train(
        model,
        lambda batch: model(batch).loss,
        batches,
        training,
        inputs={"model": str(config), "embeddings": _sha256(embeddings)},
        state_path=state_path,
        resume=resume,
        progress=progress,
    )
    return model.to("cpu"), log


def train_decoder(
    ids: SemanticIDs,
    histories: Histories,
    config: DecoderOnlyConfig | None = None,
    training: TrainingConfig = DECODER_TRAINING,
    *,
    device: str = "cpu",
    state_path: Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[DecoderOnly, list[LogEntry]]:
    """Train a decoder-only recommender over the IDs of a catalogue.

    Args:
        ids: the catalogue that the model will speak.
        histories: what it may learn from: a split's `train`.
        config: the architecture.
        training: steps, batch size, learning rate, seed.
        device: where to train.
        state_path, resume, progress: as `training.train`.

    Returns:
        The model, in evaluation mode on the CPU, and the log.

    Raises:
        ValueError, CheckpointError, OSError: as `training.train`.
    """
    config = config or DecoderOnlyConfig()
    if len(histories.items) and int(histories.items.max()) >= len(ids):
        raise ValueError(
            f"the histories name item {int(histories.items.max())}, but the catalogue of IDs holds "
            f"items 0 to {len(ids) - 1}: take both from one data set"
        )
    with _seeded(training.seed):
        model = DecoderOnly(config, ids).to(device)
    batches = WindowBatches(
        histories,
        max_items=config.max_items,
        batch_size=training.batch_size,
        seed=training.seed,
    )
    log = train(
        model,
        lambda batch: model.loss(batch.to(device)),
        batches,
        training,
        inputs={
            "model": str(config),
            "ids": ids.sha256,
            "histories": _sha256(histories.items, histories.offsets),
        },
        state_path=state_path,
        resume=resume,
        progress=progress,
    )
    return model.to("cpu"), log


def _sha256(*tensors: Tensor) -> str:
    """Name the content of tensors, so that a training is not resumed on other data."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed, and leave the caller's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
