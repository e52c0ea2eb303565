"""Print the built book, or some of its pages, into one PDF: `make pdf`.

    python book/_tools/print_book.py                                  # all, after `make book`
    python book/_tools/print_book.py --pages notebooks/00_quickstart  # one chapter

It needs the built pages, playwright (the extra `test` brings it) and a Chromium or Chrome on the
PATH; no LaTeX. Each page is opened in the browser, so that formulas are set and figures drawn, and
laid out for paper as `book/assets/book.css` and `book.js` say. What is then in its article is put
one after another into a single document without scripts, in which a link from page to page leads
from place to place. Printing that gives a PDF with working links, page numbers and an outline. The
reference of the library is left out, unless its pages are named.
"""

import argparse
import posixpath
import re
import shutil
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Error, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "_build" / "html"
OUTPUT = ROOT / "_build" / "pdf" / "semantic-ids-from-scratch.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = [  # no sandbox, since a CI may be root; no calls of the browser's own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
SHEET = {"width": 680, "height": 1000}  # what book.css leaves of A4, in CSS pixels

DRAWN = """() => [...document.querySelectorAll(".math")].every(
    (formula) => formula.querySelector("mjx-container"))"""
# What a script draws into a canvas is no part of the document, so it becomes a picture.
ARTICLE = """() => {
  dispatchEvent(new Event("beforeprint"));
  for (const canvas of document.querySelectorAll("article canvas")) {
    const image = new Image(canvas.clientWidth, canvas.clientHeight);
    image.src = canvas.toDataURL();
    image.alt = canvas.getAttribute("aria-label") || "";
    canvas.replaceWith(image);
  }
  return document.querySelector("article.bd-article").outerHTML;
}"""
# MathJax writes its own into the page.
STYLES = """() => [...document.head.querySelectorAll("link[rel=stylesheet], style")].map(
    (one) => one.href ? `<link rel="stylesheet" href="${one.href}">` : one.outerHTML)"""
FOOTER = """<div style="font-size: 8px; width: 100%; text-align: center; color: #555">
<span class="pageNumber"></span></div>"""
STYLE = """
.printed { break-before: page; }
.printed h1 { display: block !important; font-size: 2.2em; margin-top: 0; }
.printed-contents li { margin: 0.2em 0; list-style: none; }
.printed-title { margin-top: 60mm; text-align: center; font-size: 2.4em; font-weight: 600; }
"""


class PrintError(Exception):
    """The book cannot be printed: says what is missing, and where it comes from."""


def pages_of_the_book(root: Path) -> list[str]:
    """What is printed if nobody says otherwise: all but the reference of the library.

    That is made to be searched, and would be a third of the sheets.
    """
    return [page for page in toc_pages(root) if not page.startswith("book/api")]


def toc_pages(root: Path) -> list[str]:
    """Every page of the table of contents, in its order, as "book/preface"."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: object) -> list[str]:
        if isinstance(node, list):
            return [file for entry in node for file in files(entry)]
        if not isinstance(node, dict):
            return []
        own = [node["file"]] if "file" in node else []
        return own + [file for value in node.values() for file in files(value)]

    return [toc["root"], *files(toc)]


def browser_program() -> str | None:
    """The first of the browsers that is on the PATH."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def anchor(page: str, fragment: str = "") -> str:
    """The id, in the printed document, of a page or of a place in it."""
    slug = re.sub(r"\W+", "-", page)
    return f"{slug}--{fragment}" if fragment else slug


def own_ids(article: Tag, page: str) -> None:
    """Make a page's ids and what refers to them differ from those of other pages, in place."""
    for tag in article.find_all(id=True):
        tag["id"] = anchor(page, tag["id"])
    for tag in article.find_all(True):
        for name, value in list(tag.attrs.items()):
            if name == "xlink:href" or (name == "href" and tag.name == "use"):
                tag[name] = f"#{anchor(page, value.removeprefix('#'))}"
            elif isinstance(value, str) and "url(#" in value:
                tag[name] = re.sub(
                    r"url\(#([^)]+)\)", lambda found: f"url(#{anchor(page, found[1])})", value
                )


def relink(article: Tag, page: str, printed: Iterable[str], built: Path) -> None:
    """Let links lead to what is printed, and pictures to their files, in place.

    A link to a page that is not printed becomes plain text; one to the web stays.
    """
    printed = set(printed)
    folder = posixpath.dirname(page)
    for link in article.select("a[href]"):
        parts = urlsplit(link["href"])
        if parts.scheme or parts.netloc:
            continue
        address, fragment = urldefrag(unquote(link["href"]))
        target = posixpath.normpath(posixpath.join(folder, address)) if address else f"{page}.html"
        name = target.removesuffix(".html")
        if name in printed:
            link["href"] = f"#{anchor(name, fragment)}"
        else:
            link.unwrap()
    for picture in article.select("img[src]"):
        if not urlsplit(picture["src"]).scheme:
            source = unquote(urlsplit(picture["src"]).path)
            picture["src"] = (built / folder / source).resolve().as_uri()


def printable(html: str, page: str, printed: Iterable[str], built: Path) -> Tag:
    """A page's article as a part of the printed document."""
    article = BeautifulSoup(html, "html.parser").find("article")
    for tag in article.select("script, noscript, button, .headerlink, .prev-next-footer"):
        tag.decompose()
    own_ids(article, page)
    relink(article, page, printed, built)
    article["id"] = anchor(page)
    article["class"] = [*article.get("class", []), "printed"]
    return article


def document(title: str, articles: dict[str, Tag], styles: list[str]) -> str:
    """The whole document: a title, the contents, the pages one after another."""
    lines = []
    for page, article in articles.items():
        heading = article.find("h1")
        words = " ".join(heading.get_text().split()) if heading else page
        lines.append(f'<li><a href="#{anchor(page)}">{escape(words)}</a></li>')
    return (
        f'<!doctype html><html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>{escape(title)}</title>{"".join(styles)}'
        f"<style>{STYLE}</style></head>"
        f'<body><main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
        f'<article class="bd-article"><p class="printed-title">{escape(title)}</p></article>'
        f'<article class="bd-article printed printed-contents"><h2>Contents</h2>'
        f"<ul>{''.join(lines)}</ul></article>"
        f"{''.join(map(str, articles.values()))}</div></div></main></body></html>"
    )


def read_article(sheet: Page, path: Path) -> tuple[str, list[str]]:
    """A page's article as it is laid out for paper, and the styles that it needs, as HTML.

    Raises:
        PrintError: if there is no such page.
    """
    if not path.exists():
        raise PrintError(
            f"there is no {path}: run `make book` first, and name pages as in _toc.yml"
        )
    sheet.emulate_media(media="screen")
    sheet.goto(path.as_uri(), wait_until="load")
    sheet.wait_for_function(DRAWN)
    sheet.emulate_media(media="print")
    return sheet.evaluate(ARTICLE), sheet.evaluate(STYLES)


def print_book(built: Path, pages: list[str], output: Path) -> None:
    """Print pages of a built book.

    Args:
        built: the folder of the HTML.
        pages: their names as in the table of contents, in the order in which they are printed.
        output: the PDF; the document that is printed stays beside it, as .html.

    Raises:
        PrintError: without a browser, or if a page was not built.
    """
    program = browser_program()
    if program is None:
        raise PrintError(
            f"found none of {', '.join(BROWSERS)} on the PATH: install Chromium or Chrome"
        )
    title = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["title"]
    articles: dict[str, Tag] = {}
    styles: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        sheet = browser.new_context(viewport=SHEET, color_scheme="light").new_page()
        for page in pages:
            html, needed = read_article(sheet, (built / f"{page}.html").resolve())
            styles += [style for style in needed if style not in styles]
            articles[page] = printable(html, page, pages, built)
        output.parent.mkdir(parents=True, exist_ok=True)
        source = output.with_suffix(".html")
        source.write_text(document(title, articles, styles), encoding="utf-8")
        sheet.goto(source.resolve().as_uri(), wait_until="load", timeout=300_000)
        sheet.set_default_timeout(600_000)
        sheet.pdf(
            path=output,
            format="A4",
            prefer_css_page_size=True,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
        )
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pages", nargs="+", help="some pages only, as in _toc.yml")
    parser.add_argument("--built", type=Path, default=BUILT, help="the folder of the built HTML")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the PDF to write")
    chosen = parser.parse_args()
    try:
        print_book(chosen.built, chosen.pages or pages_of_the_book(ROOT), chosen.output)
    except (PrintError, Error) as error:
        sys.exit(f"print_book: {error}")
    sys.stdout.write(f"{chosen.output}\n")


if __name__ == "__main__":
    main()
