"""Draw the picture of the whole pipeline, light and dark: book/assets/pipeline-{light,dark}.svg.

    python book/makers/pipeline_picture.py

The picture is SVG text written by plain Python, so the same script gives the same bytes everywhere,
and it needs no library and no font. All of its text is on its own panels: it is legible on any
page. It is drawn for a width of 390 px and up, hence the large type.

The embedding's strip shows real numbers, which a test compares with the shipped vectors. The codes
are illustrative, and the picture says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
WIDTH, HEIGHT = 720, 1288
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

TITLE = "The pipeline of a generative recommender, from a movie's text to the next movie"
DESCRIPTION = (
    "Part one: the text of Toy Story goes through a sentence encoder and becomes an embedding of "
    "384 numbers. An RQ-VAE turns it into codes: its encoder makes a small vector, three codebooks "
    "each take the residual that the one before left over and give one code, and its decoder must "
    "rebuild the embedding from the sum of the codewords. Three codes and a disambiguation code "
    "make the semantic ID 17, 4, 203, 0. Part two: a user's history, Toy Story, A Bug's Life and "
    "Heat, is a row of such IDs. A causal transformer reads it, and a beam search writes the next "
    "ID code by code along a trie that holds only IDs that exist. It arrives at 17, 4, 203, 1: "
    "Toy Story 2. Movies that share their first code have the same colour. The codes are "
    "illustrative."
)

# The first 25 of the 384 numbers of Toy Story's embedding (the shipped all-MiniLM-L6-v2 vectors).
EMBEDDING = (
    -0.032, -0.014, 0.056, 0.010, -0.026, 0.048, 0.036, -0.004, 0.017,
    0.031, -0.004, 0.049, -0.023, 0.078, 0.045, 0.037, 0.037, 0.019,
    0.092, -0.089, 0.081, 0.042, 0.069, -0.045, -0.064,
)  # fmt: skip

HISTORY = {
    "Toy Story": (17, 4, 203, 0),
    "A Bug’s Life": (17, 4, 88, 0),
    "Heat": (92, 51, 7, 0),
}
NEXT_MOVIE = "Toy Story 2"
TRIE = {  # what hangs below each leaf, top to bottom
    (17, 4, 88, 0): "A Bug’s Life",
    (17, 4, 203, 0): "Toy Story",
    (17, 4, 203, 1): NEXT_MOVIE,
    (17, 31, 60, 0): "Shrek",
    (92, 51, 7, 0): "Heat",
}
TARGET = (17, 4, 203, 1)


@dataclass(frozen=True)
class Theme:
    panel: str  # what everything stands on
    border: str  # of panels and cards
    card: str  # boxes on a panel
    ink: str  # text
    muted: str  # labels, arrows
    # From Okabe and Ito's colour-blind-safe palette: blue for first code 17, orange for 92. A pair
    # (fill, text) a level, coarse to fine, then the disambiguation code.
    family: dict[int, tuple[tuple[str, str], ...]]

    def chip(self, code: tuple[int, ...], level: int) -> tuple[str, str]:
        """Fill and text colour of an ID's code at a level, counted from 0."""
        return self.family[code[0]][level]


LIGHT = Theme(
    panel="#f4f6f9",
    border="#cfd7e0",
    card="#ffffff",
    ink="#17212b",
    muted="#4f5d6b",
    family={
        17: (
            ("#0072b2", "#ffffff"),
            ("#6bb2dc", "#17212b"),
            ("#c3e0f2", "#17212b"),
            ("#e3e8ed", "#17212b"),
        ),
        92: (
            ("#e69f00", "#17212b"),
            ("#f1c566", "#17212b"),
            ("#fae6bd", "#17212b"),
            ("#e3e8ed", "#17212b"),
        ),
    },
)
DARK = Theme(
    panel="#171d24",
    border="#36424f",
    card="#202933",
    ink="#e8eef4",
    muted="#a5b3c1",
    family={
        17: (
            ("#56b4e9", "#10161c"),
            ("#2b7cae", "#ffffff"),
            ("#1d4d6d", "#ffffff"),
            ("#3a4653", "#ffffff"),
        ),
        92: (
            ("#e69f00", "#10161c"),
            ("#a06f00", "#ffffff"),
            ("#654700", "#ffffff"),
            ("#3a4653", "#ffffff"),
        ),
    },
)


class Drawing:
    """Lines of SVG, collected."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self.lines: list[str] = []

    def add(self, tag: str, text: str | None = None, **attributes: object) -> None:
        """Add an element; `stroke_width=2` becomes stroke-width="2"."""
        written = "".join(
            f' {name.replace("_", "-")}="{escape(_short(value))}"'
            for name, value in attributes.items()
        )
        end = "/>" if text is None else f">{escape(text, quote=False)}</{tag}>"
        self.lines.append(f"  <{tag}{written}{end}")

    def text(
        self, x: float, y: float, words: str, size: int = 24, *, anchor: str = "start",
        bold: bool = False, fill: str | None = None,
    ) -> None:  # fmt: skip
        weight = {"font_weight": 700} if bold else {}
        place = {} if anchor == "start" else {"text_anchor": anchor}
        fill = fill or self.theme.ink
        self.add("text", words, x=x, y=y, font_size=size, fill=fill, **weight, **place)

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str | None = None,
        stroke: str | None = None, stroke_width: float = 1.5, radius: float = 10,
    ) -> None:  # fmt: skip
        self.add(
            "rect", x=x, y=y, width=width, height=height, rx=radius,
            fill=fill or self.theme.card, stroke=stroke or self.theme.border,
            stroke_width=stroke_width,
        )  # fmt: skip

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line along points with a head at the last one."""
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        neck = (x1 - 9 * dx, y1 - 9 * dy)
        path = "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in [*points[:-1], neck])
        dashes = {"stroke_dasharray": "7 6"} if dashed else {}
        self.add(
            "path", d=path, fill="none", stroke=self.theme.muted, stroke_width=2.5,
            stroke_linejoin="round", **dashes,
        )  # fmt: skip
        wings = [(x1, y1), (x1 - 12 * dx - 7 * dy, y1 - 12 * dy + 7 * dx)]
        wings.append((x1 - 12 * dx + 7 * dy, y1 - 12 * dy - 7 * dx))
        self.add(
            "polygon",
            points=" ".join(f"{_short(x)},{_short(y)}" for x, y in wings),
            fill=self.theme.muted,
        )

    def chip(
        self, x: float, y: float, code: tuple[int, ...], level: int, width: float,
        height: float = 42, size: int = 24,
    ) -> None:  # fmt: skip
        """One code of an ID, with its top left corner at (x, y)."""
        fill, ink = self.theme.chip(code, level)
        self.add("rect", x=x, y=y, width=width, height=height, rx=7, fill=fill)
        middle = y + height / 2 + size * 0.35
        self.text(
            x + width / 2, middle, str(code[level]), size, anchor="middle", bold=True, fill=ink
        )

    def svg(self) -> str:
        head = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title desc" '
            f'font-family="{FONT}">',
            f'  <title id="title">{escape(TITLE, quote=False)}</title>',
            f'  <desc id="desc">{escape(DESCRIPTION, quote=False)}</desc>',
        ]
        return "\n".join([*head, *self.lines, "</svg>", ""])


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def draw(theme: Theme) -> str:
    """The whole picture as SVG text."""
    drawing = Drawing(theme)
    draw_item(drawing)
    draw_history(drawing)
    return drawing.svg()


LEFT, RIGHT, CENTRE = 28, 692, 360  # the panels' inner edges and their middle
LEVELS = (208, 340, 472, 604)  # the middle of each code, three of them below their codebook
ITEM_PANEL, HISTORY_PANEL = (2, 648), (666, 620)  # top, height


def draw_item(d: Drawing) -> None:
    """Part I: text → embedding → RQ-VAE → semantic ID."""
    theme, code = d.theme, HISTORY["Toy Story"]
    top, height = ITEM_PANEL
    d.box(2, top, WIDTH - 4, height, fill=theme.panel, radius=16)
    d.text(LEFT, 46, "Items become codes", 30, bold=True)

    d.box(LEFT, 66, RIGHT - LEFT, 82)
    d.text(CENTRE, 99, "“Toy Story (1995). Genres: Adventure,", anchor="middle")
    d.text(CENTRE, 131, "Animation, Children, Comedy, Fantasy.”", anchor="middle")
    d.arrow((CENTRE, 148), (CENTRE, 192))
    d.text(CENTRE + 18, 178, "sentence encoder", fill=theme.muted)

    cell = (RIGHT - LEFT) / len(EMBEDDING)
    largest = max(abs(number) for number in EMBEDDING)
    d.box(LEFT, 196, RIGHT - LEFT, 38, radius=0)
    for i, number in enumerate(EMBEDDING):
        d.add(
            "rect", x=LEFT + i * cell, y=196, width=cell, height=38, fill=theme.muted,
            fill_opacity=round(abs(number) / largest, 2), stroke=theme.border, stroke_width=1,
        )  # fmt: skip
    d.text(CENTRE, 266, "embedding: 384 numbers", anchor="middle", fill=theme.muted)

    # The RQ-VAE reads the embedding at the left and rebuilds it at the right.
    box_top, box_bottom, axis = 284, 524, 442
    d.box(LEFT, box_top, RIGHT - LEFT, box_bottom - box_top, radius=14)
    d.text(CENTRE, box_top + 33, "RQ-VAE with three codebooks", anchor="middle", bold=True)
    trapezoids = {
        "encoder": ((44, -62), (150, -34), (150, 34), (44, 62)),
        "decoder": ((570, -34), (676, -62), (676, 62), (570, 34)),
    }
    for name, corners in trapezoids.items():
        d.add(
            "polygon", points=" ".join(f"{x},{axis + y}" for x, y in corners), fill=theme.panel,
            stroke=theme.muted, stroke_width=2, stroke_linejoin="round",
        )  # fmt: skip
        d.text((corners[0][0] + corners[1][0]) / 2, axis + 8, name, 22, anchor="middle")
    d.arrow((70, 236), (70, axis - 56))
    d.arrow((650, axis - 57), (650, 238), dashed=True)

    for level, x in enumerate(LEVELS[:3]):
        draw_codebook(d, x, axis, code, level)
        d.arrow((x, axis + 66), (x, 556))
    d.arrow((150, axis), (LEVELS[0] - 36, axis))
    d.arrow((LEVELS[2] + 34, axis), (568, axis))
    for left, right in pairwise(LEVELS[:3]):
        out, into, height = left + 16, right - 16, axis - 86
        d.arrow((out, axis - 65), (out, height), (into, height), (into, axis - 65))
        d.text((out + into) / 2, height - 8, "residual", 22, anchor="middle", fill=theme.muted)

    for level, x in enumerate(LEVELS):
        d.chip(x - 42, 558, code, level, 84, 46, 26)
    d.text(LEFT, 577, "semantic", bold=True)
    d.text(LEFT, 603, "ID", bold=True)
    d.text(LEVELS[0], 632, "coarse", 22, anchor="middle", fill=theme.muted)
    d.arrow((LEVELS[0] + 48, 625), (LEVELS[2] - 34, 625))
    d.text(LEVELS[2], 632, "fine", 22, anchor="middle", fill=theme.muted)
    d.text(LEVELS[3], 632, "disambiguation", 22, anchor="middle", fill=theme.muted)


def draw_codebook(d: Drawing, x: float, axis: float, code: tuple[int, ...], level: int) -> None:
    """A stack of codewords around (x, axis), the chosen one in the colour of its code."""
    rows, height, width = 7, 18, 64
    chosen = 3
    for row in range(rows):
        y = axis + (row - rows / 2) * height
        fill = d.theme.chip(code, level)[0] if row == chosen else d.theme.panel
        d.add(
            "rect", x=x - width / 2, y=y, width=width, height=height, fill=fill,
            stroke=d.theme.muted, stroke_width=1,
        )  # fmt: skip


def draw_history(d: Drawing) -> None:
    """Part II: a history → transformer → beam search → the next movie."""
    theme = d.theme
    top, height = HISTORY_PANEL
    d.box(2, top, WIDTH - 4, height, fill=theme.panel, radius=16)
    d.text(LEFT, top + 44, "Codes become recommendations", 30, bold=True)

    width, gap = 208, 20
    for i, (title, code) in enumerate(HISTORY.items()):
        x = LEFT + i * (width + gap)
        d.box(x, top + 64, width, 92)
        d.text(x + width / 2, top + 95, title, anchor="middle")
        for level in range(4):
            d.chip(x + 8 + level * 49, top + 108, code, level, 45, 38, 22)
    d.arrow((CENTRE, top + 156), (CENTRE, top + 192))
    d.text(CENTRE + 18, top + 182, "history, oldest first", fill=theme.muted)

    d.box(LEFT, top + 196, RIGHT - LEFT, 56, radius=14)
    d.text(
        CENTRE, top + 233, "causal transformer: scores the next code", anchor="middle", bold=True
    )
    d.text(LEFT + 36, top + 285, "beam search in the trie of all IDs", fill=theme.muted)
    draw_trie(d, top + 252)
    d.text(
        LEFT, top + 600, "Same first code, same colour. Codes are illustrative.", 22,
        fill=theme.muted,
    )  # fmt: skip


def draw_trie(d: Drawing, top: float) -> None:
    """The prefixes of the IDs that exist; the beam's path to the target is drawn strong."""
    theme = d.theme
    columns, chip_width, chip_height, pitch = (84, 168, 252, 336), 56, 40, 54
    row_of = {code: top + 74 + i * pitch for i, code in enumerate(TRIE)}

    def y_of(prefix: tuple[int, ...]) -> float:
        rows = [y for code, y in row_of.items() if code[: len(prefix)] == prefix]
        return (rows[0] + rows[-1]) / 2

    prefixes = list(_prefixes(TRIE))
    for strong in (False, True):  # the path lies on top
        for prefix in prefixes:
            on_path = TARGET[: len(prefix)] == prefix
            if on_path is not strong:
                continue
            level = len(prefix) - 1
            x1, y1 = columns[level], y_of(prefix)
            x0 = columns[level - 1] + chip_width if level else LEFT + 22
            y0 = y_of(prefix[:-1])
            middle = (x0 + x1) / 2
            d.add(
                "path",
                d=f"M{_short(x0)} {_short(y0)}C{_short(middle)} {_short(y0)} "
                f"{_short(middle)} {_short(y1)} {_short(x1)} {_short(y1)}",
                fill="none",
                stroke=theme.family[17][0][0] if strong else theme.muted,
                stroke_width=5 if strong else 2,
            )  # fmt: skip
    d.arrow((LEFT + 16, top), (LEFT + 16, y_of(()) - 11))
    d.add("circle", cx=LEFT + 16, cy=y_of(()), r=9, fill=theme.ink)
    for prefix in prefixes:
        level = len(prefix) - 1
        d.chip(
            columns[level], y_of(prefix) - chip_height / 2, prefix, level, chip_width, chip_height
        )
    x = columns[3] + chip_width
    for code, title in TRIE.items():
        y = row_of[code]
        if code == TARGET:
            d.box(x + 14, y - 24, RIGHT - x - 14, 48, stroke=theme.family[17][0][0], stroke_width=3)
            d.text(x + 30, y + 8, f"next: {title}", bold=True)
        else:
            seen = " · seen" if title in HISTORY else ""
            d.text(x + 30, y + 8, f"{title}{seen}", 22, fill=theme.muted)


def _prefixes(codes: dict[tuple[int, ...], str]) -> Iterator[tuple[int, ...]]:
    """Every distinct prefix of these IDs, short ones first, in order."""
    for length in range(1, 5):
        yield from dict.fromkeys(code[:length] for code in codes)


PICTURES = {"pipeline-light.svg": LIGHT, "pipeline-dark.svg": DARK}

if __name__ == "__main__":
    for name, theme in PICTURES.items():
        (ASSETS / name).write_text(draw(theme), encoding="utf-8", newline="\n")
        print(f"book/assets/{name}")
