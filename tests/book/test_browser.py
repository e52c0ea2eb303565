"""The built book in a real browser: wide and narrow, light and dark, opened from the disk.

Skips when no Chromium is found, and says so; REQUIRE_BROWSER=1 turns that into a failure.
"""

import re
import statistics
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.teaching.item_map import item_map
from rqvae_lib.teaching.plots import decades
from tests.book.site import NARROW, WIDE, Watched, site_pages

SETTINGS = [(size, scheme) for size in (WIDE, NARROW) for scheme in ("light", "dark")]


@pytest.mark.parametrize("name", site_pages())
@pytest.mark.parametrize(
    "watched",
    SETTINGS,
    indirect=True,
    ids=[f"{size['width']}-{scheme}" for size, scheme in SETTINGS],
)
def test_page(watched: Watched, built_book: Path, name: str) -> None:
    page = watched.open(built_book / f"{name}.html")

    # Every formula is typeset, and none shows an error in its place.
    untypeset = (
        "[...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container'))"
    )
    page.wait_for_function(f"{untypeset}.length === 0", timeout=20_000)
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0

    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")

    # Wide things (formulas, tables, code) scroll by themselves; the page does not.
    width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= inner, f"{name} is {width} px wide in a window of {inner} px"

    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert watched.errors == []
    assert watched.remote == []


@pytest.fixture
def served(built_book: Path) -> Iterator[str]:
    """The address of the book on this machine, as a web server shows it."""
    handler = partial(SilentHandler, directory=str(built_book))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_search_over_http_needs_nothing_from_elsewhere(watched: Watched, served: str) -> None:
    """From the field of a chapter to a hit with an excerpt, and on to the page of the hit."""
    page = watched.page
    missing: list[str] = []
    page.on("response", lambda answer: missing.append(answer.url) if answer.status >= 400 else None)
    page.goto(f"{served}notebooks/00_quickstart.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("residual quantization")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li p.context", timeout=20_000)
    hits = page.locator("#search-results li > a")
    assert hits.count() > 3
    page.locator("#search-results li > a[href*='notebooks/']").first.click()
    page.wait_for_url(f"{served}notebooks/*")
    assert "quantiz" in page.locator("article").inner_text()
    assert set(missing) <= {f"{served}favicon.ico"}  # which browsers ask for unasked
    assert [address for address in watched.remote if not address.startswith(served)] == []


def test_pages_are_light(watched: Watched, built_book: Path) -> None:
    """With all that they load, each counted as if it were the first page that somebody opens."""
    loaded: set[str] = set()
    watched.page.on("request", lambda request: loaded.add(request.url))
    megabytes = {}
    for name in site_pages():
        loaded.clear()
        watched.open(built_book / f"{name}.html")
        paths = {unquote(urlsplit(url).path) for url in loaded if url.startswith("file:")}
        megabytes[name] = sum(Path(path).stat().st_size for path in paths) / 1e6
    median, heaviest = statistics.median(megabytes.values()), max(megabytes, key=megabytes.get)
    weights = f"median {median:.2f} MB; {heaviest} {megabytes[heaviest]:.2f} MB"
    print(weights)
    assert min(megabytes.values()) > 0.5, "the styles and scripts were not counted"
    assert median <= 4, weights
    assert megabytes[heaviest] <= 8, weights


def test_search_finds_the_subject(watched: Watched, built_book: Path) -> None:
    page = watched.open(built_book / "search.html", "?q=semantic")
    # Opened from the disk, a page may not read another one: the hits come without excerpts, and
    # Chromium says so in its console, which is no error of ours.
    page.wait_for_selector("#search-results li a", timeout=20_000)
    assert watched.remote == []


# The interactive map of chapter 07


@pytest.fixture
def map_page(watched: Watched, built_book: Path) -> Iterator[Page]:
    page = watched.open(built_book / "notebooks" / "07_umap.html")
    page.wait_for_selector("#item-map[data-ready]")
    page.locator("#item-map-canvas").scroll_into_view_if_needed()
    yield page
    assert watched.errors == []
    assert watched.remote == []


def status(page: Page) -> str:
    return page.locator("#item-map-status").inner_text()


def caption(page: Page) -> str:
    return page.locator("#item-map-table caption").inner_text()


def pixels(page: Page) -> str:
    """The picture on the canvas, after it was drawn again."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    return page.locator("#item-map-canvas").evaluate("canvas => canvas.toDataURL()")


BOTH = [pytest.param((size, "light"), id=str(size["width"])) for size in (WIDE, NARROW)]


@pytest.mark.parametrize("watched", BOTH, indirect=True)
def test_map_is_searched_from_the_keyboard(map_page: Page) -> None:
    before = pixels(map_page)
    search = map_page.locator("#item-map-search")
    search.focus()
    map_page.keyboard.type("amelie")  # the title is written with an é
    options = map_page.locator("#item-map-found [role=option]")
    assert options.count() >= 1
    assert search.get_attribute("aria-expanded") == "true"
    assert search.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    name = options.first.inner_text()
    map_page.keyboard.press("Enter")
    assert "Amelie" in name or "Amélie" in name
    assert status(map_page).startswith(f"{name} has the ID ")
    assert search.get_attribute("aria-expanded") == "false"
    assert pixels(map_page) != before


def test_arrow_keys_choose_among_the_titles_found(map_page: Page) -> None:
    map_page.locator("#item-map-search").focus()
    map_page.keyboard.type("toy story")
    options = map_page.locator("#item-map-found [role=option]")
    names = options.all_inner_texts()
    assert names[:2] == ["Toy Story (1995)", "Toy Story 2 (1999)"]
    map_page.keyboard.press("ArrowDown")
    map_page.keyboard.press("Enter")
    assert status(map_page).startswith(names[1])
    map_page.locator("#item-map-search").fill("no such movie")
    assert status(map_page) == "No title contains “no such movie”."
    assert options.count() == 0


def test_map_finds_titles_as_people_type_them(watched: Watched, tmp_path: Path) -> None:
    """And on the way back its controls say what it shows."""
    data = load_dataset("movielens-small-2016")
    model = load_rqvae("movielens-small-2016")[0]
    html = item_map(
        {"one": np.random.default_rng(0).normal(size=(data.num_items, 2))},
        data,
        model.tokenize(load_embeddings("movielens-small-2016")),
        [decades(data.items["year"])],
    )
    (tmp_path / "map.html").write_text(f"<!doctype html>{html}", encoding="utf-8")
    (tmp_path / "other.html").write_text("<!doctype html>", encoding="utf-8")
    page = watched.open(tmp_path / "map.html")
    for typed, title in [
        ("It", "It (1990)"),
        ("Schindler’s list", "Schindler's List (1993)"),
        ("spider man 2002", "Spider-Man (2002)"),
        ("the matrix", "Matrix, The (1999)"),
    ]:
        page.locator("#item-map-search").fill(typed)
        assert page.locator("#item-map-found [role=option]").first.text_content() == title
    page.locator("input[type=radio][value='2']").check()
    watched.open(tmp_path / "other.html")
    page.go_back()
    page.wait_for_selector("#item-map[data-ready]")
    assert page.locator("input[type=radio][value='1']").is_checked()
    assert watched.errors == []


def test_map_marks_exactly_the_movies_with_the_prefix(map_page: Page) -> None:
    movies = load_dataset()
    rqvae, _ = load_rqvae("movielens-small-2016")
    ids = rqvae.tokenize(load_embeddings(texts=movies.texts))
    twins = ids.with_prefix(ids.codes[(ids.ids[:, 3] > 0).nonzero()[0, 0]].tolist()).tolist()
    for item in (movies.titles.index("Toy Story (1995)"), twins[0]):
        map_page.locator("#item-map-search").fill(movies.titles[item])
        map_page.keyboard.press("Enter")
        for depth in (1, 2, 3):
            map_page.locator(f"#item-map input[value='{depth}']").check()
            prefix = ids.id_of(item)[:depth]
            same = ids.with_prefix(prefix).tolist()
            shown = map_page.locator("#item-map-table tbody tr")
            found = {row.split("\t")[-1] for row in shown.all_inner_texts()}
            assert found == {"-".join(map(str, ids.id_of(other))) for other in same}
            head = "-".join(map(str, prefix))
            assert caption(map_page) == f"Movies whose ID starts with {head}: {len(same)}"
            current = map_page.locator("#item-map-table tr[aria-current]")
            assert movies.titles[item] in current.inner_text()
    assert len(same) == len(twins) > 1  # the last one asked for shares all three codes


@pytest.mark.parametrize("watched", BOTH, indirect=True)
def test_pointing_tells_and_clicking_marks(map_page: Page) -> None:
    tip = map_page.locator("#item-map [data-part=tip]")
    assert tip.is_hidden()
    box = map_page.locator("#item-map-canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    map_page.mouse.move(x, y)
    lines = tip.inner_text().splitlines()
    title, genres, semantic_id = lines
    assert re.fullmatch(r".+ \(\d{4}\)", title)
    assert genres
    assert re.fullmatch(r"ID \d+-\d+-\d+-\d+", semantic_id)
    inside = tip.bounding_box()
    assert inside is not None
    assert box["x"] <= inside["x"]
    assert inside["x"] + inside["width"] <= box["x"] + box["width"]
    map_page.mouse.click(x, y)
    assert status(map_page).startswith(f"{title} has the {semantic_id}.")
    map_page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert tip.is_hidden()


def test_map_is_walked_with_the_keyboard(map_page: Page) -> None:
    """Tab leads to the map, arrows from dot to dot, Enter marks, Escape clears."""
    map_page.locator("#item-map [data-part=all]").focus()
    map_page.keyboard.press("Tab")
    focused = "document.activeElement.id"
    assert map_page.evaluate(focused) == "item-map-canvas"
    start = status(map_page)
    map_page.keyboard.press("ArrowLeft")
    there = status(map_page)
    assert there != start
    assert ", ID " in there
    map_page.keyboard.press("ArrowRight")
    map_page.keyboard.press("ArrowUp")
    name = map_page.locator("#item-map [data-part=tip] strong").inner_text()
    map_page.keyboard.press("Enter")
    assert status(map_page).startswith(f"{name} has the ID ")
    small = pixels(map_page)
    map_page.keyboard.press("+")
    assert pixels(map_page) != small
    map_page.keyboard.press("0")
    map_page.keyboard.press("Escape")
    assert status(map_page) == "No movie is chosen."
    assert map_page.locator("#item-map-table").is_hidden()
    map_page.keyboard.press("Tab")  # and on: the map holds nobody
    assert map_page.evaluate(focused) != "item-map-canvas"


def test_the_page_around_hears_no_single_key(map_page: Page) -> None:
    """In a notebook, x would cut the cell with the map. Shortcuts with Ctrl go on to the page."""
    map_page.evaluate(
        "() => { window.heard = [];"
        " document.addEventListener('keydown', (event) => window.heard.push(event.key)); }"
    )
    for part in ("canvas", "all", "colour", "search"):
        map_page.locator(f"#item-map [data-part={part}]").focus()
        map_page.keyboard.press("x")
    assert map_page.evaluate("heard") == []
    map_page.locator("#item-map-canvas").focus()
    map_page.keyboard.press("Control+x")
    assert "x" in map_page.evaluate("heard")


def test_a_title_in_the_table_chooses_that_movie(map_page: Page) -> None:
    button = map_page.locator("#item-map-table tbody tr:not([aria-current]) button").first
    name = button.inner_text()
    button.focus()
    map_page.keyboard.press("Enter")
    assert status(map_page).startswith(f"{name} has the ID ")


def test_map_and_colours_can_be_changed(map_page: Page) -> None:
    legend = map_page.locator("#item-map [data-part=legend]")
    seen = {pixels(map_page)}
    assert "1990s" in legend.inner_text()
    map_page.locator("#item-map-colour").select_option("first-listed genre")
    seen.add(pixels(map_page))
    assert "Comedy" in legend.inner_text()
    map_page.locator("#item-map-map").select_option("latents")
    seen.add(pixels(map_page))
    assert len(seen) == 3


def test_map_follows_the_books_switch_to_dark(map_page: Page) -> None:
    ground = "getComputedStyle(document.querySelector('.item-map-stage')).backgroundColor"
    light, picture = map_page.evaluate(ground), pixels(map_page)
    map_page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert map_page.evaluate(ground) != light
    assert pixels(map_page) != picture


def test_map_adds_little_to_the_page(built_book: Path) -> None:
    page = (built_book / "notebooks" / "07_umap.html").read_text(encoding="utf-8")
    start = page.index('<div class="item-map"')
    assert page.index("</script>\n</div>", start) - start < 3_000_000


def test_without_scripts_the_map_is_one_sentence(browser: Browser, built_book: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((built_book / "notebooks" / "07_umap.html").resolve().as_uri())
    assert page.locator("#item-map [data-part=fallback]").is_visible()
    assert page.locator("#item-map-canvas").is_hidden()
    context.close()
