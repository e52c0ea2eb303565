"""The recommender in the page: equal to Python, and usable by everybody, from a page on the disk.

The models are tested on a page that holds nothing but their scripts; the interface, in the book.
"""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from docutils import nodes
from docutils.utils import new_document
from playwright.sync_api import Browser, Page
from torch.nn import functional as F

import live_data
import live_recommender
from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.io.tensor_files import load_checkpoint
from rqvae_lib.models.base import Recommender
from tests.book.site import NARROW, WIDE, Watched
from tests.book.test_accessibility import STILL, violations
from tests.helpers import ROOT, made_once

SCRIPTS = ROOT / "book" / "assets" / "live"
MODELS = ("rq-transformer", "decoder-only")
EXAMPLE = ["Toy Story (1995)", "Toy Story 2 (1999)"]

# Items whose log-probabilities are nearer than this may change places: both sides round, Python to
# 32 bits. In the page, items of exactly the same log-probability are in the order of their IDs.
TIE = 1e-5


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(live_data.DATASET)


@pytest.fixture(scope="module")
def models() -> dict[str, Recommender]:
    return {name: load_recommender(f"{live_data.DATASET}-{name}")[0] for name in MODELS}


@pytest.fixture(scope="module")
def bench(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with all scripts but the interface, where a loader of modules (AMD) is in charge."""

    def write(folder: Path) -> None:
        shutil.copytree(SCRIPTS, folder / "live")
        (folder / "live" / "data.js").write_text(live_data.live_data(), encoding="utf-8")
        amd = "<script>window.define = () => (window.defined = true); define.amd = {};</script>"
        scripts = "".join(
            f'<script defer src="live/{name}.js"></script>' for name in live_recommender.SCRIPTS
        )
        text = f'<!doctype html><meta charset="utf-8"><title>Bench</title>{amd}{scripts}'
        (folder / "bench.html").write_text(text, encoding="utf-8")

    folder = made_once(tmp_path_factory, "live", write)
    watched = Watched(browser, WIDE, "light")
    page = watched.open(folder / "bench.html")
    page.evaluate("async () => { window.loaded = await liveRecommender.load(); }")
    yield page
    assert page.evaluate("window.defined === undefined")
    assert watched.errors == []
    assert watched.remote == []
    watched.context.close()


def random_histories(count: int, num_items: int, longest: int, seed: int) -> list[torch.Tensor]:
    """Histories of any length, the empty one and more items than a model reads among them."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, longest + 1, (count,), generator=generator).tolist()
    lengths[:2] = [0, longest]
    return [torch.randperm(num_items, generator=generator)[:length] for length in lengths]


IN_PAGE = """([name, asked]) => asked.map(({history, options, allowed}) => {
  if (allowed) { const set = new Set(allowed); options.allowed = (item) => set.has(item); }
  return liveRecommender.recommend(loaded.models[name], history, options);
})"""


def in_page(bench: Page, name: str, asked: list[dict[str, Any]]) -> list[list[dict[str, float]]]:
    return bench.evaluate(IN_PAGE, [name, [{"options": {}} | question for question in asked]])


def assert_same(
    found: list[dict[str, float]], items: torch.Tensor, log_probabilities: torch.Tensor
) -> None:
    """The same ten items in the same order, but for ties; Python was asked for one item more."""
    expected, scores = items.tolist(), log_probabilities.tolist()
    assert len(found) == min(10, sum(item >= 0 for item in expected))
    for place, recommended in enumerate(found):
        assert abs(recommended["logProbability"] - scores[place]) < 1e-3
        there = expected.index(recommended["item"])
        assert there == place or abs(scores[there] - scores[place]) < TIE
    assert len({recommended["item"] for recommended in found}) == len(found)


@pytest.mark.parametrize("name", MODELS)
def test_two_hundred_people_get_what_python_recommends(
    bench: Page, models: dict[str, Recommender], name: str
) -> None:
    model = models[name]
    histories = random_histories(200, len(model.ids), longest=60, seed=0)
    found = in_page(bench, name, [{"history": history.tolist()} for history in histories])
    expected = recommend(model, histories, k=11)
    for row, here in enumerate(found):
        assert_same(here, expected.items[row], expected.log_probabilities[row])
    errors = [
        abs(recommended["logProbability"] - float(expected.log_probabilities[row, place]))
        for row, here in enumerate(found)
        for place, recommended in enumerate(here)
    ]
    print(f"{name}: log-probabilities differ by up to {max(errors):.1e}")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "options", [{"temperature": 0.2}, {"temperature": 3.0}, {"beams": 11}, {"beams": 200}], ids=str
)
def test_options_mean_what_they_mean_in_python(
    bench: Page, models: dict[str, Recommender], name: str, options: dict[str, float]
) -> None:
    model = models[name]
    histories = random_histories(12, len(model.ids), longest=20, seed=1)
    asked = [{"history": history.tolist(), "options": options} for history in histories]
    expected = recommend(model, histories, k=11, **options)
    for row, here in enumerate(in_page(bench, name, asked)):
        assert_same(here, expected.items[row], expected.log_probabilities[row])


@pytest.mark.parametrize("name", MODELS)
def test_excluded_and_filtered_as_in_python(
    bench: Page, models: dict[str, Recommender], dataset: Dataset, name: str
) -> None:
    """Excluded before the search, with the probabilities of the others unchanged."""
    model = models[name]
    westerns = torch.tensor(["Western" in text for text in dataset.items["genres"]]).nonzero()[:, 0]
    histories = random_histories(6, len(model.ids), longest=20, seed=2)
    forbidden = [torch.cat([history, westerns[:20]]) for history in histories]
    for allowed in (westerns, westerns[18:25]):  # the second leaves five items, fewer than ten
        asked = [
            {
                "history": history.tolist(),
                "options": {"forbidden": own.tolist()},
                "allowed": allowed.tolist(),
            }
            for history, own in zip(histories, forbidden, strict=True)
        ]
        expected = recommend(model, histories, k=11, forbidden=forbidden, allowed=allowed)
        for row, here in enumerate(in_page(bench, name, asked)):
            assert_same(here, expected.items[row], expected.log_probabilities[row])


def test_a_search_tells_what_it_did(bench: Page, models: dict[str, Recommender]) -> None:
    """The children of each beam share its probability, and totals are sums along the path."""
    ids = models["rq-transformer"].ids
    steps = bench.evaluate(
        """() => {
          const sum = (own) => own.reduce((total, x) => total + Math.exp(x), 0);
          return liveRecommender.search(loaded.models["rq-transformer"], [0, 2506]).map(
            ({beams, candidates, expanded}) => ({beams, candidates, sums: expanded.map(sum)}));
        }"""
    )
    assert [len(step["beams"]) for step in steps] == [50] * 4
    assert steps[0]["candidates"] == len(ids.ids[:, 0].unique())
    for step in steps:
        assert step["sums"] == pytest.approx([1] * len(step["sums"]))
        totals = [beam["total"] for beam in step["beams"]]
        assert totals == sorted(totals, reverse=True)
    for place in range(50):
        beam, codes, total = place, [], 0.0
        for step in reversed(steps):
            last = step["beams"][beam]
            codes.insert(0, last["code"])
            total += last["own"]
            beam = last["parent"]
        assert total == pytest.approx(steps[-1]["beams"][place]["total"])
        assert ids.item_of(codes) is not None


# The parts


def as_js(tensor: torch.Tensor) -> str:
    return f"Float64Array.from({tensor.flatten().tolist()})"


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 64, 192), (2, 5, 4), (5, 7, 9)])
def test_linear_is_torchs(bench: Page, rows: int, inputs: int, outputs: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    x, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((rows, inputs), (outputs, inputs), (outputs,))
    )
    found = bench.evaluate(
        f"Array.from(liveRecommender.tensors.linear({as_js(x)}, {{weight: {as_js(weight)}, "
        f"bias: {as_js(bias)}, inputs: {inputs}, outputs: {outputs}}}))"
    )
    assert found == pytest.approx(F.linear(x, weight, bias).flatten().tolist(), abs=1e-12)


def test_norm_gelu_and_softmax_are_torchs(bench: Page) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(4, 10, generator=generator, dtype=torch.float64)
    weight, bias = torch.randn(2, 10, generator=generator, dtype=torch.float64)
    norm, gelu, softmax, log_sum = bench.evaluate(
        f"""() => {{ const {{layerNorm, gelu, softmax, logSumExp}} = liveRecommender.tensors;
        const soft = {as_js(x[0])};
        softmax(soft);
        return [Array.from(layerNorm({as_js(x)}, {{weight: {as_js(weight)}, bias: {as_js(bias)}}})),
          Array.from(gelu({as_js(x)})), Array.from(soft), logSumExp({as_js(x[0])})]; }}"""
    )
    assert norm == pytest.approx(F.layer_norm(x, (10,), weight, bias).flatten().tolist(), abs=1e-12)
    assert gelu == pytest.approx(F.gelu(x).flatten().tolist(), abs=1e-6)  # its erf is approximate
    assert softmax == pytest.approx(x[0].softmax(0).tolist(), abs=1e-12)
    assert log_sum == pytest.approx(float(x[0].logsumexp(0)))


def test_every_float16_is_read(bench: Page) -> None:
    bits = np.arange(1 << 16, dtype="<u2")
    found = bench.evaluate(
        """() => {
          const every = Uint16Array.from({length: 1 << 16}, (_, bits) => bits);
          const tensors = {all: {shape: [every.length], first: 0}};
          const weights = new liveRecommender.Weights(tensors, new Uint8Array(every.buffer));
          return Array.from(weights.table("all"), String);
        }"""
    )
    expected = bits.view("<f2").astype(np.float64)
    np.testing.assert_array_equal([float(text.replace("inity", "")) for text in found], expected)


def test_titles_are_found_and_families_are_those_of_the_ids(
    bench: Page, models: dict[str, Recommender], dataset: Dataset
) -> None:
    ids, titles = models["rq-transformer"].ids, dataset.titles
    find = "(words) => loaded.catalogue.find(words).map((item) => loaded.catalogue.names[item])"
    assert bench.evaluate(find, "toy story")[:2] == ["Toy Story (1995)", "Toy Story 2 (1999)"]
    assert any("Amélie" in name for name in bench.evaluate(find, "AMELIE"))
    assert bench.evaluate(find, "  ") == bench.evaluate(find, "no such movie") == []
    assert bench.evaluate(find, "(") == []
    for typed, title in [
        (
            "It",
            "It (1990)",
        ),  # the movie of that title, though others that begin so are better known
        ("9 2009", "9 (2009)"),
        ("Schindler’s list", "Schindler's List (1993)"),  # as phones write it
        ("schindlers list", "Schindler's List (1993)"),
        ("spider man", "Spider-Man (2002)"),
        (
            "dr strangelove",
            "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)",
        ),
        ("rings fellowship", "The Lord of the Rings: The Fellowship of the Ring (2001)"),
        ("toy story 2 1999", "Toy Story 2 (1999)"),
        ("matrix the", "The Matrix (1999)"),
        ("8½", "8 1/2 (8½) (1963)"),
        ("matri", "The Matrix (1999)"),
    ]:
        assert bench.evaluate(find, typed)[0] == title, typed
    twins = ids.with_prefix(ids.codes[(ids.ids[:, 3] > 0).nonzero()[0, 0]].tolist()).tolist()
    for item in (titles.index("Toy Story (1995)"), twins[0]):
        groups = bench.evaluate("(item) => loaded.catalogue.relatives(item)", item)
        within = {item}  # those that share more
        for group in groups:
            same = set(ids.with_prefix(ids.id_of(item)[: group["shared"]]).tolist())
            assert set(group["items"]) == same - within
            within |= same
        assert [group["shared"] for group in groups] == [4, 3, 2, 1]
    assert len(groups[1]["items"]) > 0  # the twins share three codes


# The data


def test_the_data_are_those_of_the_checkpoints(models: dict[str, Recommender]) -> None:
    text = live_data.live_data()
    assert text == live_data.live_data()
    data = json.loads(text.removeprefix("liveRecommender.receive(").removesuffix(");\n"))
    ids = models["rq-transformer"].ids
    codes = np.frombuffer(base64.b64decode(data["codes"]), dtype=np.uint8)
    assert codes.reshape(ids.ids.shape).tolist() == ids.ids.tolist()
    numbers = np.frombuffer(base64.b64decode(data["weights"]), dtype="<f2")
    for recommender in data["recommenders"]:
        path = live_data_path(recommender["name"])
        stored = load_checkpoint(path, [recommender["name"]]).tensors
        assert {*recommender["tensors"], "semantic_ids"} == {*stored}
        for name, place in recommender["tensors"].items():
            count = int(np.prod(place["shape"]))
            here = numbers[place["first"] : place["first"] + count]
            assert stored[name].dtype == torch.float16
            assert here.tobytes() == stored[name].numpy().tobytes(), name


def live_data_path(name: str) -> Path:
    folder = ROOT / "rqvae_lib" / "checkpoints" / "pretrained"
    return folder / f"{live_data.DATASET}-{name}.safetensors"


def test_weights_that_would_lose_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_data, "MODELS", ("rq-transformer", "recommender"))
    with pytest.raises(ValueError, match=r"of recommender is not float16; ship it with half=True"):
        live_data.live_data()


@pytest.mark.parametrize(
    "pieces",
    [
        ['<div data-widget="recommender">\n<p>A sentence.</p>'],  # an empty line ended it here
        ['<div data-widget="recommender"></div>', '<div data-widget="recommender"></div>'],
    ],
)
def test_a_page_that_asks_in_a_way_that_cannot_work_is_refused(pieces: list[str]) -> None:
    page = new_document("page")
    page += [nodes.raw(piece, piece, format="html") for piece in pieces]
    app = SimpleNamespace(env=SimpleNamespace(docname="book/page"))
    with pytest.raises(ValueError, match="book/page has a <div data-widget"):
        live_recommender.put_interface(app, page)


# The interface, in the book


BOTH = pytest.mark.parametrize(
    "live", [(WIDE, "light"), (NARROW, "dark")], ids=["1280", "390"], indirect=True
)


@pytest.fixture
def live(browser: Browser, built_book: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    watched = Watched(browser, *getattr(request, "param", (WIDE, "light")))
    page = watched.open(built_book / "book" / "preface.html")
    page.wait_for_selector('[data-widget="recommender"][data-ready]')
    page.add_style_tag(content=STILL)
    yield page
    assert watched.errors == []
    assert watched.remote == []
    watched.context.close()


def recommended(page: Page) -> list[str]:
    return page.locator("[data-part=next] .live-name").all_inner_texts()


def rated(page: Page) -> list[str]:
    return page.locator("[data-part=history] .live-name").all_inner_texts()


def python_recommends(
    model: Recommender, dataset: Dataset, history: list[str], **options: Any
) -> list[str]:
    rows = torch.tensor([dataset.titles.index(title) for title in history], dtype=torch.int64)
    return [dataset.titles[item] for item in recommend(model, [rows], **options).items[0].tolist()]


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.ariaLabel || document.activeElement.id")


def add(page: Page, words: str) -> None:
    page.locator("#live-add").focus()
    page.keyboard.type(words)
    page.keyboard.press("Enter")


@BOTH
def test_it_has_recommended_before_anybody_clicks(
    live: Page, models: dict[str, Recommender], dataset: Dataset
) -> None:
    assert rated(live) == EXAMPLE
    assert recommended(live) == python_recommends(models["rq-transformer"], dataset, EXAMPLE)
    first = live.locator("[data-part=next] li").first.inner_text()
    assert re.search(r"\d+-\d+-\d+-\d+", first)
    assert re.search(r"\d %", first)
    assert live.locator('[data-widget="recommender"] > p').is_hidden()


@BOTH
def test_a_history_is_built_and_emptied_from_the_keyboard(
    live: Page, models: dict[str, Recommender], dataset: Dataset
) -> None:
    model = models["rq-transformer"]
    add(live, "alien (")
    assert rated(live) == [*EXAMPLE, "Alien (1979)"]
    assert focused(live) == "live-add"  # ready for the next one
    assert recommended(live) == python_recommends(model, dataset, [*EXAMPLE, "Alien (1979)"])
    live.locator("[data-part=history] button").nth(1).focus()
    live.keyboard.press("Enter")
    assert rated(live) == ["Toy Story (1995)", "Alien (1979)"]
    assert focused(live) == "Remove Alien (1979)"  # what took the place of the removed one
    live.locator("[data-part=clear]").click()
    assert rated(live) == []
    assert recommended(live) == python_recommends(model, dataset, [])
    live.locator("[data-part=example]").click()
    assert rated(live) == EXAMPLE


def test_arrow_keys_choose_among_the_titles_found(live: Page) -> None:
    field = live.locator("#live-add")
    field.focus()
    live.keyboard.type("hamlet (2000)")
    options = live.locator("#live-add-found [role=option]")
    assert options.count() == 2  # two movies of one title, told apart by their IDs
    assert len(set(options.all_inner_texts())) == 2
    assert field.get_attribute("aria-expanded") == "true"
    live.keyboard.press("ArrowDown")
    chosen = options.nth(1)
    assert field.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    code = chosen.locator("code").inner_text()
    live.keyboard.press("Enter")
    assert code in live.locator("[data-part=history] li").last.inner_text()
    assert field.get_attribute("aria-expanded") == "false"
    live.keyboard.type("no such movie")
    assert options.all_inner_texts() == ["No title contains this."]
    live.keyboard.press("Enter")  # nothing to take
    live.keyboard.press("Escape")
    assert options.count() == 0
    assert len(rated(live)) == 3


def test_a_recommendation_is_added_or_hidden_and_shown_again(
    live: Page, models: dict[str, Recommender], dataset: Dataset
) -> None:
    model = models["rq-transformer"]
    first, second, *_ = recommended(live)
    live.get_by_role("button", name=f"Hide {first}").click()
    assert first not in recommended(live)
    assert focused(live) == f"Hide {second}"
    rows = torch.tensor([dataset.titles.index(title) for title in [*EXAMPLE, first]])
    forbidden = recommend(model, [rows[:2]], forbidden=[rows]).items[0].tolist()
    assert recommended(live) == [dataset.titles[item] for item in forbidden]
    live.get_by_role("button", name=f"Show {first} again").click()
    assert recommended(live)[0] == first
    live.get_by_role("button", name=f"Add {first} to what you rated").click()
    assert rated(live) == [*EXAMPLE, first]
    assert recommended(live) == python_recommends(model, dataset, [*EXAMPLE, first])


def test_what_is_hidden_takes_little_room_and_nothing_may_be_left(live: Page) -> None:
    live.locator("#live-genre").select_option(label="Film-Noir")
    hide = """() => {
      const next = () => document.querySelector('[data-part=next] button[aria-label^="Hide"]');
      let count = 0;
      while (document.querySelectorAll('[data-part=next] li')[1]) { next().click(); count++; }
      const told = document.querySelector('[data-part=told]').textContent;
      next().click();
      return [count + 1, told];
    }"""
    count, told = live.evaluate(hide)
    assert count > 100
    assert told.startswith("Level 4 of 4: the only ID is kept; the most probable is ")
    assert live.locator("[data-part=told]").inner_text() == (
        "Level 4 of 4: no code leads to a movie that may be recommended."
    )
    assert live.locator("[data-part=status]").inner_text().startswith("Nothing is left")
    assert live.locator("[data-part=hidden]").bounding_box()["height"] < 150
    live.get_by_role("button", name="Example").click()
    assert len(recommended(live)) == 10


def test_after_the_way_back_all_is_as_at_the_start(live: Page, built_book: Path) -> None:
    """The history is forgotten then, so the settings must not be remembered."""
    start = recommended(live)
    live.locator("#live-beams").select_option("200")
    live.locator("#live-temperature").fill("2")
    live.goto((built_book / "book" / "status.html").as_uri())
    live.go_back()
    live.wait_for_selector('[data-widget="recommender"][data-ready]')
    assert recommended(live) == start
    assert live.locator("#live-beams").input_value() == "50"
    assert live.locator("#live-temperature").input_value() == "1"


def test_settings_are_those_of_recommend(
    live: Page, models: dict[str, Recommender], dataset: Dataset
) -> None:
    live.locator("#live-model").select_option("decoder-only")
    model = models["decoder-only"]
    assert recommended(live) == python_recommends(model, dataset, EXAMPLE)
    live.locator("#live-genre").select_option(label="Horror")
    horror = torch.tensor(["Horror" in text for text in dataset.items["genres"]]).nonzero()[:, 0]
    assert recommended(live) == python_recommends(model, dataset, EXAMPLE, allowed=horror)
    live.locator("#live-beams").select_option("200")
    live.locator("#live-temperature").fill("2")
    assert live.locator("[data-part=degrees]").inner_text() == "2.0"
    assert recommended(live) == python_recommends(
        model, dataset, EXAMPLE, allowed=horror, beams=200, temperature=2.0
    )


def lines(page: Page) -> dict[str, int]:
    """How many beams are drawn in each state."""
    kinds = page.locator("[data-part=tree] path").evaluate_all(
        "all => all.map(p => p.classList[0])"
    )
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_the_beams_grow_step_by_step(live: Page) -> None:
    told = live.locator("[data-part=told]")
    assert lines(live).keys() == {"live-best", "live-dropped", "live-kept"}
    live.locator("[data-part=restart]").click()
    assert lines(live) == {"live-later": 200}
    assert told.inner_text() == "At the start there is one beam, the empty ID."
    live.locator("[data-part=step]").focus()
    for level, seen in enumerate(["50 of 256 first codes", "50 of", "50 of", "50 IDs"], 1):
        live.keyboard.press("Enter")
        assert told.inner_text().startswith(f"Level {level} of 4: ")
        assert seen in told.inner_text()
        drawn = lines(live)
        assert drawn.get("live-later", 0) == 200 - 50 * level
        if level < 4:
            assert drawn["live-kept"] + drawn.get("live-dropped", 0) == 50 * level
    assert told.get_attribute("aria-live") == "polite"
    live.keyboard.press("Enter")  # and from the beginning
    assert told.inner_text().startswith("Level 1 of 4: ")
    live.locator("[data-part=run]").click()
    live.wait_for_function(
        "document.querySelector('[data-part=told]').textContent.startsWith('Level 4')"
    )


def test_pointing_at_a_beam_says_what_is_below_it(live: Page) -> None:
    live.locator("[data-part=tree] path").nth(3).dispatch_event("pointerover")
    said = live.locator("[data-part=pointed]")
    beam = re.compile(r"\d+, probability [\d.]+ %: (\d+ movies, such as )?.+ \(\d{4}\)")
    assert beam.fullmatch(said.inner_text())
    live.locator("#live-beams").select_option("20")  # another search: those beams are gone
    assert said.inner_text().startswith("Point at a line")


@BOTH
def test_why_shows_the_path_and_its_rivals(
    live: Page, models: dict[str, Recommender], dataset: Dataset
) -> None:
    name = recommended(live)[0]
    code = models["rq-transformer"].ids.id_of(dataset.titles.index(name))
    live.get_by_role("button", name=f"Why? {name}").click()
    assert focused(live) == "live-tab-why"
    why = live.locator("[data-part=why]")
    assert f"{name} is number 1. Its ID is {'-'.join(map(str, code))}" in why.inner_text()
    own = why.locator("tr[aria-current] th").all_inner_texts()
    assert own == [str(one) for one in code[: len(own)]]
    table = why.locator("table").nth(1)
    assert f"Code 2, after {code[0]}" in table.locator("caption").inner_text()
    rivals = {row.split("\t")[-1] for row in table.locator("tbody tr").all_inner_texts()}
    assert "this one" in rivals
    assert "ruled out" in rivals  # Toy Story 2, which was rated
    sibling = table.locator("tbody tr", has_text="Toy Story 2")
    assert "ruled out" in sibling.inner_text()


def test_a_title_has_a_family(live: Page, models: dict[str, Recommender], dataset: Dataset) -> None:
    ids = models["rq-transformer"].ids
    live.locator("#live-tab-search").focus()
    live.keyboard.press("ArrowLeft")  # round to the last tab
    assert focused(live) == "live-tab-family"
    live.keyboard.press("Tab")
    live.keyboard.type("the matrix (")
    live.keyboard.press("Enter")
    item = dataset.titles.index("The Matrix (1999)")
    family = live.locator("[data-part=family]")
    assert family.inner_text().startswith(f"{dataset.titles[item]} (")
    relatives = len(ids.with_prefix(ids.id_of(item)[:1])) - 1
    assert f"has {relatives} other members" in family.inner_text()
    button = family.get_by_role("button").first
    name = button.inner_text()
    button.click()
    assert family.inner_text().startswith(name)
    assert focused(live) == "live-look"


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (NARROW, "light")])
def test_axe_finds_nothing_in_any_panel(
    browser: Browser, built_book: Path, size: dict[str, int], scheme: str
) -> None:
    """Test_accessibility.py looks at the panel that is shown at first, in all four settings."""
    context = browser.new_context(
        viewport=size, color_scheme=scheme
    )  # axe's own errors are not ours
    page = context.new_page()
    page.goto((built_book / "book" / "preface.html").as_uri())
    page.wait_for_selector('[data-widget="recommender"][data-ready]')
    page.add_style_tag(content=STILL)
    page.get_by_role("button", name="Hide").first.click()
    found = []
    for tab in ("why", "family"):
        page.locator(f"#live-tab-{tab}").click()
        found += [f"{tab}: {line}" for line in violations(page)]
        width, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= inner
    page.locator("#live-look").focus()
    page.keyboard.type("star")
    found += [f"list: {line}" for line in violations(page)]
    assert found == []
    context.close()


def test_no_single_key_reaches_the_page_around(live: Page) -> None:
    """The theme opens its search on some keys; whoever types a title means the field."""
    live.evaluate("() => { window.heard = [];"
                  " addEventListener('keydown', ({key}) => window.heard.push(key)); }")  # fmt: skip
    live.locator("#live-add").focus()
    live.keyboard.press("/")
    assert live.evaluate("heard") == []


def test_in_dark_mode_and_in_light_mode_the_ground_differs(live: Page) -> None:
    ground = "getComputedStyle(document.querySelector('.live-body')).backgroundColor"
    before = live.evaluate(ground)
    other = "light" if live.evaluate("document.documentElement.dataset.theme") == "dark" else "dark"
    live.evaluate(f"document.documentElement.dataset.theme = '{other}'")
    assert live.evaluate(ground) != before


def test_the_quickstart_has_it_too(browser: Browser, built_book: Path) -> None:
    watched = Watched(browser, WIDE, "light")
    asked: list[str] = []
    watched.context.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    page = watched.open(built_book / "notebooks" / "00_quickstart.html")
    page.wait_for_load_state("load")
    page.evaluate("() => new Promise((done) => requestIdleCallback(done))")
    assert "data.js" not in asked  # larger than the page, so it waits until the reader comes near
    page.emulate_media(media="print")
    assert page.locator('[data-widget="recommender"] > p').first.is_visible()
    assert page.locator(".live-body").is_hidden()
    page.emulate_media(media="screen")
    page.locator('[data-widget="recommender"]').scroll_into_view_if_needed()
    page.wait_for_selector('[data-widget="recommender"][data-ready]')
    assert "data.js" in asked
    assert len(recommended(page)) == 10
    assert watched.errors == []
    assert watched.remote == []
    watched.context.close()


@pytest.mark.parametrize("name", ["book/preface", "notebooks/00_quickstart"])
def test_without_scripts_it_is_a_sentence(browser: Browser, built_book: Path, name: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((built_book / f"{name}.html").resolve().as_uri())
    sentence = page.locator('[data-widget="recommender"] > p')
    assert sentence.is_visible()
    assert "With JavaScript" in sentence.inner_text() or "with JavaScript" in sentence.inner_text()
    assert page.locator(".live-body").is_hidden()
    context.close()


def test_without_the_data_it_is_the_sentence_again(browser: Browser, tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "live")
    interface = live_recommender.INTERFACE.read_text(encoding="utf-8")
    scripts = "".join(f'<script src="live/{n}.js"></script>' for n in live_recommender.SCRIPTS)
    html = f'<div data-widget="recommender"><p>A sentence.</p>{interface}</div>{scripts}'
    (tmp_path / "page.html").write_text(f"<!doctype html>{html}", encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    page.get_by_text("A sentence.").wait_for(state="visible")
    assert page.locator(".live-body").is_hidden()
    assert any("data.js cannot be read" in error for error in errors)
    context.close()


def test_it_adds_less_than_four_megabytes_and_is_never_stale(built_book: Path) -> None:
    folder = built_book / "_static" / "live"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4_000_000
    assert (folder / "data.js").read_text(encoding="utf-8") == live_data.live_data()
    assert not (SCRIPTS / "data.js").exists()  # made, not committed
