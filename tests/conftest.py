"""Fixtures that more than one file of tests uses.

Without a Chromium on the PATH what needs a browser skips, and says so; REQUIRE_BROWSER=1 turns
that into a failure.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from playwright.sync_api import Browser, Page, Request, sync_playwright

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


GENERATED = ("genindex", "search")  # pages that Sphinx adds; tests/test_pages.py says if one lacks


def site_pages() -> list[str]:
    """Every page that the built book shows, those of no table of contents last."""
    return [*toc_pages(), *GENERATED]


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built HTML; built once for all tests, from the working tree."""
    output = tmp_path_factory.mktemp("book")
    result = build_book(ROOT, output)
    assert result.returncode == 0, f"the book does not build:\n{result.stdout}\n{result.stderr}"
    return output / "_build" / "html"


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = [  # no sandbox, since a CI may be root; no calls of the browser's own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")  # not longer: its event loop would be in the way of nbval's kernels
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is on the PATH"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason}, but REQUIRE_BROWSER=1")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser
        browser.close()


class Watched:
    """A browser page that remembers what went wrong and what it asked for."""

    def __init__(self, browser: Browser, viewport: dict[str, int], scheme: str) -> None:
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.remote: list[str] = []
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))
        self.page.on("request", self._request)

    def _console(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.remote.append(request.url)

    def open(self, path: Path, query: str = "") -> Page:
        self.page.goto(path.resolve().as_uri() + query, wait_until="load")
        return self.page


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
