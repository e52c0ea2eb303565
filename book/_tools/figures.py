"""Figures in a notebook as JupyterLab shows it: numbered, captioned, and referred to by number.

A chapter's source names its figures as the book needs it: the cell's metadata has a name and a
caption, and the prose says `` {numref}`fig-04-field` ``. Sphinx makes numbers of that. JupyterLab
shows no caption, and an error in place of the reference. So the notebook gets the caption as a
cell of its own, which the book leaves out, and references that are links with the number in them.
"""

import re

import nbformat
from nbformat import NotebookNode

CAPTION_TAGS = ["remove-cell"]  # the book has the caption in the figure itself
REFERENCE = re.compile(r"\{numref\}`([\w-]+)`")


def number_figures(notebook: NotebookNode, chapter: int) -> None:
    """Give each figure of a notebook its caption, and each reference its number, in place.

    Args:
        notebook: cells as in the source.
        chapter: its number, which comes before the figure's; the quickstart, 0, has none.
    """
    numbers: dict[str, str] = {}  # "Fig. 4.3" of each name
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        cells.append(cell)
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            place = len(numbers) + 1
            numbers[figure["name"]] = f"Fig. {chapter}.{place}" if chapter else f"Fig. {place}"
            cells.append(_caption(figure["name"], numbers[figure["name"]], figure["caption"]))
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = REFERENCE.sub(
                lambda found: (
                    _link(found[1], numbers[found[1]]) if found[1] in numbers else found[0]
                ),
                cell.source,
            )
    notebook.cells = cells


def _link(name: str, number: str) -> str:
    """A reference in HTML: JupyterLab looks for a Markdown link's target before it has all cells
    (jupyterlab-myst 2.7.0), and complains on the console of each that it does not find."""
    return f'<a href="#{name}">{number}</a>'


def _caption(name: str, number: str, caption: str) -> NotebookNode:
    """The cell below a figure; its label is where references to the figure lead."""
    source = f"({name})=\n**{number}.** {caption}"
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": CAPTION_TAGS})
