"""The map of the book, and ways through it, drawn and added up when the book is built.

- `{book-map}`: a drawing of what each chapter builds on, an SVG in the page, in the theme's own
  colors, each box a link. An arrow stands for a row of a chapter's table "You need", unless another
  way of arrows leads there already: who has read 03 for 04 needs no arrow from 03 to 05. So the map
  changes with the tables;
- `{reading-way}`: a table of pages, or sections of pages, with the minutes that they take and their
  sum. Each line of its content is `page | section; section | what for`.

Minutes are those that book/_tools/reading_times.py counts, to 5 on the map.
"""

import re
import sys
from html import escape
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from semantic_ids_book import Table

sys.path.append(str(Path(__file__).resolve().parents[1] / "_tools"))

import reading_times

WIDTH = 380  # of the drawing, as wide as a telephone
LINE = 16
NEEDS = re.compile(r"^\| You need \| Why \| Where \|\n(?:\|.*\n)*", re.MULTILINE)
CHAPTER = re.compile(r"\((\d\d)_\w+\.ipynb\)")
TEXT, MUTED, PANEL, EDGE = (
    f"var(--pst-color-{name}, {plain})"
    for name, plain in (
        ("text-base", "#222"),
        ("text-muted", "#667"),
        ("surface", "#f3f4f5"),
        ("border", "#c9c9c9"),
    )
)


class Place(NamedTuple):
    """Where a chapter's box stands, and what it is about."""

    x: int
    y: int
    width: int
    topic: str


LEFT, MIDDLE, RIGHT = 0, 128, 262  # of the three columns
BOX = 118
HEIGHT = 50
ROW = 76  # from one row of boxes to the next
WIDE = RIGHT + BOX - MIDDLE
PLACES = {
    "00": Place(MIDDLE, 4, WIDE, "Quickstart: the whole pipeline"),
    "01": Place(MIDDLE, 4 + ROW, WIDE, "Data, splits and leakage"),
    **{
        number: Place(column, 28 + row * ROW, BOX, topic)
        for number, column, row, topic in (
            ("02", MIDDLE, 2, "Item embeddings"),
            ("03", MIDDLE, 3, "Codebooks and k-means"),
            ("04", MIDDLE, 4, "Residual quantization"),
            ("05", MIDDLE, 5, "Training the RQ-VAE"),
            ("06", MIDDLE, 6, "Collisions"),
            ("07", LEFT, 5, "Maps of the codes (UMAP)"),
            ("08", RIGHT, 2, "Training a decoder"),
            ("09", RIGHT, 3, "Constrained generation"),
            ("10", RIGHT, 4, "Three architectures"),
            ("11", RIGHT, 5, "Honest evaluation"),
        )
    },
    "12": Place(MIDDLE, 52 + 7 * ROW, BOX, "Scaling out"),
    "13": Place(RIGHT, 52 + 7 * ROW, BOX, "Your own catalogue"),
}
PARTS = (  # what is written above a column
    (MIDDLE, 22 + 2 * ROW, "Part I"),
    (RIGHT, 22 + 2 * ROW, "Part II"),
    (LEFT + 60, 72 + 7 * ROW, "Part III"),
)
LOOK_UP = (  # pages without a place in the order
    ("choosing", "Choosing"),
    ("reading_a_paper", "Reading a paper"),
    ("troubleshooting", "Symptoms and causes"),
    ("glossary", "Glossary"),
    ("results", "Results"),
    ("library_layout", "The library's files"),
)


def needs() -> dict[str, set[str]]:
    """The chapters that each chapter's table "You need" names, by number.

    Raises:
        ValueError: if a chapter has no place on the map, or a place no chapter.
    """
    found = {}
    for page in reading_times.chapters():
        table = NEEDS.search(reading_times.text_of(page) + "\n")
        found[_number(page)] = set(CHAPTER.findall(table[0] if table else ""))
    if set(found) != set(PLACES):
        odd = ", ".join(sorted(set(found) ^ set(PLACES)))
        raise ValueError(
            f"chapters {odd}: give each a place in {Path(__file__).name}, and no other"
        )
    return found


def arrows(needed: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The pairs (first, then) that no longer way of pairs says already, in order."""

    def before(number: str) -> set[str]:
        return set().union(*({name} | before(name) for name in needed[number]))

    return sorted(
        (first, then)
        for then, firsts in needed.items()
        for first in firsts
        if not any(first in before(other) for other in firsts - {first})
    )


def _number(page: str) -> str:
    return page.removeprefix("notebooks/")[:2]


def _wrapped(topic: str, width: int) -> list[str]:
    """A topic in one or two lines."""
    if len(topic) * 7 < width - 14:
        return [topic]
    cut = min(
        (place for place, letter in enumerate(topic) if letter == " "),
        key=lambda place: abs(place - len(topic) / 2 - 1),
    )
    return [topic[:cut], topic[cut + 1 :]]


def _words(x: float, y: float, text: str, style: str = "", fill: str = TEXT) -> str:
    return f'<text x="{x}" y="{y}" {style} style="fill:{fill}">{escape(text)}</text>'


def _box(place: Place, lines: list[str], last: str, address: str) -> str:
    """A box with lines in it, which is a link."""
    top = place.y + (HEIGHT - LINE * (len(lines) + bool(last))) / 2 + 12
    written = [_words(place.x + 8, top + LINE * row, line) for row, line in enumerate(lines)]
    if last:
        written.append(_words(place.x + 8, top + LINE * len(lines), last, fill=MUTED))
    return (
        f'<a href="{escape(address)}"><rect x="{place.x + 1}" y="{place.y}" '
        f'width="{place.width - 2}" height="{HEIGHT}" rx="6" '
        f'style="fill:{PANEL};stroke:{EDGE}" stroke-width="1.5"/>{"".join(written)}</a>'
    )


def _arrow(first: Place, then: Place) -> str:
    """A line from the lower edge of one box to the upper edge of another."""
    start = min(max(then.x + then.width / 2, first.x + 8), first.x + first.width - 8)
    end = min(max(start, then.x + 5), then.x + then.width - 5)
    top, bottom = first.y + HEIGHT, then.y - 3
    shift = 6 * (end - start) / (bottom - top)  # the tip leans as the line does
    left, right = round(end - 5 - shift, 1), round(end + 5 - shift, 1)
    return (
        f'<path d="M{start} {top}L{end} {bottom}M{left} {bottom - 7}L{end} {bottom}'
        f'L{right} {bottom - 7}" fill="none" style="stroke:{MUTED}" stroke-width="1.5" '
        'stroke-linejoin="round"/>'
    )


def in_words(pairs: list[tuple[str, str]]) -> str:
    """What the arrows say, for whoever does not see them."""
    after: dict[str, list[str]] = {}
    for first, then in pairs:
        after.setdefault(then, []).append(first)
    told = [f"{then} builds on {' and '.join(firsts)}" for then, firsts in sorted(after.items())]
    return (
        f"The chapters as boxes, with an arrow from each to what builds on it: {'; '.join(told)}."
    )


def draw(addresses: dict[str, str]) -> str:
    """The map as SVG.

    Args:
        addresses: where each page is, by its name in the table of contents.
    """
    pairs = arrows(needs())
    parts = [_arrow(PLACES[first], PLACES[then]) for first, then in pairs]
    for page in reading_times.chapters():
        number = _number(page)
        place = PLACES[number]
        minutes = reading_times.rounded(reading_times.counts_of(page).minutes)
        lines = _wrapped(f"{number} {place.topic}", place.width)
        parts.append(_box(place, lines[:2], f"{minutes} minutes", addresses[page]))
    parts += [_words(x + 4, y, part, 'font-weight="600"', MUTED) for x, y, part in PARTS]
    for row, line in enumerate(("An arrow leads to", "what builds on a", "chapter.")):
        parts.append(_words(LEFT, 20 + LINE * row, line, fill=MUTED))
    bottom = max(place.y for place in PLACES.values()) + HEIGHT + 34
    parts.append(_words(LEFT, bottom, "To look things up, at any time", 'font-weight="600"', MUTED))
    for index, (name, title) in enumerate(LOOK_UP):
        row, column = divmod(index, 3)
        place = Place((LEFT, MIDDLE, RIGHT)[column], bottom + 10 + row * (HEIGHT + 8), BOX, title)
        parts.append(_box(place, _wrapped(title, BOX), "", addresses[f"book/{name}"]))
    height = bottom + 10 + 2 * (HEIGHT + 8)
    return (
        f'<svg class="book-map" viewBox="0 0 {WIDTH} {height}" role="group" '
        f'aria-label="{escape(in_words(pairs))}" '
        'style="display:block;width:100%;max-width:560px;height:auto;margin:1rem auto" '
        f'font-family="inherit" font-size="13">{"".join(parts)}</svg>'
    )


class BookMap(SphinxDirective):
    """`{book-map}`: the drawing."""

    def run(self) -> list[nodes.Node]:
        pages = [*reading_times.chapters(), *(f"book/{name}" for name, _ in LOOK_UP)]
        for page in reading_times.chapters():
            self.env.note_dependency(f"{page}.ipynb")
        builder = self.env.app.builder
        addresses = {
            page: builder.get_relative_uri(self.env.docname, page) or "#" for page in pages
        }
        return [nodes.raw("", draw(addresses), format="html")]


class ReadingWay(Table):
    """`{reading-way}`: a table of what to read, with the minutes that it takes.

    `notebooks/*` stands for all chapters but the quickstart. Where a chapter is read as a whole,
    the minutes that its exercises say stand behind a plus, those of open tasks left out.
    """

    optional_arguments = 0
    has_content = True

    def markdown(self) -> list[str]:
        rows = ["| Read | What for | Minutes |", "| --- | --- | ---: |"]
        read = practised = 0.0
        for line in self.content:
            page, sections, reason = three_parts(line, self.env.docname)
            every = page == "notebooks/*"
            names = [name.strip() for name in sections.split(";") if name.strip()]
            pages = reading_times.chapters()[1:] if every else [page]
            minutes = sum(reading_times.counts_of(one, *names).minutes for one in pages)
            whole = [one for one in pages if one.startswith("notebooks/") and not names]
            exercises = sum(map(reading_times.exercise_minutes, whole))
            for one in pages:
                self.env.note_dependency(f"{one}{'.ipynb' if 'notebooks/' in one else '.md'}")
            where = "chapters 01 to 13" if every else f"{{doc}}`/{page}`"
            only = f"{' and '.join(f'“{name}”' for name in names)} of " if names else ""
            more = f" + {exercises}" if exercises else ""
            rows.append(f"| {only}{where} | {reason} | {max(1, round(minutes))}{more} |")
            read, practised = read + minutes, practised + exercises
        more = f" + {in_hours(practised)}" if practised else ""
        return [*rows, f"| *all of it* | | *{in_hours(read)}{more}* |"]

    def run(self) -> list[nodes.Node]:
        found = super().run()
        for table in (table for node in found for table in node.findall(nodes.table)):
            table["classes"].append("reading-way")
        return found


def three_parts(line: str, where: str) -> list[str]:
    """The page, its sections and the reason of a line of `{reading-way}`.

    Raises:
        ValueError: for a line of another form; `where` is the page that it stands on.
    """
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != 3:
        raise ValueError(
            f"{where}, a line of {{reading-way}}: found {line!r}, which has {len(parts)} parts; "
            "expected `page | section; section | what for`"
        )
    return parts


def in_hours(minutes: float) -> str:
    """Minutes, to five, as "4 h 25 min"."""
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return " ".join(f"{number} {unit}" for number, unit in ((hours, "h"), (rest, "min")) if number)


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("book-map", BookMap)
    app.add_directive("reading-way", ReadingWay)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
