"""What to do about items that collide: three remedies behind one interface, and what each costs.

The disambiguation code always works, and says nothing about the item. The two other remedies move
a colliding item to codes that fit it a little less and that no other item has:

- *balanced last level*: the colliding items share out the last codebook, each codeword an equal
  part of them. Optimal transport finds the cheapest such sharing (LC-Rec's uniform semantic
  mapping);
- *nearest free code*: an item whose codes are taken gets the nearest tuple that is free, found by a
  beam over the levels.

Neither promises an end to all collisions: two items with the same vector look alike to optimal
transport, and all tuples near an item may be taken. The disambiguation code closes what they leave.

Whether a remedy is *stable* matters where a catalogue grows, because a recommender must learn again
whatever was renamed. Run again with new items at the end, the disambiguation code and the nearest
free code rename no older item; the balanced last level may rename any item that collides.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 "Handling collisions"; Zheng et al., LC-Rec,
arXiv 2311.09049, "Uniform semantic mapping".
Derived in: chapter 06.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rqvae_lib.ops.rows import check_finite
from rqvae_lib.ops.sinkhorn import transport_plan
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.quantizer import sum_of_codewords

Remedy = Callable[[Tensor, Tensor, Tensor], Tensor]  # latents, codes, codebooks → codes


class Resolved(NamedTuple):
    """A catalogue after a remedy, and what the remedy cost."""

    ids: SemanticIDs  # the disambiguation code tells apart what still collides
    moved: Tensor  # (N,) bool, the items whose learned codes are no longer the tokenizer's
    # (N,), the latents' dtype: by how much the squared distance from latent to codewords grew.
    # Below 0 where the new codes fit better: a greedy choice at each level is not always the best.
    added_error: Tensor


def resolve(latents: Tensor, codes: Tensor, codebooks: Tensor, remedy: Remedy) -> Resolved:
    """Apply a remedy to the collisions of a catalogue.

    Args:
        latents: shape (N, D), float32 or float64, what was quantized: `RQVAE.encode` of the item
            vectors.
        codes: shape (N, L), int64, what `RQVAE.assign` made of them.
        codebooks: shape (L, K, D): `RQVAE.quantizer.codebooks`. Of another dtype, they are
            converted to the latents'.
        remedy: `keep_codes`, `balance_last_level` or `take_nearest_free`; with other settings, by
            functools.partial. `REMEDIES` has them by name.

    Raises:
        ValueError: if the shapes do not fit each other, latents are of another dtype or not finite,
            or codes are outside their codebooks.
    """
    if latents.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"latents have type {latents.dtype}; expected float32 or float64, which tell near "
            "codewords apart: pass latents.float()"
        )
    latents, codes = latents.detach().cpu(), codes.cpu()
    codebooks = codebooks.detach().cpu().to(latents.dtype)
    if codebooks.ndim != 3:
        raise ValueError(
            f"codebooks have shape {tuple(codebooks.shape)}; expected (levels, codewords, numbers "
            "of a codeword): pass rqvae.quantizer.codebooks"
        )
    num_levels, size, dim = codebooks.shape
    if latents.shape != (len(codes), dim):
        raise ValueError(
            f"latents have shape {tuple(latents.shape)}; expected {(len(codes), dim)}, a row for "
            "each row of codes, as wide as the codewords: pass rqvae.encode(vectors)"
        )
    check_finite(latents, "latents")
    SemanticIDs(codes, [size] * num_levels)  # refuses codes that no codebook has
    resolved = remedy(latents, codes, codebooks)  # (N, L)
    return Resolved(
        SemanticIDs(resolved, [size] * num_levels),
        (resolved != codes).any(1),
        _errors(latents, resolved, codebooks) - _errors(latents, codes, codebooks),
    )


def keep_codes(latents: Tensor, codes: Tensor, codebooks: Tensor) -> Tensor:
    """Move no item: the disambiguation code alone is the remedy. Arguments as `resolve`."""
    return codes


def balance_last_level(
    latents: Tensor,
    codes: Tensor,
    codebooks: Tensor,
    *,
    epsilon: float = 0.01,
    num_rounds: int = 20,
) -> Tensor:
    """Let colliding items share out the last codebook evenly, by optimal transport.

    All items that collide take part, with what the levels above leave of them. Where they go, they
    may meet others of their prefix. So it is done again with those that collide now, as long as
    that leaves fewer of them. Items of a prefix under which none collides keep their codes.

    Not stable: who takes part decides who goes where.

    Args:
        latents, codes, codebooks: as `resolve`.
        epsilon: as `transport_plan`.
        num_rounds: at most.

    Returns:
        codes, shape (N, L); only the last column differs.
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
    """Give an item whose codes are taken the nearest tuple of codes that is free.

    Items choose one after another, in catalogue order: the first to want a tuple has it. An item
    may so be moved away from a tuple that was its own, because an earlier one was moved there.

    Stable: an item's codes depend on the items before it only.

    Args:
        latents, codes, codebooks: as `resolve`.
        beams: prefixes that go on to the next level. All K codewords are tried at the last level,
            so K^(L − 1) beams find the nearest free tuple for certain.

    Returns:
        codes, shape (N, L). An item for which all that the beam found is taken keeps its own.
    """
    if beams < 1:
        raise ValueError(f"beams is {beams}; it must be at least 1")
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


def nearest_codes(latent: Tensor, codebooks: Tensor, beams: int) -> Tensor:
    """Find tuples of codes near a vector, by a beam over the levels.

    Args:
        latent: shape (D,).
        codebooks: shape (L, K, D).
        beams: prefixes that go on to the next level.

    Returns:
        shape (M, L), int64, the nearest first: M = K times the number of beams that reach the last
        level. At a tie, the tuple of the nearer prefix, then of the lower code.
    """
    num_codewords, last = codebooks.shape[1], len(codebooks) - 1
    residuals = latent[None]  # (B, D), what each beam has left over
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
    """Return the items that share their codes with another, (M,) int64."""
    groups = SemanticIDs(codes, codebooks.shape[1]).collision_groups()
    return torch.cat([torch.empty(0, dtype=torch.int64), *groups])


def _squared_distances(x: Tensor, codebook: Tensor) -> Tensor:
    """Return the squared distances (N, K) of vectors (N, D) from codewords (K, D)."""
    norms = x.square().sum(1, keepdim=True) + codebook.square().sum(1)  # (N, K)
    return norms.addmm_(x, codebook.T, alpha=-2)


def _errors(latents: Tensor, codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the squared distance (N,) between latents and what their codes stand for."""
    return (latents - sum_of_codewords(codes, codebooks)).square().sum(1)
