"""The built book in a real browser: wide and narrow, light and dark, opened from the disk.

Skips when no Chromium is found, and says so; REQUIRE_BROWSER=1 turns that into a failure.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from conftest import toc_pages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
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
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        reason = f"no browser: none of {', '.join(NAMES)} is on the PATH"
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


@pytest.fixture
def watched(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Watched]:
    watched = Watched(browser, *getattr(request, "param", (WIDE, "light")))
    yield watched
    watched.context.close()


SETTINGS = [(size, scheme) for size in (WIDE, NARROW) for scheme in ("light", "dark")]


@pytest.mark.parametrize("name", toc_pages())
@pytest.mark.parametrize(
    "watched",
    SETTINGS,
    indirect=True,
    ids=[f"{size['width']}-{scheme}" for size, scheme in SETTINGS],
)
def test_page(watched: Watched, built_book: Path, name: str) -> None:
    page = watched.open(built_book / f"{name}.html")

    # Every formula is typeset, and none shows an error in its place.
    untypeset = (
        "[...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container'))"
    )
    page.wait_for_function(f"{untypeset}.length === 0", timeout=20_000)
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0

    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")

    # Wide things (formulas, tables, code) scroll by themselves; the page does not.
    width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner, f"{name} is {width} px wide in a window of {inner} px"

    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert watched.errors == []
    assert watched.remote == []


def test_search_finds_the_subject(watched: Watched, built_book: Path) -> None:
    page = watched.open(built_book / "search.html", "?q=semantic")
    # Opened from the disk, a page may not read another one: the hits come without excerpts, and
    # Chromium says so in its console, which is no error of ours.
    page.wait_for_selector("#search-results li a", timeout=20_000)
    assert watched.remote == []
