"""Fixtures of all tests. Those of the built book and its browser are in tests/book/conftest.py."""

import json
import os
from collections.abc import Iterator

import pytest
import torch

from tests.helpers import ROOT

# What takes longest, in this order; notebooks as book/execution_times.json has them. `make test`
# gives each worker whole files, so a long one that is begun last would leave the others idle.
LONGEST = (
    "tests/book/test_accessibility.py",
    "notebooks",
    "tests/book/test_browser.py",
    "tests/robustness/test_kill.py",
    "tests/robustness/test_fuzz.py",
    "tests/cli",
    "tests/training",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where workers share the tests, begin with those that take long."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        times = json.loads((ROOT / "book" / "execution_times.json").read_text(encoding="utf-8"))
        seconds = {name: entry["seconds"] for name, entry in times.items()}
        items.sort(key=lambda item: rank(item.path.relative_to(ROOT).as_posix(), seconds))


def rank(path: str, seconds: dict[str, float]) -> tuple[int, float]:
    """Where a file stands in the order: its place in `LONGEST`, and a longer notebook first."""
    places = [place for place, start in enumerate(LONGEST) if path.startswith(start)]
    name = path.removeprefix("notebooks/").removesuffix(".ipynb")
    return min(places, default=len(LONGEST)), -seconds.get(name, 0.0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads, and very much so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
