"""The pictures on the page on speed show what the tables beside them say."""

import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest

from speed_figures import AXES, draw, growth, number, ratios, read, ticks
from tests.helpers import ROOT

TEXT = (ROOT / "book" / "_speed.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
WRITTEN = """Measured on one day.

## Recommending to 1 user, 49 items each, 10 beams

| Case | Milliseconds | ÷ the model alone | Middle half | Remarks |
| --- | ---: | ---: | ---: | --- |
| the model alone | 10.0 | 1.00 | 1.00–1.00 |  |
| recommend, 9,000 items | 1,012.5 | 1.20 | 1.15–1.31 | a 2–3 remark |

## Recommending to 32 users, 49 items each, 10 beams

| Case | Milliseconds | ÷ the model alone | Remarks |
| --- | ---: | ---: | --- |
| the model alone | 40.0 | 1.00 |  |
| recommend, 9,000 items | 2,025.0 | 1.02 |  |
| recommend, 90,000 items | 4,050.0 | 2.04 | 7–8 |
"""


def test_reads_every_number_of_the_committed_tables() -> None:
    _, sections = read(TEXT)
    assert [section.title for section in sections] == re.findall(r"^## (.+)$", TEXT, re.M)
    cells = [
        line.split(" | ") for line in TEXT.splitlines() if re.match(r"\| .* \| [\d,.]+ \|", line)
    ]
    rows = [row for section in sections for row in section.rows]
    assert [(row.case, row.milliseconds, row.ratio) for row in rows] == [
        (case.removeprefix("| "), number(milliseconds), number(ratio))
        for case, milliseconds, ratio, *_ in cells
    ]
    for section in sections:
        reference = [row for row in section.rows if row.case == section.reference]
        assert [row.ratio for row in reference] == [1.0]


def test_the_spread_is_read_where_it_is_known() -> None:
    _, (first, second) = read(WRITTEN)
    assert first.rows[1][1:] == (1012.5, 1.20, 1.15, 1.31)
    assert second.rows[2][1:] == (4050.0, 2.04, 2.04, 2.04)  # a remark is no spread


@pytest.mark.parametrize("text", ["", "## A\n\nno table\n"])
def test_refuses_what_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match=r"_speed\.md"):
        read(text)


def test_growth_joins_rows_that_differ_in_one_number_only() -> None:
    _, sections = read(WRITTEN)
    (items,) = growth(sections, "items")
    assert (items.dots, items.expected, items.ours) == ([2.0], 10.0, True)
    assert "9,000 → 90,000 items" in items.label
    alone, ours = growth(sections, "users")
    assert (alone.dots, alone.ours, ours.dots, ours.expected) == ([4.0], False, [2.0], 32.0)
    assert alone.group == "Recommending to 1 → 32 users, 49 items each, 10 beams"
    assert items.group == "Recommending to 32 users, 49 items each, 10 beams"
    assert growth(sections, "beams") == []


def test_a_dot_stands_at_its_value() -> None:
    _, (first, _) = read(WRITTEN)
    marks = ratios(first)
    root = ElementTree.fromstring(
        draw(marks, "a < b", "c & d").replace("<svg", f'<svg xmlns="{SVG[1:-1]}"', 1)
    )
    dots = [float(dot.attrib["cx"]) for dot in root.iter(f"{SVG}circle")]
    steps = ticks(marks)
    assert steps == [1.0, 2.0]
    at = {text.text: float(text.attrib["x"]) for text in root.iter(f"{SVG}text")}
    assert dots[0] == at["1"]  # the axis is logarithmic: 1.2 is log2(1.2) of the way from 1 to 2
    assert dots[1] == pytest.approx(at["1"] + 0.26303 * (at["2"] - at["1"]), abs=0.1)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "c & d"


@pytest.mark.parametrize("axis", AXES)
def test_all_marks_of_the_page_are_inside_their_drawing(axis: str) -> None:
    _, sections = read(TEXT)
    for marks in [*map(ratios, sections), growth(sections, axis)]:
        if marks:
            steps = ticks(marks)
            values = [v for mark in marks for v in (*mark.dots, *mark.bar, mark.expected or 1)]
            assert steps[0] <= min(values)
            assert max(values) <= steps[-1]


def test_reads_what_the_benchmark_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import harness

    suite = SimpleNamespace(title="Some work", reference="floor")
    rows = [
        harness.Row("floor", 1234.56, 1, 1, 1, ""),
        harness.Row("ours", 2.0, 0.5, 0.4, 0.6, "so"),
    ]
    _, (section,) = read(f"head\n\n{harness.table(suite, rows)}")
    assert section.reference == "floor"
    assert section.rows == [("floor", 1234.6, 1, 1, 1), ("ours", 2.0, 0.5, 0.4, 0.6)]


def test_the_page_says_what_its_figure_of_growth_shows() -> None:
    """A larger catalogue leaves a recommendation about where it was; Lloyd steps grow with it."""
    _, sections = read(TEXT)
    marks = growth(sections, "items")
    recommending = [mark for mark in marks if mark.label.startswith("recommend, ")]
    lloyd = [mark for mark in marks if "Lloyd" in mark.group]
    assert recommending
    assert lloyd
    for mark in recommending:
        assert mark.expected == pytest.approx(11, abs=0.5)  # "eleven times larger"
        assert max(mark.dots) < 1.5
    assert min(max(mark.dots) for mark in lloyd) > 5
