"""Two architectures, a softmax over valid codes only, more or less dropout: what is learned?

    OMP_NUM_THREADS=1 python book/studies/decoder_study.py

writes notebooks/results/08_decoders.csv and 08_hits.csv beside it, which chapter 08 shows: six
variants, three seeds each, trained as `rqvae-lib train-recommender` trains, with fewer steps, on
the shipped catalogue of IDs. Rows are written as they come, so a run that was interrupted goes on
where it stopped; no training depends on another. It takes about three quarters of an hour on one
idle core.

08_decoders.csv has a row for each of `LOOKS`, the numbers of steps at which a training is looked
at: the loss on the validation targets, by level of the code. The last row of a training also says
how well it recommends. 08_hits.csv names the people whose target was among ten recommendations, and
its rank: from these all intervals and paired differences can be computed.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.batches import WindowBatches
from rqvae_lib.data.splits import Histories, Split, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.metrics import (
    bootstrap_interval,
    ndcg_at,
    ranks_in_lists,
    recall_at,
)
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import DecoderOnlyConfig, EncoderDecoderConfig, HistoryModelConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import RECOMMENDER_TRAINING
from rqvae_lib.training.loop import train
from tables import Row, read_rows, write_rows

DATASET = "movielens-small-2016"
RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
SEEDS = (0, 1, 2)
LOOKS = (25, 50, 100, 150, 200, 300, 400, 500)  # the last is the length of a training


class Variant(NamedTuple):
    config: HistoryModelConfig
    batch_size: int = RECOMMENDER_TRAINING.batch_size  # windows per step


# An encoder-decoder has one target a window. With the decoder's 32 windows of 50 movies it learns
# nothing but how frequent codes are in so few steps (the validation loss says so). Short windows,
# four times as many, are about as many tokens per step.
VARIANTS = {
    "decoder-only": Variant(DecoderOnlyConfig()),
    "decoder-only, valid": Variant(DecoderOnlyConfig(valid_only=True)),
    "encoder-decoder": Variant(EncoderDecoderConfig(max_items=11), 128),
    "encoder-decoder, valid": Variant(EncoderDecoderConfig(max_items=11, valid_only=True), 128),
    "decoder-only, dropout 0": Variant(DecoderOnlyConfig(embedding_dropout=0.0)),
    "decoder-only, dropout 0.4": Variant(DecoderOnlyConfig(embedding_dropout=0.4)),
}
METRICS = tuple(f"{part}_{name}" for part in ("validation", "test") for name in ("recall", "ndcg"))
COLUMNS = (
    "variant",
    "seed",
    "step",
    "parameters",
    "seconds",  # of training, without the looks; the shipped table's machine was busy otherwise
    *(f"loss_{level}" for level in (1, 2, 3, 4)),  # as the variant is trained
    *(f"valid_{level}" for level in (1, 2, 3, 4)),  # over the codes that lead to an item
    *(column for name in METRICS for column in (name, f"{name}_low", f"{name}_high")),
)
HIT_COLUMNS = ("variant", "seed", "part", "person", "rank")
TOP = 10
BEAMS = 50


class LevelLosses(NamedTuple):
    trained: list[float]  # a level, in nats: over the codes among which the model chooses
    valid: list[float]  # a level: over the codes that lead to an item, whatever the model does


@torch.no_grad()
def level_losses(
    model: Recommender, histories: Sequence[Tensor], targets: Tensor, *, rows: int = 64
) -> LevelLosses:
    """Return the mean −log p of each code of the targets, given the history and the codes before.

    Args:
        model: in evaluation mode.
        histories: M tensors of item rows.
        targets: shape (M,), int64.
        rows: histories read at a time.
    """
    trie = model.trie
    trained = torch.zeros(trie.depth, dtype=torch.float64)
    valid = torch.zeros(trie.depth, dtype=torch.float64)
    for start in range(0, len(targets), rows):
        batch = targets[start : start + rows]  # (B,)
        codes = model.semantic_ids[batch]  # (B, L)
        leaves = trie.leaf_of[batch]  # (B,)
        state = model.encode_history(histories[start : start + rows])
        parents = torch.zeros(len(batch), 1, dtype=torch.int64)
        for level in range(trie.depth):
            logits = model.next_code_logits(state)[:, 0]  # (B, size)
            chosen = logits.gather(1, codes[:, level, None])[:, 0]  # (B,)
            children = trie.children_of(level, trie.node_above(level, leaves))  # (B, C)
            among = logits.gather(1, children.codes).masked_fill(~children.valid, -torch.inf)
            trained[level] += float((logits.logsumexp(1) - chosen).sum())
            valid[level] += float((among.logsumexp(1) - chosen).sum())
            if level < trie.depth - 1:
                state = model.extend(state, parents, codes[:, level, None])
    return LevelLosses((trained / len(targets)).tolist(), (valid / len(targets)).tolist())


def train_variant(
    variant: Variant,
    ids: SemanticIDs,
    histories: Histories,
    *,
    seed: int,
    looks: Sequence[int],
    look: Callable[[int, Recommender], None],
) -> Recommender:
    """Train as `train_recommender` does, for `looks[-1]` steps; call `look` at each of `looks`."""
    config, batch_size = variant
    training = replace(
        RECOMMENDER_TRAINING,
        num_steps=looks[-1],
        batch_size=batch_size,
        seed=seed,
        snapshot_steps=tuple(looks),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_recommender(config, ids)
    batches = WindowBatches(histories, max_items=config.max_items, batch_size=batch_size, seed=seed)
    train(
        model,
        model.loss,
        batches,
        training,
        snapshot=lambda step: look(step, model),
        progress=False,
    )
    return model


def recommendation_quality(
    model: Recommender, split: Split, name: str, seed: int
) -> tuple[Row, list[Row]]:
    """Return the columns of `METRICS`, and the rows of the people whose target was found."""
    quality: Row = {}
    hits: list[Row] = []
    for part, positions in (("validation", split.validation), ("test", split.test)):
        histories, targets = split.histories_and_targets(positions)
        found = recommend(model, histories, k=TOP, beams=BEAMS)
        ranks = ranks_in_lists(found.items, targets)  # (M,)
        for metric, values in (("recall", recall_at(ranks, TOP)), ("ndcg", ndcg_at(ranks, TOP))):
            interval = bootstrap_interval(values, generator=torch.Generator().manual_seed(0))
            numbers = (float(values.mean()), interval.low, interval.high)
            for suffix, number in zip(("", "_low", "_high"), numbers, strict=True):
                quality[f"{part}_{metric}{suffix}"] = f"{number:.4f}"
        for person in (ranks <= TOP).nonzero()[:, 0].tolist():
            values_of = (name, str(seed), part, str(person), str(int(ranks[person])))
            hits.append(dict(zip(HIT_COLUMNS, values_of, strict=True)))
    return quality, hits


def rows_of(
    name: str, seed: int, ids: SemanticIDs, split: Split, *, looks: Sequence[int] = LOOKS
) -> tuple[list[Row], list[Row]]:
    """Train a variant and return its rows of the two tables."""
    histories, targets = split.histories_and_targets(split.validation)
    rows: list[Row] = []
    started, looking = time.perf_counter(), 0.0

    def look(step: int, model: Recommender) -> None:
        nonlocal looking
        began = time.perf_counter()
        seconds = began - started - looking
        losses = level_losses(model, histories, targets)
        numbers = [f"{number:.4f}" for number in (*losses.trained, *losses.valid)]
        parameters = str(sum(p.numel() for p in model.parameters()))
        values = [name, str(seed), str(step), parameters, f"{seconds:.0f}", *numbers]
        rows.append(dict.fromkeys(COLUMNS, "") | dict(zip(COLUMNS, values, strict=False)))
        looking += time.perf_counter() - began

    model = train_variant(VARIANTS[name], ids, split.train, seed=seed, looks=looks, look=look)
    quality, hits = recommendation_quality(model, split, name, seed)
    rows[-1] |= quality
    return rows, hits


def in_order(rows: Sequence[Row]) -> list[Row]:
    """Return rows in the order of the variants; within a training they keep their order."""
    order = list(VARIANTS)
    return sorted(rows, key=lambda row: (order.index(row["variant"]), row["seed"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    options = parser.parse_args()
    tables = options.output / "08_decoders.csv", options.output / "08_hits.csv"
    ids = load_recommender(DATASET)[0].ids
    split = leave_one_out(load_dataset(DATASET))
    rows, hits = read_rows(tables[0], COLUMNS), read_rows(tables[1], HIT_COLUMNS)
    done = {(row["variant"], row["seed"]) for row in rows if row["step"] == str(LOOKS[-1])}
    hits = [row for row in hits if (row["variant"], row["seed"]) in done]
    for seed in SEEDS:
        for name in VARIANTS:
            if (name, str(seed)) in done:
                continue
            new_rows, new_hits = rows_of(name, seed, ids, split)
            rows, hits = rows + new_rows, hits + new_hits
            # The hits first: a training counts as done once its last row stands in the other table.
            write_rows(tables[1], HIT_COLUMNS, in_order(hits))
            write_rows(tables[0], COLUMNS, in_order(rows))
            shown = ", ".join(f"{key} {new_rows[-1][key]}" for key in METRICS)
            print(f"{name}, seed {seed}: {shown}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
