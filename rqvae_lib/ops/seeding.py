"""Randomness that depends on a seed alone, and leaves the caller's random state as it was.

Derived in: chapter 05.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's default generator as if it had just been seeded, then give it back.

    Args:
        seed: of everything that is drawn on the CPU inside the block.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def seeded_step(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Make torch's random numbers a function of seed and step, then give them back.

    Args:
        seed: of the training.
        step: counted from 0.
        device: where the model is; a GPU draws from a generator of its own, which is seeded too.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        mixed = (seed * 1_000_003 + step) % 2**63
        torch.default_generator.manual_seed(mixed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(mixed)
        yield
