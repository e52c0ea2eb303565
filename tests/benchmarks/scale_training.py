"""How many more examples a second two processes train than one (`make scale`).

    python -m tests.benchmarks.scale_training --rounds 9

An RQ-Transformer learns the embedded data with the default settings, 64 windows a step in all
(`--batch-size`). Two processes of one thread each are started once. In every round the first trains
alone while the other sleeps, and then both train together. So what disturbs the machine for minutes
disturbs both, and the ratio is taken round by round.

The ratio by the clock means something only if each process has a core to itself. So the processor's
time per step stands beside it: no step of two processes takes less than one process's part does.
"""

import argparse
import os
import statistics
import time
from dataclasses import replace

import torch
from torch import Tensor

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.batches import Batches, WindowBatches
from rqvae_lib.data.splits import Histories, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.models.configs import RQTransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.ops.seeding import seeded
from rqvae_lib.ops.world import alone, current_world
from rqvae_lib.training.config import RECOMMENDER_TRAINING
from rqvae_lib.training.loop import train
from tests.worlds import in_world

NAME = "movielens-small-2016"
WARM_UP = 5  # steps that are not timed


class Timed:
    """Batches that note when each step begins, by the clock and in seconds of the processor."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.steps_per_epoch = batches.steps_per_epoch
        self.began: list[tuple[float, float]] = []

    def __call__(self, step: int) -> Tensor:
        self.began.append((time.perf_counter(), time.process_time()))
        return self.batches(step)

    def per_step(self) -> list[float]:
        """Return the milliseconds of a step, by the clock and of the processor."""
        first, last = self.began[WARM_UP], self.began[-1]
        steps = len(self.began) - 1 - WARM_UP
        return [1000 * (b - a) / steps for a, b in zip(first, last, strict=True)]


def milliseconds(histories: Histories, steps: int, batch_size: int = 64) -> list[float]:
    """Train for some steps in the current world, and return the milliseconds of each."""
    with seeded(0):
        model = new_recommender(RQTransformerConfig(), load_recommender(NAME)[0].ids)
    windows = WindowBatches(
        histories, max_items=model.config.max_items, batch_size=batch_size, seed=0
    )
    batches = Timed(windows)
    config = replace(RECOMMENDER_TRAINING, num_steps=WARM_UP + steps + 1, batch_size=batch_size)
    train(model, model.loss, batches, config, num_targets=model.num_targets, progress=False)
    return batches.per_step()


def in_turns(rounds: int, steps: int, batch_size: int) -> list[dict[str, list[float]]]:
    """Return the milliseconds of a step of one process and of two, for each round."""
    world, found = current_world(), []
    histories = leave_one_out(load_dataset()).train
    for _ in range(rounds):
        one = [0.0, 0.0]
        if world.is_first:
            with alone():
                one = milliseconds(histories, steps, batch_size)
        world.sum(torch.zeros(1))  # all wait here for the first
        found.append({"one": one, "two": milliseconds(histories, steps, batch_size)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how training scales to two processes.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each training")
    parser.add_argument("--batch-size", type=int, default=64, help="windows a step, in all")
    given = parser.parse_args()
    size = given.batch_size
    first, second = in_world(2, in_turns, given.rounds, given.steps, size)
    print(f"RQ-Transformer, {size} windows a step, one thread a process, torch {torch.__version__}")
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end")
    for place, clock in enumerate(("by the clock", "of the processor")):
        one = [each["one"][place] for each in first]
        two = [max(a["two"][place], b["two"][place]) for a, b in zip(first, second, strict=True)]
        ratios = [a / b for a, b in zip(one, two, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        print(
            f"{clock}: one {statistics.median(one):.1f} ms a step, two {statistics.median(two):.1f}"
            f" ms; {1000 * size / statistics.median(one):,.0f} and "
            f"{1000 * size / statistics.median(two):,.0f} examples/s; "
            f"ratio {middle:.2f} (middle half {low:.2f}–{high:.2f})"
        )


if __name__ == "__main__":
    main()
