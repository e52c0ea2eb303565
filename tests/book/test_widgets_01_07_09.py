"""The widgets of chapters 01, 07 and 09: what they draw and say is what Python computes."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from playwright.sync_api import Locator, Page
from torch import Tensor

from rqvae_lib import load_dataset, load_embeddings, load_recommender, load_rqvae, recommend
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split, leave_one_out, split_by_name
from rqvae_lib.models.base import Recommender
from rqvae_lib.ops.neighbors import nearest_neighbors, trustworthiness
from rqvae_lib.teaching.search_steps import log_probabilities_after, search_data
from rqvae_lib.teaching.split_lives import split_data
from rqvae_lib.teaching.umap_settings import Fit, settings_data, vectors_of
from rqvae_lib.teaching.widgets import Widget, widget
from tests.book.site import NARROW, WIDE, Watched
from tests.book.widget_pages import EVERY_PAGE, looks_well, show, status
from tests.helpers import ROOT

STILL = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
PEOPLE = {"light: 21 ratings, 1996": 63, "heavy: 910 ratings, 2016": 212, "both sides": 256}


def made(name: str, data: dict[str, Any]) -> Widget:
    return widget(name, data, title="A title", fallback=STILL, alt="An empty picture")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("movielens-small-2016")


def quiet(watched: Watched) -> None:
    assert watched.console == []
    assert watched.errors == []
    assert watched.remote == []


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


# --- 01: the splits -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def splits(dataset: Dataset) -> list[Split]:
    return [split_by_name(dataset, name) for name in ("leave-one-out", "last-ten", "timestamp")]


@pytest.fixture(scope="module")
def lives(dataset: Dataset, splits: list[Split]) -> Widget:
    return made("splits", split_data(dataset, splits, PEOPLE))


@pytest.mark.parametrize("watched", EVERY_PAGE, indirect=True)
def test_splits_look_well(watched: Watched, tmp_path: Path, lives: Widget) -> None:
    page = show(watched, tmp_path, lives)
    page.get_by_label("Split", exact=True).select_option("2")
    page.get_by_label("Person", exact=True).select_option("2")
    looks_well(watched)


@pytest.mark.parametrize("watched", [(WIDE, "light"), (NARROW, "light")], indirect=True)
def test_every_split_and_person_says_what_is_later(
    watched: Watched, tmp_path: Path, dataset: Dataset, splits: list[Split], lives: Widget
) -> None:
    page = show(watched, tmp_path, lives)
    narrow = page.viewport_size == NARROW
    seconds = torch.tensor(dataset.interactions["timestamp"].to_numpy()) // 1_000_000
    for row, split in enumerate(splits):
        page.get_by_label("Split", exact=True).select_option(str(row))
        held_out = torch.cat([split.validation, split.test])
        learned = torch.ones(len(seconds), dtype=torch.bool)
        learned[held_out] = False  # these three splits hold out targets, and nothing else
        for column, person in enumerate(PEOPLE.values()):
            page.get_by_label("Person", exact=True).select_option(str(column))
            first, end = dataset.user_offsets[person : person + 2].tolist()
            targets = held_out[(held_out >= first) & (held_out < end)].msort()
            shown = page.locator(".widget-slider output").inner_text()
            said = status(page, "splits")
            if not len(targets):
                assert shown == "none"
                assert said.startswith("No target")
                assert page.locator(".leak").count() == 0
                assert page.locator(".cell.target").count() == 0
                continue
            assert shown == f"{len(targets)} of {len(targets)}"  # begins at the last one
            moment = seconds[targets[-1]]
            later = int((seconds[learned] > moment).sum())
            before = int(targets[-1]) - first
            assert f"with {before:,} ratings before it" in said
            assert (page.locator(".leak").count() == 1) == (later > 0)
            if later:
                share = f"{later:,} ({100 * later / int(learned.sum()):.1f} %) are from after it"
                assert share in said
            else:
                assert f"none of its {int(learned.sum()):,} ratings is from after" in said
            target = page.locator(".cell.target")
            assert target.get_attribute("data-place") == str(before)
            title = dataset.titles[int(split.everything.items[targets[-1]])]
            assert title in target.get_attribute("aria-label")
            assert title in page.locator("[data-part=detail]").inner_text()
            # The target and what is drawn around it lie inside the stage.
            right = "(cells) => Math.max(...cells.map((c) => c.getBBox().x + c.getBBox().width))"
            assert page.eval_on_selector_all(".cell", right) <= (360 if narrow else 740)
    quiet(watched)


def test_targets_are_stepped_with_mouse_and_keyboard(
    watched: Watched, tmp_path: Path, dataset: Dataset, lives: Widget
) -> None:
    page = show(watched, tmp_path, lives)
    place = page.locator(".cell.target")
    assert place.get_attribute("data-place") == "20"
    assert "test" in place.get_attribute("class")
    page.get_by_role("button", name="Previous target").click()
    assert place.get_attribute("data-place") == "19"
    assert "validation" in place.get_attribute("class")
    assert status(page, "splits").startswith("A validation target of 19 September 1996")
    page.get_by_role("button", name="Previous target").click(force=True)  # none is left
    assert place.get_attribute("data-place") == "19"
    page.get_by_role("button", name="Next target").focus()
    page.keyboard.press("Enter")
    assert place.get_attribute("data-place") == "20"
    page.get_by_label("Target", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    assert place.get_attribute("data-place") == "19"

    # A lane of the years chooses its person.
    page.locator(".lane .ground").nth(1).click()
    assert page.get_by_label("Person", exact=True).input_value() == "1"
    assert place.get_attribute("data-place") == "909"
    quiet(watched)


def test_ratings_are_walked_and_ties_are_drawn(
    watched: Watched, tmp_path: Path, dataset: Dataset, lives: Widget
) -> None:
    page = show(watched, tmp_path, lives)
    first, end = dataset.user_offsets[63:65].tolist()
    mine = dataset.interactions.iloc[first:end]
    ties = int((mine["timestamp"].diff() == 0).sum())
    assert ties > 5
    assert page.locator(".cell").count() == end - first
    assert page.locator(".tie").count() == ties
    page.locator(".cell.target").focus()
    for back in range(1, 4):
        page.keyboard.press("ArrowLeft")
        row = mine.iloc[-1 - back]
        detail = page.locator("[data-part=detail]").inner_text()
        when = pd.Timestamp(int(row["timestamp"]), unit="us")
        assert dataset.titles[int(row["item"])] in detail
        assert f"{when.day} {when:%B %Y} at {when:%H:%M:%S}" in detail
    page.locator(".cell").first.hover()
    assert (
        dataset.titles[int(mine.iloc[0]["item"])] in page.locator("[data-part=detail]").inner_text()
    )
    assert page.locator(".cell[tabindex='0']").count() == 1  # one stop of the Tab key
    quiet(watched)


def test_the_leak_begins_at_the_target(
    watched: Watched, tmp_path: Path, dataset: Dataset, lives: Widget
) -> None:
    page = show(watched, tmp_path, lives)
    left = page.locator(".leak").evaluate("(leak) => leak.getBBox().x")
    known = page.locator(".known").evaluate(
        "(known) => { const b = known.getBBox(); return b.x + b.width; }"
    )
    now = float(page.locator(".now").get_attribute("x1"))
    assert left == pytest.approx(now, abs=0.1)
    assert known == pytest.approx(now, abs=0.1)


# --- 07: UMAP's settings --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_parquet(ROOT / "notebooks" / "results" / "07_settings.parquet")


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return load_rqvae("movielens-small-2016")[0].encode(load_embeddings("movielens-small-2016"))


@pytest.fixture(scope="module")
def first_codes() -> Tensor:
    model, _ = load_rqvae("movielens-small-2016")
    return model.assign(load_embeddings("movielens-small-2016"))[:, 0]


START = "Bicentennial Man (1999)"


@pytest.fixture(scope="module")
def maps(dataset: Dataset, table: pd.DataFrame, latents: Tensor, first_codes: Tensor) -> Widget:
    titles = dataset.titles
    return made(
        "umap-settings",
        settings_data(table, latents, first_codes, titles, start=titles.index(START)),
    )


def points_of(table: pd.DataFrame, fit: Fit) -> np.ndarray:
    return table[[f"{fit.name}_x", f"{fit.name}_y"]].to_numpy(dtype="float64", copy=True)


def fit_button(page: Page, k: int, dist: float) -> Locator:
    return page.get_by_role("button", name=re.compile(f"^{k} neighbours, min_dist {dist:g}:"))


def drawn(page: Page) -> np.ndarray:
    """Where the dots stand, in units of the stage."""
    styles = page.eval_on_selector_all(
        ".dots circle", "(dots) => dots.map((d) => d.style.transform)"
    )
    return np.array([re.findall(r"-?[\d.]+", style) for style in styles], dtype=float)


@pytest.mark.parametrize("watched", EVERY_PAGE, indirect=True)
def test_maps_look_well(watched: Watched, tmp_path: Path, maps: Widget) -> None:
    show(watched, tmp_path, maps)
    looks_well(watched)


def test_each_map_is_drawn_and_measured(
    watched: Watched, tmp_path: Path, table: pd.DataFrame, latents: Tensor, maps: Widget
) -> None:
    page = show(watched, tmp_path, maps)
    vectors = vectors_of(latents[torch.from_numpy(table["item"].to_numpy(copy=True))])
    movie = int(page.get_by_label("Movie", exact=True).input_value())
    for kind in ("latents", "shuffled"):
        page.get_by_label("Maps of", exact=True).select_option(kind)
        true = nearest_neighbors(vectors[kind], 15).indices[movie].tolist()
        for k, dist, seed in ((5, 0.0, 0), (15, 0.5, 1), (50, 0.1, 1)):
            page.get_by_role("button", name=f"seed {seed}").click()
            fit_button(page, k, dist).click()
            points = points_of(table, Fit(kind, k, dist, seed))
            trust = trustworthiness(vectors[kind], torch.from_numpy(points), k=15)
            said = status(page, "umap-settings")
            assert said.startswith(
                f"{k} neighbours, min_dist {dist:g}, seed {seed}: trustworthiness {trust:.3f}."
            )
            assert page.locator(".grid td button[aria-pressed=true]").inner_text() == f"{trust:.3f}"
            apart = np.square(points - points[movie]).sum(1)
            apart[movie] = np.inf
            kept = len(set(np.argsort(apart, kind="stable")[:15]) & set(true))
            assert f"of its 15 nearest in truth, {kept} are among its 15 nearest" in said
            # The same map, up to its scale; y points up on a map and down on a page.
            shown = drawn(page) * [1, -1]
            scale = np.ptp(shown, 0).max() / np.ptp(points, 0)[np.ptp(shown, 0).argmax()]
            np.testing.assert_allclose(
                shown - shown.mean(0), (points - points.mean(0)) * scale, atol=0.2
            )
            marks = page.eval_on_selector_all(
                ".mark", "(m) => m.map((x) => Number(x.dataset.movie))"
            )
            assert marks == true
    quiet(watched)


def test_every_fit_has_its_trustworthiness_on_a_button(
    watched: Watched, tmp_path: Path, table: pd.DataFrame, latents: Tensor, maps: Widget
) -> None:
    page = show(watched, tmp_path, maps)
    vectors = vectors_of(latents[torch.from_numpy(table["item"].to_numpy(copy=True))])["latents"]
    shown = page.locator(".grid td button").all_inner_texts()
    fits = [Fit("latents", k, dist, 0) for k in (5, 15, 50) for dist in (0.0, 0.1, 0.5)]
    trust = [trustworthiness(vectors, torch.from_numpy(points_of(table, f)), k=15) for f in fits]
    assert shown == [f"{value:.3f}" for value in trust]


@pytest.mark.parametrize("watched", [(NARROW, "light")], indirect=True)
def test_movies_are_chosen_with_mouse_and_keyboard(
    watched: Watched, tmp_path: Path, dataset: Dataset, table: pd.DataFrame, maps: Widget
) -> None:
    page = show(watched, tmp_path, maps)
    page.wait_for_function("document.getAnimations().length === 0")  # the dots have arrived
    titles = [dataset.titles[item] for item in table["item"]]
    last = titles[-1]
    page.get_by_label("Movie", exact=True).select_option(label=last)
    assert f"{last}, first code" in status(page, "umap-settings")
    # A dot that stands alone enough to be hit: the one farthest from its nearest dot.
    places = drawn(page)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(apart, np.inf)
    alone = int(apart.min(1).argmax())
    page.locator(".dots circle").nth(alone).scroll_into_view_if_needed()
    box = page.locator(".dots circle").nth(alone).bounding_box()
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*at)
    assert titles[alone] in page.locator("[data-part=detail]").inner_text()
    page.mouse.click(*at)
    assert page.get_by_label("Movie", exact=True).input_value() == str(alone)
    assert f"{titles[alone]}, first code" in status(page, "umap-settings")
    fit_button(page, 5, 0.5).focus()
    page.keyboard.press("Enter")
    assert status(page, "umap-settings").startswith("5 neighbours, min_dist 0.5, seed 0")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert status(page, "umap-settings").startswith("15 neighbours, min_dist 0, seed 0")
    quiet(watched)


# --- 09: the beam search --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Recommender:
    return load_recommender("movielens-small-2016")[0]


@pytest.fixture(scope="module")
def history(dataset: Dataset) -> Tensor:
    split = leave_one_out(dataset)
    return split.histories_and_targets(split.validation)[0][26]


@pytest.fixture(scope="module")
def search(model: Recommender, dataset: Dataset, history: Tensor) -> Widget:
    return made("beam-search", search_data(model, dataset, history))


def choose_beams(page: Page, beams: int) -> None:
    page.get_by_label("Beams", exact=True).focus()
    page.keyboard.press("Home")
    for _ in range(beams - 1):
        page.keyboard.press("ArrowRight")


@pytest.fixture
def steps_of(
    model: Recommender, history: Tensor, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], list[tuple[list[int], list[int]]]]:
    """The parents and codes of each step of the library's own search, with some beams."""

    def search(beams: int) -> list[tuple[list[int], list[int]]]:
        steps = []
        extend = type(model).extend

        def record(
            self: Recommender, state: Any, parents: Tensor, codes: Tensor, *rest: Any
        ) -> Any:
            steps.append((parents[0].tolist(), codes[0].tolist()))
            return extend(self, state, parents, codes, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(type(model), "extend", record)
            recommend(model, [history], k=beams, beams=beams)
        return steps

    return search


@pytest.mark.parametrize("watched", EVERY_PAGE, indirect=True)
def test_search_looks_well(watched: Watched, tmp_path: Path, search: Widget) -> None:
    page = show(watched, tmp_path, search)
    choose_beams(page, 5)
    page.get_by_role("button", name="Last").click()
    looks_well(watched)


@pytest.mark.parametrize("beams", range(1, 6))
def test_the_page_finds_what_the_library_finds(
    watched: Watched,
    tmp_path: Path,
    model: Recommender,
    dataset: Dataset,
    history: Tensor,
    search: Widget,
    beams: int,
) -> None:
    page = show(watched, tmp_path, search)
    choose_beams(page, beams)
    page.get_by_role("button", name="Last").click()
    found = recommend(model, [history], k=beams, beams=beams)
    rows = page.locator(".found-items tbody tr").all()
    assert len(rows) == beams
    for row, item, log_p in zip(
        rows, found.items[0].tolist(), found.log_probabilities[0].tolist(), strict=True
    ):
        title, name, score, chance = row.locator("td").all_inner_texts()
        assert title == dataset.titles[item]
        assert tuple(map(int, name.split("-"))) == tuple(model.ids.id_of(item))
        assert number(score) == pytest.approx(log_p, abs=6e-4)
        assert float(chance.split()[0]) == pytest.approx(100 * math.exp(log_p), abs=6e-3)
    quiet(watched)


@pytest.mark.parametrize("beams", [1, 3, 5])
def test_beams_and_cache_follow_the_library_step_by_step(
    watched: Watched,
    tmp_path: Path,
    search: Widget,
    steps_of: Callable[[int], list[tuple[list[int], list[int]]]],
    beams: int,
) -> None:
    page = show(watched, tmp_path, search)
    choose_beams(page, beams)
    prefixes: list[tuple[int, ...]] = [()]
    for depth, (parents, codes) in enumerate(steps_of(beams)):
        page.get_by_role("button", name="Step").click()  # scored: nothing is copied
        assert page.locator(".copy").count() == 0
        page.get_by_role("button", name="Step").click()  # kept
        before = prefixes
        prefixes = [(*before[p], code) for p, code in zip(parents, codes, strict=True)]
        kept = page.eval_on_selector_all(
            f".node.kept[data-depth='{depth}']", "(nodes) => nodes.map((n) => n.dataset.prefix)"
        )
        assert kept == ["-".join(map(str, prefix)) for prefix in prefixes]
        copies = page.eval_on_selector_all(
            ".copy", "(lines) => lines.map((l) => [Number(l.dataset.from), Number(l.dataset.to)])"
        )
        assert copies == [[parent, row] for row, parent in enumerate(parents)]
        rows = [
            [int(cell) for cell in row.locator(".cell text").all_text_contents()]
            for row in page.locator(".row[data-parent]").all()
        ]
        assert rows == [list(prefix) for prefix in prefixes]
        freed = {number for number in range(len(before)) if number not in parents}
        assert page.locator(".row.free").count() == len(freed)
        died = {"-".join(map(str, before[row])) for row in freed} if depth else set()
        assert died <= set(
            page.eval_on_selector_all(".node.gone", "(nodes) => nodes.map((n) => n.dataset.prefix)")
        )
        assert all(prefix in status(page, "beam-search") for prefix in died)
    quiet(watched)


def test_what_is_not_offered(
    watched: Watched, tmp_path: Path, model: Recommender, history: Tensor, search: Widget
) -> None:
    """The best code that leads nowhere, and the best that leads to rated movies, of all beams."""
    page = show(watched, tmp_path, search)
    choose_beams(page, 5)
    beams: list[tuple[int, ...]] = [()]
    seen = {"rated": 0, "nowhere": 0}
    rated = set(history.tolist())
    for depth in range(4):
        page.get_by_role("button", name="Step").click()
        options: dict[str, list[tuple[float, str]]] = {"rated": [], "nowhere": []}
        offered = 0
        for prefix in beams:
            start = sum(
                float(log_probabilities_after(model, history, prefix[:at])[code])
                for at, code in enumerate(prefix)
            )
            scores = log_probabilities_after(model, history, prefix).tolist()
            for code, score in enumerate(scores):
                items = set(model.ids.with_prefix([*prefix, code]).tolist())
                offered += bool(items)
                kind = "nowhere" if not items else "rated" if items <= rated else ""
                if kind:
                    options[kind].append((start + score, "-".join(map(str, (*prefix, code)))))
        possible = len(beams) * model.ids.sizes[depth]
        said = status(page, "beam-search")
        assert f"{possible:,} code" in said
        assert f"{offered:,} of these lead" in said
        for kind, choices in options.items():
            node = page.locator(f".node[data-depth='{depth}'][data-kind='{kind}']")
            assert node.count() == bool(choices)
            if not choices:
                continue
            seen[kind] += 1
            score, name = max(choices)
            assert node.get_attribute("data-prefix") == name
            assert number(node.locator(".score").text_content()) == pytest.approx(score, abs=6e-4)
            if kind == "nowhere":
                *before, code = map(int, name.split("-"))
                last = float(log_probabilities_after(model, history, tuple(before))[code])
                chance = re.search(
                    rf"gives the code {code} a probability of ([\d.]+|less than 0.001) %", said
                )[1]
                if chance == "less than 0.001":
                    assert 100 * math.exp(last) < 0.001
                else:  # as many decimals as are written
                    half = 0.51 * 10 ** -len(chance.split(".")[1])
                    assert float(chance) == pytest.approx(100 * math.exp(last), abs=half)
        page.get_by_role("button", name="Step").click()
        kept = page.eval_on_selector_all(
            f".node.kept[data-depth='{depth}']", "(nodes) => nodes.map((n) => n.dataset.prefix)"
        )
        beams = [tuple(map(int, name.split("-"))) for name in kept]
    assert min(seen.values()) > 0
    quiet(watched)


def test_codes_are_walked_with_the_arrow_keys(
    watched: Watched, tmp_path: Path, model: Recommender, dataset: Dataset, search: Widget
) -> None:
    page = show(watched, tmp_path, search)
    page.get_by_role("button", name="Last").click()
    detail = page.locator("[data-part=detail]")
    assert page.locator(".node[tabindex='0']").count() == 1
    page.locator(".node[tabindex='0']").focus()
    walked = []
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
        walked.append(page.evaluate("document.activeElement.dataset.prefix"))
        prefix = [int(code) for code in walked[-1].split("-")]
        assert detail.inner_text().startswith(f"{walked[-1]} (")
        items = model.ids.with_prefix(prefix).tolist()
        named = [
            dataset.titles[item] for item in items if dataset.titles[item] in detail.inner_text()
        ]
        assert len(named) == min(3, len(items))
    assert [len(name.split("-")) for name in walked] == [3, 2, 2, 3]
    assert page.locator(".node[tabindex='0']").count() == 1
    page.locator(".node").first.hover()
    assert detail.inner_text().startswith(page.locator(".node").first.get_attribute("data-prefix"))
    quiet(watched)


def test_the_player_runs_to_the_end(watched: Watched, tmp_path: Path, search: Widget) -> None:
    watched.page.emulate_media(reduced_motion="reduce")  # then it goes there at once
    page = show(watched, tmp_path, search)
    assert "85 tokens" in page.locator(".history text").text_content()
    page.get_by_role("button", name="Run").click()
    assert status(page, "beam-search").startswith("The IDs are complete: 3 movies")
    assert (
        "The most probable movie of all is not among them"
        in page.locator("[data-part=found]").inner_text()
    )
    quiet(watched)
