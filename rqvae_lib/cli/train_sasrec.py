"""The command that trains SASRec, the model without semantic IDs to measure against.

Derived in: chapter 11.
"""

from collections.abc import Mapping
from typing import Any

import typer

from rqvae_lib.cli.conflicts import DATA_OF_HISTORIES, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    RUNS,
    SASREC_FILE,
    Device,
    Dropout,
    EmbeddingDropout,
    Half,
    Histories,
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
from rqvae_lib.cli.outputs import Writes, writes
from rqvae_lib.cli.processes import shared_by_processes
from rqvae_lib.cli.recommender_training import (
    Prepared,
    outputs_of_training,
    run_training,
    training_config,
)
from rqvae_lib.cli.training_state import check_state
from rqvae_lib.data.names import DEFAULT_SPLIT
from rqvae_lib.models.configs import HistoryModelConfig, SASRecConfig, TransformerConfig
from rqvae_lib.training.config import RECOMMENDER_STEPS, RECOMMENDER_TRAINING


def _outputs(given: Mapping[str, Any]) -> Writes:
    return outputs_of_training(given["output"] / SASREC_FILE, "a SASRec", ["sasrec"])


@shared_by_processes
@takes_data
@refuses(DATA_OF_HISTORIES)
@writes(_outputs, "output")
def train_sasrec_command(
    context: typer.Context,
    output: Output = RUNS,
    data: DataOptions = EMBEDDED_DATA,
    histories: Histories = None,
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
    from rqvae_lib.cli.common import check_device, hold_out, load_data, part_to_train_on
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.training.recipes import train_sasrec

    path = output / SASREC_FILE

    def prepare() -> Prepared:
        check_device(device)
        training = training_config(steps, batch_size, learning_rate, weight_decay, seed)
        transformer = TransformerConfig(dropout=dropout)
        shared = HistoryModelConfig(transformer, max_items, embedding_dropout)
        check_state(path, training, resume=resume, force=context.params["force"])
        context.with_resource(only_process_in(output))
        dataset = load_data(data, histories)
        held_out = hold_out(dataset, split)
        config = SASRecConfig(**vars(shared), num_items=dataset.num_items)
        return Prepared((part_to_train_on(held_out), config, training), held_out, dataset, {})

    run_training(context, path, prepare, train_sasrec, save_sasrec)
