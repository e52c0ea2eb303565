"""The widgets of chapters 03 and 04, by mouse and keyboard, say and draw what Python computes."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from rqvae_lib.ops import kmeans as library
from rqvae_lib.ops.kmeans import kmeans, kmeans_plus_plus, nearest
from rqvae_lib.teaching.gradient_graphs import CODE, LOSSES, WAYS, arrivals, graph, picture
from rqvae_lib.teaching.gradient_graphs import widget_data as graphs
from rqvae_lib.teaching.widgets import Widget, widget
from tests.book.site import NARROW, WIDE, Watched
from tests.book.widget_pages import EVERY_PAGE, centre, looks_well, mulberry32, show, status

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="90"/>'
POINTS = np.random.default_rng(0).normal(0, 4, (120, 2)).round(2)
POINTS[:40] *= 0.3
BOOKS = np.stack(
    [
        np.random.default_rng(1 + level).normal(0, 4 / 3**level, (6, 2)).round(3)
        for level in range(3)
    ]
)
TITLES = [f"Movie {i} <b>" for i in range(120)]


def kmeans_widget() -> Widget:
    data = {"points": POINTS.tolist(), "titles": TITLES}
    return widget("kmeans", data, title="k-means", fallback=SVG, alt="Movies as dots")


def residual_widget() -> Widget:
    data = {"points": POINTS.tolist(), "titles": TITLES, "books": BOOKS.tolist()}
    data["choices"] = [7, 3]
    return widget(
        "residual-quantization", data, title="Residuals", fallback=SVG, alt="Movies as dots"
    )


def gradients_widget() -> Widget:
    return widget("gradients", graphs(4), title="Ways", fallback=picture(3), alt="Three graphs")


MADE = {
    "kmeans": kmeans_widget,
    "residual-quantization": residual_widget,
    "gradients": gradients_widget,
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("watched", EVERY_PAGE, indirect=True)
def test_every_size_and_scheme_looks_well(watched: Watched, tmp_path: Path, name: str) -> None:
    page = show(watched, tmp_path, MADE[name]())
    looks_well(watched)
    if name != "residual-quantization":
        page.get_by_role("button", name="Last").click()
    else:
        page.get_by_label("Levels", exact=True).fill("3")
    looks_well(watched)
    stages = page.locator(".widget-stage svg")
    for stage in stages.all():
        assert stage.bounding_box()["width"] >= 300
    # What is written on a stage stays in it.
    outside = """svg => [...svg.querySelectorAll('text')].filter((text) => {
      const [a, b] = [text.getBoundingClientRect(), svg.getBoundingClientRect()];
      return a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1);
    }).map((text) => text.textContent)"""
    assert [stage.evaluate(outside) for stage in stages.all()] == [[]] * stages.count()


@pytest.mark.parametrize("name", MADE)
def test_widgets_are_light(name: str) -> None:
    html = re.sub(r'<img src="[^"]*"', "<img", MADE[name]().html)
    assert len(html.encode()) < 55_000


# k-means

STATE = """() => {
  const root = document.querySelector(".widget");
  const every = (those, value) => [...root.querySelectorAll(those)].map(value);
  return {
    kind: root.dataset.kind,
    inertia: Number(root.dataset.inertia),
    codewords: every(".codeword", (it) => [Number(it.dataset.x), Number(it.dataset.y)]),
    codes: every(".movies circle", (it) => Number(it.dataset.code)),
    weights: every(".movies circle", (it) => Number(it.dataset.weight)),
    radii: every(".movies circle", (it) => parseFloat(getComputedStyle(it).r)),
    said: root.querySelector("[role=status]").textContent,
  };
}"""
WALK = f"""() => {{
  const step = [...document.querySelectorAll("button")].find((it) => it.textContent === "Step");
  const states = [];
  while (step.getAttribute("aria-disabled") === "false") {{
    step.click();
    states.push(({STATE})());
  }}
  return states;
}}"""


@pytest.fixture
def kmeans_page(watched: Watched, tmp_path: Path) -> Iterator[Page]:
    yield show(watched, tmp_path, kmeans_widget())
    assert watched.console == []
    assert watched.errors == []
    assert watched.remote == []


def walk(page: Page, start: str, k: int, seed: int, revive: bool) -> list[dict[str, Any]]:
    """The states of a run, from the first draw to the last assignment."""
    page.get_by_label("Start", exact=True).select_option(start)
    page.get_by_label("Codewords", exact=True).fill(str(k))
    page.get_by_label("Seed", exact=True).fill(str(seed))
    page.get_by_label("Lloyd moves dead codewords").set_checked(revive)
    page.get_by_role("button", name="First").click(force=True)
    states: list[dict[str, Any]] = page.evaluate(WALK)
    return states


def step_by_hand(x: Tensor, centroids: Tensor, codes: Tensor) -> Tensor:
    """One move that leaves dead codewords where they are."""
    counts = torch.bincount(codes, minlength=len(centroids))[:, None]
    sums = torch.zeros_like(centroids).index_add_(0, codes, x)
    return torch.where(counts > 0, sums / counts.clamp(min=1), centroids)


@pytest.mark.parametrize(
    ("start", "k", "seed", "revive"),
    [
        ("plus", 8, 0, True),
        ("plus", 3, 4, True),
        ("rows", 16, 1, True),
        ("gauss", 12, 2, True),
        ("gauss", 16, 5, False),
    ],
)
def test_every_step_is_that_of_the_library(
    kmeans_page: Page, start: str, k: int, seed: int, revive: bool
) -> None:
    x = torch.from_numpy(POINTS)
    total = float((x - x.mean(0)).square().sum())
    states = walk(kmeans_page, start, k, seed, revive)
    draws, rest = states[:k], states[k:]
    assert [state["kind"] for state in draws] == ["draw"] * k
    assert {state["kind"] for state in rest} == {"assign", "move"}
    centroids = torch.tensor(draws[-1]["codewords"], dtype=torch.float64)
    first, deaths = centroids, 0
    for number, state in enumerate(rest):
        moves = (number + 1) // 2
        codes = nearest(x, centroids)
        if state["kind"] == "move":
            if revive:
                result = kmeans(x, k, num_iterations=moves, initial_centroids=first)
                centroids = result.centroids
            else:
                centroids = step_by_hand(x, centroids, codes)
        drawn = torch.tensor(state["codewords"], dtype=torch.float64)
        torch.testing.assert_close(drawn, centroids, rtol=1e-9, atol=1e-9)
        # After a move the movies have the codes of before.
        expected = codes if state["kind"] == "move" else nearest(x, centroids)
        assert state["codes"] == expected.tolist()
        inertia = float((x - centroids[expected]).square().sum())
        assert state["inertia"] == pytest.approx(inertia, rel=1e-6)
        assert f"Inertia {inertia / total:.4f}." in state["said"]
        dead = (torch.bincount(expected, minlength=k) == 0).nonzero()[:, 0].tolist()
        if state["kind"] == "assign":
            said = re.search(r"Dead: ([\d, ]+)\.", state["said"])
            assert ([int(code) for code in said[1].split(", ")] if said else []) == dead
        deaths += len(dead)
    assert "Nothing moves any more." in rest[-1]["said"]
    inertias = [state["inertia"] for state in rest]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(inertias))
    if start == "gauss" and not revive:
        assert deaths > 0  # or the list of the dead was never looked at


@pytest.mark.parametrize("seed", [0, 3, 17])
def test_draws_are_those_of_the_library_from_the_same_random_numbers(
    kmeans_page: Page, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.from_numpy(POINTS)
    throws = torch.tensor(mulberry32(seed, 8), dtype=torch.float64)[:, None]
    monkeypatch.setattr(library.torch, "rand", lambda *_, **__: throws)
    expected = kmeans_plus_plus(x, 8, generator=torch.Generator())
    states = walk(kmeans_page, "plus", 8, seed, True)[:8]
    assert states[-1]["codewords"] == expected.tolist()
    for number, state in enumerate(states, 1):
        distances = torch.cdist(x, expected[:number]).square().min(1).values
        weights = torch.tensor(state["weights"], dtype=torch.float64)
        torch.testing.assert_close(weights, distances)
        assert state["inertia"] == pytest.approx(float(distances.sum()), rel=1e-9)
        row = int((x == expected[number - 1]).all(1).nonzero()[0, 0])
        assert f"codeword {number - 1} is Movie {row} <b>" in state["said"]
        # The likelier, the larger.
        order = np.argsort(state["weights"])
        assert (np.diff(np.array(state["radii"])[order]) >= 0).all()
    before = torch.cdist(x, expected[:7]).square().min(1).values
    row = int((x == expected[7]).all(1).nonzero()[0, 0])
    percent = 100 * float(before[row] / before.sum())
    assert f"a probability of {percent:.{2 if percent < 9.95 else 1}f} %" in states[-1]["said"]


def test_strip_shows_where_every_run_ends(kmeans_page: Page) -> None:
    x = torch.from_numpy(POINTS)
    total = float((x - x.mean(0)).square().sum())
    strip = kmeans_page.locator("svg[aria-label^='Where the runs']")
    strip.scroll_into_view_if_needed()
    kmeans_page.wait_for_selector("[data-end]")
    shown = kmeans_page.locator("[data-end]").evaluate_all(
        "dots => dots.map((it) => [it.dataset.start, +it.dataset.seed, +it.dataset.end,"
        " it.cx.baseVal.value])"
    )
    assert len(shown) == 3 * 30
    ends = {(start, seed): end for start, seed, end, _ in shown}
    for start, seed in (("plus", 0), ("rows", 9), ("gauss", 29)):
        last = walk(kmeans_page, start, 8, seed, True)[-1]
        assert ends[start, seed] == pytest.approx(last["inertia"] / total, rel=1e-9)
    best, words = min(ends.values()), strip.text_content() or ""
    for start, label in (("plus", "k-means++"), ("rows", "random movies")):
        mean = sum(end for (own, _), end in ends.items() if own == start) / 30 / best
        assert re.search(rf"{re.escape(label)}:.*? mean {mean:.2f} ×", words)
    order = np.argsort([end for _, _, end, _ in shown])
    assert (np.diff(np.array([x for _, _, _, x in shown])[order]) >= 0).all()


@pytest.mark.parametrize("watched", [(WIDE, "light"), (NARROW, "dark")], indirect=True)
def test_kmeans_by_mouse_and_keyboard(kmeans_page: Page) -> None:
    page = kmeans_page
    assert "120 movies and no codeword yet" in status(page, "kmeans")
    page.get_by_role("button", name="Step").focus()
    page.keyboard.press("Enter")
    assert status(page, "kmeans").startswith("Draw 1 of 8: codeword 0 is Movie")
    page.keyboard.press("End")
    assert "Nothing moves any more." in status(page, "kmeans")
    page.get_by_label("Seed", exact=True).focus()
    page.keyboard.press("ArrowRight")  # the place in the run stays near where it was
    count = page.locator(".widget-count").inner_text()
    step, last = re.fullmatch(r"step (\d+) of (\d+)", count).groups()
    assert int(step) <= int(last)
    page.get_by_text("The codewords as a table").click()
    rows = page.locator(".widget tbody tr")
    assert rows.count() == 8
    state = page.evaluate(STATE)
    x = torch.from_numpy(POINTS)
    for code, cells in enumerate(rows.all()):
        found = cells.locator("td").all_inner_texts()
        far = (x - torch.tensor(state["codewords"][code])).square().sum(1)
        assert found == [
            str(code),
            str(state["codes"].count(code)),
            f"Movie {int(far.argmin())} <b>",
        ]
    # Pointing at a movie shows its title.
    dot = page.locator(".movies circle").nth(5)
    page.mouse.move(*centre(dot))
    titles = page.locator("svg[aria-label='Movies and codewords in a plane'] > text")
    assert titles.text_content() == "Movie 5 <b>"


# Residual quantization


@pytest.fixture
def levels_page(watched: Watched, tmp_path: Path) -> Iterator[Page]:
    yield show(watched, tmp_path, residual_widget())
    assert watched.console == []
    assert watched.errors == []
    assert watched.remote == []


def here(page: Page) -> Tensor:
    root = page.locator(".widget")
    return torch.tensor(json.loads(root.get_attribute("data-z")), dtype=torch.float64)


def encode(x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The codes (N, 3) of x (N, 2), and what is left after 0, 1, 2, 3 levels."""
    left, codes = [x], []
    for book in torch.from_numpy(BOOKS):
        codes.append(nearest(left[-1], book))
        left.append(left[-1] - book[codes[-1]])
    return torch.stack(codes, 1), left


def check_levels(page: Page, level: int) -> str:
    """What is said and drawn is what Python finds for the place of z; returns what is said."""
    z, said = here(page), status(page, "residual-quantization")
    codes, left = encode(z[None])
    lengths = [float(residual.norm()) for residual in left[: level + 1]]
    drawn = page.locator("[data-left]").evaluate_all("them => them.map((it) => +it.dataset.left)")
    assert drawn == pytest.approx(lengths, rel=1e-9)
    bars = page.locator("[data-left]").evaluate_all(
        "them => them.map((it) => it.width.baseVal.value)"
    )
    assert [bar / bars[0] for bar in bars] == pytest.approx(
        [n / lengths[0] for n in lengths], rel=1e-3
    )
    assert f"z is {lengths[0]:.2f} long." in said
    if level == 0:
        return said
    mine = "-".join(map(str, codes[0, :level].tolist()))
    same = (encode(torch.from_numpy(POINTS))[0][:, :level] == codes[:, :level]).all(1)
    name = "Code" if level == 1 else "Codes"
    assert said.startswith(f"{name} {mine}: {int(same.sum())} of 120 movies")
    verb = "leaves" if level == 1 else "leave"
    assert f" {verb} a residual of length {lengths[-1]:.2f}." in said
    assert ("more than before" in said) == (lengths[-1] > lengths[-2])
    marked = page.locator(".movies circle").evaluate_all(
        "them => them.map((it) => it.hasAttribute('data-same'))"
    )
    assert marked == same.tolist()
    if level == 3:
        books = torch.from_numpy(BOOKS)
        sums = (books[0][:, None, None] + books[1][:, None] + books[2]).reshape(-1, 2)
        far = (sums - z).norm(dim=1)
        if far.min() > lengths[-1] - 1e-9:
            assert "None of the 216 possible sums is nearer." in said
        else:
            place = np.unravel_index(int(far.argmin()), (6, 6, 6))
            better = "-".join(map(str, place))
            assert f"missed {better}, which leaves {float(far.min()):.2f}." in said
    return said


@pytest.mark.parametrize("watched", [(WIDE, "light"), (NARROW, "dark")], indirect=True)
def test_levels_follow_the_mouse(levels_page: Page) -> None:
    page, missed, chance = levels_page, 0, np.random.default_rng(5)
    knob, stage = page.locator(".z"), page.locator("svg[aria-label='The plane of the latents']")
    for number in range(24):
        level = number % 4
        page.get_by_label("Levels", exact=True).fill(str(level))
        page.mouse.move(*centre(knob))
        page.mouse.down()
        box = stage.bounding_box()
        share = 0.2 + 0.6 * chance.random(2)
        page.mouse.move(box["x"] + share[0] * box["width"], box["y"] + share[1] * box["height"])
        page.mouse.up()
        missed += "missed" in check_levels(page, level)
    assert missed > 0  # or the brute force was never compared with


def test_levels_follow_the_keyboard_and_the_list_of_movies(levels_page: Page) -> None:
    page = levels_page
    torch.testing.assert_close(here(page), torch.from_numpy(POINTS[7]))
    check_levels(page, 1)
    page.get_by_label("Levels", exact=True).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    check_levels(page, 3)
    page.get_by_label("Put z on").focus()
    page.get_by_label("Put z on").select_option("3")
    torch.testing.assert_close(here(page), torch.from_numpy(POINTS[3]))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "The latent z"
    )
    before = here(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    moved = here(page) - before
    assert moved[0] == pytest.approx(float(moved[1]))
    assert moved[0] > 0
    page.keyboard.press("Shift+ArrowLeft")
    torch.testing.assert_close(here(page)[0], before[0] - 4 * moved[0])
    assert page.get_by_label("Put z on").input_value() == ""
    check_levels(page, 3)


def test_cells_are_those_of_the_nearest_codeword(levels_page: Page) -> None:
    """Every place of the plane lies in the drawn cell of the codeword that is nearest to it."""
    page = levels_page
    page.get_by_label("Levels", exact=True).fill("3")
    drawn = page.locator(".cells polygon").evaluate_all(
        "them => them.map((it) => [+it.dataset.level, +it.dataset.code, it.getAttribute('points')])"
    )
    spread = np.abs(POINTS).max() * 1.06
    chosen = encode(here(page)[None])[0][0]
    places = torch.from_numpy(np.random.default_rng(2).uniform(0, 420, (4000, 2)))
    z = (places - 210) / 210 * spread * torch.tensor([1, -1])
    codes, _ = encode(z)
    seen = set()
    for level, code, text in drawn:
        corners = torch.tensor([[float(x) for x in pair.split(",")] for pair in text.split()])
        same = (codes[:, : level - 1] == chosen[: level - 1]).all(1)
        expected = same & (codes[:, level - 1] == code)
        inside, edge = in_polygon(places, corners.double())
        assert (inside == expected)[~edge].all()
        seen.add((level, code)) if expected.any() else None
    assert {level for level, _ in seen} == {1, 2, 3}
    # and no place of the level is left out
    for level in (1, 2, 3):
        same = (codes[:, : level - 1] == chosen[: level - 1]).all(1)
        found = {code for drawn_level, code, _ in drawn if drawn_level == level}
        assert set(codes[same, level - 1].tolist()) <= found


def in_polygon(places: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Which places lie in a convex polygon, and which so near its border that rounding decides."""
    sides = corners.roll(-1, 0) - corners
    sides, starts = sides[sides.norm(dim=1) > 0.02], corners[sides.norm(dim=1) > 0.02]
    away = places[:, None] - starts
    turn = sides[:, 0] * away[..., 1] - sides[:, 1] * away[..., 0]
    turn = turn / sides.norm(dim=1)
    inside = (turn >= 0).all(1) | (turn <= 0).all(1)
    return inside, (turn.abs() < 0.1).any(1)


def test_one_scale_shows_how_short_the_later_levels_are(levels_page: Page) -> None:
    page = levels_page
    view = page.locator("svg[aria-label='What one level sees']")
    page.get_by_label("Levels", exact=True).fill("3")

    def width() -> float:
        return float(
            view.evaluate("""svg => {
              const dots = [...svg.querySelectorAll("circle")];
              const x = dots.map((it) => it.getBoundingClientRect().x);
              return Math.max(...x) - Math.min(...x);
            }""")
        )

    assert "Level 3 is given the residual of level 2" in view.text_content()
    apart = width()
    page.get_by_label("Same scale at every level").check()
    assert width() < apart / 3


# Gradients


@pytest.fixture
def gradients_page(watched: Watched, tmp_path: Path) -> Iterator[Page]:
    yield show(watched, tmp_path, gradients_widget())
    assert watched.console == []
    assert watched.errors == []
    assert watched.remote == []


def choose(page: Page, way: str, loss: str, levels: int) -> None:
    page.get_by_label("Loop", exact=True).select_option(way)
    page.get_by_label("Gradient", exact=True).select_option(loss)
    page.get_by_label("Levels", exact=True).fill(str(levels))


def flows(page: Page) -> dict[tuple[str, str], int]:
    """The lines that are lit: from where the gradient comes, to where it goes, and how much."""
    found = page.locator("[data-value]").evaluate_all(
        "them => them.map((it) => [it.dataset.from, it.dataset.to, +it.dataset.value])"
    )
    return {(start, end): value for start, end, value in found}


@pytest.mark.parametrize("watched", [(WIDE, "light"), (NARROW, "dark")], indirect=True)
def test_what_arrives_is_what_autograd_counts(gradients_page: Page) -> None:
    page = gradients_page
    for way in WAYS:
        for loss in LOSSES:
            for levels in (1, 2, 3, 4):
                choose(page, way, loss, levels)
                page.get_by_role("button", name="Last").click()
                found = arrivals(graph(way, levels), loss)  # which a test compares with autograd
                assert page.locator(".widget").get_attribute("data-arrived") == str(sum(found))
                said = status(page, "gradients")
                if loss == "commitment":
                    assert f"the commitment loss of {sum(found)} arrives at z" in said
                else:
                    times = {1: "once", 2: "twice"}.get(sum(found), f"{sum(found)} times")
                    assert f"arrives {times} at z" in said
                lit = flows(page)
                assert sum(n for (_, end), n in lit.items() if end == "r1") == sum(found)
        shown = page.locator(".widget-code").text_content()
        assert shown.strip() == CODE[way].strip()


def test_loop_a_shows_where_two_ways_cancel(gradients_page: Page) -> None:
    page = gradients_page
    choose(page, "a", "commitment", 2)
    said = []
    for _ in range(4):
        page.get_by_role("button", name="Step").click()
        said.append(status(page, "gradients"))
    assert "enters at c₂: +1" in said[0]
    assert "From r₂ it goes to z: +1, and to s₁: −1." in said[2]
    assert "At z, +1 and −1 cancel. Nothing arrives at z." in said[3]
    assert flows(page) == {("c2", "r2"): 1, ("r2", "r1"): 1, ("r2", "s1"): -1, ("s1", "r1"): -1}
    assert page.locator(".widget").get_attribute("data-arrived") == "0"
    page.get_by_role("button", name="Back").click()
    assert ("s1", "r1") not in flows(page)


def test_gradients_are_stepped_from_the_keyboard(gradients_page: Page) -> None:
    page = gradients_page
    page.get_by_role("button", name="First").focus()
    for expected in ("The gradient at q goes to s₃: +1.", "From s₃ it goes to r₃: +1."):
        page.keyboard.press("ArrowRight")
        assert status(page, "gradients") == expected
    page.keyboard.press("End")
    assert status(page, "gradients") == "The gradient of the reconstruction arrives once at z."
    page.keyboard.press("Home")
    assert flows(page) == {}
