"""Who hears a page, enlarges it or walks it with the keyboard finds what the others find.

axe-core looks at every page; it knows nothing of what the Tab key reaches, so that is walked here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.book.site import NARROW, WIDE, Watched, site_pages

# Colours hardly depend on the width and structure not on the colours, so most pages are looked at
# twice: wide and light, narrow and dark. These few, which hold all that others have, four times.
EVERY_KIND = ("book/preface", "notebooks/00_quickstart", "notebooks/07_umap", "search")
STILL = "* { animation: none !important; transition: none !important; }"

# axe looks at every element, and most elements of a chapter are tokens of code. One of each kind is
# enough: the others have the same colours. So a look at a page takes half a second instead of four.
ONE_TOKEN_OF_A_KIND = """() => {
  document.querySelectorAll("details").forEach((details) => (details.open = true));
  const seen = new Set();
  for (const token of document.querySelectorAll("pre span")) {
    const place = token.closest(".cell_input, .cell_output, table, article")?.className;
    const kind = `${place} ${token.parentElement.className} ${token.className}`;
    if (seen.has(kind)) token.replaceWith(...token.childNodes);
    seen.add(kind);
  }
}"""

# A while after a change of size, the theme puts what has to be scrolled now into the reach of Tab.
TAB_STOPS_ARE_SET = """() => [...document.querySelectorAll(
    "pre, .cell_output > .output, .pst-scrollable-table-container")].every((box) =>
      box.scrollWidth <= box.clientWidth || box.tabIndex === 0)"""


@pytest.fixture(scope="module")
def sheet(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE)
    yield context.new_page()  # one for many pages: opening one takes longer than looking at it
    context.close()


def show(page: Page, path: Path) -> None:
    page.goto(path.resolve().as_uri(), wait_until="load")
    page.wait_for_function(
        "[...document.querySelectorAll('.math')].every(e => e.querySelector('mjx-container'))"
    )
    page.evaluate("document.querySelector('[data-widget=recommender]')?.scrollIntoView()")
    page.wait_for_function("!document.querySelector('[data-widget=recommender]:not([data-ready])')")
    page.add_style_tag(content=STILL)


def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it is now, a line each. A table's corner may be empty."""
    options = {"resultTypes": ["violations"], "rules": {"empty-table-header": {"enabled": False}}}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['impact']}: {rule['help']} ({rule['id']}): {node['html'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("name", site_pages())
def test_axe_finds_nothing(sheet: Page, built_book: Path, name: str) -> None:
    """Not only nothing serious: nothing at all, answers and solutions unfolded."""
    show(sheet, built_book / f"{name}.html")
    sheet.evaluate(ONE_TOKEN_OF_A_KIND)
    found = []
    settings = [(WIDE, "light"), (NARROW, "dark")]
    if name in EVERY_KIND:
        settings += [(NARROW, "light"), (WIDE, "dark")]
    for size, scheme in settings:
        sheet.set_viewport_size(size)
        sheet.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
        sheet.wait_for_function(TAB_STOPS_ARE_SET)
        found += [f"{size['width']} px, {scheme}: {line}" for line in violations(sheet)]
    assert found == []


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("document.querySelector('article img').removeAttribute('alt')", "critical: .*image-alt"),
        ("document.querySelector('article p').style.color = '#ccc'", "serious: .*color-contrast"),
        ("document.querySelector('.k, .kn').style.color = '#ddd'", "serious: .*color-contrast"),
        ("document.documentElement.removeAttribute('lang')", "serious: .*html-has-lang"),
        (
            "document.querySelector('article h2').outerHTML = '<h5>5</h5>'",
            "moderate: .*heading-order",
        ),
        (
            "document.querySelector('details:not(.hide) p').style.color = '#ccc'",
            "serious: .*color-contrast",
        ),
    ],
)
def test_axe_is_awake(sheet: Page, built_book: Path, spoil: str, complaint: str) -> None:
    sheet.set_viewport_size(WIDE)
    show(sheet, built_book / "notebooks" / "00_quickstart.html")
    sheet.evaluate(ONE_TOKEN_OF_A_KIND)
    sheet.evaluate(f"() => {{ {spoil} }}")
    assert any(re.match(complaint, line) for line in violations(sheet))


# The keyboard

# Everything that Tab should reach: what can be acted on, and is shown.
CONTROLS = """() => [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((control) =>
      !control.disabled && control.tabIndex >= 0 && control.checkVisibility({
        visibilityProperty: true, contentVisibilityAuto: true})
      && control.getClientRects().length && !control.closest("mjx-assistive-mml"))"""
# Of the radio buttons of a group Tab reaches the checked one, or the first; arrows, the others.
REACHABLE = f"""({CONTROLS})().filter((control, _, all) => {{
  const group = all.filter(({{type, name}}) => type === "radio" && name === control.name);
  return control.type !== "radio" || control === (group.find(({{checked}}) => checked) ?? group[0]);
}})"""
# Remember what got the focus, and whether that could be seen: a ring, and nothing transparent.
REMEMBER = """() => {
  document.querySelectorAll("details").forEach((details) => (details.open = true));
  window.reached = new Map();
  const ringed = (element) => {
    const style = getComputedStyle(element);
    const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    const glow = style.boxShadow.split(/,(?![^(]*\\))/).some((shadow) =>
      / 0px 0px 0px [1-9]/.test(shadow) && !/rgba\\(0, 0, 0, 0\\)/.test(shadow));
    return (ring || glow) && element.checkVisibility({opacityProperty: true});
  };
  // The ring may be around the form of a field, or around the arrow in a summary without height.
  const seen = (control) => [control, control.closest("form"),
    control.querySelector(":scope > .toctree-toggle")].some((e) => e && ringed(e));
  window.controls = REACHABLE;
  document.addEventListener("focusin", ({target}) => window.reached.set(target, seen(target)));
}""".replace("REACHABLE", REACHABLE)
UNFOLDED = 12  # links that the list of a page's sections may unfold on the way: Tab meets them, too
NAME = "(e) => `${e.tagName} ${e.id || e.className} ${e.ariaLabel || e.textContent.trim()}`"


def walk(page: Page) -> tuple[list[str], list[str]]:
    """Press Tab from the top of the page to its end: what was not reached, and what not seen."""
    page.evaluate(REMEMBER)
    for _ in range(page.evaluate("controls.length") + UNFOLDED):
        page.keyboard.press("Tab")
    # What shows only at the start or only at the end, since the page has scrolled, does not count.
    still = f"(({REACHABLE}).includes(control) && !reached.has(control))"
    missed = f"controls.filter((control) => {still}).map({NAME})"
    hidden = f"[...reached].filter(([, seen]) => !seen).map(([control]) => ({NAME})(control))"
    return page.evaluate(missed), page.evaluate(hidden)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(pytest.param(name, WIDE, id=f"{name}-1280") for name in site_pages()),
        *(pytest.param(name, NARROW, id=f"{name}-390") for name in EVERY_KIND),
    ],
)
def test_tab_reaches_every_control_and_shows_where_it_is(
    sheet: Page, built_book: Path, name: str, size: dict[str, int]
) -> None:
    sheet.set_viewport_size(size)
    show(sheet, built_book / f"{name}.html")
    missed, hidden = walk(sheet)
    assert missed == []
    assert hidden == []


def test_a_control_out_of_reach_and_a_hidden_ring_are_seen(sheet: Page, built_book: Path) -> None:
    sheet.set_viewport_size(WIDE)
    show(sheet, built_book / "book" / "how_to_read.html")
    sheet.add_style_tag(content="article a:focus-visible { outline: none !important; }")
    sheet.evaluate(
        """() => document.querySelector("article").insertAdjacentHTML("beforeend",
           "<button onfocus='this.blur()'>Stuck</button>")"""
    )
    missed, hidden = walk(sheet)
    assert any("Stuck" in line for line in missed) or any("Stuck" in line for line in hidden)
    assert any(line.startswith("A reference internal") for line in hidden)


@pytest.fixture
def chapter(browser: Browser, built_book: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    watched = Watched(browser, getattr(request, "param", WIDE), "light")
    page = watched.open(built_book / "notebooks" / "00_quickstart.html")
    page.add_style_tag(content=STILL)
    page.wait_for_function("document.querySelector('.copybtn')")
    yield page
    assert watched.errors == []
    watched.context.close()


FOCUSED = "document.activeElement"


def test_the_first_tab_offers_to_skip_to_the_text(chapter: Page) -> None:
    chapter.keyboard.press("Tab")
    link = chapter.locator("#pst-skip-link a")
    assert chapter.evaluate(f"{FOCUSED}.textContent") == "Skip to main content"
    box = link.bounding_box()
    assert box["x"] >= 0
    assert box["y"] >= 0
    chapter.keyboard.press("Enter")
    chapter.keyboard.press("Tab")
    assert chapter.evaluate(f"document.querySelector('main').contains({FOCUSED})")


def test_the_colours_change_from_the_keyboard(chapter: Page) -> None:
    chapter.locator(".theme-switch-button").focus()
    seen = set()
    for _ in range(3):
        chapter.keyboard.press("Enter")
        seen.add(chapter.evaluate("document.documentElement.dataset.mode"))
    assert seen == {"light", "dark", "auto"}


def test_search_opens_finds_and_closes_from_the_keyboard(chapter: Page) -> None:
    chapter.keyboard.press("Control+k")
    field = "#pst-search-dialog input"
    assert chapter.evaluate(f"{FOCUSED} === document.querySelector('{field}')")
    chapter.keyboard.press("Escape")
    assert chapter.locator(field).is_hidden()
    # Opened from the disk, the page of hits may not read others; Chromium calls that an error.
    chapter.route("**/search.html?q=*", lambda route: route.fulfill(body="hits"))
    chapter.locator(".search-button-field").focus()
    chapter.keyboard.press("Enter")
    chapter.keyboard.type("codebook")
    chapter.keyboard.press("Enter")
    chapter.wait_for_url("**/search.html?q=codebook*")


def test_answers_and_solutions_open_from_the_keyboard(chapter: Page) -> None:
    folds = chapter.locator("article details")
    kinds = {folds.nth(index).get_attribute("class") or "" for index in range(folds.count())}
    assert any("hide" in kind for kind in kinds)  # a solution
    assert kinds & {"", "answer"}  # a question
    for index in range(folds.count()):
        fold = folds.nth(index)
        inside = fold.locator("p, pre").last
        assert inside.is_hidden()
        fold.locator("summary").focus()
        chapter.keyboard.press("Enter")
        assert inside.is_visible()
        chapter.keyboard.press("Enter")
        assert inside.is_hidden()


def test_a_copy_button_shows_itself_and_copies(chapter: Page) -> None:
    chapter.context.grant_permissions(["clipboard-read", "clipboard-write"])
    cell = chapter.locator(".cell:not([class*=tag_hide])", has=chapter.locator(".copybtn")).first
    button = cell.locator(".copybtn").first
    code = cell.locator(".cell_input pre").first.inner_text()
    button.focus()
    chapter.keyboard.press("Enter")
    chapter.wait_for_function("document.querySelector('.copybtn.success')")
    assert chapter.evaluate("navigator.clipboard.readText()").strip() == code.strip()


@pytest.mark.parametrize("chapter", [NARROW], indirect=True, ids=["390"])
def test_on_a_phone_the_table_of_contents_opens_and_closes(chapter: Page) -> None:
    toggle = chapter.locator(".primary-toggle").first
    toggle.focus()
    chapter.keyboard.press("Enter")
    drawer = chapter.locator("dialog#pst-primary-sidebar-modal")
    assert drawer.is_visible()
    chapter.keyboard.press("Tab")
    assert chapter.evaluate(f"{FOCUSED}.closest('dialog')?.id") == "pst-primary-sidebar-modal"
    chapter.keyboard.press("Escape")
    assert drawer.is_hidden()
    assert chapter.evaluate(f"{FOCUSED}.classList.contains('primary-toggle')")
