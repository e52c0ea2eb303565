"""What all widgets share, in a real browser: with the mouse, the keyboard, narrow and dark."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from rqvae_lib.teaching import widgets
from rqvae_lib.teaching.widgets import Widget, widget
from tests.book.site import NARROW, WIDE, Watched
from tests.book.widget_pages import EVERY_PAGE, centre, looks_well, mulberry32, show, status

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"><rect width="90" height="90"/>'
    "</svg>"
)

# A widget with one of everything: it writes down what it was told.
DEMO = """
SemanticIdsWidgets.register("demo", (root, data, ui) => {
  const told = [];
  const tell = (text) => { told.push(text); root.dataset.told = told.join(" "); ui.say(text); };
  ui.controls();
  ui.button("Press", () => tell("pressed"));
  const slider = ui.slider({ label: "Size", min: 0, max: 10, value: 3, format: (x) => `${x} cm`,
    onInput: (x) => tell(`size=${x}`) });
  ui.button("Five", () => slider.set(5));
  ui.select("Kind", [["a", "First kind"], ["b", "Second kind"]], (kind) => tell(`kind=${kind}`));
  ui.checkbox("Shown", true, (shown) => tell(`shown=${shown}`));
  ui.controls("Playing");
  const player = ui.player({ steps: () => data.steps, onStep: (step) => tell(`step=${step}`),
    pause: 40 });
  root.addEventListener("shorten", () => { data.steps = 2; player.refresh(); });
  const two = { label: "two", color: ui.color(9), shape: "line" };
  ui.legend([{ label: "one", color: ui.color(0) }, two]);
  const svg = ui.stage(400, 200, "A stage", { description: "A point to move" });
  ui.el("text", { x: 20, y: 30, text: data.text }, svg);
  ui.el("circle", { cx: 30, cy: 150, r: 9, fill: ui.color(1) }, svg);
  const dot = ui.el("circle", { cx: 100, cy: 100, r: 12, fill: ui.color(0) }, svg);
  let at = [100, 100];
  ui.drag(dot, { at: () => at, keys: 5, label: "The point", onMove: (x, y) => {
    at = [x, y];
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    tell(`at=${Math.round(x)},${Math.round(y)}`);
  } });
  const chance = ui.random(7), wide = ui.scale([0, 10], [100, 200]);
  root.dataset.narrow = ui.narrow;
  root.dataset.made = JSON.stringify([chance(), chance(), wide(3), wide.invert(130)]);
  ui.say("begun");
});
"""
BROKEN = """
SemanticIdsWidgets.register("broken", (root, data, ui) => {
  ui.button("A part", () => {});
  throw new Error("this widget is broken");
});
"""


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real shared files, and widgets of the test's own."""
    folder = tmp_path / "widget_files"
    folder.mkdir()
    for shared in ("shared.js", "shared.css"):
        (folder / shared).write_text(widgets._file(shared), encoding="utf-8")
    (folder / "demo.js").write_text(DEMO, encoding="utf-8")
    (folder / "broken.js").write_text(BROKEN, encoding="utf-8")
    monkeypatch.setattr(widgets, "_folder", lambda: folder)


def made(name: str = "demo", **changes: str) -> Widget:
    data = {"steps": 4, "text": "a < b"}
    return widget(name, data, title="Everything", fallback=SVG, alt="A square", **changes)


@pytest.fixture
def page(watched: Watched, tmp_path: Path) -> Iterator[Page]:
    yield show(watched, tmp_path, made())
    assert watched.console == []
    assert watched.errors == []
    assert watched.remote == []


def told(page: Page) -> str:
    return page.locator(".widget").get_attribute("data-told") or ""


@pytest.mark.parametrize("watched", EVERY_PAGE, indirect=True)
def test_every_size_and_scheme_looks_well(watched: Watched, page: Page) -> None:
    looks_well(watched)
    text = page.locator(".widget-stage text")
    assert text.text_content() == "a < b"
    # A text has the same size on the screen, however wide the stage is.
    height = text.bounding_box()["height"]
    assert 12 <= height <= 20
    dark = page.evaluate("document.documentElement.dataset.theme") == "dark"
    inks = page.evaluate(
        "[...document.querySelectorAll('.widget-stage :is(text, circle)')]"
        ".map((mark) => getComputedStyle(mark).fill)"
    )
    assert len(set(inks)) == 3
    assert inks[0] == ("rgb(230, 232, 235)" if dark else "rgb(31, 35, 40)")


def test_controls_answer_the_mouse(page: Page) -> None:
    assert status(page, "demo") == "begun"
    page.get_by_role("button", name="Press").click()
    page.get_by_label("Kind").select_option("b")
    page.get_by_label("Shown").uncheck()
    slider = page.get_by_label("Size")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
    assert told(page) == "pressed kind=b shown=false size=10"
    assert slider.get_attribute("aria-valuetext") == "10 cm"
    page.get_by_role("button", name="Five").click()  # `set` does not call back
    assert slider.input_value() == "5"
    assert page.locator(".widget-slider output").inner_text() == "5 cm"
    assert told(page) == "pressed kind=b shown=false size=10"
    assert status(page, "demo") == "size=10"


def test_every_control_is_reached_and_moved_from_the_keyboard(page: Page) -> None:
    names = []
    name = """() => { const it = document.activeElement;
        return it.getAttribute("aria-label") || it.labels?.[0]?.textContent || it.textContent; }"""
    page.locator("h1").click()
    for _ in range(11):
        page.keyboard.press("Tab")
        names.append(page.evaluate(name).strip())
    controls = ["Press", "Size", "Five", "Kind", "Shown"]
    player = ["First", "Back", "Step", "Run", "Last"]
    assert names == [*controls, *player, "The point"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert told(page) == "at=105,100 at=105,75"
    page.get_by_label("Size").focus()
    page.keyboard.press("ArrowRight")
    assert told(page).endswith("size=4")
    page.get_by_role("button", name="Step").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    assert told(page).endswith("size=4 step=1 step=4 step=3 step=0")
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == "Step"  # at an end no button is switched off, so the focus stays


def test_player_steps_runs_pauses_and_stops_at_the_end(page: Page) -> None:
    count = page.locator(".widget-count")
    back, step = page.get_by_role("button", name="Back"), page.get_by_role("button", name="Step")
    assert count.inner_text() == "step 0 of 4"
    assert back.get_attribute("aria-disabled") == "true"
    back.click(force=True)  # which changes nothing
    step.click()
    step.click()
    back.click()
    assert told(page) == "step=1 step=2 step=1"
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 60_000)  # steps come when the test says so
    page.get_by_role("button", name="Run").click()
    page.clock.run_for(3 * 40)
    assert told(page).endswith("step=1 step=2 step=3 step=4")
    assert page.get_by_role("button", name="Run").count() == 1  # no longer "Pause"
    assert step.get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="Run").click()  # from the end, it begins again
    assert told(page).endswith("step=4 step=0")
    assert page.locator("[role=status]").get_attribute("aria-live") == "off"  # not a flood of words
    page.get_by_role("button", name="Pause").click()
    assert page.locator("[role=status]").get_attribute("aria-live") == "polite"
    before = told(page)
    page.clock.run_for(10 * 40)
    assert told(page) == before
    page.get_by_role("button", name="Last").click()
    page.evaluate("document.querySelector('.widget').dispatchEvent(new Event('shorten'))")
    assert count.inner_text() == "step 2 of 2"


def test_run_goes_to_the_end_for_who_wants_less_motion(browser: Browser, tmp_path: Path) -> None:
    watched = Watched(browser, WIDE, "light")
    watched.page.emulate_media(reduced_motion="reduce")
    page = show(watched, tmp_path, made())
    page.get_by_role("button", name="Run").click()
    assert told(page) == "step=4"
    watched.context.close()


@pytest.mark.parametrize("watched", [(WIDE, "light"), (NARROW, "light")], indirect=True)
def test_point_follows_the_mouse_and_stays_on_the_stage(page: Page) -> None:
    dot, svg = page.locator("[aria-label='The point']"), page.locator(".widget-stage svg")
    x, y = centre(dot)
    unit = svg.evaluate("svg => svg.clientWidth") / 400  # pixels of a unit
    page.mouse.move(x + 3, y)  # taken beside its middle, it does not jump
    page.mouse.down()
    page.mouse.move(x + 3 + 60 * unit, y + 20 * unit)
    assert told(page).split()[-1] == "at=160,120"
    page.mouse.move(x + 900, y - 900)
    assert told(page).split()[-1] == "at=400,0"
    page.mouse.up()
    page.mouse.move(x, y)
    assert told(page).split()[-1] == "at=400,0"


def test_numbers_are_those_of_python(page: Page) -> None:
    made = json.loads(page.locator(".widget").get_attribute("data-made"))
    assert made[2:] == [130, 3]
    assert made[:2] == mulberry32(7, 2)


def test_on_the_way_back_the_controls_say_what_the_widget_shows(page: Page, tmp_path: Path) -> None:
    """A browser sets the controls of a page again, and tells no script."""
    page.get_by_label("Size").fill("8")
    page.get_by_label("Kind").select_option("b")
    page.get_by_label("Shown").uncheck()
    (tmp_path / "other.html").write_text("<!doctype html><title>Other</title>", encoding="utf-8")
    page.goto((tmp_path / "other.html").as_uri())
    page.go_back()
    page.wait_for_selector(".widget[data-ready]")
    assert status(page, "demo") == "begun"
    assert page.get_by_label("Size").input_value() == "3"
    assert page.get_by_label("Kind").input_value() == "a"
    assert page.get_by_label("Shown").is_checked()


def test_a_widget_is_built_anew_when_the_window_becomes_narrow(page: Page) -> None:
    widget = page.locator(".widget")
    assert widget.get_attribute("data-narrow") == "false"
    page.get_by_role("button", name="Press").click()
    page.set_viewport_size({"width": 1100, "height": 900})  # wide still: it is left alone
    page.emulate_media(media="print")
    page.emulate_media(media="screen")
    page.wait_for_timeout(100)
    assert status(page, "demo") == "pressed"
    for size, narrow in ((NARROW, "true"), (WIDE, "false")):
        page.set_viewport_size(size)
        page.wait_for_selector(f".widget[data-narrow={narrow}]")
        assert status(page, "demo") == "begun"
        assert page.get_by_role("button", name="Press").count() == 1
        names = page.evaluate("[...document.querySelectorAll('[id]')].map((it) => it.id)")
        assert len(names) == len(set(names))


def test_keys_do_not_reach_the_page_around(page: Page) -> None:
    """JupyterLab's command mode would cut the cell at an x."""
    page.evaluate("document.addEventListener('keydown', (event) => { window.heard = event.key; })")
    page.get_by_role("button", name="Press").focus()
    page.keyboard.press("x")
    assert page.evaluate("window.heard") is None
    page.keyboard.press("Control+k")  # the page's own search stays in reach
    assert page.evaluate("window.heard") == "k"


def test_two_of_a_kind_and_a_broken_one_stand_side_by_side(
    watched: Watched, tmp_path: Path
) -> None:
    page = watched.page
    path = tmp_path / "page.html"
    many = [made(), made("broken"), made(element_id="second")]
    path.write_text("<!doctype html>" + "".join(it.html for it in many), encoding="utf-8")
    watched.open(path)
    assert page.locator(".widget[data-ready]").count() == 2
    page.locator("#second").get_by_role("button", name="Press").click()
    assert page.locator("#second").get_attribute("data-told") == "pressed"
    assert page.locator("#widget-demo").get_attribute("data-told") is None
    names = page.evaluate("[...document.querySelectorAll('[id]')].map((it) => it.id)")
    assert len(names) == len(set(names))
    # The broken one says so to who looks, and shows its still figure to everybody else.
    assert watched.errors == ["this widget is broken"]
    assert page.locator("#widget-broken .widget-fallback").is_visible()
    assert page.locator("#widget-broken button").count() == 0


def test_still_figure_is_for_paper_and_for_who_runs_no_script(
    browser: Browser, tmp_path: Path, page: Page
) -> None:
    fallback, body = page.locator(".widget-fallback"), page.locator(".widget-body")
    assert not fallback.is_visible()
    page.emulate_media(media="print")
    assert fallback.is_visible()
    assert not body.is_visible()
    context = browser.new_context(java_script_enabled=False)
    silent = context.new_page()
    silent.goto((tmp_path / "widget.html").as_uri())
    assert silent.locator(".widget-fallback img").is_visible()
    assert silent.locator(".widget-fallback img").bounding_box()["width"] == 90
    assert "run this cell in JupyterLab" in silent.locator(".widget-fallback").inner_text()
    assert not silent.locator(".widget-body").is_visible()  # it is empty
    context.close()
