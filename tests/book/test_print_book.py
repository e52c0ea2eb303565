"""`make pdf`: the pages one after another, with links that lead from one to the other."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Browser

import print_book
from library_api import PAGES
from print_book import anchor, document, pages_of_the_book, printable, toc_pages
from tests.helpers import ROOT

PRINTED = ["book/one", "notebooks/02_two"]
PAGE = """<article class="bd-article"><section id="top"><h1>One<a class="headerlink">#</a></h1>
<a href="../notebooks/02_two.html#part">There</a> <a href="#top">Up</a>
<a href="other.html">Not printed</a> <a href="https://example.org">Out</a>
<img src="../_images/a.png" alt="A"><button>Copy</button><script>x()</script>
<svg><defs><path id="p"/></defs><use xlink:href="#p"/><g clip-path="url(#p)"></g></svg>
</section></article>"""


def test_links_lead_to_what_is_printed() -> None:
    article = printable(PAGE, "book/one", PRINTED, Path("/built"))
    links = {link.get_text(): link["href"] for link in article.select("a")}
    assert links == {
        "There": f"#{anchor('notebooks/02_two', 'part')}",
        "Up": f"#{anchor('book/one', 'top')}",
        "Out": "https://example.org",
    }
    assert "Not printed" in article.get_text()
    assert article.img["src"].endswith("/_images/a.png")
    assert article.img["src"].startswith("file:")
    assert article["id"] == anchor("book/one")
    assert not article.select("button, script, .headerlink")


def test_ids_of_pages_differ_and_what_refers_to_them_follows() -> None:
    one, two = (printable(PAGE, name, PRINTED, Path("/built")) for name in PRINTED)
    ids = [tag["id"] for tag in [one, two, *one.select("[id]"), *two.select("[id]")]]
    assert len(ids) == len(set(ids))
    for article in (one, two):
        place = article.select_one("path")["id"]
        assert article.select_one("use")["xlink:href"] == f"#{place}"
        assert article.select_one("g")["clip-path"] == f"url(#{place})"


def test_the_document_has_contents_and_no_script() -> None:
    articles = {name: printable(PAGE, name, PRINTED, Path("/built")) for name in PRINTED}
    html = BeautifulSoup(document("A < B", articles, []), "html.parser")
    assert html.title.get_text() == "A < B"
    assert [link["href"] for link in html.select(".printed-contents a")] == [
        f"#{anchor(name)}" for name in PRINTED
    ]
    assert not html.select("script")


def test_pages_come_in_the_order_of_the_table_of_contents(tmp_path: Path) -> None:
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n"
        "- caption: One\n  chapters:\n  - file: book/one\n    sections:\n    - file: book/in_one\n"
        "  - url: https://example.org\n"
        "- caption: Two\n  chapters:\n  - file: book/two\n"
    )
    assert toc_pages(tmp_path) == ["book/intro", "book/one", "book/in_one", "book/two"]
    (tmp_path / "_toc.yml").write_text("root: a\nchapters:\n- file: b\n- file: c\n")
    assert toc_pages(tmp_path) == ["a", "b", "c"]


def test_it_prints_every_page_but_the_librarys_reference() -> None:
    left_out = set(toc_pages(ROOT)) - set(pages_of_the_book(ROOT))
    assert left_out == {"book/api", *PAGES}


def test_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_book.shutil, "which", lambda name: None)
    with pytest.raises(print_book.PrintError, match="install Chromium"):
        print_book.print_book(tmp_path, ["book/preface"], tmp_path / "x.pdf")


def test_two_pages_become_one_pdf(browser: Browser, built_book: Path, tmp_path: Path) -> None:
    """In a process of its own, since a browser is running in this one."""
    output = tmp_path / "two.pdf"
    program = ROOT / "book" / "_tools" / "print_book.py"
    pages = ["notebooks/04_residual_quantization", "book/glossary"]
    subprocess.run(
        [sys.executable, program, "--built", built_book, "--output", output, "--pages", *pages],
        check=True,
        capture_output=True,
    )
    written = output.read_bytes()
    assert written.startswith(b"%PDF")
    assert b"/Outlines" in written
    assert len(re.findall(rb"/Type\s*/Page\b", written)) > 20
    html = BeautifulSoup(output.with_suffix(".html").read_text("utf-8"), "html.parser")
    assert len(html.select("h1")) == 2
    assert all(formula.select("mjx-container") for formula in html.select(".math"))
    ids = {tag["id"] for tag in html.select("[id]")}
    inside = [link["href"] for link in html.select("a[href^='#']")]
    assert len(inside) > 20
    assert {link[1:] for link in inside if link[1:]} <= ids
