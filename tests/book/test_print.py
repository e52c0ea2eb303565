"""A page on paper: the text alone, nothing cut off, nothing folded, dark on white.

Chromium lays a page out for paper when it is told that its medium is print, and tells the page so
by the events that book.js hears; the last test goes the whole way, to a PDF.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from print_book import toc_pages
from tests.book.site import site_pages
from tests.helpers import ROOT

A4 = {"width": 680, "height": 1000}  # what book.css leaves of A4 between the margins, in CSS pixels
SHEET = re.compile(rb"/Type\s*/Page\b")

# What sticks out of the sheet, or is cut off by a box that would scroll.
CUT_OFF = """() => [...document.querySelectorAll("article *")].filter((element) => {
  const box = element.getBoundingClientRect();
  if (!box.width || element.parentElement.closest("mjx-assistive-mml, svg")) return false;
  const hides = getComputedStyle(element).overflowX !== "visible";
  return box.right > innerWidth + 1 || (hides && element.scrollWidth > element.clientWidth + 1);
}).map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 60)}`)"""
SHOWN = (
    "(selector) => [...document.querySelectorAll(selector)].filter(e => e.checkVisibility()).length"
)


@pytest.fixture(scope="module")
def paper(browser: Browser) -> Iterator[Page]:
    """A reader in dark mode, about to print."""
    context = browser.new_context(viewport=A4, color_scheme="dark")
    yield context.new_page()
    context.close()


def lay_out(page: Page, path: Path) -> None:
    page.emulate_media(media="screen")
    page.goto(path.resolve().as_uri(), wait_until="load")
    page.wait_for_function(
        "[...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-container'))"
    )
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")


@pytest.mark.parametrize("name", site_pages())
def test_nothing_is_cut_off_and_only_the_text_is_printed(
    paper: Page, built_book: Path, name: str
) -> None:
    lay_out(paper, built_book / f"{name}.html")
    assert paper.evaluate(CUT_OFF) == []
    around = ".bd-sidebar-primary, .bd-sidebar-secondary, .bd-header-article, .prev-next-footer"
    assert paper.evaluate(SHOWN, f"{around}, .copybtn, .headerlink, #pst-back-to-top") == 0
    assert paper.evaluate(SHOWN, "h1") == 1
    assert paper.evaluate("document.documentElement.dataset.theme") == "light"
    assert paper.evaluate("[...document.querySelectorAll('details:not([open])')].length") == 0


def test_figures_stay_whole_and_code_goes_on_over_the_page(paper: Page, built_book: Path) -> None:
    lay_out(paper, built_book / "notebooks" / "00_quickstart.html")
    breaks = "(s) => [...document.querySelectorAll(s)].map(e => getComputedStyle(e).breakInside)"
    assert set(paper.evaluate(breaks, "figure")) == {"avoid"}
    assert set(paper.evaluate(breaks, "h2, h3")) == {"avoid"}
    assert set(paper.evaluate(breaks, ".cell_input pre, .cell_input div")) == {"auto"}
    wraps = "[...document.querySelectorAll('pre')].map(e => getComputedStyle(e).whiteSpace)"
    assert set(paper.evaluate(wraps)) == {"pre-wrap"}
    # No address is written out behind a link.
    written = "getComputedStyle(link, '::after').content"
    after = f"[...document.querySelectorAll('article a')].map((link) => {written})"
    assert not any("http" in content for content in paper.evaluate(after))


def test_after_printing_the_page_is_as_it_was(paper: Page, built_book: Path) -> None:
    path = built_book / "notebooks" / "00_quickstart.html"
    lay_out(paper, path)
    assert paper.evaluate(SHOWN, "details[open]") > 3
    paper.evaluate("dispatchEvent(new Event('afterprint'))")
    assert paper.evaluate("document.documentElement.dataset.theme") == "dark"
    assert paper.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_the_style_for_paper_is_needed(paper: Page, built_book: Path) -> None:
    """Without book.css code is cut off: the first test can fail."""
    lay_out(paper, built_book / "notebooks" / "01_data_splits_leakage.html")
    paper.evaluate("document.querySelector('link[href*=\"book.css\"]').remove()")
    assert paper.evaluate(CUT_OFF) != []


def test_chromium_prints_a_chapter(paper: Page, built_book: Path) -> None:
    """To a PDF, by the very way of the browser's print command; a chapter is no endless scroll."""
    paper.emulate_media(media="screen")
    paper.goto((built_book / f"{toc_pages(ROOT)[1]}.html").resolve().as_uri(), wait_until="load")
    paper.evaluate("addEventListener('beforeprint', () => { window.printed = true; })")
    printed = paper.pdf(prefer_css_page_size=True, print_background=False)
    assert printed.startswith(b"%PDF")
    assert 3 <= len(SHEET.findall(printed)) <= 30
    assert paper.evaluate("window.printed")  # so book.js has heard of it, too
    assert paper.evaluate("document.querySelectorAll('details[open]').length") == 0
