"""The command that trains a tokenizer.

Seen at work in: chapter 05.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.conflicts import SPLIT_OF_HISTORIES, OneOf, Useless, refuses
from rqvae_lib.cli.data_options import EMBEDDED_DATA, OPTION_NAMES, DataOptions, takes_data
from rqvae_lib.cli.options import (
    RQVAE_FILE,
    RUNS,
    CodebookSize,
    Compile,
    ContentOption,
    Device,
    Embeddings,
    Epochs,
    EstimatorOption,
    ItemsPerStep,
    LearningOption,
    LearningRate,
    Levels,
    Output,
    Patience,
    PrecisionOption,
    ResidualKMeans,
    Resume,
    RQVAESteps,
    ScheduleOption,
    Seed,
    Snapshots,
    SplitOption,
    StartFrom,
    VectorFolder,
)
from rqvae_lib.cli.outputs import (
    OutputFile,
    Writes,
    checkpoint_of,
    keeping_the_old,
    writes,
)
from rqvae_lib.cli.processes import shared_by_processes
from rqvae_lib.cli.tokenizer_vectors import (
    ROWS_PER_CODEWORD,
    load_start,
    of_dataset,
    of_folder,
    origin,
)
from rqvae_lib.cli.training_state import check_state, state_file, state_path
from rqvae_lib.data.names import DEFAULT_CONTENT, DEFAULT_SPLIT
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RQVAE_STEPS, RQVAE_TRAINING, EarlyStop, TrainingConfig

if TYPE_CHECKING:
    from torch import Tensor

    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.embeddings.item_vectors import ItemVectors
    from rqvae_lib.tokenizer.metrics import TokenizerMetrics
    from rqvae_lib.tokenizer.rqvae import RQVAE

# What residual k-means does not have: it is fitted, and not trained.
OF_A_TRAINING = (
    *("start_from", "steps", "epochs", "batch_size", "learning_rate", "schedule", "estimator"),
    *("learning", "patience", "snapshots", "precision", "compile_step", "resume", "device"),
)
RULES = (
    Useless(
        (*OPTION_NAMES, "embeddings", "content", "split"),
        lambda given: given["vectors"] is not None,
        "--vectors {vectors} holds the items",
    ),
    Useless(
        ("sample",), lambda given: given["vectors"] is None, "only a folder is sampled (--vectors)"
    ),
    OneOf(("vectors", "start_from")),
    Useless(
        OF_A_TRAINING,
        lambda given: given["residual_kmeans"],
        "--residual-kmeans is fitted and not trained",
    ),
    OneOf(("steps", "epochs")),
    SPLIT_OF_HISTORIES,
)

Sample = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="With --vectors: how many items to train on, drawn with --seed. By default "
        f"{ROWS_PER_CODEWORD} for each codeword of a level.",
        show_default=False,
    ),
]


def _outputs(given: Mapping[str, Any]) -> Writes:
    output, is_own = given["output"], checkpoint_of("rqvae")
    steps = _snapshot_steps(given["snapshots"])
    names = [RQVAE_FILE, *(_snapshot_file(step) for step in steps)]
    files = [OutputFile(output / name, "a tokenizer", is_own) for name in names]
    if not given["residual_kmeans"]:
        files.append(state_file(output / RQVAE_FILE))
    return Writes(tuple(files))


def _snapshot_file(step: int) -> str:
    return f"rqvae-{step}.safetensors"


@shared_by_processes
@takes_data
@refuses(*RULES)
@writes(_outputs, "output")
def train_rqvae_command(
    context: typer.Context,
    output: Output = RUNS,
    data: DataOptions = EMBEDDED_DATA,
    vectors: VectorFolder = None,
    sample: Sample = None,
    embeddings: Embeddings = None,
    content: ContentOption = DEFAULT_CONTENT,
    split: SplitOption = DEFAULT_SPLIT,
    residual_kmeans: ResidualKMeans = False,
    start_from: StartFrom = None,
    steps: RQVAESteps = None,
    epochs: Epochs = None,
    batch_size: ItemsPerStep = RQVAE_TRAINING.batch_size,
    learning_rate: LearningRate = RQVAE_TRAINING.learning_rate,
    schedule: ScheduleOption = RQVAE_TRAINING.schedule,
    levels: Levels = RQVAEConfig.num_levels,
    codebook_size: CodebookSize = RQVAEConfig.codebook_size,
    estimator: EstimatorOption = RQVAEConfig.estimator,
    learning: LearningOption = RQVAEConfig.learning,
    patience: Patience = None,
    snapshots: Snapshots = "",
    precision: PrecisionOption = RQVAE_TRAINING.precision,
    compile_step: Compile = False,
    seed: Seed = RQVAE_TRAINING.seed,
    device: Device = "cpu",
    resume: Resume = False,
) -> None:
    """Train an RQ-VAE on the items' vectors: the tokenizer.

    The items are those of a dataset, or a sample of a folder of vectors (--vectors), such as
    `assign` then reads whole. Writes rqvae.safetensors, and rqvae-state.safetensors to resume from.
    The progress bar shows the utilization and perplexity of the worst level: what falls when a
    codebook collapses.
    """
    from rqvae_lib.ops.world import current_world
    from rqvae_lib.training.recipes import train_rqvae
    from rqvae_lib.training.state import steps_of

    force, state = context.params["force"], state_path(output / RQVAE_FILE)
    world = current_world()
    run = world.in_first(lambda: _prepare(context, data))  # None in the others

    def fit_residual_kmeans() -> None:
        if run:
            run.fit_residual_kmeans(levels, codebook_size)

    if residual_kmeans:
        world.in_first(fit_residual_kmeans)
        return

    def save_snapshot(step: int, model: "RQVAE") -> None:
        if run:
            run.save(_snapshot_file(step), model, step)

    def save_and_report() -> None:
        if run:
            run.report(run.save(RQVAE_FILE, model, steps_of(state)))

    trained_on = world.from_first(lambda: run.trained_on if run else None)
    assert trained_on is not None
    item_vectors, config, training, start = trained_on
    model, _ = train_rqvae(
        item_vectors,
        config,
        training,
        start_from=start,
        snapshot=save_snapshot,
        device=device,
        state_path=state,
        resume=resume,
        overwrite=force and not resume,
    )
    world.in_first(save_and_report)


@dataclass(frozen=True)
class _Run:
    """What the first process, or the only one, has at hand when a training begins."""

    output: Path
    dataset: "Dataset | None"  # None: the vectors are of a folder
    vectors: "ItemVectors"
    config: RQVAEConfig | None  # None: that of the model to start from
    training: TrainingConfig
    start_from: "RQVAE | None"
    force: bool
    origin: Mapping[str, Any]  # for the card: the files that the model is made from

    @property
    def trained_on(self) -> "tuple[ItemVectors, RQVAEConfig | None, TrainingConfig, RQVAE | None]":
        """What all processes need to train along."""
        return self.vectors, self.config, self.training, self.start_from

    def fit_residual_kmeans(self, levels: int, codebook_size: int) -> None:
        """Fit R-KMeans, and write it."""
        from rqvae_lib.training.recipes import new_rqvae

        width = self.vectors.tensor.shape[1]
        config = RQVAEConfig.residual_kmeans(width, num_levels=levels, codebook_size=codebook_size)
        model = new_rqvae(self.vectors.tensor, config, seed=self.training.seed)
        self.report(self.save(RQVAE_FILE, model, 0))

    def save(self, name: str, model: "RQVAE", step: int) -> "TokenizerMetrics":
        """Write a model, and return what was measured of it."""
        from rqvae_lib.checkpoints.models import save_rqvae
        from rqvae_lib.cli.common import command_line
        from rqvae_lib.tokenizer.metrics import tokenizer_metrics

        metrics = tokenizer_metrics(model, self.vectors.tensor)
        with keeping_the_old(self.output / name, force=self.force):
            save_rqvae(
                self.output / name,
                model,
                self.dataset,
                self.vectors if self.dataset else None,
                command=command_line(),
                seed=self.training.seed,
                steps=step,
                metrics=asdict(metrics),
                **self.origin,
            )
        return metrics

    def report(self, metrics: "TokenizerMetrics") -> None:
        """Say what a tokenizer is like, and where it is."""
        for level in range(len(metrics.utilization)):
            typer.echo(
                f"Level {level + 1}: {metrics.utilization[level]:.1%} of codewords used, "
                f"perplexity {metrics.perplexity[level]:.0f}, residual norm "
                f"{metrics.residual_norms[level]:.2f} before and "
                f"{metrics.residual_norms[level + 1]:.2f} after."
            )
        items = "items" if self.dataset else "the sample's items"
        typer.echo(
            f"{metrics.collision_rate:.2%} of {items} share their codes with an earlier item."
        )
        typer.echo(f"{metrics.variance_lost:.1%} of the vectors' variance is lost.")
        typer.echo(f"Wrote {self.output / RQVAE_FILE}.")


def _prepare(context: typer.Context, data: DataOptions) -> _Run:
    """Check what was given, load the data, and take the folder for this training alone."""
    from rqvae_lib.cli import common
    from rqvae_lib.io.locks import only_process_in

    given = context.params
    output, embeddings, content = given["output"], given["embeddings"], given["content"]
    split, start_from, patience = given["split"], given["start_from"], given["patience"]
    common.check_device(given["device"])
    common.check_embeddings(embeddings, content)
    if given["compile_step"]:
        common.check_compiler()
    training = _training_config(
        given["steps"],
        given["epochs"],
        compile=given["compile_step"],
        snapshot_steps=_snapshot_steps(given["snapshots"]),
        early_stop=EarlyStop("variance_lost", patience, False) if patience else None,
        **{
            name: given[name]
            for name in ("batch_size", "learning_rate", "schedule", "precision", "seed")
        },
    )
    if not given["residual_kmeans"]:
        path, resume = output / RQVAE_FILE, given["resume"]
        check_state(path, training, resume=resume, force=given["force"])
    config = None
    if not start_from:
        config = RQVAEConfig(
            num_levels=given["levels"],
            **{name: given[name] for name in ("codebook_size", "estimator", "learning")},
        )
    started = load_start(start_from, content, split, context) if start_from else None
    context.with_resource(only_process_in(output))
    made_from = origin(start_from, embeddings)
    dataset = None
    if given["vectors"] is None:
        dataset, vectors = of_dataset(given, data, started)
    else:
        vectors, made_from["vector_folder"] = of_folder(given)
    _check_snapshots(training, vectors.tensor)
    config = config and replace(config, input_dim=vectors.tensor.shape[1])
    start = started.model if started else None
    return _Run(output, dataset, vectors, config, training, start, given["force"], made_from)


def _training_config(steps: int | None, epochs: float | None, **settings: Any) -> TrainingConfig:
    """Return the settings that the options ask for; refuse snapshots after the last step."""
    if steps is None and epochs is None:
        steps = RQVAE_STEPS
    training = replace(RQVAE_TRAINING, num_steps=steps, num_epochs=epochs, **settings)
    if steps is not None:  # else the number of items decides
        _check_snapshots(training)
    return training


def _snapshot_steps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise ValueError(
            f"--snapshots is {text!r}; expected numbers of steps with commas between them, such as "
            "1000,10000"
        ) from None


def _check_snapshots(training: TrainingConfig, vectors: "Tensor | None" = None) -> None:
    """Refuse snapshots after the last step; where epochs are counted, it depends on the items."""
    from rqvae_lib.data.batches import RowBatches

    steps_per_epoch = 0
    if vectors is not None:
        batches = RowBatches(vectors, batch_size=training.batch_size, seed=training.seed)
        steps_per_epoch = batches.steps_per_epoch
    training.check_snapshots(steps_per_epoch)
