"""Random numbers that depend on a seed alone and leave the caller's random state unchanged.

All threads of a process share torch's default generator. Therefore one thread at a time is in such
a block, and the others wait: two trainings at once draw what each of them draws alone. A thread
that draws from that generator by itself meanwhile gets other numbers than usual.

Derived in: chapter 05.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rqvae_lib.ops.arrays import as_row

_one_thread = threading.RLock()  # a block may be inside of another one


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's default generator inside a `with` block and restore its state afterwards.

    Args:
        seed: the seed of everything that the block draws on the CPU.
    """
    with _one_thread, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(as_row(seed, "seed"))
        yield


@contextmanager
def seeded_step(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Make torch's random numbers a function of seed and step inside a `with` block.

    The random state is restored afterwards.

    Args:
        seed: the seed of the training.
        step: the training step, counted from 0.
        device: the model's device. A CUDA device has its own generator, which is seeded too.
    """
    devices = [device] if device.type == "cuda" else []
    with _one_thread, torch.random.fork_rng(devices=devices):
        mixed = (seed * 1_000_003 + step) % 2**63
        torch.default_generator.manual_seed(mixed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(mixed)
        yield
