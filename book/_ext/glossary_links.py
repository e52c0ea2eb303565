"""The first use of each of the glossary's terms in a chapter leads to the glossary.

The notebooks carry no markup for it: JupyterLab would show a role that it does not know, and a
role would have to move whenever a paragraph does. The terms are found when a page is written. A
word that is also an everyday one is linked only where the chapter sets it in italics or bold, this
book's mark of a new term.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
# "The code below", "in rank order", "this chapter tries": the term only where it is stressed.
EVERYDAY = {
    "bundle",
    "code",
    "collapse",
    "coverage",
    "dead",
    "decoder",
    "drift",
    "encoder",
    "estimator",
    "greedy",
    "hub",
    "interaction",
    "latent",
    "level",
    "nat",
    "popularity",
    "prefix",
    "purity",
    "random IDs",
    "rank",
    "seed",
    "shrinkage",
    "sibling",
    "sitting",
    "split",
    "target",
    "temperature",
    "token",
    "trie",
    "window",
}
# Text in these is a name, a formula, a link already, or not read as a sentence.
LEFT_ALONE = (
    nodes.title,
    nodes.caption,
    nodes.literal,
    nodes.literal_block,
    nodes.reference,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    addnodes.pending_xref,
)


def pattern(terms: list[str]) -> re.Pattern[str]:
    """Any of the terms, singular or plural, the longest first; a capital in a term matters."""
    forms = []
    for term in sorted(terms, key=len, reverse=True):
        form = re.escape(term).replace(r"\ ", r"\s+").replace("'", "['’]")
        form = f"(?:{form[:-1]}(?:y|ies))" if term.endswith("y") else f"(?:{form}(?:s|es|d)?)"
        forms.append(form if re.search(r"[A-Z]", term) else f"(?i:{form})")
    return re.compile(rf"(?<![\w-])(?:{'|'.join(forms)})(?![\w+-])")


def term_of(words: str, terms: list[str]) -> str:
    """The term of which these words are a form."""
    (term,) = [term for term in terms if pattern([term]).fullmatch(words)][:1]
    return term


def is_sentence(text: nodes.Text) -> bool:
    """Whether a text belongs to the prose: not to code, a heading, or the list of references."""
    around, ancestor = [], text.parent
    while ancestor is not None:
        around.append(ancestor)
        ancestor = ancestor.parent
    sections = [node for node in around if isinstance(node, nodes.section)]
    return (
        any(isinstance(node, nodes.paragraph | nodes.entry) for node in around)
        and not any(isinstance(node, LEFT_ALONE) for node in around)
        and not any(section[0].astext() == "References" for section in sections)
    )


def join_lines(doctree: nodes.document) -> None:
    """Make one text of neighbouring ones: MyST begins a new one with each line."""
    for parent in list(doctree.findall(nodes.TextElement)):
        joined: list[nodes.Node] = []
        for child in parent.children:
            if isinstance(child, nodes.Text) and joined and isinstance(joined[-1], nodes.Text):
                joined[-1] = nodes.Text(joined[-1].astext() + child.astext())
            else:
                joined.append(child)
        if len(joined) < len(parent.children):
            parent.children = []
            parent.extend(joined)


def first_uses(
    doctree: nodes.document, terms: list[str]
) -> dict[str, tuple[nodes.Text, re.Match[str]]]:
    """Where the page first uses each term, by term."""
    any_term = pattern(terms)
    found: dict[str, tuple[nodes.Text, re.Match[str]]] = {}
    for text in doctree.findall(nodes.Text):
        if not is_sentence(text):
            continue
        stressed = isinstance(text.parent, nodes.emphasis | nodes.strong)
        for match in any_term.finditer(text.astext()):
            term = term_of(match[0], terms)
            if term not in found and (stressed or term not in EVERYDAY):
                found[term] = (text, match)
    return found


def definitions(app: Sphinx) -> dict[str, str]:
    """Each term's definition in plain words, for the tip that a mouse brings up."""
    found = {}
    for item in app.env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        words = item.next_node(nodes.definition).astext().replace("\n", " ")
        for term in item.findall(nodes.term):
            found[term.astext().replace("’", "'")] = words  # Sphinx knows it as it was typed
    return found


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn the first uses into links."""
    if not docname.startswith("notebooks/") or GLOSSARY not in app.env.found_docs:
        return
    join_lines(doctree)
    said = definitions(app)
    domain = app.env.get_domain("std")
    by_text: dict[int, list[tuple[nodes.Text, re.Match[str], str]]] = {}
    for term, (text, match) in first_uses(doctree, list(said)).items():
        by_text.setdefault(id(text), []).append((text, match, term))
    for uses in by_text.values():
        text, parts, end = uses[0][0], [], 0
        for _, match, term in sorted(uses, key=lambda use: use[1].start()):
            words = nodes.inline("", match[0], classes=["std", "std-term"])
            link = domain.resolve_xref(
                app.env, docname, app.builder, "term", term, addnodes.pending_xref(), words
            )
            link["classes"].append("glossary-term")
            link["reftitle"] = said[term]
            parts += [nodes.Text(text.astext()[end : match.start()]), link]
            end = match.end()
        text.parent.replace(text, [*parts, nodes.Text(text.astext()[end:])])


def setup(app: Sphinx) -> dict[str, object]:
    app.connect("doctree-resolved", link_terms)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
