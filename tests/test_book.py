"""The built book: whole, without errors, without anything from the network, readable aloud."""

import re
import shutil
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup

from conftest import ROOT, build_book, toc_pages

REMOTE = re.compile(r"\s*(https?:)?//", re.IGNORECASE)
# What a browser loads by itself, as (tag, attribute). <a href> is not: the reader decides.
LOADED = [
    ("script", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("source", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("video", "src"),
    ("audio", "src"),
]
NOT_LOADED_LINKS = {"canonical", "next", "prev", "search", "index", "author", "license"}
ABSENT_ALT = re.compile(r"^\s*$|\.(png|svg|jpe?g|gif|webp)\s*$|^[0-9a-f]{16,}$", re.IGNORECASE)


@cache
def read_page(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path: Path) -> set[str]:
    return {tag["id"] for tag in read_page(path).find_all(id=True)}


def html_of(built_book: Path, page: str) -> BeautifulSoup:
    return read_page(built_book / f"{page}.html")


@pytest.fixture(params=toc_pages())
def page(request: pytest.FixtureRequest) -> str:
    """Each page of the table of contents in turn."""
    return request.param


def test_page_was_built_and_has_a_title(built_book: Path, page: str) -> None:
    assert html_of(built_book, page).find("h1") is not None


def test_chapters_and_figures_have_the_number_of_their_file(built_book: Path, page: str) -> None:
    chapter = re.match(r"notebooks/0*([1-9]\d*)_", page)
    if not chapter:
        return
    html = html_of(built_book, page)
    captions = [tag.text for tag in html.select("figcaption .caption-number")]
    assert captions
    assert all(text.startswith(f"Fig. {chapter[1]}.") for text in captions)
    entry = html.select_one(".bd-sidebar-primary a[href='#']")
    assert entry is not None
    assert entry.text.strip().startswith(f"{chapter[1]}. ")


def test_index_leads_to_the_first_page(built_book: Path) -> None:
    assert f"{toc_pages()[0]}.html" in (built_book / "index.html").read_text(encoding="utf-8")


def test_page_shows_no_error(built_book: Path, page: str) -> None:
    html = html_of(built_book, page)
    assert not html.select(".traceback, .system-message, .output.stderr")
    for words in ("Execution Failed", "Traceback (most recent call last)"):
        assert words not in html.get_text()


def remote_loads(html: BeautifulSoup) -> list[str]:
    """The addresses outside the book that a browser would load with this page."""
    found = [tag[name] for kind, name in LOADED for tag in html.find_all(kind, attrs={name: True})]
    for link in html.find_all("link", href=True):
        if not NOT_LOADED_LINKS & set(link.get("rel", [])):
            found.append(link["href"])
    for style in [*html.find_all("style"), *html.find_all(style=True)]:
        text = style.get_text() if style.name == "style" else style["style"]
        found.extend(remote_in_css(text))
    return [address for address in found if REMOTE.match(address)]


def remote_in_css(text: str) -> list[str]:
    found = re.findall(r"url\(\s*['\"]?([^'\")]+)", text) + re.findall(
        r"@import\s+['\"]([^'\"]+)", text
    )
    return [address for address in found if REMOTE.match(address)]


def test_page_loads_nothing_from_elsewhere(built_book: Path, page: str) -> None:
    assert remote_loads(html_of(built_book, page)) == []


def test_styles_load_nothing_from_elsewhere(built_book: Path) -> None:
    sheets = list(built_book.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert remote_in_css(sheet.read_text(encoding="utf-8")) == [], sheet


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        '<img alt="x" src="http://example.org/x.png">',
        "<style>@import 'https://example.org/x.css';</style>",
        '<p style="background: url(https://example.org/x.png)">x</p>',
    ],
)
def test_a_remote_load_would_be_seen(html: str) -> None:
    assert len(remote_loads(BeautifulSoup(html, "html.parser"))) == 1


def test_every_image_has_words(built_book: Path, page: str) -> None:
    for image in html_of(built_book, page).find_all("img"):
        alt = image.get("alt", "")
        assert not ABSENT_ALT.search(alt), f"{page}: {image.get('src')} has the alt text {alt!r}"


def test_internal_links_lead_somewhere(built_book: Path, page: str) -> None:
    here = (built_book / f"{page}.html").resolve()
    for link in html_of(built_book, page).find_all("a", href=True):
        if urlsplit(link["href"]).scheme or REMOTE.match(link["href"]):
            continue
        address, fragment = urldefrag(unquote(link["href"]))
        target = (here.parent / urlsplit(address).path).resolve() if address else here
        assert target.exists(), f"{page}: {link['href']} leads nowhere"
        if fragment and target.suffix == ".html":
            assert fragment in anchors(target), f"{page}: {link['href']} names no anchor there"


def test_notebook_page_shows_its_measured_time(built_book: Path, page: str) -> None:
    if page.startswith("notebooks/"):
        time = html_of(built_book, page).select_one("p > .measured-time")
        assert time is not None
        assert re.search(r"Runs in (\d+ min )?\d+ s on \d+ cores? \(measured\)\.", time.get_text())


def test_status_page_lists_every_notebook(built_book: Path) -> None:
    status = html_of(built_book, "book/status").get_text()
    for name in (name for name in toc_pages() if name.startswith("notebooks/")):
        assert html_of(built_book, name).find("h1").get_text().rstrip("#") in status


def test_a_warning_fails_the_build_every_time(tmp_path: Path) -> None:
    """Without --all, a second build passes: the page that warned is not read again."""
    book = tmp_path / "source"
    (book / "book").mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", book)
    for name in ("_ext", "assets"):
        (book / "book" / name).symlink_to(ROOT / "book" / name)
    (book / "book" / "references.bib").touch()
    (book / "_toc.yml").write_text("format: jb-book\nroot: book/page\n")
    (book / "book" / "page.md").write_text("# Page\n\n[A link](no_such_page.md).\n")
    for _ in range(2):
        result = build_book(book, tmp_path / "output")
        assert result.returncode != 0
        assert "no_such_page" in result.stderr
