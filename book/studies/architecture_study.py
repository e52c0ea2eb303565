"""What makes an RQ-Transformer's codes, and what does each way bring at a like number of weights?

    OMP_NUM_THREADS=1 python book/studies/architecture_study.py

writes notebooks/results/10_architectures.csv and 10_people.csv beside it, which chapter 10 shows.
All variants read one token a movie and choose each code among its siblings. They differ in what a
code's score knows of the codes before it:

- *context alone*: nothing, so a code has the same score after any prefix;
- *codes only* and *prefix vectors*: the library's two ways, in which person and prefix meet only in
  the last product; the second also once more, so *narrow* that it has no more weights than others;
- *context and codes*: a small network reads their sum;
- *depth transformer*: a transformer reads them one after another, as in Lee et al. (arXiv
  2203.01941, §3.2.2).

Each is trained with both of `TRIALS` on the leave-one-out split. The one with the better NDCG@10 on
the validation movies is trained with two more seeds and answers the test movies. Rows are written
as they come, so a run that was interrupted goes on where it stopped. It takes ten to twenty
minutes of one core.

10_architectures.csv has a row for each training, with the test columns empty where the other
setting was better. 10_people.csv names the people whose test movie was among ten recommendations,
and its rank.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.batches import PADDING, WindowBatches
from rqvae_lib.data.history_lists import as_histories
from rqvae_lib.data.splits import Split, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import Evaluation, evaluate
from rqvae_lib.models.base import draw_weights
from rqvae_lib.models.configs import (
    CodeSequenceConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import CodeSequenceRecommender
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.models.transformer import Transformer
from rqvae_lib.ops.ranges import segment_logsumexp
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.sibling_sets import sibling_sets
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.loop import train
from tables import Row, read_rows, write_rows

DATASET = "movielens-small-2016"
RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
SEEDS = (0, 1, 2)
STEPS = 1000
TOP = 10
USERS = 16  # whose scores are computed at a time


@dataclass(frozen=True)
class Trial:
    learning_rate: float
    weight_decay: float


# The settings of the shipped models, and those that were best for the RQ-Transformer and SASRec.
TRIALS = (Trial(3e-3, 0.1), Trial(5e-3, 1.0))

Depth = Literal["nothing", "network", "transformer"]


@dataclass(frozen=True)
class DepthConfig(CodeSequenceConfig):
    """A model that reads a token an item, and then the codes of one item.

    Here, `valid_only` is always true.
    """

    depth: Depth = "transformer"


class DepthRecommender(CodeSequenceRecommender):
    """Reads one token per item; makes the output before each code from context and codes.

    Args:
        config: the architecture.
        ids: the catalogue.
    """

    def __init__(self, config: DepthConfig, ids: SemanticIDs) -> None:
        super().__init__(replace(config, valid_only=True), ids)
        self.depth = config.depth
        size = config.transformer
        self.transformer = Transformer(size)
        if self.depth == "transformer":
            self.inner = nn.ModuleList([Transformer(replace(size, num_layers=1))])
        else:
            self.inner = nn.ModuleList(
                [
                    nn.Linear(size.dim, 2 * size.dim),
                    nn.GELU(),
                    nn.Linear(2 * size.dim, size.dim),
                    nn.LayerNorm(size.dim),
                ]
            )
        for level, choices in enumerate(sibling_sets(self.trie)):
            for name, value in choices._asdict().items():
                self.register_buffer(f"choices_{level}_{name}", value, persistent=False)
        draw_weights(self)

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of an item, as `DecoderOnly.loss`."""
        real = items != PADDING  # (B, T)
        context = self.transformer(self.dropout(self._tokens(items[:, :-1])))[real]  # (M, D)
        targets = items[real]  # (M,)
        steps = self._steps(targets)[:, :-1]  # (M, L − 1, D)
        return self.nll(self._outputs(context, steps), targets)

    @torch.no_grad()
    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the exact log p(item | history) of every item for each user: (B, N)."""
        parts = [
            self._scores(as_histories(histories[start : start + USERS]))
            for start in range(0, len(histories), USERS)
        ]
        return torch.cat(parts)

    def _scores(self, histories: Sequence[Tensor]) -> Tensor:
        items, lengths = self.pad_histories(histories)
        hidden = self.transformer(self._tokens(items))  # (B, 1 + T, D)
        context = hidden[torch.arange(len(items)), lengths]  # (B, D)
        total: Tensor = hidden.new_zeros(len(histories), len(self.semantic_ids))  # (B, N)
        for level in range(len(self.sizes)):
            item = self.get_buffer(f"choices_{level}_item")  # (C,)
            if not len(item):
                continue
            set_of = self.get_buffer(f"choices_{level}_set_of")
            first = self.get_buffer(f"choices_{level}_first")
            of_item = self.get_buffer(f"choices_{level}_of_item")
            steps = self._steps(item[first[:-1]])[:, :level]  # (G, level, D), of each set's prefix
            sets = len(first) - 1
            pairs = context[:, None].expand(-1, sets, -1).flatten(0, 1)  # (B · G, D)
            ways = steps.expand(len(histories), -1, -1, -1).flatten(0, 1)
            outputs = self._outputs(pairs, ways)[:, level]  # (B · G, D)
            outputs = outputs.view(len(histories), sets, -1)
            logits = self._level_logits(outputs, level)  # (B, G, size), of all codes
            logits = logits[:, set_of, self.semantic_ids[item, level]]  # (B, C)
            of_sets = segment_logsumexp(logits.T, set_of, sets).T  # (B, G)
            log_p = logits - of_sets[:, set_of]  # (B, C)
            total += torch.nn.functional.pad(log_p, (0, 1))[:, of_item]  # −1: no choice, no cost
        return total

    def _tokens(self, items: Tensor) -> Tensor:
        """Turn rows of items (B, T) into tokens (B, 1 + T, D), the start first."""
        known = self.semantic_ids[items.clamp(min=0)] + self.offsets  # (B, T, L)
        vectors: Tensor = self.code_embedding(known).sum(2)  # (B, T, D)
        vectors = vectors + self.item_position.weight[: items.shape[1]]
        return torch.cat([self.start.expand(len(items), 1, -1), vectors], 1)

    def _steps(self, items: Tensor) -> Tensor:
        """Return the sum of the vectors of each item's first 1, 2, … L codes: (M, L, D)."""
        vectors: Tensor = self.code_embedding(self.semantic_ids[items] + self.offsets)
        return vectors.cumsum(1)

    def _outputs(self, context: Tensor, steps: Tensor) -> Tensor:
        """Return the output before each code.

        Args:
            context: shape (M, D).
            steps: shape (M, l, D), as `_steps`, of the codes that are known.

        Returns:
            shape (M, l + 1, D).
        """
        places = self.level_position.weight[: steps.shape[1] + 1]
        if self.depth == "transformer":
            outputs: Tensor = self.inner[0](torch.cat([context[:, None], steps], 1) + places)
            return outputs
        known = torch.nn.functional.pad(steps, (0, 0, 1, 0))  # before the first code: nothing
        both = context[:, None].expand_as(known)
        if self.depth == "network":
            both = both + known
        first, activation, second, norm = self.inner
        made: Tensor = norm(both + second(activation(first(both + places))))
        return made


NARROW = TransformerConfig(dim=16, num_heads=4, mlp_dim=64)
VARIANTS: dict[str, HistoryModelConfig] = {
    "context alone": DepthConfig(depth="nothing"),
    "codes only": RQTransformerConfig(prefix_embeddings=False),
    "prefix vectors, narrow": RQTransformerConfig(transformer=NARROW),
    "context and codes": DepthConfig(depth="network"),
    "depth transformer": DepthConfig(depth="transformer"),
    "prefix vectors": RQTransformerConfig(),
}
COLUMNS = (
    "variant",
    "seed",
    "learning_rate",
    "weight_decay",
    "parameters",
    "step_ms",  # processor time of a training step; the shipped table's machine was busy otherwise
    "validation_recall",
    "validation_ndcg",
    "test_recall",
    "test_ndcg",
)
PEOPLE_COLUMNS = ("variant", "seed", "person", "rank")


def new_model(config: HistoryModelConfig, ids: SemanticIDs) -> DepthRecommender | RQTransformer:
    """Return an untrained model."""
    if isinstance(config, DepthConfig):
        return DepthRecommender(config, ids)
    model = new_recommender(config, ids)
    assert isinstance(model, RQTransformer)
    return model


def train_variant(
    config: HistoryModelConfig, trial: Trial, ids: SemanticIDs, split: Split, seed: int, steps: int
) -> tuple[DepthRecommender | RQTransformer, float]:
    """Train a model; return it in evaluation mode, and the seconds of processor time."""
    training = TrainingConfig(
        num_steps=steps,
        batch_size=16,
        learning_rate=trial.learning_rate,
        weight_decay=trial.weight_decay,
        warmup_steps=50,
        seed=seed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_model(config, ids)
    batches = WindowBatches(split.train, max_items=config.max_items, batch_size=16, seed=seed)
    started = time.process_time()
    train(model, model.loss, batches, training, progress=False)
    return model.eval(), time.process_time() - started


def means(evaluation: Evaluation, part: str) -> Row:
    """Return the columns of a part, validation or test."""
    return {
        f"{part}_{metric.lower()}": f"{float(evaluation.of_people(metric, TOP).mean()):.5f}"
        for metric in ("Recall", "NDCG")
    }


def people_of(name: str, seed: int, evaluation: Evaluation) -> list[Row]:
    """Return a row for each person whose movie was found; persons are numbered as targets are."""
    found = (evaluation.ranks <= TOP).nonzero()[:, 0].tolist()
    return [
        dict(
            zip(
                PEOPLE_COLUMNS,
                (name, str(seed), str(person), str(int(evaluation.ranks[person]))),
                strict=True,
            )
        )
        for person in found
    ]


def row_of(
    name: str, trial: Trial, seed: int, ids: SemanticIDs, split: Split, *, steps: int = STEPS
) -> tuple[Row, DepthRecommender | RQTransformer]:
    """Train a variant; return its row, without the test columns, and the model."""
    model, seconds = train_variant(VARIANTS[name], trial, ids, split, seed, steps)
    about = {
        "variant": name,
        "seed": str(seed),
        "learning_rate": str(trial.learning_rate),
        "weight_decay": str(trial.weight_decay),
        "parameters": str(sum(parameter.numel() for parameter in model.parameters())),
        "step_ms": f"{1000 * seconds / steps:.1f}",
    }
    row = dict.fromkeys(COLUMNS, "") | about
    return row | means(evaluate(model, split, split.validation), "validation"), model


def measure(
    name: str, ids: SemanticIDs, split: Split, *, seeds: Sequence[int] = SEEDS, steps: int = STEPS
) -> tuple[list[Row], list[Row]]:
    """Try both settings of a variant, train the better one with all seeds; return both tables."""
    tried = [row_of(name, trial, seeds[0], ids, split, steps=steps) for trial in TRIALS]
    best = max(range(len(TRIALS)), key=lambda number: float(tried[number][0]["validation_ndcg"]))
    rows = [row for number, (row, _) in enumerate(tried) if number != best]
    people: list[Row] = []
    for seed in seeds:
        first = seed == seeds[0]
        row, model = (
            tried[best] if first else row_of(name, TRIALS[best], seed, ids, split, steps=steps)
        )
        evaluation = evaluate(model, split, split.test)
        rows.append(row | means(evaluation, "test"))
        people += people_of(name, seed, evaluation)
    return rows, people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    tables = options.output / "10_architectures.csv", options.output / "10_people.csv"
    ids = load_recommender(DATASET)[0].ids
    split = leave_one_out(load_dataset(DATASET))
    order = list(VARIANTS)
    for name in options.variants:
        rows, people = read_rows(tables[0], COLUMNS), read_rows(tables[1], PEOPLE_COLUMNS)
        if any(row["variant"] == name for row in rows):
            continue
        new_rows, new_people = measure(name, ids, split)
        # The people first: a variant counts as done once its rows stand in the other table.
        people = [row for row in people if row["variant"] != name] + new_people
        for path, columns, of in (
            (tables[1], PEOPLE_COLUMNS, people),
            (tables[0], COLUMNS, rows + new_rows),
        ):
            write_rows(path, columns, sorted(of, key=lambda row: order.index(row["variant"])))
        for row in new_rows:
            print(", ".join(row.values()), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
