"""The built book: whole, without errors, without anything from the network, readable aloud."""

import re
import shutil
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup

from print_book import toc_pages
from tests.book.site import build_book, site_pages
from tests.helpers import ROOT

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
ABSENT_ALT = re.compile(
    r"^\s*$|\.(png|svg|jpe?g|gif|webp)\s*$|^[0-9a-f]{16,}$|^\s*(image|figure|picture|plot)\s*$",
    re.IGNORECASE,
)


@cache
def read_page(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(path: Path) -> set[str]:
    return {tag["id"] for tag in read_page(path).find_all(id=True)}


def html_of(built_book: Path, page: str) -> BeautifulSoup:
    return read_page(built_book / f"{page}.html")


@pytest.fixture(params=site_pages())
def page(request: pytest.FixtureRequest) -> str:
    """Each page of the book in turn."""
    return request.param


def test_no_page_is_left_out_of_the_tests(built_book: Path) -> None:
    built = {path.relative_to(built_book) for path in built_book.rglob("*.html")}
    pages = {path.with_suffix("").as_posix() for path in built if path.parts[0] != "_static"}
    pages.remove("index")  # it only leads to the first page
    assert pages == set(site_pages()), "a page that Sphinx adds is named in site.GENERATED"


def test_page_was_built_and_has_a_title(built_book: Path, page: str) -> None:
    assert html_of(built_book, page).find("h1") is not None


def test_chapters_and_figures_have_the_number_of_their_file(built_book: Path, page: str) -> None:
    chapter = re.match(r"notebooks/0*([1-9]\d*)_", page)
    if not chapter:
        return
    html = html_of(built_book, page)
    captions = [tag.text for tag in html.select("figcaption .caption-number")]
    assert captions  # numbered as `book/_tools/figures.py` numbers them for JupyterLab
    assert [text.strip() for text in captions] == [
        f"Fig. {chapter[1]}.{place}" for place in range(1, len(captions) + 1)
    ]
    entry = html.select_one(".bd-sidebar-primary a[href='#']")
    assert entry is not None
    assert entry.text.strip().startswith(f"{chapter[1]}. ")


def test_index_leads_to_the_first_page(built_book: Path) -> None:
    assert f"{toc_pages(ROOT)[0]}.html" in (built_book / "index.html").read_text(encoding="utf-8")


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


def test_only_pages_with_formulas_load_mathjax(built_book: Path, page: str) -> None:
    html = html_of(built_book, page)
    loads = any("mathjax" in script["src"] for script in html.find_all("script", src=True))
    assert loads == bool(html.select(".math"))


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


def wordless(html: BeautifulSoup) -> list[str]:
    """The pictures whose alt text says nothing, or nothing but what the caption says anyway."""
    found = []
    for image in html.find_all("img"):
        figure = image.find_parent("figure")
        caption = figure and (figure.select_one(".caption-text") or figure.find("figcaption"))
        said = caption.get_text().strip(" #\n") if caption else None
        alt = image.get("alt", "")
        if ABSENT_ALT.search(alt) or alt.strip() == said:
            found.append(f"{image.get('src')} has the alt text {alt!r}")
    return found


def test_every_image_has_words(built_book: Path, page: str) -> None:
    assert wordless(html_of(built_book, page)) == []


@pytest.mark.parametrize(
    "html",
    [
        '<img src="x.png">',
        '<img src="x.png" alt=" ">',
        '<img src="x.png" alt="image">',
        '<img src="x.png" alt="../_images/0123456789abcdef.png">',
        '<figure><img src="x.png" alt="Recall rises."><figcaption><p><span class="caption-number">'
        'Fig. 1</span><span class="caption-text">Recall rises.</span><a>#</a></p></figcaption>',
    ],
)
def test_an_image_without_words_is_seen(html: str) -> None:
    assert len(wordless(BeautifulSoup(html, "html.parser"))) == 1
    said = re.sub('src="x.png".*?>', 'src="x.png" alt="A curve from 0 to 1, rising">', html)
    assert wordless(BeautifulSoup(said, "html.parser")) == []


def outline(html: BeautifulSoup) -> list[int]:
    """The levels of the headings that are read, in order; not of those that only paper shows."""
    headings = html.select("main :is(h1, h2, h3, h4, h5, h6)")
    return [int(tag.name[1]) for tag in headings if not tag.find_parent(class_="onlyprint")]


def is_sound(levels: list[int]) -> bool:
    """One h1, first; and no level is skipped on the way down."""
    one = levels[:1] == [1] and levels.count(1) == 1
    return one and all(below <= above + 1 for above, below in pairwise(levels))


def test_headings_are_in_order(built_book: Path, page: str) -> None:
    levels = outline(html_of(built_book, page))
    assert is_sound(levels), levels


@pytest.mark.parametrize("levels", [[], [2, 1], [1, 3], [1, 2, 1], [1, 2, 4, 3]])
def test_a_broken_outline_is_seen(levels: list[int]) -> None:
    assert not is_sound(levels)
    assert is_sound([1, 2, 3, 3, 2, 3, 4, 2])


def test_page_says_its_language_and_title(built_book: Path, page: str) -> None:
    html = html_of(built_book, page)
    assert html.find("html")["lang"] == "en"
    heading = html.select_one("main h1:not(.onlyprint *)").get_text().rstrip("#").strip()
    title = html.find("title").get_text()
    assert re.fullmatch(f"{re.escape(heading)} [—-] Semantic IDs from Scratch", title)


def test_no_two_pages_have_the_same_title(built_book: Path) -> None:
    titles = [html_of(built_book, name).find("title").get_text() for name in site_pages()]
    assert len(set(titles)) == len(titles)


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
    for name in (name for name in toc_pages(ROOT) if name.startswith("notebooks/")):
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
