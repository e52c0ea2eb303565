"""What may a code know? RQ-Transformers that differ in what a code is predicted from, and rivals.

    OMP_NUM_THREADS=1 python book/studies/architecture_study.py

writes notebooks/results/10_architectures.csv and 10_people.csv beside it, which chapter 10 shows:
eight models, three seeds each, trained on the leave-one-out split with the same settings and the
same number of steps, on the shipped catalogue of IDs. Nothing is tuned. All of them have a softmax
over the codes that may come next. Six read a history as an RQ-Transformer does, one token a movie.

- context alone: every code from the context, which is the history's vector
- codes alone: the first code from the context, each later one from the codes before it
- context + codes: from the sum of the context and the vectors of the codes before
- depth transformer: from the same two by attention, as in Lee et al., arXiv 2203.01941, §3.2
- prefix vectors, narrow: the library's model, a vector for every prefix, with 16 numbers in each
- prefix vectors: the same with the library's 64 numbers, and so with four times the parameters

The last two also add the prefixes' vectors to the tokens that they read, where the others have the
codes' vectors only. Two models read every code of a history: "decoder-only" and "encoder-decoder".
All but "prefix vectors" have about equally many parameters.

10_architectures.csv has a row for each training, with the metrics of 11_comparison.csv and, in
`nats_1` to `nats_4`, the mean −log p of the codes of the test targets, each given the codes before
it. Rankings are exact; the models that read every code are searched with 50 beams. 10_people.csv
has Recall@10 and NDCG@10 of each person who has any. Rows are written as they come, so a run that
was interrupted goes on where it stopped; `--models` and `--seeds` name a part of the work. All of
it takes about half an hour of one idle core.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from comparison_study import COLUMNS as COMPARISON_COLUMNS
from comparison_study import PEOPLE_COLUMNS, RESULTS, people_of, row_of
from decoder_study import level_losses
from rqvae_lib.data.batches import PADDING, WindowBatches
from rqvae_lib.data.splits import Histories, Split, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.models.base import (
    HistoryModel,
    Recommender,
    ScoresItems,
    draw_weights,
    pad_histories,
)
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.transformer import Transformer
from rqvae_lib.ops.cross_entropy import grouped_cross_entropy
from rqvae_lib.ops.ranges import segment_logsumexp
from rqvae_lib.ops.rows import row_sums, take_rows, true_rows
from rqvae_lib.ops.shares import Dropout
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.sibling_sets import sibling_sets
from rqvae_lib.semantic_ids.trie import Trie
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.loop import train
from studied_models import BATCH_SIZE, DATASET, DECODER, ENCODER_DECODER, shipped_ids
from tables import Row, read_rows, replace_rows, rows_of

SEEDS = (0, 1, 2)
# The first of the settings that chapter 11 tries, with a third of their steps.
TRAINING = TrainingConfig(
    num_steps=1000,
    batch_size=16,
    learning_rate=3e-3,
    weight_decay=0.1,
    warmup_steps=50,
)
LEVELS = (1, 2, 3, 4)
COLUMNS = (*COMPARISON_COLUMNS, *(f"nats_{level}" for level in LEVELS))
HIDDEN = 256  # numbers in the hidden layer of a chooser's network


class Chooser(nn.Module):
    """Says what is asked for at a level, from what a code may know.

    Args:
        dim: D, numbers in a vector.
        hidden: the width of the network's hidden layer.
    """

    def __init__(self, dim: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.norm = nn.LayerNorm(dim)

    def known(self, context: Tensor, before: Tensor) -> Tensor:
        """Return what the network reads, (M, D); the arguments are those of `forward`."""
        raise NotImplementedError

    def forward(self, context: Tensor, before: Tensor, places: Tensor) -> Tensor:
        """Return the vector with which the codes of a level are compared, (M, D).

        Args:
            context: shape (M, D), of the history.
            before: shape (M, ℓ, D), the vectors of the codes before; ℓ may be 0.
            places: shape (L, D), a vector for each level.
        """
        known = self.known(context, before)
        asked: Tensor = self.norm(known + self.network(known + places[before.shape[1]]))
        return asked


class ContextAlone(Chooser):
    def known(self, context: Tensor, before: Tensor) -> Tensor:
        return context


class CodesAlone(Chooser):
    def known(self, context: Tensor, before: Tensor) -> Tensor:
        return before.sum(1) if before.shape[1] else context


class ContextAndCodes(Chooser):
    def known(self, context: Tensor, before: Tensor) -> Tensor:
        return context + before.sum(1)


class DepthTransformer(nn.Module):
    """A causal transformer over the levels: the context, then the codes so far, added up.

    Args:
        dim: D, numbers in a vector.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        # A block, as large as the other choosers' network.
        self.transformer = Transformer(
            TransformerConfig(dim=dim, num_layers=1, mlp_dim=HIDDEN // 2)
        )

    def forward(self, context: Tensor, before: Tensor, places: Tensor) -> Tensor:
        """Return the vector with which the codes of a level are compared, as `Chooser.forward`."""
        tokens = torch.cat([context[:, None], before.cumsum(1)], 1)  # (M, ℓ + 1, D)
        outputs: Tensor = self.transformer(tokens + places[: tokens.shape[1]])
        return outputs[:, -1]


class CodeByCode(HistoryModel):
    """A transformer over items, one token each, and a chooser of the next item's codes.

    The score of a code is the dot product of its vector with what the chooser says. The softmax is
    over the codes that may come next.

    Args:
        config: the size of the transformer over items.
        ids: the catalogue.
        new_chooser: makes the chooser for vectors of D numbers.
    """

    code_rows: Tensor  # (N, L) int64, the rows of each item's codes in `code_embedding`

    def __init__(
        self, config: HistoryModelConfig, ids: SemanticIDs, new_chooser: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.config = config
        dim, sizes = config.transformer.dim, ids.sizes
        starts = torch.tensor(list(accumulate(sizes, initial=0))[:-1])
        self.register_buffer("code_rows", ids.ids + starts)
        self.levels = sibling_sets(Trie(ids))
        self.code_embedding = nn.Embedding(sum(sizes), dim)
        self.start = nn.Parameter(torch.zeros(dim))  # the token before the first item
        self.item_position = nn.Embedding(config.max_items, dim)
        self.level_position = nn.Embedding(len(sizes), dim)
        self.dropout = Dropout(config.embedding_dropout)
        self.transformer = Transformer(config.transformer)
        self.chooser = new_chooser(dim)
        draw_weights(self)

    def loss(self, items: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of an item, as `RQTransformer.loss`."""
        real = items != PADDING  # (B, T)
        hidden = self.transformer(self.dropout(self._embed(items[:, :-1])))  # (B, T, D)
        hidden = true_rows(hidden.flatten(0, 1), real.flatten())  # (M, D)
        targets = items[real]  # (M,)
        total = 0 * hidden.sum()
        for level, choices in enumerate(self.levels):
            chosen = choices.of_item[targets]  # (M,)
            is_choice = chosen >= 0
            if is_choice.any():
                chosen = chosen[is_choice]
                asked = self._asked(hidden[is_choice], targets[is_choice], level)
                vectors = self._vectors(choices.item, level)  # (C, D)
                group = choices.set_of[chosen]
                total = total + grouped_cross_entropy(
                    asked, vectors, None, chosen, group, choices.first
                )
        mean: Tensor = total / len(targets)
        return mean

    @torch.no_grad()
    def scores(self, histories: Sequence[Tensor]) -> Tensor:
        """Return the exact log p(item | history) of every item, (B, N), as `RQTransformer.scores`.

        What is asked for may depend on the history and on the codes before, so it is computed anew
        for each person and each set of siblings.
        """
        items, lengths = pad_histories(histories, self.config.max_items, self.start.device)
        outputs = self.transformer(self._embed(items))  # (B, 1 + T, D)
        context = outputs[torch.arange(len(items)), lengths]  # (B, D)
        total = context.new_zeros(len(self.code_rows), len(items))  # (N, B)
        for level, choices in enumerate(self.levels):
            if not len(choices.item):
                continue
            some = choices.item[choices.first[:-1]]  # (G,), an item of each set
            asked = self._asked(
                context.repeat_interleave(len(some), 0), some.repeat(len(items)), level
            )
            table, codes = self.code_rows[choices.item, level].unique(return_inverse=True)
            products = asked @ self.code_embedding.weight[table].T  # (B·G, codes)
            of_users = products.view(len(items), len(some), -1)
            logits = of_users[:, choices.set_of, codes].T  # (C, B)
            of_sets = segment_logsumexp(logits, choices.set_of, len(some))  # (G, B)
            log_p = logits - of_sets[choices.set_of]
            chosen = choices.of_item
            total += log_p[chosen.clamp(min=0)].masked_fill((chosen < 0)[:, None], 0)
        return total.T.contiguous()

    def _asked(self, context: Tensor, items: Tensor, level: int) -> Tensor:
        """Return what is asked for at a level after the first codes of some items, (M, D)."""
        before = take_rows(self.code_embedding.weight, self.code_rows[items, :level])
        asked: Tensor = self.chooser(context, before, self.level_position.weight)
        return asked

    def _vectors(self, items: Tensor, level: int) -> Tensor:
        return self.code_embedding.weight.index_select(0, self.code_rows[items, level])

    def _embed(self, items: Tensor) -> Tensor:
        """Turn rows of items (B, T) into tokens (B, 1 + T, D), the start first."""
        known = items.clamp(min=0)  # padding is read as item 0
        vectors = row_sums(self.code_embedding.weight, self.code_rows[known])  # (B, T, D)
        vectors = vectors + self.item_position.weight[: items.shape[1]]
        return torch.cat([self.start.expand(len(items), 1, -1), vectors], 1)


Model = CodeByCode | Recommender
NARROW = TransformerConfig(dim=16, mlp_dim=64)
# Wider and narrower than the library's, so that all sizes are about equal.
OF_DECODER = DecoderOnlyConfig(transformer=TransformerConfig(mlp_dim=384), valid_only=True)
OF_ENCODER_DECODER = EncoderDecoderConfig(
    transformer=TransformerConfig(dim=48, mlp_dim=224), valid_only=True, max_items=11
)


def _with(new_chooser: Callable[[int], nn.Module], ids: SemanticIDs) -> Model:
    return CodeByCode(HistoryModelConfig(), ids, new_chooser)


MODELS: dict[str, Callable[[SemanticIDs], Model]] = {
    "context alone": partial(_with, ContextAlone),
    "codes alone": partial(_with, CodesAlone),
    "context + codes": partial(_with, ContextAndCodes),
    "depth transformer": partial(_with, DepthTransformer),
    "prefix vectors, narrow": partial(new_recommender, RQTransformerConfig(transformer=NARROW)),
    "prefix vectors": partial(new_recommender, RQTransformerConfig()),
    DECODER: partial(new_recommender, OF_DECODER),
    ENCODER_DECODER: partial(new_recommender, OF_ENCODER_DECODER),
}


def train_model(
    name: str,
    ids: SemanticIDs,
    histories: Histories,
    seed: int,
    training: TrainingConfig = TRAINING,
) -> Model:
    """Train one of `MODELS` as `train_recommender` does; return it in evaluation mode."""
    batch_size = BATCH_SIZE.get(name, training.batch_size)
    training = replace(training, seed=seed, batch_size=batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MODELS[name](ids)
    batches = WindowBatches(
        histories, max_items=model.config.max_items, batch_size=batch_size, seed=seed
    )
    train(model, model.loss, batches, training, progress=False)
    return model.eval()


def nats_by_level(model: Model, ids: SemanticIDs, split: Split, *, rows: int = 64) -> list[float]:
    """Return the mean −log p of each code of the test targets, given the history and the codes
    before.

    The probability of a prefix is the sum over the items that begin with it. A model that does not
    score all items is asked code by code.
    """
    histories, targets = split.histories_and_targets(split.test)
    if not isinstance(model, ScoresItems):
        return level_losses(model, histories, targets, rows=rows).valid
    total = torch.zeros(ids.ids.shape[1], dtype=torch.float64)
    groups = [ids.ids[:, :n].unique(dim=0, return_inverse=True)[1] for n in range(1, len(total))]
    groups.append(torch.arange(len(ids)))  # no two IDs are equal
    for start in range(0, len(targets), rows):
        of = targets[start : start + rows]
        log_p = model.scores(histories[start : start + rows]).double().T  # (N, B)
        above = torch.zeros(len(of), dtype=torch.float64)
        for level, group in enumerate(groups):
            of_groups = segment_logsumexp(log_p, group, int(group.max()) + 1)
            here = of_groups[group[of], torch.arange(len(of))]  # (B,)
            total[level] += (above - here).sum()
            above = here
    return (total / len(targets)).tolist()


class Training(NamedTuple):
    model: str
    seed: int

    @property
    def key(self) -> Row:
        return {"split": "leave-one-out", "model": self.model, "seed": str(self.seed)}


def train_and_evaluate(job: Training) -> tuple[Row, list[Row]]:
    """Train a model and answer the test targets: its row, and one for each person with a hit."""
    dataset = load_dataset(DATASET)
    split = leave_one_out(dataset)
    ids = shipped_ids(dataset, split, job.seed)
    started = time.perf_counter()
    model = train_model(job.model, ids, split.train, job.seed)
    seconds = time.perf_counter() - started
    evaluation = evaluate(model, split, split.test)
    nats = nats_by_level(model, ids, split)
    row = row_of(evaluation) | {
        "parameters": str(sum(parameter.numel() for parameter in model.parameters())),
        "device": "cpu",
        "seconds": f"{seconds:.0f}",
        **{f"nats_{level}": f"{value:.4f}" for level, value in zip(LEVELS, nats, strict=True)},
    }
    return row, people_of(evaluation)


def place_of(row: Row) -> tuple[int, int, int]:
    """Return where a row of either table stands: by model, seed and person."""
    return list(MODELS).index(row["model"]), int(row["seed"]), int(row.get("person", "0"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    options = parser.parse_args()
    table, people = (options.output / name for name in ("10_architectures.csv", "10_people.csv"))
    for job in (Training(model, seed) for seed in options.seeds for model in options.models):
        if rows_of(read_rows(table, COLUMNS), job.key):
            continue
        row, hits = train_and_evaluate(job)
        # The people first: a training counts as done once its row stands in the table.
        replace_rows(people, PEOPLE_COLUMNS, job.key, hits, place_of)
        replace_rows(table, COLUMNS, job.key, [row], place_of)
        shown = f"Recall@10 {row['recall_10']}, NDCG@10 {row['ndcg_10']}"
        print(f"{job.model}, seed {job.seed}: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
