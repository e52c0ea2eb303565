"""No line of a chapter or page becomes a quote, a list or a heading by accident.

Text is wrapped at a fixed width, and a line that happens to begin with `>`, `-`, `+` or `#` means
something to Markdown. The text is parsed as the book parses it, so what is found is what a reader
would see.
"""

import re
from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.myst_blocks import myst_block_plugin

from notebooks import read_source, source_names
from tests.helpers import ROOT

PARSER = (
    MarkdownIt("commonmark")
    .enable("table")
    .use(dollarmath_plugin)
    .use(colon_fence_plugin)
    .use(myst_block_plugin)  # names of places, comments
)
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in sorted(
        [*ROOT.glob("*.md"), *(ROOT / "book").glob("*.md"), *(ROOT / "book").glob("decisions/*.md")]
    )
]
OPENS = {
    "blockquote_open": "a quote",
    "bullet_list_open": "a list",
    "ordered_list_open": "a list",
    "heading_open": "a heading",
    "hr": "a line across the page",
}
ADMONITION = re.compile(r"^\{(admonition|note|tip|warning|important|seealso|hint)\}")
# Left in the text, these were meant to be read by Markdown.
LEFT = {"**": "bold", "`": "code", "](": "a link", "$": "a formula"}


def accidents(text: str) -> list[str]:
    """What Markdown takes for something else than was meant, in words, each with its line."""
    lines = text.splitlines()
    tokens = PARSER.parse(text)
    found = [*interruptions(tokens, lines), *quotes(tokens, lines), *left_over(tokens)]
    for token in tokens:
        if token.type in ("colon_fence", "fence") and ADMONITION.match(token.info):
            found += accidents(token.content)
    return found


def interruptions(tokens: list[Token], lines: list[str]) -> Iterator[str]:
    """What begins on the line right below a paragraph, and headings that are underlined."""
    ends: dict[int, set[int]] = {}  # of the paragraphs of each level, but not of a list's items
    for token in tokens:
        if token.map and token.type == "paragraph_open" and not token.hidden:
            ends.setdefault(token.level, set()).add(token.map[1])
        if token.map and token.type in OPENS:
            line = lines[token.map[0]]
            if token.map[0] in ends.get(token.level, set()):
                yield f"{OPENS[token.type]} begins in the middle of a paragraph: {line}"
            if token.type == "heading_open" and token.markup in ("-", "="):
                yield f"a line below it makes a heading of a paragraph: {line}"


def quotes(tokens: list[Token], lines: list[str]) -> Iterator[str]:
    """Where the lines of a quote were wrapped without its marks."""
    depth = 0
    for token in tokens:
        depth += (token.type == "blockquote_open") - (token.type == "blockquote_close")
        if depth and token.map and token.type == "paragraph_open":
            for line in lines[slice(*token.map)]:
                if not line.lstrip().startswith(">"):
                    yield f"a line of a quote does not begin with >: {line}"
        if depth and token.type == "inline":
            for child in token.children or []:
                if child.type == "text" and re.search(r"(^|\s)>(\s|$)", child.content):
                    yield f"a > stands inside a quoted sentence: {child.content}"


def left_over(tokens: list[Token]) -> Iterator[str]:
    """Marks that stayed in the text, since their other half is missing."""
    for token in tokens:
        for child in token.children or [] if token.type == "inline" else []:
            if child.type == "text":
                for mark, meant in LEFT.items():
                    if mark in child.content:
                        yield f"{mark} is not {meant}: {child.content}"


@pytest.mark.parametrize("name", source_names(ROOT))
def test_no_chapter_has_an_accident(name: str) -> None:
    notebook = read_source(ROOT / "notebooks" / f"{name}.py")
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert [problem for text in cells for problem in accidents(text)] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_an_accident(page: str) -> None:
    assert accidents((ROOT / page).read_text(encoding="utf-8")) == []


GOOD = """# Title

Nine is > eight, and a list has a line above it:

- one
- two, which goes on
  - and has items of its own

(a-name)=
## Another

> A quote of $K$ beams, **each** with `marks`,
> on every line.

:::{admonition} Note
- a list
:::
"""


def test_good_text_is_left_alone() -> None:
    assert accidents(GOOD) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fewer than $K$\n> of them\n", "a quote begins in the middle"),
        ("> fewer than\n$K$ > of them\n", "does not begin with >"),
        ("> fewer than $K$ > of them\n", "inside a quoted sentence"),
        ("the model\n- 3 beams and\n", "a list begins in the middle"),
        ("the sum of 2\n+ 3 is 5\n", "a list begins in the middle"),
        ("the product of 2\n* 3 is 6\n", "a list begins in the middle"),
        ("its length is\n1. Then it grows\n", "a list begins in the middle"),
        ("the sound of C\n# is higher\n", "a heading begins in the middle"),
        ("a dash\n---\nfollows\n", "makes a heading"),
        ("> fine\n>\n> the model\n> - 3 beams and\n", "a list begins in the middle"),
        (":::{note}\nthe model\n- 3 beams\n:::\n", "a list begins in the middle"),
        ("this is **bold\n", "** is not bold"),
        ("this is `code\n", "` is not code"),
        ("the [chapter](\n", "]( is not a link"),
        ("it costs $K\n", "$ is not a formula"),
    ],
)
def test_an_accident_is_found(text: str, complaint: str) -> None:
    assert any(complaint in problem for problem in accidents(text)), accidents(text)
    assert any(complaint in problem for problem in accidents(GOOD + "\n" + text))
