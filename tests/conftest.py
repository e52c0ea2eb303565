"""Fixtures that more than one file of tests uses."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from rqvae_lib.datasets import INTERACTION_DTYPES, ITEM_DTYPES, Dataset

ROOT = Path(__file__).resolve().parents[1]


def book_flags() -> list[str]:
    """The flags of `make book`, read from the Makefile so that there is one truth."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return shlex.split(re.search(r"^BOOK_FLAGS := (.*)$", makefile, re.MULTILINE)[1])


def build_book(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Build a book as `make book` does, into `output`/_build/html."""
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(source)]
    return subprocess.run(
        [*command, "--path-output", str(output), *book_flags()], capture_output=True, text=True
    )


def toc_pages() -> list[str]:
    """Every page of the table of contents, as "book/preface" or "notebooks/00_quickstart"."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"]]

    def collect(node: object) -> None:
        if isinstance(node, list):
            for entry in node:
                collect(entry)
        elif isinstance(node, dict):
            pages.extend([node["file"]] if "file" in node else [])
            for value in node.values():
                collect(value)

    collect({key: value for key, value in toc.items() if key != "root"})
    return pages


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built HTML; built once for all tests, from the working tree."""
    output = tmp_path_factory.mktemp("book")
    result = build_book(ROOT, output)
    assert result.returncode == 0, f"the book does not build:\n{result.stdout}\n{result.stderr}"
    return output / "_build" / "html"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on several threads, and very much so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_dataset(change: Callable[[list[int]], list[int]] = list) -> Dataset:
    """90 items, 40 users of 1 to 13 interactions; `change` may rewrite each history's items."""
    chance = np.random.default_rng(0)
    rows = [
        (user, item, 1.0, time)
        for user in range(40)
        for time, item in enumerate(
            change(chance.choice(90, size=1 + user % 13, replace=False).tolist())
        )
    ]
    items = {
        "item_id": range(90), "title": "T", "year": 2000, "genres": "", "text": "T"
    }  # fmt: skip
    return Dataset(
        "small",
        pd.DataFrame(items, index=range(90)).astype(ITEM_DTYPES),
        pd.DataFrame(rows, columns=list(INTERACTION_DTYPES)).astype(INTERACTION_DTYPES),
    )
