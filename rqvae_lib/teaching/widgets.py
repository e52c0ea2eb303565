"""Figures that can be moved: a widget is one piece of HTML with its data, style and script in it.

So it works in a notebook and in a page that is opened from the disk, and asks nothing of the
network. A still figure stands where the script has not run (a notebook that you have not run
yourself, JavaScript turned off) and on paper.

The folder `widget_files` holds a script for each widget, `NAME.js`, and what all of them share:
`shared.js`, which has the controls, the stage to draw on and the player, and `shared.css`.

Used by: chapters that let the reader move what they explain.
"""

import html
import io
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:  # matplotlib comes with the book's extra; nothing here needs it to be imported
    from matplotlib.figure import Figure

NOT_RUN = (
    "This is a still picture of a figure that you can move. To move it, run this cell in "
    "JupyterLab, or open the web page of this chapter in a browser with JavaScript."
)


class Widget:
    """A widget, which a notebook shows when it is the last value of a cell.

    Attributes:
        name: the widget's, as in `data-widget` of its element.
        html: the whole of it, as HTML.
    """

    def __init__(self, name: str, html: str) -> None:
        self.name = name
        self.html = html

    def __repr__(self) -> str:
        return f"Widget({self.name!r})"

    def _repr_html_(self) -> str:
        return self.html


def widget(
    name: str,
    data: Mapping[str, Any],
    *,
    title: str,
    fallback: "Figure | str",
    alt: str,
    caption: str = "",
    element_id: str | None = None,
) -> Widget:
    """Return a figure that the reader can move.

    The same arguments give the same HTML, byte for byte.

    Args:
        name: of a script in `widget_files`, without `.js`.
        data: what the script needs, as JSON can say it: numbers are finite.
        title: the line above the widget.
        fallback: the still figure, as a matplotlib figure (which is closed) or as the text of an
            SVG.
        alt: what the still figure shows, in words.
        caption: what stands below the widget: what to try, and what it shows.
        element_id: of the widget in its page: letters, digits and hyphens; "widget-" and the name
            by default. A widget that stands twice on a page needs two.

    Raises:
        ValueError: if there is no widget of that name, if the data cannot be written as JSON, if
            the title or the alt text is empty, if the SVG is none, or if element_id is not allowed.
    """
    names = _names()
    if name not in names:
        raise ValueError(f"there is no widget {name!r}; there are: {', '.join(names)}")
    element_id = f"widget-{name}" if element_id is None else element_id
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", element_id):
        raise ValueError(
            f"element_id is {element_id!r}; expected letters, digits and hyphens, a letter first"
        )
    for argument, text in (("title", title), ("alt", alt)):
        if not text.strip():
            raise ValueError(f"the {argument} of the widget {name!r} is empty; expected a sentence")
    below = f'<p class="widget-caption">{html.escape(caption)}</p>' if caption else ""
    return Widget(
        name,
        f'<div class="widget tex2jax_ignore mathjax_ignore" id="{element_id}" data-widget="{name}" '
        f'role="group" aria-labelledby="{element_id}-title">\n'
        f"<style>{_file('shared.css')}</style>\n"
        f'<p class="widget-title" id="{element_id}-title">{html.escape(title)}</p>\n'
        '<div class="widget-body"></div>\n'
        f'<div class="widget-fallback"><img src="{_as_image(fallback, name)}" '
        f'alt="{html.escape(alt)}"><p>{NOT_RUN}</p></div>\n'
        f"{below}\n"
        f'<script type="application/json" data-part="data">{_as_json(data, name)}</script>\n'
        f"<script>{_file('shared.js')}</script>\n"
        f"<script>{_file(f'{name}.js')}</script>\n"
        "</div>",
    )


def _folder() -> Any:
    return resources.files("rqvae_lib.teaching") / "widget_files"


def _names() -> list[str]:
    """Return the names of all widgets, in order."""
    files = sorted(file.name for file in _folder().iterdir())
    return [file[:-3] for file in files if file.endswith(".js") and file != "shared.js"]


def _file(name: str) -> str:
    text: str = (_folder() / name).read_text(encoding="utf-8")
    return text


def _as_json(data: Mapping[str, Any], name: str) -> str:
    """Return the data as JSON that cannot end the script element that it stands in."""
    try:
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the data of the widget {name!r} cannot be written as JSON ({error}): pass lists, "
            "texts and finite numbers, such as tensor.tolist()"
        ) from None
    return text.replace("<", "\\u003c")


def _as_image(figure: "Figure | str", name: str) -> str:
    """Return a still figure as the address of an image that holds it.

    As an image, because JupyterLab drops an SVG from the output of a notebook that it does not
    trust yet, and keeps images.
    """
    svg = figure if isinstance(figure, str) else _as_svg(figure)
    if "<svg" not in svg:
        raise ValueError(
            f"the fallback of the widget {name!r} is a text without <svg; expected an SVG, or a "
            "matplotlib figure"
        )
    return "data:image/svg+xml," + quote(svg, safe=" /:=,;+-.()'*!@?_~")  # shorter than base64


def _as_svg(figure: "Figure") -> str:
    """Return a matplotlib figure as the same SVG at every run, and close it."""
    import matplotlib.pyplot as plt

    file = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "widget", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)  # or the notebook would show it once more
    return file.getvalue()
