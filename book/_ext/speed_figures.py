"""The pictures on the page on speed, drawn from book/_speed.md when the book is built.

- `{speed-tables}`: the sections of book/_speed.md, a picture of the ratios below each table;
- `{speed-growth}`: a figure of how the times grow with items, users, beams and ratings. Rows that
  differ in such a number only are one line of it, in whatever sections they stand.

So `make bench` is all it takes: a new row or section is in the pictures with the next build. They
are SVG in the page in the theme's own colors, which are others in dark mode.
"""

import math
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

from semantic_ids_book import Table

SPEED = "book/_speed.md"  # written by tests/benchmarks/run.py
OTHERS = re.compile(  # what a case is called that is not the library's own
    r"alone|NumPy|ResidualVQ|rectokens|faiss|scikit-learn|transformers|pandas|polars"
)
ROW = re.compile(r"^\| (?P<case>.+?) \| (?P<ms>[\d,.]+) \| (?P<ratio>[\d,.]+) \|(?P<rest>.*)\|$")
SPREAD = re.compile(r"^ ([\d,.]+)–([\d,.]+) \|")
AXES = {  # what grows, and how a title or a case says how much there is of it
    "items": re.compile(r"([\d,]+)(?= items(?! each| of)| × 32)"),
    "users": re.compile(r"([\d,]+)(?= users?\b)"),
    "beams": re.compile(r"([\d,]+)(?= beams)"),
    "ratings": re.compile(r"([\d,]+)(?= ratings)"),
}
WIDTH, LINE, TRACK = 380, 17, 20  # of a drawing; heights of a line of text and of a row of marks
TEXT, MUTED, OURS = (
    f"var(--pst-color-{name}, {plain})"
    for name, plain in (("text-base", "#222"), ("text-muted", "#667"), ("primary", "#0072b2"))
)


class Measured(NamedTuple):
    """A row of a table."""

    case: str
    milliseconds: float
    ratio: float  # to the reference of its section
    low: float  # the middle half of the rounds' ratios; the ratio itself where it is not known
    high: float


class Section(NamedTuple):
    """A table with its heading."""

    title: str
    reference: str
    rows: list[Measured]
    text: str  # as it stands in the file


class Mark(NamedTuple):
    """What is drawn in one row: dots on a track, a bar over what they range over."""

    label: str
    value: str  # in words, at the end of the label
    dots: list[float]
    bar: tuple[float, float]
    ours: bool
    expected: float | None = None  # where a hollow square stands
    group: str = ""  # written above the first of several with the same


def read(text: str) -> tuple[str, list[Section]]:
    """The first line of book/_speed.md, on what was measured, and its sections.

    Raises:
        ValueError: if there is no section, or one has no row or no reference.
    """
    head, *parts = re.split(r"^## ", text, flags=re.M)
    sections = []
    for part in parts:
        title = part.split("\n", 1)[0]
        reference = re.search(r"\| ÷ (.+?) \|", part)
        rows = [measured(match) for match in map(ROW.match, part.splitlines()) if match]
        if not (reference and rows):
            raise ValueError(f"{SPEED}, section {title!r}: no table as harness.py writes it")
        sections.append(Section(title, reference[1], rows, f"## {part}"))
    if not sections:
        raise ValueError(f"{SPEED} has no section: run `make bench`")
    return head.strip(), sections


def measured(match: re.Match[str]) -> Measured:
    ratio = number(match["ratio"])
    spread = SPREAD.match(match["rest"])
    low, high = (number(spread[1]), number(spread[2])) if spread else (ratio, ratio)
    return Measured(match["case"], number(match["ms"]), ratio, low, high)


def number(text: str) -> float:
    return float(text.replace(",", ""))


def ratios(section: Section) -> list[Mark]:
    """A row of the picture for each row of a table."""
    return [
        Mark(
            row.case,
            f"{row.ratio:.2f}",
            [row.ratio],
            (row.low, row.high),
            not OTHERS.search(row.case),
        )
        for row in section.rows
    ]


def growth(sections: list[Section], axis: str) -> list[Mark]:
    """How many times longer it takes with more items, users or beams, for all that was measured.

    Returns:
        A row for each case that was measured with at least two sizes, the smallest being 1.
    """
    series: dict[tuple[str, str], dict[float, float]] = {}
    for section in sections:
        for row in section.rows:
            # One user and two users are written alike, so that they can be told to be one series.
            words = re.sub(r"\b1 user\b", "1 users", f"{section.title}\n{row.case}")
            found = AXES[axis].findall(words)
            if len(found) != 1:
                continue
            title, case = AXES[axis].sub("…", words).split("\n")
            series.setdefault((title, case), {})[number(found[0])] = row.milliseconds
    marks = []
    for (title, case), times in series.items():
        sizes = sorted(times)
        if len(sizes) < 2:
            continue
        shown = " → ".join(f"{size:,.0f}" for size in sizes)
        title, case = (
            re.sub(r"\b1 users\b", "1 user", words.replace("…", shown)) for words in (title, case)
        )
        dots = [times[size] / times[sizes[0]] for size in sizes]
        marks.append(
            Mark(
                case,
                f"× {dots[-1]:.1f}",
                dots[1:],
                (min(dots), max(dots)),
                not OTHERS.search(case),
                expected=sizes[-1] / sizes[0],
                group=title,
            )
        )
    return marks


def ticks(marks: list[Mark]) -> list[float]:
    """1, 2, 5, 10, … from below the smallest value to above the largest, 1 among them."""
    values = [1.0, *(v for m in marks for v in (*m.dots, *m.bar, m.expected) if v is not None)]
    every = [factor * 10.0**power for power in range(-4, 7) for factor in (1, 2, 5)]
    low = max(tick for tick in every if tick <= min(values))
    high = min(tick for tick in every if tick >= max(values))
    return [tick for tick in every if low <= tick <= max(high, 2 * low)]


def draw(marks: list[Mark], title: str, description: str) -> str:
    """An SVG: for each mark its label and, below it, its dots on a logarithmic axis."""
    steps = ticks(marks)
    left, right = 8, WIDTH - 12

    def x(value: float) -> float:
        share = math.log(value / steps[0]) / math.log(steps[-1] / steps[0])
        return round(left + share * (right - left), 1)

    shown = steps if len(steps) <= 7 else [s for s in steps if f"{s:e}".startswith("1.0")]
    parts, y, group = [], 0, ""
    for mark in marks:
        if mark.group != group:
            group = mark.group
            y += 6
            for line in wrap(group, 46):
                y += LINE
                parts.append(_words(left, y - 4, line, weight=600))
        for line in wrap(mark.label, 42):
            y += LINE
            parts.append(_words(left, y - 4, line))
        parts.append(_words(right, y - 4, mark.value, anchor="end", weight=600))
        middle = y + TRACK // 2 - 2
        for step in shown:
            height, opacity = (8, 1) if step == 1 else (4, 0.6)
            parts.append(
                f'<path d="M{x(step)} {middle - height}v{2 * height}" style="stroke:{MUTED}"'
                f' opacity="{opacity}"/>'
            )
        parts.append(_track(mark, x, middle))
        y += TRACK
    bottom = y + 14
    parts += [_words(x(step), bottom, f"{step:,g}", anchor="middle") for step in shown]
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 6}" role="img" aria-label="{escape(description)}"'
        f' style="display:block;width:100%;max-width:{WIDTH + 100}px;height:auto;margin:1rem 0"'
        f' font-family="inherit" font-size="13"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def _words(x: float, y: float, text: str, anchor: str = "start", weight: int = 400) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}"'
        f' style="fill:{TEXT}">{escape(text)}</text>'
    )


def _track(mark: Mark, x: Callable[[float], float], middle: int) -> str:
    """The bar, the square and the dots of a mark; `x` gives a value its place."""
    color = OURS if mark.ours else MUTED
    fill = color if mark.ours else "var(--pst-color-background, #fff)"
    start, end = (x(value) for value in mark.bar)
    parts = [f'<path d="M{start} {middle}H{end}" style="stroke:{color}" stroke-width="3"/>']
    if mark.expected is not None:
        parts.append(
            f'<rect x="{x(mark.expected) - 4}" y="{middle - 4}" width="8" height="8"'
            f' fill="none" style="stroke:{MUTED}" stroke-width="1.5"/>'
        )
    parts += [
        f'<circle cx="{x(dot)}" cy="{middle}" r="4.5" style="fill:{fill};stroke:{color}"'
        ' stroke-width="2"/>'
        for dot in mark.dots
    ]
    return "".join(parts)


def in_words(marks: list[Mark]) -> str:
    """What a drawing shows, for whoever does not see it."""
    return "; ".join(f"{m.group} {m.label}: {m.value}".strip() for m in marks) + "."


class SpeedTables(Table):
    """`{speed-tables}`: all tables, with their pictures."""

    optional_arguments = 0

    def markdown(self) -> list[str]:
        self.env.note_dependency(SPEED)
        head, sections = read((Path(self.env.srcdir) / SPEED).read_text(encoding="utf-8"))
        lines = [head, ""]
        for section in sections:
            marks = ratios(section)
            words = f"Time divided by that of {section.reference}. {in_words(marks)}"
            lines += [section.text.rstrip(), "", "```{raw} html"]
            lines += [draw(marks, section.title, words), "```", ""]
        return "\n".join(lines).splitlines()

    def run(self) -> list[nodes.Node]:
        return self.parsed(match_titles=True)


class SpeedGrowth(Table):
    """`{speed-growth} NAME`: the figure of growth; its content is the caption."""

    required_arguments = 1
    optional_arguments = 0
    has_content = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(SPEED)
        _, sections = read((Path(self.env.srcdir) / SPEED).read_text(encoding="utf-8"))
        figure = nodes.figure()
        for axis in AXES:
            marks = growth(sections, axis)
            if not marks:
                continue
            title = f"More {axis}"
            words = f"How many times longer it takes with more {axis}. {in_words(marks)}"
            heading = f'<p style="margin:1rem 0 0;text-align:left"><strong>{title}</strong></p>'
            figure += nodes.raw("", heading + draw(marks, title, words), format="html")
        caption = nodes.caption()
        inline, messages = self.state.inline_text(" ".join(self.content), self.lineno)
        caption += inline
        figure += caption
        figure["names"].append(self.arguments[0])
        self.state.document.note_explicit_target(figure, figure)
        return [figure, *messages]


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("speed-tables", SpeedTables)
    app.add_directive("speed-growth", SpeedGrowth)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
