"""The health of a catalogue that grows: do its IDs still tell items apart, and do they still fit?

Old items keep their codebooks, whatever arrives. So three things may go wrong with time: codes are
shared by more and more items, most items crowd into a few codewords, and new items are of a kind
that the codewords do not fit. The last one is *drift*. It shows in the *quantization error*, the
squared distance between an item's latent vector and the sum of its codewords.

A new item fits somewhat worse than the items that the tokenizer was trained on, even if it is of
the same kind, and the more so the longer the training was. The limits below leave room for that.
They are rules of thumb. `book/studies/drift_study.py` chose them on the embedded movies. (The error
of the rebuilt vector would be a worse measure: after 10,000 steps it is 1.4 times as large for
movies that were held out at random, as much as for movies of another time after 1,000 steps.) Of a
tokenizer that was trained much longer than that, hold out a sample yourself, to see what is usual.

Source: the Gini coefficient: Gini, *Variabilità e mutabilità*, 1912; the other quantities as in
`tokenizer.metrics`.
Derived in: chapter 13.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_rows, as_vectors
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.rqvae import RQVAE

FEWEST = 50  # items added since the training; of fewer, chance says more than drift
MAX_ERROR_RATIO = 1.45  # of the mean quantization errors, added items to those of the training
MAX_BEYOND_99 = 0.08  # share of added items with a larger error than 99 % of those of the training
MAX_MORE_COLLISIONS = 0.1  # collision rate of the added items, less that of the training's


@dataclass(frozen=True)
class Drift:
    """How well a tokenizer fits items that were added after its training."""

    items: int  # added items
    error_ratio: float  # mean quantization error, of added items to those of the training
    beyond_95: float  # share of added items with a larger error than 95 % of those of the training
    beyond_99: float  # likewise, 99 %
    collision_rate: float  # share of added items whose learned codes an earlier item has


@dataclass(frozen=True)
class CatalogueHealth:
    """The health of a whole catalogue, and of what was added to it."""

    unique_share: float  # distinct tuples of learned codes, per item, in (0, 1]
    largest_group: int  # items that share their learned codes, at most
    gini: tuple[float, ...]  # per level: 0 if codewords are used alike, to 1 if one has all items
    dead_codes: tuple[int, ...]  # per level: codewords that no item has
    drift: Drift | None  # None: nothing was added
    retrain: tuple[str, ...]  # reasons to train a new tokenizer; empty: none


@own_settings
def catalogue_health(ids: SemanticIDs, errors: Tensor, trained: int) -> CatalogueHealth:
    """Measure the health of a catalogue whose first items are those that its tokenizer learned.

    Args:
        ids: the catalogue, N items.
        errors: shape (N,), float32: the result of `quantization_errors` for all items.
        trained: the number of items, from the first, that the tokenizer was trained on.

    Raises:
        ValueError: if there is not one error per item, or `trained` is not from 1 to N.
    """
    if len(errors) != len(ids) or not 1 <= trained <= len(ids):
        raise ValueError(
            f"there are {len(ids):,} items, {len(errors):,} errors and {trained:,} items of the "
            "training; expected an error for each item, and at least one item of the training"
        )
    counts = [
        torch.bincount(level, minlength=size)
        for level, size in zip(ids.codes.T, ids.sizes, strict=False)
    ]
    drift = None
    if trained < len(ids):
        drift = _drift(ids, errors.double(), trained)
    return CatalogueHealth(
        unique_share=1 - ids.collision_rate,
        largest_group=ids.sizes[-1],
        gini=tuple(gini(count) for count in counts),
        dead_codes=tuple(int((count == 0).sum()) for count in counts),
        drift=drift,
        retrain=() if drift is None else _reasons(drift, _rate(ids.ids[:trained])),
    )


@own_settings
@torch.no_grad()
def quantization_errors(model: RQVAE, vectors: Array, codes: Array) -> Tensor:
    """Return how far each item's codewords are from what they stand for.

    Args:
        model: the tokenizer.
        vectors: shape (N, input_dim), numbers.
        codes: the result of `model.assign` for them, (N, L) int64.

    Returns:
        shape (N,), float32, on the CPU: squared distances between latents and sums of codewords.

    Raises:
        ValueError: as `RQVAE.encode`.
    """
    vectors, codes = as_vectors(vectors, "vectors"), as_rows(codes, "codes", ndim=2)
    errors = torch.empty(len(vectors))
    for rows in row_blocks(len(vectors)):
        latents = model.encode(vectors[rows])  # (block, D)
        rest = latents - model.quantizer.decode(codes[rows])
        errors[rows] = rest.square().sum(1).cpu()
    return errors


@own_settings
def gini(counts: Array) -> float:
    """Return the Gini coefficient of counts: how unevenly items are spread over codewords.

    It is the mean difference between two counts, over all ordered pairs, divided by twice the mean.

    Args:
        counts: shape (K,), int64, ≥ 0.

    Returns:
        0 if all counts are equal, 1 − 1/K if one codeword has all items; 0 without items.
    """
    ordered = as_rows(counts, "counts").double().sort()[0]  # (K,)
    total = float(ordered.sum())
    if total == 0:
        return 0.0
    size = len(ordered)
    places = torch.arange(1, size + 1, dtype=torch.float64)
    return max(0.0, 2 * float((places * ordered).sum()) / (size * total) - (size + 1) / size)


def _drift(ids: SemanticIDs, errors: Tensor, trained: int) -> Drift:
    old, new = errors[:trained], errors[trained:]
    limits = np.quantile(old.numpy(), [0.95, 0.99])  # torch's ends at 16 million numbers
    beyond_95, beyond_99 = (float((new > float(limit)).double().mean()) for limit in limits)
    lost = float(old.mean())
    # Without any error in the training, as with a codeword for each item, there is no ratio.
    ratio = float(new.mean()) / lost if lost > 0 else float(new.mean() > 0) + 1.0
    return Drift(len(new), ratio, beyond_95, beyond_99, _rate(ids.ids[trained:]))


def _rate(ids: Tensor) -> float:
    return float((ids[:, -1] > 0).double().mean())


def _reasons(drift: Drift, collision_rate: float) -> tuple[str, ...]:
    """Return why a new tokenizer is due, by the rule of thumb above."""
    if drift.items < FEWEST:
        return ()
    reasons = []
    if drift.error_ratio > MAX_ERROR_RATIO:
        reasons.append(
            f"the mean quantization error of the items added since the training is "
            f"{drift.error_ratio:.2f} times that of the training's (limit {MAX_ERROR_RATIO:g})"
        )
    if drift.beyond_99 > MAX_BEYOND_99:
        reasons.append(
            f"{drift.beyond_99:.0%} of them have a larger error than 99 % of the training's (limit "
            f"{MAX_BEYOND_99:.0%})"
        )
    if drift.collision_rate > collision_rate + MAX_MORE_COLLISIONS:
        reasons.append(
            f"{drift.collision_rate:.0%} of them have the codes of an earlier item, against "
            f"{collision_rate:.0%} in the training (limit {MAX_MORE_COLLISIONS:.0%} more)"
        )
    return tuple(reasons)
