"""A widget's HTML holds its data, its still figure and its scripts, and no data can break it.

What widgets do in a browser is tested in tests/book.
"""

import json
import re
from pathlib import Path
from urllib.parse import unquote

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from rqvae_lib.teaching import widgets
from rqvae_lib.teaching.widgets import Widget, widget

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9"/></svg>'
TEXT = "</script><b>& “Amélie” <!--"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real shared files, and two widgets of the test's own."""
    for shared in ("shared.js", "shared.css"):
        (tmp_path / shared).write_text(widgets._file(shared), encoding="utf-8")
    (tmp_path / "demo.js").write_text("const demo = 1;", encoding="utf-8")
    (tmp_path / "other.js").write_text("const other = 2;", encoding="utf-8")
    monkeypatch.setattr(widgets, "_folder", lambda: tmp_path)
    return tmp_path


def made(name: str = "demo", **changes: object) -> Widget:
    arguments = {
        "data": {"x": [1, 2]},
        "title": "A title",
        "fallback": SVG,
        "alt": "A black square",
    }
    return widget(name, **(arguments | changes))


def figure() -> Figure:
    made, ax = plt.subplots(figsize=(2, 1))
    ax.scatter(*np.random.default_rng(0).random((2, 9)), clip_on=True)
    ax.set(xlabel="a label")
    return made


def test_widget_is_complete_and_reads_as_it_was_written() -> None:
    data = {"x": [1, 2.5], "title": TEXT, "nested": {"none": None, "yes": True}}
    it = made(data=data, title=TEXT, alt=f'"{TEXT}"', caption=TEXT)
    assert it._repr_html_() == it.html
    assert repr(it) == "Widget('demo')"
    page = BeautifulSoup(it.html, "html.parser")
    (root,) = page.find_all(recursive=False)
    assert root["data-widget"] == "demo"
    assert json.loads(root.select_one("[data-part=data]").string) == data
    assert root.select_one(".widget-title").get_text() == TEXT
    assert root.select_one(".widget-caption").get_text() == TEXT
    image = root.select_one(".widget-fallback img")
    assert image["alt"] == f'"{TEXT}"'
    head, _, body = image["src"].partition(",")
    assert head == "data:image/svg+xml"
    assert unquote(body) == SVG
    assert "run this cell in JupyterLab, or open the web page" in root.get_text()
    assert root.find(id=root["aria-labelledby"]).get_text() == TEXT
    scripts = [tag.string for tag in root.find_all("script") if "type" not in tag.attrs]
    assert scripts == [widgets._file("shared.js"), "const demo = 1;"]
    assert it.html.count("</script>") == 3
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=\"(?!data:)", it.html)


def test_caption_is_left_out_where_there_is_none() -> None:
    assert (
        "widget-caption"
        not in BeautifulSoup(made().html, "html.parser")
        .find("div")
        .decode()[made().html.index("</style>") :]
    )


def test_every_identifier_is_made_of_the_name_or_the_given_one() -> None:
    for expected, it in (("widget-demo", made()), ("second", made(element_id="second"))):
        names = [tag["id"] for tag in BeautifulSoup(it.html, "html.parser").find_all(id=True)]
        assert names == [expected, f"{expected}-title"]


def test_same_arguments_give_the_same_bytes_and_the_figure_is_closed() -> None:
    before = plt.get_fignums()
    first, second = made(fallback=figure()), made(fallback=figure())
    assert first.html == second.html
    assert plt.get_fignums() == before
    source = BeautifulSoup(first.html, "html.parser").select_one("img")["src"]
    svg = unquote(source.partition(",")[2])
    assert svg.rstrip().endswith("</svg>")
    assert "<dc:date>" not in svg
    assert first.html != made(fallback=SVG).html


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "demi"}, "there is no widget 'demi'; there are: demo, other"),
        ({"name": "shared"}, "there is no widget 'shared'"),
        ({"name": "../demo"}, "there is no widget '../demo'"),
        ({"data": {"x": float("nan")}}, r"the data of the widget 'demo' .* finite numbers"),
        ({"data": {"x": np.zeros(2)}}, r"the data of the widget 'demo' .*tolist"),
        ({"title": " "}, "the title of the widget 'demo' is empty"),
        ({"alt": ""}, "the alt of the widget 'demo' is empty"),
        ({"fallback": "a picture"}, "a text without <svg"),
        ({"element_id": 'x" onload="'}, "expected letters, digits and hyphens"),
        ({"element_id": "1"}, "a letter first"),
    ],
)
def test_wrong_arguments(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_files_of_every_widget_are_plain_and_ask_for_nothing() -> None:
    """No script names an address to load from, ends its own element, or needs a loader."""
    real = Path(widgets.__file__).parent / "widget_files"
    files = sorted(real.iterdir())
    assert {"shared.js", "shared.css"} <= {file.name for file in files}
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "</script" not in text.lower(), file
        assert not re.search(r"\b(?:require|define|import|fetch|eval)\b\s*\(", text), file
        assert re.findall(r"https?://[^\"' ]+", text) in (
            [],
            ["http://www.w3.org/2000/svg"],  # the name of SVG, which is no address to load from
        ), file
