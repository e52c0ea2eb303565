"""The library's reference, made from the library while the book is built, so that it cannot drift.

- `{public-names}`: the names of `rqvae_lib` itself, each with what it is and a link to its entry;
- `{library-api}`: a section for each package of a page, and in it one for each module: what it is,
  the chapters that use it, and every public name in the order of the file, from its docstring;
- `{command-reference}`: every command of `rqvae-lib` with its options, from the app itself;
- the way back: each chapter's "What's next" ends in a line that links to the modules it is about.

Which chapter belongs to which module is one relation, read in both directions: a chapter derives
the module (the tables in book/library_layout.md), or its notebook imports it, from where it is
defined or from the public face.
"""

import ast
import importlib
import inspect
import io
import re
import sys
import tokenize
from functools import cache
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import stringify_annotation

from semantic_ids_book import Table

sys.path.append(str(Path(__file__).resolve().parents[1] / "_tools"))
from imports import PACKAGE, files_of, imported_names, public_face

# The pages of the reference, and the packages that each describes.
PAGES = {
    "book/api_data": ["io", "data", "datasets"],
    "book/api_tokenizer": ["ops", "semantic_ids", "embeddings", "tokenizer"],
    "book/api_recommenders": ["models", "generation"],
    "book/api_evaluation": ["training", "checkpoints", "evaluation", "cli", "teaching"],
}
FACE = f"{PACKAGE}/__init__.pyi"
LONGEST_VALUE = 90  # characters of a constant's value that are still worth showing


# --- Modules and chapters -------------------------------------------------------------------------


class Package(NamedTuple):
    purpose: str  # what the package is for, a sentence
    imports: list[str]  # the packages that it imports from
    modules: dict[str, tuple[str, list[str]]]  # {file: its idea, the chapters that derive it}


@cache
def packages(source_dir: Path) -> dict[str, Package]:
    """Each package as book/library_layout.md describes it, in its order."""
    text = (source_dir / "book" / "library_layout.md").read_text(encoding="utf-8")
    overview = text[text.index("## The packages") : text.index("## The files")]
    found = {}
    for name, purpose, below in re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", overview, re.M):
        section = re.search(rf"^### `{name}`\n(.*?)(?=^##)", text, re.M | re.S)
        rows = re.findall(
            r"^\| `(\w+)\.py` \| (.+) \| (.*?) \|$", section[1] if section else "", re.M
        )
        modules = {file: (idea, re.findall(r"\d+", derived)) for file, idea, derived in rows}
        found[name] = Package(purpose, re.findall(r"\w+", below), modules)
    return found


@cache
def layout(source_dir: Path) -> dict[str, tuple[str, list[str]]]:
    """Each module, as "io.atomic": its idea, and the chapters that derive it."""
    return {
        f"{name}.{file}": row
        for name, package in packages(source_dir).items()
        for file, row in package.modules.items()
    }


def modules_of_page(source_dir: Path, page: str) -> list[str]:
    """The modules of the page's packages."""
    return [f"{name}.{file}" for name in PAGES[page] for file in packages(source_dir)[name].modules]


def face(source_dir: Path) -> dict[str, str]:
    """The public names of the library, each with the module that defines it, as "io.atomic"."""
    names = public_face(source_dir / FACE, PACKAGE)
    return {name: module.removeprefix(f"{PACKAGE}.") for name, module in names.items()}


def imported_modules(source_dir: Path, path: Path) -> set[str]:
    """The modules of the library that a notebook's source imports, or from which it has a name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    files = {file for name in imported_names(tree, "") for file in files_of(source_dir, name)}
    return {module_of(source_dir, file) for file in files}


def module_of(source_dir: Path, file: Path) -> str:
    """A file's module without the library's name: "io.atomic"."""
    return ".".join(file.relative_to(source_dir / PACKAGE).with_suffix("").parts)


@cache
def modules_of_chapters(source_dir: Path) -> dict[str, list[str]]:
    """For each notebook, by name, the modules that it derives or imports, in the layout's order."""
    found = {}
    for path in sorted((source_dir / "notebooks").glob("[0-9][0-9]_*.py")):
        used = imported_modules(source_dir, path)
        found[path.stem] = [
            module
            for module, (_, derived) in layout(source_dir).items()
            if module in used or path.stem[:2] in derived
        ]
    return found


def chapters_of_module(source_dir: Path, module: str) -> tuple[list[str], list[str]]:
    """The notebooks that derive a module, and the others that use it."""
    of_module = [
        name for name, modules in modules_of_chapters(source_dir).items() if module in modules
    ]
    derived = layout(source_dir)[module][1]
    return (
        [name for name in of_module if name[:2] in derived],
        [name for name in of_module if name[:2] not in derived],
    )


# --- Names and comments ---------------------------------------------------------------------------


def public_names(tree: ast.Module) -> list[tuple[str, ast.stmt]]:
    """The public functions, classes and constants of a module, in the order of the file."""
    found: list[tuple[str, ast.stmt]] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append((node.name, node))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                parts = target.elts if isinstance(target, ast.Tuple) else [target]
                found.extend((part.id, node) for part in parts if isinstance(part, ast.Name))
    return [(name, node) for name, node in found if not name.startswith("_") and len(name) > 1]


def comments_of(source: str) -> dict[int, str]:
    """The comment of each line that has one, by the line's number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def comment_on(node: ast.stmt, comments: dict[int, str], lines: list[str]) -> str:
    """What is said of an assignment: the comment at its end, and those in the lines above it."""
    above = []
    number = node.lineno - 1
    while number >= 1 and lines[number - 1].lstrip().startswith("#"):
        above.insert(0, comments[number])
        number -= 1
    said = [*above, comments.get(node.end_lineno or node.lineno, "")]
    words = " ".join(part for part in said if part)
    return "" if re.match(r"noqa|type:|isort|---", words) else words


def is_command(full: str) -> bool:
    """Whether a function is a command: its signature is for typer, its options for people."""
    from rqvae_lib.cli.main import app

    callbacks = (command.callback for command in app.registered_commands if command.callback)
    return full in {f"{function.__module__}.{function.__qualname__}" for function in callbacks}


def first_sentence(docstring: str) -> str:
    """What a docstring says first, in one line."""
    paragraph = " ".join(docstring.strip().partition("\n\n")[0].split())
    return re.match(r".*?[.!?](?=\s|$)|.*", paragraph)[0]


def public_bases(node: ast.ClassDef) -> list[str]:
    """The bases of a class that tell a reader something."""
    return [name for name in map(ast.unparse, node.bases) if name not in {"NamedTuple", "Protocol"}]


def parts_of(full: str) -> str:
    """The signature of a class that is known by its parts; theirs stand below it, one by one."""
    module, _, name = full.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    if not has_fields(cls):
        return ""
    parts = getattr(cls, "_fields", ()) or tuple(cls.__dataclass_fields__)
    return f"({', '.join(parts)})" if len(parts) <= 5 else "(...)"


def has_fields(cls: type) -> bool:
    """Whether a class is a dataclass or a named tuple: its annotations are its parts."""
    return hasattr(cls, "__dataclass_fields__") or hasattr(cls, "_fields")


def fields_of(cls: type) -> list[tuple[str, str, str]]:
    """Name, type with default, and comment of each part of a dataclass or named tuple."""
    source = inspect.cleandoc("\n" + inspect.getsource(cls))
    (node,) = ast.parse(source).body
    assert isinstance(node, ast.ClassDef)
    comments, lines = comments_of(source), source.splitlines()
    found = []
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            written = ast.unparse(part.annotation)
            if part.value is not None:
                default = ast.unparse(part.value)
                default = re.sub(r"field\(default_factory=(\w+)\)", r"\1()", default)
                written += f" = {default}"
            found.append((part.target.id, written, comment_on(part, comments, lines)))
    return found


# --- The pages of the reference -------------------------------------------------------------------


class LibraryAPI(Table):
    """`{library-api}`: the sections of this page's packages and modules."""

    def markdown(self) -> list[str]:
        source_dir = Path(self.env.srcdir)
        self.env.note_dependency("book/library_layout.md")
        lines: list[str] = []
        for name in PAGES[self.env.docname]:
            package = packages(source_dir)[name]
            lines += [f"(api-{name})=", f"## `{name}`", "", package.purpose, ""]
            for file in package.modules:
                lines += self.section(source_dir, f"{name}.{file}")
        return lines

    def run(self) -> list[nodes.Node]:
        return self.parsed(match_titles=True)

    def section(self, source_dir: Path, module: str) -> list[str]:
        path = source_dir.joinpath(PACKAGE, *module.split(".")).with_suffix(".py")
        self.env.note_dependency(str(path))
        source = path.read_text(encoding="utf-8")
        derived, used = chapters_of_module(source_dir, module)
        where = [f"Derived in {links(derived)}." if derived else ""]
        where.append(f"Used in {links(used)}." if used else "")
        if not derived and not used:
            where.append("Plumbing: no chapter uses it by name.")
        public = [f"`{name}`" for name, at in face(source_dir).items() if at == module]
        where.append(f"From `{PACKAGE}` itself: {', '.join(public)}." if public else "")
        lines = [f"({anchor(module)})=", f"### `{module}`", ""]
        lines += [" ".join(filter(None, where)), ""]
        lines += ["```{eval-rst}", f".. automodule:: {PACKAGE}.{module}", ""]
        comments, text = comments_of(source), source.splitlines()
        for name, node in public_names(ast.parse(source)):
            full = f"{PACKAGE}.{module}.{name}"
            if isinstance(node, ast.FunctionDef):
                lines += [f".. autofunction:: {full}{'(...)' if is_command(full) else ''}", ""]
            elif isinstance(node, ast.ClassDef):
                lines += [f".. autoclass:: {full}{parts_of(full)}", "   :members:"]
                lines += ["   :show-inheritance:", ""] if public_bases(node) else [""]
            else:
                lines += [f".. py:data:: {name}", f"   :module: {PACKAGE}.{module}"]
                value = ast.unparse(node.value) if getattr(node, "value", None) else ""
                if value and len(value) <= LONGEST_VALUE:
                    lines += [f"   :value: {value}"]
                lines += ["", f"   {comment_on(node, comments, text)}", ""]
        return [*lines, "```", ""]


class PublicNames(Table):
    """`{public-names}`: what `rqvae_lib` itself offers, in the order of the packages."""

    def markdown(self) -> list[str]:
        source_dir = Path(self.env.srcdir)
        self.env.note_dependency(str(source_dir / FACE))
        by_module: dict[str, list[str]] = {}
        for name, module in face(source_dir).items():
            by_module.setdefault(module, []).append(name)
        rows = ["| Name | What it is | Defined in |", "| --- | --- | --- |"]
        for module in layout(source_dir):
            path = source_dir.joinpath(PACKAGE, *module.split(".")).with_suffix(".py")
            names = by_module.pop(module, [])
            if names:
                self.env.note_dependency(str(path))
                source = path.read_text(encoding="utf-8")
                said = summaries(source)
                entry, where = f"{PACKAGE}.{module}", f"{{ref}}`{module} <{anchor(module)}>`"
                rows += [
                    f"| {{py:obj}}`{name} <{entry}.{name}>` | {said[name]} | {where} |"
                    for name in sorted(names, key=list(said).index)
                ]
        if by_module:
            raise ValueError(f"{FACE}: book/library_layout.md has no row for {sorted(by_module)}")
        return rows


def summaries(source: str) -> dict[str, str]:
    """The first sentence about each public name of a module, in the order of the file."""
    comments, lines = comments_of(source), source.splitlines()
    return {
        name: first_sentence(
            ast.get_docstring(node) or ""
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            else comment_on(node, comments, lines)
        ).replace("|", r"\|")  # as it must stand in a table
        for name, node in public_names(ast.parse(source))
    }


def anchor(module: str) -> str:
    """Where a module stands in the reference: "api-io-atomic" for "io.atomic"."""
    return f"api-{module.replace('.', '-').replace('_', '-')}"


def links(notebooks: list[str]) -> str:
    """Chapter links in a row: "chapter 03 and chapter 05"."""
    written = [f"{{doc}}`chapter {name[:2]} </notebooks/{name}>`" for name in notebooks]
    return " and ".join(filter(None, [", ".join(written[:-1]), written[-1]]))


def add_fields_and_links(
    app: Sphinx, what: str, name: str, item: object, options: object, lines: list[str]
) -> None:
    """Finish a docstring: parts with their comments, chapters as links, indented blocks as code."""
    named = {path.stem[:2]: path.stem for path in (app.srcdir / "notebooks").glob("[0-9]*_*.py")}
    for number, line in enumerate(lines):
        lines[number] = re.sub(
            r"\bchapter (\d\d)\b",
            lambda found: (
                f":doc:`chapter {found[1]} </notebooks/{named[found[1]]}>`"
                if found[1] in named
                else found[0]
            ),
            line,
        )
        lines[number] = re.sub(
            r"\barXiv (\d{4}\.\d{4,5})\b",
            r"`arXiv \1 <https://arxiv.org/abs/\1>`__",
            lines[number],
        )
    if what in {"attribute", "property"} and lines and lines[-1].startswith(":type: "):
        # "The first code of each item: (N,) int64" is a sentence, no type and a description.
        lines[:] = [f"{lines[-1].removeprefix(':type: ')}: {lines[0]}", *lines[1:-1]]
    if what == "module":  # a drawing or a list of commands, four spaces in, is meant as it stands
        for number in range(len(lines) - 2, 0, -1):
            starts = lines[number + 1].startswith("    ") and not lines[number].strip()
            if starts and lines[number - 1].strip() and not lines[number - 1].startswith("    "):
                lines.insert(number, ".. code-block:: text")
                lines.insert(number, "")
    if what == "class" and isinstance(item, type) and has_fields(item):
        if re.match(rf"{item.__name__}\(.*\)$", lines[0] if lines else ""):
            lines.clear()  # what dataclass and NamedTuple write where there is no docstring
        lines.append("")
        for field, written, comment in fields_of(item):
            lines += [f"``{field}: {written}``", f"   {comment}" if comment else "", ""]


def skip_fields(
    app: Sphinx, what: str, name: str, item: object, skip: bool, options: object
) -> bool | None:
    """Leave out what `add_fields_and_links` has told already."""
    is_part = type(item).__name__ in {"_tuplegetter", "member_descriptor"}
    return True if is_part else None


# --- The commands ---------------------------------------------------------------------------------


class CommandReference(Table):
    """`{command-reference}`: every command, its arguments and options, in the app's order.

    A hidden command is the former name of another one, and is left out.
    """

    def run(self) -> list[nodes.Node]:
        return self.parsed(match_titles=True)

    def markdown(self) -> list[str]:
        import typer

        from rqvae_lib.cli.main import app

        for path in (Path(self.env.srcdir) / PACKAGE / "cli").glob("*.py"):
            self.env.note_dependency(str(path))
        group = typer.main.get_command(app)
        lines: list[str] = []
        for name, command in group.commands.items():
            if command.hidden:
                continue
            lines += [f"(command-{name})=", f"## `rqvae-lib {name}`", "", command.help or "", ""]
            context = command.make_context(name, [], resilient_parsing=True)
            for parameter in command.params:
                if parameter.name == "help":
                    continue
                written, said = parameter.get_help_record(context)
                lines += [signature(written), *definition(said), ""]
        return lines


def signature(written: str) -> str:
    """An option as its help writes it, `-k, --top INTEGER`: its names as code, then the value."""
    names, value = re.fullmatch(r"((?:--?\w[\w-]*(?:, | / )?)+|\S+)\s*(.*)", written).groups()
    names = re.sub(r"--?\w[\w-]*", r"`\g<0>`", names) if names.startswith("-") else f"`{names}`"
    return f"{names} {value.replace('|', ' | ').strip('<>')}".rstrip()  # a narrow page can break it


def definition(text: str) -> list[str]:
    """A definition-list entry: the first line carries the colon, and options are set as code."""
    text = re.sub(r"(?<![`\w-])(--[a-z][a-z-]*)", r"`\1`", text)
    first, *rest = [line.strip() for line in text.splitlines() if line.strip()] or ["…"]
    return [f": {first}", *(f"  {line}" for line in rest)]


# --- Types with a name of their own ---------------------------------------------------------------

# A union is its members to Python: a signature would list all that NumPy's ArrayLike stands for.
ALIASES = ("rqvae_lib.ops.arrays.Array",)


def name_aliases(
    app: Sphinx, what: str, name: str, item: object, options: object, args: str, result: str
) -> tuple[str, str]:
    """Write a type that has a name in the library by that name."""
    for alias in ALIASES:
        module, _, own = alias.rpartition(".")
        spelled = stringify_annotation(getattr(importlib.import_module(module), own), "smart")
        args, result = (text and text.replace(spelled, f"~{alias}") for text in (args, result))
    return args, result


def link_alias(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """Link such a name to its entry, which is that of a constant and not of a class."""
    target = node.get("reftarget")
    if target not in ALIASES:
        return None
    python = env.get_domain("py")
    return python.resolve_xref(env, node["refdoc"], app.builder, "data", target, node, text)


# --- From a chapter to the library ----------------------------------------------------------------


def add_library_line(app: Sphinx, doctree: nodes.document) -> None:
    """End the section "What's next" of a chapter with links to the modules it is about."""
    folder, _, name = app.env.docname.partition("/")
    modules = modules_of_chapters(Path(app.srcdir)).get(name, [])
    if folder != "notebooks" or not modules:
        return
    app.env.note_dependency("book/library_layout.md")
    for section in doctree.findall(nodes.section):
        if section.next_node(nodes.title).astext().replace("’", "'") == "What's next":
            paragraph = nodes.paragraph(classes=["in-the-library"])
            paragraph += nodes.Text("In the library: ")
            for number, module in enumerate(modules):
                paragraph += nodes.Text(", " if number else "")
                reference = addnodes.pending_xref(
                    refdomain="std",
                    reftype="ref",
                    reftarget=anchor(module),
                    refexplicit=True,
                    refwarn=True,
                    refdoc=app.env.docname,
                )
                reference += nodes.literal(text=module)
                paragraph += reference
            paragraph += nodes.Text(".")
            section += paragraph


def setup(app: Sphinx) -> dict[str, object]:
    app.setup_extension("sphinx.ext.autodoc")
    app.setup_extension("sphinx.ext.napoleon")
    app.add_directive("library-api", LibraryAPI)
    app.add_directive("public-names", PublicNames)
    app.add_directive("command-reference", CommandReference)
    app.connect("autodoc-process-docstring", add_fields_and_links, priority=600)  # after napoleon
    app.connect("autodoc-process-signature", name_aliases)
    app.connect("missing-reference", link_alias)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("doctree-read", add_library_line)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
