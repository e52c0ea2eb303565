"""The built book, and a browser to look at it with.

Without a Chromium on the PATH what needs a browser skips, and says so; REQUIRE_BROWSER=1 turns
that into a failure.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright

from tests.book.site import BROWSERS, QUIET, build_book
from tests.helpers import ROOT


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built HTML, from the working tree.

    It is built once for all tests, also where pytest-xdist has workers, each with a session of its
    own: the first that needs it builds it, in the folder that they share, and others wait.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    output, said = folder / "book", folder / "book.log"
    with FileLock(folder / "book.lock"):
        if not said.exists():
            result = build_book(ROOT, output)
            said.write_text(f"{result.stdout}\n{result.stderr}" if result.returncode else "")
    words = said.read_text()
    if words:
        pytest.fail(f"the book does not build; the end of {said}:\n{words[-3000:]}", pytrace=False)
    return output / "_build" / "html"


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
