"""Fuzz `load_state`, and a training step from what it accepts."""

from pathlib import Path

import torch
from torch import nn

from rqvae_lib.training.state import Best, load_state, save_state, steps_of
from tests.robustness.fuzz import safetensors_files
from tests.robustness.fuzz.harness import Target, main

SETTINGS = {"num_steps": 9, "ids": "abc", "snapshot_steps": (1, 2)}


def training() -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))  # a batch norm counts in int64
    return model, torch.optim.AdamW(model.parameters(), fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(2, 4)).square().sum().backward()
    optimizer.step()


def write(path: Path) -> None:
    model, optimizer = training()
    step(model, optimizer)
    best = Best(higher_is_better=True)
    best.update(0.5, 1, model)
    save_state(path, model, optimizer, SETTINGS, 1, best)


def read(path: Path) -> None:
    model, optimizer = training()
    best = Best(higher_is_better=True)
    assert load_state(path, model, optimizer, SETTINGS, best) >= 0
    assert steps_of(path) >= 0
    step(model, optimizer)
    best.restore(model)


if __name__ == "__main__":
    main(Target(write, read, ".safetensors", safetensors_files.MUTATIONS))
