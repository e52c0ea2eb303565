"""A chapter's number is that of its file, also where one before it is not written yet.

Sphinx counts on from chapter to chapter, so `notebooks/13_name` would be number 12 if there were no
chapter 12, and its figures, too. What it counted is corrected before figures take their numbers
from it, so the counting itself is wrapped: that of sphinx-external-toc, which has the last word.
"""

import re

from sphinx.addnodes import compact_paragraph
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

CHAPTER = re.compile(r"notebooks/(\d\d)_\w+")


def number_by_file_name(app: Sphinx) -> None:
    count = TocTreeCollectorWithStyles.assign_section_numbers

    def assign(self: TocTreeCollectorWithStyles, env: BuildEnvironment) -> list[str]:
        before = env.toc_secnumbers  # the collector puts another in its place
        count(self, env)
        for name, numbers in env.toc_secnumbers.items():
            chapter = CHAPTER.fullmatch(name)
            if not chapter:
                continue
            first = int(chapter[1])
            for anchor, number in numbers.items():
                numbers[anchor] = (first, *number[1:]) if number else number
            entries = [line[0] for line in env.tocs[name].findall(compact_paragraph)]
            for node in [env.titles[name], *entries]:
                if node.get("secnumber"):
                    node["secnumber"] = [first, *node["secnumber"][1:]]
        return [name for name, numbers in env.toc_secnumbers.items() if numbers != before.get(name)]

    TocTreeCollectorWithStyles.assign_section_numbers = assign


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("builder-inited", number_by_file_name)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
