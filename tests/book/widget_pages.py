"""Widgets on a bare page, which opens at once: what tests of one widget need."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page

from rqvae_lib.teaching.widgets import Widget
from tests.book.site import NARROW, WIDE, Watched
from tests.helpers import ROOT

# For `@pytest.mark.parametrize("watched", EVERY_PAGE, indirect=True)`.
EVERY_PAGE = [(size, scheme) for size in (WIDE, NARROW) for scheme in ("light", "dark")]

PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>A widget</title>
<link rel="stylesheet" href="{css}">
<style>
:root {{ --pst-color-accent: #a50064; }}
body {{ font-family: sans-serif; margin: 0 auto; max-width: 720px; padding: 0 16px;
  color-scheme: light; background: #fff; color: #222; }}
html[data-theme=dark] body {{ background: #14181e; color: #ced6dd; color-scheme: dark; }}
</style></head>
<body><main><h1>A widget</h1>
<div class="bd-content"><div class="cell_output"><div class="output text_html">
{widgets}
</div></div></div>
</main></body></html>
"""


def show(watched: Watched, folder: Path, *widgets: Widget) -> Page:
    """Write widgets into a page in `folder`, open it from the disk, and wait for their scripts."""
    dark = watched.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    path = folder / "widget.html"
    text = PAGE.format(
        theme="dark" if dark else "light",
        css=(ROOT / "book" / "assets" / "book.css").as_uri(),
        widgets="\n".join(each.html for each in widgets),
    )
    path.write_text(text, encoding="utf-8")
    page = watched.open(path)
    for each in widgets:
        page.wait_for_selector(f".widget[data-widget={each.name}][data-ready]")
    return page


def status(page: Page, name: str) -> str:
    """What the widget says of what it shows."""
    return page.locator(f"[data-widget={name}] [role=status]").inner_text()


def centre(locator: Locator) -> tuple[float, float]:
    """The middle of an element, in pixels of the window."""
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def looks_well(watched: Watched) -> None:
    """The page fits its window, axe-core finds nothing, nothing was complained of or fetched."""
    page = watched.page
    width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner
    assert watched.console == []
    assert watched.errors == []
    assert watched.remote == []
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(rule["id"], node["html"][:200]) for rule in found for node in rule["nodes"]] == []
    watched.console.clear()  # axe-core asks for style sheets, which a page from the disk may not
    watched.errors.clear()


def mulberry32(seed: int, count: int) -> list[float]:
    """The generator of `ui.random`, written with Python's integers."""
    mask, numbers = 2**32 - 1, []
    for _ in range(count):
        seed = (seed + 0x6D2B79F5) & mask
        t = ((seed ^ (seed >> 15)) * (seed | 1)) & mask
        t ^= (t + (t ^ (t >> 7)) * (t | 61)) & mask
        numbers.append((t ^ (t >> 14)) / 2**32)
    return numbers
