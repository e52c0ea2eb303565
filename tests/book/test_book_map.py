"""The map shows what the chapters' tables of prerequisites say, and its links lead there."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import reading_times
from book_map import HEIGHT, LOOK_UP, PLACES, arrows, draw, in_hours, in_words, needs, three_parts
from print_book import toc_pages
from tests.helpers import ROOT

SVG = "{http://www.w3.org/2000/svg}"
PAGES = [*reading_times.chapters(), *(f"book/{name}" for name, _ in LOOK_UP)]


def drawn() -> ElementTree.Element:
    text = draw({page: f"../{page}.html" for page in PAGES})
    return ElementTree.fromstring(text.replace("<svg", f'<svg xmlns="{SVG[1:-1]}"', 1))


def test_an_arrow_is_left_out_where_a_longer_way_leads() -> None:
    needed = {"00": set(), "01": {"00"}, "02": {"00", "01"}, "03": {"00"}, "04": {"02", "03"}}
    assert arrows(needed) == [("00", "01"), ("00", "03"), ("01", "02"), ("02", "04"), ("03", "04")]


def test_the_arrows_say_as_much_as_the_tables() -> None:
    needed = needs()
    pairs = arrows(needed)

    def reached(number: str) -> set[str]:
        return set().union(*({first} | reached(first) for first, then in pairs if then == number))

    for then, firsts in needed.items():
        assert firsts <= reached(then), then
        assert all(first < then for first in firsts), f"{then} needs a later chapter"
    assert all(f"{then} builds on" in in_words(pairs) for _, then in pairs)


def test_boxes_stand_apart_inside_the_picture_and_hold_their_words() -> None:
    root = drawn()
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    boxes = []
    for link in root.iter(f"{SVG}a"):
        rect = link.find(f"{SVG}rect").attrib
        x, y, w, h = (float(rect[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + w <= width
        assert y + h <= height
        for text in link.iter(f"{SVG}text"):
            assert x < float(text.attrib["x"])
            assert y < float(text.attrib["y"]) < y + h
            # Narrow letters are 6 units wide on average at this size.
            assert float(text.attrib["x"]) + 6 * len(text.text) < x + w + 4, text.text
        boxes.append((x, y, w, h))
    assert len(boxes) == len(PAGES)
    for number, (x, y, w, h) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            apart = x + w <= other[0] or other[0] + other[2] <= x
            assert apart or y + h <= other[1] or other[1] + other[3] <= y
    assert len(PLACES) == len(reading_times.chapters())
    assert min(place.y for place in PLACES.values()) + HEIGHT < height


def test_colors_are_the_themes() -> None:
    """So that the drawing is legible in dark mode."""
    text = draw(dict.fromkeys(PAGES, "#"))
    colors = re.findall(r"(?:fill|stroke):([^;\"]+)", text)
    assert colors
    assert all(color.startswith("var(--pst-color-") for color in colors)


@pytest.mark.parametrize("line", ["book/preface", "book/preface | why", "a | b | c | d"])
def test_a_line_of_a_way_has_three_parts(line: str) -> None:
    assert three_parts("book/preface || why", "book/map") == ["book/preface", "", "why"]
    with pytest.raises(ValueError, match=r"^book/map, a line of \{reading-way\}: found ") as error:
        three_parts(line, "book/map")
    assert repr(line) in str(error.value)
    assert "expected `page | section; section | what for`" in str(error.value)


def test_hours_are_said_to_five_minutes() -> None:
    assert in_hours(58) == "1 h"
    assert in_hours(62.6) == "1 h 5 min"
    assert in_hours(12) == "10 min"


def test_the_page_links_to_every_chapter_and_adds_up_its_ways(built_book: Path) -> None:
    html = BeautifulSoup((built_book / "book" / "map.html").read_text("utf-8"), "html.parser")
    links = {link["href"] for link in html.select("svg.book-map a")}
    assert {f"../{page}.html" for page in PAGES if page.startswith("notebooks/")} <= links
    assert len(links) == len(PAGES)
    assert {page for page in toc_pages(ROOT) if page.startswith("notebooks/")} == set(
        reading_times.chapters()
    )
    tables = html.select("article table")
    assert len(tables) == 3  # the ways
    for table in tables:
        *rows, last = [
            [cell.get_text(strip=True) for cell in row.select("td")]
            for row in table.select("tbody tr")
        ]
        for place, said in enumerate(last[2].split(" + ")):
            minutes = [row[2].split(" + ") for row in rows]
            total = sum(int(parts[place]) for parts in minutes if len(parts) > place)
            hours, rest = re.fullmatch(r"(?:(\d+) h)? ?(?:(\d+) min)?", said).groups(default="0")
            assert abs(total - 60 * int(hours) - int(rest)) <= 5  # rows are rounded, so is the sum


def test_one_hour_is_an_hour(built_book: Path) -> None:
    html = BeautifulSoup((built_book / "book" / "map.html").read_text("utf-8"), "html.parser")
    hour, day, _ = (table.select("tbody tr")[-1] for table in html.select("article table"))
    words = [row.select("td")[2].get_text(strip=True).split(" + ") for row in (hour, day)]
    assert words[0][0] in ("45 min", "50 min", "55 min", "1 h")
    assert all(re.match(r"[345] h", part) for part in words[1])  # reading, and exercises: a day
