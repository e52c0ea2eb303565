"""The interactive map's HTML holds the right data and cannot be broken by a title.

What it does in a browser is tested on the built page, in test_browser.py.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.tables import ITEM_DTYPES
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.teaching.item_map import UNIT, item_map
from rqvae_lib.teaching.plots import Groups, decades, main_genres
from tests.helpers import small_dataset

COUNT = 90


@pytest.fixture
def dataset() -> Dataset:
    small = small_dataset()
    items = small.items.copy()
    items["title"] = [f"Movie {i}" for i in range(COUNT)]
    items.loc[0, "title"] = "</script><b>& “Amélie”"
    items.loc[1, ["title", "year"]] = None
    items["genres"] = ["Comedy|Drama", "Horror"] * 45
    return replace(small, items=items.astype(ITEM_DTYPES))


@pytest.fixture
def ids() -> SemanticIDs:
    return SemanticIDs(torch.tensor([[i // 10, i % 4] for i in range(COUNT)]), [9, 4])


POINTS = np.stack([np.linspace(-3, 5, COUNT), np.linspace(1, 2, COUNT)], 1)


def colorings(dataset: Dataset) -> list[Groups]:
    return [decades(dataset.items["year"]), main_genres(dataset.items["genres"])]


def test_data_are_the_catalogue(dataset: Dataset, ids: SemanticIDs) -> None:
    maps = {"first": POINTS, "second": -POINTS}
    html = BeautifulSoup(item_map(maps, dataset, ids, colorings(dataset), start=7), "html.parser")
    data = json.loads(html.select_one('[data-part="data"]').string)
    assert data["start"] == 7
    assert data["title"][0] == "</script><b>& “Amélie”"
    assert data["title"][1:3] == ["(no title)", "Movie 2"]
    assert data["year"][:3] == [2000, None, 2000]
    assert data["genres"] == dataset.items["genres"].tolist()
    assert data["codes"] == ids.ids.tolist()
    assert [drawn["name"] for drawn in data["maps"]] == ["first", "second"]
    for drawn, points in zip(data["maps"], maps.values(), strict=True):
        grid = np.array([drawn["x"], drawn["y"]]).T
        # The longer side fills the square, and both axes have the same scale.
        assert (grid[:, 0].min(), grid[:, 0].max()) == (0, UNIT)
        scale = UNIT / 8
        np.testing.assert_allclose(grid - grid[5], (points - points[5]) * scale, atol=1.01)
    assert [groups["name"] for groups in data["colorings"]] == ["decade", "first-listed genre"]
    assert data["colorings"][0]["group"] == colorings(dataset)[0].group.tolist()


def test_no_title_ends_the_script(dataset: Dataset, ids: SemanticIDs) -> None:
    text = item_map({"map": POINTS}, dataset, ids, colorings(dataset))
    assert text.count("</script>") == 2  # the data's and the code's own
    assert text.count("<script") == 2
    assert "http" not in text
    assert "require" not in text


def test_elements_have_fixed_ids_and_labels(dataset: Dataset, ids: SemanticIDs) -> None:
    html = BeautifulSoup(
        item_map({"map": POINTS}, dataset, ids, colorings(dataset), element_id="my-map"),
        "html.parser",
    )
    names = [tag["id"] for tag in html.find_all(id=True)]
    assert len(names) == len(set(names))
    assert all(name.startswith("my-map") for name in names)
    for label in html.find_all("label", attrs={"for": True}):
        assert html.find(id=label["for"]) is not None
    for attribute in ("aria-controls", "aria-describedby"):
        for tag in html.find_all(attrs={attribute: True}):
            assert html.find(id=tag[attribute]) is not None
    assert [tag["value"] for tag in html.select("input[type=radio]")] == ["1", "2"]
    # Without scripts, one sentence is all there is. The attribute needs its value: JupyterLab drops
    # empty ones from a notebook that is not trusted yet, and the dead controls would stand there.
    assert html.select_one('[data-part="body"]')["hidden"] == "hidden"
    assert "JupyterLab" in html.select_one('[data-part="fallback"]').get_text()


def test_wrong_arguments(dataset: Dataset, ids: SemanticIDs) -> None:
    good = colorings(dataset)
    with pytest.raises(ValueError, match=r"map 'm' has shape \(89, 2\)"):
        item_map({"m": POINTS[:-1]}, dataset, ids, good)
    with pytest.raises(ValueError, match="finite"):
        item_map({"m": POINTS * np.nan}, dataset, ids, good)
    with pytest.raises(ValueError, match="ids has 80 items"):
        item_map({"m": POINTS}, dataset, SemanticIDs(ids.codes[:80], [9, 4]), good)
    short = good[0]._replace(group=good[0].group[:3])
    with pytest.raises(ValueError, match="coloring 'decade' has 3 items"):
        item_map({"m": POINTS}, dataset, ids, [short])
    for maps, sort in (({}, good), ({"m": POINTS}, [])):
        with pytest.raises(ValueError, match="at least one"):
            item_map(maps, dataset, ids, sort)
    with pytest.raises(ValueError, match="start is 90"):
        item_map({"m": POINTS}, dataset, ids, good, start=90)
    with pytest.raises(ValueError, match="element_id"):
        item_map({"m": POINTS}, dataset, ids, good, element_id='x" onload="')
