"""Run a function of a test in several processes that are one world, as `torchrun` would."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import multiprocessing

from rqvae_lib.ops.world import joined


def in_world(
    size: int, function: Callable[..., Any], *given: Any, device: str = "cpu"
) -> list[Any]:
    """Return what `function(*given)` returned in each of `size` processes, by rank.

    Args:
        size: the number of processes; each has one thread.
        function: of a module, so that another process can import it. What it returns is read with
            `torch.load(weights_only=True)`: tensors, numbers, strings, and lists or dicts of them.
        given: its arguments.
        device: as `joined`.

    Raises:
        torch.multiprocessing.ProcessRaisedException: if it raises in one of them.
    """
    with socket.socket() as free, TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        multiprocessing.spawn(_one, (size, port, folder, device, function, given), nprocs=size)
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(size)]


def _one(
    rank: int,
    size: int,
    port: int,
    folder: str,
    device: str,
    function: Callable[..., Any],
    given: tuple[Any],
) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ |= {name: str(value) for name, value in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined(device=device):
        torch.save(function(*given), Path(folder) / f"{rank}.pt")
