"""Timing that can be trusted on a machine that one shares: the cases take turns.

A processor is faster one minute than the next. So every round runs each case once, one after
another, and what is reported is the median over rounds of a case's time divided by the reference
case's time of the same round. Beside it stands the middle half of these ratios, from the lower to
the upper quartile, which says how much the rounds differ. torch.utils.benchmark does the timing: on
one thread, in processor seconds, with the garbage collector off.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

PEERS = (
    "torch",
    "vector-quantize-pytorch",
    "rectokens",
    "faiss-cpu",
    "scikit-learn",
    "transformers",
    "numpy",
)
PROGRAM = Path(__file__).with_name("run.py")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Suite:
    """Cases that do the same work, and the one that the others are divided by."""

    title: str
    cases: dict[str, Callable[[], object]]
    reference: str
    rounds: int = 15
    notes: dict[str, str] = field(default_factory=dict)  # a case: what else is to say of it


@dataclass(frozen=True)
class Row:
    case: str
    milliseconds: float  # median over rounds
    ratio: float  # median over rounds of this case divided by the reference
    low: float  # quartiles of the same ratios
    high: float
    note: str


def measure(suite: Suite) -> list[Row]:
    """Time the cases of a suite in turns."""
    timers = {
        name: Timer("case()", globals={"case": case}, timer=time.process_time, num_threads=1)
        for name, case in suite.cases.items()
    }
    for timer in timers.values():
        timer.timeit(1)  # memory is allocated and caches are warm
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(suite.rounds):
        for name, timer in timers.items():
            seconds[name].append(timer.timeit(1).median)
    reference = seconds[suite.reference]
    rows = []
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(times, reference, strict=True)]
        low, ratio, high = statistics.quantiles(ratios, n=4, method="inclusive")
        note = suite.notes.get(name, "")
        rows.append(Row(name, 1000 * statistics.median(times), ratio, low, high, note))
    return rows


def table(suite: Suite, rows: list[Row]) -> str:
    """Write a suite's rows as a Markdown section, which book/_ext/speed_figures.py reads."""
    lines = [
        f"## {suite.title}",
        "",
        f"| Case | Milliseconds | ÷ {suite.reference} | Middle half | Remarks |",
        "| --- | ---: | ---: | ---: | --- |",
        *(
            f"| {r.case} | {r.milliseconds:,.1f} | {r.ratio:.2f} | {r.low:.2f}–{r.high:.2f} "
            f"| {r.note} |"
            for r in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def in_a_process(*arguments: str) -> str:
    """Run this program again and return what it prints.

    In a process of its own nothing has used memory before: what an earlier suite leaves in the
    allocator may make the next one slower.
    """
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def peak_memory(work: str) -> float:
    """Return how many MiB a named piece of work takes at its peak, beside its data (Linux)."""
    return float(in_a_process("--memory", work))


def print_peak_memory(prepare: Callable[[], Callable[[], object]]) -> None:
    """Print what the work that `prepare` returns takes; `prepare` itself is not counted."""
    work = prepare()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = _resident("VmRSS")
    work()
    print(_resident("VmHWM") - before)


def _resident(which: str) -> float:
    """Return this process's memory, now (VmRSS) or at its peak (VmHWM), in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {which}")


def machine() -> str:
    """Say on what the figures were measured, in one sentence."""
    versions = ", ".join(f"{name} {version(name)}" for name in PEERS)
    return (
        f"Measured on {time.strftime('%d %B %Y')}, on one thread of {_processor()} "
        f"({os.cpu_count()} cores), {platform.system()}, Python {platform.python_version()}, "
        f"{versions}; {torch.backends.cpu.get_cpu_capability()} instructions."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
