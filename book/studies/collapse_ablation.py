"""Which remedy keeps an RQ-VAE's codebooks from collapsing? Leave some out, and try some alone.

    OMP_NUM_THREADS=1 python book/studies/collapse_ablation.py

writes notebooks/results/05_collapse.csv, which chapter 05 shows: `VARIANTS`, three seeds each, 500
steps in all. Rows are written as they come, and a row that is there is kept as long as its variant
is what it was, so a run that was interrupted goes on where it stopped, and a new variant costs its
own rows only; no row depends on another. All take about a quarter of an hour on one free core.

The recipe of `rqvae_lib` has six parts that could be what prevents a collapse (`REMEDIES`). The
variants are all six, none of them, all but one or two, and one or a few alone. They are put
together from the library's parts and differ in nothing else: the weights and batches of a seed are
the same.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from rqvae_lib.data.batches import RowBatches
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.loop import train
from tables import Row, read_rows, write_rows

RESULTS = Path(__file__).parents[2] / "notebooks" / "results" / "05_collapse.csv"
SEEDS = (0, 1, 2)
STEPS = 500  # in all, the autoencoder's own included
BATCH_SIZE = 256


@dataclass(frozen=True)
class Recipe:
    """What is done against a collapse; each True of a remedy is what `train_rqvae` does."""

    pretrain: bool  # the autoencoder has three in ten of the steps alone; else none
    kmeans: bool  # then codewords start at the centres of k-means; else at random
    reset: bool  # a dead codeword is moved onto a row; else it stays dead
    average: bool  # codewords follow moving averages; else they learn by gradient
    loss_sum: bool  # reconstruction errors are summed over features; else averaged
    standardise: bool  # features have mean 0 and spread 1; else they are left as they are
    # No remedy: the quantization loss is averaged over latent features, not summed.
    quantization_mean: bool = False


REMEDIES = tuple(field.name for field in fields(Recipe) if field.name != "quantization_mean")
FULL = Recipe(*(True for _ in REMEDIES))
BARE = Recipe(*(False for _ in REMEDIES))


def without(*names: str) -> dict[str, Recipe]:
    """Return the variant that leaves these remedies out, under its name."""
    return {f"without {'+'.join(names)}": replace(FULL, **dict.fromkeys(names, False))}


def only(*names: str) -> dict[str, Recipe]:
    """Return the variant that has these remedies alone, under its name."""
    return {f"only {'+'.join(names)}": replace(BARE, **dict.fromkeys(names, True))}


VARIANTS = {
    "all": FULL,
    **without("pretrain"),
    **without("kmeans"),
    **without("pretrain", "kmeans"),
    **without("reset"),
    **without("pretrain", "kmeans", "reset"),
    **without("average"),
    **without("reset", "average"),
    **without("loss_sum"),
    "both losses averaged": replace(FULL, loss_sum=False, quantization_mean=True),
    **without("standardise"),
    **without("loss_sum", "standardise"),
    "none": BARE,
    **only("pretrain"),
    **only("kmeans"),
    **only("pretrain", "kmeans"),
    **only("reset"),
    **only("average"),
    **only("loss_sum"),
    **only("standardise"),
    **only("loss_sum", "standardise"),
}
COLUMNS = (
    "variant",
    "seed",
    "steps",
    *(field.name for field in fields(Recipe)),
    *(f"used_{level}" for level in (1, 2, 3)),
    *(f"perplexity_{level}" for level in (1, 2, 3)),
    "collision_rate",
    "variance_lost",
)


def config_of(recipe: Recipe, input_dim: int) -> RQVAEConfig:
    """Return the library's settings, changed where the recipe says so."""
    return RQVAEConfig(
        input_dim,
        learning="average" if recipe.average else "gradient",
        dead_after=RQVAEConfig.dead_after if recipe.reset else 0,
    )


def start_codebooks(model: RQVAE, recipe: Recipe, embeddings: Tensor, seed: int) -> None:
    """Start the codebooks where the recipe says; at random means where the constructor put them."""
    if recipe.kmeans:
        model.init_codebooks(embeddings, generator=torch.Generator().manual_seed(seed))
        return
    quantizer = model.quantizer
    if recipe.average:  # as `init_codebooks` does, for codewords that stand elsewhere
        quantizer.rows_average.fill_(1.0)
        quantizer.sum_average.copy_(quantizer.codebooks)
    quantizer.initialized.fill_(True)


def new_model(recipe: Recipe, embeddings: Tensor, seed: int) -> RQVAE:
    """Return an untrained model. Its mean 0 and spread 1 stay where inputs are left as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RQVAE(config_of(recipe, embeddings.shape[1]))
    if recipe.standardise:
        model.fit_standardization(embeddings)
    return model


def losses(
    model: RQVAE, recipe: Recipe
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the loss of the autoencoder alone and that of the whole, both of a batch."""
    share = 1.0 if recipe.loss_sum else 1 / model.config.input_dim
    quantization_share = 1 / model.config.latent_dim if recipe.quantization_mean else 1.0

    def alone(batch: Tensor) -> Tensor:
        return share * model.autoencoder_loss(batch)

    def together(batch: Tensor) -> Tensor:
        output = model(batch)
        return share * output.reconstruction_loss + quantization_share * output.quantization_loss

    return alone, together


def train_variant(recipe: Recipe, embeddings: Tensor, *, seed: int, steps: int = STEPS) -> RQVAE:
    """Train one variant.

    Args:
        recipe: which remedies it has.
        embeddings: shape (N, D), float32.
        seed: of weights, k-means, batches and resets.
        steps: in all, at least 4. With `pretrain`, the autoencoder has three in ten of them alone.

    Returns:
        The model, in evaluation mode.
    """
    model = new_model(recipe, embeddings, seed)
    batches = RowBatches(embeddings, batch_size=BATCH_SIZE, seed=seed)
    training = TrainingConfig(num_steps=steps, batch_size=BATCH_SIZE, seed=seed)
    alone, together = losses(model, recipe)
    if recipe.pretrain:
        steps_alone = steps * 3 // 10
        first = replace(training, num_steps=steps_alone, schedule="constant")
        train(model, alone, batches, first, progress=False)
        training = replace(training, num_steps=steps - steps_alone)
    start_codebooks(model, recipe, embeddings, seed)
    train(model, together, batches, training, progress=False)
    return model


@torch.no_grad()
def variance_lost(model: RQVAE, embeddings: Tensor) -> float:
    """Return the share of variance lost, of standardised features whatever the model reads.

    `RQVAE.variance_lost` measures in the model's own units, which differ between variants.
    """
    rebuilt = model.decoder(model.quantizer.decode(model.assign(embeddings)))
    rebuilt = rebuilt * model.std + model.mean  # in the units of the embeddings
    scale = new_model(FULL, embeddings, seed=0)  # standardises, whatever the variant does
    x = scale.standardize(embeddings)
    return float((scale.standardize(rebuilt) - x).square().sum() / x.square().sum())


def row_of(name: str, seed: int, embeddings: Tensor, *, steps: int = STEPS) -> Row:
    """Train a variant and return its row of the table."""
    recipe = VARIANTS[name]
    model = train_variant(recipe, embeddings, seed=seed, steps=steps)
    found = tokenizer_metrics(model, embeddings)
    numbers = [
        *found.utilization,
        *found.perplexity,
        found.collision_rate,
        variance_lost(model, embeddings),
    ]
    flags = flags_of(recipe).values()
    values = [name, str(seed), str(steps), *flags, *(f"{number:.4g}" for number in numbers)]
    return dict(zip(COLUMNS, values, strict=True))


def flags_of(recipe: Recipe) -> Row:
    """Return the recipe as its columns hold it: 1 for what it has, 0 for what it lacks."""
    return {name: str(int(value)) for name, value in asdict(recipe).items()}


def is_current(row: Row, steps: int) -> bool:
    """Whether a row is of a variant that still is what it was, and of this number of steps."""
    recipe = VARIANTS.get(row["variant"])
    return (
        row["steps"] == str(steps)
        and recipe is not None
        and flags_of(recipe).items() <= row.items()
    )


def current_rows(path: Path, steps: int) -> dict[tuple[str, int], Row]:
    """Return the rows there are, by variant and seed, that need not be computed again."""
    rows = [row for row in read_rows(path, COLUMNS) if is_current(row, steps)]
    return {(row["variant"], int(row["seed"])): row for row in rows}


def in_order(rows: dict[tuple[str, int], Row]) -> list[Row]:
    """Return the rows in the order of the variants, then of the seeds."""
    order = list(VARIANTS)
    return [rows[key] for key in sorted(rows, key=lambda key: (order.index(key[0]), key[1]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="in all, for each variant and seed"
    )
    options = parser.parse_args()
    embeddings = load_embeddings()
    rows = current_rows(options.output, options.steps)
    for seed in SEEDS:
        for name in VARIANTS:
            if (name, seed) in rows:
                continue
            rows[name, seed] = row_of(name, seed, embeddings, steps=options.steps)
            write_rows(options.output, COLUMNS, in_order(rows))
            shown = ", ".join(f"{key} {rows[name, seed][key]}" for key in COLUMNS[-8:])
            print(f"{name}, seed {seed}: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
