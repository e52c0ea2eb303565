"""The book as a site: how it is built, which pages it has, and a browser page that is watched."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, Request

from print_book import toc_pages
from tests.helpers import ROOT


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


# The pages that Sphinx adds; tests/book/test_book.py says if one is missing.
GENERATED = ("genindex", "search")


def site_pages() -> list[str]:
    """Every page that the built book shows, those of no table of contents last."""
    return [*toc_pages(ROOT), *GENERATED]


WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


class Watched:
    """A browser page that remembers what went wrong and what it asked for."""

    def __init__(self, browser: Browser, viewport: dict[str, int], scheme: str) -> None:
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.console: list[str] = []  # everything that was written there, errors too
        self.remote: list[str] = []
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))
        self.page.on("request", self._request)

    def _console(self, kind: str, text: str) -> None:
        self.console.append(f"{kind}: {text}")
        if kind == "error":
            self.errors.append(text)

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.remote.append(request.url)

    def open(self, path: Path, query: str = "") -> Page:
        self.page.goto(path.resolve().as_uri() + query, wait_until="load")
        return self.page
