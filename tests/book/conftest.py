"""The built book, and a browser to look at it with.

Without a Chromium on the PATH what needs a browser skips, and says so; REQUIRE_BROWSER=1 turns
that into a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from print_book import BROWSERS, QUIET, browser_program
from tests.book.site import WIDE, Watched, build_book
from tests.helpers import ROOT, made_once


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built HTML; built once for all tests, from the working tree."""

    def build(output: Path) -> None:
        result = build_book(ROOT, output)
        if result.returncode:
            (output / "log").write_text(f"{result.stdout}\n{result.stderr}", encoding="utf-8")

    folder = made_once(tmp_path_factory, "book", build)
    if (folder / "log").exists():
        words = (folder / "log").read_text(encoding="utf-8")
        pytest.fail(f"the book does not build ({folder / 'log'}):\n{words[-3000:]}", pytrace=False)
    return folder / "_build" / "html"


@pytest.fixture(scope="module")  # not longer: its event loop would be in the way of nbval's kernels
def browser() -> Iterator[Browser]:
    executable = browser_program()
    if executable is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is on the PATH"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason}, but REQUIRE_BROWSER=1")
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def watched(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """A page of its own; a test may say how large and of which colour scheme it is."""
    watched = Watched(browser, *getattr(request, "param", (WIDE, "light")))
    yield watched
    watched.context.close()
