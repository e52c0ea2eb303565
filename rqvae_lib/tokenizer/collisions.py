"""Three remedies for items that collide, behind one interface, and what each of them costs.

The disambiguation code always works but says nothing about the item. The other two remedies move a
colliding item to codes that fit it a little worse and that no other item has:

- *balanced last level*: the colliding items are distributed evenly over the last codebook. Optimal
  transport finds the cheapest way (LC-Rec's uniform semantic mapping);
- *nearest free code*: an item whose codes are taken gets the nearest free tuple, which a beam
  search over the levels finds.

Neither of them removes all collisions for certain: optimal transport cannot tell apart two items
with the same vector, and all tuples near an item may be taken. The disambiguation code handles the
remaining collisions.

A growing catalogue needs a *stable* remedy, because a recommender must learn every changed ID
again. After new items are added at the end, the disambiguation code and the nearest free code
change no older ID. The balanced last level may change the ID of any item that collides.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 "Handling collisions"; Zheng et al., LC-Rec,
arXiv 2311.09049, "Uniform semantic mapping".
Derived in: chapter 06.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.arrays import Array, as_count, as_rows, as_vectors
from rqvae_lib.ops.rows import check_finite
from rqvae_lib.ops.scale import scale_of
from rqvae_lib.ops.sinkhorn import transport_plan
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.quantizer import sum_of_codewords

Remedy = Callable[[Tensor, Tensor, Tensor], Tensor]  # latents, codes, codebooks → codes


class Resolved(NamedTuple):
    """A catalogue after a remedy, and what the remedy cost."""

    ids: SemanticIDs  # the disambiguation code tells apart the items that still collide
    moved: Tensor  # (N,) bool, the items whose codes differ from the tokenizer's
    # (N,), the latents' dtype: the growth of the squared distance from latent to sum of codewords.
    # Below 0 if the new codes fit better: choosing greedily level by level is not always optimal.
    added_error: Tensor


@own_settings
def resolve(latents: Array, codes: Array, codebooks: Tensor, remedy: Remedy) -> Resolved:
    """Apply a remedy to the collisions of a catalogue.

    Args:
        latents: shape (N, D), numbers, of which all but float64 are computed with in float32: the
            result of `RQVAE.encode` for the item vectors.
        codes: shape (N, L), whole numbers: the result of `RQVAE.assign` for the same vectors.
        codebooks: shape (L, K, D): `RQVAE.quantizer.codebooks`. They are converted to the dtype of
            the latents.
        remedy: `keep_codes`, `balance_last_level` or `take_nearest_free`, or a functools.partial of
            one of them with other settings. `REMEDIES` has them by name.

    Returns:
        The catalogue, the moved items and the added error, all on the CPU.

    Raises:
        ValueError: if the shapes do not match, if latents are not finite, or if a code is outside
            its codebook.
    """
    latents = as_vectors(latents, "latents").detach().cpu()
    codes = as_rows(codes, "codes", ndim=2).cpu()
    codebooks = codebooks.detach().cpu().to(latents.dtype)
    if codebooks.ndim != 3:
        raise ValueError(
            f"codebooks have shape {tuple(codebooks.shape)}; expected (levels, codewords, width "
            "of a codeword): pass rqvae.quantizer.codebooks"
        )
    num_levels, size, dim = codebooks.shape
    if latents.shape != (len(codes), dim):
        raise ValueError(
            f"latents have shape {tuple(latents.shape)}; expected {(len(codes), dim)}, a row for "
            "each row of codes, as wide as the codewords: pass rqvae.encode(vectors)"
        )
    check_finite(latents, "latents")
    SemanticIDs(codes, [size] * num_levels)  # raises ValueError for codes outside the codebooks
    resolved = remedy(latents, codes, codebooks)  # (N, L)
    scale = torch.maximum(scale_of(latents), scale_of(codebooks))
    latents, codebooks = latents / scale, codebooks / scale
    added = _errors(latents, resolved, codebooks) - _errors(latents, codes, codebooks)
    return Resolved(
        SemanticIDs(resolved, [size] * num_levels),
        (resolved != codes).any(1),
        added * scale * scale,
    )


def keep_codes(latents: Tensor, codes: Tensor, codebooks: Tensor) -> Tensor:
    """Move no item, and leave all collisions to the disambiguation code.

    Args:
        latents, codes, codebooks: as `resolve`.

    Returns:
        The codes, unchanged.
    """
    return codes


def balance_last_level(
    latents: Tensor,
    codes: Tensor,
    codebooks: Tensor,
    *,
    epsilon: float = 0.01,
    num_rounds: int = 20,
) -> Tensor:
    """Distribute colliding items evenly over the last codebook, by optimal transport.

    All colliding items take part, with their residuals after the levels above. At its new code, an
    item may collide with others of its prefix. The items that collide then take part in another
    round, as long as this leaves fewer collisions. If no item of a prefix collides, the items of
    this prefix keep their codes.

    The remedy is not stable, because each assignment depends on all the items that take part.

    Args:
        latents, codes, codebooks: as `resolve`.
        epsilon: as `transport_plan`.
        num_rounds: the maximum number of rounds.

    Returns:
        The codes, shape (N, L), int64. Only the last column changes.
    """
    codes, left = codes.clone(), _colliding(codes, codebooks)
    for _ in range(num_rounds):
        if not len(left):
            break
        residuals = latents[left] - sum_of_codewords(codes[left, :-1], codebooks)  # (M, D)
        costs = _squared_distances(residuals, codebooks[-1])  # (M, K)
        moved = codes.clone()
        moved[left, -1] = transport_plan(costs, epsilon=epsilon).argmax(1)
        still = _colliding(moved, codebooks)
        if len(still) >= len(left):
            break
        codes, left = moved, still
    return codes


def take_nearest_free(
    latents: Tensor, codes: Tensor, codebooks: Tensor, *, beams: int = 16
) -> Tensor:
    """Give an item whose codes are taken the nearest free tuple of codes.

    Items choose one after another, in catalogue order, and the first one gets a tuple. An item may
    therefore lose a tuple that no other item had at first, because an earlier item was moved there.

    The remedy is stable, because an item's codes depend only on the items before it.

    Args:
        latents, codes, codebooks: as `resolve`.
        beams: the number of prefixes that are kept at each level, at least 1. All K codewords are
            tried at the last level, so K^(L − 1) beams find the nearest free tuple for certain.

    Returns:
        The codes, shape (N, L), int64. An item keeps its own codes if every tuple that the beam
        search found is taken.

    Raises:
        ValueError: if beams is below 1.
    """
    beams = as_count(beams, "beams")
    codes = codes.clone()
    taken: set[tuple[int, ...]] = set()
    for item, own in enumerate(map(tuple, codes.tolist())):
        chosen = own
        if own in taken:
            candidates = nearest_codes(latents[item], codebooks, beams)
            rows = map(tuple, candidates.tolist())
            chosen = next((row for row in rows if row not in taken), own)
            codes[item] = torch.tensor(chosen)
        taken.add(chosen)
    return codes


REMEDIES: dict[str, Remedy] = {
    "disambiguation": keep_codes,
    "balanced": balance_last_level,
    "nearest-free": take_nearest_free,
}


@own_settings
def nearest_codes(latent: Tensor, codebooks: Tensor, beams: int) -> Tensor:
    """Find tuples of codes near a vector, by a beam search over the levels.

    Args:
        latent: shape (D,), floating point.
        codebooks: shape (L, K, D), same dtype.
        beams: the number of prefixes that are kept at each level, at least 1.

    Returns:
        shape (M, L), int64, the nearest first. M is K times the number of beams that reach the last
        level. At a tie, the tuple with the nearer prefix comes first, then the lower code.
    """
    num_codewords, last = codebooks.shape[1], len(codebooks) - 1
    residuals = latent[None]  # (B, D), the residual of each beam
    codes = torch.empty(1, 0, dtype=torch.int64)  # (B, l)
    for level, codebook in enumerate(codebooks):
        best = _squared_distances(residuals, codebook).flatten().argsort(stable=True)
        if level < last:
            best = best[:beams]
        parents, children = best // num_codewords, best % num_codewords
        codes = torch.cat([codes[parents], children[:, None]], 1)
        if level < last:
            residuals = residuals[parents] - codebook[children]
    return codes


def _colliding(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the items that share their codes with another item, (M,) int64."""
    groups = SemanticIDs(codes, codebooks.shape[1]).collision_groups()
    return torch.cat([torch.empty(0, dtype=torch.int64), *groups])


def _squared_distances(x: Tensor, codebook: Tensor) -> Tensor:
    """Return the squared distances (N, K) between vectors (N, D) and codewords (K, D), up to scale.

    They are divided by the square of the larger scale of both, so they only compare.
    """
    scale = torch.maximum(scale_of(x), scale_of(codebook))
    x, codebook = x / scale, codebook / scale
    norms = x.square().sum(1, keepdim=True) + codebook.square().sum(1)  # (N, K)
    return norms.addmm_(x, codebook.T, alpha=-2)


def _errors(latents: Tensor, codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the squared distances (N,) between the latents and the sums of their codewords."""
    return (latents - sum_of_codewords(codes, codebooks)).square().sum(1)
