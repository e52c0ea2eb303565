"""The pictures on the page on speed, drawn from book/_speed.md when the book is built.

- `{speed-tables}`: the sections of book/_speed.md, a picture of the ratios below each table;
- `{speed-growth}`: a figure of how the times grow with items, users and beams. Two rows that
  differ in such a number only are one line of it, in whatever sections they stand.

So `make bench` is all it takes: a new row or section is in the pictures with the next build. They
are SVG in the page in the theme's own colors, which are others in dark mode.
"""

import math
import re
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

from semantic_ids_book import Table

SPEED = "book/_speed.md"  # written by tests/benchmarks/run.py
OTHERS = re.compile(r"alone|NumPy|ResidualVQ|rectokens|faiss|scikit-learn|transformers")
ROW = re.compile(r"^\| (?P<case>.+?) \| (?P<ms>[\d,.]+) \| (?P<ratio>[\d,.]+) \|(?P<rest>.*)\|$")
SPREAD = re.compile(r"^ ([\d,.]+)–([\d,.]+) \|")
AXES = {  # what grows, and how a title or a case says how much there is of it
    "items": re.compile(r"([\d,]+)(?= items(?! each| of)| × 32)"),
    "users": re.compile(r"([\d,]+)(?= users?\b)"),
    "beams": re.compile(r"([\d,]+)(?= beams)"),
}
WIDTH, LINE, TRACK = 420, 17, 20  # of a drawing; heights of a line of text and of a row of marks
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
            words = f"{section.title}\n{row.case}".replace(" 1 user ", " 1 users ")
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
        label = f"{title}: {case}".replace("…", shown).replace(" 1 users ", " 1 user ")
        dots = [times[size] / times[sizes[0]] for size in sizes]
        bar = (min(dots), max(dots))
        ours = not OTHERS.search(case)
        in_proportion = sizes[-1] / sizes[0]
        marks.append(Mark(label, f"× {dots[-1]:.1f}", dots[1:], bar, ours, in_proportion))
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

    labels = [wrap(mark.label, 50) for mark in marks]
    bottom = sum(LINE * len(lines) + TRACK for lines in labels) + 6
    parts = []
    shown = steps if len(steps) <= 7 else [s for s in steps if round(math.log10(s), 6) % 1 == 0]
    for step in shown:
        dash = "" if step == 1 else ' stroke-dasharray="2 3"'
        parts.append(
            f'<path d="M{x(step)} 0V{bottom}" style="stroke:{MUTED}" stroke-width="1"'
            f' opacity="{1 if step == 1 else 0.5}"{dash}/>'
            f'<text x="{x(step)}" y="{bottom + 14}" text-anchor="middle"'
            f' style="fill:{MUTED}">{step:,g}</text>'
        )
    y = 0
    for mark, lines in zip(marks, labels, strict=True):
        for line in lines:
            y += LINE
            parts.append(f'<text x="{left}" y="{y - 4}" style="fill:{TEXT}">{escape(line)}</text>')
        color = OURS if mark.ours else MUTED
        parts.append(
            f'<text x="{right}" y="{y - 4}" text-anchor="end" font-weight="600"'
            f' style="fill:{TEXT}">{escape(mark.value)}</text>'
        )
        middle = y + TRACK // 2 - 3
        ends = [x(value) for value in mark.bar]
        parts.append(
            f'<path d="M{ends[0]} {middle}H{ends[1]}" style="stroke:{color}" stroke-width="3"/>'
        )
        if mark.expected is not None:
            parts.append(
                f'<rect x="{x(mark.expected) - 4}" y="{middle - 4}" width="8" height="8"'
                f' fill="none" style="stroke:{MUTED}" stroke-width="1.5"/>'
            )
        fill = color if mark.ours else "var(--pst-color-background, #fff)"
        for dot in mark.dots:
            parts.append(
                f'<circle cx="{x(dot)}" cy="{middle}" r="4.5" style="fill:{fill};stroke:{color}"'
                ' stroke-width="2"/>'
            )
        y += TRACK
    return (
        f'<svg viewBox="0 0 {WIDTH} {bottom + 20}" role="img" aria-label="{escape(description)}"'
        f' style="display:block;width:100%;max-width:{WIDTH + 80}px;height:auto;margin:1rem 0"'
        f' font-family="inherit" font-size="13"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def in_words(marks: list[Mark]) -> str:
    """What a drawing shows, for whoever does not see it."""
    return "; ".join(f"{mark.label}: {mark.value}" for mark in marks) + "."


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
