"""What the pages of this book ask of Sphinx.

- `{execution-times}`: the table of measured seconds, from book/execution_times.json;
- `{package-versions}`: the installed and the pinned version of the named packages;
- the measured seconds in each chapter's head: the paragraph that starts with "Time:" gets one more
  sentence. The notebook itself stays free of roles that JupyterLab cannot show;
- a drawing `name-light.svg` brings its `name-dark.svg` along for readers in dark mode;
- the launch buttons go while _config.yml names no repository: the theme would fail without one;
- a page without a formula does not load MathJax;
- the entries of the bibliography are a list for screen readers, too.
"""

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

TIMES = "book/execution_times.json"  # written by book/_tools/notebooks.py
LOCK = "requirements.lock"
SIGNATURE_LINES = re.compile(r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>', re.DOTALL)
FORMULAS = (nodes.math, nodes.math_block)
logger = logging.getLogger(__name__)


def read_times(source_dir: str | Path) -> dict[str, dict]:
    """One entry a notebook: {"00_name": {"seconds": 41.2, "machine": "2 cores, …"}}."""
    return json.loads((Path(source_dir) / TIMES).read_text(encoding="utf-8"))


def in_words(seconds: float) -> str:
    """Seconds as a reader wants them: "41 s" or "3 min 12 s"; never "0 s"."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Table(SphinxDirective):
    """A directive that writes a Markdown table and lets MyST read it."""

    optional_arguments = 99

    def markdown(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        return self.parsed()

    def parsed(self, match_titles: bool = False) -> list[nodes.Node]:
        """Read what `markdown` wrote; with `match_titles` it may have headings."""
        section = nodes.container()
        self.state.nested_parse(
            StringList(self.markdown()), self.content_offset, section, match_titles
        )
        return section.children


class ExecutionTimes(Table):
    """`{execution-times}`: which notebook ran how long, and on what machine."""

    def markdown(self) -> list[str]:
        self.env.note_dependency(TIMES)
        times = read_times(self.env.srcdir)
        if not times:
            return ["No notebook has been executed yet."]
        rows = ["| Notebook | Runs in | Measured on |", "| --- | --- | --- |"]
        for name, entry in sorted(times.items()):
            page = f"notebooks/{name}"
            link = f"{{doc}}`/{page}`" if page in self.env.found_docs else f"`{page}`"
            rows.append(f"| {link} | {in_words(entry['seconds'])} | {entry['machine']} |")
        total = sum(entry["seconds"] for entry in times.values())
        return [*rows, f"| *all of them* | {in_words(total)} | |"]


class PackageVersions(Table):
    """`{package-versions} torch numpy`: what is installed now, and what requirements.lock pins."""

    def markdown(self) -> list[str]:
        self.env.note_dependency(LOCK)
        lines = (Path(self.env.srcdir) / LOCK).read_text(encoding="utf-8").splitlines()
        pinned = dict(line.split("==") for line in lines if "==" in line)
        rows = ["| Package | Installed | Pinned |", "| --- | --- | --- |"]
        rows.append(f"| Python | {platform.python_version()} | 3.11 or newer |")
        for name in self.arguments:
            rows.append(f"| {name} | {metadata.version(name)} | {pinned.get(name, 'not pinned')} |")
        return rows


def add_measured_time(app: Sphinx, doctree: nodes.document) -> None:
    """Finish a notebook page's "Time:" paragraph with the measured seconds."""
    folder, _, name = app.env.docname.partition("/")
    if folder != "notebooks":
        return
    app.env.note_dependency(TIMES)
    entry = read_times(app.srcdir).get(name)
    if entry is None:
        logger.warning(
            "%s has no entry for %s: run `make notebooks`", TIMES, name, location=app.env.docname
        )
        return
    for paragraph in doctree.findall(nodes.paragraph):
        if paragraph.astext().startswith("Time:"):
            cores = entry["machine"].split(",")[0]
            sentence = f" Runs in {in_words(entry['seconds'])} on {cores} (measured)."
            paragraph += nodes.inline(sentence, sentence, classes=["measured-time"])
            return
    logger.warning('no paragraph starts with "Time:"', location=app.env.docname)


class DarkTwin(SphinxTransform):
    """Show `name-light.svg` in light mode and the file `name-dark.svg` beside it in dark mode."""

    default_priority = 210  # after the pages are parsed, before Sphinx collects their images

    def apply(self, **kwargs: object) -> None:
        folder = Path(self.env.doc2path(self.env.docname)).parent
        for image in list(self.document.findall(nodes.image)):
            uri = image["uri"].replace("-light.svg", "-dark.svg")
            if uri != image["uri"] and (folder / uri).is_file():
                twin = image.deepcopy()
                twin["uri"] = uri
                image["classes"].append("only-light")
                twin["classes"].append("only-dark")
                image.parent.insert(image.parent.index(image) + 1, twin)


def launch_only_from_a_repository(app: Sphinx, config: Config) -> None:
    """Without `repository: url` there is nothing to launch; sphinx_book_theme 1.3 would raise."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options["launch_buttons"] = {}


def leave_out_mathjax(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Take MathJax, 2.3 MB, from a page without a formula.

    Sphinx 7.4 also gives it to a page whose table of contents leads to one, and the first page's
    leads to all.
    """
    if doctree is None or any(doctree.findall(lambda node: isinstance(node, FORMULAS))):
        return
    context["script_files"] = [
        file for file in context["script_files"] if "mathjax" not in str(file)
    ]


def fix_roles(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Fix two things that screen readers stumble over, as long as others write them.

    Docutils 0.21 puts entries of a role that ARIA 1.3 withdrew into a list without items. Sphinx
    7.4 writes the parameters of a long signature as definitions of nothing (<dd> without <dt>).
    """
    if "body" in context:
        body = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')
        context["body"] = SIGNATURE_LINES.sub(lambda match: as_blocks(match[1]), body)


def as_blocks(lines: str) -> str:
    lines = lines.replace("<dd>", '<span class="signature-line">').replace("</dd>", "</span>")
    return f'<span class="signature-lines">{lines}</span>'


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("execution-times", ExecutionTimes)
    app.add_directive("package-versions", PackageVersions)
    app.add_transform(DarkTwin)
    app.connect("doctree-read", add_measured_time)
    app.connect("config-inited", launch_only_from_a_repository)
    app.connect("html-page-context", fix_roles)
    app.connect("html-page-context", leave_out_mathjax, priority=900)  # after Sphinx put it in
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
