"""The command that trains a recommender over semantic IDs, of any architecture.

Seen at work in: chapter 08.
"""

from collections.abc import Mapping
from typing import Any

import typer

from rqvae_lib.cli.conflicts import DATA_OF_HISTORIES, Needs, Useless, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.ids_options import IDS_RULES, ids_instead_of, takes_ids
from rqvae_lib.cli.options import (
    RECOMMENDER_FILE,
    RQVAE_FILE,
    RUNS,
    Architecture,
    Device,
    Dropout,
    EmbeddingDropout,
    Embeddings,
    Half,
    Histories,
    LearningRate,
    MaxItems,
    Output,
    PrefixEmbeddings,
    Resume,
    Seed,
    SplitOption,
    Steps,
    Tokenizer,
    ValidOnly,
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
from rqvae_lib.models.configs import (
    CONFIGS,
    DEFAULT_ARCHITECTURE,
    ArchitectureName,
    CodeSequenceConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.training.config import RECOMMENDER_STEPS, RECOMMENDER_TRAINING

RULES = (
    *IDS_RULES,
    DATA_OF_HISTORIES,
    Needs(
        "histories",
        "ids",
        "{histories} has no texts or vectors of the items, so no tokenizer can make their IDs: "
        "pass a file of IDs as --ids",
    ),
    ids_instead_of("tokenizer", "embeddings"),
    Useless(
        ("valid_only",),
        lambda given: given["architecture"] == "rq-transformer",
        "the {architecture} always chooses among the codes that lead to an item",
    ),
    Useless(
        ("prefix_embeddings",),
        lambda given: given["architecture"] != "rq-transformer",
        "the {architecture} has no vectors of prefixes",
    ),
)


def _outputs(given: Mapping[str, Any]) -> Writes:
    from rqvae_lib.cli.common import found_in

    output = given["output"]
    found = [] if given["tokenizer"] or given["ids"] else found_in(RQVAE_FILE, output)
    return outputs_of_training(output / RECOMMENDER_FILE, "a recommender", [*CONFIGS], found)


@shared_by_processes
@takes_data
@takes_ids
@refuses(*RULES)
@writes(_outputs, "output")
def train_recommender_command(
    context: typer.Context,
    output: Output = RUNS,
    data: DataOptions = EMBEDDED_DATA,
    histories: Histories = None,
    embeddings: Embeddings = None,
    tokenizer: Tokenizer = None,
    split: SplitOption = DEFAULT_SPLIT,
    architecture: Architecture = DEFAULT_ARCHITECTURE,
    valid_only: ValidOnly = CodeSequenceConfig.valid_only,
    prefix_embeddings: PrefixEmbeddings = RQTransformerConfig.prefix_embeddings,
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
    """Train a transformer to write the semantic ID of a user's next item.

    The IDs come from a tokenizer, or from a file (--ids), also another project's. What such a file
    does not say is inferred, and said on stderr.

    Histories larger than memory come from a file that pack-histories wrote (--histories), with
    --ids.

    Reports full-ranking Recall and NDCG on the validation targets beside popularity's; with the
    default split, leave-one-out, the validation target is each user's second-to-last item. Writes
    recommender.safetensors, and recommender-state.safetensors to resume from.
    """
    from rqvae_lib.checkpoints.models import save_recommender
    from rqvae_lib.cli.catalogue import card_of_tokenizer, catalogue_of, find_tokenizer
    from rqvae_lib.cli.common import (
        check_device,
        hold_out,
        load_data,
        origin_of,
        part_to_train_on,
    )
    from rqvae_lib.cli.ids_options import check_ids_file, ids_of_file
    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.io.locks import only_process_in
    from rqvae_lib.training.recipes import train_recommender

    path = output / RECOMMENDER_FILE

    def prepare() -> Prepared:
        check_device(device)
        ids = check_ids_file(context)
        transformer = TransformerConfig(dropout=dropout)
        shared = HistoryModelConfig(transformer, max_items, embedding_dropout)
        config = _config_of(architecture, shared, context)
        training = training_config(steps, batch_size, learning_rate, weight_decay, seed)
        check_state(path, training, resume=resume, force=context.params["force"])
        found = None if ids else find_tokenizer(tokenizer, embeddings, split, output)
        context.with_resource(only_process_in(output))
        dataset = load_data(data, histories)
        held_out = hold_out(dataset, split)
        if ids:
            catalogue, origin = ids_of_file(context, dataset).ids, {"ids": origin_of(ids)}
        else:
            assert isinstance(dataset, Dataset)  # --histories needs --ids
            catalogue = catalogue_of(found, seed, dataset, embeddings, device, held_out)
            origin = card_of_tokenizer(found, seed)
        return Prepared(
            (catalogue, part_to_train_on(held_out), config, training), held_out, dataset, origin
        )

    run_training(context, path, prepare, train_recommender, save_recommender)


def _config_of(
    name: ArchitectureName, shared: HistoryModelConfig, context: typer.Context
) -> HistoryModelConfig:
    """Return what an architecture's options ask for."""
    config, options = CONFIGS[name], context.params
    if issubclass(config, RQTransformerConfig):
        return config(**vars(shared), prefix_embeddings=options["prefix_embeddings"])
    return config(**vars(shared), valid_only=options["valid_only"])
