"""Make notebooks/NN_name.ipynb, executed, from notebooks/NN_name.py; say when one is stale.

    make notebooks                                 # execute what is stale, refresh the rest's prose
    python book/_tools/notebooks.py 00_quickstart  # only this one
    FORCE=1 python book/_tools/notebooks.py        # execute all of them
    python book/_tools/notebooks.py --check        # execute nothing, name what is stale, exit 1

Each notebook starts with the code of first_cell.py, which fetches library and results where they
are missing, from the repository that _config.yml names. It is no part of the .py, so no chapter can
lack it or change it, and no part of the key, so a new address executes nothing.

Each notebook has a key, .keys/NN_name.key: one line for each thing that its outputs depend on (its
own code, the library modules that it imports, the data files), with a hash. While the key is
current nothing is executed, so a second `make notebooks` changes no byte. A failing cell leaves
every file as it was. The folder's name begins with a dot, so that a reader's list of files has
chapters only.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import re
import sys
import time
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from figures import number_figures
from imports import imported_modules
from questions import put_questions

ROOT = Path(__file__).resolve().parents[2]
KEPT_METADATA = (
    "tags",
    "mystnb",
)  # of a cell; all else (timings, editor state) differs from run to run
FIRST_CELL_TAG = "remove-cell"  # the book leaves this cell out: its readers run nothing
# The book folds or leaves out these cells; JupyterLab folds them, when told.
HIDDEN_TAGS = {"hide-cell", "hide-input", FIRST_CELL_TAG}
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
CELL_TIMEOUT = 600  # seconds
WIDGET_FILES = "widget_files"  # the folder of the widgets' scripts, beside widgets.py
NO_STATEMENT = "Module()"  # what `without_docstrings` says of an empty __init__.py


class StaleNotebook(NamedTuple):
    name: str
    reasons: list[str]  # which ingredients of the key changed, in words


class NotebookError(Exception):
    """A notebook that cannot be published: says which cell and what to do."""


# --- From .py to cells ----------------------------------------------------------------------------


def source_names(root: Path) -> list[str]:
    """The names (without suffix) of the notebooks' sources, in order."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.py"))


def first_cell(root: Path) -> NotebookNode:
    """The code cell that makes a notebook run where the library is missing; first_cell.py says how.

    The address and the branch are those of the launch buttons: `repository` in `root`/_config.yml.
    """
    config = root / "_config.yml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    repository = settings.get("repository", {})
    source = (Path(__file__).parent / "first_cell.py").read_text(encoding="utf-8").strip()
    for name, key in (("REPOSITORY", "url"), ("BRANCH", "branch")):
        if repository.get(key):
            line = f"{name} = {json.dumps(repository[key])}"
            source = re.sub(f"^{name} = .*$", lambda _, line=line: line, source, flags=re.M)
    return nbformat.v4.new_code_cell(source, metadata={"tags": [FIRST_CELL_TAG]})


def is_first_cell(cell: NotebookNode) -> bool:
    return FIRST_CELL_TAG in cell.metadata.get("tags", [])


def read_source(path: Path) -> NotebookNode:
    """Read a py:percent file as a notebook without outputs; the same text gives the same notebook.

    Cell ids come from the cell's text, so an edit changes one id; a counter tells equal ones apart.
    The first code cell is `first_cell`; figures are numbered and have their captions below them;
    the self-check's questions stand in their places.
    """
    notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    put_questions(notebook, path.parents[1], path.name)
    number = re.match(r"\d\d", path.name)  # the template has none
    number_figures(notebook, chapter=int(number[0]) if number else 0)
    kinds = [cell.cell_type for cell in notebook.cells]
    notebook.cells.insert(
        kinds.index("code") if "code" in kinds else len(kinds), first_cell(path.parents[1])
    )
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in KEPT_METADATA if key in cell.metadata}
        # JupyterLab folds whatever has a hidden source, text too: captions stay open.
        if cell.cell_type == "code" and HIDDEN_TAGS & set(kept.get("tags", [])):
            kept["jupyter"] = {"source_hidden": True}
        cell.metadata = nbformat.from_dict(kept)
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def output_text(output: NotebookNode, kinds: str = "text/plain") -> str:
    """What an output says in words; `kinds` is how the media types begin that are looked at."""
    data = output.get("data", {})
    return output.get("text", "") + "".join(data[kind] for kind in data if kind.startswith(kinds))


# --- The key --------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_key(root: Path, notebook: NotebookNode) -> dict[str, str]:
    """What the outputs of `notebook` depend on: {ingredient: sha256}, in the order of the file.

    The code counts as text, not as syntax tree: comments stand on the page beside the output,
    tracebacks quote line numbers, and `%magics` do not parse. Tags count, since some change what is
    executed or kept; captions do not. The first cell does nothing here, so it does not count.
    """
    cells = [
        [cell.source, cell.metadata.get("tags", []), cell.get("outputs", [])]
        for cell in code_cells(notebook)
        if not is_first_cell(cell)
    ]
    key = {
        "the notebook's code": sha256(json.dumps([cell[:2] for cell in cells]).encode()),
        # So that a notebook that was run and saved in JupyterLab, or edited by hand, is noticed.
        "the committed outputs": sha256(
            json.dumps([cell[2] for cell in cells], sort_keys=True).encode()
        ),
    }
    code = "\n".join(cell[0] for cell in cells)
    modules = imported_modules(root, code)
    for path in modules:
        statements = without_docstrings(path)
        if statements != NO_STATEMENT:
            key[path.relative_to(root).as_posix()] = sha256(statements.encode())
        for part in parts_of(path):
            key[part.relative_to(root).as_posix()] = sha256(part.read_bytes())
    widgets = widget_files(root, modules, code)
    for path in [*shipped_files(modules), *widgets, *files_beside(root, code)]:
        key[path.relative_to(root).as_posix()] = sha256(path.read_bytes())
    return key


def parts_of(module: Path) -> list[Path]:
    """The files that are a module's in all but language: item_map.js of item_map.py."""
    beside = module.parent.glob(f"{module.stem}.*")
    return sorted(path for path in beside if path.suffix not in {".py", ".pyi"})


def shipped_files(modules: list[Path]) -> list[Path]:
    """The data that ships with the packages of `modules`: all files in folders of data there.

    A module reads data of its own package or of a package that it imports, and of no other (a test
    holds it to that). So a chapter that imports nothing of `checkpoints` does not depend on the
    shipped models.
    """
    folders = {
        folder
        for package in {module.parent for module in modules}
        for folder in package.iterdir()
        if folder.is_dir() and not folder.name.startswith((".", "__"))
        if not any(folder.glob("*.py")) and folder.name != WIDGET_FILES
    }
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def widget_files(root: Path, modules: list[Path], code: str) -> list[Path]:
    """The files of the widgets that the code names, and those that all widgets share.

    A widget is named in quotes, in the notebook or in a module beside widgets.py that it imports.
    """
    teaching = root / "rqvae_lib" / "teaching"
    if teaching / "widgets.py" not in modules:
        return []
    beside = [path.read_text(encoding="utf-8") for path in modules if path.parent == teaching]
    named = set(re.findall(r"""["']([\w-]+)["']""", "\n".join([code, *beside])))
    files = (teaching / WIDGET_FILES).iterdir()
    return sorted(path for path in files if path.stem in named | {"shared"})


def files_beside(root: Path, code: str) -> list[Path]:
    """The files beside the notebooks that the code names: results, a chapter's own catalogue."""
    beside = [path for path in (root / "notebooks").glob("[!.]*/*") if path.is_file()]
    return sorted(path for path in beside if f"{path.parent.name}/{path.name}" in code)


@cache
def without_docstrings(path: Path) -> str:
    """A module's syntax tree as text, without docstrings, comments, layout and version number.

    Not `ast.dump`: its text differs between Python versions (3.12 added empty `type_params`, 3.13
    omits empty fields).
    """
    return _dump(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def _dump(node: object) -> str:
    if isinstance(node, list):
        return "[" + ",".join(map(_dump, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    if isinstance(node, ast.Module):
        fields["body"] = [part for part in fields["body"] if not _is_version(part)]
    parts = (f"{name}={_dump(value)}" for name, value in fields.items() if value not in (None, []))
    return f"{type(node).__name__}({','.join(parts)})"


def _is_version(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node).startswith("__version__ = ")


def format_key(name: str, key: dict[str, str]) -> str:
    head = f"# What the outputs of {name}.ipynb depend on. Made by `make notebooks`, not edited.\n"
    return head + "".join(f"{digest}  {ingredient}\n" for ingredient, digest in key.items())


def parse_key(text: str) -> dict[str, str]:
    lines = (line.split("  ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {ingredient: digest for digest, ingredient in lines}


# --- What is stale --------------------------------------------------------------------------------


def with_outputs(notebook: NotebookNode, executed: NotebookNode) -> NotebookNode | None:
    """`notebook` with the outputs of `executed`, or None when their code cells differ."""
    old, new = code_cells(executed), code_cells(notebook)
    if [is_first_cell(cell) or cell.source for cell in old] != [
        is_first_cell(cell) or cell.source for cell in new
    ]:
        return None
    for new_cell, old_cell in zip(new, old, strict=True):
        new_cell.outputs, new_cell.execution_count = old_cell.outputs, old_cell.execution_count
    return notebook


def key_file(root: Path, name: str) -> Path:
    """Where the key of a notebook lies."""
    return root / "notebooks" / ".keys" / f"{name}.key"


def stale_reasons(root: Path, name: str) -> list[str]:
    """Why the outputs of notebooks/`name`.ipynb cannot be trusted; empty when they are current."""
    folder = root / "notebooks"
    files = (folder / f"{name}.ipynb", key_file(root, name))
    missing = [path.relative_to(folder).as_posix() for path in files if not path.is_file()]
    if missing:
        return [f"there is no notebooks/{file}" for file in missing]
    try:
        executed = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    except Exception as error:
        return [f"notebooks/{name}.ipynb cannot be read ({error})"]
    notebook = with_outputs(read_source(folder / f"{name}.py"), executed)
    if notebook is None:
        return ["the code cells of the .py and the .ipynb differ"]
    old = parse_key(key_file(root, name).read_text(encoding="utf-8"))
    new = make_key(root, notebook)
    return (
        [f"{what} changed" for what in new if what in old and new[what] != old[what]]
        + [f"{what} is new" for what in new if what not in old]
        + [f"{what} is no longer used" for what in old if what not in new]
    )


def stale_notebooks(root: Path) -> list[StaleNotebook]:
    without_docstrings.cache_clear()
    reasons = {name: stale_reasons(root, name) for name in source_names(root)}
    return [StaleNotebook(name, why) for name, why in reasons.items() if why]


# --- Executing ------------------------------------------------------------------------------------


def machine() -> str:
    """The machine in words: "2 cores, Python 3.11.7, torch 2.13.0"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch = metadata.version("torch").split("+")[0]
    return f"{cores} cores, Python {platform.python_version()}, torch {torch}"


def execute(root: Path, notebook: NotebookNode, name: str) -> float:
    """Run all cells of `notebook` in a fresh kernel and keep the outputs in it.

    Returns:
        the seconds it took, start of the kernel included.

    Raises:
        NotebookError: if a cell fails, or writes to stderr (a warning, a progress bar).
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # of the kernel; it warns of its TCP port otherwise
        record_timing=False,  # time stamps in the metadata would differ from run to run
        coalesce_streams=True,  # one text output per cell, however the kernel happened to flush it
        resources={"metadata": {"path": str(root / "notebooks")}},
    )
    start = time.perf_counter()
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise NotebookError(f"notebooks/{name}.py: a cell failed.\n{error}") from None
    seconds = time.perf_counter() - start
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)  # nbclient adds the Python version
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                raise NotebookError(
                    f"notebooks/{name}.py: a cell writes to stderr, so would the page. Remove "
                    "the cause (a warning?) or turn the progress bar off.\n"
                    f"--- cell\n{cell.source}\n--- stderr\n{output.text}"
                )
    return seconds


def write(path: Path, text: str) -> bool:
    """Replace a file as a whole unless it already holds `text`; says whether it wrote."""
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(text.encode())
    draft.replace(path)
    return True


def as_text(notebook: NotebookNode) -> str:
    """The very text of the .ipynb file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def record_time(root: Path, name: str, seconds: float) -> None:
    """Put a measurement into book/execution_times.json; drop those of notebooks that are gone."""
    path = root / "book" / "execution_times.json"
    times = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    times[name] = {"seconds": round(seconds, 1), "machine": machine()}
    times = {key: times[key] for key in times if key in source_names(root)}
    write(path, json.dumps(times, indent=2, sort_keys=True) + "\n")


def make(root: Path, name: str, force: bool = False) -> None:
    """Bring notebooks/`name`.ipynb and its key up to date, executing only when they are stale."""
    path = root / "notebooks" / f"{name}.ipynb"
    notebook = read_source(path.with_suffix(".py"))
    reasons = stale_reasons(root, name)
    if not reasons and not force:
        with_outputs(notebook, nbformat.read(path, as_version=4))
        print(f"{name}: current{', prose refreshed' if write(path, as_text(notebook)) else ''}")
        return
    print(f"{name}: executing, because {'; '.join(reasons) or 'FORCE is set'} …", flush=True)
    seconds = execute(root, notebook, name)
    write(path, as_text(notebook))
    key_file(root, name).parent.mkdir(exist_ok=True)
    write(key_file(root, name), format_key(name, make_key(root, notebook)))
    record_time(root, name, seconds)
    print(f"{name}: ran in {seconds:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", help="notebooks to make, such as 00_quickstart; all by default"
    )
    parser.add_argument(
        "--check", action="store_true", help="execute nothing; say what is stale, exit 1 if any is"
    )
    arguments = parser.parse_args()
    known = source_names(ROOT)
    names = [Path(name).stem for name in arguments.names] or known
    unknown = sorted(set(names) - set(known))
    if unknown:
        parser.error(
            f"there is no notebooks/{unknown[0]}.py; there is: {', '.join(known) or 'none yet'}"
        )
    if arguments.check:
        stale = [entry for entry in stale_notebooks(ROOT) if entry.name in names]
        for entry in stale:
            print(f"{entry.name} is stale: {'; '.join(entry.reasons)}")
        print(
            "Run `make notebooks` and commit what it writes."
            if stale
            else "All notebooks are current."
        )
        return bool(stale)
    failures = 0
    for name in names:
        try:
            make(ROOT, name, force=bool(os.environ.get("FORCE")))
        except NotebookError as error:
            failures += 1
            print(f"{error}\nNothing was written for {name}.", file=sys.stderr)
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
