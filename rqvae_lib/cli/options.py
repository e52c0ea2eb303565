"""The options that commands share. Defaults are not here: they stand with what they belong to.

A command's file imports at its top only what its options need, and what does the work inside the
command, so `rqvae-lib --help` answers without loading torch.

Seen at work in: chapter 00.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.data.names import EMBEDDED, Content, SplitName
from rqvae_lib.models.configs import ArchitectureName
from rqvae_lib.ops.engines import Engine
from rqvae_lib.tokenizer.config import Estimator, Learning, RQVAEConfig
from rqvae_lib.training.config import (
    LARGEST_SEED,
    RQVAE_STEPS,
    RQVAE_TRAINING,
    Precision,
    Schedule,
)

DATASET = EMBEDDED[0]
RUNS = Path("runs")
RQVAE_FILE, RECOMMENDER_FILE, SASREC_FILE = (
    f"{what}.safetensors" for what in ("rqvae", "recommender", "sasrec")
)


def adding(
    options: Mapping[str, tuple[Any, Any]], command: Callable[..., None]
) -> Callable[..., None]:
    """Give a command options that it does not have as parameters: its context's `params` has them.

    Args:
        options: by the parameter's name, what it is and its default.
        command: the command.
    """
    own = inspect.signature(command)
    added = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    @wraps(command)
    def without_them(**given: Any) -> None:
        command(**{name: value for name, value in given.items() if name not in options})

    without_them.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *added]
    )
    without_them.__annotations__ = command.__annotations__ | {
        name: annotation for name, (annotation, _) in options.items()
    }
    return without_them


def number(
    help: str,
    *,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Return an option for a number, with its range in the help. Typer's have no open ranges.

    Args:
        help: what the option does; the range is added to it.
        min, max: the smallest and the largest number.
        above, below: numbers that it must not reach.
    """
    low = [f"at least {min:g}"] if min is not None else []
    low += [f"above {above:g}"] if above is not None else []
    high = [f"at most {max:g}"] if max is not None else []
    high += [f"below {below:g}"] if below is not None else []
    words = " and ".join([*low, *high])

    def check(parameter: typer.CallbackParam, value: float | None) -> float | None:
        if value is not None and (
            (min is not None and not value >= min)
            or (max is not None and not value <= max)
            or (above is not None and not value > above)
            or (below is not None and not value < below)
        ):
            raise ValueError(f"{parameter.opts[0]} is {value:g}; it must be {words}")
        return value

    return typer.Option(help=f"{help} ({words})", callback=check)


# The data, beside those of `data_options`

SplitOption = Annotated[
    SplitName,
    typer.Option(
        "--split",
        help="What is held out: each user's last item ('leave-one-out') or last ten ('last-ten') "
        "for testing and as many before for validation, or the latest fifth of all interactions "
        "('timestamp').",
    ),
]
Embeddings = Annotated[
    Path | None,
    typer.Option(
        help="Embeddings of the items' texts, as written by `rqvae-lib embed`, or your own as "
        ".npy with one row per item. The embedded dataset has its own.",
        show_default=False,
    ),
]
FOLDER_OF_VECTORS = (
    "A folder of .parquet files with the columns item_id (whole numbers or text) and vector "
    "(fixed-size lists of float16 or float32)"
)
VectorFolder = Annotated[
    Path | None,
    typer.Option(
        help=f"{FOLDER_OF_VECTORS}. The tokenizer is trained on a sample of it, instead of on a "
        "dataset.",
        metavar="FOLDER",
        show_default=False,
    ),
]
ContentOption = Annotated[
    Content,
    typer.Option(
        "--content",
        help="What the codes are made from: 'text', 'collaborative' (who chose what, in the "
        "training part of the histories) or 'both'.",
    ),
]

# The tokenizer

Levels = Annotated[int, typer.Option(min=1, help="Codes per semantic ID.")]
CodebookSize = Annotated[
    int, typer.Option(min=1, help="Codewords per level, at most as many as there are items.")
]
EstimatorOption = Annotated[
    Estimator,
    typer.Option("--estimator", help="How gradients pass through the choice of codewords."),
]
LearningOption = Annotated[
    Learning,
    typer.Option(
        "--learning",
        help="How codewords learn: moving averages, or gradients ('gumbel' needs them).",
    ),
]
ResidualKMeans = Annotated[
    bool,
    typer.Option(
        "--residual-kmeans", help="No autoencoder: residual k-means, which needs no training."
    ),
]
StartFrom = Annotated[
    str | None,
    typer.Option(
        help="Continue from a trained RQ-VAE: 'pretrained' (shipped) or a file. It keeps the "
        "standardization that it was trained with."
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="'pretrained' (shipped), 'random' (untrained weights, k-means codebooks of "
        f"{RQVAEConfig.codebook_size} codewords, or as many as there are items) or an RQ-VAE "
        f"checkpoint. Default: {RUNS / RQVAE_FILE} if it exists, else 'pretrained'.",
        show_default=False,
    ),
]

# The recommender

Architecture = Annotated[
    ArchitectureName,
    typer.Option(
        help="'decoder-only': one transformer over codes. 'encoder-decoder': TIGER's. "
        "'rq-transformer': one transformer over items, with small networks over codes."
    ),
]
ValidOnly = Annotated[
    bool,
    typer.Option(
        "--valid-only", help="Learn to choose among the codes that lead to an item, not all codes."
    ),
]
PrefixEmbeddings = Annotated[
    bool,
    typer.Option(help="rq-transformer only: learn a vector for each prefix that has siblings."),
]
Dropout = Annotated[float, number("Share of each block's output that is dropped.", min=0, below=1)]
EmbeddingDropout = Annotated[
    float, number("Share of the input vectors that is dropped.", min=0, below=1)
]
MaxItems = Annotated[int, typer.Option(min=2, help="Items per training window.")]
Half = Annotated[
    bool,
    typer.Option("--half", help="Save the weights as float16: half the size, slightly rounded."),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="'pretrained' (shipped) or a recommender's checkpoint. "
        f"Default: {RUNS / RECOMMENDER_FILE} if it exists, else 'pretrained'.",
        show_default=False,
    ),
]

# The training

Steps = Annotated[int, typer.Option(min=1, help="Optimizer steps per training.")]
RQVAESteps = Annotated[
    int | None, typer.Option(min=1, help=f"Optimizer steps; {RQVAE_STEPS} by default.")
]
Epochs = Annotated[float | None, number("Passes over the items, instead of --steps.", above=0)]
ItemsPerStep = Annotated[int, typer.Option("--batch-size", min=1, help="Items per step.")]
WindowsPerStep = Annotated[
    int, typer.Option("--batch-size", min=1, help="Windows of users' histories per step.")
]
LearningRate = Annotated[float, typer.Option(min=0.0, help="Peak learning rate.")]
WeightDecay = Annotated[float, typer.Option(min=0.0, help="Weight decay of AdamW, on matrices.")]
ScheduleOption = Annotated[
    Schedule, typer.Option("--schedule", help="How the learning rate changes after the warm-up.")
]
Patience = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Stop after this many measurements without improvement in the variance lost (one "
        f"measurement every {RQVAE_TRAINING.measure_every} steps), and keep the best weights.",
    ),
]
Snapshots = Annotated[
    str, typer.Option(help="Also write the model after these steps, as in 1000,10000.")
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision", help="'bfloat16' runs the autoencoder in 16 bits: faster, less exact."
    ),
]
Compile = Annotated[
    bool,
    typer.Option("--compile", help="Compile the training step; worthwhile for long trainings."),
]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        max=LARGEST_SEED,
        help="Seed for everything random: same seed, same result (on a CPU).",
    ),
]

# Where

Histories = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file of pack-histories, in place of data that are read into memory.",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Option(help="Folder for the results; created if needed.")]
OutputTable = Annotated[Path | None, typer.Option(help="Also write the table, as .csv.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps, …")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue an interrupted training, bit for bit (on a CPU)."),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="'process': this process, one file after another. 'ray': actors of Ray Data (extra "
        "`scale`), on a cluster that runs, or on this machine.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="ray only: the number of actors; by default one for each CPU."),
]
