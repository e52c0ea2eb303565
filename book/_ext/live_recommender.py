"""The recommender that runs in the page: book/assets/live, on each page that asks for it.

A page asks with `<div data-widget="recommender">` around a sentence for readers who see no more
than that: where JavaScript is off, and in JupyterLab. The interface is put after the sentence, and
the page gets the scripts. The data are written once, when the book is built.

How the model runs was a choice. The page must work from the disk, offline, in a few megabytes:

- ONNX Runtime Web 1.30 brings 14.2 MB of WebAssembly, 19 MB as text, where a page may load nothing
  but scripts. The models have 0.95 million weights, 1.9 MB.
- By hand, the models are a few hundred lines of plain JavaScript without a build step, which read
  like the Python files of the same names. With the longest history that a model reads, a
  recommendation takes 4 ms of processor time with the RQ-Transformer, and 21 ms with the
  decoder-only model. A test compares them with Python.

So nothing has to be exported to another format.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

ASKS = 'data-widget="recommender"'
INTERFACE = Path(__file__).with_suffix(".html")
DATA = Path("_static", "live", "data.js")
STYLE = "live/live.css"
SCRIPTS = (  # each needs some of those before it
    "tensors",
    "weights",
    "transformer",
    "trie",
    "rq_transformer",
    "decoder_only",
    "beam_search",
    "catalogue",
    "loading",
    "elements",
    "title_search",
    "tabs",
    "beam_tree",
    "explanation",
    "family",
    "recommender",
)


def asking(doctree: nodes.document) -> list[nodes.raw]:
    """Return the raw pieces of HTML of a page that ask for the recommender."""
    return [node for node in doctree.findall(nodes.raw) if ASKS in node.astext()]


def put_interface(app: Sphinx, doctree: nodes.document) -> None:
    """Put the interface at the end of the element that asks for it.

    Raises:
        ValueError: if a page asks twice, or in HTML that does not end the element.
    """
    found = asking(doctree)
    if not found:
        return
    text = found[0].astext().rstrip()
    if len(found) > 1 or text.count(ASKS) > 1 or not text.endswith("</div>"):
        raise ValueError(
            f"{app.env.docname} has a <div {ASKS}> more than once, or with an empty line in it; "
            "expected one without, since an empty line ends a piece of HTML"
        )
    app.env.note_dependency(str(INTERFACE))
    interface = INTERFACE.read_text(encoding="utf-8")
    html = f"{text.removesuffix('</div>')}{interface}</div>"
    found[0].replace_self(nodes.raw(html, html, format="html"))


def add_scripts(
    app: Sphinx, page: str, template: str, context: dict, doctree: nodes.document | None
) -> None:
    """Give a page that asks the scripts and the style, and the book the data."""
    if doctree is None or not asking(doctree):
        return
    app.add_css_file(STYLE)
    for name in SCRIPTS:
        app.add_js_file(f"live/{name}.js", loading_method="defer")
    app.live_data_is_wanted = True


def write_data(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and getattr(app, "live_data_is_wanted", False):
        from live_data import live_data  # and so torch: other books, of tests, start without it

        (Path(app.outdir) / DATA).write_text(live_data(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("doctree-read", put_interface)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_data)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
