"""The command that trains SASRec, the model without semantic IDs to measure against.

Derived in: chapter 11.
"""

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    RUNS,
    SASREC_FILE,
    Device,
    Dropout,
    EmbeddingDropout,
    Half,
    LearningRate,
    MaxItems,
    Output,
    Resume,
    Seed,
    SplitOption,
    Steps,
    WeightDecay,
    WindowsPerStep,
)
from rqvae_lib.cli.recommender_training import training_config
from rqvae_lib.data.names import DEFAULT_SPLIT
from rqvae_lib.models.configs import HistoryModelConfig, SASRecConfig, TransformerConfig
from rqvae_lib.training.config import RECOMMENDER_STEPS, RECOMMENDER_TRAINING


@takes_data
def train_sasrec_command(
    context: typer.Context,
    output: Output = RUNS,
    data: DataOptions = EMBEDDED_DATA,
    split: SplitOption = DEFAULT_SPLIT,
    dropout: Dropout = TransformerConfig.dropout,
    embedding_dropout: EmbeddingDropout = HistoryModelConfig.embedding_dropout,
    max_items: MaxItems = HistoryModelConfig.max_items,
    steps: Steps = RECOMMENDER_STEPS,
    batch_size: WindowsPerStep = RECOMMENDER_TRAINING.batch_size,
    learning_rate: LearningRate = RECOMMENDER_TRAINING.learning_rate,
    weight_decay: WeightDecay = RECOMMENDER_TRAINING.weight_decay,
    seed: Seed = RECOMMENDER_TRAINING.seed,
    device: Device = "cpu",
    half: Half = False,
    resume: Resume = False,
) -> None:
    """Train SASRec, the model without semantic IDs that others are measured against.

    Reports what train-recommender reports. Writes sasrec.safetensors, and sasrec-state.safetensors
    to resume from.
    """
    from rqvae_lib.checkpoints.models import save_sasrec
    from rqvae_lib.cli.common import check_device, check_resumable, hold_out
    from rqvae_lib.cli.recommender_training import measure_and_save
    from rqvae_lib.io.atomic import check_writable
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.training.recipes import train_sasrec

    path, state = output / SASREC_FILE, output / "sasrec-state.safetensors"
    check_device(device)
    check_writable(path)
    training = training_config(steps, batch_size, learning_rate, weight_decay, seed)
    if resume:
        check_resumable(state)
    shared = HistoryModelConfig(TransformerConfig(dropout=dropout), max_items, embedding_dropout)
    context.with_resource(only_process_in(output))
    dataset = data.load()
    held_out = hold_out(dataset, split)
    config = SASRecConfig(**vars(shared), num_items=dataset.num_items)
    model, _ = train_sasrec(
        held_out.train,
        config,
        training,
        device=device,
        state_path=state,
        resume=resume,
    )
    measure_and_save(
        save_sasrec, path, model, dataset, held_out, seed=seed, device=device, half=half
    )
